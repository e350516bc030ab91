//! Migrations: one folder for both databases, forward only, one node at a time.

use refinery::{Migration, Runner, Target};
use tokio_postgres::Client;

use crate::Fault;
use crate::fault::postgres::fault;

#[allow(clippy::unwrap_used, unreachable_pub, reason = "what the macro writes")]
mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The advisory lock that Gatehouse nodes take on PostgreSQL while they migrate.
const LOCK: i64 = 0x6761_7465_686f_7573; // "gatehous"

/// Raises inside the statement that matched a wrong number of rows, which stops the rest of its transaction.
const EXPECT: &str = "
    CREATE OR REPLACE FUNCTION gatehouse_expect(counted BIGINT, expected BIGINT) RETURNS BOOLEAN
    LANGUAGE plpgsql AS $$
    BEGIN
        IF counted <> expected THEN
            RAISE EXCEPTION 'guard failed' USING ERRCODE = 'GH001';
        END IF;
        RETURN TRUE;
    END
    $$";

/// The text in one language of a text in several languages. SQLite gets it from the driver (`entities::shown`).
const SHOWN: &str = "
    CREATE OR REPLACE FUNCTION gatehouse_shown(names TEXT, language TEXT) RETURNS TEXT
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT coalesce(
            names::json ->> language,
            names::json ->> 'EN',
            (SELECT value FROM json_each_text(names::json) LIMIT 1)
        )
    $$";

/// The code (keyed SHA-256) of a text, under a key that is used for one statement. SQLite gets it from the driver
/// (`tables::code`).
const CODE: &str = "
    CREATE OR REPLACE FUNCTION gatehouse_code(key TEXT, told TEXT) RETURNS TEXT
    LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
        SELECT encode(sha256(convert_to(key || told || key, 'UTF8')), 'hex')
    $$";

/// All or nothing: both databases undo `CREATE` and `ALTER` with the rest.
///
/// A version unknown to this binary is no reason to stop: tables are expanded before they are contracted, so that the
/// previous version of Gatehouse runs on the tables of the next.
fn runner(target: Target) -> Runner {
    embedded::migrations::runner().set_grouped(true).set_abort_missing(false).set_target(target)
}

/// The newest version in this program.
pub(crate) fn newest() -> i64 {
    known().iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0)
}

/// The names of the migrations after a version, in order.
pub(crate) fn after(version: i64) -> Vec<String> {
    let mut known = known();
    known.retain(|migration| i64::from(migration.version()) > version);
    known.sort();
    names(&known)
}

fn known() -> Vec<Migration> {
    runner(Target::Latest).get_migrations().clone()
}

fn names(migrations: &[Migration]) -> Vec<String> {
    migrations.iter().map(ToString::to_string).collect()
}

/// Blocks. The caller holds the lock of the file.
pub(crate) fn sqlite(connection: &mut rusqlite::Connection, target: Target) -> Result<Vec<String>, Fault> {
    let report = runner(target).run(connection).map_err(Fault::failed)?;
    Ok(names(report.applied_migrations()))
}

/// Waits for the advisory lock. The server releases it with the connection, however that ends.
pub(crate) async fn postgres(mut client: Client, target: Target) -> Result<Vec<String>, Fault> {
    let lock = format!("SELECT pg_advisory_lock({LOCK})");
    client.batch_execute(&lock).await.map_err(fault)?;
    client.batch_execute(EXPECT).await.map_err(fault)?;
    client.batch_execute(SHOWN).await.map_err(fault)?;
    client.batch_execute(CODE).await.map_err(fault)?;
    let report = runner(target).run_async(&mut client).await.map_err(Fault::failed)?;
    Ok(names(report.applied_migrations()))
}
