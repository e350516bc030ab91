//! JSON Merge Patch (RFC 7396) of a record.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use crate::admin::AdminRefusal;

/// A merge patch of a `T`: the members that change, null for those that go away.
pub struct MergePatch<T>(Map<String, Value>, PhantomData<fn() -> T>);

impl<T> MergePatch<T> {
    pub const fn new(members: Map<String, Value>) -> Self {
        Self(members, PhantomData)
    }

    pub fn mentions(&self, member: &str) -> bool {
        self.0.contains_key(member)
    }

    /// The value of a flag, if the patch changes nothing else.
    pub fn only_flag(&self, member: &str) -> Option<bool> {
        self.0.get(member).filter(|_| self.0.len() == 1)?.as_bool()
    }

    pub fn into_members(self) -> Map<String, Value> {
        self.0
    }
}

impl<T: Serialize + DeserializeOwned> MergePatch<T> {
    /// What the patch makes of `current`.
    pub fn apply(self, current: &T) -> Result<T, AdminRefusal> {
        match serde_json::to_value(current) {
            Ok(Value::Object(members)) => self.apply_to(members),
            _ => unreachable!("what is patched is a structure"),
        }
    }

    /// The same, of members that may be more than a `T` can say.
    pub fn apply_to(self, current: Map<String, Value>) -> Result<T, AdminRefusal> {
        let mut target = Value::Object(current);
        merge(&mut target, Value::Object(self.0));
        let read: Result<T, _> = serde_path_to_error::deserialize(target);
        read.map_err(|error| AdminRefusal::Invalid(vec![by_name(error.path(), error.inner())]))
    }
}

/// An error with the parameter or member that it is about. The texts of serde name unknown and missing ones themselves.
pub fn by_name(path: &Path, error: &impl std::fmt::Display) -> String {
    let named = path.iter().any(|segment| !matches!(segment, Segment::Unknown));
    if named { format!("{path}: {error}") } else { error.to_string() }
}

/// RFC 7396 §2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let members = target.as_object_mut().expect("it was just made one");
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 7396 Appendix A.
    #[test]
    fn a_patch_merges_as_in_the_specification() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target;
            merge(&mut merged, patch);
            assert_eq!(merged, result);
        }
    }
}
