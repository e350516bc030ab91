//! §3.2, §5: the token endpoint, for every grant.

use acceptance::{TestServer, TokenAnswer, VERIFIER};
use http::Method;

use crate::{FIRST, SERVICE, assert_refused};

const PATH: &str = "/id/connect/token";

#[tokio::test]
async fn only_a_form_is_read() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let code = app.code(&mut alice, "read").await;
    let redirect_uri = &app.redirect_uri;
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={redirect_uri}&code_verifier={VERIFIER}\
         &client_id={FIRST}&client_secret=first-secret"
    );
    let json = format!(
        r#"{{"grant_type":"authorization_code","code":"{code}","redirect_uri":"{redirect_uri}",
            "code_verifier":"{VERIFIER}","client_id":"{FIRST}","client_secret":"first-secret"}}"#
    );
    let multipart = "--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nauthorization_code\r\n--x--\r\n";
    for (content_type, body) in [
        ("application/json", json.as_str()),
        ("application/json", &form),
        ("multipart/form-data; boundary=x", multipart),
        ("multipart/form-data; boundary=x", &form),
        ("text/plain", &form),
        ("", &form),
        ("application/x-www-form-urlencoded-not", &form),
    ] {
        let answer = app.client.ask(&Method::POST, PATH).body(content_type, body.to_owned()).send().await;
        assert_refused(&answer, 400, "invalid_request");
    }
    let charset = "Application/X-WWW-Form-Urlencoded ; charset=UTF-8";
    TokenAnswer::read(&app.client.ask(&Method::POST, PATH).body(charset, form).send().await);
}

#[tokio::test]
async fn parameters_in_the_query_count_for_nothing() {
    let server = TestServer::open().await;
    let query = format!("{PATH}?grant_type=client_credentials&client_id={SERVICE}&client_secret=service-secret");
    assert_refused(&server.client().post(&query, &[]).await, 400, "invalid_request");
}

#[tokio::test]
async fn the_endpoint_takes_post_only() {
    let server = TestServer::open().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        assert_eq!(server.client().ask(&method, PATH).send().await.status, 405, "{method}");
    }
}

#[tokio::test]
async fn a_missing_repeated_or_unreadable_parameter_is_an_invalid_request() {
    let server = TestServer::open().await;
    let app = server.app(SERVICE);
    let credentials = format!("client_id={SERVICE}&client_secret=service-secret");
    let service = format!("grant_type=client_credentials&{credentials}");
    for body in [
        String::new(),
        credentials.clone(),
        format!("grant_type=&{credentials}"),
        "grant_type=client_credentials".to_owned(),
        format!("grant_type=authorization_code&{credentials}"),
        format!("grant_type=refresh_token&{credentials}"),
        format!("grant_type=refresh_token&refresh_token=&{credentials}"),
        format!("{service}&grant_type=client_credentials"),
        format!("{service}&client_id={SERVICE}"),
        format!("{service}&scope=read&scope=read"),
        format!("{service}&x=1&x=2"),
        format!("{service}&x=%FF"),
        format!("{service}&x=%00"),
        format!("{service}&x=%zz"),
        format!("{service}&scope={}", "x".repeat(8 * 1024 + 1)),
        format!("{service}&{}=1", "n".repeat(129)),
        format!("{service}&{}", vec!["p"; 70].join("&")),
    ] {
        let answer = app.client.ask(&Method::POST, PATH).body("application/x-www-form-urlencoded", body.clone());
        let answer = answer.send().await;
        assert_eq!(answer.refusal(), (400, "invalid_request".to_owned()), "{body:.200}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.text().contains("service-secret"));
    }
    let unknown = format!("{service}&x=1&audience=%C3%A9&y=");
    let answer = app.client.ask(&Method::POST, PATH).body("application/x-www-form-urlencoded", unknown).send().await;
    assert_eq!(TokenAnswer::read(&answer).scope, "read update", "unknown parameters are ignored");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_unread() {
    let server = TestServer::open().await;
    let body = format!("grant_type=client_credentials&x={}", "x".repeat(1024 * 1024));
    let answer = server.client().ask(&Method::POST, PATH).body("application/x-www-form-urlencoded", body).send().await;
    assert_refused(&answer, 413, "invalid_request");
}

#[tokio::test]
async fn grants_that_are_not_offered_are_unsupported() {
    let server = TestServer::open().await;
    let app = server.app(FIRST);
    for grant in [
        "password",
        "implicit",
        "Authorization_Code",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "\u{e9}",
    ] {
        let answer = app.token(&[("grant_type", grant), ("username", "alice"), ("password", "ecila-Demo1")]).await;
        assert_refused(&answer, 400, "unsupported_grant_type");
    }
}

#[tokio::test]
async fn a_success_says_what_was_given_and_may_not_be_kept() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let code = app.code(&mut alice, "openid read offline_access").await;
    let answer = app.redeem(&code).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    let mut names: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"]);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&"Bearer".into(), &3600.into()));
    let code = app.code(&mut alice, "read").await;
    let body = app.redeem(&code).await.json();
    let mut names: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["access_token", "expires_in", "scope", "token_type"], "nothing that was not asked for");
}
