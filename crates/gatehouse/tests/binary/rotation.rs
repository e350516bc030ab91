//! Rotation of the master key and of the root secret beside running servers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use serde_json::{Value, json};
use store::{SqlValue as Parameter, statement};

use crate::common::postgres;
use crate::support::browser::{App, Browser, user_info};
use crate::support::http::Site;
use crate::support::installation::{ERP, Installation, SHOP, erp, look};
use crate::support::process::ServerProcess;
use crate::support::{PATIENCE, SOON, until};

const PREVIOUS: &str = "[previous_master_key]\nfile = \"old.key\"\n";
const PASSWORD: &str = "correct horse battery";

/// Enough rows that a rotation can be interrupted in the middle.
const MANY: i64 = 20_000;

/// An installation and the URL of its database.
struct Rotating {
    installation: Installation,
    /// The URL as the configuration names it, and as this test opens it.
    named: &'static str,
    url: String,
    // Dropped last.
    _place: Option<crate::common::Place>,
    _runtime: Option<tokio::runtime::Runtime>,
}

impl Rotating {
    fn on_sqlite() -> Self {
        let installation = Installation::new();
        let url = format!("sqlite:{}", installation.path("house.db").display());
        Self { installation, named: "sqlite:house.db", url, _place: None, _runtime: None }
    }

    fn on_postgres() -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let place = runtime.block_on(postgres())?;
        let (installation, url) = (Installation::on(&place.url), place.url.clone());
        let named = "env:GATEHOUSE_TEST_DATABASE";
        Some(Self { installation, named, url, _place: Some(place), _runtime: Some(runtime) })
    }

    /// Makes the current key the previous one, and creates a new key.
    fn make_new_key(&self) {
        std::fs::rename(self.installation.path("master.key"), self.installation.path("old.key")).expect("there");
        self.installation.write_master_key();
        self.installation.configure(self.named, "", &[PREVIOUS, ERP].concat());
    }

    fn forget_old_key(&self) {
        std::fs::remove_file(self.installation.path("old.key")).expect("there");
        self.installation.configure(self.named, "", ERP);
    }

    /// The number of secrets under the new key, and under the old one.
    fn check(&self) -> (u64, u64) {
        let found = self.installation.json(&["master-key", "check"]);
        assert_eq!((&found["neither"], &found["unopened"]), (&json!(0), &json!([])), "{found}");
        (number(&found["current"]), number(&found["previous"]))
    }

    /// Adds many replaced audit keys, all under the old master key.
    fn add_many_secrets(&self) -> Vec<u8> {
        let sql = format!(
            "INSERT INTO audit_keys (instance, kid, private_key, created_at, replaced_at) \
             SELECT a.instance, a.kid || '-' || CAST(n.v AS TEXT), a.private_key, 1, 1 FROM audit_keys a, \
             (WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {MANY}) SELECT v FROM n) n"
        );
        look(&self.url, async |database| {
            let rows = database.query("SELECT private_key FROM audit_keys", vec![]).await.expect("no fault");
            assert_eq!(rows.len(), 1);
            database.commit(vec![statement(sql, vec![])].into()).await.map(drop).expect("no fault");
            rows[0].bytes(0).expect("bytes")
        })
    }

    /// Kills a rotation in the middle.
    fn kill_in_the_middle(&self, sealed: &[u8]) {
        let mut rotation = ServerProcess::started(&mut self.installation.command(&["master-key", "rotate"]));
        look(&self.url, async |database| {
            let sql = "SELECT COUNT(*) FROM audit_keys WHERE private_key = $1";
            let deadline = std::time::Instant::now() + PATIENCE;
            loop {
                let rows = database.query(sql, vec![Parameter::from(sealed)]).await.expect("no fault");
                if rows[0].int(0).expect("a number") <= MANY {
                    break;
                }
                assert!(std::time::Instant::now() < deadline, "it does not begin");
            }
        });
        rotation.signal("KILL");
        assert_eq!(rotation.ended().code(), None, "killed: {}", rotation.err.text());
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// A user's application that refreshes without a pause until it is stopped. Every answer must be a success.
struct Client {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(String, usize)>,
}

impl Client {
    fn start(site: Site, app: &App) -> Self {
        let mut browser = Browser::at(site);
        let mut newest = app.redeem(site, &app.code(&mut browser, "alice", PASSWORD)).member("refresh_token");
        let app = App { id: app.id, secret: app.secret.clone(), callback: app.callback };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (tell, begun) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut rounds = 0;
            while !stopped.load(Ordering::Relaxed) {
                let answer = app.refresh(site, &newest);
                assert_eq!(answer.status, 200, "{answer:?}");
                newest = answer.member("refresh_token");
                assert_eq!(user_info(site, &answer.member("access_token")).status, 200);
                let mut browser = Browser::at(site);
                let answer = app.redeem(site, &app.code(&mut browser, "alice", PASSWORD));
                assert_eq!(answer.status, 200, "{answer:?}");
                rounds += 1;
                let _heard = tell.send(());
            }
            (newest, rounds)
        });
        begun.recv().expect("the first round is answered");
        Self { stop, thread }
    }

    /// The newest refresh token, and the number of refreshes.
    fn stop(self) -> (String, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every answer was the one that was wanted")
    }
}

