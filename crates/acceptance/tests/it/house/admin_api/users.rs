//! People and service accounts.

use acceptance::TestServer;
use model::UserId;
use serde_json::{Value, json};
use store::{Batch, Change, ChangeKind, CommitOutcome};

use super::{Office, assert_created, assert_invalid, assert_ok, assert_problem};
use crate::FIRST;
use crate::house::two_step::set_up_app;

#[tokio::test]
async fn a_user_is_made_invited_changed_and_switched_off() {
    let house = TestServer::open().await;
    let office = Office::of(&house).await;
    for (bad, named) in [
        (json!({"login": "", "userType": "InternalUser"}), "login"),
        (json!({"login": "eve", "userType": "InternalUser", "name": "a\nb"}), "name"),
        (json!({"login": "eve", "userType": "InternalUser", "email": "nowhere"}), "email"),
    ] {
        let told = assert_invalid(&office.post("/users", &bad).await);
        assert!(told.contains(named), "{told}");
    }
    let new =
        |role: &str| json!({"login": "Eve", "userType": "InternalUser", "email": "eve@example.com", "role": role});
    assert!(assert_invalid(&office.post("/users", &new("None")).await).contains("role None"));
    let made = office.post("/users", &new("Viewer")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_problem(&office.post("/users", &json!({"login": "EVE", "userType": "InternalUser"})).await, 409, "taken");
    let (eve, tag) = office.user("eve").await;
    let entry = assert_ok(&office.get(&eve).await);
    assert_eq!(
        (&entry["login"], &entry["role"], &entry["hasPassword"]),
        (&json!("Eve"), &json!("Viewer"), &json!(false))
    );

    // She chooses a password by the link, and signs in.
    let invitation = assert_ok(&office.post(&format!("{eve}/invitations"), &Value::Null).await);
    let url = invitation["url"].as_str().expect("a link").to_owned();
    let page = url.strip_prefix("http://localhost:8080").expect("from configuration");
    assert_eq!(house.client().get(page).await.page(), "set-up");
    assert_invalid(&office.put(&format!("{eve}/password"), "", &json!({"password": "short"})).await);
    assert_eq!(office.put(&format!("{eve}/password"), "", &json!({"password": "eve-Demo1"})).await.status, 204);
    assert_invalid(&office.post(&format!("{eve}/invitations"), &Value::Null).await);
    let reset = assert_ok(&office.post(&format!("{eve}/reset-links"), &Value::Null).await);
    assert!(reset["url"].as_str().is_some_and(|link| link != url), "another link for who has a password");
    assert_problem(&office.patch(&eve, &tag, &json!({"name": "Eve"})).await, 412, "changed-meanwhile");
    let tokens = house.app(FIRST).sign_in(&mut house.browser("eve"), "openid read").await;
    assert_eq!(house.client().call_api(&tokens.access).await.status, 200);

    let bad = json!({"isActive": false, "colour": "red"});
    assert!(assert_invalid(&office.patch(&eve, "*", &bad).await).contains("colour"));
    for bad in [json!({"email": null, "emailVerified": true}), json!({"preferredLanguage": "a b"}), json!({"name": ""})]
    {
        assert_invalid(&office.patch(&eve, "*", &bad).await);
    }
    let verified = assert_ok(&office.patch(&eve, "*", &json!({"emailVerified": true})).await);
    assert_eq!(verified["emailVerified"], true);
    let moved = assert_ok(&office.patch(&eve, "*", &json!({"email": "eve@example.net"})).await);
    assert_eq!(moved["emailVerified"], false, "another address");
    let patch = json!({"name": "<i>Eve</i>", "email": null, "preferredLanguage": "de-AT"});
    let changed = assert_ok(&office.patch(&eve, "*", &patch).await);
    assert_eq!((&changed["name"], &changed["email"]), (&json!("<i>Eve</i>"), &Value::Null));
    assert_eq!(house.client().call_api(&tokens.access).await.status, 200, "nothing of it ends a token");
    let page = house.browser("eve").open("/id/account").await;
    assert!(!page.text().contains("<i>Eve"), "never as markup");
    assert_ok(&office.patch(&eve, "*", &json!({"isActive": false})).await);
    assert_eq!(house.client().call_api(&tokens.access).await.status, 401, "dead on the next call");
    assert_invalid(&office.post(&format!("{eve}/invitations"), &Value::Null).await);
}

#[tokio::test]
async fn nobody_locks_themselves_out_and_a_system_user_needs_no_invitation() {
    let house = TestServer::open().await;
    let office = Office::of(&house).await;
    let (admin, _) = office.user("admin").await;
    for own in [json!({"isAdmin": false}), json!({"isActive": false})] {
        assert!(assert_invalid(&office.patch(&admin, "*", &own).await).contains("another administrator"));
    }
    let (service, _) = office.user("svc.reader").await;
    assert_invalid(&office.post(&format!("{service}/invitations"), &Value::Null).await);
}

/// What the answer to `Eve` says is what the next page is built from: a search for nobody is empty.
#[tokio::test]
async fn a_user_is_found_by_login_in_any_case() {
    let house = TestServer::open().await;
    let office = Office::of(&house).await;
    let found = assert_ok(&office.get("/users?login=ALICE").await);
    assert_eq!(found["items"][0]["login"], "alice");
    assert_eq!(found["next"], Value::Null);
    let nobody = assert_ok(&office.get("/users?login=nobody").await);
    assert_eq!(nobody["items"], json!([]));
}

#[tokio::test]
async fn who_lost_the_second_factor_signs_in_without_it_and_what_was_opened_has_ended() {
    let house = TestServer::open().await;
    let office = Office::of(&house).await;
    let mut before = house.browser("alice");
    set_up_app(&house, &mut before).await;
    let (alice, tag) = office.user("alice").await;
    assert_eq!(assert_ok(&office.get(&alice).await)["hasSecondFactor"], true);
    assert_eq!(office.delete(&format!("{alice}/second-factor"), "").await.status, 204);
    assert_eq!(assert_ok(&office.get(&alice).await)["hasSecondFactor"], false);
    assert_problem(&office.patch(&alice, &tag, &json!({"name": "A"})).await, 412, "changed-meanwhile");
    assert_eq!(before.open("/id/account").await.page(), "sign-in", "what was lost may have been found");
    assert_eq!(house.browser("alice").sign_in().await.page(), "account", "the password alone");
    assert_eq!(office.delete(&format!("{alice}/second-factor"), "").await.status, 204, "gone is gone");
}

#[tokio::test]
async fn a_consent_is_seen_and_withdrawn_with_all_that_came_of_it() {
    let house = TestServer::open().await;
    let office = Office::of(&house).await;
    let tokens = house.app(FIRST).sign_in(&mut house.browser("alice"), "openid read offline_access").await;
    let (alice, _) = office.user("alice").await;
    let consents = assert_ok(&office.get(&format!("{alice}/consents")).await);
    let entry = &consents["items"][0];
    assert_eq!((&entry["application_uri"], &entry["holds_tokens"]), (&json!(FIRST), &json!(true)));
    let path = format!("{alice}/consents/{}", entry["application"].as_str().expect("an id"));
    let (bob, _) = office.user("bob").await;
    let of_bob = path.replace(&alice, &bob);
    assert_problem(&office.delete(&of_bob, "").await, 404, "not-found");
    assert_eq!(house.client().call_api(&tokens.access).await.status, 200);
    assert_eq!(office.delete(&path, "").await.status, 204);
    assert_eq!(house.client().call_api(&tokens.access).await.status, 401, "on the next call");
    assert_eq!(house.app(FIRST).refresh(tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_problem(&office.delete(&path, "").await, 404, "not-found");
    assert_eq!(assert_ok(&office.get(&format!("{alice}/consents")).await)["items"], json!([]));
}

/// `identity.md` §1: Community users identify themselves to applications, and administer nothing.
#[tokio::test]
async fn no_community_user_administers() {
    let house = TestServer::open().await;
    let office = Office::of(&house).await;
    let body = json!({ "login": "eve", "userType": "ExternalCommunityUser", "isAdmin": true });
    assert!(assert_invalid(&office.post("/users", &body).await).contains("isAdmin"));
    assert_created(&office.post("/users", &json!({ "login": "eve", "userType": "ExternalCommunityUser" })).await);
    let (path, tag) = office.user("eve").await;
    assert!(assert_invalid(&office.patch(&path, &tag, &json!({ "isAdmin": true })).await).contains("isAdmin"));
    // Services may: somebody who administers made them so.
    let body = json!({ "login": "svc.operator", "userType": "SystemUserNoLogin", "isAdmin": true });
    assert_created(&office.post("/users", &body).await);
    // A record from before the rule.
    let carol = UserId(office.user("carol").await.0["/users/".len()..].parse().expect("an id"));
    let store = house.store().await;
    let mut row = store.user_row(carol).await.expect("no fault").expect("carol is there");
    row.user.admin_flag = true;
    let mut batch = Batch::new().with(store.update_user(&row, false, house.now()));
    batch.announce(Change { kind: ChangeKind::User, subject: carol.0 }, house.now());
    assert_eq!(store.commit(batch).await.expect("no fault"), CommitOutcome::Committed);
    house.catch_up().await;
    let mut browser = house.browser("carol");
    browser.sign_in().await;
    assert_eq!(browser.open("/manage").await.status, 403, "the manager");
    assert_eq!(browser.open("/profile/me").await.json()["isAdmin"], false, "what applications are told");
    let (path, tag) = office.user("carol").await;
    let answer = office.get(&path).await;
    assert_eq!(answer.json()["isAdmin"], false);
    assert_ok(&office.patch(&path, &tag, &json!({ "name": "Carol" })).await);
    let row = store.user_row(carol).await.expect("no fault").expect("carol is there");
    assert!(!row.user.admin_flag, "the next change takes the flag away");
}
