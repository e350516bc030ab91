//! One-time links for invitations and password resets, and the letters that carry them.

use std::time::Duration;

use acceptance::{Browser, HttpAnswer, TestServer, TokenAnswer};
use flows::admin::UserDraft;
use flows::auth::links::HandedOver;
use flows::platform::outbox::OutboxReader;
use http::Method;
use model::mail::MailMessage;
use model::user::PersonRecord;
use model::{Email, UserType};

use crate::{FIRST, SERVICE, assert_error_page};

const FORGOTTEN: &str = "/id/account/forgotten";
const NEW: &str = "a brand new password";

/// Up to a minute on a busy machine; only a failing test waits so long.
pub(super) async fn letter(letters: &mut OutboxReader) -> MailMessage {
    let next = tokio::time::timeout(Duration::from_mins(1), letters.next()).await;
    next.expect("a letter is on its way").expect("the server runs")
}

/// The link in a letter, from its path on.
pub(super) fn link_in(letter: &MailMessage) -> String {
    let line = letter.text.lines().find(|line| line.starts_with("http://localhost:8080/")).expect("a link");
    line["http://localhost:8080".len()..].to_owned()
}

pub(super) async fn ask_for_reset(browser: &mut Browser, login: &str) -> HttpAnswer {
    let page = browser.open(FORGOTTEN).await;
    browser.submit(&page, "login", &[("login", login)]).await
}

pub(super) async fn choose(browser: &mut Browser, link: &str, password: &str) -> HttpAnswer {
    let page = browser.open(link).await;
    assert_eq!(page.page(), "set-up", "{}", page.text());
    browser.submit(&page, "password", &[("password", password), ("repeat", password)]).await
}

pub(super) async fn invite(server: &TestServer, login: &str, email: Option<&str>) -> HandedOver {
    let mut rng = server.rng();
    let mut moment = server.moment(&mut rng);
    let draft = UserDraft {
        login,
        user_type: UserType::Internal,
        is_admin: false,
        name: login,
        email: email.map(|address| Email { address: address.to_owned(), verified: false }),
        role: None,
        enabled: true,
    };
    let operator = server.operator().await;
    operator.create_user(draft, &mut moment).await.expect("no fault").expect("made");
    let link = operator.invite(login, &mut moment).await.expect("no fault").expect("invited");
    server.catch_up().await;
    link.hand_over(server.server.instances()[0].mail())
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_a_link_that_works_once_and_ends_everything() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let (app, mut elsewhere) = (server.app(FIRST), server.browser("alice"));
    let tokens = app.sign_in(&mut elsewhere, "read").await;
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200);

    let mut alice = server.browser("alice");
    let sign_in = alice.open("/id/account/login").await;
    assert_eq!(sign_in.attributes("#forgotten", "href"), [FORGOTTEN]);
    assert_eq!(ask_for_reset(&mut alice, "ALICE").await.page(), "forgotten-sent");
    let letter_to_alice = letter(&mut letters).await;
    assert_eq!((letter_to_alice.to.as_str(), letter_to_alice.about), ("alice@example.com", "password-reset"));
    let link = link_in(&letter_to_alice);
    assert!(link.starts_with("/id/account/reset-password?code="), "{link}");

    let page = alice.open(&link).await;
    let differ = alice.submit(&page, "password", &[("password", NEW), ("repeat", "another")]).await;
    assert_eq!((differ.page().as_str(), differ.words("#error").is_some()), ("set-up", true));
    let short = choose(&mut alice, &link, "short").await;
    assert_eq!((short.page().as_str(), short.words("#error").is_some()), ("set-up", true), "spends no link");
    assert_eq!(choose(&mut alice, &link, NEW).await.page(), "set-up-done");
    assert_error_page(&alice.open(&link).await, 410, "invalid_request");
    assert_eq!(letter(&mut letters).await.about, "password-changed");

    assert_eq!(server.client().call_api(&tokens.access).await.status, 401, "its tokens have ended");
    assert_eq!(elsewhere.open("/id/account").await.page(), "sign-in", "so have its sign-ins");
    assert_eq!(alice.sign_in().await.page(), "sign-in", "the old password is no good");
    alice.password = NEW.to_owned();
    assert_eq!(alice.sign_in().await.page(), "account");
}

