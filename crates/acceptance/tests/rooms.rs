//! Rooms inside the crates: which module may name which. Cargo.toml limits what a crate may name, but modules have no
//! limits of their own. This test reads every path that begins with `crate`, `super` or `self`.

use std::collections::{BTreeMap, BTreeSet};

use acceptance::sources::{Module, sources};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, Macro, Meta, Token, UseTree};

/// A room and the rooms that it may name.
type Room = (&'static str, &'static [&'static str]);

/// Rooms of crates, bottom up. Those of `flows` and `web` are drawn in `ARCHITECTURE.md`. A crate's root may name all
/// of them.
const ROOMS: &[(&str, &[Room])] = &[
    (
        "flows",
        &[
            ("platform", &[]),
            ("audit", &["platform"]),
            ("memory", &["audit", "platform"]),
            ("auth", &["memory", "audit", "platform"]),
            ("seats", &["memory", "audit"]),
            ("entities", &[]),
            ("protocol", &["auth", "seats", "memory", "audit", "platform"]),
            ("account", &["auth", "memory", "audit", "platform"]),
            ("admin", &["auth", "memory", "audit", "platform"]),
            ("server", &["admin", "account", "protocol", "entities", "seats", "auth", "memory", "audit", "platform"]),
        ],
    ),
    (
        "web",
        &[
            ("server", &[]),
            ("messages", &[]),
            ("pages", &["messages"]),
            ("request", &["pages", "messages", "server"]),
            ("odata", &["request"]),
            ("health", &["request"]),
            ("site", &["health", "request", "pages", "messages"]),
            ("metrics", &["site", "health", "request"]),
            ("api", &["odata", "request", "server"]),
            ("id", &["site", "request", "pages", "messages"]),
            ("profile", &["request", "pages", "messages"]),
            ("admin_api", &["site", "request", "pages", "messages"]),
            ("admin_ui", &["request", "pages", "messages", "server"]),
        ],
    ),
    (
        "model",
        &[
            ("addresses", &[]),
            ("context", &["audit"]),
            ("fair", &[]),
            ("host", &[]),
            ("ids", &[]),
            ("keys", &["refusal"]),
            ("language", &[]),
            ("line", &[]),
            ("meter", &[]),
            ("stored", &[]),
            ("throttle", &[]),
            ("refusal", &["line"]),
            ("audit", &["refusal"]),
            ("link", &["refusal"]),
            ("mail", &["link", "line"]),
            ("seat", &["refusal"]),
            ("session", &["throttle", "refusal"]),
            ("pending_authorization", &["session"]),
            ("two_step", &["session", "throttle", "refusal"]),
            ("legacy", &["session", "refusal"]),
            ("entities", &["stored"]),
            ("user", &["session", "mail", "line", "entities", "audit"]),
            ("application", &["stored", "refusal", "line", "audit", "addresses"]),
            ("claims", &["application"]),
            ("validity", &["claims", "refusal"]),
            ("authorization", &["validity", "claims", "refusal", "audit"]),
            ("authorize", &["application", "refusal"]),
            ("exchange", &["authorization", "validity", "application", "refusal"]),
            ("guard", &["validity", "seat", "legacy", "refusal", "audit"]),
            ("reference_token", &["application", "line"]),
            ("email_change", &["mail", "link", "refusal"]),
            ("install", &["application", "line", "addresses"]),
            ("instance", &["application", "seat", "legacy", "stored"]),
        ],
    ),
];

/// Crates without cycles of modules.
const CRATES: &[&str] = &["oauth", "odata", "model", "demo", "store", "flows", "web", "gatehouse", "bench"];

/// The modules that each module of a crate names, tests aside.
struct Arrows {
    modules: BTreeSet<Module>,
    arrows: BTreeSet<(Module, Module)>,
}

impl Arrows {
    fn of(name: &str) -> Self {
        Self::between(&sources(name))
    }

    fn between(files: &[(Module, syn::File)]) -> Self {
        let modules: BTreeSet<Module> = files.iter().map(|(module, _)| module.clone()).collect();
        let mut arrows = BTreeSet::new();
        for (module, file) in files {
            let mut paths = Paths::default();
            paths.visit_file(file);
            for path in paths.found {
                let named = resolve(&modules, module, &path);
                if named != *module {
                    arrows.insert((module.clone(), named));
                }
            }
        }
        Self { modules, arrows }
    }

    /// The children of a module that form a cycle, each with the modules that it names.
    fn circle_below(&self, parent: &Module) -> BTreeMap<String, BTreeSet<String>> {
        let child = |module: &Module| {
            (module.len() > parent.len() && module.starts_with(parent)).then(|| module[parent.len()].clone())
        };
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in &self.arrows {
            if let (Some(from), Some(to)) = (child(from), child(to))
                && from != to
            {
                names.entry(from).or_default().insert(to);
            }
        }
        // A module that names no remaining module, or that no remaining module names, is in no cycle.
        loop {
            let left: BTreeSet<String> = names.keys().cloned().collect();
            let targets: BTreeSet<String> = names.values().flatten().cloned().collect();
            names.retain(|from, to| {
                to.retain(|to| left.contains(to));
                !to.is_empty() && targets.contains(from)
            });
            if names.len() == left.len() {
                return names;
            }
        }
    }
}

/// The module of a path, or of the item that a path names.
fn resolve(modules: &BTreeSet<Module>, from: &Module, path: &[String]) -> Module {
    let mut at: Module = if path[0] == "crate" { Vec::new() } else { from.clone() };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            part => at.push(part.to_owned()),
        }
    }
    while !modules.contains(&at) {
        at.pop();
    }
    at
}

