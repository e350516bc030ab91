//! "Why was this refused?": the reference in every refusal leads to the failed check and to the values sent and
//! expected, never to a secret.

use std::time::Duration;

use acceptance::{HttpAnswer, TestServer, TokenAnswer, change_setting, on_both};
use flows::admin::tokens::{IssuedToken, TokenDraft};
use http::Method;
use model::reference_token::{NewTokenRequest, ReferenceTokenKind};
use oauth::scope::Scope;
use serde_json::{Value, json};

use crate::{FIRST, NATIVE, OFF, PORTAL, READER, SERVICE};

on_both! {
    a_wrong_verifier_is_told_by_the_challenge_it_would_match
}

/// The refusal behind an answer's reference.
async fn why(server: &TestServer, answer: &HttpAnswer) -> Value {
    server.tick().await;
    let reference = answer.header("x-request-id");
    let events = server.operator().await.why(reference, server.now()).await.expect("no fault");
    let events = events.unwrap_or_else(|refusal| panic!("{refusal}: {answer:?}"));
    let event = events.iter().rfind(|event| event.outcome == "refused").unwrap_or_else(|| panic!("{events:?}"));
    let mut explanation: Value = serde_json::from_str(event.detail.as_deref().expect("details")).expect("JSON");
    for member in ["check", "rule"] {
        assert!(explanation[member].as_str().is_some_and(|text| !text.is_empty()), "{}: {explanation}", event.reason);
    }
    explanation["cause"] = json!(event.reason);
    explanation["application"] = json!(event.application);
    explanation
}

fn fact<'a>(explanation: &'a Value, side: &str, name: &str) -> &'a str {
    let facts = explanation[side].as_array().unwrap_or_else(|| panic!("nothing {side}: {explanation}"));
    let found = facts.iter().find(|fact| fact["name"] == name).unwrap_or_else(|| panic!("no {name}: {explanation}"));
    found["value"].as_str().expect("a text")
}

