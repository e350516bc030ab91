//! Storms of guessed passwords by unauthenticated clients (`identity.md` §4.1), and their effect on other users.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use acceptance::{Browser, Client, HttpAnswer, TestDevice, TestServer, on_both};
use demo::password_of;
use http::Method;

use super::links::{choose, letter, link_in};
use super::two_step::{add_passkey, enter_code, set_up_app, touch};
use super::{legacy, two_step};

on_both! {
    strangers_have_one_ceiling_from_any_number_of_networks
    two_nodes_give_no_more_guesses_than_one
    a_second_step_is_closed_to_strangers_and_a_new_password_opens_it
    a_link_in_a_letter_admits_a_new_browser_once
    a_clients_network_that_was_right_is_known_for_thirty_days
}

const DEVICE: &str = "gatehouse-device";

fn network(number: usize) -> String {
    format!("10.{}.{}.1:5000", number / 250, number % 250)
}

/// A guess by an unknown browser from a network of its own.
async fn guess(client: &Client, login: &str, number: usize) -> HttpAnswer {
    let mut stranger = stranger(client, login, number);
    stranger.password = format!("guess {number}");
    stranger.sign_in().await
}

fn stranger(client: &Client, login: &str, number: usize) -> Browser {
    Browser {
        client: client.from(&network(number)),
        login: login.to_owned(),
        password: password_of(login),
        jar: std::collections::BTreeMap::new(),
    }
}

/// Sends guesses one after another. Returns the last answer, and how many were compared.
async fn storm(client: &Client, login: &str, numbers: std::ops::Range<usize>) -> (HttpAnswer, usize) {
    let (mut last, mut compared) = (None, 0);
    for number in numbers {
        let answer = guess(client, login, number).await;
        compared += usize::from(answer.status == 200);
        last = Some(answer);
    }
    (last.expect("some"), compared)
}

fn without_reference(page: &HttpAnswer) -> Vec<String> {
    page.every("main p, main button, #notice")
}

async fn strangers_have_one_ceiling_from_any_number_of_networks(server: TestServer) {
    let _letters = server.server.open_outbox();
    let client = server.client();
    let mut known = server.browser("alice");
    known.sign_in().await;
    known.open("/id/connect/endsession").await;
    let (refused, compared) = storm(&client, "alice", 0..300).await;
    assert_eq!((compared, refused.status.as_u16()), (45, 429));
    assert!(refused.words("#notice").is_some_and(|notice| notice.contains("next 17 minutes")));
    assert_eq!(refused.header("retry-after"), "1001");
    assert_eq!(refused.words("button[name=link]").as_deref(), Some("Send me a link"));
    // The same as for a login that does not exist.
    let (nobody, of_nobody) = storm(&client, "nobody.here", 0..50).await;
    assert_eq!((of_nobody, nobody.status.as_u16()), (45, 429));
    assert_eq!(without_reference(&nobody), without_reference(&refused));
    // The right password does not help an unknown browser. A known browser signs in at once.
    assert_eq!(stranger(&client, "alice", 301).sign_in().await.status, 429);
    let mut here_before = Browser { jar: known.jar.clone(), ..server.browser("alice") };
    here_before.jar.retain(|name, _| name == DEVICE);
    assert_eq!(here_before.sign_in().await.page(), "account");
    assert_eq!(stranger(&client, "bob", 302).sign_in().await.page(), "account", "others are let in everywhere");
    // At most a hundred in any hour.
    let mut in_an_hour = compared;
    for minutes in 1..60 {
        server.advance(Duration::from_mins(1));
        in_an_hour += storm(&client, "alice", 400 + minutes * 12..412 + minutes * 12).await.1;
    }
    assert!((70..=100).contains(&in_an_hour), "{in_an_hour}");
    let audit = server.audit().await;
    let wrong = audit.iter().filter(|row| row.reason == "wrong_password").count();
    assert_eq!(wrong, in_an_hour);
}

