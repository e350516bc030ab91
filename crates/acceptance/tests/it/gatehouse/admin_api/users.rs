//! Users and service accounts.

use acceptance::TestServer;
use model::UserId;
use serde_json::{Value, json};
use store::{Batch, Change, ChangeKind, CommitOutcome};

use super::{AdminClient, assert_created, assert_invalid, assert_ok, assert_problem};
use crate::FIRST;
use crate::gatehouse::two_step::set_up_app;

#[tokio::test]
async fn a_user_is_made_invited_changed_and_switched_off() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    for (bad, named) in [
        (json!({"login": "", "userType": "InternalUser"}), "login"),
        (json!({"login": "eve", "userType": "InternalUser", "name": "a\nb"}), "name"),
        (json!({"login": "eve", "userType": "InternalUser", "email": "nowhere"}), "email"),
    ] {
        let refusal = assert_invalid(&operator.post("/users", &bad).await);
        assert!(refusal.contains(named), "{refusal}");
    }
    let new =
        |role: &str| json!({"login": "Eve", "userType": "InternalUser", "email": "eve@example.com", "role": role});
    assert!(assert_invalid(&operator.post("/users", &new("None")).await).contains("role None"));
    let made = operator.post("/users", &new("Viewer")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_problem(&operator.post("/users", &json!({"login": "EVE", "userType": "InternalUser"})).await, 409, "taken");
    let (eve, tag) = operator.user("eve").await;
    let entry = assert_ok(&operator.get(&eve).await);
    assert_eq!(
        (&entry["login"], &entry["role"], &entry["hasPassword"]),
        (&json!("Eve"), &json!("Viewer"), &json!(false))
    );

    // She chooses a password by the link, and signs in.
    let invitation = assert_ok(&operator.post(&format!("{eve}/invitations"), &Value::Null).await);
    let url = invitation["url"].as_str().expect("a link").to_owned();
    let page = url.strip_prefix("http://localhost:8080").expect("from configuration");
    assert_eq!(server.client().get(page).await.page(), "set-up");
    assert_invalid(&operator.put(&format!("{eve}/password"), "", &json!({"password": "short"})).await);
    assert_eq!(operator.put(&format!("{eve}/password"), "", &json!({"password": "eve-Demo1"})).await.status, 204);
    assert_invalid(&operator.post(&format!("{eve}/invitations"), &Value::Null).await);
    let reset = assert_ok(&operator.post(&format!("{eve}/reset-links"), &Value::Null).await);
    assert!(reset["url"].as_str().is_some_and(|link| link != url), "another link for who has a password");
    assert_problem(&operator.patch(&eve, &tag, &json!({"name": "Eve"})).await, 412, "changed-meanwhile");
    let tokens = server.app(FIRST).sign_in(&mut server.browser("eve"), "openid read").await;
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200);

    let bad = json!({"isActive": false, "colour": "red"});
    assert!(assert_invalid(&operator.patch(&eve, "*", &bad).await).contains("colour"));
    for bad in [json!({"email": null, "emailVerified": true}), json!({"preferredLanguage": "a b"}), json!({"name": ""})]
    {
        assert_invalid(&operator.patch(&eve, "*", &bad).await);
    }
    let verified = assert_ok(&operator.patch(&eve, "*", &json!({"emailVerified": true})).await);
    assert_eq!(verified["emailVerified"], true);
    let moved = assert_ok(&operator.patch(&eve, "*", &json!({"email": "eve@example.net"})).await);
    assert_eq!(moved["emailVerified"], false, "another address");
    let patch = json!({"name": "<i>Eve</i>", "email": null, "preferredLanguage": "de-AT"});
    let changed = assert_ok(&operator.patch(&eve, "*", &patch).await);
    assert_eq!((&changed["name"], &changed["email"]), (&json!("<i>Eve</i>"), &Value::Null));
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200, "nothing of it ends a token");
    let page = server.browser("eve").open("/id/account").await;
    assert!(!page.text().contains("<i>Eve"), "never as markup");
    assert_ok(&operator.patch(&eve, "*", &json!({"isActive": false})).await);
    assert_eq!(server.client().call_api(&tokens.access).await.status, 401, "dead on the next call");
    assert_invalid(&operator.post(&format!("{eve}/invitations"), &Value::Null).await);
}

#[tokio::test]
async fn nobody_locks_themselves_out_and_a_system_user_needs_no_invitation() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let (admin, _) = operator.user("admin").await;
    for own in [json!({"isAdmin": false}), json!({"isActive": false})] {
        assert!(assert_invalid(&operator.patch(&admin, "*", &own).await).contains("another administrator"));
    }
    let (service, _) = operator.user("svc.reader").await;
    assert_invalid(&operator.post(&format!("{service}/invitations"), &Value::Null).await);
}