async fn a_wrong_verifier_is_told_by_the_challenge_it_would_match(server: TestServer) {
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let code = app.code(&mut alice, "read").await;
    let wrong = "a".repeat(43);
    let explanation = why(&server, &app.redeem_with(&code, &[("code_verifier", &wrong)]).await).await;
    assert_eq!((&explanation["cause"], &explanation["rule"]), (&json!("verifier_wrong"), &json!("RFC 7636 §4.6")));
    assert_eq!(fact(&explanation, "sent", "code_challenge"), "ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA");
    assert_eq!(fact(&explanation, "expected", "code_challenge"), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    assert_eq!(explanation["expected"][0]["differs_at"], 0);
    assert!(!explanation.to_string().contains(&wrong), "{explanation}");
}

#[tokio::test]
async fn the_authorization_endpoint_says_what_was_asked_and_what_is_registered() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let usual = app.asks("read");
    let ask =
        async |asked: acceptance::AuthorizationParams| why(&server, &server.client().get(&asked.path()).await).await;
    for (asked, cause, side, name, value) in [
        (usual.clone().without("client_id"), "malformed_target", "sent", "problem", "client_id is missing"),
        (
            usual.clone().with("redirect_uri", "https://x/"),
            "redirect_uri_not_registered",
            "sent",
            "redirect_uri",
            "https://x/",
        ),
        (usual.clone().with("response_type", "none"), "malformed_request", "sent", "response_type", "none"),
        (
            usual.clone().with("code_challenge_method", "plain"),
            "pkce_refused",
            "sent",
            "code_challenge_method",
            "plain",
        ),
        (usual.clone().with("scope", "sec"), "scope_not_registered", "sent", "scope", "sec"),
        (usual.clone().with("prompt", "none"), "login_required", "expected", "signed in", "somebody"),
        (
            server.app(PORTAL).asks("read").with("scope", "nonsense"),
            "scope_not_registered",
            "sent",
            "scope",
            "nonsense",
        ),
    ] {
        let explanation = ask(asked).await;
        assert_eq!(explanation["cause"], cause, "{explanation}");
        assert_eq!(fact(&explanation, side, name), value, "{explanation}");
    }
    let unknown = ask(usual.clone().with("client_id", "nobody")).await;
    assert_eq!((&unknown["cause"], &unknown["application"]), (&json!("unknown_application"), &json!("nobody")));
    assert_eq!(
        ask(server.app(OFF).asks("read").with("redirect_uri", "x")).await["rule"],
        "IsEnabled of the application"
    );
    let public = server.app(NATIVE).asks("read").without("code_challenge").without("code_challenge_method");
    assert_eq!(ask(public).await["rule"], "RFC 9700 §2.1.1");
    assert!(fact(&ask(usual.clone().with("scope", "sec")).await, "expected", "scope").contains("read"));

    // The application cannot see a header of the redirect, but its developer still gets the reference.
    let refused = server.client().get(&usual.clone().with("scope", "sec").path()).await;
    let description = refused.callback()["error_description"].clone();
    assert!(description.contains(&format!("(reference {})", refused.header("x-request-id"))), "{description}");

    app.sign_in(&mut alice, "read").await;
    let silent = alice.open(&app.asks("read update").with("prompt", "none").path()).await;
    let explanation = why(&server, &silent).await;
    assert_eq!(
        (fact(&explanation, "sent", "scope"), fact(&explanation, "expected", "consented")),
        ("read update", "read")
    );
    let native = server.app(NATIVE);
    native.sign_in(&mut alice, "read").await;
    let silent = alice.open(&native.asks("read").with("prompt", "none").path()).await;
    let explanation = why(&server, &silent).await;
    assert_eq!(explanation["cause"], "interaction_required");
    assert_eq!(fact(&explanation, "sent", "redirect_uri registered"), "under a private-use scheme");
    server.advance(Duration::from_mins(5));
    let too_old = alice.open(&app.asks("read").with("prompt", "none").with("max_age", "60").path()).await;
    assert_eq!(fact(&why(&server, &too_old).await, "sent", "max_age"), "60");
    let page = alice.open(&app.asks("read update").path()).await;
    let denied = why(&server, &alice.deny(&page).await).await;
    assert_eq!((&denied["cause"], fact(&denied, "sent", "scope")), (&json!("consent_refused"), "read update"));
    let carol = server.browser("carol").authorize(&app.asks("read")).await;
    assert_eq!(fact(&why(&server, &carol).await, "sent", "user type"), "ExternalCommunityUser");
}

