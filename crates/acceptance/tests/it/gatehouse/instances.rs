//! Several instances in one process: selected by host, and isolated from each other.

use acceptance::{App, Browser, TestServer, TokenAnswer};
use serde_json::json;

use crate::{FIRST, SERVICE, assert_refused};

async fn issuer_at(server: &TestServer, host: &str) -> String {
    let client = server.client().asking_host(host);
    let answer = client.get("/id/.well-known/openid-configuration").await;
    assert_eq!(answer.status, 200, "{host}");
    answer.json()["issuer"].as_str().expect("an issuer").to_owned()
}

#[tokio::test]
async fn an_instance_is_found_by_host_and_its_issuer_is_configuration() {
    let server = TestServer::open().await;
    let (testdb, demodb) = ("http://localhost:8080/id", "http://demodb.localhost:8080/id");
    for (host, issuer) in [
        ("localhost:8080", testdb),
        ("localhost", testdb),
        ("localhost:1", testdb),
        ("LOCALHOST", testdb),
        ("demodb.localhost", demodb),
        ("DemoDB.localhost:9999", demodb),
        ("demodb.localhost.", demodb),
        ("DEMODB.LOCALHOST.:8080", demodb),
        ("localhost.:8080", testdb),
        ("127.0.0.1", testdb),
        ("evil.example", testdb),
        ("demodb.localhost.evil.example", testdb),
    ] {
        assert_eq!(issuer_at(&server, host).await, issuer, "{host}");
    }
}

#[tokio::test]
async fn no_address_that_we_make_is_taken_from_the_request() {
    let server = TestServer::open().await;
    let client = server.client().asking_host("evil.example");
    for path in ["/", "/id/account/login", "/id/.well-known/openid-configuration", "/tools/auto-discovery", "/nothing"]
    {
        let ask = client.ask(&http::Method::GET, path).header("x-forwarded-host", "evil.example");
        let answer = ask.header("forwarded", "host=evil.example").send().await;
        assert!(!answer.text().contains("evil.example"), "{path}");
        assert!(!format!("{:?}", answer.headers).contains("evil.example"), "{path}");
    }
}

#[tokio::test]
async fn without_a_default_an_unknown_host_finds_nothing() {
    let server = TestServer::without_default().await;
    assert_eq!(issuer_at(&server, "localhost").await, "http://localhost:8080/id");
    for host in ["127.0.0.1", "evil.example", "other.localhost", "demodb.localhost.."] {
        let client = server.client().asking_host(host);
        for path in ["/id/.well-known/openid-configuration", "/id/account/login", "/api/domain/odata/Crm_Customers"] {
            assert_eq!(client.get(path).await.status, 404, "{host}{path}");
        }
    }
}

/// `demo.md`: a page whose name is rebound to this machine still sends its own name.
#[tokio::test]
async fn a_default_for_loopback_answers_no_name_of_elsewhere() {
    let server = TestServer::answering_loopback().await;
    for host in ["localhost", "other.localhost:8080", "a.b.localhost.", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080"] {
        assert_eq!(issuer_at(&server, host).await, "http://localhost:8080/id", "{host}");
    }
    assert_eq!(issuer_at(&server, "demodb.localhost").await, "http://demodb.localhost:8080/id");
    for host in ["evil.example", "localhost.evil.example", "notlocalhost", "192.0.2.1", "[::2]", "0.0.0.0", "128.0.0.1"]
    {
        let client = server.client().asking_host(host);
        for path in ["/id/.well-known/openid-configuration", "/id/account/login", "/api/domain/odata/Crm_Customers"] {
            assert_eq!(client.get(path).await.status, 404, "{host}{path}");
        }
    }
}

