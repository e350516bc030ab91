//! `gatehouse user`, `role` and `consent`.

use clap::{Args, Subcommand, ValueEnum};
use flows::admin::operations::AdminOperation as _;
use flows::admin::operations::consents::{ListConsents, WithdrawConsent};
use flows::admin::operations::roles::{CreateRole, DeleteRole, ListRoles, ReplaceRole};
use flows::admin::operations::users::{
    CreateUser, EraseUser, GetUser, InviteUser, ListUsers, PatchUser, ResetPassword, ResetSecondFactor, SetPassword,
};
use model::UserType;

use crate::cli::Target;

#[derive(Clone, Copy, ValueEnum)]
pub enum UserKind {
    Internal,
    Community,
    System,
}

impl From<UserKind> for UserType {
    fn from(kind: UserKind) -> Self {
        match kind {
            UserKind::Internal => Self::Internal,
            UserKind::Community => Self::ExternalCommunity,
            UserKind::System => Self::SystemNoLogin,
        }
    }
}

#[derive(Subcommand)]
pub enum UserCommand {
    #[command(about = CreateUser::SUMMARY, after_help = "Prints a one-time link to choose a password.")]
    Create {
        #[command(flatten)]
        target: Target,
        login: String,
        /// Display name [default: the login]
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        email: Option<String>,
        #[arg(long, value_enum, default_value = "internal")]
        kind: UserKind,
        #[arg(long)]
        administrator: bool,
        /// Role (permissions on the APIs)
        #[arg(long)]
        role: Option<String>,
        /// E-mail the link instead of printing it (valid for 7 days instead of 24 hours)
        #[arg(long, requires = "email")]
        invite: bool,
    },
    #[command(about = InviteUser::SUMMARY, after_help = "Prints the link if e-mail is not configured.")]
    Invite {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    #[command(about = ResetPassword::SUMMARY, after_help = "The old password works until the link is used.")]
    ResetLink {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    #[command(about = SetPassword::SUMMARY, after_help = "Reads the password from standard input.")]
    SetPassword {
        #[command(flatten)]
        target: Target,
        login: String,
        /// Accept a weak password (prints which rule is overridden)
        #[arg(long)]
        force: bool,
    },
    #[command(about = ResetSecondFactor::SUMMARY)]
    ResetSecondFactor {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    /// Disable a user, end all sign-ins and block all tokens immediately
    Disable {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    /// Enable a user (reference tokens work again, other tokens stay revoked)
    Enable {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    #[command(about = EraseUser::SUMMARY)]
    Erase {
        #[command(flatten)]
        target: Target,
        login: String,
        /// Skip the confirmation
        #[arg(long)]
        yes: bool,
    },
    #[command(about = GetUser::SUMMARY)]
    Show {
        #[command(flatten)]
        target: Target,
        login: String,
    },
    #[command(about = PatchUser::SUMMARY, after_help = "Effective from the next call.")]
    Set {
        #[command(flatten)]
        target: Target,
        login: String,
        #[command(flatten)]
        changes: UserChanges,
    },
    #[command(about = ListUsers::SUMMARY)]
    List {
        #[command(flatten)]
        target: Target,
    },
}

impl UserCommand {
    pub const fn target(&self) -> &Target {
        match self {
            Self::Create { target, .. }
            | Self::Invite { target, .. }
            | Self::ResetLink { target, .. }
            | Self::SetPassword { target, .. }
            | Self::ResetSecondFactor { target, .. }
            | Self::Disable { target, .. }
            | Self::Enable { target, .. }
            | Self::Erase { target, .. }
            | Self::Show { target, .. }
            | Self::Set { target, .. }
            | Self::List { target } => target,
        }
    }
}

/// What changes about a user; the rest stays.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub struct UserChanges {
    #[arg(long)]
    pub name: Option<String>,
    /// E-mail address (empty to remove)
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// Role (empty to remove)
    #[arg(long)]
    pub role: Option<String>,
    /// Whether the e-mail address is verified
    #[arg(long, value_name = "BOOL")]
    pub email_verified: Option<bool>,
    /// Language tag, for example de (empty for the browser language)
    #[arg(long, value_name = "TAG")]
    pub language: Option<String>,
    #[arg(long, value_name = "BOOL")]
    pub administrator: Option<bool>,
}

#[derive(Subcommand)]
pub enum RoleCommand {
    #[command(about = CreateRole::SUMMARY)]
    Create {
        #[command(flatten)]
        target: Target,
        name: String,
        #[command(flatten)]
        patterns: Patterns,
    },
    #[command(about = ReplaceRole::SUMMARY, after_help = "Effective from the next call.")]
    Set {
        #[command(flatten)]
        target: Target,
        name: String,
        #[command(flatten)]
        patterns: Patterns,
    },
    #[command(about = DeleteRole::SUMMARY)]
    Delete {
        #[command(flatten)]
        target: Target,
        name: String,
    },
    #[command(about = ListRoles::SUMMARY)]
    List {
        #[command(flatten)]
        target: Target,
    },
}

impl RoleCommand {
    pub const fn target(&self) -> &Target {
        match self {
            Self::Create { target, .. }
            | Self::Set { target, .. }
            | Self::Delete { target, .. }
            | Self::List { target, .. } => target,
        }
    }
}

/// Entity sets by name, or by the beginning of names and a `*`.
#[derive(Args)]
pub struct Patterns {
    /// Entity sets that can be read, for example 'Crm_*' (can be repeated)
    #[arg(long, value_name = "PATTERN")]
    pub read: Vec<String>,
    /// Entity sets whose entities can be created, changed and deleted (can be repeated)
    #[arg(long, value_name = "PATTERN")]
    pub update: Vec<String>,
}

impl ConsentCommand {
    pub const fn target(&self) -> &Target {
        match self {
            Self::List { target, .. } | Self::Withdraw { target, .. } => target,
        }
    }
}

#[derive(Subcommand)]
pub enum ConsentCommand {
    #[command(about = ListConsents::SUMMARY)]
    List {
        #[command(flatten)]
        target: Target,
        #[arg(long, value_name = "LOGIN")]
        user: String,
    },
    #[command(about = WithdrawConsent::SUMMARY)]
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
