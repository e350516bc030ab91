//! A locked database and a wrong key: the message is plain, and no data is lost.

use std::process::Command;

use crate::support::browser::{App, Browser, service_token};
use crate::support::http::{Answer, Site};
use crate::support::installation::{Installation, erp};
use crate::support::process::ServerProcess;
use crate::support::{SOON, until};

/// RFC 9110 §15.6.4: retry later, without a detail of the cause.
fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{answer:?}");
    assert_eq!(answer.member("error"), "temporarily_unavailable");
    for word in ["sqlite", "database", "locked", "busy", "house.db"] {
        assert!(!answer.body.to_lowercase().contains(word), "{answer:?}");
    }
}

/// An installation with a signed-in user, and that user's refresh token.
fn signed_in() -> (Installation, ServerProcess, App, String) {
    let installation = Installation::new();
    installation.create_erp();
    let app = installation.create_portal();
    // Otherwise the signal for a file above its size limit would end the process.
    let mut serve = Command::new("sh");
    serve.args(["-c", "trap '' XFSZ; exec \"$0\" serve --config \"$1\"", env!("CARGO_BIN_EXE_gatehouse")]);
    let server = ServerProcess::serve(serve.arg(installation.path("gatehouse.toml")).env_remove("RUST_LOG"));
    let site = erp(&server);
    installation.create_person(site, "alice", "correct horse battery");
    let tokens = app.redeem(site, &app.code(&mut Browser::at(site), "alice", "correct horse battery"));
    let refresh_token = tokens.member("refresh_token");
    (installation, server, app, refresh_token)
}

#[test]
fn a_database_locked_by_another_is_told_to_come_back_to_and_loses_nothing() {
    let (installation, server, app, refresh_token) = signed_in();
    let service = installation.create_service("sync");
    let site = erp(&server);
    until("the service is known", SOON, || service_token(site, "sync", &service).status == 200);

    let other = rusqlite::Connection::open(installation.path("house.db")).expect("another connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    assert_unavailable(&app.refresh(site, &refresh_token));
    // Requests that only read continue; their audit events wait.
    assert_eq!(service_token(site, "sync", &service).status, 200);
    assert_eq!(site.get("/id/.well-known/openid-configuration", &[]).status, 200);
    let issued = || installation.audit().iter().filter(|(kind, _)| kind == "token-issued").count();
    let before = issued();
    other.execute_batch("ROLLBACK").expect("the end of the lock");

    let answer = app.refresh(site, &refresh_token);
    assert_eq!(answer.status, 200, "the token that was not taken is good: {answer:?}");
    server.stop();
    assert!(issued() > before, "the audit has what was answered meanwhile");
}

#[test]
fn a_disk_that_takes_no_more_costs_a_request_and_nothing_else() {
    let (installation, server, app, refresh_token) = signed_in();
    let site = erp(&server);
    server.limit_files("1");
    for _ in 0..3 {
        let answer = app.refresh(site, &refresh_token);
        assert_unavailable(&answer);
        assert!(!["disk", "sqlite", "write", "house.db"].iter().any(|word| answer.body.contains(word)), "{answer:?}");
    }
    assert_eq!(site.get("/id/.well-known/openid-configuration", &[]).status, 200);
    server.limit_files("unlimited");
    let mut newest = refresh_token;
    for _ in 0..3 {
        newest = app.refresh(site, &newest).member("refresh_token");
    }
    server.stop();
    let server = installation.serve();
    assert_eq!(app.refresh(erp(&server), &newest).status, 200, "and it was kept");
}

#[test]
fn a_page_says_that_nothing_was_lost_while_the_database_is_locked() {
    let (installation, server, app, _) = signed_in();
    let other = rusqlite::Connection::open(installation.path("house.db")).expect("another connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let mut alice = Browser::at(erp(&server));
    let page = alice.sign_in(&app.authorize_path(), "alice", "correct horse battery");
    assert_eq!(page.status, 503, "{page:?}");
    assert!(page.header("retry-after").is_some() && page.body.contains("No data was lost"), "{page:?}");
    assert!(!page.body.to_lowercase().contains("database"), "{page:?}");
    other.execute_batch("ROLLBACK").expect("the end of the lock");
    app.code(&mut alice, "alice", "correct horse battery");
}

#[test]
fn a_wrong_master_key_is_named_before_anything_is_done() {
    let installation = Installation::new();
    installation.create_erp();
    let right = std::fs::read_to_string(installation.path("master.key")).expect("there");
    installation.write_master_key();
    for arguments in [&["serve"][..], &["user", "create", "bob"], &["instance", "create", "erp"], &["user", "list"]] {
        let said = installation.run(arguments).refused();
        assert!(said.contains("is this the master key that it was sealed under?"), "{arguments:?}: {said}");
        assert!(!said.contains(&right), "{said}");
    }
    std::fs::write(installation.path("master.key"), right).expect("the file can be written");
    assert_eq!(installation.json(&["user", "list"]).as_array().expect("a list").len(), 1, "nothing was done");
    let server = installation.serve();
    assert_eq!(Site { port: server.port, host: "erp.localhost" }.get("/readyz", &[]).status, 200);
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let installation = Installation::new();
    installation.write("house.db", &"this is not a database, and never was one\n".repeat(100));
    let said = installation.run(&["serve"]).refused();
    assert!(said.contains("house.db") || said.contains("database"), "{said}");
}
