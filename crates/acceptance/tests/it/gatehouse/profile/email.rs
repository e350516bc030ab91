//! Changing the e-mail address: both addresses must confirm.

use std::time::Duration;

use acceptance::{Browser, HttpAnswer, TestServer};
use flows::platform::outbox::OutboxReader;
use http::Method;
use model::Email;
use model::mail::MailMessage;

use super::super::links::{choose, invite, letter, link_in};
use crate::{FIRST, assert_error_page};

const PAGE: &str = "/profile/email";
const ANSWER: &str = "/id/account/confirm-email";
const HOME: &str = "alice@home.example";

/// A server that sends mail, and Alice, who just signed in.
async fn alice() -> (TestServer, OutboxReader, Browser) {
    let server = TestServer::open().await;
    let letters = server.server.open_outbox();
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    (server, letters, alice)
}

pub(in super::super) async fn ask(browser: &mut Browser, address: &str) -> HttpAnswer {
    let page = browser.open(PAGE).await;
    browser.submit(&page, "email", &[("email", address)]).await
}

/// The letters to the new and to the old address, in this order.
async fn both(letters: &mut OutboxReader) -> [MailMessage; 2] {
    [letter(letters).await, letter(letters).await]
}

pub(in super::super) async fn answer(browser: &mut Browser, letter: &MailMessage, answer: &str) -> HttpAnswer {
    let page = browser.open(&link_in(letter)).await;
    assert_eq!(page.page(), "confirm-email", "{}", page.text());
    browser.submit(&page, "answer", &[("answer", answer)]).await
}

async fn email_of(server: &TestServer, login: &str) -> Option<Email> {
    let users = server.users().await;
    users.into_iter().find(|user| user.login.as_str() == login).and_then(|user| user.email)
}

async fn assert_known_by(server: &TestServer, address: &str) {
    assert_eq!(email_of(server, "alice").await.map(|email| email.address).as_deref(), Some(address));
}

/// The page's text about each address that must confirm.
fn waiting(page: &HttpAnswer) -> Vec<String> {
    page.every(".lines li")
}

fn assert_spent(answer: &HttpAnswer) {
    assert_error_page(answer, 410, "invalid_request");
}

#[tokio::test]
async fn an_address_changes_when_both_have_agreed_and_nothing_ends() {
    let (server, mut letters, mut alice) = alice().await;
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await;
    let page = ask(&mut alice, &format!(" {HOME} ")).await;
    assert_eq!(page.page(), "profile-email");
    let said = ["not confirmed yet"; 2];
    assert_eq!(waiting(&page), [format!("{HOME}{}", said[0]), format!("alice@example.com{}", said[1])]);
    let [to_new, to_old] = both(&mut letters).await;
    assert_eq!((to_new.to.as_str(), to_new.about), (HOME, "email-confirmation"));
    assert_eq!((to_old.to.as_str(), to_old.about), ("alice@example.com", "email-changing"));
    assert!(to_old.text.contains(HOME) && to_old.text.contains("decline") && to_old.text.contains("24 hours"));
    assert_ne!(link_in(&to_new), link_in(&to_old));

    // The owner of the mailbox answers, signed in or not.
    let mut reader = server.browser("alice");
    let thanks = answer(&mut reader, &to_new, "yes").await;
    assert_eq!((thanks.page().as_str(), thanks.words("h1").as_deref()), ("email-answered", Some("Thank you")));
    assert_spent(&reader.open(&link_in(&to_new)).await);
    assert_known_by(&server, "alice@example.com").await;
    assert!(waiting(&alice.open(PAGE).await)[0].ends_with("confirmed"));

    let done = answer(&mut reader, &to_old, "yes").await;
    assert_eq!((done.page().as_str(), done.words("h1").as_deref()), ("email-answered", Some("Address changed")));
    assert_eq!(email_of(&server, "alice").await, Some(Email { address: HOME.to_owned(), verified: true }));
    assert_spent(&reader.open(&link_in(&to_old)).await);
    let page = alice.open(PAGE).await;
    assert!(page.text().contains(HOME) && waiting(&page).is_empty());
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200, "nothing ends");

    let events: Vec<_> = server.audit().await.into_iter().filter(|row| row.kind == "email-change").collect();
    assert!(events.iter().all(|row| row.outcome == "done" || row.reason == "link_spent"), "{events:?}");
    let what = ["asked", "agreed", "changed"].map(|what| format!("\"what\":\"{what}\""));
    let details =
        |what: &str| events.iter().filter(|row| row.columns.iter().any(|column| column.contains(what))).count();
    assert_eq!(what.each_ref().map(|what| details(what)), [1, 1, 1], "{events:?}");
    assert!(
        events.iter().all(|row| row.columns.iter().all(|column| !column.contains("@home"))),
        "no address: {events:?}"
    );
}

