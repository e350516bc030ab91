//! What only PostgreSQL can do to us: order, goodbyes, TLS.

use std::time::Duration;

use store::{CommitOutcome, Database, DatabaseUrl, FaultKind, statement, values};
use tokio_postgres::Client;

use crate::common::postgres;
use crate::{commit, kind, note, notes, with_notes};

/// Asks until the answer is yes: waiting for a thing another session does, not for luck.
async fn until(other: &Client, sql: &str) {
    for _ in 0..3000 {
        let row = other.query_one(sql, &[]).await.expect("an answer");
        if row.get(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never true: {sql}");
}

#[tokio::test]
async fn the_room_on_the_servers_disk_is_not_known() {
    let Some(place) = postgres().await else { return };
    assert_eq!(place.open().await.free_bytes().await, None);
}

#[tokio::test]
async fn a_batch_that_lost_a_deadlock_is_sent_again() {
    let Some(place) = postgres().await else { return };
    let database = with_notes(place.open().await).await;
    let _ = commit(&database, vec![note(1), note(2)]).await.expect("notes");
    let other = place.client().await;
    let (watcher, holds) = (place.client().await, "UPDATE notes SET state = 'other' WHERE id = 1");
    // The server ends the one who finds the deadlock, and only we look.
    other.batch_execute("SET deadlock_timeout = '60s'; BEGIN").await.expect("a transaction");
    other.batch_execute(holds).await.expect("a lock on 1");

    let ours = |id: i64| statement("UPDATE notes SET state = 'ours' WHERE id = $1", values![id]);
    let committed = {
        let database = database.clone();
        tokio::spawn(async move { commit(&database, vec![ours(2), ours(1)]).await })
    };
    until(&watcher, "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gatehouse' AND wait_event_type = 'Lock')").await;
    other.batch_execute("UPDATE notes SET state = 'other' WHERE id = 2").await.expect("we gave way");
    other.batch_execute("COMMIT").await.expect("the other is through");

    let answer = committed.await.expect("no panic");
    assert_eq!(answer.expect("sent again"), CommitOutcome::Committed);
    assert_eq!(notes(&database, "ours").await, [1, 2]);
}

#[tokio::test]
async fn a_connection_that_is_cut_off_is_unavailable_and_replaced() {
    let Some(place) = postgres().await else { return };
    let database = with_notes(place.open().await).await;
    let other = place.client().await;
    let working = {
        let database = database.clone();
        let sleep = statement("SELECT pg_sleep(600)", values![]);
        tokio::spawn(async move { commit(&database, vec![note(1), sleep]).await })
    };
    let sleeps = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND wait_event = 'PgSleep'";
    until(&other, &format!("SELECT EXISTS (SELECT 1 {sleeps})")).await;
    let cut = other.query_one(&format!("SELECT count(pg_terminate_backend(pid)) {sleeps}"), &[]).await;
    assert_eq!(cut.expect("a superuser").get::<_, i64>(0), 1);

    assert_eq!(kind(working.await.expect("no panic")), FaultKind::Unavailable);
    assert!(notes(&database, "new").await.is_empty());
    let answer = commit(&database, vec![note(2), note(3)]).await;
    assert_eq!(answer.expect("a new connection"), CommitOutcome::Committed);
}

#[tokio::test]
async fn after_the_server_has_cut_everybody_off_all_recovers() {
    let Some(place) = postgres().await else { return };
    let database = with_notes(place.open().await).await;
    for id in 0..8 {
        // Every reading connection, and a writing one, are made.
        let _ = commit(&database, vec![note(id)]).await.expect("a note");
        notes(&database, "new").await;
    }
    let other = place.client().await;
    let ours = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gatehouse'";
    let cut = other.query_one(&format!("SELECT count(pg_terminate_backend(pid)) {ours}"), &[]).await;
    assert!(cut.expect("a superuser").get::<_, i64>(0) >= 5);
    until(&other, &format!("SELECT NOT EXISTS (SELECT 1 {ours})")).await;

    // Each connection may have to be tried once before it is known to be gone.
    let mut written = false;
    for id in 100..102 {
        match commit(&database, vec![note(id)]).await {
            Ok(_) => written = true,
            Err(fault) => assert_eq!(fault.kind(), FaultKind::Unavailable),
        }
    }
    assert!(written);
    for _ in 0..4 {
        if let Err(fault) = database.query("SELECT 1", values![]).await {
            assert_eq!(fault.kind(), FaultKind::Unavailable);
        }
    }
    for _ in 0..4 {
        assert!(notes(&database, "new").await.len() >= 9);
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_undoes_what_was_sent_before_it() {
    let Some(place) = postgres().await else { return };
    let database = with_notes(place.open().await).await;
    let unfit = statement("INSERT INTO notes (id, state) VALUES ($1, $2)", values![2, 2]);
    let answer = commit(&database, vec![note(1), unfit, note(3)]).await;
    assert_eq!(kind(answer), FaultKind::Failed);
    assert!(notes(&database, "new").await.is_empty());
}

#[tokio::test]
async fn a_batch_of_many_statements_is_one_flight_in_order() {
    let Some(place) = postgres().await else { return };
    let database = with_notes(place.migrated().await).await;
    let chain = (0..300).map(|n: i64| match n {
        0 => note(0),
        n => statement("UPDATE notes SET id = $1 WHERE id = $2", values![n, n - 1]).expect(1),
    });
    let answer = commit(&database, chain.collect()).await;
    assert_eq!(answer.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(notes(&database, "new").await, [299]);
}

#[tokio::test]
async fn changes_elsewhere_are_always_possible() {
    let Some(place) = postgres().await else { return };
    let database = place.open().await;
    assert!(database.changed_elsewhere().await.expect("no fault"));
    assert!(database.changed_elsewhere().await.expect("no fault"));
}

#[tokio::test]
async fn tls_that_is_required_is_not_done_without() {
    let Some(place) = postgres().await else { return };
    assert!(refused(&format!("{}?sslmode=require", place.url)).await);
    assert!(refused(&format!("{}?sslmode=verify-full", place.url)).await);
}

#[tokio::test]
async fn a_server_or_database_that_is_not_there_is_refused_at_opening() {
    let Some(place) = postgres().await else { return };
    assert!(refused(&format!("{}_missing", place.url)).await);
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    assert!(refused(&format!("postgres://nobody@127.0.0.1:{port}/nothing")).await);
}

async fn refused(url: &str) -> bool {
    let url = DatabaseUrl::parse(url).expect("a URL");
    Database::open(&url).await.is_err()
}
