//! `gatehouse audit` and `user erase`, on both databases: every change by SQL is found and named.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::Timestamp;
use model::audit::StoredEvent;
use model::audit::chain::{Chain, ChainHead, Seal, SealHash};
use oauth::jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use store::{Batch, CommitOutcome, Database, Store, statement, values};

use crate::common::{Place, postgres, sqlite};
use crate::support::installation::{ERP, Installation, erp, look, text};
use crate::support::process::{ServerProcess, run};
use crate::support::until;

/// Runs each test on SQLite, and on PostgreSQL if there is one.
fn on_both(test: impl Fn(&Books)) {
    test(&Books::new(sqlite()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Some(place) = runtime.block_on(postgres()) {
        test(&Books::new(place));
    }
}

/// An installation whose audit is written, changed and verified.
struct Books {
    installation: Installation,
    place: Place,
}

impl Books {
    fn new(place: Place) -> Self {
        Self { installation: Installation::on(&place.url), place }
    }

    /// At least three seals, signed at each step.
    fn written(&self) {
        self.installation.create_erp();
        for login in ["eve", "mallory"] {
            self.installation.json(&["user", "create", login]);
            self.checkpoint();
        }
        self.installation.run(&["user", "disable", "mallory"]).done();
        self.installation.run(&["user", "enable", "mallory"]).done();
        self.checkpoint();
    }

    fn checkpoint(&self) -> String {
        text(&self.installation.json(&["audit", "checkpoint"])["checkpoint"])
    }

    fn change(&self, sql: &str, params: Vec<store::SqlValue>) {
        look(&self.place.url, async |database: Database| {
            let done = database.commit(Batch::new().with(statement(sql.to_owned(), params))).await;
            assert_eq!(done.expect("no fault"), CommitOutcome::Committed);
        });
    }

    fn seals(&self) -> (Store, Vec<Seal>) {
        look(&self.place.url, async |database: Database| {
            let id = database.instances().await.expect("no fault")[0].id;
            let store = Store::new(database, id);
            let seals = store.seals_after(0, 100).await.expect("no fault");
            (store, seals)
        })
    }

    /// Writes the seal's row from `seal`.
    fn write(&self, seal: &Seal) {
        let sql = "UPDATE audit_seals SET previous = $2, hash = $3, contents = $4, events = $5, people = $6 WHERE number = $1";
        let Seal { number, previous, hash, contents, events, people, .. } = seal;
        self.change(sql, values![*number, previous, hash, contents, events, people]);
    }

    /// The result of verifying a changed audit: exit code 3, and the findings.
    fn findings(&self, arguments: &[&str]) -> Vec<(String, Value)> {
        let ran = self.installation.run(&[&["audit", "verify", "--json"], arguments].concat());
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.contains("the audit was tampered with"), "{ran:?}");
        let verdict: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(verdict["whole"], false);
        let findings = verdict["findings"].as_array().expect("a list").iter();
        findings.map(|finding| (text(&finding["finding"]), finding.clone())).collect()
    }

    fn is_whole(&self) -> Value {
        let verdict = self.installation.json(&["audit", "verify"]);
        assert_eq!(verdict["whole"], true, "{verdict}");
        verdict
    }
}

fn lines(seal: &Seal) -> Vec<String> {
    seal.events.lines().map(|line| format!("{line}\n")).collect()
}

fn first_event(seal: &Seal) -> StoredEvent {
    StoredEvent::parse(seal.events.lines().next().expect("it has events")).expect("it reads back").0
}

/// A manipulation of a seal's lines.
type Change = fn(&mut Vec<String>);

#[test]
fn an_event_that_is_edited_removed_inserted_or_moved_by_sql_is_named() {
    on_both(|books| {
        books.written();
        assert!(books.is_whole()["events"].as_u64() > Some(6));
        let (_, seals) = books.seals();
        let seal = seals.iter().find(|seal| seal.count > 2).expect("one has several events");
        let first = first_event(seal);
        let cases: [(&str, Change); 5] = [
            ("event-edited", |lines| lines[0] = lines[0].replace("\"done\"", "\"refused\"")),
            ("event-removed", |lines| drop(lines.remove(0))),
            ("event-inserted", |lines| lines.push(lines[0].replace("\"id\":\"0", "\"id\":\"1"))),
            ("event-moved", |lines| lines.swap(0, 1)),
            ("event-removed", Vec::clear),
        ];
        for (finding, change) in cases {
            let mut changed = lines(seal);
            change(&mut changed);
            books.write(&Seal { events: changed.concat(), ..seal.clone() });
            let found = books.findings(&[]);
            assert_eq!((found[0].0.as_str(), &found[0].1["seal"]), (finding, &json!(seal.number)), "{found:?}");
            if finding != "event-inserted" {
                let named = (&found[0].1["id"], &found[0].1["kind"], &found[0].1["at"]);
                assert_eq!(named, (&json!(first.id), &json!(first.kind), &json!(first.at.micros())), "{found:?}");
            }
        }
        books.write(seal);
        books.is_whole();
        let said = books.installation.run(&["audit", "verify"]).done();
        assert!(said.contains("No tampering found."), "{said}");
    });
}

#[test]
fn what_identifies_a_person_cannot_be_changed_or_taken_away_unnoticed() {
    on_both(|books| {
        books.written();
        let (_, seals) = books.seals();
        let seal = seals.iter().find(|seal| seal.people.contains("\"user\"")).expect("one is about a user");
        books.write(&Seal { people: String::new(), ..seal.clone() });
        assert_eq!(books.findings(&[])[0].0, "person-removed");
        let edited = seal.people.replace("\"text\":\"", "\"text\":\"AAAA");
        books.write(&Seal { people: edited, ..seal.clone() });
        assert_eq!(books.findings(&[])[0].0, "person-edited");
        books.write(seal);
        books.is_whole();
    });
}

#[test]
fn seals_that_are_gone_or_written_anew_are_found_by_what_was_signed() {
    on_both(|books| {
        books.written();
        let (store, seals) = books.seals();
        let newest = seals.last().expect("there are some");
        let elsewhere = books.installation.path("checkpoint.jws");
        books.installation.write("checkpoint.jws", &books.checkpoint());

        // Rewrites everything from the second seal on with right hashes: only a signature shows it.
        let instance = *store.instance();
        let mut head = ChainHead { number: 1, hash: seals[0].actual_hash(instance), at: seals[0].at };
        for seal in &seals[1..] {
            let mut event = first_event(seal);
            event.reason = "nothing to see".to_owned();
            let events = vec![(event, None), (StoredEvent { id: "x".to_owned(), ..first_event(seal) }, None)];
            let mut anew = Seal::new(instance, &head, seal.at, events, String::new());
            anew.count = seal.count;
            anew.hash = anew.actual_hash(instance).to_string();
            head = ChainHead { number: anew.number, hash: anew.actual_hash(instance), at: anew.at };
            books.write(&anew);
        }
        let found = books.findings(&[]);
        assert!(found.iter().all(|(what, _)| what == "not-as-signed" || what == "head-replaced"), "{found:?}");
        assert!(found.len() > 1);
        for seal in &seals {
            books.write(seal);
        }
        books.is_whole();

        // Removes the end, then also its signatures.
        books.change("DELETE FROM audit_seals WHERE number = $1", values![newest.number]);
        let missing = json!({ "finding": "seals-missing", "from": newest.number, "to": newest.number });
        assert_eq!(books.findings(&[])[0].1, missing);
        books.change("DELETE FROM audit_checkpoints WHERE number = $1", values![newest.number]);
        assert_eq!(books.findings(&[])[0].1, missing, "it is remembered which was the newest");
        let kept = elsewhere.display().to_string();
        assert_eq!(books.findings(&["--against", &kept])[0].1, missing, "a checkpoint that was kept elsewhere tells");
        books.change("DELETE FROM audit_seals WHERE number = $1", values![1_i64]);
        assert_eq!(books.findings(&[])[0].1, json!({ "finding": "seals-missing", "from": 1, "to": 1 }));
    });
}

#[test]
fn a_checkpoint_of_another_key_is_forged() {
    on_both(|books| {
        books.written();
        let (store, seals) = books.seals();
        let seal = seals.last().expect("there are some");
        let (key, _) = SigningKey::generate(Algorithm::Es256).expect("randomness");
        let claims = json!({
            "instance": store.instance().to_string(), "seal": seal.number, "hash": seal.hash, "iat": seal.at.seconds(),
        });
        let forged = key.sign("audit-checkpoint+jwt", claims.to_string().as_bytes()).expect("it signs");
        books.change("UPDATE audit_checkpoints SET jws = $2 WHERE number = $1", values![seal.number, &forged]);
        let found = books.findings(&[]);
        let forged_one =
            ("checkpoint-forged".to_owned(), json!({ "finding": "checkpoint-forged", "seal": seal.number }));
        assert_eq!(found[0], forged_one);
        assert_eq!((found.len(), found[1].0.as_str()), (2, "checkpoint-replaced"));
        // A forger's own key in the table does not help: it cannot be decrypted with the master key.
        books.change(
            "INSERT INTO audit_keys (instance, kid, private_key, created_at, replaced_at) \
             SELECT instance, $1, private_key, created_at, 1 FROM audit_keys",
            values![key.kid()],
        );
        assert_eq!(books.findings(&[])[0].0, "checkpoint-forged");
        books.installation.write("forged.jws", &forged);
        let path = books.installation.path("forged.jws").display().to_string();
        let said = books.installation.run(&["audit", "verify", "--checkpoint", &path]).refused();
        assert!(said.contains("not signed by this instance"), "{said}");
    });
}

#[test]
fn checkpoints_of_the_old_key_stay_good_when_it_is_renewed() {
    on_both(|books| {
        books.written();
        let old = books.checkpoint();
        books.installation.write("old.jws", &old);
        let keys = books.installation.json(&["audit", "renew-key"])["keys"].as_array().expect("a list").len();
        assert_eq!(keys, 2);
        assert_ne!(kid(&old), kid(&books.checkpoint()));
        books.is_whole();
        let path = books.installation.path("old.jws").display().to_string();
        books.installation.run(&["audit", "verify", "--checkpoint", &path]).done();
    });
}

fn kid(jws: &str) -> String {
    jws.split('.').next().expect("a header").to_owned()
}

#[test]
fn an_erased_person_is_gone_from_the_audit_and_the_chain_is_whole() {
    on_both(|books| {
        books.written();
        books.installation.run(&["user", "set-password", "eve"]).refused();
        books.installation.run_with(&["user", "set-password", "eve"], "correct horse battery").done();
        // Without a terminal there is no confirmation.
        assert!(books.installation.run(&["user", "erase", "eve"]).refused().contains("add --yes"));
        let export = |format: &str| books.installation.run(&["audit", "export", "--format", format]).done();
        assert!(export("jsonl").contains("\"login\":\"eve\"") && export("csv").contains(",eve,"));
        let id = text(&books.installation.json(&["user", "erase", "eve", "--yes"])["id"]);

        let verdict = books.is_whole();
        assert!(verdict["erased"].as_u64() > Some(1), "{verdict}");
        let (jsonl, csv) = (export("jsonl"), export("csv"));
        assert!(!jsonl.contains("eve\"") && !csv.contains(",eve,"), "{csv}");
        assert!(jsonl.contains("\"person\":\"erased\"") && csv.contains(&format!(",{id},erased,")), "{csv}");
        assert!(csv.contains("erase-user"), "the erasure itself is told, by the id");
        assert!(export("csv").contains(",mallory,"), "others are as they were");
        let users = books.installation.json(&["user", "list"]).to_string();
        assert!(!users.contains("\"eve\"") && users.contains(&format!("erased-{id}")), "{users}");
        for again in ["eve", "EVE"] {
            assert!(books.installation.run(&["user", "create", again]).refused().contains("already exists"));
        }
        for gone in ["eve", &format!("erased-{id}")] {
            let said = books.installation.run(&["user", "enable", gone]).refused();
            assert!(said.contains("not found"), "{said}");
        }
    });
}

/// Killed between a commit and its seal, or between a seal and its signature.
#[test]
fn a_killed_server_leaves_a_chain_that_the_next_one_goes_on_with() {
    on_both(|books| {
        books.written();
        for _ in 0..3 {
            let mut server = books.installation.serve();
            for _ in 0..20 {
                assert_eq!(erp(&server).get("/api/domain/odata/Crm_Customers", &[]).status, 401);
            }
            server.signal("KILL");
            server.ended();
            books.is_whole();
        }
        books.checkpoint();
        let verdict = books.is_whole();
        assert_eq!((&verdict["waiting"], &verdict["signed"]), (&json!(false), &verdict["newest"]));
    });
}

#[test]
fn an_export_is_checked_by_a_stranger() {
    on_both(|books| {
        books.written();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/audit/verify.py");
        let path = |name: &str| books.installation.path(name);
        let check = |export: &str| run(Command::new("python3").arg(&script).arg(path(export)).arg(path("at.jws")), "");
        let out = path("all.jsonl").display().to_string();
        let done = books.installation.json(&["audit", "export", "--out", &out]);
        books.installation.write("at.jws", &books.checkpoint());
        let said = check("all.jsonl").done();
        assert_eq!(said, format!("{} events in {} seals are as they were written\n", done["events"], done["seals"]));

        let whole = std::fs::read_to_string(&out).expect("it was written");
        let some =
            books.installation.run(&["audit", "export", "--kind", "key-rotated", "--since", "2020-01-01"]).done();
        books.installation.write("some.jsonl", &some);
        assert!(check("some.jsonl").done().contains("events in"));
        assert!(some.contains("\"kind\":\"key-rotated\"") && !some.contains("\"kind\":\"admin-change\""));
        for (from, to, said) in [
            ("\"outcome\":\"done\"", "\"outcome\":\"refused\"", "was edited or moved"),
            ("\"login\":\"eve\"", "\"login\":\"bob\"", "what identifies the person"),
            ("\"count\":", "\"count\":1", "was edited"),
        ] {
            books.installation.write("bent.jsonl", &whole.replacen(from, to, 1));
            let ran = check("bent.jsonl");
            assert_eq!(ran.code, Some(1), "{ran:?}");
            assert!(ran.stdout.contains(said), "{ran:?}");
        }
        // An existing file is not overwritten.
        assert!(books.installation.run(&["audit", "export", "--out", &out]).refused().contains("cannot create"));
        let none = books.installation.run(&["audit", "export", "--until", "2020-01-01", "--format", "csv"]).done();
        assert_eq!(none.lines().count(), 1, "{none}");
        assert_eq!(books.installation.run(&["audit", "export", "--since", "yesterday"]).code, Some(2));
    });
}

/// Accepts posts, one request after another, until it is dropped.
struct Sink {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let bodies = Arc::<Mutex<Vec<String>>>::default();
        let taken = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(body) = take_post(stream) else { return };
                taken.lock().expect("not poisoned").push(body);
            }
        });
        Self { address, bodies }
    }

    fn bodies(&self) -> Vec<String> {
        self.bodies.lock().expect("not poisoned").clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // A connection without a request ends the thread.
        drop(TcpStream::connect(self.address));
    }
}

