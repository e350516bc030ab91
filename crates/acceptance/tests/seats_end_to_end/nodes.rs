//! Two nodes on one PostgreSQL database.

use std::sync::Arc;
use std::time::Duration;

use flows::admin::sessions::SessionSelector;
use model::seat::SLACK;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::town::{Node, Town};

async fn two_nodes() -> Option<(Town, Node, Node)> {
    let town = Town::on_postgres().await?;
    let (first, second) = (town.node().await, town.node().await);
    Some((town, first, second))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_has_one_session_whichever_node_it_calls() {
    let Some((town, first, second)) = two_nodes().await else { return };
    let alice = first.person("alice").await;
    let (left, right) = tokio::join!(first.status(&alice.token), second.status(&alice.token));
    assert_eq!((left, right), (200, 200));
    assert_eq!(town.live().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_share_the_seats_and_the_timers() {
    let Some((town, first, second)) = two_nodes().await else { return };
    let tokens = [first.token().await, second.token().await, first.token().await, second.token().await];
    for token in &tokens {
        assert_eq!(first.status(token).await, 200);
    }
    let fifth = second.token().await;
    assert_eq!(second.status(&fifth).await, 429);
    assert_eq!(second.status(&tokens[0]).await, 200, "live on the other node");
    steady(&first, &second).await;
    town.pass(Duration::from_mins(19));
    assert_eq!(second.status(&tokens[0]).await, 200);
    second.tick().await;
    town.pass(Duration::from_mins(1) + SLACK);
    first.tick().await;
    assert_eq!(town.live().await, 1, "the first node knows of no call, and closes what it knows nothing of");
    assert_eq!(first.status(&tokens[0]).await, 200);
    assert_eq!(second.status(&fifth).await, 200);
    assert_eq!(town.live().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_windows_of_one_person_on_both_nodes_take_what_one_may_have() {
    let Some((town, first, second)) = two_nodes().await else { return };
    let (first, second) = (Arc::new(first), Arc::new(second));
    town.set("seats", "null").await;
    town.set("seats_per_user", "3").await;
    town.set("seats_per_application", "5").await;
    let mut calls = JoinSet::new();
    for number in 0..24 {
        let node = Arc::clone(if number % 2 == 0 { &first } else { &second });
        let token = if number < 12 { first.token().await } else { first.person("alice").await.token };
        calls.spawn(async move { (number < 12, node.status(&token).await) });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|(_, status)| [200, 429].contains(status)), "{answers:?}");
    let count = |service| answers.iter().filter(|answer| **answer == (service, 200)).count();
    assert_eq!((count(true), count(false)), (3, 3), "svc.integration is a user, too");
    town.set("seats_per_user", "null").await;
    let mut more = JoinSet::new();
    for number in 0..12 {
        let node = Arc::clone(if number % 2 == 0 { &first } else { &second });
        let token = first.token().await;
        more.spawn(async move { node.status(&token).await });
    }
    let opened = more.join_all().await.into_iter().filter(|status| *status == 200).count();
    assert_eq!(opened, 2, "five of the application");
    assert_eq!(town.live().await, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_reaches_the_other_node_by_itself() {
    let Some((town, first, second)) = two_nodes().await else { return };
    let alice = first.person("alice").await;
    assert_eq!(first.status(&alice.token).await, 200);
    assert_eq!(second.status(&alice.token).await, 200);
    first.sign_out(&alice).await;
    assert_eq!(first.status(&alice.token).await, 401);
    second.until(&alice.token, 401).await;
    assert_eq!(town.live().await, 0);

    let service = second.token().await;
    assert_eq!(second.status(&service).await, 200);
    town.operator(async |operator, moment| {
        let ended = operator.end_sessions(SessionSelector::OfApplication("my.trusted.app/service"), moment).await;
        assert_eq!(ended.expect("no fault"), Ok(1));
    })
    .await;
    assert_eq!(town.live().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erp_session_is_one_on_every_node_and_dies_on_every_node() {
    let Some((town, first, second)) = two_nodes().await else { return };
    let (left, right) = tokio::join!(first.erp_login("alice"), second.erp_login("alice"));
    assert_eq!(left, right, "whichever node was asked");
    assert_eq!(town.live().await, 1);
    for node in [&first, &second] {
        assert_eq!(node.call_as(&left).await.status, 200);
    }
    town.set("legacy_schemes", "false").await;
    let killed = Instant::now();
    for node in [&first, &second] {
        while node.call_as(&left).await.status != 401 {
            assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(town.live().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_closes_no_session_of_a_shared_database() {
    let Some((town, first, second)) = two_nodes().await else { return };
    let token = first.token().await;
    assert_eq!(first.status(&token).await, 200);
    first.server.close().await;
    assert_eq!(second.status(&token).await, 200);
    let again = town.node().await;
    assert_eq!(again.status(&token).await, 200);
    assert_eq!(town.live().await, 1);
}

/// Ticks until both nodes have followed the feed for a while, as running nodes do.
async fn steady(first: &Node, second: &Node) {
    let deadline = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < deadline {
        first.tick().await;
        second.tick().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
