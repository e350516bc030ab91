//! The audit chain: seals, the keys of the people in them, and the checkpoints that sign them.

use model::audit::RequestId;
use model::audit::chain::{ChainHead, Seal, SealEntry, SealHash, SealLink};
use model::{Timestamp, UserId};

use std::collections::HashSet;

use crate::tables::audit::around;
use crate::tables::changes::{FeedMark, change_is_there};
use crate::tables::{damaged, with_one_for_each};
use crate::{Fault, SqlRow, Statement, Store, values};

/// A stored key for checkpoints. Its private half is sealed under the master key.
pub struct StoredAuditKey {
    pub kid: String,
    pub sealed: Vec<u8>,
    pub created_at: Timestamp,
    /// `None`: it signs.
    pub replaced_at: Option<Timestamp>,
}

/// The stored memory of a chain, and the chain itself, read by one statement.
pub struct StoredMemory {
    pub row: Option<MemoryRow>,
    /// The newest seal, and the number of the oldest.
    pub head: ChainHead,
    pub oldest: i64,
    /// Read from the chain: the hash of the seal remembered as newest, the newest remembered checkpoint, and the hash
    /// of the requested seal.
    pub remembered_head: Option<SealHash>,
    pub remembered_checkpoint: Option<String>,
    pub asked: Option<SealHash>,
}

pub struct MemoryRow {
    pub secret: Vec<u8>,
    pub version: i64,
    /// Seal numbers; see [`model::audit::broken::RememberedEnd`].
    pub head: i64,
    pub signed: i64,
    pub remembered: Vec<u8>,
}

/// Maximum people per query for their keys.
pub const MAX_PEOPLE_ASKED: usize = 4096;

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

