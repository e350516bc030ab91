//! Access to the admin API, and requests that cannot be parsed.

use std::time::Duration;

use acceptance::{TestServer, TokenAnswer};
use http::Method;
use serde_json::{Value, json};

use super::{AdminClient, NOBODY, ROOT, assert_created, assert_ok, assert_problem, every_operation};
use crate::FIRST;

#[tokio::test]
async fn an_administrator_works_without_a_session_and_without_a_seat() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let signed_in = server.manager().await.sign_in(&mut server.browser("admin"), "openid manage").await;
    let personal = AdminClient { token: signed_in.access, client: server.client() };
    for operator in [&operator, &personal] {
        let answer = operator.get("/applications").await;
        let list = assert_ok(&answer);
        assert_eq!(list["items"].as_array().map(Vec::len), Some(10));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let (seats, _) = server.operator().await.seats().await.expect("sessions can be read");
    assert_eq!(seats.used, 0);
    let trail = server.audit().await;
    let calls: Vec<_> = trail.iter().filter(|row| row.kind == "api-call").collect();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.application == "manager" && call.outcome == "done"), "{calls:?}");
}

#[tokio::test]
async fn who_is_no_administrator_is_refused_by_every_operation() {
    let server = TestServer::open().await;
    let system = json!({
        "ApplicationUri": "robot", "Name": "Robot", "ClientType": "Confidential", "Scope": "manage read",
        "SystemUserAllowed": true, "SystemUser": AdminClient::of(&server).await.get("/users?login=svc.reader").await
            .json()["items"][0]["id"],
    });
    let robot = server.register(system, Some("robot-secret")).await;
    let alice = server.manager().await.sign_in(&mut server.browser("alice"), "manage").await.access;
    let of_robot = TokenAnswer::read(&robot.service_token("manage").await).access;
    let without_scope = server.app(FIRST).sign_in(&mut server.browser("admin"), "openid read").await.access;
    let elsewhere = AdminClient::of_the_other(&server).await.token;
    let operations = every_operation(&server).await;
    assert!(operations.len() >= 15, "the document tells of everything");
    let client = server.client();
    for (method, path) in operations {
        let ask = || client.ask(&method, &format!("{ROOT}{path}")).header("if-match", "*");
        let what = format!("{method} {path}");
        for (token, status, kind) in [
            ("", 401, "unauthorized"),
            ("nonsense", 401, "unauthorized"),
            (elsewhere.as_str(), 401, "unauthorized"),
            (without_scope.as_str(), 401, "unauthorized"),
            (alice.as_str(), 403, "not-an-administrator"),
            (of_robot.as_str(), 403, "not-an-administrator"),
        ] {
            let asked = if token.is_empty() { ask() } else { ask().bearer(token) };
            let answer = asked.body("application/json", "{}").send().await;
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            assert_problem(&answer, status, kind);
            assert!(answer.header("www-authenticate").starts_with("Bearer realm="), "{what}");
        }
        let twice = ask().bearer(&alice).header("x-api-key", &alice).send().await;
        assert_eq!(twice.status, 400, "{what}: two credentials");
    }
}

/// A key is valid for every API of the instance, so only the scope separates the two APIs.
#[tokio::test]
async fn a_key_needs_the_scope_and_opens_nothing_else_with_it() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let (admin, _) = operator.user("admin").await;
    let record = json!({
        "ApplicationUri": "robot", "Name": "Robot", "ClientType": "Confidential", "Scope": "read manage",
        "SystemUserAllowed": true, "SystemUser": admin["/users/".len()..], "AccessTokens": "AdministratorsOnly",
    });
    let robot = operator.post("/applications", &record).await;
    let path = assert_created(&robot);
    let key = async |scope: &str| {
        let wish = json!({"application": "robot", "description": "nightly", "scope": scope});
        let value = assert_ok(&operator.post("/tokens", &wish).await)["value"].clone();
        AdminClient { client: server.client(), token: value.as_str().expect("shown once").to_owned() }
    };
    let (reads, manages) = (key("read").await, key("manage").await);
    let refused = reads.get("/seats").await;
    assert!(assert_problem(&refused, 403, "insufficient-scope").contains("manage"));
    assert!(refused.header("www-authenticate").contains("error=\"insufficient_scope\""));
    assert_ok(&manages.get("/seats").await);
    let ask = || operator.client.ask(&Method::GET, &format!("{ROOT}/seats"));
    assert_ok(&ask().header("x-api-key", &manages.token).send().await);
    assert_problem(&ask().header("api-key", "enrt_nonsense").send().await, 401, "unauthorized");
    assert_eq!(server.client().call_api(&manages.token).await.status, 403, "the data has scopes of its own");
    assert_eq!(server.client().call_api(&operator.token).await.status, 401, "and an audience");
    assert_ok(&operator.patch(&path, "*", &json!({"Scope": "read"})).await);
    assert_problem(&manages.get("/seats").await, 403, "insufficient-scope");
}

