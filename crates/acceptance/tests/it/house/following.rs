//! Following the change feed: in pages, and each instance for itself.

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

/// By another process, so many in a commit.
async fn announce(house: &TestServer, count: usize, change: impl Fn(usize) -> Change) {
    let store = house.store().await;
    for first in (0..count).step_by(500) {
        let mut batch = Batch::new();
        for number in first..count.min(first + 500) {
            batch.announce(change(number), house.now());
        }
        assert_eq!(store.commit(batch).await.expect("the database answers"), CommitOutcome::Committed);
    }
}

fn person(number: usize) -> Change {
    Change { kind: ChangeKind::Person, subject: Uuid::from_u128(number as u128) }
}

async fn set_reader(house: &TestServer, enabled: bool) {
    let mut rng = house.rng();
    let office = house.office().await;
    let done = office.set_application_enabled(READER, enabled, &mut house.moment(&mut rng)).await;
    done.expect("the database answers").expect("it is registered");
}

async fn reads_to_catch_up(house: &TestServer, injector: &FaultInjector) -> u64 {
    injector.arm(Vec::new());
    house.house.catch_up().await.expect("the feed can be read");
    injector.disarm().reads
}

async fn a_node_that_was_away_reads_the_feed_in_pages_and_in_order(place: TestDatabase) {
    let injector = Arc::<FaultInjector>::default();
    let house = Box::pin(TestServer::under_faults(place, &injector)).await;
    house.catch_up().await;
    TokenAnswer::read(&house.app(READER).service_token("read").await);
    let idle = reads_to_catch_up(&house, &injector).await;
    announce(&house, 1500, person).await;
    set_reader(&house, false).await;
    announce(&house, 1500, person).await;
    let reads = reads_to_catch_up(&house, &injector).await;
    // Four pages, a look at the end behind each full one, one application.
    assert!((idle + 5..=idle + 16).contains(&reads), "{idle} and {reads}");
    assert_eq!(house.app(READER).service_token("read").await.status, 401);
    let rewinds = house.house.instances()[0].meters().database_rewinds.read();
    assert_eq!(rewinds, 0, "nobody went back");
    set_reader(&house, true).await;
    house.catch_up().await;
    TokenAnswer::read(&house.app(READER).service_token("read").await);
}

async fn a_node_that_was_away_for_long_reads_memory_anew(place: TestDatabase) {
    let injector = Arc::<FaultInjector>::default();
    let house = Box::pin(TestServer::under_faults(place, &injector)).await;
    house.catch_up().await;
    TokenAnswer::read(&house.app(READER).service_token("read").await);
    set_reader(&house, false).await;
    // Each alone would be a question to the database.
    announce(&house, 10_500, |number| Change { kind: ChangeKind::Register, ..person(number) }).await;
    let reads = reads_to_catch_up(&house, &injector).await;
    assert!(reads < 100, "{reads}");
    assert_eq!(house.app(READER).service_token("read").await.status, 401);
    assert_eq!(house.house.instances()[0].meters().database_rewinds.read(), 0, "nobody went back");
    assert!(house.house.instances()[0].behind().is_none());
    let rows = house.store().await.reread_at().await.expect("the database answers");
    assert_eq!(rows, None, "it is no matter of other nodes");
}

/// One instance's question is never answered. The other goes on hearing of its changes, turn after turn.
async fn an_instance_that_hangs_keeps_no_other_from_following(place: TestDatabase) {
    let injector = Arc::<FaultInjector>::default();
    let house = Box::pin(TestServer::under_faults(place, &injector)).await;
    house.catch_up().await;
    let other = house.office_at("demodb").await;
    let switch = async |enabled: bool| {
        let mut rng = house.rng();
        let mut moment: Moment<'_> = house.moment(&mut rng);
        let done = other.set_application_enabled(SERVICE, enabled, &mut moment).await;
        done.expect("the database answers").expect("it is registered");
    };
    // Of a turn in which one instance alone has something to read, the first question about it.
    set_reader(&house, false).await;
    injector.arm(Vec::new());
    house.house.catch_up().await.expect("the feed can be read");
    let all = injector.disarm().reads;
    set_reader(&house, true).await;
    // The last two are the page and the application.
    let hangs = InjectedFault { operation: DatabaseOperation::Read, nth: all - 1, moment: FaultMoment::Unanswered };
    injector.arm(vec![hangs]);
    house.house.follow_in_time().await.expect_err("one instance is not done");
    let [hanging, going] = house.house.instances() else { panic!("two instances") };
    assert!(hanging.behind().is_some() && going.behind().is_none());
    for enabled in [false, true, false] {
        switch(enabled).await;
        house.house.follow_in_time().await.expect_err("one instance still hangs");
        let asked = house.app_at_other(SERVICE).service_token("read").await;
        assert_eq!(asked.status, if enabled { 200 } else { 401 });
        assert!(hanging.behind().is_some() && going.behind().is_none());
    }
    injector.disarm();
    house.catch_up().await;
    assert!(hanging.behind().is_none());
    TokenAnswer::read(&house.app(READER).service_token("read").await);
}
