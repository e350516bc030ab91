//! Storms, clock changes, and an unreachable database.

use std::sync::Arc;
use std::time::Duration;

use model::seat::{IDLE, SLACK};
use tokio::task::JoinSet;

use crate::town::Town;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tokens_on_five_seats_find_four_and_the_rest_are_refused() {
    const STORM: usize = 10_000;
    let town = Town::on_sqlite().await;
    let node = Arc::new(town.node().await);
    let mut tokens = Vec::new();
    for _ in 0..STORM / 500 {
        let mut drawn = JoinSet::new();
        for _ in 0..500 {
            let node = Arc::clone(&node);
            drawn.spawn(async move { node.token().await });
        }
        tokens.extend(drawn.join_all().await);
    }
    let mut storm = JoinSet::new();
    for token in tokens {
        let node = Arc::clone(&node);
        storm.spawn(async move { node.status(&token).await });
    }
    let begun = std::time::Instant::now();
    let answers = storm.join_all().await;
    println!("{STORM} first calls without a free seat answered in {:?}", begun.elapsed());
    assert!(answers.iter().all(|answer| [200, 429].contains(answer)), "nobody is told anything else");
    let count = |status: u16| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(200), count(429)), (4, STORM - 4), "one seat is the administrator's");
    assert_eq!(town.live().await, 4);
    assert_eq!(town.rows("SELECT id FROM api_sessions").await, 4, "a refusal leaves no row of a session");
    let blocks = town.rows("SELECT id FROM audit_blocks").await;
    assert!(blocks < STORM / 10, "refusals are noted many to a row: {blocks}");
    let remembered = node.server.instances()[0].sessions_in_memory();
    assert_eq!(remembered, 4, "nor does memory keep who was refused");
    let admin = node.person("admin").await;
    assert_eq!(node.status(&admin.token).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_first_calls_with_one_token_open_one_session() {
    let town = Town::on_sqlite().await;
    let node = Arc::new(town.node().await);
    let token = node.token().await;
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let (node, token) = (Arc::clone(&node), token.clone());
        calls.spawn(async move { node.status(&token).await });
    }
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(town.live().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_forth_and_back_counts_no_seat_twice_and_keeps_no_session_for_ever() {
    set_forth_and_back(Town::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_where_nodes_share_the_database() {
    if let Some(town) = Town::on_postgres().await {
        set_forth_and_back(town).await;
    }
}

async fn set_forth_and_back(town: Town) {
    let node = town.node().await;
    let began = town.now();
    let alice = node.person("alice").await;
    assert_eq!(node.status(&alice.token).await, 200);
    for _ in 0..3 {
        town.set_clock(began.plus(Duration::from_mins(45)));
        node.tick().await;
        assert_eq!(node.status(&alice.token).await, 200, "a new session, by a clock that says so");
        assert_eq!(town.live().await, 1);
        town.set_clock(began);
        node.tick().await;
        town.operator(async |operator, _| {
            let sessions = operator.sessions_before(None, None, 1000).await.expect("no fault");
            // A tick that read the clock before it was set back may just have closed it.
            let latest = sessions.iter().map(|session| session.ends_at).max();
            assert!(latest <= Some(town.now().plus(IDLE)), "no timer begins in the future");
        })
        .await;
        assert_eq!(node.status(&alice.token).await, 200);
        assert_eq!(town.live().await, 1);
    }
    town.pass(IDLE + SLACK);
    // One of several nodes trusts an idle timer after following the others for a second.
    let closed = async {
        while town.live().await > 0 {
            node.tick().await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
    closed.expect("twenty minutes by the clock that was set back");
}
