//! Every action has an audit event, and no event contains a secret.

use acceptance::{App, AuditRow, Browser, TestServer, TokenAnswer, VERIFIER, on_both};
use http::Method;

use crate::{FIRST, NATIVE, READER, SERVICE};

on_both! {
    every_step_of_the_main_job_leaves_its_event
}

fn kinds(trail: &[AuditRow]) -> Vec<String> {
    let kind_of = |row: &AuditRow| {
        let refused = if row.outcome == "refused" { "!" } else { "" };
        format!(
            "{refused}{}{}",
            row.kind,
            if row.reason.is_empty() { String::new() } else { format!(" {}", row.reason) }
        )
    };
    trail.iter().filter(|row| row.kind != "admin-change" && row.kind != "key-rotated").map(kind_of).collect()
}

async fn every_step_of_the_main_job_leaves_its_event(server: TestServer) {
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let second = std::time::Duration::from_secs(1);
    let page = alice.open(&app.asks("openid read offline_access").path()).await;
    let page = alice.enter(&page).await;
    server.advance(second);
    let code = alice.allow(&page).await.callback()["code"].clone();
    server.advance(second);
    let tokens = TokenAnswer::read(&app.redeem(&code).await);
    server.advance(second);
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    server.advance(second);
    TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    server.advance(second);
    TokenAnswer::read(&server.app(SERVICE).service_token("").await);
    server.advance(second);
    let asked = format!("/id/connect/endsession?id_token_hint={}", tokens.id());
    assert_eq!(alice.open(&asked).await.page(), "signed-out");
    server.advance(second);
    assert_eq!(app.client.call_api(&tokens.access).await.status, 401);
    assert_eq!(app.client.user_info(&tokens.access).await.status, 401);

    let trail = server.audit().await;
    let mut found = kinds(&trail);
    // Events with the same time have no order.
    found[1..3].sort();
    found[4..6].sort();
    found[8..10].sort();
    found[10..].sort();
    let expected = [
        "sign-in",
        "code-issued",
        "consent",
        "code-redeemed",
        "api-call",
        "session-opened",
        "token-refreshed",
        "token-issued",
        "session-closed sign_out",
        "sign-out",
        "!api-call token_ended",
        "!user-info token_ended",
    ];
    assert_eq!(found, expected);
    let row = |kind: &str| trail.iter().find(|row| row.kind == kind).expect("just seen");
    let alice = row("sign-in").user.clone();
    assert!(!alice.is_empty());
    for kind in ["consent", "code-issued", "code-redeemed", "api-call", "session-opened", "token-refreshed"] {
        assert_eq!((row(kind).user.as_str(), row(kind).application.as_str()), (alice.as_str(), FIRST), "{kind}");
        assert!(!row(kind).session.is_empty(), "{kind}");
        assert!(row(kind).columns.iter().any(|column| column == "192.0.2.1"), "{kind}: from where");
    }
    assert_eq!(row("code-issued").token, row("code-redeemed").token, "what belongs together is found together");
    assert_eq!(row("sign-in").session, row("sign-out").session);
    let call = row("api-call").columns.last().expect("a detail");
    assert!(call.contains("\"method\":\"GET\"") && call.contains("\"status\":200"), "{call}");
    assert!(call.contains("/api/domain/odata/Crm_Customers\"") && !call.contains("$top"), "no query: {call}");
}

#[tokio::test]
async fn every_refusal_is_told_with_its_exact_cause() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let usual = app.asks("read");
    for asked in [
        usual.clone().without("client_id"),
        usual.clone().with("client_id", "nobody"),
        usual.clone().with("client_id", "my.trusted.app/off"),
        usual.clone().with("redirect_uri", "https://evil.example/"),
        usual.clone().with("scope", "sec"),
        usual.clone().with("response_type", "token"),
        usual.clone().with("code_challenge_method", "plain"),
        usual.clone().with("prompt", "none"),
        server.app(NATIVE).asks("read").without("code_challenge").without("code_challenge_method"),
    ] {
        alice.open(&asked.path()).await;
    }
    let client = server.client();
    client.get("/id/connect/authorize?state=%FF").await;
    client.post("/id/connect/token", &[("grant_type", "password"), ("client_id", FIRST)]).await;
    client.ask(&Method::POST, "/id/connect/token").body("application/json", "{}").send().await;
    let code = app.code(&mut alice, "read offline_access").await;
    app.redeem_with(&code, &[("redirect_uri", "x")]).await;
    app.redeem_with(&code, &[("code_verifier", "")]).await;
    app.redeem_with(&code, &[("code_verifier", &"a".repeat(43))]).await;
    app.redeem("x").await;
    app.refresh("x").await;
    let tokens = TokenAnswer::read(&app.redeem(&code).await);
    app.refresh_with(tokens.refresh(), "sec").await;
    app.service_token("").await;
    server.app(READER).service_token("update").await;
    client.call_api("x").await;
    client.get("/api/domain/odata/Crm_Customers").await;
    client.user_info("x").await;

    let trail = server.audit().await;
    let mut refused: Vec<String> =
        trail.iter().filter(|row| row.outcome == "refused").map(|row| format!("{} {}", row.kind, row.reason)).collect();
    refused.sort();
    let mut expected = [
        "authorize malformed_target",
        "authorize unknown_application",
        "authorize application_disabled",
        "authorize redirect_uri_not_registered",
        "authorize scope_not_registered",
        "authorize malformed_request",
        "authorize pkce_refused",
        "authorize login_required",
        "authorize pkce_required",
        "authorize malformed_request",
        "token-refused malformed_request",
        "token-refused malformed_request",
        "token-refused redirect_uri_differs",
        "token-refused verifier_missing",
        "token-refused verifier_wrong",
        "token-refused code_unknown",
        "token-refused refresh_token_unknown",
        "token-refused scope_widened",
        "token-refused service_not_allowed",
        "token-refused scope_not_registered",
        "api-call token_malformed",
        "api-call no_credential",
        "user-info token_malformed",
    ];
    expected.sort_unstable();
    assert_eq!(refused, expected);
    assert!(
        trail
            .iter()
            .filter(|row| row.outcome == "done")
            .all(|row| row.reason.is_empty() || row.kind == "session-closed")
    );
}

