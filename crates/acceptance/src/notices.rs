//! `THIRD-PARTY-NOTICES.md`: the crates that the released binary is linked with, and their licences, from
//! `cargo metadata` and the crates' sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The command that writes the file. The test that compares the file shows it.
pub const COMMAND: &str = "cargo run -q -p acceptance --bin third-party-notices > THIRD-PARTY-NOTICES.md";

/// SPDX identifiers of the licences that a dependency may be used under, in order of preference.
const ALLOWED: [&str; 10] = [
    "Apache-2.0",
    "MIT",
    "ISC",
    "BSD-3-Clause",
    "BSD-2-Clause",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
];

/// Third-party code and data inside a crate that the crate's own licence does not mention.
const INSIDE: [(&str, &str, Origin); 5] = [
    ("libsqlite3-sys", "SQLite, in the public domain", Origin::NoText),
    ("aws-lc-sys", "AWS-LC", Origin::Files(&["aws-lc/LICENSE", "aws-lc/third_party/fiat/LICENSE"])),
    ("libmimalloc-sys", "mimalloc", Origin::Files(&["c_src/mimalloc/v2/LICENSE", "c_src/mimalloc/v3/LICENSE"])),
    (
        "zxcvbn",
        "The word lists and the method of zxcvbn",
        Origin::Mit("Copyright (c) 2012-2016 Dan Wheeler and Dropbox, Inc."),
    ),
    ("webpki-roots", "The certificate authorities of Mozilla's root program", Origin::NoText),
];

enum Origin {
    NoText,
    Files(&'static [&'static str]),
    /// The copyright line.
    Mit(&'static str),
}

/// The workspace and all its dependencies on Linux, without the network.
pub fn metadata() -> Value {
    let asked = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo built this, so there is one");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    serde_json::from_slice(&asked.stdout).expect("JSON")
}

/// The file's text. Otherwise the crates under a licence that is not allowed, or without the licence's text.
pub fn notices(metadata: &Value) -> Result<String, Vec<String>> {
    let packages = linked(metadata);
    let mut texts = Texts::default();
    let mut problems = Vec::new();
    let mut table = String::new();
    for package in &packages {
        match package.licences().and_then(|chosen| texts.add_all(package, &chosen, metadata).map(|()| chosen)) {
            Err(problem) => problems.push(problem),
            Ok(chosen) => {
                let (name, version, offered) = (package.text("name"), package.text("version"), package.text("license"));
                let used = chosen.iter().copied().collect::<Vec<_>>().join(" and ");
                let _infallible = writeln!(table, "| {name} | {version} | {offered} | {used} |");
            }
        }
    }
    let mut inside = String::new();
    for (name, what, origin) in &INSIDE {
        let Some(package) = packages.iter().find(|package| package.text("name") == *name) else {
            problems.push(format!("{name} is no dependency any more: take it out of `INSIDE`"));
            continue;
        };
        let _infallible = writeln!(inside, "- {what} (in {name})");
        match origin {
            Origin::NoText => {}
            Origin::Files(files) => files.iter().for_each(|file| texts.add(what, &read(&package.folder().join(file)))),
            Origin::Mit(copyright) => texts.add(what, &mit(copyright)),
        }
    }
    if problems.is_empty() { Ok(written(&table, &inside, &texts)) } else { Err(problems) }
}

fn written(table: &str, inside: &str, texts: &Texts) -> String {
    let mut all = format!(
        "# Third-party notices\n\n\
         What the Gatehouse binary for Linux is linked with, beside the standard library of Rust (Apache-2.0 or MIT, the Rust \
         Project contributors). Nothing of it was changed. The source of a crate is at \
         `https://crates.io/crates/NAME/VERSION`.\n\n\
         This file is written by `{COMMAND}`.\n\n\
         ## Crates\n\n| crate | version | offered under | used under |\n| --- | --- | --- | --- |\n{table}\n\
         ## Inside these crates\n\n{inside}\n## Licences\n",
    );
    for (text, users) in texts.in_order() {
        let users = users.iter().cloned().collect::<Vec<_>>().join(", ");
        let _infallible = write!(all, "\n### {users}\n\n```text\n{text}\n```\n");
    }
    all
}