fn a_rotation_is_killed_and_repeated_beside_a_server_and_nothing_is_lost(rotating: &Rotating) {
    let installation = &rotating.installation;
    installation.create_erp();
    let app = installation.create_portal();
    let server = installation.serve();
    installation.create_person(erp(&server), "alice", PASSWORD);
    server.stop();
    let sealed = rotating.add_many_secrets();
    rotating.make_new_key();
    let (current, all) = rotating.check();
    assert!(current == 0 && all > 20_000, "{all}");
    let doctor = installation.run(&["doctor"]).stdout;
    assert!(doctor.contains("secrets are encrypted with the previous master key"), "{doctor}");

    let server = installation.serve();
    let site = erp(&server);
    let client = Client::start(site, &app);
    rotating.kill_in_the_middle(&sealed);
    let (current, previous) = rotating.check();
    assert!(current > 1 && previous > 0 && current + previous == all, "{current} {previous}");
    // A start in the middle of the rotation, and a rotation of signing keys.
    installation.run(&["key", "rotate", "RS256", "--instance", "erp"]).done();
    let said = installation.run(&["master-key", "rotate"]).done();
    assert!(said.contains("No secrets are encrypted with [previous_master_key]"), "{said}");
    assert_eq!(rotating.check(), (all + 1, 0));
    let doctor = installation.run(&["doctor"]).stdout;
    assert!(doctor.contains("the previous master key is no longer in use"), "{doctor}");
    let (refresh_token, rounds) = client.stop();
    assert!(rounds > 1, "{rounds}");
    let mut signed_in = Browser::at(site);
    app.code(&mut signed_in, "alice", PASSWORD);
    server.stop();

    rotating.forget_old_key();
    let server = installation.serve();
    let site = erp(&server);
    let answer = app.refresh(site, &refresh_token);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(signed_in.moved_to(site).is_signed_in());
    app.redeem(site, &app.code(&mut Browser::at(site), "alice", PASSWORD)).member("refresh_token");
    server.stop();
    assert_eq!(rotating.check(), (all + 1, 0));
    installation.run(&["audit", "verify"]).done();
    let doctor = installation.run(&["doctor"]);
    assert!(doctor.stdout.contains(&format!("the master key decrypts all {} secrets", all + 1)), "{}", doctor.stdout);
}

#[test]
fn a_rotation_is_killed_and_repeated_beside_a_server_on_sqlite() {
    a_rotation_is_killed_and_repeated_beside_a_server_and_nothing_is_lost(&Rotating::on_sqlite());
}

#[test]
fn a_rotation_is_killed_and_repeated_beside_a_server_on_postgresql() {
    let Some(rotating) = Rotating::on_postgres() else { return };
    a_rotation_is_killed_and_repeated_beside_a_server_and_nothing_is_lost(&rotating);
}

#[test]
fn what_keeps_the_master_key_from_being_rotated_is_told() {
    let rotating = Rotating::on_sqlite();
    let installation = &rotating.installation;
    installation.create_erp();
    let said = installation.run(&["master-key", "rotate"]).refused();
    assert!(said.contains("no previous master key is configured") && said.contains("[previous_master_key]"), "{said}");

    let good = std::fs::read(installation.path("master.key")).expect("there");
    std::fs::copy(installation.path("master.key"), installation.path("old.key")).expect("copied");
    installation.configure(rotating.named, "", &[PREVIOUS, ERP].concat());
    for command in [&["master-key", "rotate"][..], &["config", "check"], &["user", "list"]] {
        let said = installation.run(command).refused();
        assert!(said.contains("master_key and previous_master_key are the same key"), "{said}");
    }
    std::fs::remove_file(installation.path("old.key")).expect("there");
    let said = installation.run(&["master-key", "rotate"]).refused();
    assert!(said.contains("the previous master key in") && said.contains("cannot be read"), "{said}");

    // A new key, with a previous one that was never this database's.
    installation.write_master_key();
    rotating.make_new_key();
    let said = installation.run(&["master-key", "rotate"]).refused();
    assert!(said.contains("neither the master key nor the previous master key matches this database"), "{said}");
    let doctor = installation.run(&["doctor"]);
    assert!(doctor.stdout.contains("neither the master key nor the previous master key"), "{}", doctor.stdout);

    // The two keys exchanged: the message names the missing key.
    std::fs::write(installation.path("master.key"), &good).expect("written");
    let said = installation.run(&["master-key", "rotate"]).done();
    assert!(said.contains("0 secrets re-encrypted"), "{said}");
    assert!(said.contains(&format!("with [master_key] ({})", installation.path("master.key").display())), "{said}");
    assert!(said.contains(&format!("({}). Remove it", installation.path("old.key").display())), "{said}");
    for secret in ["master.key", "old.key"] {
        let key = std::fs::read_to_string(installation.path(secret)).expect("there");
        assert!(!said.contains(&key), "a key is never printed");
    }
}

