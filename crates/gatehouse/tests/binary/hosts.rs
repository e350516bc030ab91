//! Selection of the instance by host, and parts of a request that do not decide it.

use crate::support::browser::service_token;
use crate::support::http::Site;
use crate::support::installation::{ERP, Installation, SHOP, look};
use store::Store;

fn both(top: &str) -> Installation {
    let installation = Installation::with("sqlite:house.db", top, &[ERP, SHOP].concat());
    installation.create_erp();
    installation.run(&["instance", "create", "shop"]).done();
    installation
}

fn issuer(port: u16, host: &'static str, headers: &[(&str, &str)]) -> String {
    Site { port, host }.get("/id/.well-known/openid-configuration", headers).member("issuer")
}

#[test]
fn the_host_names_the_instance_and_nothing_else_does() {
    let installation = both("");
    let server = installation.serve();
    assert_eq!(issuer(server.port, "erp.localhost", &[]), "http://erp.localhost:8080/id");
    assert_eq!(issuer(server.port, "ERP.localhost", &[]), "http://erp.localhost:8080/id");
    assert_eq!(issuer(server.port, "shop.example.com", &[]), "https://shop.example.com/id");
    assert_eq!(issuer(server.port, "www.example.com", &[]), "https://shop.example.com/id");
    let forwarded = [
        ("X-Forwarded-Host", "shop.example.com"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "host=shop.example.com;proto=https"),
    ];
    assert_eq!(issuer(server.port, "erp.localhost", &forwarded), "http://erp.localhost:8080/id");
    for host in ["127.0.0.1", "example.com", "erp.localhost.example.com"] {
        let answer = Site { port: server.port, host }.get("/id/.well-known/openid-configuration", &[]);
        assert_eq!(answer.status, 404, "{host}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(Site { port: server.port, host: "127.0.0.1" }.get(path, &[]).status, 200, "{path} is the process's");
    }
}

#[test]
fn a_default_instance_answers_for_hosts_that_nobody_claims() {
    let installation = both("default_instance = \"shop\"");
    let server = installation.serve();
    assert_eq!(issuer(server.port, "127.0.0.1", &[]), "https://shop.example.com/id");
    assert_eq!(issuer(server.port, "erp.localhost", &[]), "http://erp.localhost:8080/id");
}

#[test]
fn an_application_of_one_instance_is_unknown_to_the_other() {
    let installation = both("");
    let secret = installation.create_service("sync");
    let server = installation.serve();
    assert_eq!(service_token(Site { port: server.port, host: "erp.localhost" }, "sync", &secret).status, 200);
    assert_eq!(service_token(Site { port: server.port, host: "shop.example.com" }, "sync", &secret).status, 401);
}

/// The client addresses of token requests in the audit.
fn audited_addresses(installation: &Installation) -> Vec<String> {
    look(&format!("sqlite:{}", installation.path("house.db").display()), async |database| {
        let mut addresses = Vec::new();
        for instance in database.instances().await.expect("no fault") {
            let store = Store::new(database.clone(), instance.id);
            let events = flows::audit::sealed_trail(&store).await.expect("no fault");
            let issued = events.into_iter().filter(|event| event.kind == "token-issued");
            addresses.extend(issued.map(|event| event.address.expect("an address")));
        }
        addresses
    })
}

#[test]
fn who_asks_is_believed_from_trusted_proxies_only() {
    for (top, seen) in [("", "127.0.0.1"), ("trusted_proxies = [\"127.0.0.0/8\"]", "203.0.113.9")] {
        let installation = Installation::with("sqlite:house.db", top, ERP);
        installation.create_erp();
        let secret = installation.create_service("sync");
        let server = installation.serve();
        let fields = [("grant_type", "client_credentials"), ("client_id", "sync"), ("client_secret", &*secret)];
        let headers = [("X-Forwarded-For", "198.51.100.7, 203.0.113.9"), ("X-Real-IP", "198.51.100.8")];
        let site = Site { port: server.port, host: "erp.localhost" };
        assert_eq!(site.post("/id/connect/token", &headers, &fields).status, 200);
        server.stop();
        assert_eq!(audited_addresses(&installation), [seen], "{top:?}");
    }
}
