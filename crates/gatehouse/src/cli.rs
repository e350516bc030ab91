//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::audit::AuditKind;
use model::{Timestamp, UserType};
use uuid::Uuid;

/// Signs people and services in to business systems, and guards their APIs.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the audit was tampered with."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Show the whole product on this machine, with demo users, applications and data
    Demo(Demo),
    /// Run the server of an installation
    Serve(Installation),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create and list instances (tenants)
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// Create and change users
    #[command(subcommand)]
    User(UserCommand),
    /// Create and change Trusted Applications
    #[command(subcommand)]
    App(AppCommand),
    /// See who is using the APIs, and end sessions
    #[command(subcommand)]
    Session(SessionCommand),
    /// See what users allowed applications, and withdraw it
    #[command(subcommand)]
    Consent(ConsentCommand),
    /// Issue, list and revoke reference tokens (API keys)
    #[command(subcommand)]
    Token(TokenCommand),
    /// Export the audit, and see whether anybody changed it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make, change and delete roles: what users may do on the APIs
    #[command(subcommand)]
    Role(RoleCommand),
    /// See the signing keys, and rotate them by hand
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print what makes a shell complete these commands
    Completion {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Examine the installation: what is wrong, and how to mend it; changes nothing
    #[command(after_help = "Exit codes: 0 no problem (warnings may be), 1 a problem, 2 wrong usage.")]
    Doctor(Doctor),
    /// See what is used, before changing it
    #[command(subcommand)]
    Report(ReportCommand),
    /// Say why something was refused, by the reference that was shown
    Why {
        #[command(flatten)]
        target: Target,
        /// The reference, as it stands on the page, in the answer or in its X-Request-Id
        #[arg(value_name = "REFERENCE")]
        reference: String,
    },
}

#[derive(Args)]
pub struct Demo {
    /// Address to listen on; loopback only, because the demo's passwords are public
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Folder to keep the demo's data in; without it, a temporary one that is removed at exit
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Which installation is meant.
#[derive(Args)]
pub struct Installation {
    /// Configuration file
    #[arg(long, default_value = "gatehouse.toml", value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Say whether the server could start with this configuration, and if not, why
    Check(Installation),
}

#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    pub installation: Installation,
    /// Also ask every root URL from here, as a browser would
    #[arg(long)]
    pub reach: bool,
    #[command(flatten)]
    pub output: Output,
}

/// How results are printed.
#[derive(Args)]
pub struct Output {
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum InstanceCommand {
    /// Create an instance, its keys and its first administrator; prints a one-time set-up link
    Create {
        #[command(flatten)]
        installation: Installation,
        /// Name of the instance, as in the configuration
        name: String,
        /// Login of the first administrator
        #[arg(long, default_value = "admin", value_name = "LOGIN")]
        administrator: String,
        /// Licence seats; without it, unlimited
        #[arg(long, value_name = "NUMBER")]
        seats: Option<u32>,
        #[command(flatten)]
        output: Output,
    },
    /// Change a setting; a running server goes by it within a second
    Set {
        #[command(flatten)]
        installation: Installation,
        /// Name of the instance
        name: String,
        #[arg(value_name = "SETTING=VALUE", value_parser = setting, help = SETTING_HELP)]
        setting: (String, String),
        #[command(flatten)]
        output: Output,
    },
    /// Show the settings
    Show {
        #[command(flatten)]
        installation: Installation,
        /// Name of the instance
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// List the instances in the database
    List {
        #[command(flatten)]
        installation: Installation,
        #[command(flatten)]
        output: Output,
    },
}

/// Which instance is meant.
#[derive(Args)]
pub struct Target {
    #[command(flatten)]
    pub installation: Installation,
    /// Instance; may be left out where there is only one
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    Internal,
    Community,
    System,
}

impl From<Kind> for UserType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Internal => Self::Internal,
            Kind::Community => Self::ExternalCommunity,
            Kind::System => Self::SystemNoLogin,
        }
    }
}

