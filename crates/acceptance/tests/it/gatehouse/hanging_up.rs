//! Clients that disconnect during a request, and concurrent changes. The interleaving is forced: a real lock on the
//! real database blocks every writer until the test releases it.

use std::time::Duration;

use acceptance::{HeldWriter, HttpAnswer, TestServer, TokenAnswer, on_both};
use http::Method;
use tokio::time::{sleep, timeout};

use crate::{FIRST, SERVICE};

on_both! {
    while_nothing_can_be_written_known_sessions_go_on_and_new_ones_are_told_to_come_back
    a_browser_that_hangs_up_while_it_signs_out_is_signed_out
    a_client_that_hangs_up_while_it_shows_a_code_again_kills_all_the_same
    a_client_that_hangs_up_while_its_session_opens_takes_one_seat_at_most
    a_code_that_is_issued_while_its_person_signs_out_is_dead
}

/// Time limit for an expected effect. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Begins a request, and drops it while its change waits for the database.
async fn hang_up(held: &HeldWriter, request: impl Future<Output = HttpAnswer>) {
    let mut request = std::pin::pin!(request);
    tokio::select! {
        biased;
        answer = &mut request => panic!("nobody may write, and it was answered: {answer:?}"),
        () = until_waiting(held, 1) => {}
    }
}

/// PostgreSQL shows who waits. SQLite does not: there the lock keeps the work from ending, wherever it is by now, and
/// the result must be the same. The test only gives it time to proceed as far as it can.
async fn until_waiting(held: &HeldWriter, count: usize) {
    let seen = async {
        while held.waiting().await.is_some_and(|waiting| waiting < count) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, seen).await.expect("the change reaches the database");
    if held.waiting().await.is_none() {
        sleep(Duration::from_millis(100)).await;
    }
}

async fn becomes(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: never"));
}

async fn seats_taken(server: &TestServer) -> u64 {
    server.operator().await.seats().await.expect("seats can be read").0.used
}

async fn while_nothing_can_be_written_known_sessions_go_on_and_new_ones_are_told_to_come_back(server: TestServer) {
    let service = server.app(SERVICE);
    let token = async || TokenAnswer::read(&service.service_token("").await).access;
    let (known, new) = (token().await, token().await);
    let call = async |token: &str| server.client().call_api(token).await;
    assert_eq!(call(&known).await.status, 200);
    let held = server.hold_writers().await;
    let refused = call(&new).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"), "{}", refused.text());
    assert_eq!(call(&known).await.status, 200, "it needs nothing written");
    held.release().await;
    becomes("the new one is let in", async || call(&new).await.status == 200).await;
    assert_eq!(call(&known).await.status, 200);
    assert_eq!(seats_taken(&server).await, 2, "each has one seat, also where the answer was not waited for");
    let trail = server.audit().await;
    assert_eq!(trail.iter().filter(|row| row.kind == "session-opened").count(), 2);
}

async fn a_browser_that_hangs_up_while_it_signs_out_is_signed_out(server: TestServer) {
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, "openid read offline_access").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    let held = server.hold_writers().await;
    let path = format!("/id/connect/endsession?id_token_hint={}", tokens.id());
    hang_up(&held, alice.clone().step(&Method::GET, &path, &[])).await;
    assert_eq!(app.client.user_info(&tokens.access).await.status, 200, "nothing has happened yet");
    held.release().await;
    becomes("the token is dead in memory", async || app.client.call_api(&tokens.access).await.status == 401).await;
    assert_eq!(seats_taken(&server).await, 0);
    assert_eq!(app.refresh(tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(alice.open("/id/account").await.page(), "sign-in");
}

async fn a_client_that_hangs_up_while_it_shows_a_code_again_kills_all_the_same(server: TestServer) {
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let code = app.code(&mut alice, "openid read offline_access").await;
    let tokens = TokenAnswer::read(&app.redeem(&code).await);
    let held = server.hold_writers().await;
    hang_up(&held, app.redeem(&code)).await;
    assert_eq!(app.client.user_info(&tokens.access).await.status, 200, "nothing has happened yet");
    held.release().await;
    becomes("the token is dead in memory", async || app.client.user_info(&tokens.access).await.status == 401).await;
    assert_eq!(app.refresh(tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
}

/// A call that only reads may be dropped with its connection. The next call finds the session that it opened.
async fn a_client_that_hangs_up_while_its_session_opens_takes_one_seat_at_most(server: TestServer) {
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut alice, "openid read").await;
    let held = server.hold_writers().await;
    hang_up(&held, app.client.call_api(&tokens.access)).await;
    assert_eq!(seats_taken(&server).await, 0, "nothing has happened yet");
    held.release().await;
    for _ in 0..2 {
        assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
        assert_eq!(seats_taken(&server).await, 1, "one session, whoever opened it");
    }
    let trail = server.audit().await;
    assert_eq!(trail.iter().filter(|row| row.kind == "session-opened").count(), 1);
}

async fn a_code_that_is_issued_while_its_person_signs_out_is_dead(server: TestServer) {
    let app = server.app(FIRST);
    for code_first in [true, false] {
        let mut alice = server.browser("alice");
        let tokens = app.sign_in(&mut alice, "openid read offline_access").await;
        let (mut asking, mut leaving) = (alice.clone(), alice.clone());
        let (ask, path) =
            (app.asks("openid read").path(), format!("/id/connect/endsession?id_token_hint={}", tokens.id()));
        let held = server.hold_writers().await;
        let asked = async { asking.step(&Method::GET, &ask, &[]).await };
        let left = async { leaving.step(&Method::GET, &path, &[]).await };
        let releasing = async {
            until_waiting(&held, 2).await;
            held.release().await;
        };
        // Both read before either may write. The database decides the order of the writes.
        let (answer, signed_out, ()) = if code_first {
            tokio::join!(asked, left, releasing)
        } else {
            let (left, asked, ()) = tokio::join!(left, asked, releasing);
            (asked, left, ())
        };
        assert_eq!(signed_out.status, 200, "{signed_out:?}");
        if let Some(code) = answer.is_callback().then(|| answer.callback()).and_then(|mut sent| sent.remove("code")) {
            assert_eq!(app.redeem(&code).await.refusal(), (400, "invalid_grant".to_owned()), "{code_first}");
        }
        assert_eq!(app.refresh(tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
        assert_eq!(alice.open("/id/account").await.page(), "sign-in");
    }
}
