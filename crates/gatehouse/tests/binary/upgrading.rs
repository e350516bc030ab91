//! A database of another version: only `serve` and `migrate` apply its migrations.

use std::process::Command;

use serde_json::Value;
use store::{Database, DatabaseUrl};

use crate::common::postgres;
use crate::support::installation::{Installation, look};
use crate::support::process::ServerProcess;

/// The schema version before this version's newest migrations.
const OLDER: i32 = 22;

/// A database with the schema of an older version and no instance.
fn make_older(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let database = Database::open(&DatabaseUrl::parse(url).expect("a URL")).await.expect("the database opens");
        database.migrate_to(OLDER).await.expect("no fault");
        database.close().await;
    });
}

fn version(url: &str) -> (i64, i64) {
    let look = look(url, async |database| database.look().await.expect("no fault"));
    (look.applied.expect("tables"), look.known)
}

fn commands_leave_older_tables_and_migrate_brings_them_up(installation: &Installation, url: &str) {
    make_older(url);
    let (_, known) = version(url);
    let refusal = format!("the database is at an older version ({OLDER}; this program needs {known})");
    for arguments in [
        &["user", "list"][..],
        &["user", "create", "alice"],
        &["instance", "create", "erp"],
        &["instance", "list"],
        &["instance", "rotate-secret", "erp", "--yes"],
        &["key", "list"],
        &["audit", "verify"],
        &["master-key", "check"],
        &["master-key", "rotate"],
        &["why", "019a1b2c3d4e0000000000000000002a"],
    ] {
        let said = installation.run(arguments).refused();
        assert!(said.contains(&refusal) && said.contains("run `gatehouse migrate` or start the server"), "{said}");
    }
    let doctor = installation.run(&["doctor", "--json"]).stdout;
    assert!(doctor.contains(&format!("schema version {OLDER}, this program needs {known}")), "{doctor}");
    assert!(doctor.contains("run `gatehouse migrate`"), "{doctor}");

    let planned = installation.json(&["migrate", "--dry-run"]);
    assert_eq!((&planned["version"], &planned["dryRun"]), (&Value::from(OLDER), &Value::from(true)));
    let said = installation.run(&["migrate", "--dry-run"]).done();
    assert!(said.contains("V23__seat_ceilings"), "{said}");
    assert_eq!(version(url).0, i64::from(OLDER), "nothing of all that changed the tables");

    let done = installation.json(&["migrate"]);
    assert_eq!(done["applied"], planned["pending"]);
    assert_eq!(done["applied"][0], "V23__seat_ceilings");
    assert_eq!((&done["version"], &done["known"]), (&Value::from(known), &Value::from(known)));
    assert_eq!(version(url).0, known);
    assert_eq!(installation.json(&["migrate"])["applied"], serde_json::json!([]), "once is enough");
    installation.create_erp();
    installation.run(&["user", "list"]).done();
}

#[test]
fn only_migrate_brings_older_tables_up_on_sqlite() {
    let installation = Installation::new();
    let url = format!("sqlite:{}", installation.path("house.db").display());
    commands_leave_older_tables_and_migrate_brings_them_up(&installation, &url);
}

#[test]
fn only_migrate_brings_older_tables_up_on_postgresql() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let Some(place) = runtime.block_on(postgres()) else { return };
    commands_leave_older_tables_and_migrate_brings_them_up(&Installation::on(&place.url), &place.url);
}

#[test]
fn a_server_brings_older_tables_up() {
    let installation = Installation::new();
    let url = format!("sqlite:{}", installation.path("house.db").display());
    make_older(&url);
    let mut server = ServerProcess::started(&mut installation.command(&["serve"]));
    assert_eq!(server.ended().code(), Some(1), "no instance was made yet");
    assert!(
        server.err.whole().contains("instance erp is configured but was not created yet"),
        "{}",
        server.err.whole()
    );
    let (applied, known) = version(&url);
    assert_eq!(applied, known);
}

#[test]
fn migrate_works_beside_servers_and_itself_and_needs_no_master_key() {
    let installation = Installation::new();
    installation.create_erp();
    let server = installation.serve();
    let started: Vec<_> = (0..3).map(|_| installation.command(&["migrate"]).spawn().expect("it starts")).collect();
    for mut command in started {
        assert!(command.wait().expect("our own child").success());
    }
    server.stop();
    std::fs::remove_file(installation.path("master.key")).expect("there");
    let said = installation.run(&["migrate"]).done();
    assert!(said.contains("Nothing to do"), "{said}");
}

/// An older program works on tables of a newer version, as an older server does.
#[test]
fn commands_go_on_beside_newer_tables_where_they_only_grew() {
    let installation = Installation::new();
    installation.create_erp();
    let url = format!("sqlite:{}", installation.path("house.db").display());
    look(&url, async |database| {
        let insert = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
                      VALUES (9999, 'later', '2027-01-01T00:00:00Z', '1')";
        let outcome = database.commit(vec![store::statement(insert, vec![]).expect(1)].into()).await;
        assert_eq!(outcome.expect("no fault"), store::CommitOutcome::Committed);
    });
    installation.run(&["user", "create", "alice"]).done();
    let said = installation.run(&["migrate"]).done();
    assert!(said.contains("version 9999, newer than this program") && said.contains("Nothing to do"), "{said}");
    let doctor = installation.run(&["doctor", "--json"]).stdout;
    assert!(doctor.contains("use the same version as the server"), "{doctor}");
    // This version does not know which secrets a newer version encrypts.
    for arguments in [&["master-key", "rotate"][..], &["master-key", "check"]] {
        let said = installation.run(arguments).refused();
        assert!(said.contains("newer"), "{said}");
    }
    installation.serve().stop();
}

#[test]
fn there_is_nothing_to_migrate_where_there_is_no_database() {
    let installation = Installation::new();
    let said = installation.run(&["migrate"]).refused();
    assert!(said.contains("no database file"), "{said}");
    assert!(!installation.path("house.db").exists());
    let help =
        crate::support::process::run(Command::new(env!("CARGO_BIN_EXE_gatehouse")).args(["migrate", "--help"]), "");
    assert!(help.done().contains("--dry-run"));
}
