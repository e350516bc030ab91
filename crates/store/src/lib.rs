//! Floor 2: SQL, migrations and drivers. The only crate with a database driver.
//!
//! One SQL text runs on SQLite and PostgreSQL: `$1…`, `TEXT`, `BIGINT`, `BYTEA`, `ON CONFLICT`; times are integer
//! microseconds, flags are 0 or 1. Writes are [`Batch`]es of data, not closures, so that the driver can put the batches
//! of many callers into one durable commit.

mod batch;
mod condition;
mod database;
mod driver;
pub mod entities;
mod fault;
pub mod faults;
mod figures;
mod finding;
mod look;
mod migrate;
mod postgres;
mod sqlite;
mod tables;
mod value;

pub use batch::{Batch, CommitOutcome, Statement, statement};
pub use condition::{OperationHealth, Outage};
pub use database::{Database, DatabaseUrl, DatabaseUrlError, Store};
pub use fault::{Fault, FaultKind, Trouble};
pub use figures::DatabaseFigures;
pub use finding::{DamagedRow, StoredFinding};
pub use look::DatabaseReport;
pub use tables::{
    ApiSessionRow, AuthenticatorApp, Change, ChangeKind, ClosedApiSession, ConnectedApplication, ConsentParties,
    FeedEnd, FeedMark, LISTS, LegacyTotal, MAX_KEYS_ASKED, MAX_PEOPLE_ASKED, MemoryRow, NewApiSession, NewSecret,
    NewUser, Role, SealedColumn, SealedRow, SeatReading, SeatRequest, SessionsToClose, SignInRow, StoredAuditKey,
    StoredInstance, StoredKey, StoredKeys, StoredMemory, StoredPasskey, TokenNames, TokensOf, UnreadableKey, UserRow,
    WaitingBlock, lines_of, session_closed_code,
};
pub use value::{SqlRow, SqlValue};
