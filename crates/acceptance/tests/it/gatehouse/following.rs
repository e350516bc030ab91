//! Following the change feed: in pages, and each instance on its own.

use std::sync::Arc;

use acceptance::{TestDatabase, TestServer, TokenAnswer};
use model::Moment;
use store::faults::{DatabaseOperation, FaultInjector, FaultMoment, InjectedFault};
use store::{Batch, Change, ChangeKind, CommitOutcome};
use uuid::Uuid;

use crate::{READER, SERVICE};

macro_rules! under_faults {
    ($($promise:ident)*) => {
        mod on_sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                Box::pin(super::$promise(super::TestDatabase::sqlite().await)).await;
            }
        )*}
        mod on_postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                if let Some(place) = super::TestDatabase::postgres().await {
                    Box::pin(super::$promise(place)).await;
                }
            }
        )*}
    };
}

under_faults! {
    a_node_that_was_away_reads_the_feed_in_pages_and_in_order
    a_node_that_was_away_for_long_reads_memory_anew
    an_instance_that_hangs_keeps_no_other_from_following
}

/// Another process announces this many changes in one commit.
async fn announce(server: &TestServer, count: usize, change: impl Fn(usize) -> Change) {
    let store = server.store().await;
    for first in (0..count).step_by(500) {
        let mut batch = Batch::new();
        for number in first..count.min(first + 500) {
            batch.announce(change(number), server.now());
        }
        assert_eq!(store.commit(batch).await.expect("the database answers"), CommitOutcome::Committed);
    }
}

fn person(number: usize) -> Change {
    Change { kind: ChangeKind::Person, subject: Uuid::from_u128(number as u128) }
}

async fn set_reader(server: &TestServer, enabled: bool) {
    let mut rng = server.rng();
    let operator = server.operator().await;
    let done = operator.set_application_enabled(READER, enabled, &mut server.moment(&mut rng)).await;
    done.expect("the database answers").expect("it is registered");
}

async fn reads_to_catch_up(server: &TestServer, injector: &FaultInjector) -> u64 {
    injector.arm(Vec::new());
    server.server.catch_up().await.expect("the feed can be read");
    injector.disarm().reads
}

async fn a_node_that_was_away_reads_the_feed_in_pages_and_in_order(place: TestDatabase) {
    let injector = Arc::<FaultInjector>::default();
    let server = Box::pin(TestServer::under_faults(place, &injector)).await;
    server.catch_up().await;
    TokenAnswer::read(&server.app(READER).service_token("read").await);
    let idle = reads_to_catch_up(&server, &injector).await;
    announce(&server, 1500, person).await;
    set_reader(&server, false).await;
    announce(&server, 1500, person).await;
    let reads = reads_to_catch_up(&server, &injector).await;
    // Four pages, a check of the end after each full one, and one application.
    assert!((idle + 5..=idle + 16).contains(&reads), "{idle} and {reads}");
    assert_eq!(server.app(READER).service_token("read").await.status, 401);
    let rewinds = server.server.instances()[0].meters().database_rewinds.read();
    assert_eq!(rewinds, 0, "nobody went back");
    set_reader(&server, true).await;
    server.catch_up().await;
    TokenAnswer::read(&server.app(READER).service_token("read").await);
}

async fn a_node_that_was_away_for_long_reads_memory_anew(place: TestDatabase) {
    let injector = Arc::<FaultInjector>::default();
    let server = Box::pin(TestServer::under_faults(place, &injector)).await;
    server.catch_up().await;
    TokenAnswer::read(&server.app(READER).service_token("read").await);
    set_reader(&server, false).await;
    // Each change alone would need a query.
    announce(&server, 10_500, |number| Change { kind: ChangeKind::Register, ..person(number) }).await;
    let reads = reads_to_catch_up(&server, &injector).await;
    assert!(reads < 100, "{reads}");
    assert_eq!(server.app(READER).service_token("read").await.status, 401);
    assert_eq!(server.server.instances()[0].meters().database_rewinds.read(), 0, "nobody went back");
    assert!(server.server.instances()[0].behind().is_none());
    let rows = server.store().await.reread_at().await.expect("the database answers");
    assert_eq!(rows, None, "it is no matter of other nodes");
}

/// One instance's query is never answered. The other keeps following its changes in every pass.
async fn an_instance_that_hangs_keeps_no_other_from_following(place: TestDatabase) {
    let injector = Arc::<FaultInjector>::default();
    let server = Box::pin(TestServer::under_faults(place, &injector)).await;
    server.catch_up().await;
    let other = server.office_at("demodb").await;
    let switch = async |enabled: bool| {
        let mut rng = server.rng();
        let mut moment: Moment<'_> = server.moment(&mut rng);
        let done = other.set_application_enabled(SERVICE, enabled, &mut moment).await;
        done.expect("the database answers").expect("it is registered");
    };
    // In a pass in which only one instance has changes to read: the first query for it.
    set_reader(&server, false).await;
    injector.arm(Vec::new());
    server.server.catch_up().await.expect("the feed can be read");
    let all = injector.disarm().reads;
    set_reader(&server, true).await;
    // The last two reads are the page and the application.
    let hangs = InjectedFault { operation: DatabaseOperation::Read, nth: all - 1, moment: FaultMoment::Unanswered };
    injector.arm(vec![hangs]);
    server.server.follow_in_time().await.expect_err("one instance is not done");
    let [hanging, going] = server.server.instances() else { panic!("two instances") };
    assert!(hanging.behind().is_some() && going.behind().is_none());
    for enabled in [false, true, false] {
        switch(enabled).await;
        server.server.follow_in_time().await.expect_err("one instance still hangs");
        let asked = server.app_at_other(SERVICE).service_token("read").await;
        assert_eq!(asked.status, if enabled { 200 } else { 401 });
        assert!(hanging.behind().is_some() && going.behind().is_none());
    }
    injector.disarm();
    server.catch_up().await;
    assert!(hanging.behind().is_none());
    TokenAnswer::read(&server.app(READER).service_token("read").await);
}
