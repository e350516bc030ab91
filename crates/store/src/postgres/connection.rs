//! One PostgreSQL connection: a batch as one flight, queries, and the conversion of values.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use futures_util::TryStreamExt;
use futures_util::future::{FutureExt, MaybeDone, maybe_done};
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error};

use crate::Fault;
use crate::batch::{CommitOutcome, Sql, Statement};
use crate::fault::postgres::fault;
use crate::value::{SqlRow, SqlValue};

/// Prepared statements kept per connection.
const PREPARED: usize = 256;
/// The SQLSTATE that a failed guard raises.
const GUARD_FAILED: &str = "GH001";

type Prepared = HashMap<(Sql, Option<u64>), tokio_postgres::Statement>;

/// A connection with its prepared statements, by text and expected rows.
pub(super) struct PostgresConnection {
    client: Client,
    prepared: Mutex<Prepared>,
    /// The server has closed the connection, or an error broke it. The client notices a moment later.
    lost: AtomicBool,
}

impl PostgresConnection {
    pub(super) fn new(client: Client) -> Self {
        Self { client, prepared: Mutex::default(), lost: AtomicBool::new(false) }
    }

    /// Whether the connection is unusable.
    pub(super) fn is_closed(&self) -> bool {
        self.lost.load(Ordering::Relaxed) || self.client.is_closed()
    }

    /// Stops using the connection.
    pub(super) fn give_up(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// The connection survives an ordinary error. After any other error it is not used again.
    fn note(&self, error: &Error) {
        let severity = error.as_db_error().and_then(DbError::parsed_severity);
        if severity != Some(Severity::Error) {
            self.give_up();
        }
    }

    async fn prepare(&self, sql: &Sql, expected: Option<u64>) -> Result<tokio_postgres::Statement, Error> {
        let key = (sql.clone(), expected);
        if let Some(statement) = self.prepared().get(&key) {
            return Ok(statement.clone());
        }
        let statement = match expected {
            Some(rows) => self.client.prepare(&guarded(&sql.0, rows)).await?,
            None => self.client.prepare(&sql.0).await?,
        };
        let mut prepared = self.prepared();
        if prepared.len() >= PREPARED {
            prepared.clear();
        }
        prepared.insert(key, statement.clone());
        Ok(statement)
    }

    fn prepared(&self) -> MutexGuard<'_, Prepared> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The statement itself counts its rows: a wrong count raises an error there, and nothing after it takes effect.
fn guarded(sql: &str, rows: u64) -> String {
    let finds = sql.trim_start().get(..6).is_some_and(|verb| verb.eq_ignore_ascii_case("SELECT"));
    let returning = if finds { "" } else { " RETURNING 1" };
    format!("WITH guarded AS ({sql}{returning}) SELECT gatehouse_expect(count(*), {rows}::BIGINT) FROM guarded")
}

impl PostgresConnection {
    pub(super) async fn send(&self, statements: &[Statement]) -> Result<CommitOutcome, Error> {
        let answer = self.fly(statements).await;
        answer.inspect_err(|error| self.note(error))
    }

    /// Sends the batch as one flight. A single statement needs no transaction.
    async fn fly(&self, statements: &[Statement]) -> Result<CommitOutcome, Error> {
        let mut prepared = Vec::with_capacity(statements.len());
        for Statement { sql, expected, .. } in statements {
            prepared.push(self.prepare(sql, *expected).await?);
        }
        let results = match (prepared.as_slice(), statements) {
            ([prepared], [statement]) => vec![self.execute(prepared, &statement.params).await],
            _ => self.transact(&prepared, statements).await?,
        };
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Err(error) if error.code().is_some_and(|code| code.code() == GUARD_FAILED) => {
                    return Ok(CommitOutcome::GuardFailed { statement: index });
                }
                result => result?,
            }
        }
        Ok(CommitOutcome::Committed)
    }

