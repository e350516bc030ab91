//! Error pages, and the reference that leads an administrator to the cause.

use acceptance::TestServer;
use http::Method;

use crate::{FIRST, assert_error_page};

#[tokio::test]
async fn an_error_page_says_what_to_do_and_gives_a_reference_that_the_audit_knows() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    let uri = "http://localhost:3000/signin-Callback";
    let answer = server.client().get(&app.asks("read").with("redirect_uri", uri).path()).await;
    assert_error_page(&answer, 400, "invalid_request");
    let reference = answer.words("#reference").expect("a reference");
    assert_eq!(reference, answer.header("x-request-id"));
    assert!(!answer.text().contains("signin-Callback"), "what was sent is for the administrator");
    let trail = server.audit().await;
    let row = trail.iter().find(|row| row.columns.contains(&reference)).expect("the audit knows the reference");
    assert_eq!((row.kind.as_str(), row.outcome.as_str()), ("authorize", "refused"));
    assert_eq!((row.reason.as_str(), row.application.as_str()), ("redirect_uri_not_registered", FIRST));
    let detail = row.columns.last().expect("a detail");
    let detail: serde_json::Value = serde_json::from_str(detail).expect("JSON");
    assert_eq!(detail["sent"], serde_json::json!([{ "name": "redirect_uri", "value": uri }]));
    let registered = detail["expected"].as_array().expect("a list");
    let nearest = registered.iter().find(|one| one["value"] == app.redirect_uri).expect("it is listed");
    assert_eq!(nearest["differs_at"], 29, "where the two part: {detail}");
}

