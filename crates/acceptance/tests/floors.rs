//! The floors: which crate may depend on which. A crate exists because there is something it must be unable to name.

use std::process::Command;

use serde_json::Value;

/// A crate of the workspace, and the workspace crates that it may name.
const FLOORS: &[(&str, &[&str])] = &[
    ("oauth", &[]),
    ("odata", &[]),
    ("model", &["oauth", "odata"]),
    ("demo", &["model"]),
    ("store", &["model", "oauth", "odata"]),
    ("flows", &["store", "model", "oauth", "odata"]),
    ("web", &["flows", "model", "oauth", "odata"]),
    ("gatehouse", &["web", "flows", "store", "model", "demo", "oauth", "odata"]),
];

/// Further crates that the tests of a crate may name.
const FOR_TESTS: &[(&str, &str)] = &[("store", "demo")];

/// A third-party crate, and the only workspace crates that may name it. Tests of the others may name it too.
const KEPT_TO: &[(&str, &[&str])] = &[
    ("axum", &["web", "gatehouse"]),
    ("rusqlite", &["store"]),
    ("tokio-postgres", &["store"]),
    ("refinery", &["store"]),
    ("tokio", &["store", "flows", "web", "gatehouse"]),
    ("clap", &["gatehouse"]),
    ("totp-rs", &["model"]),
    ("webauthn-rs", &["flows"]),
];

/// These crates test, measure or demonstrate the product and may name everything. The product names none of them.
const BESIDE: &[&str] = &["acceptance", "bench"];

/// A dependency in the workspace.
#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    for_tests: bool,
}

fn edge(from: &str, to: &str, for_tests: bool) -> Edge {
    Edge { from: from.to_owned(), to: to.to_owned(), for_tests }
}

/// The crates under `crates/` with all their dependencies.
fn workspace() -> (Vec<String>, Vec<Edge>) {
    let asked = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this test, so there is one");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let metadata: Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let mut crates = Vec::new();
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().expect("a list") {
        if !text(&package["manifest_path"]).contains("/crates/") {
            continue; // an example
        }
        let name = text(&package["name"]);
        for dependency in package["dependencies"].as_array().expect("a list") {
            edges.push(edge(&name, &text(&dependency["name"]), dependency["kind"] == "dev"));
        }
        crates.push(name);
    }
    (crates, edges)
}

/// The reason why the dependency is not allowed.
fn wrong(edge: &Edge) -> Option<String> {
    let Edge { from, to, for_tests } = edge;
    let below = FLOORS.iter().find(|(name, _)| name == from).map(|(_, below)| *below)?;
    let is_ours = FLOORS.iter().any(|(name, _)| name == to) || BESIDE.contains(&to.as_str());
    let is_for_tests = *for_tests && FOR_TESTS.contains(&(from.as_str(), to.as_str()));
    if is_ours && !is_for_tests && !below.contains(&to.as_str()) {
        return Some(format!("{from} names {to}: it may name {below:?} of ours"));
    }
    let (_, few) = KEPT_TO.iter().find(|(name, _)| name == to)?;
    (!for_tests && !few.contains(&from.as_str())).then(|| format!("{from} names {to}, which is kept to {few:?}"))
}

#[test]
fn no_crate_names_what_is_not_on_a_floor_below_it() {
    let (crates, edges) = workspace();
    for name in FLOORS.iter().map(|(name, _)| *name).chain(BESIDE.iter().copied()) {
        assert!(crates.iter().any(|known| known == name), "{name} is in the picture and not in the workspace");
    }
    for name in &crates {
        let placed = FLOORS.iter().any(|(floor, _)| floor == name) || BESIDE.contains(&name.as_str());
        assert!(placed, "{name} has no place in the picture");
    }
    let wrongs: Vec<String> = edges.iter().filter_map(wrong).collect();
    assert!(wrongs.is_empty(), "{wrongs:#?}");
}

#[test]
fn an_edge_that_is_not_in_the_picture_is_found() {
    for (from, to, for_tests) in [
        ("web", "store", false),
        ("web", "store", true),
        ("oauth", "odata", false),
        ("model", "store", false),
        ("store", "flows", true),
        ("flows", "axum", false),
        ("web", "rusqlite", false),
        ("gatehouse", "tokio-postgres", false),
        ("model", "tokio", false),
        ("web", "acceptance", true),
        ("flows", "demo", false),
        ("store", "demo", false),
        ("flows", "demo", true),
    ] {
        assert!(wrong(&edge(from, to, for_tests)).is_some(), "{from} → {to}");
    }
    for (from, to, for_tests) in [
        ("web", "flows", false),
        ("gatehouse", "rusqlite", true),
        ("store", "demo", true),
        ("store", "rusqlite", false),
        ("bench", "web", false),
    ] {
        assert_eq!(wrong(&edge(from, to, for_tests)), None, "{from} → {to}");
    }
}