#[tokio::test]
async fn what_administrators_change_is_told_with_who_did_it() {
    let server = TestServer::open().await;
    server.enable_app(FIRST, false).await;
    server.enable_user("alice", false).await;
    server.set_password("bob", "a new password of bob").await;
    let trail = server.audit().await;
    for (what, subject) in [("disable-application", FIRST), ("disable-user", "alice"), ("set-password", "bob")] {
        let row = trail.iter().find(|row| row.columns.last().is_some_and(|detail| detail.contains(what)));
        let row = row.unwrap_or_else(|| panic!("{what} is told"));
        assert_eq!(row.kind, "admin-change");
        assert!(row.columns.iter().any(|column| column.contains(subject)), "{row:?}");
        assert!(row.columns.iter().any(|column| column == "operator"), "by whom");
    }
}

/// Every secret used in these requests.
async fn secrets_of_a_busy_day(server: &TestServer) -> Vec<String> {
    let mut secrets: Vec<String> =
        ["first-secret", "service-secret", "ecila-Demo1", "a wrong password", "wrong-secret"]
            .map(str::to_owned)
            .to_vec();
    secrets.push(VERIFIER.to_owned());
    let keep = |secrets: &mut Vec<String>, tokens: &TokenAnswer| {
        secrets.push(tokens.access.clone());
        secrets.extend(tokens.access.split('.').skip(1).map(str::to_owned));
        secrets.extend(tokens.id.iter().flat_map(|token| token.split('.').skip(1)).map(str::to_owned));
        secrets.extend(tokens.refresh.iter().cloned());
        secrets.extend(tokens.refresh.iter().filter_map(|token| token.rsplit('.').next()).map(str::to_owned));
    };
    for uri in [FIRST, NATIVE] {
        let (app, mut alice) = (server.app(uri), server.browser("alice"));
        let mut mistyped = Browser { password: "a wrong password".to_owned(), ..server.browser("alice") };
        mistyped.sign_in().await;
        // The most common mistake: the password typed into the login field.
        let mut misplaced = server.browser("ecila-Demo1");
        misplaced.sign_in().await;
        let code = app.code(&mut alice, "openid read offline_access").await;
        app.with_secret(Some("wrong-secret")).redeem(&code).await;
        app.redeem_with(&code, &[("redirect_uri", "https://evil.example/")]).await;
        let tokens = TokenAnswer::read(&app.redeem(&code).await);
        keep(&mut secrets, &tokens);
        app.client.call_api(&tokens.access).await;
        app.client.get(&format!("/api/domain/odata/Crm_Customers?access_token={}", tokens.access)).await;
        app.client.user_info(&tokens.access).await;
        app.client.user_info(&format!("{}x", tokens.access)).await;
        app.refresh_with(tokens.refresh(), "sec").await;
        let next = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
        keep(&mut secrets, &next);
        let last = TokenAnswer::read(&app.refresh(next.refresh()).await);
        keep(&mut secrets, &last);
        app.refresh(tokens.refresh()).await;
        app.redeem(&code).await;
        secrets.push(code);
        secrets.extend(alice.jar.values().filter_map(|value| value.rsplit('.').next()).map(str::to_owned));
        let page = alice.open("/id/connect/endsession").await;
        secrets.extend(page.form("csrf").field("csrf").map(str::to_owned));
        alice.submit(&page, "csrf", &[]).await;
    }
    keep(&mut secrets, &TokenAnswer::read(&server.app(SERVICE).service_token("").await));
    App { uri: "nobody".to_owned(), ..server.app(SERVICE) }.service_token("").await;
    secrets
}

#[tokio::test]
async fn no_secret_is_ever_written_into_the_audit() {
    let server = TestServer::open().await;
    let secrets = secrets_of_a_busy_day(&server).await;
    assert!(secrets.len() > 30 && secrets.iter().all(|secret| secret.len() >= 11), "{}", secrets.len());
    let mut rng = server.rng();
    let added = server.operator().await.add_secret(SERVICE, ("second", None), &mut server.moment(&mut rng)).await;
    let added = added.expect("the database answers").expect("it is Confidential").expose().to_owned();
    let trail = server.audit().await;
    assert!(trail.len() > 40, "{}", trail.len());
    for row in &trail {
        for column in &row.columns {
            for secret in secrets.iter().chain([&added]) {
                assert!(!column.contains(secret.as_str()), "{} {}: {column}", row.kind, row.reason);
            }
        }
    }
}