#[tokio::test]
async fn the_answer_is_the_same_whether_or_not_there_is_such_a_login() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let mut somebody = server.browser("alice");
    let mut answers = Vec::new();
    // Unknown logins, a service account, a disabled user, invalid text. Bob comes last, by his address.
    for login in ["nobody", "svc.integration", "dave", "nobody@example.com", "\u{fe}\u{fe}", "", "BOB@example.com"] {
        let page = somebody.open(FORGOTTEN).await;
        let form = page.form("login");
        let csrf = form.field("csrf").expect("a form of ours").to_owned();
        let answer = somebody.post(FORGOTTEN, &[("csrf", &csrf), ("login", login)]).await;
        answers.push((answer.status.as_u16(), answer.text().to_owned()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // Requests are processed in order: a letter to anyone before him would have come first.
    assert_eq!(letter(&mut letters).await.to.as_str(), "bob@example.com");
    let reasons: Vec<String> = {
        let audit = server.audit().await;
        audit.into_iter().filter(|row| row.kind == "password-reset").map(|row| row.reason).collect()
    };
    assert_eq!(reasons.iter().filter(|reason| *reason == "unknown_user").count(), 4, "{reasons:?}");
    assert_eq!(reasons.iter().filter(|reason| *reason == "user_may_not_sign_in").count(), 2, "{reasons:?}");
}

#[tokio::test]
async fn a_mailbox_is_not_flooded_and_nobody_is_shut_out() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let mut somebody = server.browser("alice");
    for _ in 0..4 {
        assert_eq!(ask_for_reset(&mut somebody, "alice").await.page(), "forgotten-sent");
    }
    assert_eq!(ask_for_reset(&mut somebody, "bob").await.page(), "forgotten-sent");
    let mut links = Vec::new();
    for _ in 0..3 {
        links.push(link_in(&letter(&mut letters).await));
    }
    assert_eq!(letter(&mut letters).await.to.as_str(), "bob@example.com", "alice's fourth was not written");
    assert_eq!(choose(&mut somebody, &links[0], NEW).await.page(), "set-up-done", "the first still works");
    for link in &links {
        assert_error_page(&somebody.open(link).await, 410, "invalid_request");
    }
}

#[tokio::test]
async fn asking_often_costs_growing_time_as_signing_in_does() {
    let server = TestServer::open().await;
    let _letters = server.server.open_outbox();
    let mut somebody = server.browser("alice");
    for _ in 0..5 {
        assert_eq!(ask_for_reset(&mut somebody, "alice").await.status, 200);
    }
    let refused = ask_for_reset(&mut somebody, "alice").await;
    assert_eq!((refused.status.as_u16(), refused.page().as_str()), (429, "forgotten"));
    assert!(refused.words("#notice").is_some_and(|notice| notice.contains("Too many requests")));
    let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
    assert_eq!(ask_for_reset(&mut somebody, "nobody").await.status, 200, "about somebody else");
    server.advance(Duration::from_secs(seconds));
    assert_eq!(ask_for_reset(&mut somebody, "alice").await.status, 200);
    assert_eq!(somebody.sign_in().await.page(), "account", "signing in is counted apart");
}

#[tokio::test]
async fn a_link_expires_and_a_form_of_another_site_is_refused() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let mut alice = server.browser("alice");
    ask_for_reset(&mut alice, "alice").await;
    let link = link_in(&letter(&mut letters).await);
    let code = link.rsplit('=').next().expect("a code").to_owned();
    let forged = [("csrf", "x"), ("code", &*code), ("password", NEW), ("repeat", NEW)];
    assert_error_page(&alice.step(&Method::POST, "/id/account/reset-password", &forged).await, 403, "invalid_request");
    let forged = alice.step(&Method::POST, FORGOTTEN, &[("csrf", "x"), ("login", "alice")]).await;
    assert_error_page(&forged, 403, "invalid_request");
    server.advance(Duration::from_mins(59));
    assert_eq!(alice.open(&link).await.page(), "set-up");
    server.advance(Duration::from_mins(1));
    assert_error_page(&alice.open(&link).await, 410, "invalid_request");
    assert_error_page(&alice.open("/id/account/reset-password?code=").await, 410, "invalid_request");
}

#[tokio::test]
async fn without_mail_the_page_says_who_helps_and_links_are_shown_to_administrators() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    let page = alice.open(FORGOTTEN).await;
    assert_eq!(page.page(), "forgotten");
    assert!(page.text().contains("administrator") && !page.text().contains("<form"));
    let HandedOver::Shown(url) = invite(&server, "eve", Some("eve@example.com")).await else {
        panic!("mailed by whom?")
    };
    let link = url.strip_prefix("http://localhost:8080").expect("of this instance");
    assert!(link.starts_with("/id/account/set-up?code="));
    let mut eve = server.browser("eve");
    server.advance(Duration::from_hours(7 * 24 - 1));
    assert_eq!(choose(&mut eve, link, NEW).await.page(), "set-up-done");
    eve.password = NEW.to_owned();
    assert_eq!(eve.sign_in().await.page(), "account");
}

