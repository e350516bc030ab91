//! Sessions and seats, reference tokens, keys, settings, refusals.

use acceptance::{TestServer, TokenAnswer, on_both};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::{AdminClient, NOBODY, assert_invalid, assert_ok, assert_problem};
use crate::{FIRST, READER, SERVICE};

on_both! {
    sessions_are_seen_and_ended_and_their_seats_are_free
    settings_are_changed_by_whoever_read_them_last
    settings_end_what_they_no_longer_allow_and_the_audit_tells_people_by_id
    a_service_token_is_issued_once_shown_masked_and_revoked
    keys_are_rotated_in_time_and_replaced_at_once
}

async fn service_token(server: &TestServer, uri: &str) -> String {
    TokenAnswer::read(&server.app(uri).service_token("read").await).access
}

async fn sessions_are_seen_and_ended_and_their_seats_are_free(server: TestServer) {
    let (operator, client) = (AdminClient::of(&server).await, server.client());
    let alice = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await.access;
    let (first, second) = (service_token(&server, SERVICE).await, service_token(&server, READER).await);
    for token in [&alice, &first, &second] {
        assert_eq!(client.call_api(token).await.status, 200);
    }
    let seats = assert_ok(&operator.get("/seats").await);
    assert_eq!((&seats["total"], &seats["used"]), (&json!(5), &json!(3)));
    assert_eq!(seats["reserved"], json!([{"login": "admin", "holdsASeat": false}]));
    let page = assert_ok(&operator.get("/sessions?limit=2").await);
    let rest = assert_ok(&operator.get(&format!("/sessions?cursor={}", page["next"].as_str().expect("more"))).await);
    let items: Vec<Value> =
        [&page, &rest].iter().flat_map(|page| page["items"].as_array().expect("items").clone()).collect();
    assert_eq!(items.len(), 3);
    let of_alice = items.iter().find(|item| item["login"] == "alice").expect("hers");
    assert_eq!((&of_alice["kind"], &of_alice["seat"]), (&json!("person"), &json!("shared")));
    assert_eq!(of_alice["applications"], json!([FIRST]));
    assert_eq!(assert_ok(&operator.get("/sessions?user=alice").await)["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(assert_ok(&operator.get("/sessions?user=nobody").await)["items"], json!([]));
    assert_problem(&operator.get("/sessions?cursor=QQ").await, 400, "malformed");

    let path = format!("/sessions/{}", of_alice["id"].as_str().expect("an id"));
    assert_problem(&AdminClient::of_the_other(&server).await.delete(&path, "").await, 404, "not-found");
    assert_eq!(operator.delete(&path, "").await.status, 204);
    assert_eq!(client.call_api(&alice).await.status, 401, "on the next call");
    assert_problem(&operator.delete(&path, "").await, 404, "not-found");
    for bad in [json!({}), json!({"user": "alice", "application": SERVICE})] {
        assert_invalid(&operator.post("/sessions/end", &bad).await);
    }
    assert_invalid(&operator.post("/sessions/end", &json!({"user": "nobody"})).await);
    assert_eq!(assert_ok(&operator.post("/sessions/end", &json!({"application": SERVICE})).await)["ended"], 1);
    assert_eq!(assert_ok(&operator.post("/sessions/end", &json!({"user": "svc.reader"})).await)["ended"], 1);
    assert_eq!(assert_ok(&operator.post("/sessions/end", &json!({"user": "alice"})).await)["ended"], 0);
    assert_eq!(assert_ok(&operator.get("/seats").await)["used"], 0);
}

async fn settings_are_changed_by_whoever_read_them_last(server: TestServer) {
    let operator = AdminClient::of(&server).await;
    let read = operator.get("/settings").await;
    let tag = read.header("etag").to_owned();
    assert_eq!(assert_ok(&read)["seats"], 5);
    assert_problem(&operator.patch("/settings", "", &json!({"seats": 6})).await, 428, "if-match-missing");
    let changed = operator.patch("/settings", &tag, &json!({"seats": 2, "reservedSeats": ["alice"]})).await;
    assert_eq!(assert_ok(&changed)["seats"], 2);
    assert_ne!(changed.header("etag"), tag);
    assert_problem(&operator.patch("/settings", &tag, &json!({"seats": 7})).await, 412, "changed-meanwhile");
    for bad in [
        json!({"seat": 1}),
        json!({"seats": 0}),
        json!({"accessTokenSeconds": 1}),
        json!({"seats": "many"}),
        json!({"seatsPerUser": 0}),
        json!({"seatsPerApplication": 0}),
    ] {
        assert_invalid(&operator.patch("/settings", "*", &bad).await);
    }
    // One seat is reserved, and one is free.
    let (first, second) = (service_token(&server, SERVICE).await, service_token(&server, SERVICE).await);
    assert_eq!(server.client().call_api(&first).await.status, 200);
    assert_eq!(server.client().call_api(&second).await.status, 429);
    let ceilings = json!({"seats": null, "seatsPerUser": 1, "seatsPerApplication": 9});
    let read = operator.patch("/settings", "*", &ceilings).await;
    assert_eq!((&assert_ok(&read)["seatsPerUser"], &read.json()["seatsPerApplication"]), (&json!(1), &json!(9)));
    assert_eq!(server.client().call_api(&second).await.status, 429, "the System User has one");
    assert_ok(&operator.patch("/settings", "*", &json!({"seatsPerUser": null})).await);
    assert_eq!(server.client().call_api(&second).await.status, 200);
}

async fn settings_end_what_they_no_longer_allow_and_the_audit_tells_people_by_id(server: TestServer) {
    let operator = AdminClient::of(&server).await;
    let old_client = async || {
        let password = format!("Basic {}", STANDARD.encode("alice:ecila-Demo1"));
        let ask = operator.client.ask(&Method::GET, "/api/domain/odata/Crm_Customers?$top=1");
        ask.header("authorization", &password).send().await.status
    };
    assert_eq!(old_client().await, 200);
    assert_eq!(assert_ok(&operator.get("/seats").await)["used"], 1);
    let patch = json!({"legacySchemes": false, "reservedSeats": ["alice", "not-there"]});
    assert_ok(&operator.patch("/settings", "*", &patch).await);
    assert_eq!(old_client().await, 401, "on the next call");
    assert_eq!(assert_ok(&operator.get("/seats").await)["used"], 0, "its seat is free");
    let (alice, _) = operator.user("alice").await;
    let trail = server.audit().await;
    let changes: Vec<String> = trail.iter().map(|row| row.columns.join(" ")).collect();
    let change = changes.iter().find(|text| text.contains("change-settings")).expect("it is told");
    assert!(change.contains(&alice["/users/".len()..]) && change.contains("legacy_schemes"), "{change}");
    assert!(!change.contains("alice") && !change.contains("not-there"), "by id: {change}");
}

async fn a_service_token_is_issued_once_shown_masked_and_revoked(server: TestServer) {
    let operator = AdminClient::of(&server).await;
    let wish =
        |application: &str, scope: &str| json!({"application": application, "description": "nightly", "scope": scope});
    for bad in
        [wish(FIRST, "read"), wish(SERVICE, "sec"), wish(SERVICE, "manage"), wish("nobody", "read"), wish(SERVICE, "")]
    {
        assert_invalid(&operator.post("/tokens", &bad).await);
    }
    let made = operator.post("/tokens", &wish(SERVICE, "read")).await;
    let issued = assert_ok(&made);
    let value = issued["value"].as_str().expect("shown once").to_owned();
    assert_eq!(issued["token"]["value"], format!("enrt_…{}", &value[65..]));
    let (admin, _) = operator.user("admin").await;
    assert_eq!(issued["token"]["createdBy"], admin["/users/".len()..], "by id");
    assert_eq!(server.client().call_api(&value).await.status, 200);
    let path = made.location().strip_prefix(super::ROOT).expect("below the root").to_owned();
    let application = issued["token"]["application"].as_str().expect("an id").to_owned();
    for list in ["/tokens".to_owned(), format!("/tokens?application={application}")] {
        let answer = operator.get(&list).await;
        assert_eq!(assert_ok(&answer)["items"].as_array().map(Vec::len), Some(1), "{list}");
        assert!(!answer.text().contains(&value), "never again");
    }
    assert_eq!(assert_ok(&operator.get(&format!("/tokens?user={NOBODY}")).await)["items"], json!([]));
    let both = operator.get(&format!("/tokens?user={NOBODY}&application={application}")).await;
    assert_problem(&both, 400, "malformed");
    let there = AdminClient::of_the_other(&server).await;
    assert_problem(&there.get(&path).await, 404, "not-found");
    assert_problem(&there.delete(&path, "").await, 404, "not-found");
    for _ in 0..2 {
        assert_eq!(operator.delete(&path, "").await.status, 204, "however often");
    }
    assert_eq!(server.client().call_api(&value).await.status, 401, "on the next call");
    assert!(assert_ok(&operator.get(&path).await)["revokedAt"].is_string());
    assert!(server.audit().await.iter().all(|row| !row.columns.join(" ").contains(&value[5..])), "never in the audit");
}

async fn keys_are_rotated_in_time_and_replaced_at_once(server: TestServer) {
    let operator = AdminClient::of(&server).await;
    let es256 = json!({"algorithm": "ES256"});
    let kids = |keys: &Value, state: &str| -> Vec<String> {
        let mine = keys["items"].as_array().expect("items").iter();
        let mine = mine.filter(|key| key["algorithm"] == "ES256" && key["state"] == state);
        mine.map(|key| key["kid"].as_str().expect("an id").to_owned()).collect()
    };
    let before = kids(&assert_ok(&operator.get("/keys").await), "signing");
    for algorithm in ["nonsense", "PS256"] {
        assert_invalid(&operator.post("/keys/rotation", &json!({ "algorithm": algorithm })).await);
    }
    let made = assert_ok(&operator.post("/keys/rotation", &es256).await);
    assert!(assert_invalid(&operator.post("/keys/rotation", &es256).await).contains("successor"));
    let keys = assert_ok(&operator.get("/keys").await);
    assert_eq!(
        (kids(&keys, "signing"), kids(&keys, "published")),
        (before.clone(), vec![made["kid"].as_str().expect("an id").to_owned()])
    );
    let published = server.client().get("/id/.well-known/openid-configuration/jwks").await;
    assert!(published.text().contains(made["kid"].as_str().expect("an id")), "before it signs");
    let token = service_token(&server, SERVICE).await;
    assert_eq!(server.client().call_api(&token).await.status, 200, "nothing breaks");

    let preview = assert_ok(&operator.get("/keys/replacement?algorithm=ES256").await);
    assert_eq!(preview["removed"].as_array().map(Vec::len), Some(2));
    assert!(preview["accessTokensOf"].as_array().is_some_and(|names| names.contains(&json!(SERVICE))));
    assert_eq!((&preview["idTokensOf"], &preview["liveSessions"]), (&json!([]), &json!(1)));
    assert_problem(&operator.get("/keys/replacement").await, 400, "malformed");
    assert_invalid(&operator.get("/keys/replacement?algorithm=PS256").await);
    assert_eq!(server.client().call_api(&token).await.status, 200, "nothing was done yet");
    assert_ok(&operator.post("/keys/replacement", &es256).await);
    assert_eq!(server.client().call_api(&token).await.status, 401, "on the next call");
    assert_problem(&operator.get("/keys").await, 401, "unauthorized");
    let operator = AdminClient::of(&server).await;
    let keys = assert_ok(&operator.get("/keys").await);
    assert_eq!((kids(&keys, "signing").len(), kids(&keys, "published").len()), (1, 0));
    assert!(!before.contains(&kids(&keys, "signing")[0]));
    assert_eq!(server.client().call_api(&service_token(&server, SERVICE).await).await.status, 200);
}

#[tokio::test]
async fn a_refusal_is_explained_by_its_reference_to_its_own_instance() {
    let server = TestServer::open().await;
    let refused = server.app(SERVICE).with_secret(Some("wrong")).service_token("read").await;
    let reference = refused.header("x-request-id").to_owned();
    let server = server.restarted().await;
    let (operator, there) = (AdminClient::of(&server).await, AdminClient::of_the_other(&server).await);
    let found = assert_ok(&operator.get(&format!("/refusals/{reference}")).await);
    let event = &found["items"][0];
    assert_eq!((&event["outcome"], &event["reason"]), (&json!("refused"), &json!("wrong_secret")));
    assert_eq!(event["application"], SERVICE);
    assert_problem(&there.get(&format!("/refusals/{reference}")).await, 404, "not-found");
    assert_problem(&operator.get(&format!("/refusals/{}", "0".repeat(32))).await, 404, "not-found");
    assert_problem(&operator.get("/refusals/short").await, 404, "not-found");
}
