//! One file per table: its reads, and constructors of its guarded changes. `$1` is always the instance.

mod api_sessions;
mod applications;
mod audit;
mod authorizations;
mod bounds;
mod changes;
mod consents;
mod email_changes;
mod guesses;
mod identity_sessions;
mod instances;
mod keys;
mod legacy_uses;
mod links;
mod pending_authorizations;
mod pictures;
mod reference_tokens;
mod roles;
mod sealed;
mod seals;
mod second_factors;
mod users;
mod validity;

pub(crate) use api_sessions::code;
pub use api_sessions::{
    ApiSessionRow, ClosedApiSession, MAX_KEYS_ASKED, NewApiSession, SeatReading, SeatRequest, SessionsToClose,
    session_closed_code,
};
pub use applications::NewSecret;
pub use audit::{WaitingBlock, lines_of};
pub use changes::{Change, ChangeKind, FeedEnd, FeedMark};
pub use consents::{ConnectedApplication, ConsentParties};
pub use identity_sessions::SignInRow;
pub use instances::StoredInstance;
pub use keys::{StoredKey, StoredKeys, UnreadableKey};
pub use legacy_uses::LegacyTotal;
pub use reference_tokens::TokensOf;
pub use roles::Role;
pub use sealed::{SealedColumn, SealedRow};
pub use seals::{MAX_PEOPLE_ASKED, MemoryRow, StoredAuditKey, StoredMemory};
pub use second_factors::{AuthenticatorApp, StoredPasskey};
pub use users::{NewUser, UserRow};
pub use validity::TokenNames;

/// The unbounded lists, so that tests can check the databases' query plans: by an index, in its order.
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

use std::borrow::Cow;

use model::Timestamp;
use model::audit::chain::Chain;
use oauth::scope::Scope;
use oauth::secret::Digest;
use uuid::Uuid;

use crate::{DamagedRow, Fault, SqlRow, SqlValue, Statement, Store, StoredFinding, statement, values};

/// A kind of record whose rows are all examined, in pages ordered by the first column.
pub(super) struct ExaminedTable {
    kind: &'static str,
    sql: &'static str,
    /// The problems of a record that can be read.
    examine: fn(&SqlRow) -> Result<Vec<String>, DamagedRow>,
}

const EXAMINED: [ExaminedTable; 10] = [
    users::EXAMINED,
    roles::EXAMINED,
    keys::EXAMINED,
    reference_tokens::EXAMINED,
    second_factors::EXAMINED,
    consents::EXAMINED,
    email_changes::EXAMINED,
    identity_sessions::EXAMINED,
    authorizations::EXAMINED,
    api_sessions::EXAMINED,
];

/// Rows per page of an examination.
const PAGE: u32 = 500;

impl Store {
    /// Stored records that this version cannot use as they are, at most `most`.
    pub async fn findings(&self, most: usize) -> Result<Vec<StoredFinding>, Fault> {
        let settings = self.settings_problems().await?;
        let mut findings = Vec::new();
        if !settings.is_empty() {
            findings.push(StoredFinding { kind: "settings", record: "settings".to_owned(), problems: settings });
        }
        let applications = self.applications().await?;
        let refused = applications.iter().filter(|application| !application.problems().is_empty());
        findings.extend(refused.map(|application| StoredFinding {
            kind: "application",
            record: application.uri.as_str().to_owned(),
            problems: application.problems().to_vec(),
        }));
        for kind in EXAMINED {
            self.examine(&kind, most, &mut findings).await?;
        }
        findings.truncate(most);
        Ok(findings)
    }

    async fn examine(&self, kind: &ExaminedTable, most: usize, findings: &mut Vec<StoredFinding>) -> Result<(), Fault> {
        let mut after = String::new();
        while findings.len() < most {
            let rows = self.rows(kind.sql, values![after, PAGE]).await?;
            for row in &rows {
                let problems = (kind.examine)(row).unwrap_or_else(|damage| vec![damage.to_string()]);
                if !problems.is_empty() {
                    findings.push(StoredFinding { kind: kind.kind, record: row.name(), problems });
                }
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE as usize => after = last.text(0)?,
                _ => break,
            }
        }
        Ok(())
    }

    /// A statement whose `$1` is this instance.
    fn bound(&self, sql: &'static str, params: Vec<SqlValue>) -> Statement {
        statement(self.of_chain(sql), self.with_instance(params))
    }

    async fn rows(&self, sql: &'static str, params: Vec<SqlValue>) -> Result<Vec<SqlRow>, Fault> {
        self.query(self.of_chain(sql), self.with_instance(params)).await
    }

