//! Floor 5: the only crate that reads files, environment and signals.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod checkpoints;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod doctor;
mod http_client;
pub mod logging;
pub mod output;
mod platform;
pub mod post;
pub mod problem;
pub mod provisions;
pub mod signals;
pub mod tls;
pub mod traces;
pub mod watch;
