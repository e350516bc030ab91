//! Member names of `--json` from before it was the admin API's answer. The next version drops them (`docs/cli.md`).

use flows::Platform as _;
use flows::admin::operations::settings::setting_name;
use model::Timestamp;
use serde_json::Value;

use crate::platform::SystemPlatform;

/// Old members beside the answer of a command.
struct OldNames {
    command: &'static str,
    /// Of the answer, and of what the command was given.
    members: fn(&Value, &Value) -> Vec<(String, Value)>,
}

const OLD_NAMES: &[OldNames] = &[
    OldNames { command: "instance create", members: |answer, _| link(&answer["link"], "set_up_link") },
    OldNames { command: "instance show", members: settings },
    OldNames { command: "instance set", members: settings },
    OldNames { command: "user create", members: |answer, _| link(&answer["link"], "set_up_link") },
    OldNames { command: "user invite", members: |answer, _| link(answer, "set_up_link") },
    OldNames { command: "user reset-link", members: |answer, _| link(answer, "reset_link") },
    OldNames {
        command: "app create",
        members: |answer, _| renamed(&answer["application"], &[("record", "record"), ("warnings", "warnings")]),
    },
    OldNames { command: "app show", members: |answer, _| inner(&answer["record"]) },
    OldNames { command: "app list", members: |answer, _| inner(&answer["record"]) },
    OldNames { command: "app disable", members: switched },
    OldNames { command: "app enable", members: switched },
    OldNames { command: "consent list", members: |answer, _| renamed(answer, &[("applicationName", "name")]) },
    OldNames { command: "app add-secret", members: |_, given| inner(given) },
    OldNames {
        command: "token issue",
        members: |answer, given| [renamed(&answer["token"], &[("id", "id")]), inner(given)].concat(),
    },
    OldNames { command: "session list", members: sessions },
    OldNames { command: "audit verify", members: verification },
];

fn link(link: &Value, name: &str) -> Vec<(String, Value)> {
    let url = Some((name.to_owned(), link["url"].clone()));
    url.into_iter().chain(renamed(link, &[("mailedTo", "mailed_to")])).collect()
}

/// Members under other names, if they are there.
fn renamed(answer: &Value, names: &[(&str, &str)]) -> Vec<(String, Value)> {
    let known = names.iter().filter_map(|(now, old)| Some(((*old).to_owned(), answer.get(now)?.clone())));
    known.collect()
}

/// The members of a record that was the answer itself.
fn inner(record: &Value) -> Vec<(String, Value)> {
    record.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn settings(answer: &Value, _: &Value) -> Vec<(String, Value)> {
    inner(answer).into_iter().map(|(name, value)| (setting_name(&name), value)).collect()
}

fn switched(answer: &Value, _: &Value) -> Vec<(String, Value)> {
    let mut old = renamed(&answer["record"], &[("IsEnabled", "IsEnabled")]);
    old.extend(renamed(&answer["record"], &[("ApplicationUri", "application")]));
    old
}

fn verification(answer: &Value, _: &Value) -> Vec<(String, Value)> {
    const NAMES: &[(&str, &str)] =
        &[("onlyBroken", "only_broken"), ("unknownSeals", "unknown_seals"), ("rememberedSince", "remembered_since")];
    let refusals = answer.get("refusals").map(|refusals| {
        let mut refusals = refusals.clone();
        for (name, value) in renamed(&refusals, NAMES) {
            refusals[name] = value;
        }
        ("refusals".to_owned(), refusals)
    });
    renamed(answer, NAMES).into_iter().chain(refusals).collect()
}

/// Times were seconds since 1970.
fn sessions(answer: &Value, _: &Value) -> Vec<(String, Value)> {
    let seconds = |time: &Value| time.as_str().and_then(Timestamp::parse).map_or(Value::Null, |at| at.seconds().into());
    let sessions = answer["sessions"].as_array().into_iter().flatten().map(|session| {
        let mut old = session.clone();
        old["opened_at"] = seconds(&session["openedAt"]);
        old["last_call"] = seconds(&session["lastCall"]);
        let ends_at = session["endsAt"].as_str().and_then(Timestamp::parse);
        old["seconds_left"] = ends_at.map_or(0, |end| end.since(SystemPlatform.now()).as_secs()).into();
        old
    });
    vec![("seats".to_owned(), answer["total"].clone()), ("sessions".to_owned(), sessions.collect())]
}

/// Adds the old names of a command to its answer, or to each item of a list.
pub(super) fn with_old_names(command: &str, given: &Value, answer: Value) -> Value {
    match answer {
        Value::Array(items) => items.into_iter().map(|item| with_old_names(command, given, item)).collect(),
        mut answer => {
            let old = OLD_NAMES.iter().filter(|old| old.command == command);
            let found: Vec<_> = old.flat_map(|old| (old.members)(&answer, given)).collect();
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
        let told = with_old_names("user invite", &Value::Null, link.clone());
        assert_eq!((&told["url"], &told["set_up_link"], told.get("mailed_to")), (&link["url"], &link["url"], None));
        assert_eq!(with_old_names("user show", &Value::Null, link.clone()), link);
        let mailed = with_old_names("user invite", &Value::Null, json!({ "mailedTo": "a@example.com" }));
        assert_eq!((&mailed["mailed_to"], &mailed["set_up_link"]), (&json!("a@example.com"), &Value::Null));
    }
}
