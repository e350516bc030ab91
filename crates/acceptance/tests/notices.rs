//! `THIRD-PARTY-NOTICES.md` lists the crates linked into the binary, in the current versions, all under allowed
//! licences.

use acceptance::notices::{COMMAND, metadata, notices, root};
use serde_json::{Value, json};

#[test]
fn every_dependency_is_in_the_notices_with_its_licence() {
    let now = notices(&metadata()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let kept = std::fs::read_to_string(root().join("THIRD-PARTY-NOTICES.md")).unwrap_or_default();
    let differs = now.lines().zip(kept.lines().chain(std::iter::repeat(""))).find(|(now, kept)| now != kept);
    assert!(now == kept, "the dependencies are others; write the notices anew:\n  {COMMAND}\nthe first: {differs:?}");
}

fn package<'a>(metadata: &'a mut Value, name: &str) -> &'a mut Value {
    let packages = metadata["packages"].as_array_mut().expect("a list");
    packages.iter_mut().find(|package| package["name"] == name).expect("a dependency")
}

#[test]
fn a_change_of_dependencies_is_seen() {
    let before = notices(&metadata()).expect("they are allowed");
    let mut other = metadata();
    package(&mut other, "axum")["version"] = json!("99.0.0");
    let after = notices(&other).expect("they are allowed");
    assert!(before != after && after.contains("| axum | 99.0.0 |"));
    let mut gone = metadata();
    gone["resolve"]["nodes"]
        .as_array_mut()
        .expect("a list")
        .retain(|node| node["id"].as_str().is_some_and(|id| !id.contains("#axum@")));
    package(&mut gone, "axum")["id"] = json!("nowhere");
    assert!(!notices(&gone).expect("they are allowed").contains("| axum |"));
}

#[test]
fn a_licence_that_was_not_agreed_to_is_refused_by_name() {
    let mut other = metadata();
    package(&mut other, "axum")["license"] = json!("GPL-3.0-only");
    let problems = notices(&other).expect_err("refused");
    assert!(problems.len() == 1 && problems[0].starts_with("axum "), "{problems:?}");
    package(&mut other, "axum")["license"] = Value::Null;
    assert!(notices(&other).is_err(), "none is not agreed to either");
}
