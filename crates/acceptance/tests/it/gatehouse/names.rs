//! Names and labels are one visible line, wherever they are written.

use acceptance::TestServer;
use http::Method;
use serde_json::{Value, json};

use crate::{FIRST, SERVICE};

/// Each resembles `Payroll`, reverses the text after it, or controls a terminal.
const DECEPTIVE: [&str; 9] = [
    "Pay\u{202e}llor",
    "\u{2066}Payroll\u{2069}",
    "Pay\u{200b}roll",
    "Pay\u{200d}roll",
    "Payroll\u{feff}",
    "Pay\u{ad}roll",
    "Pay\u{2028}roll",
    "Pay\u{1b}[2Jroll",
    "Pay\nroll",
];

async fn send(server: &TestServer, token: &str, (method, path): (&Method, &str), body: &Value) -> (u16, String) {
    let client = server.client();
    let ask = client.ask(method, &format!("/manage/api/v1{path}")).bearer(token).header("if-match", "*");
    let answer = ask.body("application/json", body.to_string()).send().await;
    (answer.status.as_u16(), answer.text().to_owned())
}

#[tokio::test]
async fn the_admin_api_takes_no_deceptive_name() {
    let server = TestServer::open().await;
    let token = acceptance::TokenAnswer::read(&server.manager().await.service_token("manage").await).access;
    let operator = server.operator().await;
    let id_of = async |uri: &str| operator.application(uri).await.expect("no fault").expect("there").id;
    let (first, service) = (id_of(FIRST).await, id_of(SERVICE).await);
    let alice = operator.user_by_name("alice").await.expect("no fault").expect("there").user.id;
    let application = |name: &str| json!({ "ApplicationUri": "fresh", "Name": name, "ClientType": "None" });
    let user = |name: &str| json!({ "login": "fresh", "userType": "InternalUser", "name": name });
    let role = |name: &str| json!({ "name": name, "permissions": { "read": [], "update": [] } });
    let issue = |name: &str| json!({ "application": SERVICE, "description": name, "scope": "read" });
    for name in DECEPTIVE {
        for ((method, path), body) in [
            ((&Method::POST, "/applications".to_owned()), application(name)),
            ((&Method::PATCH, format!("/applications/{first}")), json!({ "Name": name })),
            ((&Method::POST, format!("/applications/{service}/secrets")), json!({ "label": name })),
            ((&Method::POST, "/users".to_owned()), user(name)),
            ((&Method::PATCH, format!("/users/{alice}")), json!({ "name": name })),
            ((&Method::POST, "/roles".to_owned()), role(name)),
            ((&Method::POST, "/tokens".to_owned()), issue(name)),
        ] {
            let (status, text) = send(&server, &token, (method, &path), &body).await;
            assert_eq!(status, 422, "{method} {path} {name:?}: {text}");
            assert!(text.contains("characters"), "{method} {path} {name:?}: {text}");
        }
    }
    for (path, body) in [
        ("/applications", application("Payroll Ünïcode \u{1f469}\u{200d}\u{1f4bb}")),
        ("/users", user("علی\u{200c}رضا")),
        ("/roles", role("Счетоводство")),
    ] {
        let (status, text) = send(&server, &token, (&Method::POST, path), &body).await;
        assert_eq!(status, 201, "{path}: {text}");
    }
}

#[tokio::test]
async fn pages_take_no_deceptive_name() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let mut admin = server.browser("admin");
    admin.sign_in().await;
    let list = alice.open("/profile/tokens").await;
    let token_form = alice.open(&list.attributes(".sites a", "href")[0]).await;
    for name in DECEPTIVE {
        let wish = [("description", name), ("scope", "read"), ("expires", "7")];
        let refused = alice.submit(&token_form, "description", &wish).await;
        assert_eq!(refused.page(), "profile-token-new", "{name:?}");
        assert!(refused.words("[role=alert]").expect("a reason").contains("visible characters"), "{name:?}");
        for (path, field, entered) in [
            ("/manage/apps/new?kind=spa", "uri", vec![("uri", "fresh"), ("name", name)]),
            ("/manage/users/new", "login", vec![("login", "fresh"), ("name", name)]),
            ("/manage/roles", "read", vec![("name", name), ("read", "Crm_*")]),
        ] {
            let page = admin.open(path).await;
            let refused = admin.submit(&page, field, &entered).await;
            let why = refused.words("[role=alert]").unwrap_or_default();
            assert_eq!((refused.status.as_u16(), why.contains("characters")), (422, true), "{path} {name:?}: {why}");
        }
    }
}

#[tokio::test]
async fn an_old_name_stops_nothing_and_misleads_nobody() {
    let server = TestServer::open().await;
    let mut old = server.operator().await.application(FIRST).await.expect("no fault").expect("there");
    "Pay\u{202e}roll\u{200b}".clone_into(&mut old.name);
    let store = server.store().await;
    let done = store.commit(store::Batch::new().with(store.update_application(&old, false))).await.expect("no fault");
    assert_eq!(done, store::CommitOutcome::Committed);
    drop(store);
    let server = server.restarted().await;
    let mut alice = server.browser("alice");
    let page = alice.open(&server.app(FIRST).asks("read").path()).await;
    let consent = alice.enter(&page).await;
    assert_eq!(consent.page(), "consent", "{}", consent.text());
    assert!(consent.text().contains("Payroll") && !consent.text().contains('\u{202e}'));
}
