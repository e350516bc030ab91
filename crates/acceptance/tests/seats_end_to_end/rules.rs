//! The table of `sessions.md`, row by row, on one node.

use acceptance::switch_user;
use std::time::Duration;

use flows::admin::sessions::SessionSelector;
use model::Timestamp;
use model::seat::{IDLE, SERVICE_LIFETIME, SLACK};

use crate::town::Town;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn obtaining_a_token_opens_nothing_and_the_first_call_takes_a_seat() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    let person = node.person("alice").await;
    let service = node.token().await;
    assert_eq!(node.user_info(&person.token).await, 200);
    assert_eq!(town.live().await, 0);
    for _ in 0..3 {
        assert_eq!(node.status(&person.token).await, 200);
    }
    assert_eq!(town.live().await, 1);
    assert_eq!(node.status(&service).await, 200);
    assert_eq!(town.live().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_seat_is_kept_for_the_reserved_account_and_a_refusal_says_when_to_come_back() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    for _ in 0..4 {
        let token = node.token().await;
        assert_eq!(node.status(&token).await, 200);
        town.pass(MINUTE);
    }
    let refused = node.call(&node.token().await).await;
    assert_eq!(refused.status.as_u16(), 429, "5 seats, one of them the administrator's");
    assert_eq!(refused.json()["error"]["type"], "MaximumLicenseCountExceeded");
    assert!(refused.json()["error"]["code"].is_number());
    assert!(refused.json()["error"]["message"].as_str().expect("a text").contains("5 licence seats"));
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert_eq!(wait, 16 * 60 + 1, "the first was called four minutes ago");
    assert_eq!(town.live().await, 4, "nothing else changed");
    let admin = node.person("admin").await;
    assert_eq!(node.status(&admin.token).await, 200, "its seat was kept");
    assert_eq!(node.status(&node.person("admin").await.token).await, 429, "its second session competes");
    assert_eq!(town.live().await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_minutes_without_a_call_free_the_seat_and_the_token_opens_anew() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    let alice = node.person("alice").await;
    assert_eq!(node.status(&alice.token).await, 200);
    town.pass(19 * MINUTE);
    assert_eq!(node.status(&alice.token).await, 200, "a call resets the timer");
    town.set_clock(Timestamp(town.now().plus(IDLE).0 - 1));
    node.tick().await;
    assert_eq!(town.live().await, 1, "not earlier");
    town.pass(SLACK + Duration::from_micros(1));
    node.tick().await;
    assert_eq!(town.live().await, 0, "and at most a second later");
    assert_eq!(town.closings().await, ["timer"]);
    assert_eq!(node.status(&alice.token).await, 200, "the token lives on: a new session");
    assert_eq!(town.live().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_session_ends_after_an_hour_of_work_and_the_next_call_opens_another() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    town.set("access_token_seconds", "86400").await;
    node.server.catch_up().await.expect("no fault");
    let token = node.token().await;
    for _ in 0..60 {
        assert_eq!(node.status(&token).await, 200);
        town.pass(SERVICE_LIFETIME / 60);
    }
    assert_eq!(node.status(&token).await, 200, "at once: a lifetime is nobody's to extend");
    assert_eq!(town.closings().await, ["timer"]);
    assert_eq!(town.live().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_ran_out_frees_a_seat_for_whoever_asks_next() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    for _ in 0..4 {
        let token = node.token().await;
        assert_eq!(node.status(&token).await, 200);
    }
    let waiting = node.token().await;
    assert_eq!(node.status(&waiting).await, 429);
    town.pass(IDLE + SLACK);
    assert_eq!(node.status(&waiting).await, 200);
    assert_eq!(town.live().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_frees_the_seat_and_refuses_the_token() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    let alice = node.person("alice").await;
    assert_eq!(node.status(&alice.token).await, 200);
    node.sign_out(&alice).await;
    assert_eq!(town.live().await, 0);
    let refused = node.call(&alice.token).await;
    assert_eq!(refused.status.as_u16(), 401);
    assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""));
    assert_eq!(town.closings().await, ["sign_out"]);
    node.server.close().await;
    let restarted = town.node().await;
    assert_eq!(restarted.status(&alice.token).await, 401, "a kill survives a restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_setting_says_so_a_token_reactivates_after_signing_out() {
    let town = Town::on_sqlite().await;
    town.set("after_logout", "reactivate").await;
    let node = town.node().await;
    let alice = node.person("alice").await;
    assert_eq!(node.status(&alice.token).await, 200);
    node.sign_out(&alice).await;
    assert_eq!(town.live().await, 0);
    assert_eq!(node.status(&alice.token).await, 200);
    assert_eq!(town.live().await, 1);
    node.server.close().await;
    let restarted = town.node().await;
    assert_eq!(town.live().await, 0, "on SQLite a restart closes all sessions");
    assert_eq!(restarted.status(&alice.token).await, 200);
    town.set("after_logout", "refuse").await;
    restarted.server.catch_up().await.expect("no fault");
    assert_eq!(restarted.status(&alice.token).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_ends_sessions_one_by_one_or_all_of_a_user_or_an_application() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    let (alice, bob) = (node.person("alice").await, node.person("bob").await);
    let (service, reader) = (node.token().await, node.service("my.trusted.app/reader").await);
    for token in [&alice.token, &bob.token, &service, &reader] {
        assert_eq!(node.status(token).await, 200);
    }
    node.tick().await;
    town.operator(async |operator, moment| {
        let (seats, _) = operator.seats().await.expect("no fault");
        let sessions = operator.sessions_before(None, None, 1000).await.expect("no fault");
        let application = operator.application("portal.example.com").await.expect("no fault").expect("there");
        assert_eq!((seats.seats, seats.used, seats.reserved), (Some(5), 4, 1));
        let of = |login: &str| sessions.iter().find(|session| session.login.as_str() == login).expect("live");
        assert_eq!(of("alice").applications, [application.id]);
        assert_eq!(of("svc.reader").calls, 1);
        assert_eq!(of("svc.reader").address, "127.0.0.1");
        let end = async |ending, moment: &mut _| operator.end_sessions(ending, moment).await.expect("no fault");
        assert_eq!(end(SessionSelector::One(of("bob").id), moment).await, Ok(1));
        assert!(end(SessionSelector::One(of("bob").id), moment).await.is_err(), "it has ended");
        assert_eq!(end(SessionSelector::OfUser("alice"), moment).await, Ok(1));
        assert!(end(SessionSelector::OfUser("nobody"), moment).await.is_err());
        assert_eq!(end(SessionSelector::OfApplication("my.trusted.app/service"), moment).await, Ok(1));
        assert_eq!(end(SessionSelector::OfApplication("my.trusted.app/service"), moment).await, Ok(0));
        assert!(end(SessionSelector::OfApplication("my.trusted.app/none"), moment).await.is_err());
    })
    .await;
    assert_eq!(town.live().await, 1, "the reader's");
    node.server.catch_up().await.expect("no fault");
    assert_eq!(node.status(&alice.token).await, 401);
    assert_eq!(node.status(&bob.token).await, 401);
    assert_eq!(node.status(&service).await, 200, "a service's key may open a new one");
    assert_eq!(town.live().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabling_a_user_or_an_application_closes_its_sessions_with_the_kill() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    let alice = node.person("alice").await;
    let service = node.token().await;
    assert_eq!(node.status(&alice.token).await, 200);
    assert_eq!(node.status(&service).await, 200);
    town.operator(async |operator, moment| {
        switch_user(&operator, "alice", false, moment).await.expect("no fault").expect("disabled");
        operator
            .set_application_enabled("my.trusted.app/service", false, moment)
            .await
            .expect("no fault")
            .expect("off");
    })
    .await;
    assert_eq!(town.live().await, 0, "before any node has heard");
    assert_eq!(town.closings().await.len(), 2);
    node.server.catch_up().await.expect("no fault");
    assert_eq!(node.status(&alice.token).await, 401);
    assert_eq!(node.status(&service).await, 401);
    assert_eq!(town.live().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_not_heard_of_a_kill_opens_no_session_after_it() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    let alice = node.person("alice").await;
    assert_eq!(node.user_info(&alice.token).await, 200, "in memory, enabled");
    town.operator(async |operator, moment| {
        switch_user(&operator, "alice", false, moment).await.expect("no fault").expect("disabled");
    })
    .await;
    assert_eq!(node.status(&alice.token).await, 401);
    assert_eq!(town.live().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_takes_as_many_seats_as_one_may_and_a_refusal_says_which_limit_it_is() {
    let town = Town::on_sqlite().await;
    town.set("seats_per_user", "2").await;
    let node = town.node().await;
    let windows = [node.person("alice").await, node.person("alice").await, node.person("alice").await];
    for window in &windows[..2] {
        assert_eq!(node.status(&window.token).await, 200);
        town.pass(MINUTE);
    }
    let refused = node.call(&windows[2].token).await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (429, "1081"),
        "the first was called 2 min ago"
    );
    let error = &refused.json()["error"];
    assert_eq!(error["type"], "MaximumLicenseCountExceeded");
    let text = error["message"].as_str().expect("a text").to_owned();
    assert!(text.contains("limit of 2 licence seats per user.") && text.contains("in 1081 seconds"), "{text}");
    let erp = node.erp_login_status("alice").await;
    assert_eq!(erp, 429, "by whichever way");
    for window in &windows[..2] {
        assert_eq!(node.status(&window.token).await, 200, "what is open goes on");
    }
    assert_eq!(town.live().await, 2);
    assert_eq!(node.status(&node.person("bob").await.token).await, 200, "each user has a limit of their own");
    let admin = [node.person("admin").await, node.person("admin").await, node.person("admin").await];
    let statuses = [node.status(&admin[0].token).await, node.status(&admin[1].token).await];
    assert_eq!(statuses, [200, 200], "a reserved seat, and one of the others");
    town.set("seats", "null").await;
    assert_eq!(node.status(&admin[2].token).await, 429, "the reserved one counts");
    node.sign_out(&windows[0]).await;
    assert_eq!(node.status(&windows[2].token).await, 200, "one was ended");
    town.set("seats_per_user", "1").await;
    for window in &windows[1..] {
        assert_eq!(node.status(&window.token).await, 200, "a lower limit ends nothing");
    }
    assert_eq!(node.status(&node.person("alice").await.token).await, 429, "though this node has not heard of it");
    town.set("seats_per_user", "null").await;
    assert_eq!(node.status(&node.person("alice").await.token).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_application_takes_as_many_seats_as_one_may() {
    let town = Town::on_sqlite().await;
    town.set("seats", "null").await;
    town.set("seats_per_application", "2").await;
    let node = town.node().await;
    for _ in 0..2 {
        let token = node.token().await;
        assert_eq!(node.status(&token).await, 200);
    }
    let third = node.token().await;
    let refused = node.call(&third).await;
    assert_eq!(refused.status.as_u16(), 429, "every service token is a session");
    let error = &refused.json()["error"];
    assert_eq!(error["type"], "MaximumLicenseCountExceeded");
    assert!(
        error["message"].as_str().expect("a text").contains("limit of 2 licence seats per application."),
        "{error}"
    );
    assert_eq!(node.status(&node.service("my.trusted.app/reader").await).await, 200, "another application");
    // An expired timer frees a seat under the limit at once.
    town.pass(IDLE + SLACK);
    assert_eq!(node.status(&third).await, 200);
    assert_eq!(town.live().await, 1);

    let portal = [node.person("alice").await, node.person("bob").await, node.person("admin").await];
    let statuses = [node.status(&portal[0].token).await, node.status(&portal[1].token).await];
    assert_eq!(statuses, [200, 200]);
    let erp = node.erp_login("alice").await;
    assert_eq!(node.call_as(&erp).await.status, 200, "of another application");
    assert_eq!(node.status(&portal[2].token).await, 200, "the seat that is reserved is found through any");
    assert_eq!(node.status(&node.person("admin").await.token).await, 429, "a second one is not kept");
    node.sign_out(&portal[0]).await;
    assert_eq!(node.status(&node.person("alice").await.token).await, 429, "the reserved one counts for the others");
    node.sign_out(&portal[1]).await;
    assert_eq!(node.status(&node.person("alice").await.token).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lowering_the_seats_kills_no_session_and_stops_new_ones_at_once() {
    let town = Town::on_sqlite().await;
    let node = town.node().await;
    let tokens = [node.token().await, node.token().await, node.token().await];
    for token in &tokens {
        assert_eq!(node.status(token).await, 200);
    }
    town.set("seats", "2").await;
    assert_eq!(node.status(&node.token().await).await, 429, "though this node has not heard of it");
    for token in &tokens {
        assert_eq!(node.status(token).await, 200);
    }
    assert_eq!(town.live().await, 3);
    assert_eq!(node.status(&node.person("admin").await.token).await, 429, "a promise that was lowered away");
    town.set("seats", "null").await;
    for _ in 0..10 {
        let token = node.token().await;
        assert_eq!(node.status(&token).await, 200, "unlimited");
    }
    assert_eq!(town.live().await, 13);
}