#[tokio::test]
async fn an_invitation_is_mailed_where_there_is_an_address_and_a_way() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let handed = invite(&server, "eve", Some("eve@example.com")).await;
    assert!(matches!(&handed, HandedOver::Mailed(address) if address.as_str() == "eve@example.com"), "{handed:?}");
    let invitation = letter(&mut letters).await;
    assert_eq!(invitation.about, "invitation");
    assert!(invitation.text.contains("\n    eve\n") && invitation.text.contains("7 days"), "{}", invitation.text);
    assert!(invitation.subject.contains("testdb"));
    server.advance(Duration::from_hours(7 * 24));
    assert_error_page(&server.browser("eve").open(&link_in(&invitation)).await, 410, "invalid_request");
    assert!(matches!(invite(&server, "trent", None).await, HandedOver::Shown(_)), "no address");

    // An address stored before addresses were validated.
    let operator = server.operator().await;
    let mut row = operator.user_by_name("trent").await.expect("no fault").expect("there");
    row.user.email = Some(Email { address: "no address at all".to_owned(), verified: false });
    let store = server.store().await;
    let batch = store::Batch::new().with(store.update_user(&row, false, server.now()));
    assert_eq!(store.commit(batch).await.expect("no fault"), store::CommitOutcome::Committed);
    let mut rng = server.rng();
    let link = operator.invite("trent", &mut server.moment(&mut rng)).await.expect("no fault").expect("invited");
    assert!(matches!(link.hand_over(server.server.instances()[0].mail()), HandedOver::Shown(_)), "no way");
}

#[tokio::test]
async fn links_are_made_only_for_whom_they_can_help() {
    let server = TestServer::open().await;
    let (operator, mut rng) = (server.operator().await, server.rng());
    for login in ["nobody", "dave", "svc.integration"] {
        let refused = operator.reset_link(login, &mut server.moment(&mut rng)).await.expect("no fault");
        assert!(refused.is_err(), "{login}");
    }
    let refused = operator.invite("alice", &mut server.moment(&mut rng)).await.expect("no fault");
    assert!(refused.err().is_some_and(|refusal| refusal.to_string().contains("already has a password")));
    let link = operator.reset_link("alice", &mut server.moment(&mut rng)).await.expect("no fault").expect("made");
    let path = format!("/id/account/reset-password?code={}", link.code.expose());
    server.enable_user("alice", false).await;
    server.enable_user("alice", true).await;
    assert_error_page(&server.browser("alice").open(&path).await, 410, "invalid_request");
}

