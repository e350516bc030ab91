use model::Timestamp;
use model::keys::KeyTimes;

use crate::tables::ExaminedTable;
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

/// A stored signing key. Its private half is sealed under the master key.
pub struct StoredKey {
    pub times: KeyTimes,
    pub sealed: Vec<u8>,
}

/// A damaged row, or one of another version. A member of the wrong type is empty.
pub struct UnreadableKey {
    pub kid: String,
    pub algorithm: String,
    pub sealed: Vec<u8>,
}

/// All signing keys of an instance, in the order in which they sign.
pub struct StoredKeys {
    pub keys: Vec<StoredKey>,
    pub unreadable: Vec<UnreadableKey>,
}

const KIND: &str = "signing key";

pub(super) const EXAMINED: ExaminedTable = ExaminedTable {
    kind: KIND,
    sql: "SELECT kid, algorithm, signs_from, retired_at, private_key FROM signing_keys \
          WHERE instance = $1 AND kid > $2 ORDER BY kid LIMIT $3",
    examine: |row| read(row).map(|_| Vec::new()),
};

fn read(row: &SqlRow) -> Result<StoredKey, DamagedRow> {
    let algorithm = row.text(1)?;
    let algorithm = algorithm
        .parse()
        .map_err(|_| DamagedRow::new(format!("this version does not know the algorithm {algorithm:?}")))?;
    let times = KeyTimes { kid: row.text(0)?, algorithm, signs_from: row.time(2)?, retired_at: row.opt_time(3)? };
    Ok(StoredKey { times, sealed: row.bytes(4)? })
}

fn unreadable(row: &SqlRow) -> UnreadableKey {
    UnreadableKey {
        kid: row.text(0).unwrap_or_default(),
        algorithm: row.text(1).unwrap_or_default(),
        sealed: row.bytes(4).unwrap_or_default(),
    }
}

impl Store {
    pub async fn signing_keys(&self) -> Result<StoredKeys, Fault> {
        let sql = "SELECT kid, algorithm, signs_from, retired_at, private_key FROM signing_keys \
                   WHERE instance = $1 ORDER BY signs_from, kid";
        let rows = self.rows(sql, vec![]).await?;
        Ok(StoredKeys {
            keys: self.readable(KIND, &rows, read),
            unreadable: rows.iter().filter(|row| read(row).is_err()).map(unreadable).collect(),
        })
    }

    /// The number of keys of this algorithm, usable or not.
    pub async fn key_count(&self, algorithm: &str) -> Result<i64, Fault> {
        let sql = "SELECT COUNT(*) FROM signing_keys WHERE instance = $1 AND algorithm = $2";
        Ok(self.row(sql, values![algorithm]).await?.map_or(Ok(0), |row| row.int(0))?)
    }

    pub fn insert_key(&self, key: &KeyTimes, sealed: Vec<u8>, now: Timestamp) -> Statement {
        self.bound(
            "INSERT INTO signing_keys (instance, kid, algorithm, private_key, signs_from, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            values![key.kid.as_str(), key.algorithm.as_str(), sealed, key.signs_from.micros(), now.micros()],
        )
        .expect(1)
    }

    /// Guarded by the number of keys that was read, so that two nodes rotating at once create one key. Two statements,
    /// in this order: only after the instance's row is locked does the count see what the other node committed.
    pub fn expect_key_count(&self, algorithm: &str, count: i64) -> [Statement; 2] {
        [
            self.bound("UPDATE instances SET feed = feed WHERE id = $1", vec![]).expect(1),
            self.bound(
                "SELECT i.id FROM instances i WHERE i.id = $1 \
                 AND (SELECT COUNT(*) FROM signing_keys k WHERE k.instance = $1 AND k.algorithm = $2) = $3",
                values![algorithm, count],
            )
            .expect(1),
        ]
    }

    pub fn retire_key(&self, kid: &str, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE signing_keys SET retired_at = $3 WHERE instance = $1 AND kid = $2 AND retired_at IS NULL",
            values![kid, now.micros()],
        )
        .expect(1)
    }

    pub fn delete_key(&self, kid: &str) -> Statement {
        self.bound("DELETE FROM signing_keys WHERE instance = $1 AND kid = $2", values![kid]).expect(1)
    }
}