    /// Sends `BEGIN`, all statements and the end without waiting in between. Returns the result of each statement.
    ///
    /// An error of the commit itself is only reported if every statement succeeded: after a failed statement, the
    /// server turns the commit into a rollback.
    async fn transact(
        &self,
        prepared: &[tokio_postgres::Statement],
        statements: &[Statement],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        // A request is sent when its future is first polled, so these polls determine the order of the flight.
        let mut begun = Box::pin(maybe_done(self.client.batch_execute("BEGIN")));
        begun.as_mut().now_or_never();
        let mut under_way = Vec::with_capacity(statements.len());
        let mut sent = true;
        for (prepared, Statement { params, .. }) in prepared.iter().zip(statements) {
            let mut statement = Box::pin(maybe_done(self.execute(prepared, params)));
            statement.as_mut().now_or_never();
            // A parameter that cannot be encoded was not sent: the statements before it must not take effect.
            sent &= !matches!(&*statement, MaybeDone::Done(Err(_)));
            under_way.push(statement);
        }
        let end = self.client.batch_execute(if sent { "COMMIT" } else { "ROLLBACK" });
        let all = async {
            for statement in &mut under_way {
                statement.as_mut().await;
            }
        };
        // Polled together, because the connection delivers answers in order and waits until each is taken.
        let ((), (), ended) = tokio::join!(begun.as_mut(), all, end);
        begun.as_mut().take_output().expect("it was just awaited")?;
        let results: Vec<_> = under_way
            .iter_mut()
            .map(|statement| statement.as_mut().take_output().expect("it was just awaited"))
            .collect();
        if results.iter().all(Result::is_ok) {
            ended?;
        }
        Ok(results)
    }

    async fn execute(&self, prepared: &tokio_postgres::Statement, params: &[SqlValue]) -> Result<(), Error> {
        self.client.execute_raw(prepared, params.iter().map(Param)).await.map(drop)
    }

    pub(super) async fn query(&self, sql: &Sql, params: &[SqlValue]) -> Result<Vec<SqlRow>, Fault> {
        let found = self.ask(sql, params).await;
        let rows = found.inspect_err(|error| self.note(error)).map_err(fault)?;
        rows.iter().map(row).collect()
    }

    async fn ask(&self, sql: &Sql, params: &[SqlValue]) -> Result<Vec<tokio_postgres::Row>, Error> {
        let prepared = self.prepare(sql, None).await?;
        let rows = self.client.query_raw(&prepared, params.iter().map(Param)).await?;
        rows.try_collect().await
    }
}

/// Encodes a value with the parameter type that the server reported. The value must fit.
#[derive(Debug)]
struct Param<'a>(&'a SqlValue);

impl ToSql for Param<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match (self.0, kind) {
            (SqlValue::Null, _) => Ok(IsNull::Yes),
            (SqlValue::Int(n), &Type::INT8) => n.to_sql(kind, out),
            // The type that the server infers for `$1 + 1` or `coalesce($1, 0)`.
            (SqlValue::Int(n), &Type::INT4) => i32::try_from(*n)?.to_sql(kind, out),
            (SqlValue::Text(text), kind) if <&str as ToSql>::accepts(kind) => text.to_sql(kind, out),
            (SqlValue::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            (_, kind) => Err(format!("the value does not fit {kind}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn row(row: &tokio_postgres::Row) -> Result<SqlRow, Fault> {
    let columns = (0..row.len()).map(|column| column_value(row, column));
    columns.collect::<Result<_, _>>().map(SqlRow::new)
}

fn column_value(row: &tokio_postgres::Row, column: usize) -> Result<SqlValue, Fault> {
    let value = match *row.columns()[column].type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(column).map(SqlValue::from),
        Type::INT4 => row.try_get::<_, Option<i32>>(column).map(SqlValue::from),
        Type::BOOL => row.try_get::<_, Option<bool>>(column).map(SqlValue::from),
        Type::TEXT | Type::VARCHAR | Type::NAME => row.try_get::<_, Option<String>>(column).map(SqlValue::from),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(column).map(SqlValue::from),
        ref other => {
            return Err(Fault::failed(format!("column {column} is of the type {other}")));
        }
    };
    value.map_err(fault)
}