fn read(row: &SqlRow) -> Result<Seal, Fault> {
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

/// The id of an event before it was sealed: its own, or that of its block.
fn waited_as(id: &str) -> &str {
    id.split_once('.').map_or(id, |(block, _)| block)
}

impl Store {
    /// The newest seal.
    pub async fn audit_head(&self) -> Result<ChainHead, Fault> {
        let sql = "SELECT number, hash, at FROM audit_seals WHERE instance = $1 ORDER BY number DESC LIMIT 1";
        let Some(row) = self.row(sql, vec![]).await? else { return Ok(ChainHead::NONE) };
        let hash = SealHash::parse(&row.text(1)?).ok_or_else(|| damaged("the hash of a seal does not read back"))?;
        Ok(ChainHead { number: row.int(0)?, hash, at: row.time(2)? })
    }

    /// The stored memory and the chain, with the hash of one seal. One statement: a seal that another node adds
    /// meanwhile must not look like a changed chain.
    pub async fn audit_memory(&self, asked: i64) -> Result<StoredMemory, Fault> {
        let sql = "SELECT m.secret, m.version, m.head, m.signed, m.remembered, h.number, h.hash, h.at, r.hash, c.jws, \
                   a.hash, (SELECT MIN(number) FROM audit_seals WHERE instance = $1) \
                   FROM instances i LEFT JOIN audit_memory m ON m.instance = i.id \
                   LEFT JOIN audit_seals h ON h.instance = i.id \
                   AND h.number = (SELECT MAX(number) FROM audit_seals WHERE instance = $1) \
                   LEFT JOIN audit_seals r ON r.instance = i.id AND r.number = m.head \
                   LEFT JOIN audit_checkpoints c ON c.instance = i.id AND c.number = m.signed \
                   LEFT JOIN audit_seals a ON a.instance = i.id AND a.number = $2 WHERE i.id = $1";
        let row = self.row(sql, values![asked]).await?.ok_or_else(|| damaged("the instance is gone"))?;
        let memory = match row.opt_bytes(0)? {
            None => None,
            Some(secret) => {
                let (version, head, signed) = (row.int(1)?, row.int(2)?, row.int(3)?);
                Some(MemoryRow { secret, version, head, signed, remembered: row.bytes(4)? })
            }
        };
        // An unreadable hash was not written by Gatehouse, and counts as a different one.
        let hash = |column| Ok::<_, Fault>(row.opt_text(column)?.and_then(|text| SealHash::parse(&text)));
        let head = match row.opt_int(5)? {
            None => ChainHead::NONE,
            Some(number) => ChainHead { number, hash: hash(6)?.unwrap_or(SealHash::NONE), at: row.time(7)? },
        };
        Ok(StoredMemory {
            row: memory,
            head,
            oldest: row.opt_int(11)?.unwrap_or(1),
            remembered_head: hash(8)?,
            remembered_checkpoint: row.opt_text(9)?,
            asked: hash(10)?,
        })
    }

    /// Guarded: there is none yet.
    pub fn insert_audit_memory(&self, row: MemoryRow) -> Statement {
        self.bound(
            "INSERT INTO audit_memory (instance, secret, version, head, signed, remembered) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            values![row.secret, row.version, row.head, row.signed, row.remembered],
        )
        .expect(1)
    }

    /// Guarded by the version that was read, and by a row of the change feed, which a database that was rolled back
    /// lacks.
    pub fn update_audit_memory(
        &self,
        read: i64,
        head: i64,
        signed: i64,
        remembered: Vec<u8>,
        behind: Option<&FeedMark>,
    ) -> Statement {
        const UPDATE: &str = "UPDATE audit_memory SET version = version + 1, head = $3, signed = $4, remembered = $5 \
                              WHERE instance = $1 AND version = $2";
        const UPDATE_BEHIND: &str = concat!(
            "UPDATE audit_memory SET version = version + 1, head = $3, signed = $4, remembered = $5 \
             WHERE instance = $1 AND version = $2 AND ",
            change_is_there!("$6", "$7")
        );
        let update = match behind.map(FeedMark::key) {
            None => self.bound(UPDATE, values![read, head, signed, remembered]),
            Some((number, id)) => self.bound(UPDATE_BEHIND, values![read, head, signed, remembered, number, id]),
        };
        update.expect(1)
    }

    /// Guarded by the version that was read.
    pub fn delete_audit_memory(&self, read: i64) -> Statement {
        self.bound("DELETE FROM audit_memory WHERE instance = $1 AND version = $2", values![read]).expect(1)
    }

    /// Only the secret of [`Self::audit_memory`].
    pub async fn audit_secret(&self) -> Result<Option<Vec<u8>>, Fault> {
        let sql = "SELECT secret FROM audit_memory WHERE instance = $1";
        Ok(self.row(sql, vec![]).await?.map(|row| row.bytes(0)).transpose()?)
    }

    /// Whether a seal has this number and this hash.
    pub async fn has_seal(&self, link: SealLink) -> Result<bool, Fault> {
        let sql = "SELECT hash FROM audit_seals WHERE instance = $1 AND number = $2";
        let row = self.row(sql, values![link.seal]).await?;
        Ok(row.map(|row| row.text(0)).transpose()?.and_then(|hash| SealHash::parse(&hash)) == Some(link.hash))
    }

    /// Of these ids of rows and blocks, those that are sealed already.
    pub async fn sealed_before(&self, ids: &[&str]) -> Result<HashSet<String>, Fault> {
        let (Some(least), Some(greatest)) = (ids.iter().min(), ids.iter().max()) else { return Ok(HashSet::new()) };
        let sql = "SELECT contents FROM audit_seals WHERE instance = $1 AND last_id >= $2 AND first_id <= $3";
        let wanted: HashSet<&str> = ids.iter().copied().collect();
        let mut found = HashSet::new();
        for row in self.rows(sql, values![*least, *greatest]).await? {
            let contents = row.text(0)?;
            let sealed = contents.lines().filter_map(SealEntry::parse).map(|entry| waited_as(entry.id));
            found.extend(sealed.filter(|id| wanted.contains(id)).map(str::to_owned));
        }
        Ok(found)
    }

    /// Guarded: no other node has added a seal after the same head. `ids`: the lowest and the highest id of the sealed
    /// rows and blocks.
    pub fn insert_seal(&self, seal: Seal, ids: Option<(&str, &str)>) -> Statement {
        let bytes = seal.bytes();
        let (first, last) = ids.unzip();
        self.bound(
            "INSERT INTO audit_seals (instance, number, at, first_at, last_at, events_count, bytes, previous, hash, \
             contents, events, people, first_id, last_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
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
                seal.people,
                first,
                last
            ],
        )
        .expect(1)
    }

    /// The oldest seals after a number.
    pub async fn seals_after(&self, number: i64, limit: u32) -> Result<Vec<Seal>, Fault> {
        let rows = self.rows(select_seals!("number > $2 ORDER BY number LIMIT $3"), values![number, limit]).await?;
        rows.iter().map(read).collect()
    }

    /// The lowest and the highest number of the seals with events in this time range.
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

    /// Seals with events of a request.
    pub async fn seals_of(&self, request: RequestId) -> Result<Vec<Seal>, Fault> {
        let (from, until) = around(request);
        let sql = select_seals!("last_at >= $2 AND first_at < $3 AND events LIKE $4 ORDER BY number");
        let holds = format!("%\"request\":\"{request}\"%");
        self.rows(sql, values![from.micros(), until.micros(), holds]).await?.iter().map(read).collect()
    }

    /// Seals with folded records of refusals, of the time when a request would have been recorded.
    pub async fn seals_with_folds(&self, request: RequestId) -> Result<Vec<Seal>, Fault> {
        let (from, until) = around(request);
        let sql =
            select_seals!("last_at >= $2 AND first_at < $3 AND events LIKE '%\"folded\":%' ORDER BY number LIMIT 64");
        self.rows(sql, values![from.micros(), until.micros()]).await?.iter().map(read).collect()
    }

    /// The keys of these people; `None` for an erased person.
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

    /// Makes everything sealed under the person's key unreadable for ever, and prevents a new key.
    pub fn erase_audit_person(&self, user: UserId) -> Statement {
        self.bound(
            "INSERT INTO audit_people (instance, user_id, key) VALUES ($1, $2, NULL) \
             ON CONFLICT (instance, user_id) DO UPDATE SET key = NULL",
            values![user.0],
        )
        .expect(1)
    }

    /// All keys that ever signed checkpoints, newest last.
    pub async fn audit_keys(&self) -> Result<Vec<StoredAuditKey>, Fault> {
        let sql = "SELECT kid, private_key, created_at, replaced_at FROM audit_keys \
                   WHERE instance = $1 ORDER BY created_at, kid";
        let rows = self.rows(sql, vec![]).await?;
        let key = |row: &SqlRow| {
            Ok(StoredAuditKey {
                kid: row.text(0)?,
                sealed: row.bytes(1)?,
                created_at: row.time(2)?,
                replaced_at: row.opt_time(3)?,
            })
        };
        rows.iter().map(key).collect()
    }

    /// Replaces the key that was read, or inserts the first. Two statements: only after the instance's row is locked
    /// does the guard see what another node committed.
    pub fn replace_audit_key(&self, old: Option<&str>, kid: &str, sealed: Vec<u8>, now: Timestamp) -> Vec<Statement> {
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

    /// Replaces an existing checkpoint. Two nodes cannot sign at once, because each must first update the chain's
    /// memory.
    pub fn insert_checkpoint(&self, number: i64, at: Timestamp, jws: &str) -> Statement {
        self.bound(
            "INSERT INTO audit_checkpoints (instance, number, at, jws) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (instance, number) DO UPDATE SET at = excluded.at, jws = excluded.jws",
            values![number, at.micros(), jws],
        )
    }

    /// Number, time and signature of the newest checkpoint.
    pub async fn newest_checkpoint(&self) -> Result<Option<(i64, Timestamp, String)>, Fault> {
        let sql = "SELECT number, at, jws FROM audit_checkpoints WHERE instance = $1 ORDER BY number DESC LIMIT 1";
        self.row(sql, vec![]).await?.map(|row| Ok((row.int(0)?, row.time(1)?, row.text(2)?))).transpose()
    }

    /// The lowest signed number, from this one on.
    pub async fn signed_from(&self, number: i64) -> Result<Option<i64>, Fault> {
        let sql = "SELECT MIN(number) FROM audit_checkpoints WHERE instance = $1 AND number >= $2";
        let row = self.row(sql, values![number]).await?;
        Ok(row.map_or(Ok(None), |row| row.opt_int(0))?)
    }

    /// Checkpoints of these numbers, inclusive.
    pub async fn checkpoints(&self, from: i64, to: i64) -> Result<Vec<(i64, String)>, Fault> {
        let sql = "SELECT number, jws FROM audit_checkpoints WHERE instance = $1 AND number >= $2 AND number <= $3 \
                   ORDER BY number";
        self.rows(sql, values![from, to]).await?.iter().map(|row| Ok((row.int(0)?, row.text(1)?))).collect()
    }

    /// The oldest seals, from before a time: number, hash, events and bytes. Never the newest of all.
    pub async fn old_seals(&self, before: Timestamp, limit: u32) -> Result<Vec<(i64, String, i64, i64)>, Fault> {
        let sql = "SELECT number, hash, events_count, bytes FROM audit_seals WHERE instance = $1 AND at < $2 \
                   AND number < (SELECT MAX(number) FROM audit_seals WHERE instance = $1) ORDER BY number LIMIT $3";
        let rows = self.rows(sql, values![before.micros(), limit]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?, row.int(2)?, row.int(3)?))).collect()
    }

    /// The oldest seals that must go so that the rest takes at most `bytes` bytes; columns as in [`Self::old_seals`].
    pub async fn seals_beyond(&self, bytes: i64, limit: u32) -> Result<Vec<(i64, String, i64, i64)>, Fault> {
        let sql = "SELECT number, hash, events_count, bytes FROM audit_seals WHERE instance = $1 \
                   AND number < (SELECT MAX(number) FROM audit_seals WHERE instance = $1) ORDER BY number LIMIT $2";
        let size = "SELECT CAST(COALESCE(SUM(bytes + 512), 0) AS BIGINT) FROM audit_seals WHERE instance = $1";
        let row = self.row(size, vec![]).await?.ok_or_else(|| damaged("an aggregate has one row"))?;
        let mut beyond = row.int(0)? - bytes;
        let mut old = Vec::new();
        if beyond <= 0 {
            return Ok(old);
        }
        for row in self.rows(sql, values![limit]).await? {
            if beyond <= 0 {
                break;
            }
            let seal = (row.int(0)?, row.text(1)?, row.int(2)?, row.int(3)?);
            beyond -= seal.3 + 512;
            old.push(seal);
        }
        Ok(old)
    }

    /// Deletes the seals up to a number. The checkpoint that records the deletion takes their place. Guarded by the
    /// number of seals.
    pub fn prune_seals(&self, number: i64, seals: u64, at: Timestamp, jws: &str) -> Vec<Statement> {
        vec![
            self.bound("DELETE FROM audit_seals WHERE instance = $1 AND number <= $2", values![number]).expect(seals),
            self.bound("DELETE FROM audit_checkpoints WHERE instance = $1 AND number <= $2", values![number]),
            self.insert_checkpoint(number, at, jws),
        ]
    }
}
