//! The naive store for comparison: a pool of SQLite connections with a transaction and a commit for each change. It has
//! the same tables, statements and durability; no token is signed and no client is authenticated.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::changes::{Change, Taken, together};

const CONNECTIONS: usize = 16;
/// A connection of the naive pool retries while the database is locked; long enough that no caller gives up.
const BUSY: Duration = Duration::from_mins(1);
const INSTANCE: &str = "00000000-0000-4000-8000-000000000001";

pub(crate) struct Pool {
    free: Mutex<Vec<Connection>>,
    turns: Semaphore,
}

impl Pool {
    /// Opens an existing database.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>> {
        let connections = (0..CONNECTIONS).map(|_| {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY)?;
            connection
                .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
            anyhow::Ok(connection)
        });
        Ok(Arc::new(Self { free: Mutex::new(connections.collect::<Result<_>>()?), turns: Semaphore::new(CONNECTIONS) }))
    }

    async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _turn = self.turns.acquire().await?;
        let pool = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut connection = pool.free().pop().context("there are as many connections as turns")?;
            let done = work(&mut connection);
            pool.free().push(connection);
            done
        })
        .await?
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.free.lock().expect("no holder of this lock panics")
    }

    /// Each caller makes its changes one after the other. The rows exist before the measurement starts.
    pub(crate) async fn measure(self: &Arc<Self>, change: Change, callers: usize, each: usize) -> Result<Taken> {
        let rows = match change {
            Change::Redeem => callers * each,
            Change::Rotate => callers,
        };
        let ids: Arc<[String]> = (0..rows).map(|_| Uuid::now_v7().to_string()).collect();
        let made = Arc::clone(&ids);
        self.with(move |connection| insert(connection, change, &made)).await?;
        together(callers, |caller| {
            let (pool, ids) = (Arc::clone(self), Arc::clone(&ids));
            async move {
                let mut latencies = Vec::with_capacity(each);
                for turn in 0..each {
                    let begun = std::time::Instant::now();
                    let id = ids[if change == Change::Redeem { caller * each + turn } else { caller }].clone();
                    pool.with(move |connection| apply(connection, change, &id)).await?;
                    latencies.push(u32::try_from(begun.elapsed().as_micros())?);
                }
                Ok(latencies)
            }
        })
        .await
    }
}

fn insert(connection: &mut Connection, change: Change, ids: &[String]) -> Result<()> {
    let (state, generation) = match change {
        Change::Redeem => ("issued", 0),
        Change::Rotate => ("redeemed", 1),
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for id in ids {
        transaction
            .prepare_cached(
                "INSERT INTO authorizations (instance, id, state, application, user_id, session, scope, auth_time, \
                 amr, code_digest, code_expires_at, redirect_uri, nonce, challenge, application_epoch, user_epoch, \
                 generation, rotated_at, proven) \
                 VALUES (?1, ?2, ?3, ?2, ?2, ?1, 'read offline_access', 0, 'pwd', ?4, 0, \
                 'http://localhost:3000/portal-callback', NULL, ?1, 0, 0, ?5, 0, 0)",
            )?
            .execute(params![INSTANCE, id, state, [0_u8; 32], generation])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Load, decide, write: the database work of a redemption or a rotation.
fn apply(connection: &mut Connection, change: Change, id: &str) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let generation: Option<i64> = transaction
        .prepare_cached(
            "SELECT state, application, user_id, session, scope, auth_time, amr, code_digest, code_expires_at, \
             redirect_uri, nonce, challenge, generation, rotated_at, proven, refresh_until, application_epoch, \
             user_epoch FROM authorizations WHERE instance = ?1 AND id = ?2",
        )?
        .query_row(params![INSTANCE, id], |row| row.get(12))
        .optional()?;
    let generation = generation.context("the row was made before")?;
    let changed = match change {
        Change::Redeem => transaction
            .prepare_cached(
                "UPDATE authorizations SET state = 'redeemed', generation = 1, rotated_at = ?3, refresh_until = ?4 \
                 WHERE instance = ?1 AND id = ?2 AND state = 'issued'",
            )?
            .execute(params![INSTANCE, id, 1, 2])?,
        Change::Rotate => transaction
            .prepare_cached(
                "UPDATE authorizations SET generation = generation + 1, rotated_at = ?4, proven = 0 \
                 WHERE instance = ?1 AND id = ?2 AND generation = ?3 AND state = 'redeemed'",
            )?
            .execute(params![INSTANCE, id, generation, 1])?,
    };
    ensure!(changed == 1, "nobody else changes this row");
    transaction
        .prepare_cached(
            "INSERT INTO audit_events (instance, id, at, kind, outcome, reason, actor, application, user_id, token, \
             session, address, user_agent, request, detail) \
             VALUES (?1, ?2, 1, 'token-refreshed', 'done', '', NULL, 'portal.example.com', ?3, ?3, ?1, '127.0.0.1', \
             'bench', ?2, NULL)",
        )?
        .execute(params![INSTANCE, Uuid::now_v7().to_string(), id])?;
    transaction.commit()?;
    Ok(())
}
