//! A file per table: its reads, and constructors of its guarded changes. `$1` is always the instance.

mod api_sessions;
mod applications;
mod audit;
mod authorizations;
mod changes;
mod consents;
mod email_changes;
mod identity_sessions;
mod instances;
mod keys;
mod legacy_uses;
mod links;
mod pictures;
mod reference_tokens;
mod roles;
mod seals;
mod second_factors;
mod standing;
mod users;

pub(crate) use api_sessions::code;
pub use api_sessions::{
    ApiSessionRow, AskingForSeat, ClosedApiSession, Closing, MOST_KEYS_ASKED, NewApiSession, SeatsSeen,
    session_closed_code,
};
pub use applications::NewSecret;
pub use audit::{WaitingBlock, lines_of};
pub use changes::{Change, ChangeKind};
pub use consents::Connection;
pub use identity_sessions::SignInRow;
pub use instances::StoredInstance;
pub use keys::StoredKey;
pub use legacy_uses::LegacyTotal;
pub use reference_tokens::TokensOf;
pub use roles::Role;
pub use seals::{MOST_PEOPLE_ASKED, MemoryRow, StoredAuditKey, StoredMemory};
pub use second_factors::{AuthenticatorApp, StoredPasskey};
pub use standing::TokenNames;
pub use users::{NewUser, UserRow};

/// The lists that grow without end, so that tests can ask the databases how they read them: by an index, in its order.
pub const LISTS: [&str; 10] = [
    applications::APPLICATIONS_AFTER,
    applications::SECRETS_OF,
    users::USERS_AFTER,
    roles::ROLES_AFTER,
    reference_tokens::TOKENS_BEFORE,
    reference_tokens::TOKENS_OF_APPLICATION,
    reference_tokens::TOKENS_OF_USER,
    api_sessions::SESSIONS_BEFORE,
    api_sessions::SESSIONS_OF_USER,
    seals::SEALS_BEFORE,
];

use model::Timestamp;
use uuid::Uuid;

use crate::{Fault, Row, Statement, Store, Value, statement};

impl Store {
    /// A statement whose `$1` is this instance.
    fn bound(&self, sql: &'static str, params: Vec<Value>) -> Statement {
        statement(sql, self.with_instance(params))
    }

    async fn rows(&self, sql: &'static str, params: Vec<Value>) -> Result<Vec<Row>, Fault> {
        self.query(sql, self.with_instance(params)).await
    }

    async fn row(&self, sql: &'static str, params: Vec<Value>) -> Result<Option<Row>, Fault> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    fn with_instance(&self, mut params: Vec<Value>) -> Vec<Value> {
        params.insert(0, Value::from(self.instance().0));
        params
    }
}

/// Sizes of the lists that a statement takes, so that few texts are prepared.
const LIST_SIZES: [usize; 3] = [256, 16, 1];

/// `start` with a list of as many parameters as there are values, `$2` and on; in as few statements as the sizes allow.
fn with_one_for_each<'a, T>(start: &'static str, values: &'a [T]) -> impl Iterator<Item = (String, &'a [T])> {
    let mut rest = values;
    std::iter::from_fn(move || {
        let size = LIST_SIZES.into_iter().find(|size| *size <= rest.len())?;
        let (now, later) = rest.split_at(size);
        rest = later;
        let marks: Vec<String> = (2..size + 2).map(|mark| format!("${mark}")).collect();
        Some((format!("{start}({})", marks.join(", ")), now))
    })
}

/// Where a list of ids, the newest first, goes on; without a place, from its beginning. No id is as great as this text.
fn before(id: Option<Uuid>) -> String {
    id.map_or_else(|| "z".to_owned(), |id| id.to_string())
}

/// A row of ours that does not read back is a fault: somebody else wrote it.
fn damaged(what: &'static str) -> Fault {
    Fault::failed(what)
}

impl Row {
    fn time(&self, column: usize) -> Result<Timestamp, Fault> {
        self.int(column).map(Timestamp)
    }

    fn opt_time(&self, column: usize) -> Result<Option<Timestamp>, Fault> {
        Ok(self.opt_int(column)?.map(Timestamp))
    }

    fn uuid(&self, column: usize) -> Result<Uuid, Fault> {
        Uuid::try_parse(&self.text(column)?).map_err(Fault::failed)
    }
}
