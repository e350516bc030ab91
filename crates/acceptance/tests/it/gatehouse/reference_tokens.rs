//! Reference tokens (API keys): issued by an administrator, shown once, revoked at once.

use std::time::Duration;

use acceptance::{Client, TestServer};
use flows::admin::tokens::TokenDraft;
use http::Method;
use model::reference_token::{NewTokenRequest, ReferenceToken, ReferenceTokenKind};
use oauth::scope::Scope;

use crate::SERVICE;

const SCRIPTS: &str = "my.trusted.app/scripts";
const CUSTOMERS: &str = "/api/domain/odata/Crm_Customers";

pub(super) async fn issue(
    server: &TestServer,
    (application, login): (&str, Option<&str>),
    (scope, days): (&str, Option<u32>),
) -> Result<(ReferenceToken, String), String> {
    let mut rng = server.rng();
    let mut moment = server.moment(&mut rng);
    let scope = Scope::parse(scope).expect("a scope");
    let kind = if login.is_some() { ReferenceTokenKind::Personal } else { ReferenceTokenKind::Service };
    let expires_at = days.map(|days| moment.now.plus(Duration::from_hours(24) * days));
    let wish = NewTokenRequest { kind, description: "a script", scope: &scope, expires_at };
    let draft = TokenDraft { application, login, wish };
    let issued = server.operator().await.issue_token(&draft, &mut moment).await.expect("no fault");
    server.catch_up().await;
    issued.map(|issued| (issued.token, issued.value.expose().to_owned())).map_err(|refusal| refusal.to_string())
}

async fn alices(server: &TestServer) -> (ReferenceToken, String) {
    issue(server, (SCRIPTS, Some("alice")), ("read update", Some(30))).await.expect("issued")
}

async fn by_key(client: &Client, header: &str, value: &str) -> u16 {
    client.ask(&Method::GET, CUSTOMERS).header(header, value).send().await.status.as_u16()
}

#[tokio::test]
async fn a_key_opens_the_api_by_each_of_its_three_headers() {
    let server = TestServer::open().await;
    let (_, value) = alices(&server).await;
    assert!(value.starts_with("enrt_") && value.len() == 69, "the documented form");
    let client = server.client();
    assert_eq!(client.call_api(&value).await.status, 200);
    assert_eq!(by_key(&client, "x-api-key", &value).await, 200);
    assert_eq!(by_key(&client, "api-key", &value).await, 200);
    let both = client.ask(&Method::GET, CUSTOMERS).bearer(&value).header("x-api-key", &value);
    assert_eq!(both.send().await.status, 400);
    assert_eq!(client.user_info(&value).await.status, 403, "a key says nothing about the person");
}

#[tokio::test]
async fn a_service_key_acts_as_the_system_user_and_both_take_one_seat_each() {
    let server = TestServer::open().await;
    let (personal, value) = alices(&server).await;
    let (service, of_service) = issue(&server, (SERVICE, None), ("read", None)).await.expect("issued");
    assert_ne!(personal.user, service.user);
    for value in [&value, &of_service, &value, &of_service] {
        assert_eq!(server.client().call_api(value).await.status, 200);
    }
    let trail = server.audit().await;
    let opened: Vec<_> = trail.iter().filter(|row| row.kind == "session-opened").collect();
    assert_eq!(opened.len(), 2);
    assert!(trail.iter().all(|row| !row.columns.iter().any(|column| column.contains(&value[5..]))), "never the value");
}

#[tokio::test]
async fn what_is_no_key_of_this_instance_is_answered_like_any_bad_token() {
    let server = TestServer::open().await;
    let (_, value) = alices(&server).await;
    let lower = format!("enrt_{}", value[5..].to_lowercase());
    let unknown = format!("enrt_{}", "0".repeat(64));
    for bad in [&value[..68], &format!("{value}0"), &lower, &unknown, "enrt_", &value[5..]] {
        let answer = server.client().call_api(bad).await;
        assert_eq!(answer.status, 401, "{bad}");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{bad}");
    }
    assert_eq!(server.other_client().call_api(&value).await.status, 401, "of another instance");
    let token = acceptance::TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    assert_eq!(by_key(&server.client(), "x-api-key", &token).await, 401, "a JWT is no key");
}

#[tokio::test]
async fn a_key_is_dead_on_the_next_call_after_whatever_ends_it() {
    let server = TestServer::open().await;
    let client = server.client();
    let (token, value) = alices(&server).await;
    assert_eq!(client.call_api(&value).await.status, 200);
    let mut rng = server.rng();
    let revoked = server.operator().await.revoke_token(token.id, &mut server.moment(&mut rng)).await.expect("no fault");
    assert_eq!(revoked, Ok(()));
    server.catch_up().await;
    assert_eq!(client.call_api(&value).await.status, 401, "revoked");
    let again = server.operator().await.revoke_token(token.id, &mut server.moment(&mut rng)).await.expect("no fault");
    assert!(again.is_err(), "once");

    let (_, value) = alices(&server).await;
    assert_eq!(client.call_api(&value).await.status, 200);
    server.enable_app(SCRIPTS, false).await;
    assert_eq!(client.call_api(&value).await.status, 401, "application disabled");
    server.enable_app(SCRIPTS, true).await;
    assert_eq!(client.call_api(&value).await.status, 200);
    server.enable_user("alice", false).await;
    assert_eq!(client.call_api(&value).await.status, 401, "user disabled");
    server.enable_user("alice", true).await;
    server.advance(Duration::from_hours(24 * 30));
    assert_eq!(client.call_api(&value).await.status, 401, "expired");
}

