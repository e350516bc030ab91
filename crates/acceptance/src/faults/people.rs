//! Users' changes to their own accounts.

use std::io::Cursor;

use http::Method;
use image::{DynamicImage, ImageFormat, RgbImage};
use model::Email;
use model::mail::MailMessage;

use super::{Acted, Scene};
use crate::{Browser, HttpAnswer};

const NEW: &str = "lantern-otter-quill";
const FIRST: &str = "my.trusted.app/first";

async fn choose_password(browser: &mut Browser, new: &str) -> HttpAnswer {
    let page = browser.open("/profile/password").await;
    let current = browser.password.clone();
    browser.submit(&page, "current", &[("current", &current), ("password", new), ("repeat", new)]).await
}

/// Whether the new password is accepted. Exactly one of the old and the new password must be.
async fn is_new_password(scene: &Scene<'_>, person: &Browser) -> bool {
    let signs_in = async |password: &str| {
        let mut browser = Browser { password: password.to_owned(), ..scene.browser(&person.login) };
        browser.sign_in().await.page() == "account"
    };
    let is_new = signs_in(NEW).await;
    assert_eq!(signs_in(&person.password).await, !is_new);
    is_new
}

pub(super) async fn change_password(scene: &mut Scene<'_>) {
    let (app, mut person) = (scene.app(FIRST), scene.signed_in().await);
    let mut elsewhere = scene.signed_in_as(&person).await;
    let tokens = scene.tokens(&app, &mut elsewhere).await;
    assert_eq!(scene.status(&tokens.access).await, 200);
    let acted = scene.act(async || choose_password(&mut person, NEW).await).await;
    let is_new = is_new_password(scene, &person).await;
    assert_eq!(scene.status(&tokens.access).await, if is_new { 401 } else { 200 }, "what was opened ends with it");
    if let Acted::Done(answer) = acted {
        assert!(is_new, "{}", answer.text());
        assert_eq!(person.open("/id/account").await.page(), "account", "this sign-in goes on");
    } else if !is_new {
        choose_password(&mut scene.signed_in_as(&person).await, NEW).await;
        assert!(is_new_password(scene, &person).await, "the same again");
    }
}

async fn ask_for_reset(browser: &mut Browser) {
    let page = browser.open("/id/account/forgotten").await;
    let login = browser.login.clone();
    assert_eq!(browser.submit(&page, "login", &[("login", &login)]).await.page(), "forgotten-sent");
}

/// The link in an e-mail, from its path on.
fn link_in(letter: &MailMessage) -> String {
    let line = letter.text.lines().find(|line| line.starts_with("http://localhost:8080/")).expect("a link");
    line["http://localhost:8080".len()..].to_owned()
}

async fn link_to(scene: &Scene<'_>, login: &str) -> String {
    link_in(&scene.letter_to(&format!("{login}@example.com")).await)
}

/// A valid link to this page. A request repeated after a 503 may send two e-mails: the first link is void, and its
/// e-mail may arrive before or after the other.
pub(super) async fn good_link_to(scene: &Scene<'_>, address: &str, page: &str) -> String {
    loop {
        let link = link_in(&scene.letter_to(address).await);
        if scene.browser("nobody").open(&link).await.page() == page {
            return link;
        }
    }
}

async fn choose(browser: &mut Browser, link: &str) -> HttpAnswer {
    let page = browser.open(link).await;
    if page.page() != "set-up" {
        return page;
    }
    browser.submit(&page, "password", &[("password", NEW), ("repeat", NEW)]).await
}

/// A reset request, and the task that processes it. After a failure the user requests again.
pub(super) async fn ask_for_password_reset(scene: &mut Scene<'_>) {
    let mut person = scene.person().await;
    let ask = async |person: &mut Browser| {
        ask_for_reset(person).await;
        scene.or_stop(scene.server.server.answer_reset_request().await).await;
    };
    if !scene.act(async || ask(&mut person).await).await.is_done() {
        ask(&mut person).await;
    }
    let link = good_link_to(scene, &format!("{}@example.com", person.login), "set-up").await;
    assert_eq!(choose(&mut person, &link).await.page(), "set-up-done");
}

