//! Refusals of unauthenticated clients go to a chain of their own, within bounds and without cost to other users.

use std::time::Duration;

use acceptance::{TestServer, change_setting, on_both};
use flows::admin::AuditedEvent;
use flows::audit::EventFilter;
use model::audit::RequestId;
use model::audit::chain::Chain;
use model::audit::folding::FoldedRefusals;
use store::{Batch, WaitingBlock};
use uuid::Uuid;

use crate::{FIRST, NATIVE, SERVICE};

on_both! {
    refusals_of_strangers_have_a_chain_of_their_own
    a_storm_is_told_in_a_few_records_and_every_reference_still_leads_to_one
    refusals_are_pruned_by_age
    refusals_are_pruned_by_size
    while_the_disk_is_nearly_full_refusals_are_counted_and_answered
    a_chain_that_somebody_emptied_is_found
}

const DAY: Duration = Duration::from_hours(24);

/// A refused call of an unauthenticated client; returns the answer's reference.
async fn refused(server: &TestServer, from: &str) -> String {
    let answer = server.client().from(from).call_api("nonsense").await;
    assert_eq!(answer.status, 401);
    answer.header("x-request-id").to_owned()
}

async fn why(server: &TestServer, reference: &str) -> Vec<AuditedEvent> {
    let operator = server.operator().await;
    let found = operator.why(reference, server.now()).await.expect("the database answers");
    found.unwrap_or_default()
}

async fn listed(server: &TestServer, chain: Chain) -> Vec<AuditedEvent> {
    let operator = server.operator().await;
    let wanted = EventFilter { chain, ..EventFilter::default() };
    operator.events_before(&wanted, None, 1000).await.expect("the database answers").events
}

async fn refusals_of_strangers_have_a_chain_of_their_own(server: TestServer) {
    let (service, native) = (server.app(SERVICE), server.app(NATIVE));
    refused(&server, "198.51.100.7:40000").await;
    service.with_secret(Some("wrong-secret")).service_token("").await;
    native.redeem("x").await;
    let done = server.app(FIRST).service_token("").await;
    assert_ne!(done.status, 200, "with its secret, and it may not");
    assert_eq!(service.service_token("").await.status, 200);
    server.advance(Duration::from_mins(1));
    server.seal().await;

    let reasons = |events: &[AuditedEvent]| {
        let mut reasons: Vec<String> = events.iter().map(|event| event.reason.clone()).collect();
        reasons.retain(|reason| !reason.is_empty());
        reasons.sort();
        reasons
    };
    assert_eq!(reasons(&listed(&server, Chain::Main).await), ["service_not_allowed"]);
    let strangers = listed(&server, Chain::Refusals).await;
    assert_eq!(reasons(&strangers), ["code_unknown", "token_malformed", "wrong_secret"]);
    assert!(strangers.iter().any(|event| event.address.as_deref() == Some("198.51.100.7")));

    let (main, refusals) = (server.verify_audit().await, server.verify_refusals().await);
    assert!(main.is_whole() && refusals.is_whole(), "{:?} {:?}", main.findings, refusals.findings);
    assert!(refusals.events == 3 && refusals.signed == refusals.newest, "{} {}", refusals.events, refusals.signed);
    // A seal of one chain does not verify in the other.
    let store = server.store().await.with_chain(Chain::Refusals);
    let kept: Vec<String> =
        store.checkpoints(0, i64::MAX).await.expect("the database answers").into_iter().map(|(_, jws)| jws).collect();
    assert!(!kept.is_empty() && server.verify_audit_against(&kept).await.is_whole(), "they are of another chain");
    let seal = store.seals_after(0, 1).await.expect("the database answers").remove(0);
    assert_eq!(seal.actual_hash(store.chain_id()).to_string(), seal.hash);
    assert_ne!(seal.actual_hash(*store.instance()).to_string(), seal.hash);
}

async fn a_storm_is_told_in_a_few_records_and_every_reference_still_leads_to_one(server: TestServer) {
    let mut references = Vec::new();
    for number in 0..300 {
        references.push(refused(&server, &format!("198.51.100.{}:40000", number % 250)).await);
    }
    let elsewhere = refused(&server, "203.0.113.9:40000").await;
    assert_eq!(server.app(SERVICE).service_token("").await.status, 200);
    server.seal().await;
    assert_eq!(why(&server, &elsewhere).await[0].reason, "token_malformed", "another network has its own budget");
    assert_eq!(why(&server, &references[0]).await[0].request.as_deref(), Some(references[0].as_str()));

    // The server keeps it in memory for ten minutes.
    let mut admin = server.browser("admin");
    admin.sign_in().await;
    let page = admin.open(&format!("/manage/refusals?reference={}", references[60])).await;
    assert!(page.text().contains("token_malformed") && page.text().contains("198.51.100.60"), "{}", page.text());
    let page = admin.open(&format!("/manage/refusals?reference={}", references[299])).await;
    assert!(page.text().contains("recorded together"), "only counted: {}", page.text());

    server.advance(Duration::from_mins(1));
    server.seal().await;
    server.advance(Duration::from_mins(11));
    server.seal().await;
    let found = why(&server, &references[60]).await;
    assert_eq!(found.iter().filter_map(FoldedRefusals::of).map(|fold| fold.count).collect::<Vec<_>>(), [260]);
    let never = RequestId::new(server.now(), 7, 7).to_string();
    assert!(why(&server, &never).await.is_empty());
    let verdict = server.verify_refusals().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    let trail = server.audit().await;
    let calls: Vec<_> = trail.iter().filter(|row| row.reason == "token_malformed").collect();
    assert_eq!((calls.len(), calls.iter().map(|row| row.times()).sum::<u64>()), (42, 301));
    let fold = calls.iter().find(|row| row.times() > 1).expect("just seen");
    assert_eq!(fold.address, "198.51.100.0", "of the network");
}

