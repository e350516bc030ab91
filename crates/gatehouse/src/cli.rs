//! Command-line arguments.

mod applications;
mod audit;
mod users;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use flows::admin::operations::AdminOperation as _;
use flows::admin::operations::audit::GetRefusal;
use flows::admin::operations::keys::{ListKeys, ReplaceKeys, RotateKey};
use flows::admin::operations::sessions::GetSeatHistory;
use flows::admin::operations::settings::{GetSettings, PatchSettings};
use uuid::Uuid;

pub use self::applications::{AppCommand, TokenCommand};
pub use self::audit::{AuditCommand, AuditFilter, AuditFormat};
pub use self::users::{ConsentCommand, Patterns, RoleCommand, UserChanges, UserCommand};

/// OAuth 2.0 and OpenID Connect server for business systems and their APIs.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 success, 1 refused or failed, 2 usage error, 3 the audit was tampered with, 4 the audit records a loss of its newest seals."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a demo server with demo users, applications and data
    Demo(Demo),
    /// Run the server
    Serve(Installation),
    /// Apply pending database migrations
    Migrate(Migrate),
    /// Check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check and rotate the master key
    #[command(subcommand)]
    MasterKey(MasterKeyCommand),
    /// Manage instances (tenants)
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// Manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Manage Trusted Applications
    #[command(subcommand)]
    App(AppCommand),
    /// List and end API sessions, and show seat usage
    #[command(subcommand)]
    Session(SessionCommand),
    /// List and withdraw users' consents to applications
    #[command(subcommand)]
    Consent(ConsentCommand),
    /// Manage reference tokens (API keys)
    #[command(subcommand)]
    Token(TokenCommand),
    /// List, export and verify the audit
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Manage roles (permissions on the APIs)
    #[command(subcommand)]
    Role(RoleCommand),
    /// List, rotate and replace signing keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print a shell completion script
    Completion {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Check the installation and suggest fixes (read-only)
    #[command(after_help = "Exit codes: 0 no problems (there may be warnings), 1 problems found, 2 usage error.")]
    Doctor(Doctor),
    /// Usage reports
    #[command(subcommand)]
    Report(ReportCommand),
    #[command(about = GetRefusal::SUMMARY)]
    Why {
        #[command(flatten)]
        target: Target,
        /// Reference from the error page, the error response or the X-Request-Id header
        #[arg(value_name = "REFERENCE")]
        reference: String,
    },
}

#[derive(Args)]
pub struct Demo {
    /// Address to listen on (loopback only, because the demo's passwords are public)
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Folder for the demo's data [default: a temporary folder, removed at exit]
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
    /// List pending migrations without applying them
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Check whether the server can start with this configuration
    Check(Installation),
}

#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    pub installation: Installation,
    /// Also request every root URL from this machine
    #[arg(long)]
    pub reach: bool,
    #[command(flatten)]
    pub output: Output,
}

