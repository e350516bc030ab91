//! Roles, keys, users and records by commands, and what completes them.

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
    assert!(installation.run(&["role", "create", "Sales"]).refused().contains("exists already"));
    assert!(installation.run(&["role", "create", "Bad", "--read", "a b"]).refused().contains("a b"));
    installation.run(&["role", "create", "Viewer", "--read", "Crm_*"]).done();
    installation.json(&["user", "create", "bob", "--role", "Sales"]);
    assert!(installation.run(&["role", "delete", "Sales"]).refused().contains("another one"));
    let changed = installation.json(&["role", "set", "Sales", "--read", "Crm_Customers"]);
    assert_eq!(changed["permissions"], json!({"read": ["Crm_Customers"], "update": []}));
    assert_eq!(installation.json(&["user", "show", "bob"])["role"], "Sales");
    let set = installation.json(&["user", "set", "BOB", "--role", "", "--name", "Bob", "--administrator", "true"]);
    assert_eq!((&set["role"], &set["name"], &set["isAdmin"]), (&Value::Null, &json!("Bob"), &json!(true)));
    assert!(installation.run(&["user", "set", "bob", "--role", "Nobody"]).refused().contains("no role Nobody"));
    assert!(installation.run(&["user", "show", "nobody"]).refused().contains("no user nobody"));
    installation.run(&["role", "delete", "Sales"]).done();
    assert!(installation.run(&["role", "delete", "Sales"]).refused().contains("no role Sales"));
    let listed = installation.run(&["role", "list"]).done();
    assert!(listed.contains("reads Crm_*, updates nothing") && listed.lines().count() == 1, "{listed}");
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
    assert_eq!(installation.json(&["app", "show", "two"])["Name"], "Number two");
    renamed["ClientType"] = json!("Public");
    let refused = installation.run_with(&["app", "replace", "-"], &renamed.to_string()).refused();
    assert!(refused.contains("ClientType: stays Confidential"), "{refused}");
    let first = text(&installation.json(&["app", "secrets", "two"])[0]["id"]);
    assert!(installation.run(&["app", "remove-secret", "two", &first]).refused().contains("only secret"));
    installation.json(&["app", "add-secret", "two"]);
    installation.run(&["app", "remove-secret", "two", &first]).done();
    let left = installation.json(&["app", "secrets", "two"]);
    assert_eq!((left.as_array().map(Vec::len), &left[0]["label"]), (Some(1), &json!("added")));
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
