//! Whatever happens to the house, its audit is a chain without a gap, and a person can be erased from it.

use std::time::Duration;

use acceptance::{App, TestServer, on_both};
use flows::admin::UserDraft;
use model::UserType;
use store::{Batch, statement};

use crate::FIRST;

on_both! {
    the_main_job_is_sealed_and_signed
    a_call_names_its_address_only_where_that_is_not_its_sessions
    an_erased_person_can_do_nothing_and_is_named_nowhere
    an_audit_that_is_old_enough_goes_and_the_rest_is_whole
    events_that_nobody_sealed_are_sealed_by_the_next_start
}

const DAY: Duration = Duration::from_hours(24);

async fn the_main_job_is_sealed_and_signed(house: TestServer) {
    let app = house.app(FIRST);
    let tokens = app.sign_in(&mut house.browser("alice"), "openid read offline_access").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    house.advance(Duration::from_mins(1));
    house.seal().await;
    let verdict = house.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    assert_eq!((verdict.unattested.events, verdict.unknown_seals, verdict.remembered_since), (0, 0, None));
    assert!(verdict.events > 5 && verdict.signed == verdict.newest, "{} {}", verdict.signed, verdict.newest);

    // Nothing new: nothing to sign.
    house.advance(Duration::from_mins(1));
    house.seal().await;
    assert_eq!(house.verify_audit().await.newest, verdict.newest);
    let sealed = house.audit().await;
    let call = sealed.iter().find(|row| row.kind == "api-call").expect("it was told");
    assert!(call.columns.iter().any(|column| column == "192.0.2.1"), "{call:?}");
}

async fn a_call_names_its_address_only_where_that_is_not_its_sessions(house: TestServer) {
    let app = house.app(FIRST);
    let tokens = app.sign_in(&mut house.browser("alice"), "openid read").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200, "opens the session");
    for _ in 0..3 {
        assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    }
    assert_eq!(app.client.from("198.51.100.7:40000").call_api(&tokens.access).await.status, 200);
    house.seal().await;
    let verdict = house.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    let trail = house.audit().await;
    let calls: Vec<_> = trail.iter().filter(|row| row.kind == "api-call").collect();
    let from = |address: &str| calls.iter().filter(|row| row.columns.iter().any(|column| column == address)).count();
    assert_eq!((calls.len(), from("192.0.2.1"), from("198.51.100.7")), (5, 1, 1));
}

async fn an_erased_person_can_do_nothing_and_is_named_nowhere(house: TestServer) {
    let app = house.app(FIRST);
    let mut alice = house.browser("alice");
    let tokens = app.sign_in(&mut alice, "openid read offline_access").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    // Somebody else's address stands in an event of hers, too, sealed and waiting.
    let elsewhere = App { client: app.client.from("198.51.100.7:40000"), ..app.clone() };
    elsewhere.refresh(tokens.refresh()).await;
    app.refresh(tokens.refresh()).await;
    house.seal().await;
    app.refresh(tokens.refresh()).await;
    // Told after the last seal, so that both what is sealed and what waits have to be erased.
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);

    let mut rng = house.rng();
    let id = house.office().await.erase_user("alice", &mut house.moment(&mut rng)).await;
    let id = id.expect("the database answers").expect("she is there").to_string();
    house.catch_up().await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 401);
    assert_eq!(app.client.user_info(&tokens.access).await.status, 401);
    assert_eq!(app.refresh(tokens.refresh()).await.status, 400);
    let page = alice.open(&app.asks("openid read").path()).await;
    assert_eq!(page.page(), "sign-in", "her sign-in is over");
    assert_eq!(alice.enter(&page).await.page(), "sign-in", "she cannot sign in again");

    house.seal().await;
    let verdict = house.verify_audit().await;
    assert!(verdict.is_whole() && verdict.erased > 3, "{} {:?}", verdict.erased, verdict.findings);
    let trail = house.audit().await;
    let hers: Vec<_> = trail.iter().filter(|row| row.user == id).collect();
    assert!(hers.iter().any(|row| row.kind == "sign-in") && hers.iter().any(|row| row.kind == "api-call"));
    assert_eq!(hers.iter().filter(|row| row.kind == "token-repeated").count(), 2);
    let names_her = |text: &str| text == "192.0.2.1" || text == "198.51.100.7" || text.contains("alice");
    for row in &hers {
        assert!(!row.columns.iter().any(|column| names_her(column)), "{row:?}");
    }
    let erasure = hers.iter().find(|row| row.columns.iter().any(|column| column.contains("erase-user")));
    assert_eq!(erasure.expect("it is told").kind, "admin-change");
}

