//! Trusted Applications created and changed by commands beside a running server.

use serde_json::json;

use crate::support::browser::{call_api, service_token};
use crate::support::installation::{Installation, erp, text};
use crate::support::{SOON, until};

#[test]
fn a_new_application_works_within_a_second_and_dies_as_soon() {
    let installation = Installation::new();
    installation.create_erp();
    let server = installation.serve();
    let site = erp(&server);
    assert_eq!(service_token(site, "sync", "guessed").status, 401);

    let secret = installation.create_service("sync");
    until("the application is known", SOON, || service_token(site, "sync", &secret).status == 200);
    let token = service_token(site, "sync", &secret).member("access_token");
    assert_eq!(call_api(site, &token).status, 200);

    let said = installation.json(&["app", "disable", "sync"]);
    assert_eq!((&said["record"]["ApplicationUri"], &said["record"]["IsEnabled"]), (&json!("sync"), &json!(false)));
    until("its token is dead", SOON, || call_api(site, &token).status == 401);
    assert_eq!(service_token(site, "sync", &secret).status, 401);
    assert_eq!(installation.json(&["app", "show", "sync"])["record"]["IsEnabled"], false);

    installation.run(&["app", "enable", "sync"]).done();
    until("it is on again", SOON, || service_token(site, "sync", &secret).status == 200);
    assert_eq!(call_api(site, &token).status, 401, "tokens from before stay dead");
}

#[test]
fn an_added_secret_works_beside_the_first() {
    let installation = Installation::new();
    installation.create_erp();
    let first = installation.create_service("sync");
    let server = installation.serve();
    let site = erp(&server);
    let added = installation.json(&["app", "add-secret", "sync", "--label", "next year", "--expires-in", "365"]);
    assert_eq!((&added["application"], &added["label"]), (&json!("sync"), &json!("next year")));
    let second = text(&added["secret"]);
    assert_ne!(first, second);
    until("the second secret is known", SOON, || service_token(site, "sync", &second).status == 200);
    assert_eq!(service_token(site, "sync", &first).status, 200);

    let expired = text(&installation.json(&["app", "add-secret", "sync", "--expires-in", "0"])["secret"]);
    let third = text(&installation.json(&["app", "add-secret", "sync"])["secret"]);
    until("the last one is known", SOON, || service_token(site, "sync", &third).status == 200);
    assert_eq!(service_token(site, "sync", &expired).status, 401, "a secret past its time");
}

#[test]
fn a_record_comes_from_a_file_or_standard_input_and_is_shown_as_it_went_in() {
    let installation = Installation::new();
    installation.create_erp();
    let record = json!({
        "ApplicationUri": "my.app/spa", "Name": "Mine", "ClientType": "Public", "Scope": "read",
        "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": ["https://app.example.com/cb"],
    });
    installation.write("spa.json", &record.to_string());
    let printed = installation.run(&["app", "create", installation.path("spa.json").to_str().expect("text")]).done();
    assert_eq!(printed, "Application my.app/spa registered.\n", "Public: no secret");
    let shown = installation.json(&["app", "show", "my.app/spa"]);
    for (name, value) in record.as_object().expect("an object") {
        assert_eq!(&shown["record"][name], value, "{name}");
    }
    let plain = installation.run(&["app", "show", "my.app/spa"]);
    assert_eq!(plain.json(), shown["record"], "a record is JSON either way");

    let second = json!({ "ApplicationUri": "my.app/two", "Name": "Two", "ClientType": "Confidential" });
    let made = installation.create_app(&second);
    assert_eq!(made["record"]["ApplicationUri"], "my.app/two");
    assert!(text(&made["secret"]).len() >= 43, "256 bits");
    let listed = installation.json(&["app", "list"]);
    let uris: Vec<_> = listed.as_array().expect("a list").iter().map(|one| text(&one["ApplicationUri"])).collect();
    assert_eq!(uris, ["my.app/spa", "my.app/two"]);
    let listed = installation.run(&["app", "list"]).done();
    assert!(listed.lines().count() == 3 && !listed.contains("disabled"), "{listed}");
    assert!(!listed.contains(&text(&made["secret"])), "a secret is shown once");
}

#[test]
fn what_an_administrator_should_think_about_is_said_and_done_all_the_same() {
    let installation = Installation::new();
    installation.create_erp();
    let refused = installation.run(&["user", "create", "root", "--kind", "community", "--administrator"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("isAdmin: not allowed for"), "{refused:?}");
    let user = installation.json(&["user", "create", "root", "--kind", "system", "--administrator"]);
    let record = json!({
        "ApplicationUri": "mighty", "Name": "Mighty", "ClientType": "Confidential", "Scope": "read",
        "SystemUserAllowed": true, "SystemUser": user["id"],
    });
    let ran = installation.run_with(&["app", "create", "-"], &record.to_string());
    assert!(ran.stderr.contains("warning: SystemUser is an administrator"), "{ran:?}");
    assert!(ran.done().contains("mighty registered"));
}
