//! Recovery codes, and an administrator's reset for users without any.

use acceptance::{Browser, TestServer};

use super::{STEP, enter_code, set_up_app};

acceptance::on_both! {
    a_recovery_code_signs_in_once
    of_many_uses_of_one_recovery_code_at_once_one_signs_in
    an_administrator_takes_the_second_step_away_from_whoever_lost_everything
}

async fn enter(browser: &mut Browser, code: &str) -> String {
    browser.sign_in().await;
    let page = browser.open("/id/account/recovery-code").await;
    assert_eq!(page.page(), "second-step");
    browser.submit(&page, "recovery_code", &[("recovery_code", code)]).await.page()
}

async fn a_recovery_code_signs_in_once(server: TestServer) {
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    let bob = set_up_app(&server, &mut server.browser("bob")).await;
    assert_eq!(alice.recovery_codes.len(), 10);
    let second = server.browser("alice").sign_in().await;
    assert_eq!(second.attributes(".links a", "href")[0], "/id/account/recovery-code", "the page leads there");
    let code = &alice.recovery_codes[3];
    assert_eq!(enter(&mut server.browser("bob"), code).await, "second-step", "somebody else's");
    let mut browser = server.browser("alice");
    assert_eq!(enter(&mut browser, &code.to_lowercase().replace('-', " ")).await, "account");
    let page = browser.open("/profile/two-step").await;
    assert!(page.text().contains("9 codes left"), "{}", page.text());
    assert_eq!(enter(&mut server.browser("alice"), code).await, "second-step", "used");
    for bad in ["", "x", "0000-0000-0000-0000", &bob.recovery_codes[0]] {
        assert_eq!(enter(&mut server.browser("alice"), bad).await, "second-step", "{bad:?}");
    }
    let audit = server.audit().await;
    assert_eq!(audit.iter().filter(|row| row.reason == "wrong_recovery_code").count(), 6);
    let columns: Vec<&String> = audit.iter().flat_map(|row| &row.columns).collect();
    for secret in alice.recovery_codes.iter().chain([&alice.key]) {
        assert!(!columns.iter().any(|column| column.contains(secret.as_str())), "no secret is told");
    }
}

async fn of_many_uses_of_one_recovery_code_at_once_one_signs_in(server: TestServer) {
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    let mut tries = Vec::new();
    for _ in 0..5 {
        let mut browser = server.browser("alice");
        browser.sign_in().await;
        let page = browser.open("/id/account/recovery-code").await;
        let code = alice.recovery_codes[0].clone();
        tries.push(tokio::spawn(async move {
            browser.submit(&page, "recovery_code", &[("recovery_code", &code)]).await.page()
        }));
    }
    let mut signed_in = 0;
    for one in tries {
        signed_in += usize::from(one.await.expect("no panic") == "account");
    }
    assert_eq!(signed_in, 1);
}

async fn an_administrator_takes_the_second_step_away_from_whoever_lost_everything(server: TestServer) {
    let mut before = server.browser("alice");
    set_up_app(&server, &mut before).await;
    let reset = async |login: &str| {
        let mut rng = server.rng();
        server.operator().await.reset_second_factor(login, &mut server.moment(&mut rng)).await.expect("no fault")
    };
    assert!(reset("bob").await.is_err(), "there is nothing to take away");
    assert!(reset("nobody").await.is_err());
    reset("alice").await.expect("it is taken away");
    server.catch_up().await;
    assert_eq!(before.open("/id/account").await.page(), "sign-in", "what was lost may have been found");
    let mut alice = server.browser("alice");
    assert_eq!(alice.sign_in().await.page(), "account", "the password alone");
    assert!(alice.open("/profile/two-step").await.text().contains(r#"<span class="badge">off</span>"#));
    let again = set_up_app(&server, &mut server.browser("alice")).await;
    assert_eq!(again.recovery_codes.len(), 10, "the old codes went too");
    server.advance(STEP);
    let page = alice.sign_in().await;
    assert_eq!(enter_code(&mut alice, &page, &again.code(&server)).await.page(), "account");
    let audit = server.audit().await;
    let is_reset =
        |row: &&acceptance::AuditRow| row.columns.iter().any(|column| column.contains("reset-second-factor"));
    assert_eq!(audit.iter().filter(is_reset).count(), 1);
}

/// Codes are per user, so they compete for the account's limit. Each of these is right.
#[tokio::test]
async fn eight_second_steps_of_one_person_at_one_moment_are_all_taken() {
    let server = TestServer::open().await;
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    let mut ready = Vec::new();
    for code in &alice.recovery_codes[..8] {
        let mut browser = server.browser("alice");
        browser.sign_in().await;
        let page = browser.open("/id/account/recovery-code").await;
        ready.push((browser, page, code.clone()));
    }
    let entering: Vec<_> = ready
        .into_iter()
        .map(|(mut browser, page, code)| {
            tokio::spawn(async move { browser.submit(&page, "recovery_code", &[("recovery_code", &code)]).await })
        })
        .collect();
    for one in entering {
        let answer = one.await.expect("no panic");
        assert_eq!((answer.status.as_u16(), answer.page().as_str()), (200, "account"), "{}", answer.text());
    }
}
