//! `docs/promises.md` lists every promise with its test. It is generated from the tests and compared with them.

#![allow(clippy::disallowed_methods, reason = "who changed a test asks for a new index by the environment")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Suites in the order of the index: a heading, and the folder or file below the root.
const SUITES: &[(&str, &str)] = &[
    ("Standards and the server's own rules, through the router", "crates/acceptance/tests/it"),
    ("The listener", "crates/acceptance/tests/server"),
    ("The entities' API", "crates/acceptance/tests/domain_api"),
    ("Seats", "crates/acceptance/tests/seats_model"),
    ("Seats, end to end", "crates/acceptance/tests/seats_end_to_end"),
    ("Faults", "crates/acceptance/tests/faults"),
    ("The command line and the process", "crates/gatehouse/tests"),
    ("Storage", "crates/store/tests"),
    ("The source", "crates/acceptance/tests"),
];

/// A test and the first line of its documentation.
#[derive(Debug, PartialEq)]
struct Promise {
    name: String,
    about: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout is there")
}

/// The first sentence of a text. The rest explains it.
fn first_sentence(text: &str) -> String {
    let end = text.match_indices(". ").map(|(at, _)| at + 1).find(|end| !text[..*end].ends_with(" cf."));
    text[..end.unwrap_or(text.len())].to_owned()
}

/// The lines of a documentation comment as one text.
fn documentation<'a>(lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let text = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then(|| first_sentence(&text))
}

fn about(file: &str) -> Option<String> {
    documentation(file.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim))
}

/// The tests of a file in order: marked functions, and the names in a list `on_both! { … }`.
fn promises(file: &str) -> Vec<Promise> {
    let (mut found, mut comment, mut is_test, mut is_list) = (Vec::<Promise>::new(), Vec::new(), false, false);
    let mut listed = Vec::new();
    for line in file.lines().map(str::trim) {
        if is_list {
            is_list = line != "}";
            listed.extend(line.split_whitespace().filter(|name| *name != "}"));
        } else if line.starts_with("on_both! {") {
            is_list = true;
        } else if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim());
        } else if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
        } else {
            let rest = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
            let name = rest.and_then(|rest| rest.split('(').next()).unwrap_or_default();
            if !name.is_empty() && (is_test || listed.contains(&name)) {
                found.push(Promise { name: name.to_owned(), about: documentation(comment.iter().copied()) });
            }
            comment.clear();
            is_test = false;
        }
    }
    found
}

fn sources(below: &Path, is_recursive: bool) -> Vec<PathBuf> {
    if below.is_file() {
        return vec![below.to_owned()];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap_or_else(|error| panic!("{}: {error}", below.display())) {
        let path = entry.expect("an entry that can be read").path();
        if path.is_dir() && is_recursive {
            found.extend(sources(&path, true));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn index() -> String {
    let root = root();
    let mut text = "# Promises\n\nWhat is tested, and where. Written from the tests: \
                    `GATEHOUSE_WRITE_PROMISES=1 cargo test -p acceptance --test promises`.\n"
        .to_owned();
    for (heading, place) in SUITES {
        let is_recursive = *place != "crates/acceptance/tests";
        let mut suite = String::new();
        for path in sources(&root.join(place), is_recursive) {
            let file = fs::read_to_string(&path).expect("a source that can be read");
            let promises = promises(&file);
            if !promises.is_empty() {
                let link = path.strip_prefix(&root).expect("below the root").display().to_string();
                write_file(&mut suite, &link, about(&file), &promises);
            }
        }
        assert!(!suite.is_empty(), "{place} has no tests");
        let _infallible = write!(text, "\n## {heading}\n{suite}");
    }
    text
}

fn write_file(text: &mut String, link: &str, about: Option<String>, promises: &[Promise]) {
    let name = link.rsplit_once("tests/").map_or(link, |(_, name)| name);
    let _infallible = write!(text, "\n### [{name}](../{link})\n\n");
    if let Some(about) = about {
        let _infallible = write!(text, "{about}\n\n");
    }
    for Promise { name, about } in promises {
        let said = name.replace('_', " ");
        let _infallible = match about {
            Some(about) => writeln!(text, "- {said}: {about}"),
            None => writeln!(text, "- {said}"),
        };
    }
}

#[test]
fn the_index_of_promises_is_that_of_the_tests() {
    let (path, written) = (root().join("docs/promises.md"), index());
    if std::env::var_os("GATEHOUSE_WRITE_PROMISES").is_some() {
        fs::write(&path, &written).expect("the document can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(written.lines()).find(|(kept, written)| kept != written);
    assert!(
        kept == written,
        "docs/promises.md is not up to date ({differs:?}): GATEHOUSE_WRITE_PROMISES=1 cargo test -p acceptance --test promises"
    );
}

#[test]
fn a_test_is_found_by_its_mark_or_in_a_list_for_both_databases() {
    let file = "//! The file. More of it.\n\non_both! {\n    listed\n}\n\n/// RFC 1 §2: why. And more.\n#[test]\n\
                #[expect(x)]\nfn marked() {\n}\n\nfn helper() {}\n\nasync fn listed(place: Place) {\n}\n";
    let promise = |name: &str, about: Option<&str>| Promise { name: name.to_owned(), about: about.map(str::to_owned) };
    assert_eq!(promises(file), [promise("marked", Some("RFC 1 §2: why.")), promise("listed", None)]);
    assert_eq!(about(file).as_deref(), Some("The file."));
}
