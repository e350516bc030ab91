//! Memory follows its database: in order, never backwards, and it is not believed where it is behind.

use acceptance::{TestHouse, Tokens, on_both};
use http::Method;
use serde_json::{Value, json};
use store::{Batch, Change, ChangeKind, Statement, statement};
use uuid::Uuid;

use crate::{FIRST, READER, SERVICE};

on_both! {
    an_application_that_is_switched_off_stays_off_whatever_else_is_changed
    a_change_that_cannot_be_applied_takes_the_trust_from_its_own_instance_alone
    a_closed_session_is_counted_with_its_reason_by_who_closed_it
}

const ROOT: &str = "/manage/api/v1";

/// While one administrator's change waits for a key to be made, another switches applications off and on: each answer
/// is true from the moment it is given.
async fn an_application_that_is_switched_off_stays_off_whatever_else_is_changed(house: TestHouse) {
    let token = Tokens::read(&house.manager().await.service_token("manage").await).access;
    let client = house.client();
    let ask = async |method: Method, path: &str, tag: &str, body: Value| {
        let ask = client.ask(&method, &format!("{ROOT}{path}")).bearer(&token).header("if-match", tag);
        ask.body("application/json", body.to_string()).send().await
    };
    let application = async |uri: &str| {
        let list = client.get_with(&format!("{ROOT}/applications?uri={}", uri.replace('/', "%2F")), &token).await;
        let path = format!("/applications/{}", list.json()["items"][0]["id"].as_str().expect("it is registered"));
        let read = client.get_with(&format!("{ROOT}{path}"), &token).await;
        (path, read.header("etag").to_owned())
    };
    // Each of these needs a key that nothing was signed with before.
    for algorithm in ["PS256", "EdDSA"] {
        let (first, first_tag) = application(FIRST).await;
        let slow = ask(Method::PATCH, &first, &first_tag, json!({ "AccessTokenAlgorithm": algorithm }));
        let switching = async {
            for on in [false, true, false, true, false, true] {
                let (service, tag) = application(SERVICE).await;
                let switched = ask(Method::PATCH, &service, &tag, json!({ "IsEnabled": on })).await;
                assert_eq!(switched.status, 200, "{}", switched.text());
                let asked = house.app(SERVICE).service_token("read").await;
                assert_eq!(asked.status, if on { 200 } else { 401 }, "{algorithm}: {}", asked.text());
            }
        };
        let (changed, ()) = tokio::join!(slow, switching);
        assert_eq!(changed.status, 200, "{}", changed.text());
        // The change takes effect with its answer: the key is there.
        Tokens::read(&house.app(SERVICE).service_token("read").await);
    }
}

/// A key that a setting needs is there with the answer.
#[tokio::test]
async fn an_algorithm_of_the_settings_is_signed_with_from_the_answer_on() {
    let house = TestHouse::open().await;
    let token = Tokens::read(&house.manager().await.service_token("manage").await).access;
    let client = house.client();
    let read = client.get_with(&format!("{ROOT}/settings"), &token).await;
    let path = format!("{ROOT}/settings");
    let ask = client.ask(&Method::PATCH, &path).bearer(&token).header("if-match", read.header("etag"));
    let body = json!({ "access_token_algorithm": "PS256" }).to_string();
    let changed = ask.body("application/json", body).send().await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let signed = Tokens::read(&house.app(SERVICE).service_token("read").await).access;
    assert_eq!(client.call_api(&signed).await.status, 200);
}

async fn commit(house: &TestHouse, statements: Vec<Statement>, kind: ChangeKind) {
    let store = house.store().await;
    let mut batch = Batch::from(statements);
    batch.announce(Change { kind, subject: store.instance().0 }, house.now());
    assert_eq!(store.commit(batch).await.expect("the database answers"), store::Outcome::Committed);
}

async fn a_change_that_cannot_be_applied_takes_the_trust_from_its_own_instance_alone(house: TestHouse) {
    let (service, other) = (house.app(SERVICE), house.app_at_other(SERVICE));
    let token = Tokens::read(&service.service_token("read").await).access;
    assert_eq!(house.client().call_api(&token).await.status, 200);
    let instance = house.store().await.instance().0;
    // A signing key that does not open is merely missed; one for checkpoints is not, because nothing takes its place.
    let junk = "INSERT INTO audit_keys (instance, kid, private_key, created_at) \
                VALUES ($1, 'junk', $2, 0)";
    commit(&house, vec![statement(junk, vec![instance.into(), [0; 32].into()])], ChangeKind::Keys).await;
    house.house.catch_up().await.expect_err("the key does not open");

    for refused in [service.service_token("read").await, house.client().call_api(&token).await] {
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(!refused.header("retry-after").is_empty());
    }
    let elsewhere = Tokens::read(&other.service_token("read").await).access;
    assert_eq!(house.other_client().call_api(&elsewhere).await.status, 200, "no other instance is touched");

    // Later changes are applied all the same, and what could not be is tried again.
    let mut dice = house.dice();
    let reader = house.office().await.set_application_enabled(READER, false, &mut house.moment(&mut dice)).await;
    reader.expect("the database answers").expect("it is registered");
    commit(&house, vec![statement("DELETE FROM audit_keys WHERE kid = 'junk'", vec![])], ChangeKind::Keys).await;
    assert_eq!(house.client().call_api(&token).await.status, 200, "healed by asking the database");
    house.catch_up().await;
    assert_eq!(house.app(READER).service_token("read").await.status, 401);
    Tokens::read(&service.service_token("read").await);
}

async fn a_closed_session_is_counted_with_its_reason_by_who_closed_it(house: TestHouse) {
    let app = house.app(FIRST);
    let mut alice = house.browser("alice");
    let tokens = app.sign_in(&mut alice, "openid read").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    let asked = format!("/id/connect/endsession?id_token_hint={}", tokens.id());
    assert_eq!(alice.open(&asked).await.page(), "signed-out");
    let testdb = house.house.instances().iter().find(|instance| instance.name == "testdb").expect("there");
    assert_eq!(testdb.meters().sessions_closed.read(), [("sign_out", 1)]);
}

/// A change announced by a node of an older version names the whole register.
#[tokio::test]
async fn a_whole_register_is_read_anew_where_an_older_node_announced_it() {
    let house = TestHouse::open().await;
    let (store, uri) = (house.store().await, "a.new/app");
    let instance = store.instance().0;
    let copied = "INSERT INTO applications (instance, id, uri, record, system_user, epoch, version, created_at) \
                  SELECT instance, $2, $3, REPLACE(record, 'my.trusted.app/spa', $3), system_user, 0, 1, created_at \
                  FROM applications WHERE instance = $1 AND uri = 'my.trusted.app/spa'";
    let id = Uuid::from_u128(7);
    commit(&house, vec![statement(copied, vec![instance.into(), id.into(), uri.into()])], ChangeKind::Register).await;
    house.catch_up().await;
    let asked = format!(
        "/id/connect/authorize?client_id={uri}&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Findex.html\
         &response_type=code&scope=read&code_challenge={}&code_challenge_method=S256",
        "a".repeat(43)
    );
    assert_eq!(house.client().get(&asked).await.status, 302, "on to the sign-in page");
}