#[tokio::test]
async fn the_token_endpoint_says_what_was_shown_and_when() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let asked = async |answer: HttpAnswer| {
        assert!(answer.status.is_client_error(), "{answer:?}");
        why(&server, &answer).await
    };
    let explanation = asked(app.with_secret(Some("wrong-secret")).service_token("").await).await;
    assert_eq!((&explanation["cause"], fact(&explanation, "expected", "live secrets")), (&json!("wrong_secret"), "1"));
    assert_eq!(asked(app.with_secret(None).service_token("").await).await["cause"], "secret_missing");
    assert_eq!(
        asked(server.app(NATIVE).with_secret(Some("any")).refresh("x").await).await["cause"],
        "secret_from_public_application"
    );
    let explanation = asked(app.token(&[("grant_type", "password")]).await).await;
    assert_eq!(
        fact(&explanation, "sent", "problem"),
        "unsupported grant_type; use authorization_code, refresh_token or client_credentials"
    );

    let mut rng = server.rng();
    let ends = server.now().plus(Duration::from_mins(1));
    let added =
        server.operator().await.add_secret(FIRST, ("for a minute", Some(ends)), &mut server.moment(&mut rng)).await;
    let added = added.expect("no fault").expect("it is Confidential").expose().to_owned();
    server.catch_up().await;
    server.advance(Duration::from_mins(2));
    let explanation = asked(app.with_secret(Some(&added)).service_token("").await).await;
    assert_eq!(
        (&explanation["cause"], fact(&explanation, "sent", "secret")),
        (&json!("secret_expired"), "for a minute")
    );
    assert_eq!(
        (fact(&explanation, "sent", "at"), fact(&explanation, "expected", "before")),
        ("2030-03-17T17:48:40Z", "2030-03-17T17:47:40Z")
    );

    let code = app.code(&mut alice, "read offline_access").await;
    let explanation =
        asked(app.redeem_with(&code, &[("redirect_uri", "http://localhost:3000/signin-Callback")]).await).await;
    assert_eq!(explanation["expected"][0]["differs_at"], 29, "{explanation}");
    assert_eq!(asked(app.redeem_with(&code, &[("code_verifier", "")]).await).await["rule"], "RFC 7636 §4.5");
    let portal = server.app(PORTAL);
    assert_eq!(asked(portal.redeem(&code).await).await["cause"], "code_of_another_application");
    assert_eq!(fact(&asked(app.redeem("x").await).await, "sent", "code"), "1 bytes, not stored");
    let tokens = TokenAnswer::read(&app.redeem(&code).await);
    let explanation = asked(app.refresh_with(tokens.refresh(), "sec").await).await;
    assert_eq!(
        (fact(&explanation, "sent", "scope"), fact(&explanation, "expected", "scope")),
        ("sec", "read offline_access")
    );
    let explanation = asked(app.redeem(&code).await).await;
    assert_eq!(
        (&explanation["cause"], fact(&explanation, "expected", "newest refresh token of the first use")),
        (&json!("code_reused"), "1")
    );
    let explanation = asked(app.refresh(tokens.refresh()).await).await;
    assert_eq!(
        (&explanation["cause"], fact(&explanation, "expected", "ended by")),
        (&json!("authorization_ended"), "code_reused")
    );
    assert_eq!(fact(&asked(app.refresh("x").await).await, "sent", "refresh_token"), "1 bytes, not stored");

    let code = app.code(&mut alice, "read").await;
    server.advance(Duration::from_mins(1));
    let explanation = asked(app.redeem(&code).await).await;
    assert_eq!(
        (&explanation["cause"], fact(&explanation, "sent", "at")),
        (&json!("code_expired"), "2030-03-17T17:49:40Z")
    );
    let code = app.code(&mut alice, "read").await;
    server.enable_user("alice", false).await;
    let explanation = asked(app.redeem(&code).await).await;
    assert_eq!(
        (&explanation["cause"], fact(&explanation, "expected", "user last disabled or changed")),
        (&json!("user_disabled"), "2030-03-17T17:49:40Z")
    );

    let explanation = asked(server.app(READER).service_token("update").await).await;
    assert!(fact(&explanation, "expected", "scope").starts_with("read or any of openid"), "{explanation}");
    assert_eq!(asked(app.service_token("").await).await["cause"], "service_not_allowed");
    server.enable_user("svc.integration", false).await;
    assert_eq!(asked(server.app(SERVICE).service_token("").await).await["cause"], "system_user_not_active");
}

