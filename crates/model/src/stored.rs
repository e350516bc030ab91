//! Stored structures, read by the rules of this version.
//!
//! Members that a newer version wrote are kept and written back. A member whose value this version cannot read affects
//! this record alone.

use std::fmt;

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::{Serialize, forward_to_deserialize_any};
use serde_json::Value;

/// The members of a JSON object.
pub type JsonMembers = serde_json::Map<String, Value>;

/// A structure read from the database.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    pub value: T,
    /// Every member as written; empty if `value` holds everything.
    pub members: JsonMembers,
    /// The members that cannot be read, each with the reason.
    pub problems: Vec<StoredProblem>,
}

/// A member and what is wrong with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredProblem {
    pub member: String,
    pub reason: String,
}

impl fmt::Display for StoredProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.member, self.reason)
    }
}

impl<T: Serialize + DeserializeOwned> Stored<T> {
    /// `T` must refuse members that it does not know. For an unreadable member, the value in `instead` is used.
    pub fn read(text: &str, instead: &T) -> Self {
        match serde_json::from_str(text) {
            Ok(value) => Self { value, members: JsonMembers::new(), problems: Vec::new() },
            Err(error) => Self::read_leniently(text, instead).unwrap_or_else(|| Self {
                value: copy_of(instead),
                members: JsonMembers::new(),
                problems: vec![StoredProblem { member: "record".to_owned(), reason: error.to_string() }],
            }),
        }
    }

    /// Reads member by member. `None` if the text is not a JSON object.
    fn read_leniently(text: &str, instead: &T) -> Option<Self> {
        let members: JsonMembers = serde_json::from_str(text).ok()?;
        let blank = members_of(instead);
        let mut known = blank.clone();
        let mut problems = Vec::new();
        // An absent member gets its default, if it has one. `instead` is only for unreadable members.
        known.retain(|name, _| {
            let is_missing = !members.contains_key(name) && read::<T>(&without(&blank, name)).is_err();
            if is_missing {
                problems.push(StoredProblem { member: name.clone(), reason: "is missing".to_owned() });
            }
            is_missing || members.contains_key(name)
        });
        for (name, value) in members.iter().filter(|(name, _)| names::<T>().contains(&name.as_str())) {
            let mut alone = blank.clone();
            alone.insert(name.clone(), value.clone());
            match read::<T>(&alone) {
                Ok(_) => {
                    known.insert(name.clone(), value.clone());
                }
                Err(error) => problems.push(StoredProblem { member: name.clone(), reason: error.to_string() }),
            }
        }
        let value = read(&known).ok()?;
        Some(Self { value, members, problems })
    }
}

/// The members to store when `next` replaces a structure that was stored as `before`: those of `next`, and those of
/// `before` that this version does not know.
pub fn written_over<T: Serialize + DeserializeOwned>(before: &JsonMembers, next: &T) -> JsonMembers {
    let mut members = unknown::<T>(before);
    members.extend(members_of(next));
    members
}

/// The members that `T` does not have.
fn unknown<T: DeserializeOwned>(members: &JsonMembers) -> JsonMembers {
    let unknown = members.iter().filter(|(name, _)| !names::<T>().contains(&name.as_str()));
    unknown.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub fn members_of<T: Serialize>(value: &T) -> JsonMembers {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => members,
        _ => unreachable!("what is stored so is a structure of texts, numbers and flags"),
    }
}

fn read<T: DeserializeOwned>(members: &JsonMembers) -> Result<T, serde_json::Error> {
    T::deserialize(members)
}

fn copy_of<T: Serialize + DeserializeOwned>(value: &T) -> T {
    read(&members_of(value)).expect("a structure reads back what it wrote")
}

fn without(members: &JsonMembers, name: &str) -> JsonMembers {
    let mut rest = members.clone();
    rest.remove(name);
    rest
}

/// The member names of a structure, as its derived `Deserialize` passes them to the deserializer.
fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    let _asked_only = T::deserialize(Names(&mut names));
    names
}

struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(de::Error::custom("only the names were asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("not a structure"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Dish {
        name: String,
        #[serde(default = "two")]
        people: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spice: Option<Spice>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    enum Spice {
        Salt,
    }

    const fn two() -> u32 {
        2
    }

    fn nothing() -> Dish {
        Dish { name: String::new(), people: 0, spice: None }
    }

    fn read(stored: &Value) -> (Value, Vec<String>) {
        let stored = Stored::read(&stored.to_string(), &nothing());
        let problems = stored.problems.iter().map(|problem| problem.member.clone()).collect();
        (json!(stored.value), problems)
    }

    #[test]
    fn what_reads_is_read_and_what_does_not_is_named() {
        let soup = json!({ "Name": "Soup", "People": 4, "Spice": "Salt" });
        assert_eq!(read(&soup), (soup.clone(), vec![]));
        let absent = json!({ "Name": "Soup", "People": 2 });
        assert_eq!(read(&json!({ "Name": "Soup" })), (absent.clone(), vec![]), "by default");
        assert_eq!(read(&json!({ "Name": "Soup", "Wine": "red" })), (absent, vec![]), "of a newer version");
        for (stored, value, bad) in [
            (json!({ "Name": "Soup", "People": "many" }), json!({ "Name": "Soup", "People": 0 }), vec!["People"]),
            (json!({ "Name": "Soup", "Spice": "Saffron" }), json!({ "Name": "Soup", "People": 2 }), vec!["Spice"]),
            (json!({ "Name": 7, "People": -1 }), json!({ "Name": "", "People": 0 }), vec!["Name", "People"]),
            (json!({ "Wine": "red" }), json!({ "Name": "", "People": 2 }), vec!["Name"]),
            (json!([1]), json!({ "Name": "", "People": 0 }), vec!["record"]),
        ] {
            let bad = bad.into_iter().map(str::to_owned).collect();
            assert_eq!(read(&stored), (value, bad), "{stored}");
        }
        assert_eq!(Stored::read("no JSON", &nothing()).problems.len(), 1);
    }

    #[test]
    fn members_of_a_newer_version_survive_a_change_by_this_one() {
        let stored = json!({ "Name": "Soup", "People": 4, "Spice": "Salt", "Wine": { "colour": "red" } });
        let read = Stored::read(&stored.to_string(), &nothing());
        let changed = Dish { people: 6, spice: None, ..read.value };
        let written = Value::from(written_over(&read.members, &changed));
        assert_eq!(written, json!({ "Name": "Soup", "People": 6, "Wine": { "colour": "red" } }));
    }
}
