//! `gatehouse demo`: the exact contract on which every black-box check relies.

use std::fs;

use tempfile::TempDir;

use crate::support::browser::{App, Browser, call_api, service_token, user_info};
use crate::support::http::Site;
use crate::support::process::{ServerProcess, demo, gatehouse, run};
use crate::support::{PATIENCE, until};

fn site(server: &ServerProcess) -> Site {
    Site { port: server.port, host: "localhost" }
}

/// A demo with its data in `folder`.
fn kept(folder: &TempDir) -> ServerProcess {
    ServerProcess::demo(demo().arg("--data").arg(folder.path()))
}

#[test]
fn the_demo_shows_its_people_applications_and_data() {
    let server = ServerProcess::demo(&mut demo());
    let welcome = server.out.text();
    assert_eq!(site(&server).get("/readyz", &[]).status, 200);
    let issuer =
        |host| Site { port: server.port, host }.get("/id/.well-known/openid-configuration", &[]).member("issuer");
    let root = format!("http://localhost:{}", server.port);
    assert_eq!(issuer("localhost"), format!("{root}/id"));
    for host in ["127.0.0.1", "127.1.2.3", "[::1]", "other.localhost"] {
        assert_eq!(issuer(host), format!("{root}/id"), "{host}: of this machine, and no instance claims it");
    }
    for host in ["evil.example", "localhost.evil.example", "192.0.2.1"] {
        let answer = Site { port: server.port, host }.get("/id/.well-known/openid-configuration", &[]);
        assert_eq!(answer.status, 404, "{host}: a name of elsewhere that leads here was rebound");
    }
    assert_eq!(issuer("demodb.localhost"), format!("http://demodb.localhost:{}/id", server.port));
    for said in [root.as_str(), &format!("http://demodb.localhost:{}", server.port), "ecila-Demo1", "curl "] {
        assert!(welcome.contains(said), "{said} is not in {welcome}");
    }

    for (host, suffix) in [("localhost", ""), ("demodb.localhost", "-demodb")] {
        let site = Site { port: server.port, host };
        for (login, may) in [("admin", true), ("alice", true), ("bob", true), ("carol", true), ("dave", false)] {
            let mut browser = Browser::at(site);
            let password = format!("{}-Demo1", login.chars().rev().collect::<String>());
            browser.sign_in("/id/account/login", login, &password);
            assert_eq!(browser.is_signed_in(), may, "{login} at {host}");
        }
        for (id, secret, status) in [("service", "service", 200), ("reader", "reader", 200), ("off", "off", 401)] {
            let answer = service_token(site, &format!("my.trusted.app/{id}"), &format!("{secret}-secret{suffix}"));
            assert_eq!(answer.status, status, "{id} at {host}");
        }
        let token = service_token(site, "my.trusted.app/service", &format!("service-secret{suffix}"));
        let path = "/api/domain/odata/Crm_Customers?$top=1&$count=true";
        let answer = site.get(path, &[("Authorization", &format!("Bearer {}", token.member("access_token")))]);
        assert!(answer.json()["@odata.count"].as_i64().is_some_and(|count| count >= 500), "{answer:?}");
    }
    let (out, err) = server.stop();
    assert_eq!(out.trim_end(), welcome.trim_end(), "nothing but the welcome");
    assert_eq!(err, "", "nothing to worry about");
}

#[test]
fn the_demo_ends_cleanly_and_leaves_nothing_behind() {
    for signal in ["INT", "TERM"] {
        let folder = TempDir::new().expect("a folder");
        let mut server = ServerProcess::demo(demo().env("TMPDIR", folder.path()));
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1, "the temporary folder");
        server.signal(signal);
        assert_eq!(server.ended().code(), Some(0));
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0, "after {signal}");
    }
}

#[test]
fn the_demo_listens_on_loopback_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let said = run(gatehouse().args(["demo", "--listen", address]), "").refused();
        assert!(said.contains("is not a loopback address"), "{said}");
    }
}

#[test]
fn a_kept_demo_goes_on_from_what_is_there() {
    let folder = TempDir::new().expect("a folder");
    let app = App::portal();
    let server = kept(&folder);
    let before = site(&server);
    let mut alice = Browser::at(before);
    let tokens = app.redeem(before, &app.code(&mut alice, "alice", "ecila-Demo1"));
    assert_eq!(user_info(before, &tokens.member("access_token")).status, 200);
    let keys = before.get("/id/.well-known/openid-configuration/jwks", &[]).json();
    server.stop();

    let server = kept(&folder);
    let after = site(&server);
    assert_eq!(after.get("/id/.well-known/openid-configuration/jwks", &[]).json(), keys);
    let issuer = after.get("/id/.well-known/openid-configuration", &[]).member("issuer");
    assert_eq!(issuer, format!("http://localhost:{}/id", after.port), "this start's, not the first one's");
    let renewed = app.refresh(after, &tokens.member("refresh_token"));
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(call_api(after, &renewed.member("access_token")).status, 200);
    assert!(alice.moved_to(after).is_signed_in());
}

#[test]
fn a_demo_killed_while_it_filled_its_folder_fills_it_anew() {
    for moment in ["demo.half-filled", "demo.half-filled/gatehouse.db", "demo.half-filled/gatehouse.db-wal", "demo"] {
        let folder = TempDir::new().expect("a folder");
        let mut first = ServerProcess::started(demo().arg("--data").arg(folder.path()));
        until(moment, PATIENCE, || folder.path().join(moment).exists());
        first.signal("KILL");
        first.ended();
        let server = kept(&folder);
        let answer = service_token(site(&server), "my.trusted.app/service", "service-secret");
        assert_eq!(answer.status, 200, "{moment}: {answer:?}");
        assert!(!folder.path().join("demo.half-filled").exists(), "{moment}");
    }
}

#[test]
fn the_demo_never_touches_what_it_did_not_make() {
    let folder = TempDir::new().expect("a folder");
    for file in ["gatehouse.db", "master.key"] {
        fs::write(folder.path().join(file), "of a real installation").expect("the folder can be written");
    }
    kept(&folder).stop();
    for file in ["gatehouse.db", "master.key"] {
        assert_eq!(fs::read_to_string(folder.path().join(file)).expect("still there"), "of a real installation");
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_with_its_name() {
    let folder = TempDir::new().expect("a folder");
    let start = |path| run(demo().arg("--data").arg(path), "").refused();
    fs::write(folder.path().join("file"), "").expect("the folder can be written");
    assert!(start(folder.path().join("file")).contains("cannot create"));
    fs::create_dir(folder.path().join("demo")).expect("the folder can be written");
    assert!(start(folder.path().to_owned()).contains("demo/master.key cannot be read"));
    fs::write(folder.path().join("demo/master.key"), "not a key").expect("the folder can be written");
    assert!(start(folder.path().to_owned()).contains("demo/master.key is not 32 bytes in base64"));
}
