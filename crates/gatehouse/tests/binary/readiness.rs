//! Full disks and unreachable databases: affected requests get 503, readiness gives the reason, the log stays short,
//! and the server recovers by itself.

use std::time::{Duration, Instant};

use crate::common::{Place, postgres};
use crate::support::browser::{App, Browser, service_token};
use crate::support::disk::{FailingDisk, IO_ERROR, NO_SPACE, READ_ONLY};
use crate::support::http::{Answer, Site};
use crate::support::installation::{ERP, Installation, erp};
use crate::support::process::ServerProcess;
use crate::support::wire::Wire;
use crate::support::{PATIENCE, until};

/// `/readyz` answers within this time, whatever the database does.
const PROMPT: Duration = Duration::from_secs(2);
/// A server that was asked to stop is gone within this time.
const GONE: Duration = Duration::from_secs(15);
/// Less than the 30 s limit of a request.
const ANSWERED: Duration = Duration::from_secs(20);

fn timed<T>(limit: Duration, what: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = what();
    assert!(begun.elapsed() < limit, "took {:?}, not {limit:?}", begun.elapsed());
    done
}

fn ready(site: Site) -> Answer {
    timed(PROMPT, || site.get("/readyz", &[]))
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{answer:?}");
}

fn assert_token_unavailable(answer: &Answer) {
    assert_unavailable(answer);
    assert_eq!(answer.member("error"), "temporarily_unavailable");
}

/// Not ready for this reason, but alive.
fn until_not_ready(site: Site, reason: &str) {
    until(reason, PATIENCE, || {
        let answer = ready(site);
        answer.status == 503 && answer.body.contains(reason)
    });
    assert_unavailable(&ready(site));
    assert_eq!(site.get("/healthz", &[]).status, 200);
}

fn until_ready(site: Site) {
    until("ready again", PATIENCE, || ready(site).status == 200);
    assert_eq!(ready(site).body, "ready\n");
}

/// Sends SIGTERM; the server ends in time.
fn stop_in_time(mut server: ServerProcess) -> String {
    timed(GONE, || {
        server.signal("TERM");
        server.ended();
    });
    server.err.whole()
}

