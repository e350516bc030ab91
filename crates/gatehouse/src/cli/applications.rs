//! `gatehouse app` and `token`.

use std::path::PathBuf;

use clap::Subcommand;
use flows::admin::operations::AdminOperation as _;
use flows::admin::operations::applications::{
    AddSecret, CreateApplication, GetApplication, ListApplications, RemoveSecret, ReplaceApplication,
};
use flows::admin::operations::tokens::{ListTokens, RevokeToken};

use crate::cli::Target;

#[derive(Subcommand)]
pub enum AppCommand {
    #[command(about = CreateApplication::SUMMARY, after_help = "The record is JSON with the documented attribute names.")]
    Create {
        #[command(flatten)]
        target: Target,
        /// File with the record, or `-` for standard input
        #[arg(value_name = "FILE")]
        record: PathBuf,
    },
    #[command(about = GetApplication::SUMMARY)]
    Show {
        #[command(flatten)]
        target: Target,
        /// `ApplicationUri` of the application
        #[arg(value_name = "URI")]
        uri: String,
    },
    #[command(about = ReplaceApplication::SUMMARY)]
    Replace {
        #[command(flatten)]
        target: Target,
        /// File with the record, or `-` for standard input
        #[arg(value_name = "FILE")]
        record: PathBuf,
    },
    #[command(about = RemoveSecret::SUMMARY)]
    RemoveSecret {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
        /// Id of the secret, as shown by `app secrets`
        #[arg(value_name = "ID")]
        secret: String,
    },
    /// List an application's client secrets (without their values)
    Secrets {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
    },
    /// Disable an application and block its tokens immediately
    Disable {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
    },
    /// Enable an application (reference tokens work again, other tokens stay revoked)
    Enable {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
    },
    #[command(about = AddSecret::SUMMARY, after_help = "The secret is printed only once.")]
    AddSecret {
        #[command(flatten)]
        target: Target,
        #[arg(value_name = "URI")]
        uri: String,
        /// What the secret is for
        #[arg(long, default_value = "added")]
        label: String,
        /// Days until it expires [default: never]
        #[arg(long, value_name = "DAYS")]
        expires_in: Option<u32>,
    },
    #[command(about = ListApplications::SUMMARY)]
    List {
        #[command(flatten)]
        target: Target,
    },
}

impl AppCommand {
    pub const fn target(&self) -> &Target {
        match self {
            Self::Create { target, .. }
            | Self::Show { target, .. }
            | Self::Replace { target, .. }
            | Self::RemoveSecret { target, .. }
            | Self::Secrets { target, .. }
            | Self::Disable { target, .. }
            | Self::Enable { target, .. }
            | Self::AddSecret { target, .. }
            | Self::List { target, .. } => target,
        }
    }
}

impl TokenCommand {
    pub const fn target(&self) -> &Target {
        match self {
            Self::Issue { target, .. } | Self::List { target, .. } | Self::Revoke { target, .. } => target,
        }
    }
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Issue a reference token, printed only once
    Issue {
        #[command(flatten)]
        target: Target,
        /// `ApplicationUri` of the application
        #[arg(value_name = "URI")]
        uri: String,
        /// User it acts as (personal token) [default: the application's System User (service token)]
        #[arg(long, value_name = "LOGIN")]
        user: Option<String>,
        /// Purpose of the token
        #[arg(long)]
        description: String,
        /// Space-separated scopes, for example "read update"
        #[arg(long)]
        scope: String,
        /// Days until it expires [default: never, if the instance allows it]
        #[arg(long, value_name = "DAYS")]
        expires_in: Option<u32>,
    },
    #[command(about = ListTokens::SUMMARY)]
    List {
        #[command(flatten)]
        target: Target,
        /// Only tokens of this application
        #[arg(long, value_name = "URI", conflicts_with = "user")]
        app: Option<String>,
        /// Only tokens that act as this user
        #[arg(long, value_name = "LOGIN")]
        user: Option<String>,
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    #[command(about = RevokeToken::SUMMARY)]
    Revoke {
        #[command(flatten)]
        target: Target,
        /// Id of the token, as shown by `token list`
        id: uuid::Uuid,
    },
}