#[tokio::test]
async fn the_api_and_userinfo_say_what_became_of_the_token() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let client = server.client();
    let tokens = app.sign_in(&mut alice, "openid read").await;
    let call = async |token: &str| why(&server, &client.call_api(token).await).await;
    let service = TokenAnswer::read(&server.app(SERVICE).service_token("update").await).access;
    let explanation = call(&service).await;
    assert_eq!((fact(&explanation, "sent", "scope"), fact(&explanation, "expected", "scope")), ("update", "read"));
    assert_eq!(
        (&explanation["method"], &explanation["path"], &explanation["status"]),
        (&json!("GET"), &json!("/api/domain/odata/Crm_Customers"), &json!(403))
    );
    let elsewhere = TokenAnswer::read(&server.app_at_other(SERVICE).service_token("").await).access;
    assert_eq!(call(&elsewhere).await["cause"], "token_key_unknown");
    let (start, end) = tokens.access.split_at(tokens.access.len() - 10);
    let broken = format!("{start}{}{}", if end.starts_with('A') { 'B' } else { 'A' }, &end[1..]);
    assert_eq!(call(&broken).await["cause"], "token_signature_wrong");
    assert_eq!(fact(&call("x").await, "sent", "token"), "1 bytes, not stored");
    let unknown = format!("enrt_{}ABCD", "0".repeat(60));
    assert_eq!(fact(&call(&unknown).await, "sent", "ends in"), "ABCD");
    let identity_only = app.sign_in(&mut server.browser("bob"), "openid").await.access;
    let explanation = call(&identity_only).await;
    assert!(fact(&explanation, "sent", "aud").ends_with("/id/resources"), "{explanation}");
    assert_eq!(fact(&explanation, "expected", "aud"), "DomainAPI");
    let carol = server.app(PORTAL).sign_in(&mut server.browser("carol"), "read").await.access;
    assert_eq!(call(&carol).await["cause"], "community_user");
    for bare in [client.get("/api/domain/odata/Crm_Customers").await, client.get("/id/connect/userinfo").await] {
        assert_eq!(why(&server, &bare).await["cause"], "no_credential");
    }
    let forbidden = client.ask(&Method::DELETE, &format!("/api/domain/odata/Crm_Customers({})", uuid::Uuid::nil()));
    let explanation = why(
        &server,
        &forbidden.bearer(&TokenAnswer::read(&server.app(SERVICE).service_token("update").await).access).send().await,
    )
    .await;
    assert!(explanation["status"].as_u64().is_some_and(|status| status >= 400), "{explanation}");

    let of_alice = acceptance::jwt::claims(&tokens.access);
    let page = alice.open(&format!("/id/connect/endsession?id_token_hint={}", tokens.id())).await;
    assert_eq!(page.page(), "signed-out");
    let explanation = call(&tokens.access).await;
    assert_eq!(
        (&explanation["cause"], fact(&explanation, "expected", "ended by")),
        (&json!("token_ended"), "its sign-in ended")
    );
    assert_eq!(
        (fact(&explanation, "sent", "token"), fact(&explanation, "sent", "application")),
        (of_alice["jti"].as_str().expect("a jti"), FIRST)
    );
    assert_eq!(why(&server, &client.user_info(&tokens.access).await).await["cause"], "token_ended");
    server.advance(Duration::from_hours(2));
    let explanation = call(&tokens.access).await;
    assert_eq!(
        (fact(&explanation, "sent", "at"), fact(&explanation, "expected", "before")),
        ("2030-03-17T19:46:40Z", "2030-03-17T18:46:40Z")
    );
    let fresh = TokenAnswer::read(&server.app(READER).service_token("").await).access;
    server.enable_app(READER, false).await;
    assert_eq!(call(&fresh).await["cause"], "application_disabled");
}

#[tokio::test]
async fn a_refusal_for_want_of_a_seat_says_how_many_are_taken() {
    let server = TestServer::open().await;
    for _ in 0..4 {
        let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
        assert_eq!(server.client().call_api(&token).await.status, 200);
    }
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    let explanation = why(&server, &server.client().call_api(&token).await).await;
    assert_eq!(explanation["cause"], "no_seat_free");
    let [seats, live, kept] =
        ["seats", "in use", "kept for reserved accounts"].map(|name| fact(&explanation, "expected", name));
    assert_eq!((seats, live, kept), ("5", "4", "1"));
    assert_eq!(fact(&explanation, "expected", "next seat free at, if idle"), "2030-03-17T18:06:40Z");
}

