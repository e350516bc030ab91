//! `gatehouse user`, `role` and `consent`.

use clap::{Args, Subcommand, ValueEnum};
use model::UserType;

use super::Target;

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
        /// Accept a password that is short or easily guessed, and say which rule is overridden
        #[arg(long)]
        force: bool,
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
