//! Access to the manager's pages.

use std::time::Duration;

use acceptance::TestServer;
use http::Method;

use super::{act, administrator, every_page, found};
use crate::assert_error_page;

#[tokio::test]
async fn every_page_opens_for_an_administrator_and_takes_no_seat() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    for path in every_page(&mut admin).await {
        let page = admin.open(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert!(page.page().starts_with("manage"), "{path}: {}", page.page());
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        let scripts = page.attributes("script", "src");
        assert!(scripts.iter().all(|file| file.starts_with("/id/assets/gatehouse-")), "{path}: {scripts:?}");
        assert_eq!(policy.contains("script-src 'self';"), !scripts.is_empty(), "{path}: {policy}");
        assert_eq!(page.header("cache-control"), "no-store");
    }
    let (seats, _) = server.operator().await.seats().await.expect("sessions can be read");
    assert_eq!(seats.used, 0);
}

#[tokio::test]
async fn strangers_are_sent_to_sign_in_and_back() {
    let server = TestServer::open().await;
    let pages = every_page(&mut administrator(&server).await).await;
    for path in pages {
        for method in [Method::GET, Method::POST] {
            let answer = server.browser("admin").step(&method, &path, &[]).await;
            let sent = answer.location().starts_with("/id/account/login") || answer.status == 405;
            assert!(sent, "{method} {path}: {} {}", answer.status, answer.text());
        }
    }
    let mut admin = server.browser("admin");
    let sign_in = admin.open("/manage/keys").await;
    assert_eq!(admin.enter(&sign_in).await.page(), "manage-keys");
}

#[tokio::test]
async fn who_is_no_administrator_is_refused_by_every_page_and_form() {
    let server = TestServer::open().await;
    let pages = every_page(&mut administrator(&server).await).await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let count = pages.len();
    for path in pages {
        assert_error_page(&alice.step(&Method::GET, &path, &[]).await, 403, "access_denied");
        let posted = alice.step(&Method::POST, &path, &[("do", "save")]).await;
        assert!(posted.status == 403 || posted.status == 405, "{path}: {}", posted.status);
    }
    server.tick().await;
    let trail = server.audit().await;
    let found = trail.iter().filter(|row| row.kind == "admin-change" && row.reason == "not_an_administrator");
    assert!(found.count() >= count, "each attempt is told");
}

#[tokio::test]
async fn only_administrators_are_shown_the_way() {
    let server = TestServer::open().await;
    for (login, is_shown) in [("admin", true), ("alice", false)] {
        let account = server.browser(login).sign_in().await;
        assert_eq!(account.page(), "account");
        assert_eq!(account.attributes("a[href='/manage']", "href").len(), usize::from(is_shown), "{login}");
    }
}

#[tokio::test]
async fn an_administrator_of_another_instance_is_a_stranger_here() {
    let server = TestServer::open().await;
    let mut other = server.browser_at_other("admin");
    other.sign_in().await;
    assert_eq!(other.open("/manage/apps").await.page(), "manage-apps", "at home");
    let here = other.open("/manage/apps").await;
    let id = super::first_of(&here);
    let mut admin = administrator(&server).await;
    let answer = admin.open(&id).await;
    assert_eq!(answer.status, 404, "what the other instance has is not here");
}

#[tokio::test]
async fn a_form_is_believed_only_with_what_the_page_gave_it() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = found(&mut admin, "users", "alice").await;
    let form = page.form_that("do", "save");
    let fields: Vec<(&str, &str)> = form
        .fields
        .iter()
        .filter(|(name, _)| name != "csrf")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(admin.step(&Method::POST, &form.action, &fields).await.status, 403, "without");
    let mut second = server.browser("admin");
    second.sign_in().await;
    let other = found(&mut second, "users", "alice").await.form_that("do", "save");
    let with_other = |mut fields: Vec<(&'static str, String)>| {
        fields.push(("csrf", other.field("csrf").expect("a value").to_owned()));
        fields
    };
    let stolen = with_other(vec![("do", "save".to_owned()), ("name", "Eve".to_owned())]);
    let stolen: Vec<(&str, &str)> = stolen.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(admin.step(&Method::POST, &form.action, &stolen).await.status, 403, "of another sign-in");
    let alice = server.operator().await.user_by_name("alice").await.expect("no fault").expect("there");
    assert_eq!(alice.user.name, "Alice Archer");
}

