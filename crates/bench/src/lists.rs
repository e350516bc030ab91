//! Pages of the instance manager whose lists have very many rows, compared with pages of short lists.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use flows::{Database, DatabaseUrl, Platform as _};
use model::application::record::{ApplicationRecord, RecordClientType};
use model::entities::Permissions;
use store::{Batch, CommitOutcome, Store, statement, values};

use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::{self, Connection};
use crate::process::ServerProcess;
use crate::requests::{SERVICE, SERVICE_DOCUMENT, Shown, client_credentials, get};
use crate::sign_in::signed_in;
use crate::stats::Spread;
use crate::tenant::{DEMO, RealWorld};

/// Rows in each list.
const LINES: usize = 1_000_000;
/// More rows than one page shows.
const FEW: usize = 200;
/// Load times of one page, in milliseconds.
pub(crate) struct Opened {
    pub(crate) page: &'static str,
    pub(crate) few: Spread,
    pub(crate) many: Spread,
}

pub(crate) struct Lists {
    pub(crate) lines: usize,
    pub(crate) pages: Vec<Opened>,
}

pub(crate) async fn measure(binary: &Binary, effort: Effort) -> Result<Lists> {
    let lines = effort.of(LINES);
    let (few, many) = (AdminBrowser::open(binary, FEW).await?, AdminBrowser::open(binary, lines).await?);
    let mut opened = Vec::new();
    for ((page, at_few), (_, at_many)) in few.pages().into_iter().zip(many.pages()) {
        let mut rounds = Vec::new();
        for round in 0..=effort.rounds {
            eprint!("\rround {round} of {}: {page}   ", effort.rounds);
            let both = (few.opens(&at_few).await?, many.opens(&at_many).await?);
            // The first round reads from the disk and does not count.
            if round > 0 {
                rounds.push(both);
            }
        }
        let spread = |of: fn(&(f64, f64)) -> f64| Spread::of(rounds.iter().map(of));
        opened.push(Opened { page, few: spread(|both| both.0), many: spread(|both| both.1) });
    }
    eprintln!();
    Ok(Lists { lines, pages: opened })
}

/// Prefix of row ids, followed by the row number.
const ID: &str = "00000000-0000-7000-8000-";

/// Tables with their columns and values. `{number}` is replaced by the row number in twelve digits.
const TABLES: [(&str, &str); 5] = [
    ("roles (instance, name, permits)", "'role.' || {number}, {permits}"),
    (
        "users (instance, id, login, login_folded, user_type, is_admin, enabled, name, email_verified, epoch, \
         created_at, updated_at)",
        "{id}, 'person.' || {number}, 'person.' || {number}, 'InternalUser', 0, 1, 'Somebody of Many', 0, 0, {now}, {now}",
    ),
    (
        "applications (instance, id, uri, record, epoch, version, created_at)",
        "{id}, 'vendor.' || {number}, REPLACE({record}, 'vendor.', 'vendor.' || {number}), 0, 1, {now}",
    ),
    (
        "reference_tokens (instance, id, digest, kind, application, user_id, tail, description, scope, created_by, \
         created_at)",
        "{id}, CAST('00000000000000000000' || {number} AS BLOB), 'personal', {id}, {id}, 'ABCD', 'Export', 'read', 'person.' || {number}, {now}",
    ),
    (
        "api_sessions (instance, id, key, user_id, seat, opened_at, last_call, ends_at, applications, address)",
        "{id}, 'jti:' || {number}, {id}, 'shared', {now}, {now}, {now} + 86400000000, ' ' || {id}, '127.0.0.1'",
    ),
];