async fn two_nodes_give_no_more_guesses_than_one(server: TestServer) {
    let other = server.another_node().await;
    let nodes = [server.client(), server.client_of(&other)];
    let mut compared = 0;
    for number in 0..150 {
        compared += storm(&nodes[number % 2], "alice", number..number + 1).await.1;
    }
    assert_eq!(compared, 50, "five of each node are free, and one bucket is for both");
    let mut known = stranger(&nodes[0], "bob", 500);
    assert_eq!(known.sign_in().await.page(), "account");
    // Leases survive a restart.
    other.close().await;
    let server = server.restarted().await;
    let (_, compared) = storm(&server.client(), "alice", 600..650).await;
    assert_eq!(compared, 5);
}

#[tokio::test]
async fn a_passkey_signs_in_whatever_is_guessed() {
    let server = TestServer::open().await;
    let (mut alice, mut device) = (server.browser("alice"), TestDevice::new("http://localhost:8080"));
    alice.sign_in().await;
    add_passkey(&mut alice, &mut device, "Laptop").await;
    assert_eq!(storm(&server.client(), "alice", 0..60).await.0.status, 429);
    let mut anywhere = stranger(&server.client(), "alice", 61);
    let page = anywhere.open("/id/account/login").await;
    assert_eq!(touch(&mut anywhere, &page, &mut device).await.page(), "account");
}

