//! The chain of the audit: seals, the keys of the people in them, and the checkpoints that sign them.

use model::audit::RequestId;
use model::audit::chain::{Hash, Head, Seal};
use model::{Timestamp, UserId};

use super::audit::around;
use super::{damaged, with_one_for_each};
use crate::{Fault, Row, Statement, Store, values};

/// A key for checkpoints as kept: its private half sealed under the master key.
pub struct StoredAuditKey {
    pub kid: String,
    pub sealed: Vec<u8>,
    pub created_at: Timestamp,
    /// Absent: it signs.
    pub replaced_at: Option<Timestamp>,
}

/// People whose keys one look may ask for.
pub const MOST_PEOPLE_ASKED: usize = 4096;

/// The columns that [`read`] expects, in its order.
macro_rules! select_seals {
    ($rest:literal) => {
        concat!(
            "SELECT number, at, first_at, last_at, events_count, previous, hash, contents, events, people \
             FROM audit_seals WHERE instance = $1 AND ",
            $rest
        )
    };
}

pub(super) const SEALS_BEFORE: &str = select_seals!("number < $2 ORDER BY number DESC LIMIT $3");

fn read(row: &Row) -> Result<Seal, Fault> {
    Ok(Seal {
        number: row.int(0)?,
        at: row.time(1)?,
        first_at: row.time(2)?,
        last_at: row.time(3)?,
        count: row.int(4)?,
        previous: row.text(5)?,
        hash: row.text(6)?,
        contents: row.text(7)?,
        events: row.text(8)?,
        people: row.text(9)?,
    })
}

impl Store {
    /// The newest seal.
    pub async fn audit_head(&self) -> Result<Head, Fault> {
        let sql = "SELECT number, hash, at FROM audit_seals WHERE instance = $1 ORDER BY number DESC LIMIT 1";
        let Some(row) = self.row(sql, vec![]).await? else { return Ok(Head::NONE) };
        let hash = Hash::parse(&row.text(1)?).ok_or_else(|| damaged("the hash of a seal does not read back"))?;
        Ok(Head { number: row.int(0)?, hash, at: row.time(2)? })
    }

    /// Guarded: nobody else put a seal behind the same head.
    pub fn insert_seal(&self, seal: Seal) -> Statement {
        let bytes = seal.bytes();
        self.bound(
            "INSERT INTO audit_seals (instance, number, at, first_at, last_at, events_count, bytes, previous, hash, \
             contents, events, people) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT DO NOTHING",
            values![
                seal.number,
                seal.at.micros(),
                seal.first_at.micros(),
                seal.last_at.micros(),
                seal.count,
                bytes,
                seal.previous,
                seal.hash,
                seal.contents,
                seal.events,
                seal.people
            ],
        )
        .expect(1)
    }

    /// The oldest seals behind a number.
    pub async fn seals_after(&self, number: i64, limit: u32) -> Result<Vec<Seal>, Fault> {
        let rows = self.rows(select_seals!("number > $2 ORDER BY number LIMIT $3"), values![number, limit]).await?;
        rows.iter().map(read).collect()
    }

    /// The lowest and the highest number of the seals with events of these times.
    pub async fn seals_within(&self, since: Timestamp, until: Timestamp) -> Result<Option<(i64, i64)>, Fault> {
        let sql = "SELECT MIN(number), MAX(number) FROM audit_seals \
                   WHERE instance = $1 AND last_at >= $2 AND first_at < $3";
        let row = self.row(sql, values![since.micros(), until.micros()]).await?;
        let row = row.ok_or_else(|| damaged("an aggregate has one row"))?;
        Ok(row.opt_int(0)?.zip(row.opt_int(1)?))
    }

    /// The newest seals before a number.
    pub async fn seals_before(&self, number: i64, limit: u32) -> Result<Vec<Seal>, Fault> {
        self.rows(SEALS_BEFORE, values![number, limit]).await?.iter().map(read).collect()
    }

    /// Seals that hold events of a request.
    pub async fn seals_of(&self, request: RequestId) -> Result<Vec<Seal>, Fault> {
        let (from, until) = around(request);
        let sql = select_seals!("last_at >= $2 AND first_at < $3 AND events LIKE $4 ORDER BY number");
        let holds = format!("%\"request\":\"{request}\"%");
        self.rows(sql, values![from.micros(), until.micros(), holds]).await?.iter().map(read).collect()
    }

    /// The keys of these people; `None` for those that were erased.
    pub async fn audit_people(&self, users: &[UserId]) -> Result<Vec<(UserId, Option<Vec<u8>>)>, Fault> {
        const START: &str = "SELECT user_id, key FROM audit_people WHERE instance = $1 AND user_id IN ";
        let mut people = Vec::with_capacity(users.len());
        for (sql, users) in with_one_for_each(START, users) {
            let params = self.with_instance(users.iter().map(|user| user.0.into()).collect());
            for row in self.query(sql, params).await? {
                people.push((UserId(row.uuid(0)?), row.opt_bytes(1)?));
            }
        }
        Ok(people)
    }