#[tokio::test]
async fn every_answer_has_its_own_request_id() {
    let server = TestServer::open().await;
    let mut ids = Vec::new();
    for path in
        ["/", "/id/account/login", "/id/connect/token", "/nothing", "/api/domain/odata/Crm_Customers", "/healthz"]
    {
        for _ in 0..2 {
            let id = server.client().get(path).await.header("x-request-id").to_owned();
            assert_eq!(id.len(), 32, "{path}");
            ids.push(id);
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn a_page_that_does_not_exist_says_so() {
    let server = TestServer::open().await;
    for path in [
        "/nothing",
        "/id/nothing",
        "/id/connect",
        "/id/account/nothing",
        "/profile/nothing",
        "/../etc/passwd",
        "/%2e%2e",
    ] {
        assert_error_page(&server.client().get(path).await, 404, "not_found");
    }
}

#[tokio::test]
async fn a_form_that_cannot_be_read_is_a_page_to_a_person() {
    let server = TestServer::open().await;
    let client = server.client();
    for path in ["/id/connect/authorize", "/id/account/login", "/id/connect/endsession"] {
        for (content_type, body) in [
            ("application/json", "{}".to_owned()),
            ("multipart/form-data; boundary=x", String::new()),
            ("application/x-www-form-urlencoded", "login=%FF".to_owned()),
            ("application/x-www-form-urlencoded", "x".repeat(40 * 1024)),
        ] {
            let answer = client.ask(&Method::POST, path).body(content_type, body).send().await;
            assert_error_page(&answer, 400, "invalid_request");
        }
    }
    assert_error_page(&client.get("/id/account/login?x=%zz").await, 400, "invalid_request");
    assert_error_page(&client.get("/id/connect/endsession?x=%FF").await, 400, "invalid_request");
    assert_error_page(&client.get("/id/account/consent").await, 403, "invalid_request");
    assert_error_page(&client.get("/id/account/set-up?code=x").await, 410, "invalid_request");
}

#[tokio::test]
async fn the_sign_in_page_of_a_bad_request_is_the_error_page() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    let bad = app.asks("read").with("redirect_uri", "https://evil.example/");
    let mut alice = server.browser("alice");
    let answer = alice.open(&format!("/id/account/login?{}", bad.query())).await;
    assert_error_page(&answer, 400, "invalid_request");
    let good = alice.open(&app.asks("read").path()).await;
    let disabled = good.form("password");
    server.enable_app(FIRST, false).await;
    let csrf = disabled.field("csrf").expect("forms have it").to_owned();
    let fields = [("login", "alice"), ("password", "ecila-Demo1"), ("csrf", &csrf)];
    let answer = alice.post(&disabled.action, &fields).await;
    assert_error_page(&answer, 400, "unauthorized_client");
    assert!(!alice.jar.contains_key("gatehouse"), "nobody was signed in for it");
}

/// The audit and machine-readable answers are in English; a page is in the user's language.
#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_in_the_language_of_the_page() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    let client = server.client();
    let get = |path: String| (Method::GET, path, String::new());
    let asked = [
        (get("/id/connect/authorize?state=%FF".to_owned()), "der Parameter state ist kein gültiges UTF-8"),
        (get("/id/connect/authorize?%22=%".to_owned()), "ein Parameter ist nicht richtig prozentkodiert"),
        (get(format!("/id/connect/authorize?x={}", "x".repeat(8193))), "der Parameter x ist zu lang"),
        (get(format!("/id/connect/authorize?{}", "a=1&".repeat(65))), "die Anfrage hat zu viele Parameter"),
        (get(app.asks("read").without("client_id").path()), "der Parameter client_id fehlt"),
        (get(app.asks("read").without("redirect_uri").path()), "der Parameter redirect_uri fehlt"),
        (get(app.asks("read").with("client_id", "é").path()), "der Parameter client_id ist fehlerhaft"),
        (get(app.asks("read").and("client_id", "x").path()), "client_id darf nicht mehrfach vorkommen"),
        (get("/id/connect/endsession?state=%".to_owned()), "state ist nicht richtig prozentkodiert"),
        (get("/id/account/login?return=%FF".to_owned()), "return ist kein gültiges UTF-8"),
        ((Method::POST, "/id/account/login".to_owned(), "csrf=%".to_owned()), "csrf ist nicht richtig prozentkodiert"),
        ((Method::POST, "/id/account/login".to_owned(), "x".repeat(32 * 1024 + 1)), "die Anfrage ist zu groß"),
        ((Method::POST, "/id/account/forgotten".to_owned(), "csrf=%FF".to_owned()), "csrf ist kein gültiges UTF-8"),
    ];
    for ((method, path, body), german) in asked {
        for (language, expected) in [("de", german), ("bg", ""), ("en", "")] {
            let ask = client.ask(&method, &path).header("accept-language", language);
            let ask =
                if method == Method::POST { ask.body("application/x-www-form-urlencoded", body.clone()) } else { ask };
            let answer = ask.send().await;
            assert_error_page(&answer, 400, "invalid_request");
            assert!(answer.text().contains(&format!("<html lang=\"{language}\"")), "{path:.80} {language}");
            let message = answer.words("[role=alert]").expect("a message");
            assert!(message.contains(expected), "{path:.80} {language}: {message}");
            let english = [" is ", " the ", "parameter ", "must"].iter().any(|word| message.contains(word));
            assert_eq!(english, language == "en", "{path:.80} {language}: {message}");
        }
    }
}

/// The manager's texts and the messages of the records' checks are English, so the whole page is.
#[tokio::test]
async fn the_manager_is_english_throughout_for_every_browser() {
    let server = TestServer::open().await;
    let mut admin = server.browser("admin");
    admin.sign_in().await;
    let page = admin.open("/profile/language").await;
    let german = admin.submit(&page, "language", &[("language", "de")]).await;
    assert!(german.text().contains("<html lang=\"de\""), "theirs is German elsewhere");
    for path in ["/manage/apps/new?kind=spa", "/manage/users", "/manage/refusals?reference=x", "/manage/apps/install"] {
        let page = admin.open(path).await;
        assert!(page.text().contains("<html lang=\"en\""), "{path}");
        let text = page.words("body").expect("a page");
        for german in ["Abmelden", "Anmelden", "geschützt", "Referenz", "Anwendung", " und ", " der "] {
            assert!(!text.contains(german), "{path}: {german}: {text}");
        }
    }
    let form = admin.open("/manage/apps/new?kind=spa").await;
    let refused = admin.submit(&form, "uri", &[("uri", "x"), ("name", " ")]).await;
    assert!(refused.text().contains("<html lang=\"en\"") && refused.text().contains("Name: must be 1 to 200"));
}
