//! One word, one thing: no two types visible outside their files have the same name.

use std::collections::BTreeMap;

use acceptance::sources::sources;
use syn::visit::{self, Visit};
use syn::{Ident, Visibility};

/// The crates of the product.
const CRATES: &[&str] = &["oauth", "odata", "model", "store", "flows", "web", "gatehouse", "demo"];

#[derive(Default)]
struct Types {
    found: Vec<String>,
}

impl Types {
    fn add(&mut self, visibility: &Visibility, name: &Ident) {
        if !matches!(visibility, Visibility::Inherited) {
            self.found.push(name.to_string());
        }
    }
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add(&item.vis, &item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add(&item.vis, &item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.add(&item.vis, &item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.add(&item.vis, &item.ident);
    }
}

#[test]
fn no_name_of_a_type_stands_for_two_things() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in CRATES {
        for (module, file) in sources(name) {
            let mut types = Types::default();
            types.visit_file(&file);
            for found in types.found {
                places.entry(found).or_default().push(format!("{name}::{}", module.join("::")));
            }
        }
    }
    assert!(places.contains_key("TrustedApplication"), "types are found");
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "give each thing a name of its own: {places:#?}");
}
