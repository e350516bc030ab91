//! Implementation of each command: reads files and environment, connects the crates and prints the result.

mod admin;
mod application;
mod audit;
mod cli_session;
mod consent;
mod demo;
mod deprecated;
mod doctor;
mod key;
mod master_key;
mod migrate;
mod report;
mod role;
mod serve;
mod session;
mod table;
mod token;
mod user;
mod welcome;
mod why;

use std::num::NonZero;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;
use flows::{Database, DatabaseReport, DatabaseUrl};
use tokio::runtime::Runtime;

use crate::cli::{Cli, Command, ConfigCommand, Installation};
use crate::config::{Config, Environment};
use crate::output::print;
use crate::platform::SystemPlatform;
use crate::problem::StartupProblem;
use crate::problem::missing_database;
use crate::provisions::Provisions;

/// Time that blocking threads (computing, or waiting for a disk) get at shutdown.
const LAST_BLOCKING: Duration = Duration::from_millis(500);

pub fn run(cli: Cli, environment: Environment<'_>) -> Result<()> {
    match cli.command {
        Command::Demo(demo) => run_server(demo::run(demo, environment)),
        Command::Serve(installation) => run_server(serve::run(&installation, environment)),
        Command::Config(ConfigCommand::Check(installation)) => {
            provisions(&installation, environment)?;
            print(&format!("{} is valid. The server can start with it.\n", installation.config.display()))
        }
        Command::Migrate(migrate) => runtime()?.block_on(migrate::run(&migrate, environment)),
        Command::MasterKey(command) => runtime()?.block_on(master_key::run(command, environment)),
        Command::Instance(command) => runtime()?.block_on(admin::instance(command, environment)),
        Command::User(command) => runtime()?.block_on(user::run(command, environment)),
        Command::Role(command) => runtime()?.block_on(role::run(command, environment)),
        Command::Key(command) => runtime()?.block_on(key::run(command, environment)),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gatehouse", &mut script);
            print(&String::from_utf8(script).context("a completion script is text")?)
        }
        Command::Session(command) => runtime()?.block_on(session::session(command, environment)),
        Command::App(command) => runtime()?.block_on(application::run(command, environment)),
        Command::Consent(command) => runtime()?.block_on(consent::run(command, environment)),
        Command::Token(command) => runtime()?.block_on(token::run(command, environment)),
        Command::Audit(command) => runtime()?.block_on(audit::run(command, environment)),
        Command::Doctor(doctor) => runtime()?.block_on(doctor::run(doctor, environment)),
        Command::Report(command) => runtime()?.block_on(report::run(command, environment)),
        Command::Why { target, reference } => runtime()?.block_on(why::run(&target, &reference, environment)),
    }
}

/// Runs a server. At its end, a thread that still blocks does not keep the process: its work was already logged.
fn run_server(server: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = runtime()?;
    let ended = runtime.block_on(server);
    runtime.shutdown_timeout(LAST_BLOCKING);
    ended
}

/// Limits blocking threads (RSA signatures, seals, pictures) to the number of cores: more would only use memory. At
/// least two, so that a picture does not delay a signature.
fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(std::thread::available_parallelism().map_or(2, NonZero::get).max(2))
        .build()
        .context("the asynchronous runtime does not start")
}

/// The configuration and everything it refers to, or every problem at once.
fn provisions(installation: &Installation, environment: Environment<'_>) -> Result<(Config, Provisions)> {
    let config = Config::load(&installation.config)?;
    match Provisions::fetch(&config, environment) {
        Ok(provisions) => Ok((config, provisions)),
        Err(problems) => {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("{} cannot be used:\n{}", installation.config.display(), list.join("\n"))
        }
    }
}

/// Opens the installation's database for a command. A newer schema is accepted: migrations expand before they contract,
/// so this version works on it as a server of this version does. An older schema is refused: only `serve` and `migrate`
/// apply migrations.
async fn open(provisions: &Provisions) -> Result<Database> {
    let (database, look) = open_as_it_is(&provisions.database).await?;
    if look.is_older() {
        database.close().await;
        return Err(older(&look).into());
    }
    Ok(database)
}

/// Opens the installation's database for a server, and migrates it to this version.
async fn open_to_serve(provisions: &Provisions) -> Result<Database> {
    let (database, _) = open_as_it_is(&provisions.database).await?;
    bring_up(&database).await?;
    Ok(database)
}

/// Opens an existing database. A missing one is an error (lost, moved, or configured wrongly): a new database in its
/// place would look like an installation without users.
async fn open_as_it_is(url: &DatabaseUrl) -> Result<(Database, DatabaseReport)> {
    if let Some(file) = url.file().filter(|file| !file.exists()) {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        return Err(missing_database(format!("no database file {}", file.display())).into());
    }
    let database = reach(url).await?;
    let look = look(&database, url).await?;
    if look.applied.is_none() {
        database.close().await;
        return Err(missing_database(format!("the database {url:?} is empty")).into());
    }
    Ok((database, look))
}

/// Opens the database for `instance create`, or creates it for an installation's first instance.
async fn begin(provisions: &Provisions) -> Result<Database> {
    let url = &provisions.database;
    let database = reach(url).await?;
    let look = look(&database, url).await?;
    if look.is_older() {
        database.close().await;
        return Err(older(&look).into());
    }
    if look.applied.is_none() {
        bring_up(&database).await?;
    }
    Ok(database)
}

async fn look(database: &Database, url: &DatabaseUrl) -> Result<DatabaseReport> {
    database.look().await.with_context(|| format!("the database {url:?} cannot be read"))
}

async fn reach(url: &DatabaseUrl) -> Result<Database> {
    Database::open(url).await.with_context(|| format!("the database {url:?} cannot be opened"))
}

/// Applies pending migrations and returns their names.
async fn bring_up(database: &Database) -> Result<Vec<String>> {
    database.migrate().await.context("the database migrations failed")
}

/// The error for a schema older than this version, with the command that migrates it.
fn older(look: &DatabaseReport) -> StartupProblem {
    let (applied, known) = (look.applied.unwrap_or(0), look.known);
    StartupProblem::new(
        format!("the database is at an older version ({applied}; this program needs {known})"),
        "back up the database, then run `gatehouse migrate` or start the server",
    )
}