pub(super) async fn reset_password(scene: &mut Scene<'_>) {
    let mut person = scene.signed_in().await;
    ask_for_reset(&mut person).await;
    scene.server.server.answer_reset_request().await.expect("no fault");
    let link = link_to(scene, &person.login).await;
    let mut stranger = scene.browser(&person.login);
    let acted = scene.act(async || choose(&mut stranger, &link).await.page()).await;
    let is_new = is_new_password(scene, &person).await;
    match acted {
        Acted::Done(page) => assert!(is_new && page == "set-up-done", "{page}"),
        Acted::Stopped if is_new => {}
        Acted::Stopped => {
            assert_eq!(choose(&mut stranger, &link).await.page(), "set-up-done", "the link is not spent");
            assert!(is_new_password(scene, &person).await);
        }
    }
    assert_eq!(person.open("/id/account").await.page(), "sign-in", "what was opened has ended");
    assert_eq!(stranger.open(&link).await.status, 410, "once");
}

/// The link in an e-mail makes a new browser known.
pub(super) async fn know_browser(scene: &mut Scene<'_>) {
    let person = scene.person().await;
    let mut browser = scene.browser(&person.login);
    let page = browser.open("/id/account/login").await;
    let csrf = page.form("password").field("csrf").expect("a token").to_owned();
    let asked = browser.post("/id/account/known-browser", &[("login", &person.login), ("csrf", &csrf)]).await;
    assert_eq!(asked.page(), "known-browser-sent");
    scene.server.server.answer_reset_request().await.expect("no fault");
    let link = link_to(scene, &person.login).await;
    let confirm = async |browser: &mut Browser| {
        let page = browser.open(&link).await;
        if page.page() == "known-browser" { browser.submit(&page, "code", &[]).await } else { page }
    };
    match scene.act(async || confirm(&mut browser).await.page()).await {
        Acted::Done(page) => assert_eq!(page, "known-browser-done"),
        Acted::Stopped => {
            // The database decides whether the link was spent; it works once in all.
            let again = confirm(&mut browser).await;
            assert!(again.status == 410 || again.page() == "known-browser-done", "{}", again.text());
        }
    }
    assert_eq!(browser.open(&link).await.status, 410, "once");
    assert_eq!(browser.open("/id/account").await.page(), "sign-in", "it signs nobody in");
}

async fn ask_for_address(browser: &mut Browser, address: &str) {
    let page = browser.open("/profile/email").await;
    assert_eq!(browser.submit(&page, "email", &[("email", address)]).await.page(), "profile-email");
}

async fn agree(browser: &mut Browser, link: &str) -> HttpAnswer {
    let page = browser.open(link).await;
    if page.page() != "confirm-email" {
        return page;
    }
    browser.submit(&page, "answer", &[("answer", "yes")]).await
}

async fn address_of(scene: &Scene<'_>, login: &str) -> Option<Email> {
    let found = scene.server.operator().await.user_by_name(login).await;
    found.expect("no fault").expect("there").user.email
}

/// Both e-mails are sent, or neither.
pub(super) async fn ask_for_new_address(scene: &mut Scene<'_>) {
    let mut person = scene.signed_in().await;
    let new = format!("{}@home.example", person.login);
    if !scene.act(async || ask_for_address(&mut person, &new).await).await.is_done() {
        ask_for_address(&mut person, &new).await;
    }
    for address in [&new, &format!("{}@example.com", person.login)] {
        let link = good_link_to(scene, address, "confirm-email").await;
        agree(&mut person, &link).await;
    }
    let address = address_of(scene, &person.login).await.expect("one");
    assert_eq!((address.address, address.verified), (new, true));
}

/// Confirms at the new address, then at the old one. Faults strike during one of the two answers.
async fn answer_about_address(scene: &mut Scene<'_>, is_first: bool) {
    let mut person = scene.signed_in().await;
    let new = format!("{}@home.example", person.login);
    ask_for_address(&mut person, &new).await;
    let (to_new, to_old) = (link_in(&scene.letter_to(&new).await), link_to(scene, &person.login).await);
    let mut reader = scene.browser(&person.login);
    if !is_first {
        agree(&mut reader, &to_new).await;
    }
    let link = if is_first { &to_new } else { &to_old };
    if !scene.act(async || agree(&mut reader, link).await).await.is_done() {
        agree(&mut reader, link).await;
    }
    if is_first {
        assert_eq!(
            address_of(scene, &person.login).await.expect("one").address,
            format!("{}@example.com", person.login)
        );
        agree(&mut reader, &to_old).await;
    }
    assert_eq!(address_of(scene, &person.login).await.expect("one").address, new);
    assert_eq!(person.open("/id/account").await.page(), "account", "nothing ends");
}

pub(super) async fn agree_by_new_address(scene: &mut Scene<'_>) {
    answer_about_address(scene, true).await;
}

