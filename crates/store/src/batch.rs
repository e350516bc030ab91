//! Batches: writes as data. Statements with the row counts they expect, all or nothing.

use std::borrow::Cow;
use std::fmt;

use model::Timestamp;

use crate::{Change, SqlValue};

/// The text of a statement. A `'static` text is recognised by its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sql(pub(crate) Cow<'static, str>);

/// One change: SQL with `$1…` that both databases understand, and its parameters.
///
/// A statement has no `RETURNING` clause (nothing would read it) and violates constraints at once: a `DEFERRED`
/// constraint would fail the commit that other callers share. Its tables exist before its batch begins: a table is
/// created in one batch and filled in the next.
#[derive(Clone)]
pub struct Statement {
    pub(crate) sql: Sql,
    pub(crate) params: Vec<SqlValue>,
    pub(crate) expected: Option<u64>,
}

/// A statement that may touch any number of rows.
pub fn statement(sql: impl Into<Cow<'static, str>>, params: Vec<SqlValue>) -> Statement {
    Statement { sql: Sql(sql.into()), params, expected: None }
}

impl Statement {
    /// Makes the statement a guard: if it touches (or, for a `SELECT`, finds) any other number
    /// of rows, the whole batch is undone and answered with [`CommitOutcome::GuardFailed`].
    #[must_use]
    pub fn expect(mut self, rows: u64) -> Self {
        self.expected = Some(rows);
        self
    }
}

/// Prints the SQL, never the parameters.
impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("sql", &self.sql.0)
            .field("params", &self.params.len())
            .field("expected", &self.expected)
            .finish()
    }
}

/// Statements that take effect in order and together, or not at all, and the changes that memory must apply.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) statements: Vec<Statement>,
    /// Changes with their times. [`crate::Store::commit`] appends their rows to the change feed.
    pub(crate) changes: Vec<(Change, Timestamp)>,
}

impl Batch {
    pub const fn new() -> Self {
        Self { statements: Vec::new(), changes: Vec::new() }
    }

    pub fn push(&mut self, statement: Statement) {
        self.statements.push(statement);
    }

    /// Announces a change to every node, in the commit that makes it.
    pub fn announce(&mut self, change: Change, now: Timestamp) {
        self.changes.push((change, now));
    }

    /// Whether memory has changes to apply after the commit.
    pub const fn announces(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Moves everything in `other` to the end of this batch.
    pub fn append(&mut self, other: Self) {
        self.statements.extend(other.statements);
        self.changes.extend(other.changes);
    }

    #[must_use]
    pub fn with(mut self, statement: Statement) -> Self {
        self.push(statement);
        self
    }

    /// Number of statements, without those of the change feed.
    pub const fn len(&self) -> usize {
        self.statements.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.changes.is_empty()
    }
}

impl Extend<Statement> for Batch {
    fn extend<I: IntoIterator<Item = Statement>>(&mut self, statements: I) {
        self.statements.extend(statements);
    }
}

impl From<Vec<Statement>> for Batch {
    fn from(statements: Vec<Statement>) -> Self {
        Self { statements, changes: Vec::new() }
    }
}

/// The result of a batch that met no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a guard that failed means somebody was first: load and decide again"]
pub enum CommitOutcome {
    /// Every statement took effect and survives a power cut.
    Committed,
    /// Nothing took effect; `statement` is the index of the guard that matched another number of rows.
    GuardFailed { statement: usize },
}