/// A client rotates logins behind an office's address as fast as it gets answers.
#[tokio::test]
async fn a_new_browser_behind_a_noisy_address_signs_in_within_ten_seconds() {
    let server = TestServer::open().await;
    let client = server.client();
    let mut known = server.browser("bob");
    known.sign_in().await;
    known.jar.retain(|name, _| name == DEVICE);
    let rotate = |worker: usize| {
        let client = client.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let login = format!("made.up{worker}.{number}");
                let mut noise = Browser { login, password: "guess".to_owned(), ..stranger(&client, "x", 1) };
                noise.client = client.clone();
                noise.sign_in().await;
            }
        })
    };
    for number in 0..22 {
        let mut noise = Browser { login: format!("first{number}"), ..server.browser("x") };
        noise.sign_in().await;
    }
    let noise: Vec<_> = (0..8).map(rotate).collect();
    for login in ["alice", "carol"] {
        let begun = tokio::time::Instant::now();
        assert_eq!(server.browser(login).sign_in().await.page(), "account", "{login}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(known.sign_in().await.page(), "account");
    assert!(begun.elapsed() < Duration::from_secs(2), "a known browser waits for no turn: {:?}", begun.elapsed());
    for task in noise {
        task.abort();
    }
}

#[tokio::test]
async fn two_hundred_and_fifty_waiting_tries_shut_nobody_else_out() {
    let server = TestServer::open().await;
    let client = server.client();
    let mut known = server.browser("alice");
    known.sign_in().await;
    known.jar.retain(|name, _| name == DEVICE);
    let mut ready = Vec::new();
    for number in 0..250 {
        // One address with a different login each time.
        let mut noise = Browser { login: format!("made.up{number}"), ..stranger(&client, "x", 1) };
        let page = noise.open("/id/account/login").await;
        ready.push((noise, page));
    }
    let (known_page, mut new) = (known.open("/id/account/login").await, stranger(&client, "bob", 2));
    let new_page = new.open("/id/account/login").await;
    let mut other = server.browser_at_other("alice");
    let other_page = other.open("/id/account/login").await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut storm = tokio::task::JoinSet::new();
    for (mut noise, page) in ready {
        let done = Arc::clone(&done);
        storm.spawn(async move {
            noise.enter(&page).await;
            done.fetch_add(1, Ordering::Relaxed);
        });
    }
    tokio::task::yield_now().await;
    assert_eq!(known.enter(&known_page).await.page(), "account");
    assert_eq!(new.enter(&new_page).await.page(), "account");
    assert_eq!(other.enter(&other_page).await.page(), "account");
    assert!(done.load(Ordering::Relaxed) < 250, "before the storm was over");
    storm.abort_all();
}

async fn a_second_step_is_closed_to_strangers_and_a_new_password_opens_it(server: TestServer) {
    let mut letters = server.server.open_outbox();
    let (client, mut owner) = (server.client(), server.browser("alice"));
    let app = set_up_app(&server, &mut owner).await;
    let mail = letter(&mut letters).await;
    assert_eq!(mail.about, "two-step-changed");
    server.advance(two_step::STEP);
    owner.jar.retain(|name, _| name == DEVICE);
    let mut refused = None;
    let mut compared = 0;
    for number in 0..60 {
        let mut thief = stranger(&client, "alice", number);
        let page = thief.sign_in().await;
        assert_eq!(page.page(), "second-step", "the password is right");
        let answer = enter_code(&mut thief, &page, "000000").await;
        compared += usize::from(answer.status == 200);
        if number == 8 {
            let mut elsewhere = stranger(&client, "alice", 700);
            let page = elsewhere.sign_in().await;
            assert_eq!(enter_code(&mut elsewhere, &page, &app.code(&server)).await.page(), "account", "in the middle");
        }
        refused = Some(answer);
    }
    assert_eq!(compared, 45);
    let refused = refused.expect("some");
    assert_eq!((refused.status.as_u16(), refused.page().as_str()), (429, "second-step"));
    assert!(refused.words("#notice").is_some_and(|notice| notice.contains("knows this password")));
    assert_eq!(refused.attributes("#new-password", "href"), ["/id/account/forgotten"]);
    let mail = letter(&mut letters).await;
    assert_eq!((mail.about, mail.to.as_str()), ("second-step-attacked", "alice@example.com"));
    server.advance(two_step::STEP);
    let page = owner.sign_in().await;
    assert_eq!(enter_code(&mut owner, &page, &app.code(&server)).await.page(), "account", "a known browser is served");
    server.set_password("alice", "lantern-otter-quill").await;
    server.advance(two_step::STEP);
    let mut new = Browser { password: "lantern-otter-quill".to_owned(), ..stranger(&client, "alice", 701) };
    let page = new.sign_in().await;
    assert_eq!(enter_code(&mut new, &page, &app.code(&server)).await.page(), "account");
    let audit = server.audit().await;
    assert!(audit.iter().any(|row| row.reason == "second_step_closed"));
    assert_eq!(audit.iter().filter(|row| row.kind == "attacked").count(), 1);
}

async fn a_link_in_a_letter_admits_a_new_browser_once(server: TestServer) {
    let mut letters = server.server.open_outbox();
    let other = server.another_node().await;
    let mut others_letters = other.open_outbox();
    let client = server.client();
    storm(&client, "alice", 0..60).await;
    let mail = letter(&mut letters).await;
    assert_eq!((mail.about, mail.to.as_str()), ("password-attacked", "alice@example.com"));
    // The other node sees the attack too, and sends no second letter on this day.
    storm(&server.client_of(&other), "alice", 100..120).await;

    let mut new = stranger(&client, "alice", 200);
    let page = new.sign_in().await;
    assert_eq!(page.status, 429);
    let sent = new.submit(&page, "link", &[]).await;
    assert_eq!(sent.page(), "known-browser-sent");
    let mut curious = stranger(&client, "nobody.here", 201);
    let asked = curious.open("/id/account/login").await;
    let csrf = asked.form("password").field("csrf").expect("a token").to_owned();
    let answer = curious.post("/id/account/known-browser", &[("login", "nobody.here"), ("csrf", &csrf)]).await;
    assert_eq!(without_reference(&answer), without_reference(&sent), "nobody learns who exists");
    let carried = letter(&mut letters).await;
    assert_eq!(carried.about, "known-browser");
    let link = link_in(&carried);
    // The link sets no password, and opening it does not spend it.
    let as_reset = link.replace("known-browser", "reset-password");
    assert_eq!(new.open(&as_reset).await.status, 410);
    let page = new.open(&link).await;
    assert_eq!((page.page().as_str(), new.jar.contains_key(DEVICE)), ("known-browser", false));
    assert_eq!(stranger(&client, "alice", 200).sign_in().await.status, 429);
    let done = new.submit(&page, "code", &[]).await;
    assert_eq!(done.page(), "known-browser-done");
    assert_eq!(new.clone().open("/id/account").await.page(), "sign-in", "it signs nobody in");
    let mut second = stranger(&client, "alice", 202);
    assert_eq!(second.open(&link).await.status, 410, "once");
    assert_eq!(new.submit(&page, "code", &[]).await.status, 410);
    new.jar.retain(|name, _| name == DEVICE);
    assert_eq!(new.sign_in().await.page(), "account");
    let foreign = client.post("/id/account/known-browser", &[("code", "x"), ("csrf", "x")]).await;
    assert_eq!(foreign.status, 403);
    drop(server.server.open_outbox());
    let waiting = tokio::time::timeout(Duration::ZERO, others_letters.next()).await;
    assert!(waiting.is_err(), "once a day, whichever node");
    let tomorrow = Duration::from_hours(24);
    server.advance(tomorrow);
    storm(&server.client_of(&other), "alice", 300..360).await;
    assert_eq!(letter(&mut others_letters).await.about, "password-attacked", "the next day");
    let audit = server.audit().await;
    let count =
        |kind: &str, outcome: &str| audit.iter().filter(|row| row.kind == kind && row.outcome == outcome).count();
    assert_eq!((count("attacked", "done"), count("known-browser", "done")), (2, 1));
}

async fn call(client: &Client, password: &str) -> HttpAnswer {
    let authorization = legacy::basic("alice", password);
    client.ask(&Method::GET, legacy::CUSTOMERS).header("authorization", &authorization).send().await
}

async fn a_clients_network_that_was_right_is_known_for_thirty_days(server: TestServer) {
    let (operator, elsewhere) = (server.client().from("198.51.100.7:1"), server.client().from("198.51.100.8:1"));
    assert_eq!(call(&operator, legacy::PASSWORD).await.status, 200);
    storm(&server.client(), "alice", 0..60).await;
    assert_eq!(call(&operator, legacy::PASSWORD).await.status, 200);
    let refused = call(&elsewhere, legacy::PASSWORD).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "1001"));
    // None of this is in memory only.
    let server = server.restarted().await;
    server.advance(Duration::from_hours(29 * 24));
    let (operator, elsewhere) = (server.client().from("198.51.100.7:1"), server.client().from("198.51.100.8:1"));
    storm(&server.client(), "alice", 100..160).await;
    assert_eq!(call(&elsewhere, legacy::PASSWORD).await.status, 429);
    assert_eq!(call(&operator, legacy::PASSWORD).await.status, 200);
    server.advance(Duration::from_hours(31 * 24));
    server.tidy().await;
    storm(&server.client(), "alice", 200..260).await;
    assert_eq!(call(&operator, legacy::PASSWORD).await.status, 429, "forgotten");
}

