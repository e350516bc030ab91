//! Every citation of a specification in `docs/spec/` names an existing section.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Sections by page: `3.1` of `identity.md`.
type Sections = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout is there")
}

/// Files below a directory with one of these endings. Build directories are left out.
fn files(below: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![below.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory that can be read") {
            let path = entry.expect("an entry that can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "node_modules"].contains(&name) {
                    directories.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found
}

/// The section number at the start of a text, like `3.1`; empty if there is none.
fn number(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

fn sections(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")));
    headings.map(|heading| number(heading).to_owned()).filter(|number| !number.is_empty()).collect()
}

fn specification() -> Sections {
    let pages = files(&root().join("docs/spec"), &[".md"]);
    let page = |path: &PathBuf| {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        (name, sections(&fs::read_to_string(path).expect("a page that can be read")))
    };
    pages.iter().map(page).collect()
}

/// The sections cited directly behind a page's name: `` `identity.md` §3.1, §3.6 ``. A citation may continue on the
/// next line of a comment.
fn cited(behind_name: &str) -> Vec<&str> {
    let link = |text: &str| text.strip_prefix("](").and_then(|link| link.find(')')).map(|end| end + 3);
    let behind = behind_name.strip_prefix('`').unwrap_or(behind_name);
    let mut rest = &behind[link(behind).unwrap_or(0)..];
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',', '\n', '/', '!', '–']);
        let Some(section) = rest.strip_prefix('§').or_else(|| {
            // The other end of a range.
            (!found.is_empty() && rest.starts_with(|c: char| c.is_ascii_digit())).then_some(rest)
        }) else {
            return found;
        };
        let number = number(section);
        if number.is_empty() {
            return found;
        }
        found.push(number);
        rest = &section[number.len()..];
    }
}

/// The citations of a text that do not resolve, and the number of those that do.
fn resolve(text: &str, pages: &Sections) -> (Vec<String>, usize) {
    let (mut wrong, mut right) = (Vec::new(), 0);
    for (page, sections) in pages {
        for (at, _) in text.match_indices(page.as_str()) {
            if text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-') {
                continue; // the end of another page's name
            }
            for section in cited(&text[at + page.len()..]) {
                if sections.contains(section) {
                    right += 1;
                } else {
                    wrong.push(format!("{page} §{section}"));
                }
            }
        }
    }
    (wrong, right)
}

#[test]
fn every_citation_of_a_specification_resolves() {
    let (root, pages) = (root(), specification());
    let (mut wrong, mut right) = (Vec::new(), 0);
    let mut read = |path: &Path| {
        let text = fs::read_to_string(path).expect("a file that can be read");
        let (lost, found) = resolve(&text, &pages);
        wrong.extend(lost.into_iter().map(|citation| format!("{}: {citation}", path.display())));
        right += found;
    };
    let documents = files(&root.join("docs"), &[".md"]);
    let here = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "GLOSSARY.md", "CHANGELOG.md"];
    let code = files(&root.join("crates"), &[".rs"]);
    // This file contains a citation that does not resolve.
    let code = code.into_iter().filter(|path| !path.ends_with("tests/citations.rs"));
    for path in documents.into_iter().chain(here.iter().map(|name| root.join(name))).chain(code) {
        read(&path);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(right > 50, "only {right} citations were found: is the search for them broken?");
}

#[test]
fn a_citation_that_leads_nowhere_is_found() {
    let pages = Sections::from([("identity.md".to_owned(), BTreeSet::from(["3".to_owned(), "3.1".to_owned()]))]);
    let (wrong, right) =
        resolve("//! `identity.md` §3.1, §3.9\n//! and `identity.md` §3–4 and my-identity.md §7", &pages);
    assert_eq!((wrong, right), (vec!["identity.md §3.9".to_owned(), "identity.md §4".to_owned()], 2));
    let (wrong, right) = resolve("[identity.md](identity.md) §3.1; `identity.md`,\n/// §3", &pages);
    assert_eq!((wrong.len(), right), (0, 2));
}