/// Log lines about faults of this kind.
fn lines(log: &str, kind: &str) -> usize {
    log.lines().filter(|line| line.contains(&format!(r#""kind":"{kind}""#))).count()
}

struct Running {
    installation: Installation,
    server: ServerProcess,
    app: App,
    refresh_token: String,
}

impl Running {
    /// A server with alice signed in. `serve` may change the command that starts it.
    fn on(installation: Installation, serve: impl FnOnce(&mut std::process::Command)) -> Self {
        installation.create_erp();
        let app = installation.create_portal();
        let mut command = installation.command(&["serve"]);
        serve(&mut command);
        let server = ServerProcess::serve(&mut command);
        let site = erp(&server);
        installation.create_person(site, "alice", "correct horse battery");
        let tokens = app.redeem(site, &app.code(&mut Browser::at(site), "alice", "correct horse battery"));
        let refresh_token = tokens.member("refresh_token");
        Self { installation, server, app, refresh_token }
    }

    fn site(&self) -> Site {
        erp(&self.server)
    }

    fn refresh(&self) -> Answer {
        timed(ANSWERED, || self.app.refresh(self.site(), &self.refresh_token))
    }

    /// A sign-in as a browser sends it.
    fn sign_in(&self) -> Answer {
        let mut alice = Browser::at(self.site());
        let (_, page) = timed(ANSWERED, || alice.open_sign_in(&self.app.authorize_path()));
        if page.status == 503 {
            return page;
        }
        timed(ANSWERED, || alice.sign_in(&self.app.authorize_path(), "alice", "correct horse battery"))
    }

    fn works_again(&mut self) {
        until_ready(self.site());
        until("tokens are issued again", PATIENCE, || {
            let answer = self.refresh();
            if answer.status == 200 {
                self.refresh_token = answer.member("refresh_token");
            }
            answer.status == 200
        });
    }
}

#[test]
fn a_disk_that_is_full_or_fails_is_told_of_in_every_language_and_once_a_minute() {
    let disk = FailingDisk::new();
    let mut running = Running::on(Installation::new(), |serve| disk.under(serve));
    let site = running.site();
    for (error, kind) in [(NO_SPACE, "disk full"), (READ_ONLY, "disk error"), (IO_ERROR, "disk error")] {
        disk.fail(error);
        for _ in 0..20 {
            assert_token_unavailable(&running.refresh());
        }
        let page = running.sign_in();
        assert_unavailable(&page);
        assert!(page.body.contains("No data was lost") && page.body.contains("temporarily_unavailable"), "{page:?}");
        until_not_ready(site, &format!("not ready: database-writes failed: {kind} for "));
        let verbose = site.get("/readyz?verbose", &[]);
        assert_eq!(verbose.status, 503, "{verbose:?}");
        for line in [
            &format!("[-]database-writes failed: {kind} for ")[..],
            "[+]database-reads ok\n",
            "[+]memory ok\n",
            "[+]task:seal ok\n",
        ] {
            assert!(verbose.body.contains(line), "{line}: {verbose:?}");
        }
        assert!(!verbose.body.contains("erp"), "strangers learn no names: {verbose:?}");
        assert_eq!(site.get("/id/.well-known/openid-configuration", &[]).status, 200, "what is in memory is answered");
        disk.mend();
        running.works_again();
    }
    let log = running.server.err.text();
    assert_eq!((lines(&log, "disk full"), lines(&log, "disk error")), (1, 1), "{log}");
    assert!(log.contains("make room on the database's disk"), "the line says what to do: {log}");
    assert_eq!(lines(&log, "internal error"), 0, "{log}");
    disk.fail(NO_SPACE);
    assert_token_unavailable(&running.refresh());
    stop_in_time(running.server);
}

#[test]
fn a_disk_that_fills_up_while_nobody_writes_is_found_by_whoever_asks_for_readiness() {
    let disk = FailingDisk::new();
    let running = Running::on(Installation::new(), |serve| disk.under(serve));
    until_ready(running.site());
    disk.fail(NO_SPACE);
    until_not_ready(running.site(), "database-writes failed: disk full");
    disk.mend();
    until_ready(running.site());
    running.server.stop();
}

#[test]
fn nothing_is_answered_yes_that_goes_into_a_deleted_database() {
    let mut running = Running::on(Installation::new(), |_| ());
    let (file, aside) = (running.installation.path("house.db"), running.installation.path("aside.db"));
    std::fs::rename(&file, &aside).expect("moved");
    assert_token_unavailable(&running.refresh());
    until_not_ready(running.site(), "file replaced for ");
    std::fs::copy(&aside, &file).expect("another one in its place");
    assert_token_unavailable(&running.refresh());
    std::fs::rename(&aside, &file).expect("moved back");
    running.works_again();
    std::fs::rename(&file, &aside).expect("moved");
    assert_token_unavailable(&running.refresh());
    stop_in_time(running.server);
}

#[test]
fn a_lock_of_another_program_shows_and_holds_no_stop_up() {
    let running = Running::on(Installation::new(), |_| ());
    let other = rusqlite::Connection::open(running.installation.path("house.db")).expect("another connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    assert_token_unavailable(&running.refresh());
    until_not_ready(running.site(), "database-writes failed: locked for ");
    other.execute_batch("ROLLBACK").expect("the end of the lock");
    until_ready(running.site());
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    stop_in_time(running.server);
}

const METRICS: &str = "[metrics]\nlisten = \"127.0.0.1:0\"\n";

/// The metrics listener, if [`METRICS`] is configured.
fn operator(server: &ServerProcess) -> Site {
    let port = server.err.wait_for(|text| {
        let metrics = text.split(r#""metrics":"[127.0.0.1:"#).nth(1)?;
        metrics.split(']').next()?.parse::<u16>().ok()
    });
    Site { port, host: "127.0.0.1" }
}

#[test]
fn on_a_full_disk_refusals_of_strangers_are_given_up_until_there_is_room() {
    let disk = FailingDisk::new();
    let installation = Installation::with("sqlite:house.db", "", &format!("{METRICS}{ERP}"));
    let mut running = Running::on(installation, |serve| disk.under(serve));
    let operator = operator(&running.server);
    let are_held_back = |held_back: u8| {
        let line = format!(r#"gatehouse_audit_refusals_held_back{{instance="erp"}} {held_back}"#);
        until(&line, PATIENCE, || operator.get("/metrics", &[]).body.contains(&line));
    };
    are_held_back(0);
    disk.fail(NO_SPACE);
    assert_token_unavailable(&running.refresh());
    are_held_back(1);
    disk.mend();
    running.works_again();
    are_held_back(0);
    let log = stop_in_time(running.server);
    for line in ["the disk is nearly full", "there is room on the disk"] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

#[test]
fn the_operators_listener_names_instances_and_the_doctor_reads_it() {
    let instances = format!("{METRICS}{ERP}");
    let installation = Installation::with("sqlite:house.db", "", &instances);
    installation.create_erp();
    let server = installation.serve();
    let operator = operator(&server);
    until("every check is well", PATIENCE, || ready(operator).status == 200);
    assert_eq!(operator.get("/healthz", &[]).status, 200);
    let verbose = operator.get("/readyz?verbose", &[]).body;
    assert!(verbose.contains("[+]memory:erp ok\n") && verbose.contains("[+]audit-buffer:erp ok\n"), "{verbose}");
    let figures = operator.get("/metrics", &[]).body;
    for line in ["gatehouse_ready{} 1", r#"gatehouse_check_failed{check="database-writes"} 0"#] {
        assert!(figures.contains(line), "{line}: {figures}");
    }
    // The configuration has port 0, so the doctor is given the chosen port.
    let changed = instances.replace("127.0.0.1:0", &format!("127.0.0.1:{}", operator.port));
    installation.configure("sqlite:house.db", "", &changed);
    let report = installation.run(&["doctor"]).stdout;
    assert!(report.contains("checks passed"), "{report}");
    std::fs::rename(installation.path("house.db"), installation.path("aside.db")).expect("moved");
    until_not_ready(operator, "file replaced");
    let report = installation.run(&["doctor"]).stdout;
    assert!(report.contains("failed: file replaced"), "{report}");
    std::fs::rename(installation.path("aside.db"), installation.path("house.db")).expect("moved back");
    until_ready(operator);
    server.stop();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// The host of a URL, and the URL with `port` on loopback instead.
fn by_way_of(url: &str, port: u16) -> String {
    let (before, rest) = url.split_once('@').expect("a user");
    let (_, path) = rest.split_once('/').expect("a database");
    format!("{before}@127.0.0.1:{port}/{path}")
}

fn server_of(place: &Place) -> String {
    let (_, rest) = place.url.split_once('@').expect("a user");
    rest.split('/').next().expect("an address").to_owned()
}

#[test]
fn a_database_server_that_hangs_holds_up_neither_readiness_nor_a_request_nor_the_end() {
    let Some(place) = runtime().block_on(postgres()) else { return };
    let wire = Wire::to(&server_of(&place));
    let mut running = Running::on(Installation::on(&by_way_of(&place.url, wire.port)), |_| ());
    let secret = running.installation.create_service("sync");
    let site = running.site();
    until("the service is known", PATIENCE, || service_token(site, "sync", &secret).status == 200);
    wire.cut();
    until_not_ready(site, "no answer for ");
    assert_token_unavailable(&running.refresh());
    assert_token_unavailable(&timed(ANSWERED, || service_token(site, "sync", &secret)));
    assert_unavailable(&running.sign_in());
    let log = running.server.err.text();
    assert!(lines(&log, "no answer") <= 2, "{log}");
    wire.join();
    running.works_again();
    wire.cut();
    let log = stop_in_time(running.server);
    assert!(log.contains(r#""message":"stopped""#), "{log}");
}

/// Every table answers writes with this SQLSTATE.
async fn refuse_writes(place: &Place, state: Option<&str>) {
    let client = place.client().await;
    let sql = match state {
        Some(state) => format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '{state}'; END $$; \
             DO $$ DECLARE place regclass; BEGIN \
               FOR place IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP \
                 EXECUTE format('CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON %s \
                                 FOR EACH ROW EXECUTE FUNCTION refuse()', place); END LOOP; END $$"
        ),
        None => "DROP FUNCTION refuse() CASCADE".to_owned(),
    };
    // It locks all tables, as do the server's transactions in another order: the database may end either of the two.
    loop {
        match client.batch_execute(&sql).await {
            Err(error) if error.code().is_some_and(|state| state.code() == "40P01") => {}
            done => return done.expect("a superuser may"),
        }
    }
}

#[test]
fn a_database_server_whose_disk_is_full_is_told_of_and_heals() {
    let runtime = runtime();
    let Some(place) = runtime.block_on(postgres()) else { return };
    let mut running = Running::on(Installation::on(&place.url), |_| ());
    for (state, kind) in [("53100", "disk full"), ("25006", "read-only"), ("58030", "disk error")] {
        runtime.block_on(refuse_writes(&place, Some(state)));
        for _ in 0..5 {
            assert_token_unavailable(&running.refresh());
        }
        assert_unavailable(&running.sign_in());
        until_not_ready(running.site(), &format!("database-writes failed: {kind} for "));
        runtime.block_on(refuse_writes(&place, None));
        running.works_again();
        assert_eq!(lines(&running.server.err.text(), kind), 1);
    }
    running.server.stop();
}
