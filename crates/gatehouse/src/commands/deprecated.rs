//! Member names of `--json` from before it was the admin API's answer. The next version drops them (`docs/cli.md`).

use serde_json::Value;

/// An old member beside the answer of a command, and its value. `None` leaves it out.
struct OldName {
    command: &'static str,
    name: &'static str,
    value: fn(&Value) -> Option<Value>,
}

const fn old(command: &'static str, name: &'static str, value: fn(&Value) -> Option<Value>) -> OldName {
    OldName { command, name, value }
}

const OLD_NAMES: &[OldName] = &[
    old("instance create", "set_up_link", |answer| Some(answer["link"]["url"].clone())),
    old("user create", "set_up_link", |answer| Some(answer["link"]["url"].clone())),
    old("user create", "mailed_to", |answer| answer["link"].get("mailedTo").cloned()),
    old("user invite", "set_up_link", |answer| Some(answer["url"].clone())),
    old("user invite", "mailed_to", |answer| answer.get("mailedTo").cloned()),
    old("user reset-link", "reset_link", |answer| Some(answer["url"].clone())),
];

/// Adds the old names of a command to its answer, or to each item of a list.
pub(super) fn with_old_names(command: &str, answer: Value) -> Value {
    match answer {
        Value::Array(items) => items.into_iter().map(|item| with_old_names(command, item)).collect(),
        mut answer => {
            let names = OLD_NAMES.iter().filter(|old| old.command == command);
            let found: Vec<_> = names.filter_map(|old| Some((old.name, (old.value)(&answer)?))).collect();
            for (name, value) in found {
                answer[name] = value;
            }
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_old_name_stands_beside_the_new_one() {
        let link = json!({ "url": "https://a/b", "expiresAt": "2026-12-01T00:00:00Z" });
        let told = with_old_names("user invite", link.clone());
        assert_eq!((&told["url"], &told["set_up_link"], told.get("mailed_to")), (&link["url"], &link["url"], None));
        assert_eq!(with_old_names("user show", link.clone()), link);
        let mailed = with_old_names("user invite", json!({ "mailedTo": "a@example.com" }));
        assert_eq!((&mailed["mailed_to"], &mailed["set_up_link"]), (&json!("a@example.com"), &Value::Null));
    }
}
