//! Authenticator apps (RFC 6238) at sign-in.

use std::time::Duration;

use acceptance::{TestServer, TokenAnswer, app_code, jwt};
use serde_json::json;

use super::{STEP, enter_code, set_up_app};
use crate::FIRST;

acceptance::on_both! {
    a_password_alone_does_not_sign_in_whoever_has_an_app
    of_many_uses_of_one_code_at_once_one_signs_in
}

async fn a_password_alone_does_not_sign_in_whoever_has_an_app(server: TestServer) {
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    server.advance(STEP);
    let (app, mut browser) = (server.app(FIRST), server.browser("alice"));
    let sign_in = browser.open(&app.asks("openid read").path()).await;
    let second = browser.enter(&sign_in).await;
    assert_eq!(second.page(), "second-step", "{}", second.text());
    assert_eq!(browser.clone().open("/id/account").await.page(), "sign-in", "nobody is signed in yet");

    server.advance(Duration::from_secs(7));
    let consent = enter_code(&mut browser, &second, &alice.code(&server)).await;
    assert_eq!(consent.page(), "consent", "{}", consent.text());
    assert!(!browser.jar.contains_key("gatehouse-step"), "the proof of the first step is of no use any more");
    let code = browser.allow(&consent).await.callback().remove("code").expect("a code");
    let tokens = TokenAnswer::read(&app.redeem(&code).await);
    for token in [tokens.id(), &tokens.access] {
        let claims = jwt::claims(token);
        assert_eq!(claims["amr"], json!(["pwd", "otp", "mfa"]), "RFC 8176");
        assert_eq!(claims["auth_time"], json!(server.now().seconds()), "of the second step");
    }
}

/// RFC 6238 §5.2.
async fn of_many_uses_of_one_code_at_once_one_signs_in(server: TestServer) {
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    server.advance(STEP);
    let code = alice.code(&server);
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut browser = server.browser("alice");
        let page = browser.sign_in().await;
        waiting.push((browser, page));
    }
    let tries: Vec<_> = waiting
        .into_iter()
        .map(|(mut browser, page)| {
            let code = code.clone();
            tokio::spawn(async move { enter_code(&mut browser, &page, &code).await.page() })
        })
        .collect();
    let mut pages = Vec::new();
    for one in tries {
        pages.push(one.await.expect("no panic"));
    }
    pages.sort();
    assert_eq!(pages, ["account", "second-step", "second-step", "second-step", "second-step"]);
    let audit = server.audit().await;
    let used = audit.iter().filter(|row| row.kind == "sign-in" && row.reason == "code_used").count();
    assert_eq!(used, 4, "four were told to the audit");
}

#[tokio::test]
async fn a_code_that_was_used_is_not_accepted_again_by_anybody() {
    let server = TestServer::open().await;
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    let mut browser = server.browser("alice");
    let page = browser.sign_in().await;
    let refused = enter_code(&mut browser, &page, &alice.code(&server)).await;
    assert_eq!(refused.page(), "second-step", "the code that confirmed the app is spent");
    assert!(refused.words("#error").is_some_and(|error| error.contains("already been used")));
    server.advance(STEP);
    let code = alice.code(&server);
    assert_eq!(enter_code(&mut browser, &refused, &code).await.page(), "account");
    let mut thief = server.browser("alice");
    let page = thief.sign_in().await;
    assert_eq!(enter_code(&mut thief, &page, &code).await.page(), "second-step", "seen over a shoulder");
}

#[tokio::test]
async fn a_phone_may_be_wrong_by_one_step() {
    let server = TestServer::open().await;
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    for (steps, accepted) in [(-2, false), (2, false), (-1, true), (1, true)] {
        server.advance(STEP * 4);
        let now = server.now().seconds();
        let code = app_code(&alice.key, model::Timestamp::from_seconds(now + steps * 30));
        let mut browser = server.browser("alice");
        let page = browser.sign_in().await;
        let page = enter_code(&mut browser, &page, &code).await.page();
        assert_eq!(page, if accepted { "account" } else { "second-step" }, "{steps}");
    }
}

#[tokio::test]
async fn a_code_is_read_as_people_type_it() {
    let server = TestServer::open().await;
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    server.advance(STEP);
    let mut browser = server.browser("alice");
    let page = browser.sign_in().await;
    let code = alice.code(&server);
    let typed = format!(" {} {} ", &code[..3], &code[3..]);
    assert_eq!(enter_code(&mut browser, &page, &typed).await.page(), "account");
}

/// Someone else who knows the password must not lock the user out.
#[tokio::test]
async fn wrong_codes_cost_growing_time_at_the_network_that_they_come_from() {
    let server = TestServer::open().await;
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    server.advance(STEP);
    let mut browser = server.browser("alice");
    let mut page = browser.sign_in().await;
    for _ in 0..5 {
        page = enter_code(&mut browser, &page, "000000").await;
        assert_eq!((page.status.as_u16(), page.page().as_str()), (200, "second-step"));
    }
    let mut again = server.browser("alice");
    let second = again.sign_in().await;
    assert_eq!(second.page(), "second-step", "the password was right, and is not held up");
    let held = enter_code(&mut again, &second, &alice.code(&server)).await;
    assert_eq!(held.status, 429, "not even the right code");
    assert_eq!(held.header("retry-after"), "2");
    assert!(held.words("#notice").is_some_and(|notice| notice.contains("wrong codes")));
    let mut elsewhere = server.browser("alice");
    elsewhere.client = elsewhere.client.from("198.51.100.7:5000");
    let second = elsewhere.sign_in().await;
    assert_eq!(enter_code(&mut elsewhere, &second, &alice.code(&server)).await.page(), "account");
    server.advance(STEP);
    assert_eq!(enter_code(&mut browser, &page, &alice.code(&server)).await.page(), "account", "two seconds are over");
}