/// Changes Alice's address, in each of the possible ways.
async fn another_address(server: &TestServer, door: &str) {
    let mut rng = server.rng();
    match door {
        "manager" => {
            let mut admin = server.browser("admin");
            admin.sign_in().await;
            let list = admin.open("/manage/users?find=alice").await;
            let page = admin.open(&list.attributes("tbody a", "href")[0]).await;
            let form = page.form_that("do", "save");
            let fields = form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let fields: Vec<_> =
                fields.filter(|(name, _)| *name != "email").chain([("email", "a@new.example")]).collect();
            admin.post(&form.action, &fields).await;
        }
        "admin API" => {
            let token = TokenAnswer::read(&server.manager().await.service_token("manage").await).access;
            let client = server.client();
            let list = client.ask(&Method::GET, "/manage/api/v1/users?login=alice").bearer(&token).send().await.json();
            let path = format!("/manage/api/v1/users/{}", list["items"][0]["id"].as_str().expect("an id"));
            let ask = client.ask(&Method::PATCH, &path).bearer(&token).header("if-match", "*");
            let answer = ask.body("application/json", r#"{"email":"a@new.example"}"#.to_owned()).send().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        _ => {
            let operator = server.operator().await;
            let current = operator.user_by_name("alice").await.expect("no fault").expect("there");
            let mut record = PersonRecord::of(&current.user, current.role.as_deref());
            record.email = Some("a@new.example".to_owned());
            let changed = operator.change_user(&current, record, &mut server.moment(&mut rng)).await;
            changed.expect("no fault").expect("changed");
        }
    }
    server.catch_up().await;
    let user = server.operator().await.user_by_name("alice").await.expect("no fault").expect("there").user;
    assert_eq!(user.email.map(|email| email.address).as_deref(), Some("a@new.example"), "{door}");
}

/// The link in the old mailbox no longer works. The user's own change of address is tested in `profile::email`.
#[tokio::test]
async fn a_reset_link_dies_when_anybody_changes_the_address() {
    for door in ["manager", "admin API", "command line"] {
        let server = TestServer::open().await;
        let mut letters = server.server.open_outbox();
        let mut somebody = server.browser("alice");
        for _ in 0..3 {
            ask_for_reset(&mut somebody, "alice").await;
        }
        let link = link_in(&letter(&mut letters).await);
        let page = somebody.open(&link).await;
        another_address(&server, door).await;
        assert_error_page(&somebody.open(&link).await, 410, "invalid_request");
        let late = somebody.submit(&page, "password", &[("password", NEW), ("repeat", NEW)]).await;
        assert_error_page(&late, 410, "invalid_request");
        assert_eq!(server.browser("alice").sign_in().await.page(), "account", "{door}: the password is as it was");
        for _ in 0..2 {
            letter(&mut letters).await;
        }
        // The void links do not count against the new address.
        ask_for_reset(&mut somebody, "alice").await;
        let anew = letter(&mut letters).await;
        assert_eq!(anew.to.as_str(), "a@new.example", "{door}");
        assert_eq!(choose(&mut somebody, &link_in(&anew), NEW).await.page(), "set-up-done", "{door}");
    }
}

#[tokio::test]
async fn every_new_password_is_told_by_letter_in_the_persons_language() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let page = alice.open("/profile/language").await;
    alice.submit(&page, "language", &[("language", "de")]).await;
    let mut assert_told = async |door: &str| {
        let mail = letter(&mut letters).await;
        assert_eq!((mail.to.as_str(), mail.about), ("alice@example.com", "password-changed"), "{door}");
        assert_eq!(mail.subject, "Ihr Passwort wurde geändert – testdb", "{door}");
        assert!(mail.text.starts_with("Guten Tag Alice") && !mail.text.contains("http"), "{door}: {}", mail.text);
    };
    let page = alice.open("/profile/password").await;
    let old = alice.password.clone();
    let fields = [("current", old.as_str()), ("password", "lantern-otter-quill"), ("repeat", "lantern-otter-quill")];
    alice.submit(&page, "current", &fields).await;
    assert_told("the profile").await;
    let token = TokenAnswer::read(&server.manager().await.service_token("manage").await).access;
    let client = server.client();
    let list = client.ask(&Method::GET, "/manage/api/v1/users?login=alice").bearer(&token).send().await.json();
    let path = format!("/manage/api/v1/users/{}/password", list["items"][0]["id"].as_str().expect("an id"));
    let body = r#"{"password":"quill-lantern-otter"}"#.to_owned();
    let answer = client.ask(&Method::PUT, &path).bearer(&token).body("application/json", body).send().await;
    assert!(answer.status.is_success(), "{}", answer.text());
    assert_told("the admin API").await;
    let mut rng = server.rng();
    let link = server.operator().await.reset_link("alice", &mut server.moment(&mut rng)).await;
    let link = link.expect("no fault").expect("a link");
    let path = format!("/id/account/reset-password?code={}", link.code.expose());
    assert_eq!(choose(&mut alice, &path, NEW).await.page(), "set-up-done");
    assert_told("a link").await;
}

#[tokio::test]
async fn every_new_reference_token_is_told_by_letter_without_its_value() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let list = alice.open("/profile/tokens").await;
    let page = alice.open(&list.attributes(".sites a", "href")[0]).await;
    let fields = [("description", "nightly"), ("scope", "read"), ("expires", "30")];
    let made = alice.submit(&page, "description", &fields).await;
    let value = made.words("#value").expect("the value");
    let mail = letter(&mut letters).await;
    assert_eq!((mail.to.as_str(), mail.about), ("alice@example.com", "token-created"));
    assert!(mail.text.contains("nightly") && mail.text.contains(&value[65..]) && !mail.text.contains(&value));

    let mut admin = server.browser("admin");
    admin.sign_in().await;
    let page = admin.open("/manage/tokens").await;
    let csrf = page.form_that("do", "issue").field("csrf").expect("a token").to_owned();
    let wish = [("do", "issue"), ("uri", SERVICE), ("description", "robot"), ("scope", "read")];
    let fields: Vec<_> = wish.into_iter().chain([("csrf", csrf.as_str())]).collect();
    let issued = admin.post("/manage/tokens", &fields).await;
    assert_eq!(issued.status, 201, "{}", issued.text());
    let mail = letter(&mut letters).await;
    assert_eq!((mail.to.as_str(), mail.about), ("admin@example.com", "service-token-issued"));
    assert!(mail.text.contains("robot") && !mail.text.contains("http"), "{}", mail.text);
}