#[tokio::test]
async fn the_old_address_may_answer_first_and_the_letters_of_before_are_void() {
    let (server, mut letters, mut alice) = alice().await;
    ask(&mut alice, "alice@mistyped.example").await;
    let before = both(&mut letters).await;
    ask(&mut alice, HOME).await;
    let [to_new, to_old] = both(&mut letters).await;
    for letter in &before {
        assert_spent(&alice.open(&link_in(letter)).await);
    }
    assert_eq!(answer(&mut alice, &to_old, "yes").await.words("h1").as_deref(), Some("Thank you"));
    assert_known_by(&server, "alice@example.com").await;
    assert_eq!(answer(&mut alice, &to_new, "yes").await.words("h1").as_deref(), Some("Address changed"));
    assert_known_by(&server, HOME).await;
}

#[tokio::test]
async fn two_answers_at_the_same_moment_are_both_counted() {
    let (server, mut letters, mut alice) = alice().await;
    ask(&mut alice, HOME).await;
    let [to_new, to_old] = both(&mut letters).await;
    let (mut reader, mut other) = (server.browser("alice"), server.browser("alice"));
    let answers = tokio::join!(answer(&mut reader, &to_new, "yes"), answer(&mut other, &to_old, "yes"));
    let mut said = [answers.0, answers.1].map(|answer| answer.words("h1").expect("a title"));
    said.sort();
    assert_eq!(said, ["Address changed", "Thank you"]);
    assert_known_by(&server, HOME).await;
}

