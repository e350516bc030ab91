//! Users created and changed by commands beside a running server.

use serde_json::json;

use crate::support::browser::{Browser, call_api, path_of, user_info};
use crate::support::installation::{Installation, erp, text};
use crate::support::{SOON, until};

const PASSWORD: &str = "correct horse battery";

#[test]
fn the_first_administrator_chooses_a_password_by_a_link_that_works_once() {
    let installation = Installation::new();
    let printed = installation.run(&["instance", "create", "erp", "--administrator", "ada"]).done();
    let link = printed.split_whitespace().find(|word| word.starts_with("http://")).expect("the link is printed");
    assert!(link.starts_with("http://erp.localhost:8080/id/account/set-up?code="), "{printed}");
    assert!(printed.contains("Set-up link for ada"), "{printed}");
    let server = installation.serve();
    let mut ada = Browser::at(erp(&server));

    let short = ada.set_up(link, "short");
    assert!(short.status == 200 && short.body.contains("at least 8 characters"), "a bad password spends no link");
    assert_eq!(ada.set_up(link, PASSWORD).status, 200);
    assert_eq!(ada.get(path_of(link)).status, 410, "the page of a spent link");
    let mut thief = Browser::at(erp(&server));
    let csrf = thief.get("/id/account/login").field("csrf");
    let code = link.rsplit('=').next().expect("the code");
    let fields = [("csrf", &*csrf), ("code", code), ("password", "another password"), ("repeat", "another password")];
    assert_eq!(thief.post("/id/account/set-up", &fields).status, 410, "a spent link sets nothing");

    thief.sign_in("/id/account/login", "ada", "another password");
    assert!(!thief.is_signed_in());
    ada.sign_in("/id/account/login", "ada", PASSWORD);
    assert!(ada.is_signed_in());
    let users = installation.json(&["user", "list"]);
    assert_eq!((&users[0]["login"], &users[0]["isAdmin"]), (&json!("ada"), &json!(true)));
}

#[test]
fn a_new_password_ends_what_was_opened_with_the_old_one() {
    let installation = Installation::new();
    installation.create_erp();
    let app = installation.create_portal();
    let server = installation.serve();
    let site = erp(&server);
    installation.create_person(site, "alice", PASSWORD);
    let mut alice = Browser::at(site);
    let tokens = app.redeem(site, &app.code(&mut alice, "alice", PASSWORD));
    let (access, refresh) = (tokens.member("access_token"), tokens.member("refresh_token"));
    assert_eq!(user_info(site, &access).status, 200);
    assert_eq!(call_api(site, &access).status, 200);

    installation.run_with(&["user", "set-password", "alice"], "a brand new password\n").done();
    until("the token is dead", SOON, || user_info(site, &access).status == 401);
    assert_eq!(call_api(site, &access).status, 401);
    assert_eq!(app.refresh(site, &refresh).status, 400);
    assert!(!alice.is_signed_in(), "the browser is signed out");
    alice.sign_in("/id/account/login", "alice", PASSWORD);
    assert!(!alice.is_signed_in(), "the old password is no good");
    alice.sign_in("/id/account/login", "alice", "a brand new password");
    assert!(alice.is_signed_in());
}

#[test]
fn a_disabled_user_is_out_at_once_and_may_come_back() {
    let installation = Installation::new();
    installation.create_erp();
    let app = installation.create_portal();
    let server = installation.serve();
    let site = erp(&server);
    installation.create_person(site, "alice", PASSWORD);
    let mut alice = Browser::at(site);
    let tokens = app.redeem(site, &app.code(&mut alice, "alice", PASSWORD));
    let (access, refresh) = (tokens.member("access_token"), tokens.member("refresh_token"));

    let said = installation.json(&["user", "disable", "alice"]);
    assert_eq!((&said["login"], &said["isActive"]), (&json!("alice"), &json!(false)));
    until("the token is dead", SOON, || user_info(site, &access).status == 401);
    assert_eq!(app.refresh(site, &refresh).status, 400);
    assert!(!alice.is_signed_in());
    alice.sign_in("/id/account/login", "alice", PASSWORD);
    assert!(!alice.is_signed_in());
    let users = installation.json(&["user", "list"]);
    assert_eq!((&users[1]["login"], &users[1]["isActive"]), (&json!("alice"), &json!(false)));
    assert!(installation.run(&["user", "list"]).done().contains("disabled"));

    installation.run(&["user", "enable", "alice"]).done();
    until("alice may sign in again", SOON, || {
        alice.sign_in("/id/account/login", "alice", PASSWORD);
        alice.is_signed_in()
    });
    assert_eq!(user_info(site, &access).status, 401, "what died stays dead");
}

#[test]
fn commands_tell_programs_in_json_what_they_did() {
    let installation = Installation::new();
    let made = installation.json(&["instance", "create", "erp", "--seats", "5"]);
    assert_eq!((&made["instance"], &made["administrator"]), (&json!("erp"), &json!("admin")));
    assert!(text(&made["set_up_link"]).contains("/id/account/set-up?code="));
    assert_eq!(installation.json(&["instance", "list"]), json!(["erp"]));
    assert_eq!(installation.run(&["instance", "list"]).done(), "erp\n");

    let made = installation.json(&["user", "create", "bob", "--name", "Bob Brewer", "--email", "bob@example.com"]);
    assert_eq!(made["login"], "bob");
    assert!(text(&made["set_up_link"]).contains("?code="));
    let service = installation.json(&["user", "create", "svc", "--kind", "system"]);
    assert_eq!(service["set_up_link"], json!(null), "nobody signs in as it");
    let users = installation.json(&["user", "list"]);
    let mut bob = made.clone();
    for (gone, _) in [("link", "the answer of another operation"), ("set_up_link", "its old name")] {
        bob.as_object_mut().expect("a user").remove(gone);
    }
    assert_eq!(users.as_array().expect("a list").len(), 3);
    assert_eq!((&users[1], &users[2]["userType"]), (&bob, &json!("SystemUserNoLogin")));
    let set = installation.run_with(&["user", "set-password", "bob", "--json"], "lantern-otter-quill\n").json();
    assert_eq!(set, json!({ "login": "bob" }));
}

#[test]
fn an_operator_overrides_the_rule_for_passwords_and_hears_which() {
    let installation = Installation::new();
    installation.create_erp();
    let forced = installation.run_with(&["user", "set-password", "admin", "--force", "--json"], "short\n");
    assert!(forced.stderr.contains("overrides a rule: the password is too short"), "{}", forced.stderr);
    assert_eq!(forced.json(), json!({ "login": "admin" }));
    let server = installation.serve();
    let mut admin = Browser::at(erp(&server));
    admin.sign_in("/id/account/login", " admin ", "short");
    assert!(admin.is_signed_in(), "with blanks that a keyboard added to the login");
    let good = installation.run_with(&["user", "set-password", "ADMIN ", "--force"], "lantern-otter-quill\n");
    assert_eq!(good.stderr, "", "there is nothing to override");
    good.done();
}