/// The size of the database with its write-ahead log.
async fn bytes(server: &TestServer) -> i64 {
    let sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    let rows = server.store().await.database().query(sql, vec![]).await.expect("the database answers");
    rows[0].int(0).expect("a number")
}

#[tokio::test]
async fn a_storm_from_many_networks_takes_little_room_and_refuses_nobody() {
    let server = TestServer::open().await;
    server.seal().await;
    let before = bytes(&server).await;
    let service = server.app(SERVICE);
    for number in 0..4000 {
        let from = format!("10.{}.{}.7:40000", number % 7, number % 250);
        let answer = server.client().from(&from).call_api(&"x".repeat(2000)).await;
        assert_eq!(answer.status, 401);
        if number % 500 == 0 {
            assert_eq!(service.service_token("").await.status, 200);
            server.seal().await;
        }
    }
    server.advance(Duration::from_mins(1));
    server.seal().await;
    let grown = bytes(&server).await - before;
    assert!(grown < 4 * 1024 * 1024, "{grown} bytes");
    let kept = server.server.instances()[0].refusals_kept().read();
    assert_eq!(kept.iter().find(|(name, _)| *name == "whole"), Some(&("whole", 400)));
    assert!(server.verify_refusals().await.is_whole() && server.verify_audit().await.is_whole());
}

async fn refusals_are_pruned_by_age(server: TestServer) {
    refused(&server, "198.51.100.7:40000").await;
    server.seal().await;
    server.advance(29 * DAY);
    refused(&server, "198.51.100.7:40000").await;
    server.seal().await;
    server.tidy().await;
    server.seal().await;
    assert_eq!(listed(&server, Chain::Refusals).await.len(), 2, "nothing is old enough");
    server.advance(2 * DAY);
    server.tidy().await;
    server.seal().await;
    let left: Vec<String> = listed(&server, Chain::Refusals).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(left, ["audit-pruned", "api-call"], "and its own chain says so");
    let verdict = server.verify_refusals().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    assert!(server.verify_audit().await.is_whole());
}

async fn refusals_are_pruned_by_size(server: TestServer) {
    let mut rng = server.rng();
    let set = change_setting(&server.operator().await, "refusals_max_mib", "1", &mut server.moment(&mut rng)).await;
    set.expect("the database answers").expect("a good setting");
    server.catch_up().await;
    let store = server.store().await.with_chain(Chain::Refusals);
    for number in 1..=8 {
        let id = Uuid::from_u128(number).to_string();
        let line = format!("{{\"at\":{},\"kind\":\"api-call\",\"outcome\":\"refused\"}}\n", server.now().micros());
        let block = WaitingBlock { id, first_at: server.now(), lines: line.repeat(1500), code: None };
        let written = store.commit(Batch::new().with(store.insert_audit_block(block, server.now()))).await;
        assert_eq!(written.expect("the database answers"), store::CommitOutcome::Committed);
    }
    server.seal().await;
    let size = async || {
        let seals = store.seals_after(0, 1000).await.expect("the database answers");
        seals.iter().map(model::audit::chain::Seal::bytes).sum::<i64>()
    };
    assert!(size().await > 1024 * 1024);
    server.tidy().await;
    server.seal().await;
    assert!(size().await <= 1024 * 1024, "{}", size().await);
    let verdict = server.verify_refusals().await;
    assert!(verdict.is_whole() && verdict.seals > 1, "{:?}", verdict.findings);
}

async fn while_the_disk_is_nearly_full_refusals_are_counted_and_answered(server: TestServer) {
    server.server.hold_refusals_back(true);
    for _ in 0..3 {
        refused(&server, "198.51.100.7:40000").await;
    }
    assert_eq!(server.app(SERVICE).service_token("").await.status, 200);
    server.advance(Duration::from_mins(1));
    server.server.hold_refusals_back(true);
    server.seal().await;
    assert!(listed(&server, Chain::Refusals).await.is_empty());
    assert!(listed(&server, Chain::Main).await.iter().any(|event| event.kind == "token-issued"));
    server.server.hold_refusals_back(false);
    refused(&server, "198.51.100.7:40000").await;
    server.seal().await;
    let found = listed(&server, Chain::Refusals).await;
    assert_eq!(found.iter().filter_map(FoldedRefusals::of).map(|fold| fold.count).collect::<Vec<_>>(), [3]);
    assert_eq!(found.len(), 2, "and the newest has its own record");
}

async fn a_chain_that_somebody_emptied_is_found(server: TestServer) {
    refused(&server, "198.51.100.7:40000").await;
    server.advance(Duration::from_mins(1));
    server.seal().await;
    let store = server.store().await;
    for table in ["refusal_seals", "refusal_checkpoints"] {
        let gone = store::statement(format!("DELETE FROM {table}"), vec![]);
        let done = store.database().commit(Batch::new().with(gone)).await.expect("the database answers");
        assert_eq!(done, store::CommitOutcome::Committed);
    }
    assert!(!server.verify_refusals().await.is_whole());
    refused(&server, "198.51.100.7:40000").await;
    server.seal().await;
    let verdict = server.verify_refusals().await;
    assert!(!verdict.is_whole() && !verdict.is_only_broken(), "{:?}", verdict.findings);
    assert!(server.verify_audit().await.is_whole(), "the main chain is another");
}