#[tokio::test]
async fn markup_in_any_text_is_text() {
    const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'";
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let user = found(&mut admin, "users", "alice").await;
    act(&mut admin, &user, "save", &[("name", HOSTILE)]).await;
    let app = found(&mut admin, "apps", "my.trusted.app/first").await;
    act(&mut admin, &app, "save", &[("name", HOSTILE)]).await;
    let app = found(&mut admin, "apps", "my.trusted.app/first").await;
    act(&mut admin, &app, "add-secret", &[("label", HOSTILE)]).await;
    let roles = admin.open("/manage/roles").await;
    act(&mut admin, &roles, "create", &[("name", HOSTILE), ("read", HOSTILE)]).await;
    let mut seen = 0;
    let mut pages = every_page(&mut admin).await;
    pages.extend([
        format!("/manage/users?find={HOSTILE}").replace('"', "%22").replace(['<', '>', ' '], "%3C"),
        "/manage/refusals?reference=%3Cscript%3E".to_owned(),
        "/manage/apps/install?applicationUri=%3Cscript%3E&applicationName=%3Cscript%3E".to_owned(),
    ]);
    for path in pages.iter().chain(&[first_page(&mut admin, "users").await, first_page(&mut admin, "apps").await]) {
        let page = admin.open(path).await;
        assert!(!page.text().contains("<script>") && !page.text().contains("<img src=x"), "{path}");
        seen += usize::from(page.text().contains("&#60;script&#62;"));
    }
    assert!(seen >= 4, "the text is shown as it is: {seen}");
}

async fn first_page(admin: &mut acceptance::Browser, list: &str) -> String {
    let find = if list == "users" { "alice" } else { "my.trusted.app/first" };
    let list = admin.open(&format!("/manage/{list}?find={find}")).await;
    super::first_of(&list)
}

/// The changes that forms of each page would make.
const CHANGES: [(&str, &[(&str, &str)]); 11] = [
    ("/manage/users/new", &[("login", "mallory"), ("type", "InternalUser"), ("admin", "1")]),
    ("/manage/apps/new", &[("kind", "native"), ("uri", "new.app"), ("name", "New"), ("scope", "read")]),
    ("/manage/roles", &[("do", "create"), ("name", "New"), ("read", "*")]),
    ("/manage/keys", &[("do", "rotate"), ("algorithm", "ES256")]),
    ("/manage/keys", &[("do", "replace"), ("algorithm", "ES256")]),
    ("/manage/tokens", &[("do", "issue"), ("uri", "my.trusted.app/scripts"), ("description", "x"), ("scope", "read")]),
    ("/manage/apps/uninstall", &[("uri", "my.trusted.app/first")]),
    ("ALICE", &[("do", "reset")]),
    ("ALICE", &[("do", "save"), ("name", "Alice"), ("admin", "1"), ("enabled", "1")]),
    ("ALICE", &[("do", "reset-second-factor")]),
    ("FIRST", &[("do", "add-secret"), ("label", "x")]),
];