#[tokio::test]
async fn a_device_cookie_admits_nobody_and_names_nobody() {
    let server = TestServer::under_https().await;
    let mut alice = server.browser("alice");
    let page = alice.open("/id/account/login").await;
    let form = page.form("password");
    let fields = [("csrf", form.field("csrf").expect("a token")), ("login", "alice"), ("password", &alice.password)];
    let fields = fields.map(|(name, value)| (name, value.to_owned()));
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = alice.step(&Method::POST, &form.action, &fields).await;
    let cookies: Vec<_> =
        answer.headers.get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok()).collect();
    let cookie = cookies.iter().find(|cookie| cookie.starts_with("__Host-gatehouse-device=")).expect("it is set");
    let attributes = cookie.split_once(';').expect("attributes").1;
    assert_eq!(attributes, " Max-Age=15552000; Path=/; HttpOnly; SameSite=Lax; Secure");
    assert!(!cookie.contains("alice"));
    alice.jar.retain(|name, _| name == "__Host-gatehouse-device");
    assert_eq!(alice.open("/id/account").await.page(), "sign-in", "it is no sign-in");
    alice.password = "a wrong one".to_owned();
    assert_eq!(alice.sign_in().await.page(), "sign-in");
}

#[tokio::test]
async fn made_up_and_foreign_device_cookies_are_a_strangers() {
    let server = TestServer::open().await;
    let client = server.client();
    let (mut alice, mut bob) = (server.browser("alice"), server.browser("bob"));
    let mut elsewhere = server.browser_at_other("alice");
    for browser in [&mut alice, &mut bob, &mut elsewhere] {
        browser.sign_in().await;
    }
    storm(&client, "alice", 0..60).await;
    let good = alice.jar[DEVICE].clone();
    let changed = format!("A{}", &good[1..]);
    for (what, cookie) in [
        ("another person's", bob.jar[DEVICE].as_str()),
        ("another instance's", &elsewhere.jar[DEVICE]),
        ("a changed one", &changed),
        ("nonsense", "x.y"),
        ("nothing", ""),
    ] {
        let mut stranger = stranger(&client, "alice", 61);
        stranger.jar.insert(DEVICE.to_owned(), cookie.to_owned());
        assert_eq!(stranger.sign_in().await.status, 429, "{what}");
    }
    let with = |login: &str, cookie: &str| {
        let mut browser = stranger(&client, login, 62);
        browser.jar.insert(DEVICE.to_owned(), cookie.to_owned());
        browser
    };
    assert_eq!(with("alice", &good).sign_in().await.page(), "account");
    // A browser shared by several users is known for the last four.
    let mut shared = with("bob", &good);
    assert_eq!(shared.sign_in().await.page(), "account");
    shared.jar.retain(|name, _| name == DEVICE);
    assert_eq!(shared.clone().taken_over_by("alice").sign_in().await.page(), "account");
    server.advance(Duration::from_hours(180 * 24));
    storm(&client, "alice", 100..160).await;
    assert_eq!(with("alice", &good).sign_in().await.status, 429, "too old");
}