#[tokio::test]
async fn what_can_be_overwritten_is_not_changed_without_its_version() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let document = server.client().get(&format!("{ROOT}/openapi.json")).await.json();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let needs = operation["parameters"].as_array().into_iter().flatten().any(|one| one["name"] == "If-Match");
            if needs {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
                let path = path.replace("{id}", NOBODY).replace("{name}", "Sales");
                assert_problem(&operator.send(&method, &path, "", &json!({})).await, 428, "if-match-missing");
                asked += 1;
            }
        }
    }
    assert_eq!(asked, 6, "applications and roles by two methods, users and settings by one");
}

/// A user who is no longer an administrator is refused at the next call, whatever the token says.
#[tokio::test]
async fn who_loses_administration_loses_it_on_the_next_call() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let (alice, tag) = operator.user("alice").await;
    assert_ok(&operator.patch(&alice, &tag, &json!({"isAdmin": true})).await);
    let token = server.manager().await.sign_in(&mut server.browser("alice"), "manage").await.access;
    let of_alice = AdminClient { client: server.client(), token };
    assert_ok(&of_alice.get("/roles").await);
    assert_ok(&operator.patch(&alice, "*", &json!({"isAdmin": false})).await);
    assert_problem(&of_alice.get("/roles").await, 401, "unauthorized");
}

