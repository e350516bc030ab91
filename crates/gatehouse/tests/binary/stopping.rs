//! Stopping a server, and the state that survives a restart.

use std::io::Write as _;

use crate::support::browser::{Browser, call_api, service_token, user_info};
use crate::support::http::{form, read};
use crate::support::installation::{Installation, erp};
use crate::support::{PATIENCE, until};

#[test]
fn a_running_request_is_finished_and_everything_is_written_down() {
    let installation = Installation::new();
    installation.create_erp();
    let secret = installation.create_service("sync");
    for signal in ["TERM", "INT"] {
        let mut server = installation.serve();
        let site = erp(&server);
        let before = issued(&installation);
        let fields =
            form(&[("grant_type", "client_credentials"), ("client_id", "sync"), ("client_secret", secret.as_str())]);
        let content = [("Content-Type", "application/x-www-form-urlencoded")];
        let mut running = site.connect().expect("a connection");
        let head = site.head("POST", "/id/connect/token", &content, fields.len());
        let (first, rest) = fields.split_at(10);
        running.write_all((head + first).as_bytes()).expect("written");

        // Once a later request on another connection is answered, the server has the beginning of this one.
        assert_eq!(site.get("/healthz", &[]).status, 200);
        server.signal(signal);
        until("no new connection is taken", PATIENCE, || site.connect().is_err());
        running.write_all(rest.as_bytes()).expect("the connection is still there");
        let answer = read(running).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(server.ended().code(), Some(0));
        assert!(server.err.whole().contains(r#""message":"stopped""#));
        assert_eq!(issued(&installation), before + 1, "the audit tells of it");
    }
}

fn issued(installation: &Installation) -> usize {
    installation.audit().iter().filter(|(kind, _)| kind == "token-issued").count()
}

#[test]
fn sign_ins_tokens_and_keys_outlive_a_restart() {
    let installation = Installation::new();
    installation.create_erp();
    let (app, service) = (installation.create_portal(), installation.create_service("sync"));
    let server = installation.serve();
    let site = erp(&server);
    installation.create_person(site, "alice", "correct horse battery");
    let mut alice = Browser::at(site);
    let tokens = app.redeem(site, &app.code(&mut alice, "alice", "correct horse battery"));
    let service_token = service_token(site, "sync", &service).member("access_token");
    let keys = site.get("/id/.well-known/openid-configuration/jwks", &[]).json();
    server.stop();

    let server = installation.serve();
    let site = erp(&server);
    let mut alice = alice.moved_to(site);
    assert!(alice.is_signed_in());
    assert_eq!(user_info(site, &tokens.member("access_token")).status, 200);
    assert_eq!(call_api(site, &service_token).status, 200);
    assert_eq!(app.refresh(site, &tokens.member("refresh_token")).status, 200);
    assert_eq!(site.get("/id/.well-known/openid-configuration/jwks", &[]).json(), keys);
}

#[test]
fn a_second_server_on_the_same_address_is_told_so() {
    let installation = Installation::new();
    installation.create_erp();
    let server = installation.serve();
    let text = std::fs::read_to_string(installation.path("gatehouse.toml")).expect("there");
    installation.write("gatehouse.toml", &text.replace("127.0.0.1:0", &format!("127.0.0.1:{}", server.port)));
    let said = installation.run(&["serve"]).refused();
    assert!(said.contains("is another server running?"), "{said}");
}