#[tokio::test]
async fn changes_of_weight_lead_through_the_sign_in_page_and_back() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let alice = found(&mut admin, "users", "alice").await;
    let alice = alice.form_that("do", "save").action.clone();
    let first = found(&mut admin, "apps", "my.trusted.app/first").await;
    let first = first.form_that("do", "save").action.clone();
    let sid = admin.jar["gatehouse"].split_once('.').map(|(sid, _)| sid.to_owned());
    server.advance(Duration::from_secs(601));
    let csrf = admin.open("/manage/roles").await.form("csrf").field("csrf").expect("a token").to_owned();
    let settings = admin.open("/manage/settings").await;
    let version = settings.form("version").field("version").expect("a version").to_owned();
    let page = admin.open(&alice).await;
    let alice_version = page.form_that("do", "save").field("version").expect("a version").to_owned();
    assert!(page.attributes("#sign-in-again", "href")[0].contains("return=%2Fmanage%2Fusers%2F"), "told before");
    let fields = [("csrf", csrf.as_str()), ("version", &version)];
    let answer = admin.step(&Method::POST, "/manage/settings", &fields).await;
    assert_eq!(answer.location(), "/id/account/login?return=%2Fmanage%2Fsettings&login_hint=admin");
    for (path, change) in CHANGES {
        let path = match path {
            "ALICE" => &alice,
            "FIRST" => &first,
            other => other,
        };
        let mut fields = vec![("csrf", csrf.as_str()), ("version", &alice_version)];
        fields.extend(change);
        let answer = admin.step(&Method::POST, path, &fields).await;
        assert_eq!(answer.status, 303, "{path} {change:?}: {}", answer.text());
        assert!(answer.location().starts_with("/id/account/login?return=%2Fmanage"), "{}", answer.location());
    }
    // Revoking needs no recent sign-in.
    let fields = [("csrf", csrf.as_str()), ("do", "end-sessions")];
    assert_eq!(admin.post(&alice, &fields).await.page(), "manage-user");
    assert!(server.operator().await.user_by_name("mallory").await.expect("no fault").is_err(), "nothing was done");

    let refused =
        admin.step(&Method::POST, "/manage/roles", &[("csrf", &csrf), ("do", "create"), ("name", "New")]).await;
    let again = admin.open(refused.location()).await;
    assert_eq!(again.page(), "sign-in", "although somebody is signed in");
    assert!(again.words("#notice").is_some_and(|notice| notice.contains("Nothing has been changed yet")));
    let back = admin.enter(&again).await;
    assert_eq!(back.page(), "manage-roles", "{}", back.text());
    assert_eq!(admin.jar["gatehouse"].split_once('.').map(|(sid, _)| sid.to_owned()), sid, "the same sign-in");
    assert!(back.attributes("#sign-in-again", "href").is_empty());
    let made = act(&mut admin, &back, "create", &[("name", "New"), ("read", "*")]).await;
    assert!(made.text().contains("New"), "{}", made.text());
    let found = server.audit().await.into_iter().filter(|row| row.reason == "sign_in_too_old").count();
    assert_eq!(found, CHANGES.len() + 2);
}

/// After the sign-in, the administrator returns to the page from which the form was sent.
#[tokio::test]
async fn an_old_sign_in_leads_back_to_the_page_that_the_form_was_on() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let csrf = admin.open("/manage/roles").await.form("csrf").field("csrf").expect("a token").to_owned();
    server.advance(Duration::from_secs(601));
    for (referer, back) in [
        ("http://localhost:8080/manage/roles?role=Sales", "%2Fmanage%2Froles%3Frole%3DSales"),
        ("http://localhost:8080/profile", "%2Fmanage%2Froles"),
        ("http://evil.example.com//x", "%2Fmanage%2Froles"),
        ("nonsense", "%2Fmanage%2Froles"),
    ] {
        let client = server.client();
        let ask = client.ask(&Method::POST, "/manage/roles").header("referer", referer);
        let cookie = format!("gatehouse={}", admin.jar["gatehouse"]);
        let fields = [("csrf", csrf.as_str()), ("do", "delete"), ("role", "Sales")];
        let answer = ask.header("cookie", &cookie).form(&fields).send().await;
        assert_eq!(answer.location(), format!("/id/account/login?return={back}&login_hint=admin"), "{referer}");
    }
}