#[tokio::test]
async fn a_key_does_no_more_than_its_scope_and_its_user_may() {
    let server = TestServer::open().await;
    let (_, readers) = issue(&server, (SCRIPTS, Some("bob")), ("read update", None)).await.expect("issued");
    let (_, reading) = issue(&server, (SCRIPTS, Some("alice")), ("read", None)).await.expect("issued");
    let create = async |value: &str| {
        let client = server.client();
        let ask = client.ask(&Method::POST, CUSTOMERS).bearer(value);
        ask.body("application/json", r#"{"Number":"K-9001"}"#).send().await
    };
    let answer = create(&reading).await;
    assert_eq!(answer.status, 403);
    assert!(answer.header("www-authenticate").contains("error=\"insufficient_scope\""));
    assert_eq!(create(&readers).await.status, 403, "the role forbids it");
}

#[tokio::test]
async fn the_policy_of_the_application_decides_who_gets_one() {
    let server = TestServer::open().await;
    let refused = async |application, login, scope| {
        issue(&server, (application, login), (scope, None)).await.err().unwrap_or_default()
    };
    assert!(refused("my.trusted.app/first", Some("alice"), "read").await.contains("AccessTokens"));
    assert!(refused(SCRIPTS, None, "read").await.contains("System User"));
    assert!(refused(SCRIPTS, Some("carol"), "read").await.contains("internal users"));
    assert!(refused(SCRIPTS, Some("alice"), "sec").await.contains("sec"));
    assert!(refused(SCRIPTS, Some("alice"), "openid").await.contains("openid"));
    assert!(refused(SCRIPTS, Some("nobody"), "read").await.contains("nobody"));
    assert_eq!(refused(SCRIPTS, Some("alice"), "read").await, "");
}

#[tokio::test]
async fn the_owner_of_a_leaked_key_is_told_once_and_not_its_value() {
    let server = TestServer::open().await;
    let mut letters = server.server.open_outbox();
    let (token, value) = alices(&server).await;
    let client = server.client();
    let report = || client.ask(&Method::POST, "/id/tokens/leaked");
    for _ in 0..2 {
        assert_eq!(report().body("text/plain", value.clone()).send().await.status, 204);
    }
    let (_, service) = issue(&server, (SERVICE, None), ("read", None)).await.expect("issued");
    let reported = report().body("text/plain", service).send().await;
    assert_eq!(reported.status, 204, "nobody reads a service's mail");
    server.server.close().await;
    let letter = letters.next().await.expect("a letter");
    assert_eq!((letter.to.as_str(), letter.about), ("alice@example.com", "token-leaked"));
    assert!(letter.text.contains(&token.tail) && !letter.text.contains(&value), "masked");
    assert!(letters.next().await.is_none(), "one letter in all");
}

#[tokio::test]
async fn last_use_is_written_in_batches() {
    let server = TestServer::open().await;
    let (token, value) = alices(&server).await;
    assert_eq!(server.client().call_api(&value).await.status, 200);
    server.tick().await;
    let listed =
        server.operator().await.tokens_before(None, flows::admin::TokensOf::Everybody, 10).await.expect("no fault");
    let used = listed.iter().find(|one| one.id == token.id).expect("listed");
    assert_eq!(used.last_used_at, Some(server.now()));
    assert_eq!(used.tail, value[65..], "masked but for its end");
}

#[tokio::test]
async fn last_use_is_known_to_the_minute_and_costs_a_write_a_minute() {
    let server = TestServer::open().await;
    let (token, value) = alices(&server).await;
    let called_and_written = async |after: u64| {
        server.advance(Duration::from_secs(after));
        assert_eq!(server.client().call_api(&value).await.status, 200);
        server.tick().await;
        let listed =
            server.operator().await.tokens_before(None, flows::admin::TokensOf::Everybody, 10).await.expect("no fault");
        listed.iter().find(|one| one.id == token.id).expect("listed").last_used_at
    };
    let first = server.now();
    assert_eq!(called_and_written(0).await, Some(first));
    assert_eq!(called_and_written(59).await, Some(first), "the minute is not over");
    assert_eq!(called_and_written(1).await, Some(server.now()));
    assert_eq!(called_and_written(60 * 60).await, Some(server.now()));
}

#[tokio::test]
async fn a_leaked_key_dies_by_whoever_finds_it_and_nobody_learns_whether_it_lived() {
    let server = TestServer::open().await;
    let (_, value) = alices(&server).await;
    let (_, other) = alices(&server).await;
    let client = server.client();
    assert_eq!(client.call_api(&value).await.status, 200);
    let report = async |body: String, content_type: &str| {
        let answer = client.ask(&Method::POST, "/id/tokens/leaked").body(content_type, body).send().await;
        assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
    };
    report(format!("{value}\n"), "text/plain").await;
    report(format!("token={other}"), "application/x-www-form-urlencoded").await;
    for nothing in ["", "enrt_", &"x".repeat(5000)] {
        report(nothing.to_owned(), "text/plain").await;
    }
    assert_eq!(client.call_api(&value).await.status, 401);
    assert_eq!(client.call_api(&other).await.status, 401);
    let trail = server.audit().await;
    assert_eq!(trail.iter().filter(|row| row.kind == "token-revoked" && row.reason == "leaked").count(), 2);
}

/// RFC 7009 §2.1: a client cannot revoke another client's token, and the answer does not reveal whether the token is
/// valid.
#[tokio::test]
async fn an_application_cannot_revoke_a_key_of_another() {
    let server = TestServer::open().await;
    let (_, value) = alices(&server).await;
    let fields = [("client_id", "my.trusted.app/first"), ("client_secret", "first-secret"), ("token", value.as_str())];
    let answer = server.client().post("/id/connect/revocation", &fields).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    assert_eq!(server.client().call_api(&value).await.status, 200);
    let trail = server.audit().await;
    assert!(trail.iter().all(|row| row.kind != "token-revoked"));
}
