//! Floor 3: one function for each operation of Gatehouse. It loads, decides, and commits one guarded batch.
//!
//! The modules, from the bottom: [`platform`], [`audit`], [`memory`]; [`auth`] and [`seats`]; [`admin`], [`protocol`],
//! [`account`] and [`entities`], which `web` and the command line call; and [`server`], which owns all of them.

pub mod account;
pub mod admin;
pub mod audit;
pub mod auth;
pub mod entities;
pub mod memory;
pub mod platform;
pub mod protocol;
mod seats;
pub mod server;

pub use store::{Database, DatabaseReport, DatabaseUrl, Fault, FaultKind, Trouble};

pub use crate::auth::{AcceptedPassword, HashingTurn, Passwords};
pub use crate::memory::MemoryBehind;
pub use crate::platform::{MasterKey, PasswordCost, Platform};
pub use crate::server::{BelievedInstance, DefaultInstance, Instance, InstanceLocation, RefusedInstance, Server};

/// `Result<Result<T, R>, Fault>`: a refusal is an answer to the caller, a fault is a failure of ours.
pub type Answer<T, R> = Result<Result<T, R>, Fault>;
