//! Roles, keys, users and records by commands, and shell completion.

use serde_json::{Value, json};

use crate::support::browser::{call_api, service_token};
use crate::support::installation::{Installation, erp, text};
use crate::support::process::{gatehouse, run};
use crate::support::{SOON, until};

#[test]
fn a_role_is_made_given_changed_and_deleted() {
    let installation = Installation::new();
    installation.create_erp();
    installation
        .run(&["role", "create", "Sales", "--read", "Crm_*", "--read", "General_*", "--update", "Crm_*"])
        .done();
    assert!(installation.run(&["role", "create", "Sales"]).refused().contains("already exists"));
    assert!(installation.run(&["role", "create", "Bad", "--read", "a b"]).refused().contains("a b"));
    installation.run(&["role", "create", "Viewer", "--read", "Crm_*"]).done();
    installation.json(&["user", "create", "bob", "--role", "Sales"]);
    assert!(installation.run(&["role", "delete", "Sales"]).refused().contains("another role"));
    let changed = installation.json(&["role", "set", "Sales", "--read", "Crm_Customers"]);
    assert_eq!(changed["permissions"], json!({"read": ["Crm_Customers"], "update": []}));
    assert_eq!(installation.json(&["user", "show", "bob"])["role"], "Sales");
    let set = installation.json(&["user", "set", "BOB", "--role", "", "--name", "Bob", "--administrator", "true"]);
    assert_eq!((&set["role"], &set["name"], &set["isAdmin"]), (&Value::Null, &json!("Bob"), &json!(true)));
    assert!(installation.run(&["user", "set", "bob", "--role", "Nobody"]).refused().contains("role: Nobody not found"));
    assert!(installation.run(&["user", "show", "nobody"]).refused().contains("user nobody not found"));
    let set = ["user", "set", "bob", "--email", "bob@example.com", "--email-verified", "true", "--language", "bg"];
    let set = installation.json(&set);
    assert_eq!((&set["emailVerified"], &set["preferredLanguage"]), (&json!(true), &json!("bg")));
    let moved = installation.json(&["user", "set", "bob", "--email", "bob@example.net", "--language", ""]);
    assert_eq!(
        (&moved["emailVerified"], &moved["preferredLanguage"]),
        (&json!(false), &Value::Null),
        "another address"
    );
    installation.run(&["user", "set", "bob"]).wrong_usage();
    installation.run(&["role", "delete", "Sales"]).done();
    assert!(installation.run(&["role", "delete", "Sales"]).refused().contains("role Sales not found"));
    let listed = installation.run(&["role", "list"]).done();
    assert_eq!(listed, "ROLE    READS  UPDATES\nViewer  Crm_*  nothing\n");
}

#[test]
fn keys_are_rotated_in_time_and_replaced_at_once_beside_a_running_server() {
    let installation = Installation::new();
    installation.create_erp();
    let secret = installation.create_service("sync");
    let server = installation.serve();
    let site = erp(&server);
    let token = service_token(site, "sync", &secret).member("access_token");
    assert_eq!(call_api(site, &token).status, 200);
    installation.run(&["key", "rotate", "ES256"]).done();
    assert!(installation.run(&["key", "rotate", "ES256"]).refused().contains("successor"));
    assert!(installation.run(&["key", "rotate", "HS256"]).refused().contains("EdDSA"));
    assert!(installation.run(&["key", "rotate", "PS256"]).refused().contains("nothing is signed"));
    let states = |keys: &Value| -> Vec<String> {
        let mine = keys.as_array().expect("a list").iter().filter(|key| key["algorithm"] == "ES256");
        mine.map(|key| text(&key["state"])).collect()
    };
    assert_eq!(states(&installation.json(&["key", "list"])), ["signing", "published"]);
    let preview = installation.json(&["key", "replace", "ES256"]);
    assert_eq!(preview["accessTokensOf"], json!(["sync"]));
    assert!(installation.run(&["key", "replace", "ES256"]).done().contains("--yes"));
    assert_eq!(call_api(site, &token).status, 200, "nothing was done");
    installation.run(&["key", "replace", "ES256", "--yes"]).done();
    until("its token is dead", SOON, || call_api(site, &token).status == 401);
    assert_eq!(states(&installation.json(&["key", "list"])), ["signing"]);
    let token = service_token(site, "sync", &secret).member("access_token");
    assert_eq!(call_api(site, &token).status, 200);
}

