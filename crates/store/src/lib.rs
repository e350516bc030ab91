//! Floor 2: SQL, migrations and drivers. The only crate with a database driver.
//!
//! One SQL text runs on SQLite and PostgreSQL: `$1…`, `TEXT`, `BIGINT`, `BYTEA`, `ON CONFLICT`; times are
//! integer microseconds, flags are 0 or 1. Writes are [`Batch`]es of data, not closures, so that the driver
//! may put many callers' work into one durable commit.

mod batch;
mod database;
pub mod domain;
mod fault;
pub mod faults;
mod figures;
mod look;
mod migrate;
mod postgres;
mod sqlite;
mod tables;
mod value;

pub use batch::{Batch, Outcome, Statement, statement};
pub use database::{Database, DatabaseUrl, DatabaseUrlError, Store};
pub use fault::{Fault, FaultKind};
pub use figures::Figures;
pub use look::Look;
pub use tables::{
    ApiSessionRow, AskingForSeat, AuthenticatorApp, Change, ChangeKind, ClosedApiSession, Closing, Connection, LISTS,
    LegacyTotal, MOST_KEYS_ASKED, MOST_PEOPLE_ASKED, NewApiSession, NewSecret, NewUser, Role, SeatsSeen, SignInRow,
    StoredAuditKey, StoredInstance, StoredKey, StoredPasskey, TokenNames, TokensOf, UserRow, lines_of,
};
pub use value::{Row, Value};