fn take_post(mut stream: TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok().filter(|()| length > 0)?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").ok()?;
    Some(String::from_utf8(body).expect("JSON"))
}

/// The checkpoints that a server publishes work with `--against`, and reveal a database that was restored as a whole.
#[test]
fn published_checkpoints_find_a_database_that_was_put_back() {
    let installation = Installation::new();
    installation.create_erp();
    let (database, file) = (installation.path("house.db"), installation.path("checkpoints.jsonl"));
    let sink = Sink::start();
    let publish = format!(
        "[audit]\npublish = {{ log = true, file = \"checkpoints.jsonl\", webhook = \"http://{}/taken\" }}",
        sink.address
    );
    installation.configure("sqlite:house.db", "", &format!("{ERP}{publish}\n"));
    let serve = || {
        let mut server = installation.serve();
        assert_eq!(erp(&server).get("/api/domain/odata/Crm_Customers", &[]).status, 401);
        server.signal("TERM");
        assert!(server.ended().success());
        server.err.whole()
    };
    let log = serve();
    let lines = || std::fs::read_to_string(&file).expect("it is published");
    let first = lines();
    let published: Value = serde_json::from_str(first.lines().next().expect("a line")).expect("JSON");
    assert_eq!(published["instance"], "erp");
    assert!(log.contains(&text(&published["checkpoint"])), "{log}");
    assert_eq!(sink.bodies().concat(), first);
    let against = file.display().to_string();
    let verify = || installation.run(&["audit", "verify", "--against", &against]);
    verify().done();

    let backup = std::fs::read(&database).expect("it is closed");
    serve();
    assert!(lines().len() > first.len() && lines().starts_with(&first));
    verify().done();
    std::fs::write(&database, backup).expect("it is put back");
    installation.run(&["audit", "verify"]).done();
    let ran = verify();
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stdout.contains("missing"), "{ran:?}");
    installation.write("none.jsonl", "\n");
    let none = installation.path("none.jsonl").display().to_string();
    assert!(installation.run(&["audit", "verify", "--against", &none]).refused().contains("contains no checkpoint"));
}

