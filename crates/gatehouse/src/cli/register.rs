//! `gatehouse app` and `token`.

use std::path::PathBuf;

use clap::Subcommand;

use super::Target;

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
