//! Floor 3: one function per thing the house does: load, decide, one guarded batch.

pub mod admin;
mod api_sessions;
pub mod audit;
pub mod authorize;
mod change;
mod comparison;
pub mod consents;
pub mod demo;
pub mod domain;
pub mod email;
mod erase;
pub mod exchange;
mod feed;
mod forgotten;
pub mod forms;
pub mod guard;
pub mod house;
pub mod instance;
mod keys;
pub mod legacy;
pub mod links;
pub mod mail;
pub mod manage;
mod memory;
pub mod meters;
pub mod passkeys;
mod passwords;
mod people;
pub mod profile;
mod proven;
pub mod reference_tokens;
mod register;
pub mod revocation;
mod roles;
mod seal;
pub mod second_step;
pub mod sessions;
pub mod sign_in;
pub mod sign_out;
pub mod signing_keys;
pub mod strength;
mod tasks;
mod throttle;
pub mod two_step;

pub use house::{DefaultInstance, House, Site, World};
pub use instance::Instance;
pub use passwords::{AcceptedPassword, Passwords};
pub use seal::MasterKey;
pub use store::{Database, DatabaseUrl, Fault, FaultKind};

/// A refusal is an answer to the caller; only a fault is a failure of ours.
pub type Answer<T, R> = Result<Result<T, R>, Fault>;