#[test]
fn a_record_is_written_anew_and_a_secret_removed() {
    let installation = Installation::new();
    installation.create_erp();
    let record = json!({"ApplicationUri": "two", "Name": "Two", "ClientType": "Confidential"});
    installation.create_app(&record);
    let mut renamed = record.clone();
    renamed["Name"] = json!("Number two");
    installation.run_with(&["app", "replace", "-"], &renamed.to_string()).done();
    assert_eq!(installation.json(&["app", "show", "two"])["record"]["Name"], "Number two");
    renamed["ClientType"] = json!("Public");
    let refused = installation.run_with(&["app", "replace", "-"], &renamed.to_string()).refused();
    assert!(refused.contains("ClientType: cannot be changed (is Confidential)"), "{refused}");
    let first = text(&installation.json(&["app", "secrets", "two"])[0]["id"]);
    assert!(
        installation.run(&["app", "remove-secret", "two", &first]).refused().contains("last secret cannot be removed")
    );
    installation.json(&["app", "add-secret", "two"]);
    installation.run(&["app", "remove-secret", "two", &first]).done();
    let left = installation.json(&["app", "secrets", "two"]);
    assert_eq!((left.as_array().map(Vec::len), &left[0]["label"]), (Some(1), &json!("added")));
}

#[test]
fn settings_are_shown_as_they_are() {
    let installation = Installation::new();
    installation.create_erp();
    let before = installation.json(&["instance", "show", "erp"]);
    assert_eq!((&before["seats"], &before["afterLogout"]), (&Value::Null, &json!("refuse")));
    installation.run(&["instance", "set", "erp", "seats=3"]).done();
    assert_eq!(installation.json(&["instance", "show", "erp"])["seats"], 3);
    let shown = installation.run(&["instance", "show", "erp"]).done();
    assert!(shown.lines().any(|line| line.split_whitespace().eq(["seats", "3"])), "{shown}");
    assert!(installation.run(&["instance", "show", "nowhere"]).refused().contains("instance nowhere not found"));
}

#[test]
fn the_audit_is_listed_the_newest_first_and_by_what_is_wanted() {
    let installation = Installation::new();
    installation.create_erp();
    let eve = text(&installation.json(&["user", "create", "eve"])["id"]);
    installation.run(&["role", "create", "Sales"]).done();
    installation.run(&["user", "disable", "eve"]).done();
    let list = |arguments: &[&str]| -> Vec<String> {
        let found = installation.json(&[&["audit", "list"][..], arguments].concat());
        let events = found.as_array().expect("a list").iter();
        events.map(|event| event["detail"]["what"].as_str().unwrap_or_default().to_owned()).collect()
    };
    // Events of one command have the same time, and therefore no order.
    let together = ["create-set-up-link", "create-user"];
    let mut newest = list(&["--kind", "admin-change", "--limit", "4"]);
    newest[2..].sort_unstable();
    assert_eq!(newest, ["disable-user", "create-role", together[0], together[1]]);
    for who in ["eve", "EVE", &eve] {
        let mut about = list(&["--user", who, "--kind", "admin-change"]);
        about[1..].sort_unstable();
        assert_eq!(about, ["disable-user", together[0], together[1]], "{who}");
    }
    assert_eq!(list(&["--refused"]), [""; 0]);
    assert_eq!(list(&["--app", "nobody"]), [""; 0]);
    assert_eq!(list(&["--until", "2001-01-01"]), [""; 0]);
    assert!(list(&["--since", "2001-01-01"]).len() > 3);
    let shown = installation.run(&["audit", "list", "--kind", "admin-change", "--limit", "1"]).done();
    let [head, event] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
    assert!(head.starts_with("TIME") && event.contains("admin-change") && event.contains("eve"), "{shown}");
    installation.run(&["user", "erase", "eve", "--yes"]).done();
    assert!(installation.run(&["audit", "list", "--user", "eve"]).refused().contains("user eve not found"));
    assert!(list(&["--user", &eve]).contains(&"create-user".to_owned()), "what was done stays told");
    assert!(!installation.run(&["audit", "list"]).done().contains("eve"));
    for bad in [["--kind", "nonsense"], ["--since", "yesterday"], ["--limit", "0"]] {
        installation.run(&[&["audit", "list"][..], &bad[..]].concat()).wrong_usage();
    }
}

