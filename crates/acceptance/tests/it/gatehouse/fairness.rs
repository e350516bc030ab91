//! Shared resources of instances in one process: a storm at one instance leaves the others their share. The pools and
//! queues have tests of their own; these tests check the effect on users.

use std::net::Ipv4Addr;

use acceptance::{AuditRow, HttpAnswer, TestServer, TokenAnswer, on_both};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use model::Timestamp;
use model::audit::{RequestId, RequestInfo};
use store::Batch;

use super::links::letter;
use crate::PORTAL;

on_both! {
    a_storm_of_changes_leaves_others_their_sign_ins_and_refreshes
}

async fn a_storm_of_changes_leaves_others_their_sign_ins_and_refreshes(server: TestServer) {
    let (mut stormed, mut other) = (server.browser("alice"), server.browser_at_other("alice"));
    let (app, other_app) = (server.app(PORTAL), server.app_at_other(PORTAL));
    let scope = "openid read offline_access";
    let tokens = app.sign_in(&mut stormed, scope).await;
    let others_tokens = other_app.sign_in(&mut other, scope).await;
    let mut bob = server.browser_at_other("bob");
    let sign_in_page = bob.open("/id/account/login").await;

    let (store, held) = (server.store().await, server.hold_writers().await);
    let mut changes = Vec::new();
    let mut is_full = false;
    while !is_full {
        let mut one = Box::pin(store.commit(Batch::new().with(store.sweep_authorizations(Timestamp(0)))));
        is_full = one.as_mut().now_or_never().is_some();
        changes.push(one);
    }
    changes.pop();
    let answer = app.refresh(tokens.refresh()).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"), "{}", answer.text());
    let refreshing = async { TokenAnswer::read(&other_app.refresh(others_tokens.refresh()).await) };
    let signing_in = async { bob.enter(&sign_in_page).await };
    let mut others = Box::pin(async { tokio::join!(refreshing, signing_in) });
    assert!(others.as_mut().now_or_never().is_none(), "they wait for the database like everybody");
    held.release().await;
    let (_new_tokens, account): (TokenAnswer, HttpAnswer) = others.await;
    assert_eq!(account.page(), "account");
    join_all(changes).await;
    TokenAnswer::read(&app.refresh(tokens.refresh()).await);
}

/// All requests arrive before the first is processed, because nothing else runs on this single thread.
#[tokio::test]
async fn a_storm_of_reset_requests_leaves_others_theirs() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let (stormed, other) = (server.believed("testdb").await, server.believed("demodb").await);
    let from = |number: u32| RequestInfo {
        address: Ipv4Addr::from_bits(0xC633_0000 + number).into(),
        user_agent: None,
        id: RequestId::new(Timestamp(0), 1, number.into()),
    };
    for number in 0..400 {
        let login = if number == 0 { "alice".to_owned() } else { format!("nobody{number}") };
        assert!(
            stormed.auth().request_password_reset(&from(number), &login, server.now()).expect("no fault").is_none()
        );
    }
    assert!(other.auth().request_password_reset(&from(0), "bob", server.now()).expect("no fault").is_none());
    assert_eq!(letter(&mut letters).await.to.as_str(), "alice@example.com");
    assert_eq!(letter(&mut letters).await.to.as_str(), "bob@example.com");
    let trail = server.audit().await;
    let refused = trail.iter().filter(|row| row.reason == "too_many_questions");
    assert_eq!(refused.map(AuditRow::times).sum::<u64>(), 400 - 256);
}