pub(super) async fn agree_by_old_address(scene: &mut Scene<'_>) {
    answer_about_address(scene, false).await;
}

async fn csrf_of(browser: &mut Browser) -> String {
    browser.open("/profile/language").await.form("csrf").field("csrf").expect("a token").to_owned()
}

async fn send_picture(browser: &mut Browser, name: &str, content: &[u8]) {
    let csrf = csrf_of(browser).await;
    let mut body = Vec::new();
    for (name, value) in [("csrf", csrf.as_bytes()), (name, content)] {
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    let cookie = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let ask = browser.client.ask(&Method::POST, "/profile/picture").header("cookie", &cookie);
    let answer = ask.body("multipart/form-data; boundary=edge", body).send().await;
    assert_eq!(answer.status, 303, "{}", answer.text());
}

async fn kind_of_picture(browser: &mut Browser) -> String {
    browser.step(&Method::GET, "/profile/me/picture", &[]).await.header("content-type").to_owned()
}

/// Chooses a picture, or removes it.
async fn picture(scene: &mut Scene<'_>, is_removal: bool) {
    let mut person = scene.signed_in().await;
    let mut file = Vec::new();
    let image = DynamicImage::ImageRgb8(RgbImage::from_pixel(30, 20, image::Rgb([200, 10, 10])));
    image.write_to(&mut Cursor::new(&mut file), ImageFormat::Png).expect("drawn in memory");
    let (name, content, kind) =
        if is_removal { ("remove", b"1".as_slice(), "image/svg+xml") } else { ("picture", &*file, "image/png") };
    if is_removal {
        send_picture(&mut person, "picture", &file).await;
    }
    if !scene.act(async || send_picture(&mut person, name, content).await).await.is_done() {
        send_picture(&mut person, name, content).await;
    }
    assert_eq!(kind_of_picture(&mut person).await, kind);
}

pub(super) async fn choose_picture(scene: &mut Scene<'_>) {
    picture(scene, false).await;
}

pub(super) async fn remove_picture(scene: &mut Scene<'_>) {
    picture(scene, true).await;
}

pub(super) async fn withdraw_consent(scene: &mut Scene<'_>) {
    let (app, mut person) = (scene.app(FIRST), scene.person().await);
    let tokens = scene.tokens(&app, &mut person).await;
    assert_eq!(scene.status(&tokens.access).await, 200);
    let withdraw = async |person: &mut Browser| {
        let page = person.open("/profile/apps").await;
        let Some(id) = page.attributes("[name=withdraw]", "value").into_iter().next() else { return };
        person.submit(&page, "withdraw", &[("withdraw", &id)]).await;
    };
    if !scene.act(async || withdraw(&mut person).await).await.is_done() {
        withdraw(&mut person).await;
    }
    assert_eq!(scene.status(&tokens.access).await, 401);
    assert_eq!(app.refresh(tokens.refresh()).await.refusal().1, "invalid_grant");
    assert_eq!(person.open(&app.asks("read").path()).await.page(), "consent", "it must ask again");
}

pub(super) async fn end_other_sign_ins(scene: &mut Scene<'_>) {
    let (app, mut person) = (scene.app(FIRST), scene.signed_in().await);
    let mut elsewhere = scene.browser(&person.login);
    elsewhere.password.clone_from(&person.password);
    let tokens = scene.tokens(&app, &mut elsewhere).await;
    assert_eq!(scene.status(&tokens.access).await, 200);
    let end = async |person: &mut Browser| {
        let csrf = csrf_of(person).await;
        person.post("/profile/sessions", &[("csrf", &csrf), ("others", "1")]).await;
    };
    if !scene.act(async || end(&mut person).await).await.is_done() {
        end(&mut person).await;
    }
    assert_eq!(elsewhere.open("/id/account").await.page(), "sign-in");
    assert_eq!(scene.status(&tokens.access).await, 401);
    assert_eq!(person.open("/id/account").await.page(), "account", "this one goes on");
}

pub(super) async fn choose_language(scene: &mut Scene<'_>) {
    let mut person = scene.signed_in().await;
    let choose = async |person: &mut Browser| {
        let page = person.open("/profile/language").await;
        person.submit(&page, "language", &[("language", "de")]).await;
    };
    if !scene.act(async || choose(&mut person).await).await.is_done() {
        choose(&mut person).await;
    }
    assert_eq!(person.open("/profile").await.attributes("html", "lang"), ["de"]);
}