/// Licence texts with the crates that use them. Texts that differ only in white space are stored once.
#[derive(Default)]
struct Texts(BTreeMap<String, (String, BTreeSet<String>)>);

impl Texts {
    fn add(&mut self, user: &str, text: &str) {
        let same = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<&str> = text.trim_matches('\n').lines().map(str::trim_end).collect();
        self.0.entry(same).or_insert_with(|| (lines.join("\n"), BTreeSet::new())).1.insert(user.to_owned());
    }

    /// Adds every file of the package that holds a chosen licence, or whose name tells no licence.
    fn add_all(&mut self, package: &Package<'_>, chosen: &BTreeSet<&str>, metadata: &Value) -> Result<(), String> {
        let user = package.text("name");
        let files = package.licence_files();
        for file in &files {
            let of = licence_of(file);
            // The text of the Apache License is the same everywhere; its appendix is an example.
            if of.is_none_or(|of| of != "Apache-2.0" && chosen.contains(of)) {
                self.add(user, &read(file));
            }
        }
        for licence in chosen {
            let is_told = files.iter().any(|file| licence_of(file).is_none_or(|of| of == *licence));
            match *licence {
                "Apache-2.0" => self.add(user, &read(&root().join("LICENSE-APACHE"))),
                _ if is_told => {}
                "MIT" => self.add(user, &mit(&format!("Copyright (c) {}", package.authors()))),
                other => {
                    let text = text_of_another(other, metadata).ok_or(format!("{user}: no text of {other}"))?;
                    self.add(user, &text);
                }
            }
        }
        Ok(())
    }

    /// Sorted by the number of users, largest first.
    fn in_order(&self) -> Vec<(&String, &BTreeSet<String>)> {
        let mut all: Vec<_> = self.0.values().map(|(text, users)| (text, users)).collect();
        all.sort_by_key(|(_, users)| (std::cmp::Reverse(users.len()), users.first().cloned()));
        all
    }
}

struct Package<'a>(&'a Value);

impl Package<'_> {
    fn text(&self, member: &str) -> &str {
        self.0[member].as_str().unwrap_or_default()
    }

    fn folder(&self) -> PathBuf {
        Path::new(self.text("manifest_path")).parent().expect("a manifest is in a folder").to_owned()
    }

    /// Without e-mail addresses.
    fn authors(&self) -> String {
        let authors = self.0["authors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let names: Vec<&str> = authors.map(|author| author.split('<').next().unwrap_or(author).trim()).collect();
        names.join(", ")
    }

    fn licence_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder()).expect("cargo has unpacked it");
        let is_one = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
            path.is_file() && ["LICEN", "COPYING", "COPYRIGHT", "NOTICE"].iter().any(|start| name.starts_with(start))
        };
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_one).collect();
        files.sort_unstable();
        files
    }

    /// The licences under which the package is used.
    fn licences(&self) -> Result<BTreeSet<&'static str>, String> {
        let offered = self.text("license");
        choose(offered)
            .ok_or_else(|| format!("{} {}: {offered:?} is not allowed", self.text("name"), self.text("version")))
    }
}

/// The licence that a file's name indicates.
fn licence_of(file: &Path) -> Option<&'static str> {
    const NAMES: [(&str, &str); 13] = [
        ("LLVM", "Apache-2.0 WITH LLVM-exception"),
        ("APACHE", "Apache-2.0"),
        ("0BSD", "0BSD"),
        ("BSD", "BSD-3-Clause"),
        ("MIT-0", "MIT-0"),
        ("MIT", "MIT"),
        ("ZLIB", "Zlib"),
        ("ISC", "ISC"),
        ("UNICODE", "Unicode-3.0"),
        ("UNLICENSE", "Unlicense"),
        ("CC0", "CC0-1.0"),
        ("BOOST", "BSL-1.0"),
        ("MPL", "MPL-2.0"),
    ];
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    NAMES.iter().find(|(part, _)| name.contains(part)).map(|(_, licence)| *licence)
}

/// The licence text from another package that offers only this licence.
fn text_of_another(licence: &str, metadata: &Value) -> Option<String> {
    let packages = metadata["packages"].as_array()?.iter().map(Package);
    let mut of_it = packages.filter(|package| package.text("license") == licence).map(|one| one.licence_files());
    of_it.find_map(|files| files.first().map(|file| read(file)))
}

