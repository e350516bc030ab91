//! What can be typed.

mod audit;
mod people;
mod register;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

pub use self::audit::{AuditCommand, AuditFilter, AuditFormat};
pub use self::people::{ConsentCommand, Patterns, RoleCommand, UserChanges, UserCommand};
pub use self::register::{AppCommand, TokenCommand};

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
    /// Bring the database's tables up to this version
    Migrate(Migrate),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Seal the database's secrets under a new master key
    #[command(subcommand)]
    MasterKey(MasterKeyCommand),
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

#[derive(Args)]
pub struct Migrate {
    #[command(flatten)]
    pub installation: Installation,
    /// Only say which migrations would be applied
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub output: Output,
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
    /// Replace the root secret: refresh tokens and everything else derived from it die at once. Shows what would break
    /// without --yes
    RotateSecret {
        #[command(flatten)]
        installation: Installation,
        /// Name of the instance
        name: String,
        /// Do it
        #[arg(long)]
        yes: bool,
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

#[derive(Subcommand)]
pub enum MasterKeyCommand {
    /// Say how many secrets are sealed under which key (read-only)
    Check {
        #[command(flatten)]
        installation: Installation,
        #[command(flatten)]
        output: Output,
    },
    /// Seal under [`master_key`] what is sealed under [`previous_master_key`]; may be interrupted and repeated
    #[command(
        after_help = "Configure both keys and restart every server first: docs/operating.md, Rotating the master key."
    )]
    Rotate {
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
    /// Tell how many seats were taken over the last day, every quarter of an hour
    History {
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

const SETTING_HELP: &str = "For example seats=5, seats=null (unlimited), 'reserved_seats=[\"admin\"]', seats_per_user=2, \
     seats_per_application=10, after_logout=reactivate, legacy_schemes=true or legacy_sunset=2027-03-01";

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write SETTING=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Subcommand)]
pub enum ReportCommand {
    /// Who still uses Basic and ErpLogin, through which application
    Legacy {
        #[command(flatten)]
        target: Target,
    },
}