#[test]
fn tokens_are_listed_of_an_application_or_of_a_user() {
    let installation = Installation::new();
    installation.create_erp();
    installation.json(&["user", "create", "eve"]);
    for (uri, policy) in [("one", "AuthenticatedUsers"), ("two", "AuthenticatedUsers")] {
        let record = json!({
            "ApplicationUri": uri, "Name": uri, "ClientType": "Public", "Scope": "read", "AccessTokens": policy,
        });
        installation.create_app(&record);
        for login in ["eve", "admin"] {
            let issue = ["token", "issue", uri, "--user", login, "--description", "x", "--scope", "read"];
            installation.json(&issue);
        }
    }
    let count = |arguments: &[&str]| {
        let list = installation.json(&[&["token", "list"][..], arguments].concat());
        list.as_array().expect("a list").len()
    };
    assert_eq!((count(&[]), count(&["--app", "one"]), count(&["--user", "eve"])), (4, 2, 2));
    assert_eq!(count(&["--user", "eve", "--limit", "1"]), 1);
    assert!(installation.run(&["token", "list", "--app", "none"]).refused().contains("application none not found"));
    installation.run(&["token", "list", "--app", "one", "--user", "eve"]).wrong_usage();
}

#[test]
fn a_shell_learns_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let printed = run(gatehouse().args(["completion", shell]), "").done();
        for word in ["gatehouse", "remove-secret", "rotate", "completion"] {
            assert!(printed.contains(word), "{shell}: {word}");
        }
    }
}

/// Whether two answers are equal, but for members that only one command or the other version prints.
fn assert_answer(command: &Value, api: &Value, old: &[&str]) {
    let mut command = command.clone();
    let items = command.is_array();
    let entries = if items { command.as_array_mut().map(Vec::as_mut_slice) } else { None };
    for entry in entries.into_iter().flatten() {
        remove(entry, old);
    }
    if !items {
        remove(&mut command, old);
    }
    assert_eq!(command, *api);
}

fn remove(entry: &mut Value, names: &[&str]) {
    let entry = entry.as_object_mut().expect("an object");
    for name in names {
        assert!(entry.remove(*name).is_some(), "{name} stands beside the new name");
    }
}

#[test]
fn json_is_the_answer_of_the_admin_api_with_old_names_beside_it() {
    let installation = Installation::new();
    installation.create_erp();
    let admin = text(&installation.json(&["user", "show", "admin"])["id"]);
    let record = json!({
        "ApplicationUri": "office", "Name": "Office", "ClientType": "Confidential", "Scope": "manage",
        "SystemUserAllowed": true, "SystemUser": admin,
    });
    let made = installation.create_app(&record);
    assert_eq!(made["record"], made["application"]["record"], "its old name");
    installation.run(&["role", "create", "Sales", "--read", "Crm_*"]).done();
    let server = installation.serve();
    let site = erp(&server);
    let asked = [
        ("grant_type", "client_credentials"),
        ("client_id", "office"),
        ("client_secret", made["secret"].as_str().expect("a secret")),
        ("scope", "manage"),
    ];
    let token = site.post("/id/connect/token", &[], &asked).member("access_token");
    let get = |path: &str| {
        let answer = site.get(&format!("/manage/api/v1{path}"), &[("Authorization", &format!("Bearer {token}"))]);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        serde_json::from_str::<Value>(&answer.body).expect("JSON")
    };
    let id = text(&made["application"]["id"]);
    let members: Vec<String> = made["record"].as_object().expect("a record").keys().cloned().collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let settings = get("/settings");
    let renamed: Vec<String> = settings.as_object().expect("settings").keys().filter_map(|name| snake(name)).collect();
    let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
    let cases: [(&[&str], String, &[&str]); 8] = [
        (&["user", "show", "admin"], format!("/users/{admin}"), &[]),
        (&["user", "list"], "/users".to_owned(), &[]),
        (&["role", "list"], "/roles".to_owned(), &[]),
        (&["app", "show", "office"], format!("/applications/{id}"), &members),
        (&["app", "list"], "/applications".to_owned(), &members),
        (&["key", "list"], "/keys".to_owned(), &[]),
        (&["token", "list"], "/tokens".to_owned(), &[]),
        (&["consent", "list", "--user", "admin"], format!("/users/{admin}/consents"), &[]),
    ];
    for (command, path, old) in cases {
        let mut api = get(&path);
        let answer = installation.json(command);
        if answer.is_array() {
            api = api["items"].take();
        }
        assert_answer(&answer, &api, old);
    }
    assert_answer(&installation.json(&["instance", "show", "erp"]), &settings, &renamed);
}

/// The name that a setting has beside its name in JSON, if they differ.
fn snake(name: &str) -> Option<String> {
    let setting: String = name
        .chars()
        .flat_map(|char| {
            let under = char.is_ascii_uppercase().then_some('_');
            under.into_iter().chain([char.to_ascii_lowercase()])
        })
        .collect();
    (setting != name).then_some(setting)
}
