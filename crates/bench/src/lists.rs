//! Pages of the instance manager where every list has very many lines, beside those where there are few.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::load::{self, Connection};
use crate::population::{self, Middle};
use crate::process::Server;
use crate::requests::{SERVICE_DOCUMENT, Shown, client_credentials, get};
use crate::sign_in::signed_in;
use crate::stats::Spread;

/// Of each list.
const LINES: usize = 1_000_000;
/// More than a page shows.
const FEW: usize = 200;
const SERVICE: (&str, &str) = ("my.trusted.app/service", "service-secret-demodb");

/// A page, as measured; milliseconds.
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
    let (few, many) = (Desk::open(binary, FEW).await?, Desk::open(binary, lines).await?);
    let mut opened = Vec::new();
    for ((page, at_few), (_, at_many)) in few.pages().into_iter().zip(many.pages()) {
        let mut rounds = Vec::new();
        for round in 0..=effort.rounds {
            eprint!("\rround {round} of {}: {page}   ", effort.rounds);
            let both = (few.opens(&at_few).await?, many.opens(&at_many).await?);
            // The first round reads from the disk, and is not counted.
            if round > 0 {
                rounds.push(both);
            }
        }
        let spread = |of: fn(&(f64, f64)) -> f64| Spread::of(rounds.iter().map(of));
        opened.push(Opened { page, few: spread(|both| both.0), many: spread(|both| both.1) });
    }
    eprintln!();
    few.server.stop()?;
    many.server.stop()?;
    Ok(Lists { lines, pages: opened })
}

/// So many calls are as many events.
async fn call(server: &Server, count: usize) -> Result<()> {
    let answer = load::once(server.address, &client_credentials(server.address, SERVICE)).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    let token = answer["access_token"].as_str().context("a token was given")?;
    load::run(server.address, &[get(server.address, SERVICE_DOCUMENT, Shown::Bearer(token))].into(), count).await?;
    Ok(())
}

/// An administrator's browser, at a server with so many lines in every list.
struct Desk<'a> {
    server: Server,
    cookie: String,
    lines: usize,
    middle: Middle,
    /// Its data are there as long as it is.
    _installation: Installation<'a>,
}

impl<'a> Desk<'a> {
    async fn open(binary: &'a Binary, lines: usize) -> Result<Self> {
        let installation = Installation::with_data(binary)?;
        let url = installation.database_url();
        population::add(&url, lines, lines, 0).await?;
        let (server, _) = installation.serve()?;
        // Beside the server: a start would close the sessions, and lists are read from the database in any case.
        let middle = population::add_rest(&url, lines).await?;
        call(&server, lines).await?;
        let cookie = signed_in(server.address, "admin").await?;
        Ok(Self { server, cookie, lines, middle, _installation: installation })
    }

    fn pages(&self) -> Vec<(&'static str, String)> {
        let Middle { user, token, session } = &self.middle;
        let half = self.lines / 2;
        vec![
            ("dashboard", String::new()),
            ("applications", "/apps".to_owned()),
            ("applications, from the middle", format!("/apps?after=vendor.{half:07}")),
            ("applications, searched", format!("/apps?find=vendor.{:06}", half / 10)),
            ("users", "/users".to_owned()),
            ("users, from the middle", format!("/users?after=person.{half}")),
            ("users, searched", format!("/users?find=person.{}", half / 10)),
            ("a user", format!("/users/{user}")),
            ("roles", "/roles".to_owned()),
            ("roles, from the middle", format!("/roles?after=role.{half:07}")),
            ("reference tokens", "/tokens".to_owned()),
            ("reference tokens, from the middle", format!("/tokens?before={token}")),
            ("reference tokens of a user", format!("/tokens?user={user}")),
            ("sessions", "/sessions".to_owned()),
            ("sessions, from the middle", format!("/sessions?before={session}")),
            ("audit", "/audit".to_owned()),
            ("audit, of a kind that is rare", "/audit?kind=key-rotated".to_owned()),
        ]
    }

    /// Milliseconds until the whole page is there.
    async fn opens(&self, path: &str) -> Result<f64> {
        let Self { server: Server { address, .. }, cookie, .. } = self;
        let text = format!("GET /manage{path} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n");
        let mut connection = Connection::open(*address).await?;
        let begun = Instant::now();
        let status = connection.status(text.as_bytes()).await?;
        ensure!(status == 200, "{path} was answered {status}");
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }
}
