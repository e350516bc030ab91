//! Checks of the pages: for users, screen readers and the Content Security Policy.

#![allow(clippy::disallowed_methods, reason = "a folder to print the pages into")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use self::prints::{HOSTILE_ESCAPED, Rendered, every_page};
use crate::pages::*;

mod prints;

fn page(name: &str) -> Rendered {
    every_page(false).into_iter().find(|page| page.name == name).expect("the page is among those rendered")
}

/// The text between each `<` and `>`. Neither texts nor attributes hold a bare `>`, because they are escaped.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.split('<').skip(1).map(|rest| rest.split_once('>').expect("every tag ends").0)
}

fn opening<'a>(html: &'a str, element: &'a str) -> impl Iterator<Item = &'a str> {
    tags(html).filter(move |tag| tag.split_whitespace().next() == Some(element))
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    Some(tag.split_once(&format!(" {name}=\""))?.1.split_once('"').expect("every value ends").0)
}

/// The names of a tag's attributes. Values hold no bare quote, so every second piece between quotes is outside a value.
fn attribute_names(tag: &str) -> impl Iterator<Item = &str> {
    tag.split('"').step_by(2).flat_map(str::split_whitespace).skip(1).map(|name| name.trim_end_matches('='))
}

/// Text fields. Radio buttons and check boxes are excluded: they are inside their labels.
fn visible_fields(html: &str) -> impl Iterator<Item = &str> {
    let others = ["hidden", "radio", "checkbox"];
    opening(html, "input").filter(move |tag| attribute(tag, "type").is_none_or(|kind| !others.contains(&kind)))
}