async fn an_audit_that_is_old_enough_goes_and_the_rest_is_whole(house: TestServer) {
    let mut rng = house.rng();
    let setting = ("audit_retention_days", "2");
    let set = house.office().await.change_setting(setting, &mut house.moment(&mut rng)).await;
    set.expect("the database answers").expect("a good setting");
    house.catch_up().await;
    house.seal().await;
    house.advance(DAY);
    house.enable_user("bob", false).await;
    house.seal().await;
    let before = house.verify_audit().await;

    house.advance(DAY);
    house.tidy().await;
    house.seal().await;
    let young = house.verify_audit().await;
    assert!(young.is_whole() && young.events >= before.events, "nothing is old enough");

    house.advance(2 * DAY);
    house.enable_user("bob", true).await;
    house.seal().await;
    house.tidy().await;
    house.seal().await;
    let verdict = house.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    assert!(verdict.seals < verdict.newest.unsigned_abs(), "the oldest are gone");
    let trail = house.audit().await;
    let pruned = trail.iter().find(|row| row.kind == "audit-pruned").expect("it is told");
    assert!(pruned.columns.iter().any(|column| column.contains("\"through\":")), "{pruned:?}");
    assert!(!trail.iter().any(|row| row.columns.iter().any(|column| column.contains("create-instance"))));
    assert!(trail.iter().any(|row| row.columns.iter().any(|column| column.contains("enable-user"))));
}

async fn events_that_nobody_sealed_are_sealed_by_the_next_start(house: TestServer) {
    house.seal().await;
    let node = house.another_node().await;
    // What the command line writes beside a server that is gone.
    house.house.close().await;
    node.close().await;
    let house = house.restarted().await;
    let mut rng = house.rng();
    let done = house.office().await.set_user_enabled("bob", false, &mut house.moment(&mut rng)).await;
    done.expect("the database answers").expect("he is there");
    let house = house.restarted().await;
    let verdict = house.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    let trail = house.audit().await;
    assert!(trail.iter().any(|row| row.columns.iter().any(|column| column.contains("disable-user"))));
}

/// Both look at the same events in every round; who comes second finds them taken.
async fn nodes_that_seal_at_once_put_each_event_into_one_seal(house: TestServer) {
    const ROUNDS: usize = 30;
    let (other, client) = (house.another_node().await, house.client());
    for _ in 0..ROUNDS {
        client.call_api("nonsense").await;
        house.enable_user("bob", true).await;
        house.beat().await;
        let (one, two) = tokio::join!(house.house.seal(), other.seal());
        one.and(two).expect("the database answers");
    }
    other.close().await;
    house.seal().await;
    let verdict = house.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    let trail = house.audit().await;
    let calls = trail.iter().filter(|row| row.kind == "api-call").count();
    let changes = trail.iter().filter(|row| row.columns.iter().any(|column| column.contains("enable-user"))).count();
    assert_eq!((calls, changes), (ROUNDS, ROUNDS));
}

/// Each seals calls of its own, behind whatever head there is by then.
async fn nodes_that_seal_calls_at_once_lose_none(house: TestServer) {
    const ROUNDS: usize = 30;
    let other = house.another_node().await;
    let app = house.app(FIRST);
    let tokens = app.sign_in(&mut house.browser("alice"), "openid read").await;
    let clients = [app.client.clone(), house.client_of(&other)];
    for client in &clients {
        assert_eq!(client.call_api(&tokens.access).await.status, 200);
    }
    for _ in 0..ROUNDS {
        for client in &clients {
            assert_eq!(client.call_api(&tokens.access).await.status, 200);
        }
        let (one, two) = tokio::join!(house.house.tick(), other.tick());
        one.and(two).expect("the database answers");
    }
    other.close().await;
    house.seal().await;
    let verdict = house.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    let trail = house.audit().await;
    assert_eq!(trail.iter().filter(|row| row.kind == "api-call").count(), 2 * (ROUNDS + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_nodes_that_seal_calls_at_once_lose_none() {
    if let Some(place) = acceptance::TestDatabase::postgres().await {
        nodes_that_seal_calls_at_once_lose_none(TestServer::on(place).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_nodes_that_seal_at_once_put_each_event_into_one_seal() {
    if let Some(place) = acceptance::TestDatabase::postgres().await {
        nodes_that_seal_at_once_put_each_event_into_one_seal(TestServer::on(place).await).await;
    }
}

/// A key that was made for a person in a seal that failed was never written: the next try must not seal under it.
#[tokio::test]
async fn a_seal_that_the_database_refuses_leaves_nothing_behind() {
    let house = TestServer::open().await;
    let store = house.store().await;
    let run = async |sql: &'static str| {
        let done = store.database().commit(Batch::new().with(statement(sql, vec![]))).await;
        assert_eq!(done.expect("the database answers"), store::CommitOutcome::Committed);
    };
    run("CREATE TRIGGER broken BEFORE INSERT ON audit_seals BEGIN SELECT RAISE(ABORT, 'the disk is full'); END").await;
    let draft = UserDraft {
        login: "eve",
        user_type: UserType::Internal,
        is_admin: false,
        name: "Eve",
        email: None,
        role: None,
        enabled: true,
    };
    let mut rng = house.rng();
    let made = house.office().await.create_user(draft, &mut house.moment(&mut rng)).await;
    made.expect("the database answers").expect("a good draft");
    house.house.seal().await.expect_err("no seal is written");

    run("DROP TRIGGER broken").await;
    house.seal().await;
    let verdict = house.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
}