async fn fill(url: &str, lines: usize) -> Result<()> {
    let database = Database::open(&DatabaseUrl::parse(url)?).await?;
    let instances = database.instances().await?;
    let instance = instances.into_iter().find(|known| known.name == DEMO.name()).context("the demo is there")?;
    let store = Store::new(database.clone(), instance.id);
    let record = ApplicationRecord {
        application_uri: "vendor.".to_owned(),
        name: "One of Many".to_owned(),
        ..ApplicationRecord::blank(RecordClientType::Public)
    };
    let record = format!("'{}'", serde_json::to_string(&record)?);
    let permits = format!("'{}'", serde_json::to_string(&Permissions::new(&["Crm_*"], &[]))?);
    let number = "SUBSTR(CAST(1000000000000 + i AS TEXT), 2)";
    let now = RealWorld.now().micros().to_string();
    for (columns, values) in TABLES {
        eprint!("\r{lines} lines: {columns}   ");
        let values = values
            .replace("{id}", &format!("'{ID}' || {{number}}"))
            .replace("{record}", &record)
            .replace("{permits}", &permits)
            .replace("{number}", number)
            .replace("{now}", &now);
        let sql = format!(
            "INSERT INTO {columns} WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {lines} - 1) \
             SELECT $1, {values} FROM n"
        );
        let written = store.commit(Batch::new().with(statement(sql, values![store.instance().0]))).await?;
        ensure!(written == CommitOutcome::Committed, "the lines are new");
    }
    let counted = statement(
        "UPDATE seats SET live = live + $2 WHERE instance = $1",
        values![store.instance().0, i64::try_from(lines)?],
    );
    ensure!(store.commit(Batch::new().with(counted)).await? == CommitOutcome::Committed, "the seats are there");
    database.close().await;
    Ok(())
}

/// Makes this many calls, each of which is one audit event.
async fn call(server: &ServerProcess, count: usize) -> Result<()> {
    let answer = load::once(server.address, &client_credentials(server.address, &SERVICE)).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    let token = answer["access_token"].as_str().context("a token was given")?;
    load::run(server.address, &[get(server.address, SERVICE_DOCUMENT, Shown::Bearer(token))].into(), count).await?;
    Ok(())
}

/// An administrator's browser at a server with this many rows in every list.
struct AdminBrowser<'a> {
    server: ServerProcess,
    cookie: String,
    lines: usize,
    /// Keeps the server's data until this is dropped.
    _installation: Installation<'a>,
}

impl<'a> AdminBrowser<'a> {
    async fn open(binary: &'a Binary, lines: usize) -> Result<Self> {
        let installation = Installation::with_data(binary)?;
        let url = installation.database_url();
        let (server, _) = installation.serve()?;
        call(&server, lines).await?;
        // Rows are added while the server runs: a restart would close the sessions, and lists are read from the
        // database anyway.
        fill(&url, lines).await?;
        let cookie = signed_in(server.address, "admin").await?;
        Ok(Self { server, cookie, lines, _installation: installation })
    }

    fn pages(&self) -> Vec<(&'static str, String)> {
        let half = self.lines / 2;
        let middle = format!("{ID}{half:012}");
        vec![
            ("dashboard", String::new()),
            ("applications", "/apps".to_owned()),
            ("applications, from the middle", format!("/apps?after=vendor.{half:012}")),
            ("applications, searched", format!("/apps?find=vendor.{:011}", half / 10)),
            ("users", "/users".to_owned()),
            ("users, from the middle", format!("/users?after=person.{half:012}")),
            ("users, searched", format!("/users?find=person.{:011}", half / 10)),
            ("a user", format!("/users/{middle}")),
            ("roles", "/roles".to_owned()),
            ("roles, from the middle", format!("/roles?after=role.{half:012}")),
            ("reference tokens", "/tokens".to_owned()),
            ("reference tokens, from the middle", format!("/tokens?before={middle}")),
            ("reference tokens of a user", format!("/tokens?user={middle}")),
            ("sessions", "/sessions".to_owned()),
            ("sessions, from the middle", format!("/sessions?before={middle}")),
            ("audit", "/audit".to_owned()),
            ("audit, of a kind that is rare", "/audit?kind=key-rotated".to_owned()),
        ]
    }

    /// Milliseconds until the whole page has arrived.
    async fn opens(&self, path: &str) -> Result<f64> {
        let Self { server: ServerProcess { address, .. }, cookie, .. } = self;
        let text = format!("GET /manage{path} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n");
        let mut connection = Connection::open(*address).await?;
        let begun = Instant::now();
        let status = connection.status(text.as_bytes()).await?;
        ensure!(status == 200, "{path} was answered {status}");
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }
}