/// The server signed that its database went back, which has an exit code of its own. This holds for both chains; here
/// for refusals of unauthenticated clients.
#[test]
fn a_chain_that_is_only_broken_has_an_exit_code_of_its_own() {
    let installation = Installation::new();
    installation.create_erp();
    let database = installation.path("house.db");
    let backup = installation.path("backup.db").display().to_string();
    let mut server = installation.serve();
    let get = |server: &ServerProcess| erp(server).get("/api/domain/odata/Crm_Customers", &[]).status;
    let url = format!("sqlite:{}", database.display());
    let sealed = || {
        look(&url, async |database: Database| {
            let instance = database.instances().await.expect("no fault")[0].id;
            Store::new(database, instance).with_chain(Chain::Refusals).audit_head().await.expect("no fault").number
        })
    };
    let seal_one_more = |server: &ServerProcess| {
        let before = sealed();
        assert_eq!(get(server), 401);
        until("it is sealed", Duration::from_secs(20), || sealed() > before);
    };
    seal_one_more(&server);
    look(&url, async |database: Database| {
        let tables = ["refusal_seals", "refusal_checkpoints", "refusal_memory"];
        let copy = tables.map(|table| statement(format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}"), vec![]));
        assert_eq!(database.commit(copy.to_vec().into()).await.expect("no fault"), CommitOutcome::Committed);
    });
    seal_one_more(&server);
    // All in one commit: the server sees the chain of an earlier time, with its memory.
    look(&url, async |database: Database| {
        let mut batch = Batch::new();
        for table in ["refusal_seals", "refusal_checkpoints", "refusal_memory"] {
            batch.push(statement(format!("DELETE FROM {table}"), vec![]));
            batch.push(statement(format!("INSERT INTO {table} SELECT * FROM kept_{table}"), vec![]));
        }
        assert_eq!(database.commit(batch).await.expect("no fault"), CommitOutcome::Committed);
    });
    seal_one_more(&server);
    server.signal("TERM");
    server.ended();
    let ran = installation.run(&["audit", "verify", "--json"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let verdict: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((&verdict["whole"], &verdict["refusals"]["only_broken"]), (&json!(false), &json!(true)));
    assert_eq!(verdict["refusals"]["findings"][0]["cause"], "chain-went-back");
    installation.run(&["audit", "verify", "--chain", "main"]).done();
    let said = installation.run(&["audit", "verify"]);
    assert!(
        said.stdout.contains("gone back to an earlier state") && said.stderr.contains("recorded break"),
        "{said:?}"
    );

    // An independent verifier reports it too.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/audit/verify.py");
    installation.run(&["audit", "export", "--chain", "refusals", "--out", &backup]).done();
    let listed = installation.json(&["audit", "list", "--chain", "refusals", "--refused"]);
    assert!(listed.as_array().expect("a list").iter().all(|event| event["reason"] == "no_credential"), "{listed}");
    let ran = run(Command::new("python3").arg(&script).arg(&backup), "");
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stdout.contains("chain-went-back"), "{ran:?}");
}

#[test]
fn hashes_in_the_export_are_of_the_bytes_that_stand_there() {
    on_both(|books| {
        books.written();
        let export = books.installation.run(&["audit", "export"]).done();
        let mut events = 0;
        for line in export.lines().filter(|line| line.starts_with("{\"of\":")) {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let event = line.split_once(",\"event\":").expect("it stands last").1;
            let event = event.strip_suffix('}').expect("the end of the record");
            assert_eq!(record["hash"], SealHash::of(event.as_bytes()).to_string());
            assert!(Timestamp(record["event"]["at"].as_i64().expect("a time")) > Timestamp(0));
            events += 1;
        }
        assert!(events > 6);
    });
}
