use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stored::Stored;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    Read,
    Update,
}

const MAX_PATTERNS: usize = 200;

/// Whether the text is a name of the model (OData CSDL §15.2), or its beginning followed by a star.
fn is_pattern(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    text.len() <= 128 && !text.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Permissions on entity sets. A call needs both the permission and the scope (`domain-api.md` §4.2).
///
/// Each entry is the name of an entity set, or a prefix followed by `*`. Update does not include read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// Entity sets that can be read.
    pub read: Vec<String>,
    /// Entity sets whose entities can be created, changed and deleted.
    pub update: Vec<String>,
}

impl Permissions {
    /// Reads a stored role. Unreadable entries permit nothing.
    pub fn restore(text: &str) -> Stored<Self> {
        Stored::read(text, &Self::default())
    }

    pub fn new(read: &[&str], update: &[&str]) -> Self {
        let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Self { read: owned(read), update: owned(update) }
    }

    pub fn allows(&self, set: &str, access: AccessKind) -> bool {
        let patterns = match access {
            AccessKind::Read => &self.read,
            AccessKind::Update => &self.update,
        };
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => set.starts_with(start),
            None => set == pattern,
        })
    }

    /// Why the permissions cannot be stored: too many patterns, or an invalid one. The texts state what to do.
    pub fn problems(&self) -> Vec<String> {
        let both = [("read", &self.read), ("update", &self.update)];
        let problems = both.into_iter().filter_map(|(what, patterns)| {
            let bad = patterns.iter().find(|pattern| !is_pattern(pattern));
            match bad {
                _ if patterns.len() > MAX_PATTERNS => Some(format!("{what}: at most {MAX_PATTERNS} patterns")),
                Some(bad) => Some(format!("{what}: {bad:?} is no set's name, nor the beginning of names and a *")),
                None => None,
            }
        });
        problems.collect()
    }

    /// Adds the permissions of another role.
    pub fn extend(&mut self, other: Self) {
        self.read.extend(other.read);
        self.update.extend(other.update);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_allows_the_sets_it_names_and_no_other() {
        for (pattern, set, allowed) in [
            ("Crm_*", "Crm_Sales_Customers", true),
            ("Crm_*", "Crm", false),
            ("Crm_*", "crm_Sales_Customers", false),
            ("Crm_Sales_Customers", "Crm_Sales_Customers", true),
            ("Crm_Sales_Customers", "Crm_Sales_CustomersX", false),
            ("*", "Anything", true),
            ("", "Crm_Sales_Customers", false),
            ("*_Customers", "Crm_Sales_Customers", false),
        ] {
            let permissions = Permissions::new(&[pattern], &[]);
            assert_eq!(permissions.allows(set, AccessKind::Read), allowed, "{pattern} {set}");
        }
    }

    #[test]
    fn reading_and_updating_are_allowed_apart() {
        let permissions = Permissions::new(&["A"], &["B"]);
        assert!(permissions.allows("A", AccessKind::Read) && !permissions.allows("A", AccessKind::Update));
        assert!(permissions.allows("B", AccessKind::Update) && !permissions.allows("B", AccessKind::Read));
        assert!(!Permissions::default().allows("A", AccessKind::Read), "nothing is allowed by default");
    }

    #[test]
    fn roles_add_up() {
        let mut permissions = Permissions::new(&["A"], &[]);
        permissions.extend(Permissions::new(&["B"], &["C"]));
        assert_eq!(permissions, Permissions::new(&["A", "B"], &["C"]));
    }
}