/// The only script tags allowed: files of ours.
fn script_tags() -> [String; 2] {
    [passkeys_script(), form_post_script()].map(|(path, _)| format!(r#"<script src="{path}" defer></script>"#))
}

#[test]
fn every_page_escapes_markup_in_every_text() {
    for page in every_page(true) {
        let scripts = page.html.matches("<script").count();
        let ours: usize = script_tags().iter().map(|tag| page.html.matches(tag).count()).sum();
        assert_eq!(scripts, ours, "{}", page.name);
        for text in page.texts {
            let escaped = format!("{HOSTILE_ESCAPED}{text}.");
            assert!(page.html.contains(&escaped), "{}: {text} is missing or not escaped", page.name);
        }
    }
}

#[test]
fn no_page_carries_a_script_or_a_style_of_its_own() {
    for page in every_page(false).into_iter().chain(every_page(true)) {
        for tag in tags(&page.html) {
            let is_ours = script_tags().iter().any(|ours| ours.starts_with(&format!("<{tag}>")));
            assert!(is_ours || !tag.starts_with("script") && !tag.starts_with("style"), "{}: <{tag}>", page.name);
            for name in attribute_names(tag) {
                assert!(!name.starts_with("on") && name != "style", "{}: <{tag}>", page.name);
            }
        }
    }
}

#[test]
fn every_form_is_posted_with_its_csrf_value() {
    let mut forms = 0;
    // The form of a response goes to the application, which has no token of ours.
    for page in every_page(false).into_iter().filter(|page| page.name != "form-post") {
        for form in page.html.split("<form").skip(1) {
            let form = form.split_once("</form>").expect("every form ends").0;
            let ours =
                ["/id/", "/profile"].iter().any(|place| form.contains(&format!(r#" method="post" action="{place}"#)));
            assert!(ours, "{}", page.name);
            assert!(form.contains(r#"<input type="hidden" name="csrf" value="9b2e7c">"#), "{}", page.name);
            forms += 1;
        }
    }
    assert_eq!(forms, 50);
}

#[test]
fn a_screen_reader_finds_its_way() {
    for page in every_page(false) {
        let (name, html) = (page.name, page.html.as_str());
        assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{name}");
        assert_eq!(opening(html, "main").count(), 1, "{name}");
        assert_eq!(opening(html, "h1").count(), 1, "{name}");
        assert!(!html.contains("<title></title>"), "{name}");

        let ids: Vec<_> = tags(html).filter_map(|tag| attribute(tag, "id")).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{name}: an id twice in {ids:?}");
        let referred = tags(html).flat_map(|tag| {
            [attribute(tag, "aria-describedby"), attribute(tag, "aria-labelledby"), attribute(tag, "for")]
        });
        for id in referred.flatten().flat_map(str::split_whitespace) {
            assert!(ids.contains(&id), "{name}: nothing has the id {id}");
        }
        for field in visible_fields(html) {
            let id = attribute(field, "id").expect("every field has an id");
            assert_eq!(attribute(field, "name"), Some(id), "{name}");
            assert!(html.contains(&format!("<label for=\"{id}\">")), "{name}: {id} has no label");
            assert!(attribute(field, "autocomplete").is_some(), "{name}: {id}");
        }
        for choice in html.split("<input type=\"radio\"").skip(1).chain(html.split("<input type=\"checkbox\"").skip(1))
        {
            assert!(choice.split_once("</label>").is_some_and(|(label, _)| !label.contains("<label")), "{name}");
        }
        for drawing in opening(html, "svg") {
            let is_named = attribute(drawing, "role") == Some("img") && attribute(drawing, "aria-label").is_some();
            assert!(is_named || attribute(drawing, "aria-hidden") == Some("true"), "{name}");
        }
    }
}

#[test]
fn an_error_is_announced_and_read_with_the_fields_it_is_about() {
    for page in every_page(false) {
        let failed = page.name.contains(".error");
        assert_eq!(page.html.contains(r#"id="error" role="alert""#), failed, "{}", page.name);
        assert_eq!(page.html.contains("<title>Error: "), failed || page.name == "error", "{}", page.name);
        for field in visible_fields(&page.html).filter(|field| !field.contains(" readonly")) {
            assert_eq!(attribute(field, "aria-invalid"), failed.then_some("true"), "{}", page.name);
            let described_by = attribute(field, "aria-describedby").unwrap_or_default();
            assert_eq!(described_by.split(' ').any(|id| id == "error"), failed, "{}", page.name);
        }
    }
    let page = page("sign-in.notice");
    assert!(visible_fields(&page.html).all(|field| attribute(field, "aria-describedby") == Some("notice")));
}

#[test]
fn password_managers_are_told_which_field_is_which() {
    let autocomplete = |wanted: &str| {
        let page = page(wanted);
        let of = |field| Some(format!("{} {}", attribute(field, "name")?, attribute(field, "autocomplete")?));
        visible_fields(&page.html).map(of).collect::<Option<Vec<_>>>().expect("every field has both")
    };
    assert_eq!(autocomplete("sign-in"), ["login username", "password current-password"]);
    assert_eq!(autocomplete("second-step"), ["code one-time-code"]);
    assert_eq!(autocomplete("set-up"), ["login username", "password new-password", "repeat new-password"]);
}

#[test]
fn typing_goes_on_where_the_person_left_off() {
    let of = |wanted: &str| {
        let page = page(wanted);
        let focused = tags(&page.html).filter(|tag| tag.ends_with(" autofocus"));
        focused.map(|tag| attribute(tag, "name").expect("it has a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("sign-in"), ["login"]);
    assert_eq!(of("sign-in.error"), ["password"]);
    assert!(of("sign-in.select").is_empty());
    assert_eq!(of("set-up"), ["password"]);
    assert_eq!(of("second-step"), ["code"]);
    assert_eq!(of("second-step.recovery"), ["recovery_code"]);
    assert!(of("consent").is_empty(), "a key pressed too early must not allow an app");
}

#[test]
fn consent_can_be_refused_as_easily_as_given() {
    for page in every_page(false).iter().filter(|page| page.name.starts_with("consent")) {
        let decisions: Vec<_> =
            opening(&page.html, "button").map(|tag| (attribute(tag, "name"), attribute(tag, "value"))).collect();
        assert_eq!(decisions, [(Some("decision"), Some("allow")), (Some("decision"), Some("deny"))], "{}", page.name);
    }
}

#[test]
fn an_asset_lives_under_a_path_that_changes_with_its_bytes() {
    assert_ne!(hashed_path(b"a", "css"), hashed_path(b"b", "css"));
    let (path, bytes) = stylesheet();
    assert_eq!(path, hashed_path(bytes, "css"));
    let hash = path.strip_prefix("/id/assets/gatehouse-").and_then(|rest| rest.strip_suffix(".css"));
    assert_eq!(hash.map(str::len), Some(16), "{path}");
    let (path, bytes) = favicon();
    assert_eq!(path, hashed_path(bytes, "svg"));
    let (path, bytes) = passkeys_script();
    assert_eq!(path, hashed_path(bytes, "js"));
}

/// Content Security Policy `default-src 'none'; style-src 'self'; img-src 'self'`.
#[test]
fn the_style_sheet_fetches_nothing() {
    let css = std::str::from_utf8(STYLESHEET).expect("the style sheet is text");
    assert!(!css.contains("url(") && !css.contains("@import"));
}

/// A missing brace would disable every rule after it, and no other check finds it.
#[test]
fn the_style_sheet_is_whole() {
    let css = std::str::from_utf8(STYLESHEET).expect("the style sheet is text");
    let depth = |depth: i32, character| match character {
        '{' => depth + 1,
        '}' => depth - 1,
        _ => depth,
    };
    for rule in css.split("\n}\n").filter(|rule| !rule.contains("@media")) {
        assert!(rule.chars().fold(0, depth) <= 1, "{rule}");
    }
    assert_eq!(css.chars().fold(0, depth), 0);
}

/// If `GATEHOUSE_PAGES` names a folder, the pages are also written there, for viewing in a browser.
#[test]
fn every_page_names_itself_and_links_the_style_sheet() {
    let folder = std::env::var_os("GATEHOUSE_PAGES");
    for page in every_page(false) {
        let name = page.name.split('.').next().expect("a split has a first piece");
        assert!(page.html.contains(&format!("<body data-page=\"{name}\"")), "{}", page.name);
        for path in [stylesheet().0, favicon().0] {
            assert!(page.html.contains(&format!("href=\"{path}\"")), "{}", page.name);
        }
        if let Some(folder) = &folder {
            write(&Path::new(folder).join(format!("{}.html", page.name)), page.html.as_bytes());
        }
    }
    if let Some(folder) = &folder {
        for (path, bytes) in [stylesheet(), passkeys_script(), form_post_script(), favicon()] {
            write(&Path::new(folder).join(&path[1..]), bytes);
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("the folder can be made");
    fs::write(path, bytes).expect("the folder can be written");
}

/// WCAG 2.2 §1.4.3 (text, 4.5 : 1) and §1.4.11 (borders of fields and buttons, 3 : 1), in both colour schemes.
#[test]
fn colours_stand_out_from_what_they_are_on() {
    const TEXT: &[(&str, &str)] = &[
        ("text", "card"),
        ("text", "ground"),
        ("text", "glow"),
        ("muted", "card"),
        ("muted", "ground"),
        ("accent", "card"),
        ("accent", "ground"),
        ("accent-strong", "card"),
        ("accent-strong", "glow"),
        ("on-accent", "accent"),
        ("on-accent", "accent-strong"),
        ("error", "error-ground"),
        ("notice", "notice-ground"),
    ];
    const BORDERS: &[(&str, &str)] = &[("edge", "card"), ("accent", "card"), ("error", "card")];
    let css = std::str::from_utf8(STYLESHEET).expect("the style sheet is text");
    let schemes: Vec<_> = css.split(":root {").skip(1).collect();
    assert_eq!(schemes.len(), 2, "light and dark");
    for scheme in schemes {
        for (pairs, least) in [(TEXT, 4.5), (BORDERS, 3.0)] {
            for (front, back) in pairs {
                let (a, b) = (luminance(colour(scheme, front)), luminance(colour(scheme, back)));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= least, "{front} on {back}: {contrast:.2}");
            }
        }
    }
}

fn colour(scheme: &str, name: &str) -> u32 {
    let value = scheme.split_once(&format!("--{name}: #")).expect("the scheme has the colour").1;
    u32::from_str_radix(&value[..6], 16).expect("six hexadecimal digits")
}

/// WCAG 2.2, "relative luminance".
fn luminance(colour: u32) -> f64 {
    let [_, channels @ ..] = colour.to_be_bytes();
    let linear = channels.map(|channel| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    linear.iter().zip([0.2126, 0.7152, 0.0722]).map(|(value, weight)| value * weight).sum()
}
