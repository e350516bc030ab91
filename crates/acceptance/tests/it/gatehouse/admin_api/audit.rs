//! The list of events.

use std::time::Duration;

use acceptance::{TestServer, on_both};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::audit::StoredEvent;
use model::audit::chain::{ChainHead, Seal};
use serde_json::{Value, json};
use store::{Batch, CommitOutcome, Store};

use super::{AdminClient, assert_ok, assert_problem};
use crate::{FIRST, SERVICE};

on_both! {
    the_audit_is_listed_the_newest_first_and_page_by_page
    the_audit_is_asked_for_what_is_wanted
    an_erased_person_is_not_named_in_the_list
    what_is_rare_is_found_in_several_looks
}

type Is<'a> = &'a dyn Fn(&Value) -> bool;

/// All entries of a list, page by page. Fails on a page larger than requested.
async fn walk(operator: &AdminClient, query: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = assert_ok(&operator.get(&format!("/audit?limit={limit}&{query}{cursor}")).await);
        let some = page["items"].as_array().expect("items");
        assert!(some.len() <= limit);
        items.extend(some.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

/// A sign-in, a refused service and a changed application, each in its own seal. No further event is waiting to be
/// sealed.
async fn with_some_history(server: TestServer) -> TestServer {
    server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await;
    let server = server.restarted().await;
    server.advance(Duration::from_mins(1));
    let refused = server.app(SERVICE).with_secret(Some("wrong")).service_token("read").await;
    assert_eq!(refused.status, 401);
    let server = server.restarted().await;
    server.advance(Duration::from_mins(1));
    let operator = AdminClient::of(&server).await;
    let (path, tag) = operator.application(SERVICE).await;
    assert_ok(&operator.patch(&path, &tag, &json!({"Name": "Other"})).await);
    server.restarted().await
}

/// The tests' own requests are audited too, before the entries that were there.
#[track_caller]
fn assert_behind_what_is_new(listed: &[Value], expected: &[Value], what: &str) {
    assert!(listed.ends_with(expected), "{what}: {listed:#?}\nends not with\n{expected:#?}");
    let (new, _) = listed.split_at(listed.len() - expected.len());
    assert!(new.iter().all(|event| !expected.contains(event)), "{what}: none is told twice");
}

async fn the_audit_is_listed_the_newest_first_and_page_by_page(server: TestServer) {
    let server = Box::pin(with_some_history(server)).await;
    let operator = AdminClient::of(&server).await;
    let whole = walk(&operator, "", 200).await;
    assert!(whole.len() > 20);
    for limit in [1, 2, whole.len()] {
        assert_behind_what_is_new(&walk(&operator, "", limit).await, &whole, "page by page");
    }
    let times: Vec<&str> = whole.iter().map(|event| event["at"].as_str().expect("a time")).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");

    // New entries come first and shift no page.
    let first = assert_ok(&operator.get("/audit?limit=3").await);
    let server = server.restarted().await;
    let (operator, there) = (AdminClient::of(&server).await, AdminClient::of_the_other(&server).await);
    let rest = format!("cursor={}", first["next"].as_str().expect("more"));
    let mut items = first["items"].as_array().expect("items").clone();
    items.extend(walk(&operator, &rest, 200).await);
    assert_behind_what_is_new(&items, &whole, "goes on where it was");
    assert!(walk(&operator, "", 200).await.len() > items.len());

    let theirs = walk(&there, "", 200).await;
    assert!(theirs.iter().any(|event| event["kind"] == "admin-change"));
    assert!(theirs.iter().all(|event| !whole.contains(event)), "each instance has its own");
    assert!(theirs.iter().all(|event| event["kind"] != "sign-in"));
}

async fn the_audit_is_asked_for_what_is_wanted(server: TestServer) {
    let server = Box::pin(with_some_history(server)).await;
    // With its secret, but without the permission.
    assert_ne!(server.app(FIRST).service_token("").await.status, 200);
    server.seal().await;
    let operator = AdminClient::of(&server).await;
    let whole = walk(&operator, "", 200).await;
    let strangers = walk(&operator, "chain=refusals", 200).await;
    assert!(strangers.iter().any(|event| event["reason"] == "wrong_secret"));
    assert!(strangers.iter().all(|event| event["outcome"] == "refused" && !whole.contains(event)));
    let (alice, _) = operator.user("alice").await;
    let alice = alice.strip_prefix("/users/").expect("an id").to_owned();
    let signed_in = whole.iter().find(|event| event["kind"] == "sign-in").expect("she did");
    assert_eq!((&signed_in["user"], &signed_in["outcome"]), (&json!(alice), &json!("done")));
    assert_eq!(signed_in["address"], "192.0.2.1");
    let refused = whole.iter().find(|event| event["reason"] == "service_not_allowed").expect("it was");
    let time = refused["at"].as_str().expect("a time").to_owned();
    let at = |event: &Value| event["at"].as_str().expect("a time").to_owned();
    let is = |event: &Value, name: &str, value: &str| event[name] == value;
    let wanted: [(String, Is<'_>); 7] = [
        ("kind=sign-in".to_owned(), &|event| is(event, "kind", "sign-in")),
        ("outcome=refused".to_owned(), &|event| is(event, "outcome", "refused")),
        ("application=my.trusted.app%2Ffirst".to_owned(), &|event| is(event, "application", FIRST)),
        (format!("user={alice}"), &|event| is(event, "user", &alice)),
        (format!("since={time}"), &|event| at(event) >= time),
        (format!("until={time}"), &|event| at(event) < time),
        (format!("since={time}&until={time}"), &|_| false),
    ];
    for (query, is_wanted) in wanted {
        let expected: Vec<Value> = whole.iter().filter(|event| is_wanted(event)).cloned().collect();
        assert_eq!(expected.is_empty(), query.matches(&time).count() == 2, "{query}");
        assert!(expected.len() < whole.len(), "{query}");
        for limit in [1, 200] {
            let listed = walk(&operator, &query, limit).await;
            assert!(listed.iter().all(is_wanted), "{query}: {listed:?}");
            assert_behind_what_is_new(&listed, &expected, &query);
        }
    }
    let changes = walk(&operator, "kind=admin-change", 200).await;
    let change = changes.iter().find(|event| event["detail"]["what"] == "change-application").expect("it is told");
    assert_eq!(change["detail"]["after"], json!({"Name": "Other"}));

    let cursor = |text: &str| format!("cursor={}", URL_SAFE_NO_PAD.encode(text));
    let bad = ["kind=nonsense", "outcome=perhaps", "since=yesterday", "user=alice", "order=oldest", "chain=other"]
        .map(str::to_owned);
    for query in bad.into_iter().chain(["1", "1.2", "1.2.x", "1.2.-3", "1.2.3.4"].map(cursor)) {
        assert_problem(&operator.get(&format!("/audit?{query}")).await, 400, "malformed");
    }
    let (most, least) = (format!("{}.{}.{}", i64::MAX, i64::MAX, usize::MAX), format!("{}.{}.0", i64::MIN, i64::MIN));
    for query in [most, least].map(|text| cursor(&text)) {
        assert_eq!(assert_ok(&operator.get(&format!("/audit?{query}")).await)["items"], json!([]), "{query}");
    }
}

async fn an_erased_person_is_not_named_in_the_list(server: TestServer) {
    let server = Box::pin(with_some_history(server)).await;
    let operator = AdminClient::of(&server).await;
    let (alice, _) = operator.user("alice").await;
    let of_alice = format!("user={}", &alice["/users/".len()..]);
    let before = walk(&operator, &of_alice, 200).await;
    let mentions = |name: &str, value: &str| before.iter().any(|event| event[name] == value);
    assert!(mentions("login", "alice") && mentions("address", "192.0.2.1"), "{before:?}");
    let mut rng = server.rng();
    let erased = server.operator().await.erase_user("alice", &mut server.moment(&mut rng)).await;
    erased.expect("the database answers").expect("she is there");
    let after = walk(&operator, &of_alice, 200).await;
    assert!(after.len() >= before.len(), "what she did stays told");
    let is_nobody = |event: &Value| ["login", "address", "userAgent"].iter().all(|name| event.get(name).is_none());
    assert!(after.iter().all(is_nobody), "{after:?}");
}

/// More seals than one query reads.
async fn what_is_rare_is_found_in_several_looks(server: TestServer) {
    server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await;
    let server = server.restarted().await;
    let operator = AdminClient::of(&server).await;
    fill(&server.store().await, server.now()).await;
    let first = assert_ok(&operator.get("/audit?kind=sign-in").await);
    assert_eq!(first["items"], json!([]), "not found yet");
    assert!(first["next"].is_string());
    let found = walk(&operator, "kind=sign-in", 50).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["address"], "192.0.2.1");
}

/// Appends to the current head of the chain: the server seals its own events meanwhile.
async fn fill(store: &Store, now: model::Timestamp) {
    let (instance, mut filled) = (*store.instance(), 0);
    while filled < 3 {
        let mut head = store.audit_head().await.expect("the database answers");
        let mut batch = Batch::new();
        for number in 0..500 {
            let event = StoredEvent {
                id: format!("{}.{number}", head.number),
                at: now,
                kind: "api-call".to_owned(),
                outcome: "done".to_owned(),
                ..StoredEvent::default()
            };
            let seal = Seal::new(instance, &head, now, vec![(event, None)], String::new());
            head = ChainHead { number: seal.number, hash: seal.actual_hash(instance), at: seal.at };
            batch.push(store.insert_seal(seal, None));
        }
        let outcome = store.commit(batch).await.expect("the database answers");
        filled += usize::from(outcome == CommitOutcome::Committed);
    }
}