/// A stolen browser has ten guesses, and is then unknown for an hour.
#[tokio::test]
async fn a_known_browser_that_guesses_is_a_stranger() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    alice.jar.retain(|name, _| name == DEVICE);
    let right = alice.password.clone();
    storm(&server.client(), "alice", 0..60).await;
    for number in 0..10 {
        server.advance(Duration::from_secs(33));
        alice.password = format!("another guess {number}");
        assert_eq!(alice.sign_in().await.page(), "sign-in");
    }
    alice.password = right;
    server.advance(Duration::from_secs(33));
    let refused = alice.sign_in().await;
    assert!(refused.words("#notice").is_some_and(|notice| notice.contains("minutes")), "{}", refused.text());
    server.advance(Duration::from_hours(1));
    assert_eq!(alice.sign_in().await.page(), "account");
}

/// A user who resets the password by a letter is signed in at the browser that did it: the mailbox proves the account.
#[tokio::test]
async fn a_reset_password_signs_in_by_a_link_too() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let client = server.client();
    storm(&client, "alice", 0..60).await;
    assert_eq!(letter(&mut letters).await.about, "password-attacked");
    let mut new = stranger(&client, "alice", 61);
    super::links::ask_for_reset(&mut new, "alice").await;
    let link = link_in(&letter(&mut letters).await);
    assert_eq!(choose(&mut new, &link, "lantern-otter-quill").await.page(), "set-up-done");
    new.password = "lantern-otter-quill".to_owned();
    assert_eq!(new.sign_in().await.page(), "account", "whoever reads the mailbox made the browser known");
}
