//! The database commits and its answer is lost: no event is in the audit twice, and none is missing.

use std::collections::HashSet;
use std::sync::Arc;

use acceptance::{AuditRow, TestDatabase, TestServer};
use store::faults::{DatabaseOperation, FaultInjector, FaultMoment, InjectedFault};
use store::{Batch, Change, ChangeKind, CommitOutcome};

use crate::{FIRST, SERVICE};

/// Every commit and every read of a tick, whichever comes first.
fn all(operation: DatabaseOperation, moment: FaultMoment) -> Vec<InjectedFault> {
    (1..=20).map(|nth| InjectedFault { operation, nth, moment }).collect()
}

/// Defines a test for each database.
macro_rules! under_faults {
    ($($test:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::TestDatabase::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(place) = super::TestDatabase::postgres().await {
                    super::$test(place).await;
                }
            })+
        }
    };
}

under_faults! {
    calls_whose_seal_was_not_answered_are_sealed_once
    a_beat_that_is_given_up_loses_no_call
    lines_whose_block_was_not_answered_are_written_once
    a_database_that_goes_back_between_look_and_seal_is_noticed
}

fn requests<'a>(trail: &'a [AuditRow], kind: &str) -> Vec<&'a str> {
    let request = |row: &'a AuditRow| row.columns[row.columns.len() - 2].as_str();
    trail.iter().filter(|row| row.kind == kind).map(request).collect()
}

/// All events of a kind, each exactly once.
async fn told_once(test: TestServer, kind: &str, expected: usize) {
    test.seal().await;
    let verdict = test.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    let trail = test.audit().await;
    let events = requests(&trail, kind);
    assert_eq!(events.len(), expected, "{events:?}");
    assert_eq!(events.iter().collect::<HashSet<_>>().len(), expected, "{events:?}");
}

async fn calls_whose_seal_was_not_answered_are_sealed_once(place: TestDatabase) {
    let injector = Arc::new(FaultInjector::default());
    let test = TestServer::under_faults(place, &injector).await;
    let app = test.app(FIRST);
    let tokens = app.sign_in(&mut test.browser("alice"), "openid read").await;
    let call = async || assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    call().await;
    test.tick().await;
    for moment in [FaultMoment::After, FaultMoment::Before, FaultMoment::After] {
        call().await;
        injector.arm(all(DatabaseOperation::Commit, moment));
        test.server.tick().await.expect_err("no commit is answered");
        assert!(injector.disarm().faults > 0);
        call().await;
    }
    told_once(test, "api-call", 7).await;
}

async fn a_beat_that_is_given_up_loses_no_call(place: TestDatabase) {
    let injector = Arc::new(FaultInjector::default());
    let test = TestServer::under_faults(place, &injector).await;
    let app = test.app(FIRST);
    let tokens = app.sign_in(&mut test.browser("alice"), "openid read").await;
    let call = async || assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    call().await;
    test.tick().await;
    call().await;
    injector.arm(all(DatabaseOperation::Commit, FaultMoment::Unanswered));
    let server = Arc::clone(&test.server);
    let tick = tokio::spawn(async move { server.tick().await });
    injector.withholds().await;
    tick.abort();
    assert!(tick.await.expect_err("it waits for the answer").is_cancelled());
    injector.disarm();
    call().await;
    told_once(test, "api-call", 3).await;
}

async fn lines_whose_block_was_not_answered_are_written_once(place: TestDatabase) {
    let injector = Arc::new(FaultInjector::default());
    let test = TestServer::under_faults(place, &injector).await;
    let service = test.app(SERVICE);
    let issue = async || assert_eq!(service.service_token("").await.status, 200);
    for moment in [FaultMoment::After, FaultMoment::Before, FaultMoment::After] {
        issue().await;
        injector.arm(all(DatabaseOperation::Commit, moment));
        test.server.tick().await.expect_err("no commit is answered");
        assert!(injector.disarm().faults > 0);
        // Written events are sealed before the next try.
        test.server.seal().await.expect("the database answers");
        issue().await;
    }
    told_once(test, "token-issued", 6).await;
}

/// The database is restored to a time before a change, after the server has read the feed and before it seals.
async fn a_database_that_goes_back_between_look_and_seal_is_noticed(place: TestDatabase) {
    let injector = Arc::new(FaultInjector::default());
    let test = TestServer::under_faults(place, &injector).await;
    test.seal().await;
    let service = test.app(SERVICE);
    let issue = async || {
        assert_eq!(service.service_token("").await.status, 200);
        test.tick().await;
    };
    issue().await;
    injector.arm([]);
    test.server.seal().await.expect("the database answers");
    // After the commit, two reads ask whether more events are waiting.
    let last = injector.disarm().reads - 2;

    issue().await;
    let backup = test.back_up().await;
    let store = test.store().await;
    // It has no event of its own, so only the feed shows that it was lost.
    let mut batch = Batch::new();
    batch.announce(Change { kind: ChangeKind::Roles, subject: store.instance().0 }, test.now());
    assert_eq!(store.commit(batch).await.expect("the database answers"), CommitOutcome::Committed);
    test.catch_up().await;

    injector.arm([InjectedFault { operation: DatabaseOperation::Read, nth: last, moment: FaultMoment::Unanswered }]);
    let server = Arc::clone(&test.server);
    let sealing = tokio::spawn(async move { server.seal().await });
    injector.withholds().await;
    test.restore(&backup).await;
    injector.disarm();
    sealing.await.expect("no panic").expect("the database answers");
    assert_eq!(store.unsealed_blocks(10).await.expect("the database answers").len(), 1, "nothing was sealed");

    // The node that was second pauses for some ticks.
    for _ in 0..6 {
        test.seal().await;
    }
    let verdict = test.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    let trail = test.audit().await;
    assert_eq!(requests(&trail, "token-issued").len(), 2);
    assert_eq!(trail.iter().filter(|row| row.kind == "database-rewound").count(), 1);
}