#[derive(Subcommand)]
pub enum UserCommand {
    /// Create a user; people then get a one-time link to choose a password
    Create {
        #[command(flatten)]
        target: Target,
        login: String,
        /// Name that people see; without it, the login
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        email: Option<String>,
        #[arg(long, value_enum, default_value = "internal")]
        kind: Kind,
        #[arg(long)]
        administrator: bool,
        /// Role, which says what the user may do on the API
        #[arg(long)]
        role: Option<String>,
        /// Send the link to the user's e-mail address instead of printing it; it is then good for 7 days
        #[arg(long, requires = "email")]
        invite: bool,
    },
    /// Send a user without a password a new invitation; without mail, its link is printed
    Invite {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    /// Print a one-time link by which a user chooses a new password; the old one stays good until then
    ResetLink {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    /// Set a password, read from standard input; ends all sign-ins and tokens of the user
    SetPassword {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    /// Take a user's authenticator app, passkeys and recovery codes away: for somebody who lost them; ends all sign-ins
    ResetSecondFactor {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    /// Disable a user: ends all sign-ins and tokens at once
    Disable {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    /// Enable a user again
    Enable {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    /// Erase a person: name, login, and what identifies them in the audit; ends everything of theirs, for good
    Erase {
        #[command(flatten)]
        target: Target,
        login: String,
        /// Do not ask first
        #[arg(long)]
        yes: bool,
    },
    /// Show a user
    Show {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    /// Change what is known of a user, or what they may do; from the next call on
    Set {
        #[command(flatten)]
        target: Target,
        login: String,
        #[command(flatten)]
        changes: UserChanges,
    },
    /// List the users
    List {
        #[command(flatten)]
        target: Target,
    },
}

/// What changes about a user; the rest stays.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub struct UserChanges {
    #[arg(long)]
    pub name: Option<String>,
    /// An empty one takes the address away
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// An empty one takes the role away
    #[arg(long)]
    pub role: Option<String>,
    /// Somebody has made sure that the address is theirs
    #[arg(long, value_name = "YES")]
    pub email_verified: Option<bool>,
    /// Language tag, for example de; an empty one goes by the browser again
    #[arg(long, value_name = "TAG")]
    pub language: Option<String>,
    #[arg(long, value_name = "YES")]
    pub administrator: Option<bool>,
}

#[derive(Subcommand)]
pub enum RoleCommand {
    /// Make a role
    Create {
        #[command(flatten)]
        target: Target,
        name: String,
        #[command(flatten)]
        patterns: Patterns,
    },
    /// Say anew what a role permits; from the next call on
    Set {
        #[command(flatten)]
        target: Target,
        name: String,
        #[command(flatten)]
        patterns: Patterns,
    },
    /// Delete a role that nobody has
    Delete {
        #[command(flatten)]
        target: Target,
        name: String,
    },
    /// List the roles and what they permit
    List {
        #[command(flatten)]
        target: Target,
    },
}

/// Entity sets by name, or by the beginning of names and a `*`.
#[derive(Args)]
pub struct Patterns {
    /// What may be read, for example 'Crm_*'; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub read: Vec<String>,
    /// What may be created, changed and deleted; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub update: Vec<String>,
}

#[derive(Subcommand)]
pub enum KeyCommand {
    /// List the signing keys
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Publish a successor now; it signs a day later, and nothing breaks
    Rotate {
        #[command(flatten)]
        target: Target,
        /// ES256, RS256, PS256 or `EdDSA`
        algorithm: String,
    },
    /// Replace all keys of an algorithm at once: every token that they signed dies. Shows what would break without --yes
    Replace {
        #[command(flatten)]
        target: Target,
        algorithm: String,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum SessionCommand {
    /// List the live API sessions, the newest first, and how many seats are taken
    List {
        #[command(flatten)]
        target: Target,
    },
    /// End sessions at once; their seats are free afterwards
    End {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        which: Which,
    },
}

/// How an export is written.
#[derive(Clone, Copy, ValueEnum)]
pub enum AuditFormat {
    /// A line of JSON for each event, and what it takes to check them without us
    Jsonl,
    /// For spreadsheets
    Csv,
}

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Write events, the oldest first
    Export {
        #[command(flatten)]
        target: Target,
        /// From this time on, as 2026-11-21 or 2026-11-21T12:00:00Z
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
        /// Before this time
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<Timestamp>,
        /// Only events of this kind, for example sign-in; may be repeated
        #[arg(long)]
        kind: Vec<String>,
        #[arg(long, value_enum, default_value = "jsonl")]
        format: AuditFormat,
        /// File to make; without it, standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List what happened, the newest first
    List {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        filter: AuditFilter,
    },
    /// Say whether an event was edited, removed, inserted or moved, and which; exit code 3 if so
    Verify {
        #[command(flatten)]
        target: Target,
        /// File with a checkpoint that was kept elsewhere, as `audit checkpoint` printed it
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Print the newest signed checkpoint, to be kept where nobody of the house can change it
    Checkpoint {
        #[command(flatten)]
        target: Target,
    },
    /// Sign checkpoints with a new key; those of the old one stay good
    RenewKey {
        #[command(flatten)]
        target: Target,
    },
}

/// Which events are listed.
#[derive(Args)]
pub struct AuditFilter {
    /// From this time on, as 2026-11-21 or 2026-11-21T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,
    /// Only events of this kind, for example admin-change
    #[arg(long, value_parser = kind)]
    pub kind: Option<AuditKind>,
    /// Only what was refused
    #[arg(long)]
    pub refused: bool,
    /// Only events of this application
    #[arg(long, value_name = "URI")]
    pub app: Option<String>,
    /// Only events about this user; by id, who was erased
    #[arg(long, value_name = "LOGIN|ID")]
    pub user: Option<String>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

fn kind(text: &str) -> Result<AuditKind, serde_json::Error> {
    serde_json::from_value(text.into())
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).ok_or("write a date (2026-11-21) or a time with its zone (2026-11-21T12:00:00Z)")
}

/// Which sessions end.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// One session, by its id
    #[arg(value_name = "ID")]
    pub id: Option<Uuid>,
    /// All sessions of a user
    #[arg(long, value_name = "LOGIN")]
    pub user: Option<String>,
    /// All sessions that an application uses
    #[arg(long, value_name = "URI")]
    pub app: Option<String>,
}

const SETTING_HELP: &str = "For example seats=5, seats=null (unlimited), 'reserved_seats=[\"admin\"]', after_logout=reactivate, \
     legacy_schemes=true or legacy_sunset=2027-03-01";

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write SETTING=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Subcommand)]
pub enum ConsentCommand {
    /// List the applications that a user agreed to, or that hold tokens of the user
    List {
        #[command(flatten)]
        target: Target,
        #[arg(long, value_name = "LOGIN")]
        user: String,
    },
    /// Withdraw a user's consent: codes, refresh tokens and access tokens that came of it die at once
    Withdraw {
        #[command(flatten)]
        target: Target,
        #[arg(long, value_name = "LOGIN")]
        user: String,
        /// `ApplicationUri` of the application
        #[arg(long, value_name = "URI")]
        app: String,
    },
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Issue a token; its value is printed once
    Issue {
        #[command(flatten)]
        target: Target,
        /// `ApplicationUri` of the application that it is for
        #[arg(value_name = "URI")]
        uri: String,
        /// Whom it acts as (a personal token); without it, the application's system user (a service token)
        #[arg(long, value_name = "LOGIN")]
        user: Option<String>,
        /// What it is for
        #[arg(long)]
        description: String,
        /// What it may do, for example "read update"
        #[arg(long)]
        scope: String,
        /// Days until it expires; without it, never, where the instance allows that
        #[arg(long, value_name = "DAYS")]
        expires_in: Option<u32>,
    },
    /// List the newest tokens, masked
    List {
        #[command(flatten)]
        target: Target,
        /// Only those of this application
        #[arg(long, value_name = "URI", conflicts_with = "user")]
        app: Option<String>,
        /// Only those that act as this user
        #[arg(long, value_name = "LOGIN")]
        user: Option<String>,
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Revoke a token: dead on its next call
    Revoke {
        #[command(flatten)]
        target: Target,
        /// Its id, as `token list` shows it
        id: uuid::Uuid,
    },
}

#[derive(Subcommand)]
pub enum ReportCommand {
    /// Who still uses Basic and ErpLogin, through which application
    Legacy {
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Subcommand)]
pub enum AppCommand {
    /// Register an application from its record (JSON with the documented attribute names)
    Create {
        #[command(flatten)]
        target: Target,
        /// File with the record; `-` is standard input
        #[arg(value_name = "FILE")]
        record: PathBuf,
    },
    /// Show an application's record
    Show {
        #[command(flatten)]
        target: Target,
        /// Its `ApplicationUri`
        #[arg(value_name = "URI")]
        uri: String,
    },
    /// Write an application's record anew; what is not said is as it is by default
    Replace {
        #[command(flatten)]
        target: Target,
        /// File with the record; `-` is standard input
        #[arg(value_name = "FILE")]
        record: PathBuf,
    },
    /// Remove a secret; the last one stays
    RemoveSecret {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
        /// Its id, as `app secrets` shows it
        #[arg(value_name = "ID")]
        secret: String,
    },
    /// List an application's secrets; what they say was shown when they were made
    Secrets {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
    },
    /// Switch an application off: its tokens die at once
    Disable {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
    },
    /// Switch an application on again
    Enable {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
    },
    /// Add a secret beside the live ones; it is printed once
    AddSecret {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
        /// What the secret is for
        #[arg(long, default_value = "added")]
        label: String,
        /// Days until it expires; without it, never
        #[arg(long, value_name = "DAYS")]
        expires_in: Option<u32>,
    },
    /// List the applications
    List {
        #[command(flatten)]
        target: Target,
    },
}