    /// Each chain of the audit has its own tables, with equal columns.
    fn of_chain(&self, sql: &'static str) -> Cow<'static, str> {
        const TABLES: [(&str, &str); 4] = [
            ("audit_seals", "refusal_seals"),
            ("audit_blocks", "refusal_blocks"),
            ("audit_checkpoints", "refusal_checkpoints"),
            ("audit_memory", "refusal_memory"),
        ];
        match self.chain() {
            Chain::Main => sql.into(),
            Chain::Refusals => {
                TABLES.iter().fold(sql.to_owned(), |sql, (main, refusals)| sql.replace(main, refusals)).into()
            }
        }
    }

    async fn row(&self, sql: &'static str, params: Vec<SqlValue>) -> Result<Option<SqlRow>, Fault> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// The readable rows of a list. Any other row is logged, and does not fail the list.
    fn readable<T>(
        &self,
        kind: &'static str,
        rows: &[SqlRow],
        read: impl Fn(&SqlRow) -> Result<T, DamagedRow>,
    ) -> Vec<T> {
        let tell = |row: &SqlRow, damage: &DamagedRow| {
            self.database().unreadable().tell(*self.instance(), kind, row, damage);
        };
        let read = |row: &SqlRow| read(row).inspect_err(|damage| tell(row, damage)).ok();
        rows.iter().filter_map(read).collect()
    }

    async fn list<T>(
        &self,
        kind: &'static str,
        sql: &'static str,
        params: Vec<SqlValue>,
        read: impl Fn(&SqlRow) -> Result<T, DamagedRow>,
    ) -> Result<Vec<T>, Fault> {
        Ok(self.readable(kind, &self.rows(sql, params).await?, read))
    }

    /// A page of a list: `limit` records after a key, if there are that many.
    async fn page<T>(
        &self,
        query: PageQuery,
        mut after: String,
        limit: u32,
        read: impl Fn(&SqlRow) -> Result<T, DamagedRow>,
    ) -> Result<Vec<T>, Fault> {
        let PageQuery { kind, sql, params: first, key } = query;
        let mut page = Vec::new();
        loop {
            let wanted = limit.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
            let params = first.iter().cloned().chain(values![after, wanted]).collect();
            let rows = self.rows(sql, params).await?;
            page.extend(self.readable(kind, &rows, &read));
            // If unreadable rows made the page too short, it continues after them.
            match rows.last() {
                Some(last) if rows.len() == wanted as usize && page.len() < limit as usize => after = last.text(key)?,
                _ => return Ok(page),
            }
        }
    }

    fn with_instance(&self, mut params: Vec<SqlValue>) -> Vec<SqlValue> {
        params.insert(0, SqlValue::from(self.instance().0));
        params
    }
}

/// The statement of a page of a list.
struct PageQuery {
    /// The kind of record, for the log.
    kind: &'static str,
    /// Its last two parameters are the key after which the page begins, and the number of rows.
    sql: &'static str,
    /// The parameters before these two.
    params: Vec<SqlValue>,
    /// The index of the row's key column.
    key: usize,
}

/// Sizes of parameter lists in statements. Few sizes mean few prepared texts.
const LIST_SIZES: [usize; 3] = [256, 16, 1];

/// `start` with a list of one parameter per value, from `$2` on; in as few statements as the sizes allow.
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

/// The position after which a list of ids, newest first, continues; `None` for the beginning. No id sorts as high as
/// this text.
fn before(id: Option<Uuid>) -> String {
    id.map_or_else(|| "z".to_owned(), |id| id.to_string())
}

/// A row that cannot be read, because a foreign program wrote it.
fn damaged(what: &'static str) -> DamagedRow {
    DamagedRow::new(what)
}

/// A count.
fn count(number: i64) -> Result<u64, DamagedRow> {
    u64::try_from(number).map_err(|_| damaged("a count is below zero"))
}

impl SqlRow {
    fn time(&self, column: usize) -> Result<Timestamp, DamagedRow> {
        self.int(column).map(Timestamp)
    }

    fn opt_time(&self, column: usize) -> Result<Option<Timestamp>, DamagedRow> {
        Ok(self.opt_int(column)?.map(Timestamp))
    }

    fn uuid(&self, column: usize) -> Result<Uuid, DamagedRow> {
        Uuid::try_parse(&self.text(column)?).map_err(|_| DamagedRow::new(format!("column {column} is no id")))
    }

    fn digest<K>(&self, column: usize) -> Result<Digest<K>, DamagedRow> {
        Digest::try_from(self.bytes(column)?.as_slice()).map_err(|_| damaged("a digest has 32 bytes"))
    }

    fn scope(&self, column: usize) -> Result<Scope, DamagedRow> {
        Scope::parse(&self.text(column)?).map_err(|error| DamagedRow::new(format!("scope: {error}")))
    }
}