#[tokio::test]
async fn a_first_step_is_good_for_ten_minutes_at_its_own_browser() {
    let server = TestServer::open().await;
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    server.advance(STEP);
    let mut browser = server.browser("alice");
    let page = browser.sign_in().await;
    let proof = browser.jar["gatehouse-step"].clone();

    let mut other = server.browser("alice");
    other.open("/id/account/login").await;
    other.jar.insert("gatehouse-step".to_owned(), proof.clone());
    assert_eq!(other.open("/id/account/second-step").await.page(), "sign-in", "stolen, without the form cookie");

    let mut changed = browser.clone();
    for bad in ["", "x", "x.y.z", &proof.replacen('.', "x.", 1), &format!("{proof}A"), &proof[..proof.len() - 1]] {
        changed.jar.insert("gatehouse-step".to_owned(), bad.to_owned());
        let refused = enter_code(&mut changed, &page, &alice.code(&server)).await;
        assert_eq!(refused.page(), "sign-in", "{bad:?}");
    }
    server.advance(Duration::from_mins(10));
    assert_eq!(browser.open("/id/account/second-step").await.page(), "sign-in", "too late to begin");
    let late = enter_code(&mut browser, &page, &alice.code(&server)).await;
    assert_eq!(late.page(), "sign-in", "too late to end");
    assert!(late.words("#notice").is_some_and(|notice| notice.contains("timed out")));
    let audit = server.audit().await;
    assert_eq!(audit.iter().filter(|row| row.reason == "first_step_stale").count(), 7);
    assert!(audit.iter().any(|row| row.kind == "first-step" && row.outcome == "done"));
}

#[tokio::test]
async fn a_new_password_or_a_disabled_user_ends_a_first_step() {
    let server = TestServer::open().await;
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    server.advance(STEP);
    let mut browser = server.browser("alice");
    let page = browser.sign_in().await;
    server.set_password("alice", "a new password").await;
    assert_eq!(enter_code(&mut browser, &page, &alice.code(&server)).await.page(), "sign-in");
    browser.password = "a new password".to_owned();
    let page = browser.sign_in().await;
    assert_eq!(page.page(), "second-step");
    server.enable_user("alice", false).await;
    assert_eq!(enter_code(&mut browser, &page, &alice.code(&server)).await.page(), "sign-in");
}

/// OpenID Connect Core §3.1.2.1.
#[tokio::test]
async fn both_steps_are_asked_again_where_an_app_wants_a_fresh_sign_in() {
    let server = TestServer::open().await;
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    let (app, mut browser) = (server.app(FIRST), server.browser("alice"));
    let mut sids = Vec::new();
    for (name, value) in [("scope", "openid read"), ("prompt", "login"), ("max_age", "10")] {
        server.advance(STEP);
        let sign_in = browser.open(&app.asks("openid read").with(name, value).path()).await;
        assert_eq!(sign_in.page(), "sign-in", "{name}");
        let second = browser.enter(&sign_in).await;
        assert_eq!(second.page(), "second-step", "{name}");
        let mut answer = enter_code(&mut browser, &second, &alice.code(&server)).await;
        if answer.page() == "consent" {
            answer = browser.allow(&answer).await;
        }
        let tokens = TokenAnswer::read(&app.redeem(&answer.callback()["code"]).await);
        let claims = jwt::claims(tokens.id());
        assert_eq!(claims["auth_time"], json!(server.now().seconds()), "{name}");
        sids.push(claims["sid"].clone());
    }
    assert_eq!(sids[0], sids[1], "the same sign-in, no second seat");
    assert_eq!(sids[0], sids[2]);
    let silent = browser.open(&app.asks("openid read").with("prompt", "none").path()).await;
    assert!(silent.callback().contains_key("code"), "signed in is signed in");
}

/// One instance's second step is not valid at another.
#[tokio::test]
async fn the_second_step_of_one_instance_is_none_of_another() {
    let server = TestServer::open().await;
    set_up_app(&server, &mut server.browser("alice")).await;
    assert_eq!(server.browser_at_other("alice").sign_in().await.page(), "account");
    let mut here = server.browser("alice");
    here.sign_in().await;
    let mut there = server.browser_at_other("alice");
    there.open("/id/account/login").await;
    there.jar.insert("gatehouse-step".to_owned(), here.jar["gatehouse-step"].clone());
    there.jar.insert("gatehouse-form".to_owned(), here.jar["gatehouse-form"].clone());
    assert_eq!(there.open("/id/account/second-step").await.page(), "sign-in");
}
