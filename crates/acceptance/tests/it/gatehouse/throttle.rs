//! Many sign-ins at once (`identity.md` §4): right passwords work, and no more wrong ones are tried than one by one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use acceptance::{Browser, HttpAnswer, TestServer};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use demo::password_of;
use flows::HashingTurn;
use flows::admin::UserDraft;
use flows::auth::sign_in::{SignInCookies, SignInOutcome};
use model::audit::{RequestId, RequestInfo};
use model::user::{PasswordCredentials, PasswordHash};
use model::{Ctx, Login, Timestamp, UserType};
use oauth::secret::Presented;
use store::{Batch, CommitOutcome};
use tokio::task::JoinHandle;

const PASSWORD: &str = "lantern-otter-quill";

/// The password threads have this many comparisons queued, so that all requests sent meanwhile are processed at once.
const BUSY_WITH: usize = 40;

/// Occupies the password threads for the same instance. Work of another instance would only alternate with it.
async fn busy(server: &TestServer) -> JoinHandle<()> {
    let instance = server.believed("testdb").await;
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let request = RequestInfo { address, user_agent: None, id: RequestId::new(Timestamp(0), 1, 1) };
    let mut rng = server.rng();
    let mut ctx = Ctx { now: server.now(), rng: &mut *rng, request: &request };
    let password = Presented::new(password_of("admin"));
    let credentials = PasswordCredentials { login: "admin", password: &password };
    let signed_in = instance.auth().sign_in(&mut ctx, credentials, SignInCookies::default(), None).await;
    let SignInOutcome::Done(browser, _) = signed_in.expect("no fault").expect("the demo's administrator") else {
        panic!("a password is enough")
    };
    let manager = instance.admit_admin_at_browser(&mut ctx, &browser).expect("no fault").expect("administers");
    let manager = Arc::new(manager);
    let mut comparing = tokio::task::JoinSet::new();
    for _ in 0..BUSY_WITH {
        let manager = Arc::clone(&manager);
        comparing.spawn(async move {
            let compared =
                manager.passwords().verify(HashingTurn::Known, None, &Presented::new("nobody's"), [0; 16]).await;
            compared.map(|_| ()).expect("the queue has room");
        });
    }
    let all = tokio::spawn(async move {
        while let Some(compared) = comparing.join_next().await {
            compared.expect("no panic");
        }
    });
    // All requests are queued once each was polled.
    tokio::task::yield_now().await;
    all
}

/// Creates further users beside those of the demo.
async fn people(server: &TestServer, count: usize) -> Vec<String> {
    let (operator, store, mut rng) = (server.operator().await, server.store().await, server.rng());
    let phc = Argon2::default().hash_password_with_salt(PASSWORD.as_bytes(), &[7; 16]).expect("hashes");
    let hash = PasswordHash::of_nfc(phc.to_string());
    let mut logins = Vec::new();
    for number in 0..count {
        let login = format!("person{number}");
        let draft = UserDraft {
            login: &login,
            user_type: UserType::Internal,
            is_admin: false,
            name: &login,
            email: None,
            role: None,
            enabled: true,
        };
        operator.create_user(draft, &mut server.moment(&mut rng)).await.expect("no fault").expect("made");
        let found = store.user_by_login(&Login::parse(&login).expect("valid")).await.expect("no fault");
        let set = store.set_password(&found.expect("made").0, &hash, server.now());
        assert_eq!(store.commit(Batch::new().with(set)).await.expect("no fault"), CommitOutcome::Committed);
        logins.push(login);
    }
    server.catch_up().await;
    logins
}

/// Submits all at once, each at its own browser that already shows the page.
async fn enter_at_once(server: &TestServer, tries: &[(&str, &str)]) -> Vec<HttpAnswer> {
    let mut ready = Vec::new();
    for (login, password) in tries {
        let mut browser = Browser { password: (*password).to_owned(), ..server.browser(login) };
        let page = browser.open("/id/account/login").await;
        ready.push((browser, page));
    }
    let busy = busy(server).await;
    let entering: Vec<_> =
        ready.into_iter().map(|(mut browser, page)| tokio::spawn(async move { browser.enter(&page).await })).collect();
    let mut answers = Vec::new();
    for one in entering {
        answers.push(one.await.expect("no panic"));
    }
    busy.await.expect("no panic");
    answers
}

fn pages(answers: &[HttpAnswer]) -> Vec<(u16, String)> {
    answers.iter().map(|answer| (answer.status.as_u16(), answer.page())).collect()
}

fn account() -> (u16, String) {
    (200, "account".to_owned())
}

#[tokio::test]
async fn a_shift_of_thirty_signs_in_behind_one_address_at_one_moment() {
    let server = TestServer::open().await;
    let logins = people(&server, 30).await;
    let tries: Vec<_> = logins.iter().map(|login| (login.as_str(), PASSWORD)).collect();
    assert_eq!(pages(&enter_at_once(&server, &tries).await), vec![account(); 30]);
    let audit = server.audit().await;
    assert!(audit.iter().all(|row| row.reason != "throttled"));
}

#[tokio::test]
async fn one_account_signs_in_at_eight_browsers_at_one_moment() {
    let server = TestServer::open().await;
    let password = password_of("alice");
    let tries = [("alice", password.as_str()); 8];
    assert_eq!(pages(&enter_at_once(&server, &tries).await), vec![account(); 8]);
}

#[tokio::test]
async fn mistakes_of_a_few_keep_nobody_else_out() {
    let server = TestServer::open().await;
    let logins = people(&server, 30).await;
    let tries: Vec<_> = (0..30).map(|n| (logins[n].as_str(), if n % 6 == 0 { "mistyped" } else { PASSWORD })).collect();
    let expected: Vec<_> = (0..30).map(|n| if n % 6 == 0 { (200, "sign-in".to_owned()) } else { account() }).collect();
    assert_eq!(pages(&enter_at_once(&server, &tries).await), expected);
    let audit = server.audit().await;
    assert_eq!(audit.iter().filter(|row| row.reason == "wrong_password").count(), 5);
    assert!(audit.iter().all(|row| row.reason != "throttled"));
}

#[tokio::test]
async fn guesses_at_one_moment_are_compared_as_often_as_one_by_one() {
    let server = TestServer::open().await;
    let guesses: Vec<_> = (0..12).map(|number| format!("guess {number}")).collect();
    let tries: Vec<_> = guesses.iter().map(|guess| ("alice", guess.as_str())).collect();
    let answers = enter_at_once(&server, &tries).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(refused.len(), 7, "five are free");
    assert!(refused.iter().all(|answer| answer.header("retry-after") == "2"));
    let password = password_of("alice");
    let held = enter_at_once(&server, &[("alice", &password)]).await;
    assert_eq!(held[0].status, 429, "as after five guesses one by one");
    let audit = server.audit().await;
    let count = |reason: &str| audit.iter().filter(|row| row.reason == reason).count();
    assert_eq!((count("wrong_password"), count("throttled")), (5, 8));
}
