//! Whatever fails, the audit is a chain without gaps; a user can be erased from it.

use std::time::Duration;

use acceptance::{App, TestServer, change_setting, on_both, switch_user};
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

async fn the_main_job_is_sealed_and_signed(server: TestServer) {
    let app = server.app(FIRST);
    let tokens = app.sign_in(&mut server.browser("alice"), "openid read offline_access").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    server.advance(Duration::from_mins(1));
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    assert_eq!((verdict.unattested.events, verdict.unknown_seals, verdict.remembered_since), (0, 0, None));
    assert!(verdict.events > 5 && verdict.signed == verdict.newest, "{} {}", verdict.signed, verdict.newest);

    // Without new events nothing is signed.
    server.advance(Duration::from_mins(1));
    server.seal().await;
    assert_eq!(server.verify_audit().await.newest, verdict.newest);
    let sealed = server.audit().await;
    let call = sealed.iter().find(|row| row.kind == "api-call").expect("it was told");
    assert!(call.columns.iter().any(|column| column == "192.0.2.1"), "{call:?}");
}

async fn a_call_names_its_address_only_where_that_is_not_its_sessions(server: TestServer) {
    let app = server.app(FIRST);
    let tokens = app.sign_in(&mut server.browser("alice"), "openid read").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200, "opens the session");
    for _ in 0..3 {
        assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    }
    assert_eq!(app.client.from("198.51.100.7:40000").call_api(&tokens.access).await.status, 200);
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    let trail = server.audit().await;
    let calls: Vec<_> = trail.iter().filter(|row| row.kind == "api-call").collect();
    let from = |address: &str| calls.iter().filter(|row| row.columns.iter().any(|column| column == address)).count();
    assert_eq!((calls.len(), from("192.0.2.1"), from("198.51.100.7")), (5, 1, 1));
}

async fn an_erased_person_can_do_nothing_and_is_named_nowhere(server: TestServer) {
    let app = server.app(FIRST);
    let mut alice = server.browser("alice");
    let tokens = app.sign_in(&mut alice, "openid read offline_access").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    // One of her events, sealed or waiting, also contains another client's address.
    let elsewhere = App { client: app.client.from("198.51.100.7:40000"), ..app.clone() };
    elsewhere.refresh(tokens.refresh()).await;
    app.refresh(tokens.refresh()).await;
    server.seal().await;
    app.refresh(tokens.refresh()).await;
    // Audited after the last seal, so that sealed and waiting events both have to be erased.
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);

    let mut rng = server.rng();
    let id = server.operator().await.erase_user("alice", &mut server.moment(&mut rng)).await;
    let id = id.expect("the database answers").expect("she is there").to_string();
    server.catch_up().await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 401);
    assert_eq!(app.client.user_info(&tokens.access).await.status, 401);
    assert_eq!(app.refresh(tokens.refresh()).await.status, 400);
    let page = alice.open(&app.asks("openid read").path()).await;
    assert_eq!(page.page(), "sign-in", "her sign-in is over");
    assert_eq!(alice.enter(&page).await.page(), "sign-in", "she cannot sign in again");

    server.seal().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole() && verdict.erased > 3, "{} {:?}", verdict.erased, verdict.findings);
    let trail = server.audit().await;
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

async fn an_audit_that_is_old_enough_goes_and_the_rest_is_whole(server: TestServer) {
    let mut rng = server.rng();
    let set = change_setting(&server.operator().await, "audit_retention_days", "2", &mut server.moment(&mut rng)).await;
    set.expect("the database answers").expect("a good setting");
    server.catch_up().await;
    server.seal().await;
    server.advance(DAY);
    server.enable_user("bob", false).await;
    server.seal().await;
    let before = server.verify_audit().await;

    server.advance(DAY);
    server.tidy().await;
    server.seal().await;
    let young = server.verify_audit().await;
    assert!(young.is_whole() && young.events >= before.events, "nothing is old enough");

    server.advance(2 * DAY);
    server.enable_user("bob", true).await;
    server.seal().await;
    server.tidy().await;
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    assert!(verdict.seals < verdict.newest.unsigned_abs(), "the oldest are gone");
    let trail = server.audit().await;
    let pruned = trail.iter().find(|row| row.kind == "audit-pruned").expect("it is told");
    assert!(pruned.columns.iter().any(|column| column.contains("\"through\":")), "{pruned:?}");
    assert!(!trail.iter().any(|row| row.columns.iter().any(|column| column.contains("create-instance"))));
    assert!(trail.iter().any(|row| row.columns.iter().any(|column| column.contains("enable-user"))));
}

async fn events_that_nobody_sealed_are_sealed_by_the_next_start(server: TestServer) {
    server.seal().await;
    let node = server.another_node().await;
    // Events that the command line writes while no server runs.
    server.server.close().await;
    node.close().await;
    let server = server.restarted().await;
    let mut rng = server.rng();
    let done = switch_user(&server.operator().await, "bob", false, &mut server.moment(&mut rng)).await;
    done.expect("the database answers").expect("he is there");
    let server = server.restarted().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
    let trail = server.audit().await;
    assert!(trail.iter().any(|row| row.columns.iter().any(|column| column.contains("disable-user"))));
}

/// Both nodes read the same events in every round. The second one finds them already sealed.
async fn nodes_that_seal_at_once_put_each_event_into_one_seal(server: TestServer) {
    const ROUNDS: usize = 30;
    let (other, client) = (server.another_node().await, server.client());
    for _ in 0..ROUNDS {
        client.call_api("nonsense").await;
        server.enable_user("bob", true).await;
        server.tick().await;
        let (one, two) = tokio::join!(server.server.seal(), other.seal());
        one.and(two).expect("the database answers");
    }
    other.close().await;
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    let trail = server.audit().await;
    let calls = trail.iter().filter(|row| row.kind == "api-call").count();
    let changes = trail.iter().filter(|row| row.columns.iter().any(|column| column.contains("enable-user"))).count();
    assert_eq!((calls, changes), (ROUNDS, ROUNDS));
}

/// Each node seals its own calls after the current head.
async fn nodes_that_seal_calls_at_once_lose_none(server: TestServer) {
    const ROUNDS: usize = 30;
    let other = server.another_node().await;
    let app = server.app(FIRST);
    let tokens = app.sign_in(&mut server.browser("alice"), "openid read").await;
    let clients = [app.client.clone(), server.client_of(&other)];
    for client in &clients {
        assert_eq!(client.call_api(&tokens.access).await.status, 200);
    }
    for _ in 0..ROUNDS {
        for client in &clients {
            assert_eq!(client.call_api(&tokens.access).await.status, 200);
        }
        let (one, two) = tokio::join!(server.server.tick(), other.tick());
        one.and(two).expect("the database answers");
    }
    other.close().await;
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    let trail = server.audit().await;
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

/// A key created for a user in a failed seal was never written: the next try must not seal under it.
#[tokio::test]
async fn a_seal_that_the_database_refuses_leaves_nothing_behind() {
    let server = TestServer::open().await;
    let store = server.store().await;
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
    let mut rng = server.rng();
    let made = server.operator().await.create_user(draft, &mut server.moment(&mut rng)).await;
    made.expect("the database answers").expect("a good draft");
    server.server.seal().await.expect_err("no seal is written");

    run("DROP TRIGGER broken").await;
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole() && !verdict.waiting, "{:?}", verdict.findings);
}