#[tokio::test]
async fn one_no_ends_it_whichever_side_says_it() {
    let (server, mut letters, mut alice) = alice().await;
    for declining in [0, 1] {
        ask(&mut alice, HOME).await;
        let asked = both(&mut letters).await;
        // The other address has agreed already.
        answer(&mut alice, &asked[1 - declining], "yes").await;
        let mut reader = server.browser("alice");
        let declined = answer(&mut reader, &asked[declining], "no").await;
        assert_eq!(declined.words("h1").as_deref(), Some("Change declined"));
        let to_password = declined.attributes("#choose-password", "href");
        let expected: &[&str] = if declining == 1 { &["/profile/password"] } else { &[] };
        assert_eq!(to_password, expected, "whoever did not ask is told what to do");
        for letter in &asked {
            assert_spent(&reader.open(&link_in(letter)).await);
        }
        assert_known_by(&server, "alice@example.com").await;
        assert!(waiting(&alice.open(PAGE).await).is_empty());
    }
    let audit = server.audit().await;
    let by =
        |side: &str| audit.iter().any(|row| row.columns.contains(&format!(r#"{{"what":"declined","by":"{side}"}}"#)));
    assert!(by("new") && by("old"), "{audit:?}");
}

#[tokio::test]
async fn who_has_no_address_needs_the_new_one_only() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let flows::auth::links::HandedOver::Shown(url) = invite(&server, "eve", None).await else {
        panic!("there is no address")
    };
    let mut eve = server.browser("eve");
    choose(&mut eve, url.strip_prefix("http://localhost:8080").expect("of this instance"), "a brand new password")
        .await;
    eve.password = "a brand new password".to_owned();
    eve.sign_in().await;
    assert_eq!(waiting(&ask(&mut eve, "eve@home.example").await).len(), 1);
    let done = answer(&mut eve, &letter(&mut letters).await, "yes").await;
    assert_eq!(done.words("h1").as_deref(), Some("Address changed"));
    assert_eq!(email_of(&server, "eve").await, Some(Email { address: "eve@home.example".to_owned(), verified: true }));
}

/// Bob's address in the demo was never confirmed. He may have it confirmed, which needs no second mailbox.
#[tokio::test]
async fn an_address_that_is_known_but_not_confirmed_is_confirmed_the_same_way() {
    let (server, mut letters, _) = alice().await;
    let mut bob = server.browser("bob");
    bob.sign_in().await;
    assert_eq!(waiting(&ask(&mut bob, "bob@example.com").await).len(), 1);
    answer(&mut bob, &letter(&mut letters).await, "yes").await;
    assert_eq!(email_of(&server, "bob").await, Some(Email { address: "bob@example.com".to_owned(), verified: true }));
    let again = ask(&mut bob, "bob@example.com").await;
    assert_eq!(again.words("#error").as_deref(), Some("This is already your address."));
}

#[tokio::test]
async fn links_expire_and_work_once_and_only_where_they_were_made() {
    let (server, mut letters, mut alice) = alice().await;
    ask(&mut alice, HOME).await;
    let [to_new, to_old] = both(&mut letters).await;
    let page = alice.open(&link_in(&to_new)).await;
    let elsewhere = server.browser_at_other("alice").open(&link_in(&to_new)).await;
    assert_error_page(&elsewhere, 410, "invalid_request");
    assert_eq!(alice.submit(&page, "answer", &[("answer", "yes")]).await.words("h1").as_deref(), Some("Thank you"));
    assert_spent(&alice.submit(&page, "answer", &[("answer", "yes")]).await);
    assert_spent(&alice.submit(&page, "answer", &[("answer", "no")]).await);
    server.advance(Duration::from_hours(24) - Duration::from_secs(1));
    let mut reader = server.browser("alice");
    let last = reader.open(&link_in(&to_old)).await;
    assert_eq!(last.page(), "confirm-email");
    server.advance(Duration::from_secs(1));
    assert_spent(&reader.open(&link_in(&to_old)).await);
    assert_spent(&reader.submit(&last, "answer", &[("answer", "yes")]).await);
    assert_spent(&reader.open(ANSWER).await);
    assert_known_by(&server, "alice@example.com").await;
}

#[tokio::test]
async fn a_change_dies_with_what_it_was_asked_of() {
    let (server, mut letters, mut alice) = alice().await;
    let mut reader = server.browser("alice");
    ask(&mut alice, HOME).await;
    let asked = both(&mut letters).await;
    answer(&mut reader, &asked[0], "yes").await;
    let page = reader.open(&link_in(&asked[1])).await;
    server.set_email("alice", "alice@office.example").await;
    assert_spent(&reader.submit(&page, "answer", &[("answer", "yes")]).await);
    assert_spent(&reader.open(&link_in(&asked[1])).await);
    assert_known_by(&server, "alice@office.example").await;
    assert!(waiting(&alice.open(PAGE).await).is_empty());

    ask(&mut alice, HOME).await;
    let asked = both(&mut letters).await;
    assert_eq!(asked[1].to.as_str(), "alice@office.example");
    server.set_password("alice", "another good password").await;
    for letter in &asked {
        assert_spent(&reader.open(&link_in(letter)).await);
    }
}

#[tokio::test]
async fn a_reset_link_in_the_old_mailbox_does_not_outlast_the_change() {
    let (server, mut letters, mut alice) = alice().await;
    let forgotten = alice.open("/id/account/forgotten").await;
    alice.submit(&forgotten, "login", &[("login", "alice")]).await;
    let reset = link_in(&letter(&mut letters).await);
    ask(&mut alice, HOME).await;
    let [to_new, to_old] = both(&mut letters).await;
    answer(&mut alice, &to_new, "yes").await;
    assert_eq!(server.browser("alice").open(&reset).await.page(), "set-up");
    answer(&mut alice, &to_old, "yes").await;
    assert_spent(&server.browser("alice").open(&reset).await);
}

#[tokio::test]
async fn only_the_person_withdraws_and_nobody_answers_for_both() {
    let (server, mut letters, mut alice) = alice().await;
    ask(&mut alice, HOME).await;
    let [to_new, to_old] = both(&mut letters).await;
    let mut bob = server.browser("bob");
    bob.sign_in().await;
    let csrf = bob.open(PAGE).await.form("email").field("csrf").expect("a form of ours").to_owned();
    let withdrawn = bob.post(PAGE, &[("csrf", &csrf), ("withdraw", "1")]).await;
    assert_eq!(withdrawn.page(), "profile-email", "there was nothing of his to withdraw");
    assert_eq!(waiting(&alice.open(PAGE).await).len(), 2);
    // The new address's letter has one code. It works once, and not for the other address.
    answer(&mut bob, &to_new, "yes").await;
    assert_spent(&bob.open(&link_in(&to_new)).await);
    assert_known_by(&server, "alice@example.com").await;

    let page = alice.open(PAGE).await;
    let withdrawn = alice.submit(&page, "withdraw", &[("withdraw", "1")]).await;
    assert_eq!(withdrawn.words("[role=status]").as_deref(), Some("Cancelled. Your address was not changed."));
    assert_spent(&alice.open(&link_in(&to_old)).await);
    assert_known_by(&server, "alice@example.com").await;
}

#[tokio::test]
async fn whose_the_new_address_is_makes_no_difference() {
    let mut answers = Vec::new();
    for address in ["bob@example.com", "nobody@example.com"] {
        let (_server, mut letters, mut alice) = alice().await;
        let page = alice.open(PAGE).await;
        let csrf = page.form("email").field("csrf").expect("a form of ours").to_owned();
        let asked = alice.step(&Method::POST, PAGE, &[("csrf", &csrf), ("email", address)]).await;
        let shown = alice.open(PAGE).await;
        let [to_new, _] = both(&mut letters).await;
        assert_eq!(to_new.to.as_str(), address);
        let blank = |text: &str| text.replace(address, "…").replace(&csrf, "…");
        answers.push((asked.status, asked.location().to_owned(), blank(&shown.words("main").expect("a page"))));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn who_signed_in_long_ago_signs_in_once_more_first() {
    let (server, _letters, mut alice) = alice().await;
    let page = alice.open(PAGE).await;
    server.advance(Duration::from_secs(601));
    let refused = alice.submit(&page, "email", &[("email", HOME)]).await;
    assert!(refused.words("#error").is_some_and(|error| error.contains("too long ago")), "{}", refused.text());
    let page = alice.open(PAGE).await;
    assert!(!page.text().contains("name=\"email\""));
    let sign_in = alice.open(&page.attributes("#sign-in-again", "href")[0]).await;
    assert_eq!(sign_in.page(), "sign-in");
    assert_eq!(alice.enter(&sign_in).await.page(), "profile-email");
    assert_eq!(waiting(&ask(&mut alice, HOME).await).len(), 2);
    let audit = server.audit().await;
    assert!(audit.iter().any(|row| row.kind == "email-change" && row.reason == "signed_in_too_long_ago"), "{audit:?}");
}

#[tokio::test]
async fn what_is_no_address_is_asked_nothing() {
    let (_server, mut letters, mut alice) = alice().await;
    for text in
        ["", "alice at home", "alice@home.example,eve@evil.example", "alice@home.example\r\nBcc: eve@evil.example"]
    {
        let page = ask(&mut alice, text).await;
        assert!(
            page.words("#error").is_some_and(|error| error.contains("not a valid e-mail address")),
            "{text:?}: {}",
            page.text()
        );
        assert!(waiting(&page).is_empty());
    }
    let typed = ask(&mut alice, "<b>@x").await;
    assert_eq!(typed.attributes("#email", "value"), ["<b>@x"], "what was typed is still there, as text");
    assert_eq!(
        ask(&mut alice, "alice@example.com").await.words("#error").as_deref(),
        Some("This is already your address.")
    );
    ask(&mut alice, HOME).await;
    assert_eq!(letter(&mut letters).await.to.as_str(), HOME, "the first letter of all");
}

#[tokio::test]
pub(in super::super) async fn asking_often_costs_growing_time() {
    let (server, _letters, mut alice) = alice().await;
    for _ in 0..5 {
        assert_eq!(ask(&mut alice, HOME).await.status, 200);
    }
    let refused = ask(&mut alice, HOME).await;
    assert_eq!((refused.status.as_u16(), refused.page().as_str()), (429, "profile-email"));
    assert!(refused.words("#error").is_some_and(|error| error.contains("Too many requests")));
    server.advance(Duration::from_secs(refused.header("retry-after").parse().expect("seconds")));
    assert_eq!(ask(&mut alice, HOME).await.status, 200);
}

#[tokio::test]
async fn letters_to_new_addresses_have_a_ceiling_a_day() {
    let (server, mut letters, mut alice) = alice().await;
    let midnight = server.now().seconds().div_euclid(86_400) * 86_400 + 86_400;
    server.set_clock(model::Timestamp::from_seconds(midnight));
    for _ in 0..10 {
        // Far enough apart to avoid throttling, and each after a new sign-in.
        server.advance(Duration::from_mins(30));
        alice.sign_in().await;
        assert_eq!(ask(&mut alice, HOME).await.status, 200);
        both(&mut letters).await;
    }
    server.advance(Duration::from_mins(30));
    alice.sign_in().await;
    let refused = ask(&mut alice, "eleventh@new.example").await;
    assert_eq!((refused.status.as_u16(), refused.page().as_str()), (429, "profile-email"));
    assert!(
        refused.words("#error").is_some_and(|error| error.contains("ten confirmation e-mails per day")),
        "{}",
        refused.text()
    );
    let wait = refused.header("retry-after").parse::<i64>().expect("seconds");
    assert!((0..=1).contains(&(server.now().seconds() + wait - midnight - 86_400)), "until midnight");
    assert!(waiting(&refused).iter().any(|line| line.contains(HOME)), "the change that was asked for before stands");
    server.set_clock(model::Timestamp::from_seconds(midnight + 86_400));
    alice.sign_in().await;
    assert_eq!(ask(&mut alice, HOME).await.status, 200);
    assert!(server.audit().await.iter().any(|row| row.reason == "too_many_letters_today"));
}

#[tokio::test]
async fn without_mail_an_administrator_changes_the_address() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = alice.open(PAGE).await;
    assert!(page.text().contains("Ask an administrator to change your address") && !page.text().contains("<form"));
    let csrf = super::csrf_of(&mut alice).await;
    let refused = alice.post(PAGE, &[("csrf", &csrf), ("email", HOME)]).await;
    assert!(refused.words("#error").is_some_and(|error| error.contains("does not send e-mail")), "{}", refused.text());
}

#[tokio::test]
async fn an_answer_that_another_site_sends_or_that_is_none_changes_nothing() {
    let (server, mut letters, mut alice) = alice().await;
    ask(&mut alice, HOME).await;
    let [to_new, _] = both(&mut letters).await;
    let link = link_in(&to_new);
    let code = link.rsplit('=').next().expect("a code").to_owned();
    let mut reader = server.browser("alice");
    let page = reader.open(&link).await;
    let forged = reader.step(&Method::POST, ANSWER, &[("csrf", "x"), ("code", &code), ("answer", "yes")]).await;
    assert_error_page(&forged, 403, "invalid_request");
    for bad in [vec![], vec![("answer", "perhaps")]] {
        assert_error_page(&reader.submit(&page, "answer", &bad).await, 400, "invalid_request");
    }
    // A link to change an address cannot set a password.
    let csrf = page.form("answer").field("csrf").expect("a form of ours").to_owned();
    let new = "a brand new password";
    let as_password = [("csrf", csrf.as_str()), ("code", &code), ("password", new), ("repeat", new)];
    assert_spent(&reader.post("/id/account/reset-password", &as_password).await);
    assert_eq!(waiting(&alice.open(PAGE).await).iter().filter(|line| line.contains("not confirmed")).count(), 2);
}