#[tokio::test]
async fn a_limit_of_one_user_or_application_says_which_it_is_and_how_much() {
    let server = TestServer::open().await;
    let mut rng = server.rng();
    for (setting, cause, [most, taken]) in [
        ("seats_per_user", "no_seat_free_for_user", ["maximum seats per user", "in use by the user"]),
        (
            "seats_per_application",
            "no_seat_free_for_application",
            ["maximum seats per application", "in use through the application"],
        ),
    ] {
        let set = change_setting(&server.operator().await, setting, "2", &mut server.moment(&mut rng)).await;
        set.expect("the database answers").expect("a good setting");
        let mut statuses = Vec::new();
        let mut last = None;
        for _ in 0..3 {
            let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
            let answer = server.client().call_api(&token).await;
            statuses.push(answer.status.as_u16());
            last = Some(answer);
        }
        assert_eq!(statuses, [200, 200, 429], "{setting}");
        let explanation = why(&server, &last.expect("asked")).await;
        assert_eq!(explanation["cause"], cause, "{explanation}");
        assert_eq!(
            (fact(&explanation, "expected", most), fact(&explanation, "expected", taken)),
            ("2", "2"),
            "{explanation}"
        );
        let free = server.now().plus(Duration::from_mins(20)).rfc3339();
        assert_eq!(fact(&explanation, "expected", "next seat free at, if idle"), free);
        let set = change_setting(&server.operator().await, setting, "null", &mut server.moment(&mut rng)).await;
        set.expect("the database answers").expect("a good setting");
        server.advance(Duration::from_mins(21));
        server.tick().await;
    }
    let refused = server.server.instances()[0].meters().sessions_refused.read();
    assert_eq!(refused, [("no_seat_free_for_user", 1), ("no_seat_free_for_application", 1)]);
}

#[tokio::test]
async fn keys_pages_and_the_other_endpoints_say_why_too() {
    let server = TestServer::open().await;
    let client = server.client();
    let mut rng = server.rng();
    let scope = Scope::parse("read").expect("a scope");
    let wish = NewTokenRequest {
        kind: ReferenceTokenKind::Personal,
        description: "a script",
        scope: &scope,
        expires_at: Some(server.now().plus(Duration::from_mins(1))),
    };
    let draft = TokenDraft { application: "my.trusted.app/scripts", login: Some("alice"), wish };
    let IssuedToken { token, value, .. } = server
        .operator()
        .await
        .issue_token(&draft, &mut server.moment(&mut rng))
        .await
        .expect("no fault")
        .expect("issued");
    assert_eq!(client.call_api(value.expose()).await.status, 200);
    server.advance(Duration::from_mins(1));
    let explanation = why(&server, &client.call_api(value.expose()).await).await;
    assert_eq!(
        (&explanation["cause"], fact(&explanation, "sent", "token")),
        (&json!("token_expired"), token.id.to_string().as_str())
    );
    server
        .operator()
        .await
        .revoke_token(token.id, &mut server.moment(&mut rng))
        .await
        .expect("no fault")
        .expect("revoked");
    server.catch_up().await;
    let explanation = why(&server, &client.call_api(value.expose()).await).await;
    assert_eq!(fact(&explanation, "expected", "ended by"), "the token was revoked");
    assert!(!explanation.to_string().contains(&value.expose()[5..]), "never the value");

    for path in ["/id/connect/introspect", "/id/connect/revocation"] {
        let wrong = client.post(path, &[("client_id", FIRST), ("client_secret", "wrong"), ("token", "x")]).await;
        assert_eq!(why(&server, &wrong).await["cause"], "wrong_secret", "{path}");
        let nothing = client.post(path, &[("client_id", FIRST), ("client_secret", "first-secret")]).await;
        assert_eq!(fact(&why(&server, &nothing).await, "sent", "problem"), "token is missing", "{path}");
    }

    let mut alice = server.browser("alice");
    let tokens = server.app(FIRST).sign_in(&mut alice, "openid").await;
    let asked =
        format!("/id/connect/endsession?id_token_hint={}&post_logout_redirect_uri=https://evil.example/", tokens.id());
    let explanation = why(&server, &alice.open(&asked).await).await;
    assert_eq!(
        (&explanation["cause"], &explanation["application"]),
        (&json!("post_logout_redirect_uri_not_registered"), &json!(FIRST))
    );
    assert_eq!(fact(&explanation, "sent", "post_logout_redirect_uri"), "https://evil.example/");

    assert_eq!(why(&server, &client.get("/id/account/set-up?code=x").await).await["cause"], "link_spent");
    let foreign = client.post("/id/account/login", &[("login", "alice"), ("password", "x"), ("csrf", "x")]).await;
    assert_eq!(why(&server, &foreign).await["cause"], "form_not_ours");
    let mut mistyped = server.browser("bob");
    for cause in ["wrong_password"; 5].into_iter().chain(["throttled"]) {
        mistyped.password.push('x');
        let answer = mistyped.sign_in().await;
        let explanation = why(&server, &answer).await;
        assert_eq!(explanation["cause"], cause, "{explanation}");
        if cause == "throttled" {
            assert_eq!(fact(&explanation, "expected", "seconds to wait"), answer.header("retry-after"));
        }
    }
    assert_eq!(why(&server, &server.browser("nobody").sign_in().await).await["cause"], "unknown_user");
    let unreadable = client.get("/id/connect/authorize?state=%FF").await;
    assert_eq!(why(&server, &unreadable).await["cause"], "malformed_request");
    assert!(server.operator().await.why("0", server.now()).await.expect("no fault").is_err());
    assert!(server.operator().await.why(&"0".repeat(32), server.now()).await.expect("no fault").is_err());
}