#[tokio::test]
async fn nothing_of_one_instance_is_good_in_another() {
    let server = TestServer::open().await;
    let (here, there) = (server.app(FIRST), server.app_at_other(FIRST));
    let mut alice = server.browser("alice");
    let tokens = here.sign_in(&mut alice, "openid read offline_access").await;
    let service = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    for token in [&tokens.access, &service] {
        assert_eq!(server.client().call_api(token).await.status, 200);
        assert_eq!(server.other_client().call_api(token).await.status, 401);
        assert_eq!(server.other_client().user_info(token).await.status, 401);
    }
    let foreign = TokenAnswer::read(&server.app_at_other(SERVICE).service_token("").await).access;
    assert_eq!(server.client().call_api(&foreign).await.status, 401);

    assert_refused(&there.refresh(tokens.refresh()).await, 400, "invalid_grant");
    let code = here.code(&mut alice, "read").await;
    assert_refused(&there.redeem(&code).await, 400, "invalid_grant");
    TokenAnswer::read(&here.redeem(&code).await);
    TokenAnswer::read(&here.refresh(tokens.refresh()).await);
    let with_our_secret = App { client: server.other_client(), ..here.clone() };
    assert_refused(&with_our_secret.redeem("x").await, 401, "invalid_client");

    let mut carried = Browser { client: server.other_client(), ..alice.clone() };
    assert_eq!(carried.open("/id/account").await.page(), "sign-in", "nor the cookie");
    let page = carried.open("/id/account/login").await;
    let csrf = page.form("csrf").field("csrf").expect("forms have it").to_owned();
    let answer =
        alice.post("/id/account/login", &[("login", "alice"), ("password", "ecila-Demo1"), ("csrf", &csrf)]).await;
    assert_eq!(answer.status, 403, "nor the form");
}

/// `identity.md` §3.6.
#[tokio::test]
async fn an_instance_says_where_its_sites_are() {
    let server = TestServer::open().await;
    for path in ["/tools/auto-discovery", "/sys/auto-discovery"] {
        let found = server.client().get(path).await.json();
        assert_eq!((&found["Host"], &found["DbName"]), (&json!("localhost:8080"), &json!("testdb")));
        let sites = found["WebSites"].as_array().expect("a list");
        let types: Vec<_> = sites.iter().filter_map(|site| site["Type"].as_str()).collect();
        assert_eq!(types, ["ID", "DomainAPI", "UserProfile", "InstanceManager"]);
        for site in sites {
            let mut names: Vec<_> = site.as_object().expect("an object").keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["AdditionalProperties", "Status", "StatusDescription", "System", "Type", "Url"]);
        }
        assert_eq!((&sites[0]["System"], &sites[1]["System"]), (&json!(true), &json!(false)));
        assert_eq!(sites[0]["Url"], "http://localhost:8080/id");
        let root = &sites[1]["AdditionalProperties"]["ODataServiceRoot"];
        assert_eq!(root, "http://localhost:8080/api/domain/odata/");
    }
    let there = server.other_client().get("/tools/auto-discovery").await.json();
    assert_eq!((&there["Host"], &there["DbName"]), (&json!("demodb.localhost:8080"), &json!("demodb")));
    let version = server.client().get("/tools/ver").await;
    assert!(version.header("content-type").starts_with("text/plain"));
    assert_eq!(version.text().trim(), web::VERSION);
    assert_eq!(server.client().get("/tools/server-info").await.json()["version"], web::VERSION);
    assert_eq!(server.client().get("/").await.page(), "landing");
}

/// RFC 9112 §3.2.
#[tokio::test]
async fn a_request_says_one_valid_host() {
    let server = TestServer::open().await;
    for host in
        ["", "a b", "evil@localhost", "localhost:80x", "localhost, demodb.localhost", "[::1", "loc\u{61}lhost/x"]
    {
        let answer = server.client().asking_host(host).get("/id/account/login").await;
        assert_eq!(answer.status, 400, "{host:?}");
    }
    let client = server.client();
    let two = client.ask(&http::Method::GET, "/id/account/login").header("host", "demodb.localhost").send().await;
    assert_eq!(two.status, 400);
}