#[test]
fn a_secret_that_no_key_opens_is_named_with_an_exit_code_and_the_others_are_rotated() {
    let rotating = Rotating::on_sqlite();
    let installation = &rotating.installation;
    installation.create_erp();
    installation.run(&["audit", "checkpoint"]).done();
    look(&rotating.url, async |database| {
        let sql = "INSERT INTO audit_keys (instance, kid, private_key, created_at, replaced_at) \
                   SELECT id, 'strange', $1, 1, 1 FROM instances";
        let strange = statement(sql, vec![Parameter::from(vec![7_u8; 60])]).expect(1);
        database.commit(vec![strange].into()).await.map(drop).expect("no fault");
    });
    rotating.make_new_key();
    let ran = installation.run(&["master-key", "rotate", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("instance erp, table audit_keys, row strange"), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((&report["previous"], &report["neither"]), (&json!(0), &json!(1)), "{report}");
    assert_eq!(report["unopened"], json!([{ "instance": "erp", "table": "audit_keys", "row": "strange" }]));
    assert_eq!(report["resealed"], report["current"]);
    rotating.forget_old_key();
    installation.serve().stop();
    let ran = installation.run(&["master-key", "check"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let doctor = installation.run(&["doctor"]);
    assert_eq!(doctor.code, Some(1));
    assert!(
        doctor.stdout.contains("1 secrets cannot be decrypted with any configured master key"),
        "{}",
        doctor.stdout
    );
}

fn a_new_root_secret_is_followed_by_a_running_server(rotating: &Rotating) {
    let installation = &rotating.installation;
    installation.create_erp();
    let app = installation.create_portal();
    let server = installation.serve();
    let site = erp(&server);
    installation.create_person(site, "alice", PASSWORD);
    let mut browser = Browser::at(site);
    let old = app.redeem(site, &app.code(&mut browser, "alice", PASSWORD)).member("refresh_token");
    let mut stranger = Browser::at(site);
    let (page, answer) = stranger.open_sign_in(&app.authorize_path());
    let stale = answer.field("csrf");

    let preview = installation.json(&["instance", "rotate-secret", "erp"]);
    assert_eq!((&preview["rotated"], &preview["refreshTokens"]), (&json!(false), &json!(1)), "{preview}");
    let said = installation.run(&["instance", "rotate-secret", "erp"]).done();
    for dies in ["1 refresh tokens", "every ErpSession", "open forms", "Nothing was changed"] {
        assert!(said.contains(dies), "{said}");
    }
    let answer = app.refresh(site, &old);
    assert_eq!(answer.status, 200, "nothing was done yet: {answer:?}");
    let newest = answer.member("refresh_token");

    let done = installation.json(&["instance", "rotate-secret", "erp", "--yes"]);
    assert_eq!(done, json!({ "instance": "erp", "rotated": true }));
    until("the server follows", SOON, || {
        let answer = app.refresh(site, &newest);
        answer.status == 400 && answer.member("error") == "invalid_grant"
    });
    let refused = stranger.post(&page, &[("csrf", &stale), ("login", "alice"), ("password", PASSWORD)]);
    assert_ne!(refused.status, 302, "the form was of the old secret: {refused:?}");
    let code = app.code(&mut stranger, "alice", PASSWORD);
    let fresh = app.redeem(site, &code).member("refresh_token");
    assert_eq!(app.refresh(site, &fresh).status, 200);
    assert!(browser.is_signed_in());
    let said = installation.run(&["instance", "rotate-secret", "nowhere", "--yes"]).refused();
    assert!(said.contains("instance nowhere not found"), "{said}");
    server.stop();
    assert_eq!(rotating.check().0, number(&installation.json(&["master-key", "check"])["current"]));
    installation.run(&["audit", "verify"]).done();
    let exported = installation.run(&["audit", "export"]).done();
    assert_eq!(exported.matches("rotate-root-secret").count(), 1, "the audit tells of it");
}

#[test]
fn a_new_root_secret_is_followed_by_a_running_server_on_sqlite() {
    a_new_root_secret_is_followed_by_a_running_server(&Rotating::on_sqlite());
}

#[test]
fn a_new_root_secret_is_followed_by_a_running_server_on_postgresql() {
    let Some(rotating) = Rotating::on_postgres() else { return };
    a_new_root_secret_is_followed_by_a_running_server(&rotating);
}

/// Each instance has its own root secret: the other instance's refresh tokens stay valid.
#[test]
fn a_new_root_secret_is_one_instances_own() {
    let installation = Installation::with("sqlite:house.db", "", &[ERP, SHOP].concat());
    installation.create_erp();
    installation.run(&["instance", "create", "shop"]).done();
    let url = format!("sqlite:{}", installation.path("house.db").display());
    let secrets = || {
        look(&url, async |database| {
            let all = database.instances().await.expect("no fault");
            all.into_iter().map(|stored| (stored.name, stored.root_secret)).collect::<Vec<_>>()
        })
    };
    let before = secrets();
    installation.run(&["instance", "rotate-secret", "erp", "--yes"]).done();
    let after = secrets();
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1], after[1]);
}