/// Case is ignored. A search without a match returns an empty list.
#[tokio::test]
async fn a_user_is_found_by_login_in_any_case() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let found = assert_ok(&operator.get("/users?login=ALICE").await);
    assert_eq!(found["items"][0]["login"], "alice");
    assert_eq!(found["next"], Value::Null);
    let nobody = assert_ok(&operator.get("/users?login=nobody").await);
    assert_eq!(nobody["items"], json!([]));
}

#[tokio::test]
async fn who_lost_the_second_factor_signs_in_without_it_and_what_was_opened_has_ended() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let mut before = server.browser("alice");
    set_up_app(&server, &mut before).await;
    let (alice, tag) = operator.user("alice").await;
    assert_eq!(assert_ok(&operator.get(&alice).await)["hasSecondFactor"], true);
    assert_eq!(operator.delete(&format!("{alice}/second-factor"), "").await.status, 204);
    assert_eq!(assert_ok(&operator.get(&alice).await)["hasSecondFactor"], false);
    assert_problem(&operator.patch(&alice, &tag, &json!({"name": "A"})).await, 412, "changed-meanwhile");
    assert_eq!(before.open("/id/account").await.page(), "sign-in", "what was lost may have been found");
    assert_eq!(server.browser("alice").sign_in().await.page(), "account", "the password alone");
    assert_eq!(operator.delete(&format!("{alice}/second-factor"), "").await.status, 204, "gone is gone");
}

#[tokio::test]
async fn a_consent_is_seen_and_withdrawn_with_all_that_came_of_it() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read offline_access").await;
    let (alice, _) = operator.user("alice").await;
    let consents = assert_ok(&operator.get(&format!("{alice}/consents")).await);
    let entry = &consents["items"][0];
    assert_eq!((&entry["applicationUri"], &entry["holdsTokens"]), (&json!(FIRST), &json!(true)));
    let path = format!("{alice}/consents/{}", entry["application"].as_str().expect("an id"));
    let (bob, _) = operator.user("bob").await;
    let of_bob = path.replace(&alice, &bob);
    assert_problem(&operator.delete(&of_bob, "").await, 404, "not-found");
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200);
    assert_eq!(operator.delete(&path, "").await.status, 204);
    assert_eq!(server.client().call_api(&tokens.access).await.status, 401, "on the next call");
    assert_eq!(server.app(FIRST).refresh(tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_problem(&operator.delete(&path, "").await, 404, "not-found");
    assert_eq!(assert_ok(&operator.get(&format!("{alice}/consents")).await)["items"], json!([]));
}

/// `identity.md` §1: Community users identify themselves to applications, and administer nothing.
#[tokio::test]
async fn no_community_user_administers() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let body = json!({ "login": "eve", "userType": "ExternalCommunityUser", "isAdmin": true });
    assert!(assert_invalid(&operator.post("/users", &body).await).contains("isAdmin"));
    assert_created(&operator.post("/users", &json!({ "login": "eve", "userType": "ExternalCommunityUser" })).await);
    let (path, tag) = operator.user("eve").await;
    assert!(assert_invalid(&operator.patch(&path, &tag, &json!({ "isAdmin": true })).await).contains("isAdmin"));
    // Service accounts may administer, because an administrator made them so.
    let body = json!({ "login": "svc.operator", "userType": "SystemUserNoLogin", "isAdmin": true });
    assert_created(&operator.post("/users", &body).await);
    // A record from before this rule.
    let carol = UserId(operator.user("carol").await.0["/users/".len()..].parse().expect("an id"));
    let store = server.store().await;
    let mut row = store.user_row(carol).await.expect("no fault").expect("carol is there");
    row.user.admin_flag = true;
    let mut batch = Batch::new().with(store.update_user(&row, false, server.now()));
    batch.announce(Change { kind: ChangeKind::User, subject: carol.0 }, server.now());
    assert_eq!(store.commit(batch).await.expect("no fault"), CommitOutcome::Committed);
    server.catch_up().await;
    let mut browser = server.browser("carol");
    browser.sign_in().await;
    assert_eq!(browser.open("/manage").await.status, 403, "the manager");
    assert_eq!(browser.open("/profile/me").await.json()["isAdmin"], false, "what applications are told");
    let (path, tag) = operator.user("carol").await;
    let answer = operator.get(&path).await;
    assert_eq!(answer.json()["isAdmin"], false);
    assert_ok(&operator.patch(&path, &tag, &json!({ "name": "Carol" })).await);
    let row = store.user_row(carol).await.expect("no fault").expect("carol is there");
    assert!(!row.user.admin_flag, "the next change takes the flag away");
}