/// How results are printed.
#[derive(Args)]
pub struct Output {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum InstanceCommand {
    /// Create an instance with its keys and first administrator, and print a one-time set-up link
    Create {
        #[command(flatten)]
        installation: Installation,
        /// Name of the instance, as in the configuration
        name: String,
        /// Login of the first administrator
        #[arg(long, default_value = "admin", value_name = "LOGIN")]
        administrator: String,
        /// Number of licence seats [default: unlimited]
        #[arg(long, value_name = "NUMBER")]
        seats: Option<u32>,
        #[command(flatten)]
        output: Output,
    },
    #[command(about = PatchSettings::SUMMARY, after_help = "Running servers apply it within a second.")]
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
    #[command(about = GetSettings::SUMMARY)]
    Show {
        #[command(flatten)]
        installation: Installation,
        /// Name of the instance
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Replace the root secret, which invalidates all refresh tokens immediately. Without --yes, only previews the
    /// effects
    RotateSecret {
        #[command(flatten)]
        installation: Installation,
        /// Name of the instance
        name: String,
        /// Apply the change
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
    /// Count the secrets encrypted with each master key (read-only)
    Check {
        #[command(flatten)]
        installation: Installation,
        #[command(flatten)]
        output: Output,
    },
    /// Re-encrypt secrets from [`previous_master_key`] to [`master_key`] (can be interrupted and repeated)
    #[command(
        after_help = "Configure both keys and restart every server first: see Operating, Rotating the master key."
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
    /// Instance (optional if there is only one)
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Subcommand)]
pub enum KeyCommand {
    #[command(about = ListKeys::SUMMARY)]
    List {
        #[command(flatten)]
        target: Target,
    },
    #[command(about = RotateKey::SUMMARY)]
    Rotate {
        #[command(flatten)]
        target: Target,
        /// ES256, RS256, PS256 or `EdDSA`
        algorithm: String,
    },
    #[command(about = ReplaceKeys::SUMMARY, after_help = "Without --yes, only previews the effects.")]
    Replace {
        #[command(flatten)]
        target: Target,
        algorithm: String,
        /// Apply the change
        #[arg(long)]
        yes: bool,
    },
}

impl KeyCommand {
    pub const fn target(&self) -> &Target {
        match self {
            Self::List { target, .. } | Self::Rotate { target, .. } | Self::Replace { target, .. } => target,
        }
    }
}

#[derive(Subcommand)]
pub enum SessionCommand {
    /// List live API sessions, newest first, with seat usage
    List {
        #[command(flatten)]
        target: Target,
    },
    #[command(about = GetSeatHistory::SUMMARY, after_help = "One line for every 15 minutes.")]
    History {
        #[command(flatten)]
        target: Target,
    },
    /// End API sessions immediately and free their seats
    End {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        which: SessionChoice,
    },
}

impl SessionCommand {
    pub const fn target(&self) -> &Target {
        match self {
            Self::List { target, .. } | Self::History { target, .. } | Self::End { target, .. } => target,
        }
    }
}

/// Which sessions end.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct SessionChoice {
    /// One session, by its id
    #[arg(value_name = "ID")]
    pub id: Option<Uuid>,
    /// All sessions of a user
    #[arg(long, value_name = "LOGIN")]
    pub user: Option<String>,
    /// All sessions used by an application
    #[arg(long, value_name = "URI")]
    pub app: Option<String>,
}

const SETTING_HELP: &str = "For example seats=5, seats=null (unlimited), 'reserved_seats=[\"admin\"]', seats_per_user=2, \
     seats_per_application=10, after_logout=reactivate, legacy_schemes=true or legacy_sunset=2027-03-01";

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("use the form SETTING=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Subcommand)]
pub enum ReportCommand {
    /// Show who still uses Basic and ErpLogin, by application
    Legacy {
        #[command(flatten)]
        target: Target,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;
    use flows::admin::operations::operations;

    use super::*;

    /// Commands that are part of an operation, or more than one.
    const OWN_TEXT: &[&str] = &[
        "user disable",
        "user enable",
        "app disable",
        "app enable",
        "app secrets",
        "token issue",
        "session list",
        "session end",
        "instance create",
        "instance rotate-secret",
        "instance list",
        "audit verify",
        "audit checkpoint",
        "audit renew-key",
    ];

    #[test]
    fn the_help_of_a_command_is_the_text_of_its_operation() {
        let texts: BTreeSet<&str> = operations().map(|operation| operation.summary).collect();
        let records = ["instance", "user", "app", "role", "consent", "token", "session", "key", "audit"];
        for group in Cli::command().get_subcommands().filter(|group| records.contains(&group.get_name())) {
            for command in group.get_subcommands() {
                let name = format!("{} {}", group.get_name(), command.get_name());
                let about = command.get_about().expect("a text").to_string();
                assert_eq!(texts.contains(about.as_str()), !OWN_TEXT.contains(&&*name), "{name}: {about}");
            }
        }
    }
}
