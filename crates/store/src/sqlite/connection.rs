//! One SQLite connection: its setup, and the translation of statements.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags};

use crate::batch::Sql;
use crate::value::{SqlRow, SqlValue};
use crate::{Fault, Trouble};

/// Maximum wait of a statement for another process that holds the database.
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection.
const PREPARED: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A connection, with the translated texts that it has run.
pub(super) struct SqliteConnection {
    connection: Connection,
    // Keyed by the address of the text, for `'static` texts.
    translated: HashMap<(usize, usize), String>,
}

impl SqliteConnection {
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, Fault> {
        let flags = match access {
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .and_then(|connection| configure(&connection, access).map(|()| connection))
            .map_err(fault)?;
        Ok(Self { connection, translated: HashMap::new() })
    }

    /// Runs one statement and passes its rows to `each`. Returns the number of rows touched or found.
    pub(super) fn run(
        &mut self,
        sql: &Sql,
        params: &[SqlValue],
        mut each: impl FnMut(&rusqlite::Row<'_>) -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let mut prepared = match &sql.0 {
            Cow::Borrowed(text) => {
                let key = (text.as_ptr() as usize, text.len());
                let text = self.translated.entry(key).or_insert_with(|| translate(text));
                self.connection.prepare_cached(text)
            }
            Cow::Owned(text) => self.connection.prepare_cached(&translate(text)),
        }
        .map_err(fault)?;
        bind(&mut prepared, params)?;
        let finds = prepared.column_count() > 0;
        let mut found = 0;
        let mut rows = prepared.raw_query();
        while let Some(row) = rows.next().map_err(fault)? {
            found += 1;
            each(row)?;
        }
        drop(rows);
        Ok(if finds { found } else { self.connection.changes() })
    }

    /// Runs a statement without parameters and result.
    pub(super) fn control(&mut self, sql: &'static str) -> Result<(), Fault> {
        self.run(&Sql(Cow::Borrowed(sql)), &[], |_| Ok(())).map(drop)
    }

    pub(super) fn read(&mut self, sql: &Sql, params: &[SqlValue]) -> Result<Vec<SqlRow>, Fault> {
        let mut rows = Vec::new();
        self.run(sql, params, |row| {
            let columns = (0..row.as_ref().column_count()).map(|column| value(row, column));
            rows.push(SqlRow::new(columns.collect::<Result<_, _>>()?));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    pub(super) fn raw(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

fn value(row: &rusqlite::Row<'_>, column: usize) -> Result<SqlValue, Fault> {
    Ok(match row.get_ref(column).map_err(fault)? {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(n) => SqlValue::Int(n),
        ValueRef::Text(text) => SqlValue::Text(String::from_utf8(text.to_vec()).map_err(Fault::failed)?),
        ValueRef::Blob(bytes) => SqlValue::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(Fault::failed(format!("column {column} is a fraction"))),
    })
}

fn bind(prepared: &mut CachedStatement<'_>, params: &[SqlValue]) -> Result<(), Fault> {
    if prepared.parameter_count() != params.len() {
        let (wanted, given) = (prepared.parameter_count(), params.len());
        return Err(Fault::failed(format!("the statement takes {wanted} parameters, not {given}")));
    }
    for (index, value) in (1..).zip(params) {
        match value {
            SqlValue::Null => prepared.raw_bind_parameter(index, rusqlite::types::Null),
            SqlValue::Int(n) => prepared.raw_bind_parameter(index, n),
            // PostgreSQL cannot store it either.
            SqlValue::Text(text) if text.contains('\0') => {
                return Err(Fault::failed(format!("parameter {index} holds a NUL")));
            }
            SqlValue::Text(text) => prepared.raw_bind_parameter(index, text),
            SqlValue::Bytes(bytes) => prepared.raw_bind_parameter(index, bytes.as_slice()),
        }
        .map_err(fault)?;
    }
    Ok(())
}

fn configure(connection: &Connection, access: Access) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    // Sizes in KiB (negative) and bytes. Small, so that an idle server stays under 32 MiB.
    connection.execute_batch(match access {
        Access::Read => "PRAGMA query_only = ON; PRAGMA cache_size = -1024;",
        Access::Write => {
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -4096; PRAGMA journal_size_limit = 16777216;"
        }
    })?;
    connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 8388608;")?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("gatehouse_shown", 2, flags, |call| {
        let (names, code) = (call.get::<Option<String>>(0)?, call.get::<String>(1)?);
        let shown = names.map(|names| crate::entities::shown(&names, &code)).transpose();
        shown.map_err(|fault| rusqlite::Error::UserFunctionError(Box::new(fault)))
    })?;
    connection.create_scalar_function("gatehouse_code", 2, flags, |call| {
        let (key, text) = (call.get::<Option<String>>(0)?, call.get::<Option<String>>(1)?);
        Ok(key.zip(text).map(|(key, text)| crate::tables::code(&key, &text)))
    })?;
    connection
        .create_scalar_function("lower", 1, flags, |call| Ok(call.get::<Option<String>>(0)?.map(|text| lower(&text))))
}

/// As PostgreSQL does: letter by letter, without regard to the context.
fn lower(text: &str) -> String {
    text.chars().map(|letter| letter.to_lowercase().next().unwrap_or(letter)).collect()
}

/// Translates `$n` to `?n` outside of quotes and comments: to SQLite, `$1` is a name, numbered by first appearance.
fn translate(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(['$', '\'', '"', '-', '/']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let opaque = opaque(found);
        if opaque > 0 {
            out.push_str(&found[..opaque]);
            rest = &found[opaque..];
            continue;
        }
        let numbered = found[1..].starts_with(|next: char| next.is_ascii_digit());
        out.push_str(if found.starts_with('$') && numbered { "?" } else { &found[..1] });
        rest = &found[1..];
    }
    out.push_str(rest);
    out
}

/// The length in bytes of the quoted text or comment at the start of `sql`. An unterminated one extends to the end.
fn opaque(sql: &str) -> usize {
    let (open, close) = match sql.as_bytes() {
        [b'\'', ..] => (1, "'"),
        [b'"', ..] => (1, "\""),
        [b'-', b'-', ..] => (2, "\n"),
        [b'/', b'*', ..] => (2, "*/"),
        _ => return 0,
    };
    sql[open..].find(close).map_or(sql.len(), |end| open + end + close.len())
}

/// SQLite's messages name tables and columns, never values.
pub(super) fn fault(error: rusqlite::Error) -> Fault {
    let trouble = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Locked,
        Some(ErrorCode::DiskFull) => Trouble::Full,
        Some(ErrorCode::ReadOnly) => Trouble::ReadOnly,
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => Trouble::Denied,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::FileLockingProtocolFailed) => {
            Trouble::Disk
        }
        Some(ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted) => Trouble::Passing,
        _ => Trouble::Defect,
    };
    Fault::because(trouble, error)
}

pub(super) fn code(fault: &Fault) -> Option<ErrorCode> {
    std::error::Error::source(fault)?.downcast_ref::<rusqlite::Error>()?.sqlite_error_code()
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_as_written_and_quoted_text_is_left_alone() {
        for (written, sent) in [
            ("SET a = $2 WHERE id = $1", "SET a = ?2 WHERE id = ?1"),
            ("SELECT '$1 it''s $2', \"$3\", $4", "SELECT '$1 it''s $2', \"$3\", ?4"),
            ("SELECT $1 -- not $2\n, $3", "SELECT ?1 -- not $2\n, ?3"),
            ("SELECT $10 /* $2 */ / $3 - $4", "SELECT ?10 /* $2 */ / ?3 - ?4"),
            ("SELECT a->>'$.b', $1", "SELECT a->>'$.b', ?1"),
            ("SELECT '$1", "SELECT '$1"),
            ("SELECT 'é$1é', $1", "SELECT 'é$1é', ?1"),
        ] {
            assert_eq!(translate(written), sent);
        }
    }

    #[test]
    fn what_cannot_be_written_is_told_apart_from_what_is_broken() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let path = directory.path().join("house.db");
        std::fs::write(&path, "").expect("a file");
        let trouble = |connected: &mut SqliteConnection, sql| connected.control(sql).expect_err("a fault").trouble();
        let mut writing = SqliteConnection::open(&path, Access::Write).expect("a connection");
        writing.control("CREATE TABLE notes (body TEXT)").expect("a table");
        assert_eq!(trouble(&mut writing, "INSERT INTO letters (body) VALUES ('x')"), Trouble::Defect);
        let mut reading = SqliteConnection::open(&path, Access::Read).expect("a connection");
        assert_eq!(trouble(&mut reading, "INSERT INTO notes (body) VALUES ('x')"), Trouble::ReadOnly);
        writing.raw().pragma_update(None, "max_page_count", 2).expect("a small disk");
        let fills = "INSERT INTO notes (body) VALUES (hex(zeroblob(20000)))";
        assert_eq!(trouble(&mut writing, fills), Trouble::Full);
    }

    #[test]
    fn lower_maps_letter_for_letter() {
        assert_eq!(lower("ÄÖÜ ΣΑΣ İ ß Ǆ"), "äöü σασ i ß ǆ");
    }
}