/// Collects paths inside the crate.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
}

impl Paths {
    fn add(&mut self, path: Vec<String>) {
        if path.first().is_some_and(|first| matches!(first.as_str(), "crate" | "super" | "self")) && path.len() > 1 {
            self.found.push(path);
        }
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.add(with(&name.ident)),
            UseTree::Rename(rename) => self.add(with(&rename.ident)),
            UseTree::Glob(_) => self.add(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// Arguments of macros are mostly expressions; in others only paths are read.
    fn visit_macro(&mut self, called: &'ast Macro) {
        let text = called.tokens.to_string().replace(" :: ", "::");
        // String literals, documentation among them, name nothing.
        let code: Vec<&str> = text.split('"').step_by(2).collect();
        for word in code.join(" ").split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            self.add(word.split("::").map(str::to_owned).collect());
        }
    }
}

fn is_for_tests(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        _ => &[],
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                .is_ok_and(|of| of.iter().any(|meta| meta.path().is_ident("test")))
    })
}

/// Modules in a cycle are one module in several files: none of them can be understood or changed alone.
#[test]
fn modules_name_one_another_in_no_circle() {
    let mut circles = Vec::new();
    for name in CRATES {
        let arrows = Arrows::of(name);
        for parent in &arrows.modules {
            let circle = arrows.circle_below(parent);
            if !circle.is_empty() {
                circles.push(format!("{name}::{}: {circle:?}", parent.join("::")));
            }
        }
    }
    assert!(circles.is_empty(), "modules that name one another in a circle:\n{}", circles.join("\n"));
}

/// The drawing in `ARCHITECTURE.md`.
#[test]
fn rooms_name_only_rooms_below_them() {
    let mut wrong = Vec::new();
    for (name, rooms) in ROOMS {
        let arrows = Arrows::of(name);
        let drawn: BTreeSet<&str> = rooms.iter().map(|(room, _)| *room).collect();
        let built: BTreeSet<&str> = arrows.modules.iter().filter_map(|module| Some(module.first()?.as_str())).collect();
        assert_eq!(drawn, built, "rooms of {name}: drawn and built");
        for (from, to) in &arrows.arrows {
            let (Some(from_room), Some(to_room)) = (from.first(), to.first()) else { continue };
            let may = rooms.iter().find(|(room, _)| room == from_room).map_or(&[][..], |(_, may)| *may);
            if from_room != to_room && !may.contains(&to_room.as_str()) {
                wrong.push(format!("{name}: {} names {}", from.join("::"), to.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that are not in the drawing:\n{}", wrong.join("\n"));
}

#[test]
fn a_circle_is_found_and_what_only_tests_name_is_none() {
    let file = |module: &str, text: &str| {
        let module: Module = Some(module).filter(|name| !name.is_empty()).map(str::to_owned).into_iter().collect();
        (module, syn::parse_file(text).expect("Rust"))
    };
    let circle = |two: &str| {
        let files = [
            file("", "mod one; mod two; mod three;"),
            file("one", "use crate::two::Two; pub struct One;"),
            file("two", two),
            file("three", "use crate::one::One;"),
        ];
        Arrows::between(&files).circle_below(&Vec::new()).into_keys().collect::<Vec<_>>()
    };
    for closes in [
        "use super::{one::One as Other};",
        "fn make() -> crate::one::One { todo() }",
        "fn tell() { println!(\"{}\", crate::one::one()); }",
    ] {
        assert_eq!(circle(closes), ["one", "two"], "{closes}");
    }
    for leaves_open in
        ["#[cfg(test)] mod tests { use crate::one::One; }", "fn tell() { println!(\"crate::one::One\"); }"]
    {
        assert!(circle(leaves_open).is_empty(), "{leaves_open}");
    }
}