#[tokio::test]
async fn an_inactive_token_is_told_with_its_reason_to_the_administrator_only() {
    let server = TestServer::open().await;
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read offline_access").await;
    let newer = TokenAnswer::read(&server.app(FIRST).refresh(tokens.refresh()).await);
    let ask = async |token: &str| {
        let fields = [("client_id", PORTAL), ("client_secret", "portal-secret"), ("token", token)];
        server.client().post("/id/connect/introspect", &fields).await
    };
    let own = async |token: &str| {
        let fields = [("client_id", FIRST), ("client_secret", "first-secret"), ("token", token)];
        server.client().post("/id/connect/introspect", &fields).await
    };
    for (answer, because) in [
        (ask(&newer.access).await, "token_of_another_application"),
        (ask(newer.refresh()).await, "refresh_token_of_another_application"),
        (own(tokens.refresh()).await, "refresh_token_spent"),
        (own("x").await, "token_malformed"),
    ] {
        assert_eq!(answer.json(), json!({ "active": false }));
        server.tick().await;
        let events = server
            .operator()
            .await
            .why(answer.header("x-request-id"), server.now())
            .await
            .expect("no fault")
            .expect("known");
        let detail: Value = serde_json::from_str(events[0].detail.as_deref().expect("a detail")).expect("JSON");
        assert_eq!(detail, json!({ "active": false, "because": because }));
    }
}

/// On its way to the database it is in the node's memory, then an unsealed row, then in the chain.
#[tokio::test]
async fn a_reference_is_known_from_the_moment_it_is_shown() {
    let server = TestServer::open().await;
    let asked = server.app(FIRST).asks("read").with("redirect_uri", "https://x/").path();
    let refused = server.client().get(&asked).await;
    let reference = refused.header("x-request-id");
    let operator = server.operator().await;
    let mut asking = std::pin::pin!(operator.why(reference, server.now()));
    let early = tokio::time::timeout(Duration::from_millis(150), &mut asking).await;
    assert!(early.is_err(), "it is looked for until the node has written it down");
    server.tick().await;
    let found = asking.await.expect("no fault").expect("it waits for its seal");
    assert_eq!(found[0].reason, "redirect_uri_not_registered");
    server.seal().await;
    let sealed = operator.why(reference, server.now()).await.expect("no fault").expect("it is in the chain");
    assert_eq!((sealed.len(), sealed[0].reason.as_str()), (1, "redirect_uri_not_registered"));

    // Once nothing is on its way any more, the search does not wait.
    let later = model::Timestamp(server.now().micros() + 60_000_000);
    let unknown = format!("{:x}", u128::from_str_radix(reference, 16).expect("hexadecimal") + 1);
    let unknown = format!("{unknown:0>32}");
    let answer = tokio::time::timeout(Duration::from_secs(1), operator.why(&unknown, later)).await;
    assert!(answer.expect("at once").expect("no fault").is_err());
}