#[tokio::test]
async fn nothing_of_another_instance_is_found() {
    let server = TestServer::open().await;
    let (here, there) = (AdminClient::of(&server).await, AdminClient::of_the_other(&server).await);
    let (application, tag) = there.application(FIRST).await;
    let (user, tag_of_user) = there.user("alice").await;
    for (path, tag) in [(&application, &tag), (&user, &tag_of_user)] {
        assert_problem(&here.get(path).await, 404, "not-found");
        for if_match in [tag.as_str(), "*"] {
            assert_problem(&here.patch(path, if_match, &json!({})).await, 404, "not-found");
        }
    }
    let secret = json!({"label": "mine"});
    assert_problem(&here.post(&format!("{application}/secrets"), &secret).await, 404, "not-found");
    let theirs = there.get(&application).await.json()["secrets"][0]["id"].as_str().expect("an id").to_owned();
    assert_problem(&here.delete(&format!("{application}/secrets/{theirs}"), "").await, 404, "not-found");
    let (own, _) = here.application(FIRST).await;
    assert_problem(&here.delete(&format!("{own}/secrets/{theirs}"), "").await, 404, "not-found");
    assert_problem(&here.delete(&format!("{user}/second-factor"), "").await, 404, "not-found");
    for links in ["invitations", "reset-links"] {
        assert_problem(&here.post(&format!("{user}/{links}"), &Value::Null).await, 404, "not-found");
    }
    assert_problem(&here.get(&format!("{user}/consents")).await, 404, "not-found");
    let consent = format!("{user}/consents/{}", &application["/applications/".len()..]);
    assert_problem(&here.delete(&consent, "").await, 404, "not-found");
    let password = json!({"password": "long-enough-1"});
    assert_problem(&here.put(&format!("{user}/password"), "", &password).await, 404, "not-found");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_name() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    for (query, named) in [
        ("limit=0", "limit: must be a whole number from 1 to 200"),
        ("limit=201", "limit: must be"),
        ("limit=ten", "limit: must be"),
        ("limit=", "limit: must be"),
        ("limit=-1", "limit: must be"),
        ("limit=2&limit=2", "limit"),
        ("order=name", "order"),
        ("cursor=%21", "cursor: send"),
        ("uri=a%00b", "uri"),
    ] {
        let detail = assert_problem(&operator.get(&format!("/applications?{query}")).await, 400, "malformed");
        assert!(detail.contains(named), "{query}: {detail}");
    }
    for (query, named) in [
        ("users?limit=abc", "limit: "),
        ("roles?limit=abc", "limit: "),
        ("sessions?limit=1.5", "limit: "),
        ("tokens?limit=abc", "limit: "),
        ("tokens?application=abc", "application: "),
        ("tokens?user=abc", "user: "),
        ("audit?limit=abc", "limit: "),
        ("audit?cursor=abc", "cursor: "),
        ("audit?since=yesterday", "since: "),
        ("audit?until=now", "until: "),
        ("audit?kind=abc", "kind: "),
        ("audit?outcome=abc", "outcome: "),
        ("audit?user=abc", "user: "),
        ("audit/export?format=pdf", "format: "),
        ("audit/export?since=1", "since: "),
        ("keys/replacement", "algorithm"),
        ("keys/replacement?algorithm=none", "algorithm: "),
    ] {
        let answer = operator.get(&format!("/{query}")).await;
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status.is_client_error() && detail.contains(named), "{query}: {} {detail}", answer.status);
    }
    for (body, status, kind, named) in [
        ("", 400, "malformed", "EOF"),
        ("[", 400, "malformed", "EOF"),
        ("[]", 422, "invalid", "expected struct"),
        (r#"{"name":"A","permissions":{"read":[],"update":[]},"colour":1}"#, 422, "invalid", "colour"),
        (r#"{"name":"A","permissions":{"read":[]}}"#, 422, "invalid", "update"),
        (r#"{"name":"A\u0000","permissions":{"read":[],"update":[]}}"#, 422, "invalid", "U+0000"),
        (r#"{"name":7,"permissions":{"read":[],"update":[]}}"#, 422, "invalid", "name: invalid type"),
        (r#"{"name":"A","permissions":{"read":[1],"update":[]}}"#, 422, "invalid", "permissions.read[0]: invalid type"),
        (r#"{"name":"A","permissions":{"read":["a b"],"update":[]}}"#, 422, "invalid", "a b"),
        (r#"{"name":" A","permissions":{"read":[],"update":[]}}"#, 422, "invalid", "name"),
        (r#"{"name":"Sales","permissions":{"read":[],"update":[]}}"#, 409, "taken", "Sales"),
    ] {
        let ask = operator.client.ask(&Method::POST, &format!("{ROOT}/roles")).bearer(&operator.token);
        let detail = assert_problem(&ask.body("application/json; charset=utf-8", body).send().await, status, kind);
        assert!(detail.contains(named), "{body}: {detail}");
    }
    let ask = |kind: &str, body: Vec<u8>| {
        operator.client.ask(&Method::POST, &format!("{ROOT}/roles")).bearer(&operator.token).body(kind, body).send()
    };
    assert_problem(&ask("text/plain", b"{}".to_vec()).await, 415, "not-json");
    assert_problem(&ask("application/json", vec![0xff]).await, 400, "malformed");
    assert_problem(&ask("application/json", vec![b' '; 256 * 1024 + 1]).await, 413, "too-large");
    assert_problem(&operator.get("/applications/1").await, 404, "not-found");
    assert_problem(&operator.get("/nothing").await, 404, "not-found");
    let wrong = operator.send(&Method::DELETE, "/users", "", &Value::Null).await;
    assert_problem(&wrong, 405, "method-not-allowed");
    assert_eq!(wrong.header("allow"), "GET, POST");
}

#[tokio::test]
async fn the_document_is_for_everybody_to_read_as_json_and_as_a_page() {
    let server = TestServer::open().await;
    let client = server.client();
    let answer = client.get(&format!("{ROOT}/openapi.json")).await;
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let text = answer.text();
    for (_, path) in
        text.match_indices("\"$ref\":\"#/components/schemas/").map(|(at, found)| (at, &text[at + found.len()..]))
    {
        let name = path.split('"').next().expect("quoted");
        assert!(document["components"]["schemas"].get(name).is_some(), "{name} is described");
    }
    let tag = answer.header("etag").to_owned();
    let again = client.ask(&Method::GET, &format!("{ROOT}/openapi.json")).header("if-none-match", &tag).send().await;
    assert_eq!(again.status, 304);
    let page = client.get(ROOT).await;
    assert_eq!(page.page(), "admin-api");
    for methods in document["paths"].as_object().expect("paths").values() {
        for operation in methods.as_object().expect("methods").values() {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(page.words(&format!("#{id}")).is_some(), "{id} is on the page");
        }
    }
}

/// RFC 9470: a user's token allows destructive changes for ten minutes after the sign-in. Reading and revoking are
/// always allowed. Credentials of services have no sign-in.
#[tokio::test]
async fn changes_of_weight_ask_for_a_recent_sign_in() {
    let server = TestServer::open().await;
    let manager = server.manager().await;
    let mut browser = server.browser("admin");
    let tokens = manager.sign_in(&mut browser, "openid manage offline_access").await;
    let fresh = AdminClient { token: tokens.access.clone(), client: server.client() };
    let role = json!({ "name": "Auditor", "permissions": { "read": ["*"], "update": [] } });
    assert_created(&fresh.post("/roles", &role).await);
    server.advance(Duration::from_secs(601));
    let refreshed = TokenAnswer::read(&manager.refresh(tokens.refresh()).await).access;
    let robot = AdminClient::of(&server).await;
    let document = server.client().get(&format!("{ROOT}/openapi.json")).await.json();
    let mut asked = 0;
    for (method, path) in every_operation(&server).await {
        let what = format!("{method} {path}");
        for token in [&tokens.access, &refreshed] {
            let operator = AdminClient { token: token.clone(), client: server.client() };
            let answer = operator.send(&method, &path, "*", &json!({})).await;
            let is_told = is_told_to_ask(&document, &method, &path);
            assert_eq!(answer.status == 401, is_told, "{what}: {}", answer.text());
            if is_told {
                let detail = assert_problem(&answer, 401, "insufficient-user-authentication");
                assert!(detail.contains("max_age=600"), "{detail}");
                let challenge = answer.header("www-authenticate");
                assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
                assert!(challenge.ends_with("max_age=\"600\""), "{challenge}");
                asked += 1;
            }
        }
        assert_ne!(robot.send(&method, &path, "*", &json!({})).await.status, 401, "{what}: no sign-in is behind it");
    }
    assert_eq!(asked, 2 * 18, "secrets, keys, roles, users, applications, settings, new tokens");
    let anew = manager.sign_in(&mut browser, "openid manage").await;
    let still_old = AdminClient { token: anew.access, client: server.client() };
    assert_eq!(still_old.post("/roles", &role).await.status, 401, "a token of the old sign-in");
    let asks = manager.asks("openid manage").with("max_age", "600");
    let code = browser.authorize(&asks).await.callback()["code"].clone();
    let stepped_up =
        AdminClient { token: TokenAnswer::read(&manager.redeem(&code).await).access, client: server.client() };
    assert_eq!(stepped_up.post("/roles", &role).await.status, 409, "let in again");
    let refused = server.audit().await.into_iter().filter(|row| row.reason == "sign_in_too_old").count();
    assert_eq!(refused, asked + 1);
}

/// Whether the document says that the operation requires a recent sign-in.
fn is_told_to_ask(document: &Value, method: &Method, path: &str) -> bool {
    let fits = |pattern: &str| {
        let parts = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let (pattern, path) = (parts(pattern), parts(path));
        pattern.len() == path.len()
            && pattern.iter().zip(&path).all(|(known, sent)| known.starts_with('{') || known == sent)
    };
    let paths = document["paths"].as_object().expect("paths");
    let (_, methods) = paths.iter().find(|(pattern, _)| fits(pattern)).expect("the path is told");
    methods[method.as_str().to_ascii_lowercase()]["responses"]["401"].is_object()
}