/// This project's MIT licence with another copyright line.
fn mit(copyright: &str) -> String {
    let ours = read(&root().join("LICENSE-MIT"));
    let lines = ours.lines().map(|line| if line.starts_with("Copyright (c)") { copyright } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/acceptance").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Third-party crates linked into the binary, by name and version. Build-time dependencies are left out.
fn linked(metadata: &Value) -> Vec<Package<'_>> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<&str, &Value> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let depends: BTreeMap<String, Vec<Value>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (node["id"].as_str().unwrap_or_default().to_owned(), list(&node["deps"])))
        .collect();
    let makes_code = |package: &Value| list(&package["targets"]).iter().any(|target| target["kind"][0] == "proc-macro");
    let start = packages.iter().find(|(_, package)| package["name"] == "gatehouse").map(|(id, _)| (*id).to_owned());
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<String> = start.into_iter().collect();
    while let Some(id) = waiting.pop() {
        let Some(package) = packages.get(id.as_str()) else { continue };
        if makes_code(package) || !reached.insert(id.clone()) {
            continue;
        }
        for dependency in depends.get(&id).into_iter().flatten() {
            let is_linked = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            waiting.extend(dependency["pkg"].as_str().filter(|_| is_linked).map(str::to_owned));
        }
    }
    let of_others = |package: &&Value| !package["source"].is_null();
    let mut found: Vec<Package<'_>> =
        reached.iter().map(|id| packages[id.as_str()]).filter(of_others).map(Package).collect();
    found.sort_by(|a, b| (a.text("name"), a.text("version")).cmp(&(b.text("name"), b.text("version"))));
    found
}

/// The way to comply with an SPDX expression that comes first in [`ALLOWED`].
fn choose(expression: &str) -> Option<BTreeSet<&'static str>> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" WITH ", "+WITH+");
    let mut words = spaced.split_whitespace().peekable();
    let ways = alternatives(&mut words)?;
    let place = |licence: &str| ALLOWED.iter().position(|known| *known == licence);
    let places = ways.iter().filter_map(|way| way.iter().map(|licence| place(licence)).collect::<Option<Vec<_>>>());
    let best =
        places.filter(|_| words.peek().is_none()).min_by_key(|places| (places.len(), places.iter().sum::<usize>()))?;
    Some(best.into_iter().map(|place| ALLOWED[place]).collect())
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Parses `a OR b AND c`. Each alternative is a set of licences to comply with together.
fn alternatives<'a>(words: &mut Words<'a>) -> Option<Vec<BTreeSet<&'a str>>> {
    let mut ways = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        ways.extend(all_of(words)?);
    }
    Some(ways)
}

fn all_of<'a>(words: &mut Words<'a>) -> Option<Vec<BTreeSet<&'a str>>> {
    let mut ways = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        let more = one(words)?;
        ways = ways.iter().flat_map(|way| more.iter().map(move |other| way | other)).collect();
    }
    Some(ways)
}

fn one<'a>(words: &mut Words<'a>) -> Option<Vec<BTreeSet<&'a str>>> {
    match words.next()? {
        "(" => {
            let ways = alternatives(words)?;
            words.next_if_eq(&")").map(|_| ways)
        }
        ")" | "AND" | "OR" => None,
        licence => Some(vec![BTreeSet::from([licence])]),
    }
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn a_licence_is_chosen_from_those_that_are_allowed() {
        for (offered, used) in [
            ("MIT", Some("MIT")),
            ("MIT/Apache-2.0", Some("Apache-2.0")),
            ("MIT OR GPL-3.0-only", Some("MIT")),
            ("GPL-3.0-only", None),
            ("MIT AND GPL-3.0-only", None),
            ("", None),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT Apache-2.0", None),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", Some("Apache-2.0, Unicode-3.0")),
            ("Apache-2.0 WITH LLVM-exception OR MIT", Some("MIT")),
            ("ISC AND (Apache-2.0 OR ISC)", Some("ISC")),
        ] {
            let chosen = choose(offered).map(|chosen| chosen.into_iter().collect::<Vec<_>>().join(", "));
            assert_eq!(chosen.as_deref(), used, "{offered}");
        }
    }
}