    /// Guarded: a person has one key.
    pub fn insert_audit_person(&self, user: UserId, key: &[u8; 32]) -> Statement {
        self.bound(
            "INSERT INTO audit_people (instance, user_id, key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            values![user.0, *key],
        )
        .expect(1)
    }

    /// Nobody reads what was sealed under the person's key any more, and no new one is made.
    pub fn erase_audit_person(&self, user: UserId) -> Statement {
        self.bound(
            "INSERT INTO audit_people (instance, user_id, key) VALUES ($1, $2, NULL) \
             ON CONFLICT (instance, user_id) DO UPDATE SET key = NULL",
            values![user.0],
        )
        .expect(1)
    }

    /// The keys that checkpoints were ever signed with, the newest last.
    pub async fn audit_keys(&self) -> Result<Vec<StoredAuditKey>, Fault> {
        let sql = "SELECT kid, private_key, created_at, replaced_at FROM audit_keys \
                   WHERE instance = $1 ORDER BY created_at, kid";
        let rows = self.rows(sql, vec![]).await?;
        let key = |row: &Row| {
            Ok(StoredAuditKey {
                kid: row.text(0)?,
                sealed: row.bytes(1)?,
                created_at: row.time(2)?,
                replaced_at: row.opt_time(3)?,
            })
        };
        rows.iter().map(key).collect()
    }

    /// In the place of the one that was read, or as the first. Two statements: only after the instance's row is locked is
    /// it seen what another node committed.
    pub fn replace_audit_key(
        &self,
        old: Option<&str>,
        (kid, sealed): (&str, Vec<u8>),
        now: Timestamp,
    ) -> Vec<Statement> {
        let mut batch = vec![self.bound("UPDATE instances SET feed = feed WHERE id = $1", vec![]).expect(1)];
        batch.extend(old.map(|old| {
            self.bound(
                "UPDATE audit_keys SET replaced_at = $3 WHERE instance = $1 AND kid = $2 AND replaced_at IS NULL",
                values![old, now.micros()],
            )
            .expect(1)
        }));
        let insert = "INSERT INTO audit_keys (instance, kid, private_key, created_at) SELECT i.id, $2, $3, $4 \
                      FROM instances i WHERE i.id = $1 AND NOT EXISTS \
                      (SELECT 1 FROM audit_keys k WHERE k.instance = $1 AND k.replaced_at IS NULL)";
        batch.push(self.bound(insert, values![kid, sealed, now.micros()]).expect(1));
        batch
    }

    /// The first of a number stays: several nodes may sign the same.
    pub fn insert_checkpoint(&self, number: i64, at: Timestamp, jws: &str) -> Statement {
        self.bound(
            "INSERT INTO audit_checkpoints (instance, number, at, jws) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            values![number, at.micros(), jws],
        )
    }

    /// Number, time and signature of the newest checkpoint.
    pub async fn newest_checkpoint(&self) -> Result<Option<(i64, Timestamp, String)>, Fault> {
        let sql = "SELECT number, at, jws FROM audit_checkpoints WHERE instance = $1 ORDER BY number DESC LIMIT 1";
        self.row(sql, vec![]).await?.map(|row| Ok((row.int(0)?, row.time(1)?, row.text(2)?))).transpose()
    }

    /// The lowest number that is signed, from this one on.
    pub async fn signed_from(&self, number: i64) -> Result<Option<i64>, Fault> {
        let sql = "SELECT MIN(number) FROM audit_checkpoints WHERE instance = $1 AND number >= $2";
        let row = self.row(sql, values![number]).await?;
        Ok(row.map_or(Ok(None), |row| row.opt_int(0))?)
    }

    /// Checkpoints of these numbers, both ends included.
    pub async fn checkpoints(&self, from: i64, to: i64) -> Result<Vec<(i64, String)>, Fault> {
        let sql = "SELECT number, jws FROM audit_checkpoints WHERE instance = $1 AND number >= $2 AND number <= $3 \
                   ORDER BY number";
        self.rows(sql, values![from, to]).await?.iter().map(|row| Ok((row.int(0)?, row.text(1)?))).collect()
    }

    /// The oldest seals, sealed before a time: number, hash, events and bytes. Never the newest of all.
    pub async fn old_seals(&self, before: Timestamp, limit: u32) -> Result<Vec<(i64, String, i64, i64)>, Fault> {
        let sql = "SELECT number, hash, events_count, bytes FROM audit_seals WHERE instance = $1 AND at < $2 \
                   AND number < (SELECT MAX(number) FROM audit_seals WHERE instance = $1) ORDER BY number LIMIT $3";
        let rows = self.rows(sql, values![before.micros(), limit]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?, row.int(2)?, row.int(3)?))).collect()
    }

    /// Deletes the seals up to a number, and leaves in their place the checkpoint that tells of it. Guarded by how many
    /// there are.
    pub fn prune_seals(&self, (number, seals): (i64, u64), (at, jws): (Timestamp, &str)) -> Vec<Statement> {
        vec![
            self.bound("DELETE FROM audit_seals WHERE instance = $1 AND number <= $2", values![number]).expect(seals),
            self.bound("DELETE FROM audit_checkpoints WHERE instance = $1 AND number <= $2", values![number]),
            self.insert_checkpoint(number, at, jws),
        ]
    }
}
