use model::legacy::{LegacyScheme, LegacyUse};
use model::{ApplicationId, Login, Timestamp, UserId};

use crate::tables::{count, damaged};
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

/// Use of a scheme by an application, summed over all users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyTotal {
    pub application: ApplicationId,
    pub scheme: LegacyScheme,
    pub uses: u64,
    pub users: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

const KIND: &str = "use of a legacy scheme";

fn scheme(row: &SqlRow, column: usize) -> Result<LegacyScheme, DamagedRow> {
    LegacyScheme::parse(&row.text(column)?).ok_or_else(|| damaged("a legacy scheme does not read back"))
}

impl Store {
    /// Adds to the count, whichever node counted before.
    pub fn add_legacy_uses(&self, seen: &LegacyUse) -> Statement {
        self.bound(
            "INSERT INTO legacy_uses (instance, application, scheme, user_id, uses, first_used_at, last_used_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (instance, application, scheme, user_id) DO UPDATE SET \
             uses = legacy_uses.uses + excluded.uses, \
             first_used_at = CASE WHEN excluded.first_used_at < legacy_uses.first_used_at \
             THEN excluded.first_used_at ELSE legacy_uses.first_used_at END, \
             last_used_at = CASE WHEN excluded.last_used_at > legacy_uses.last_used_at \
             THEN excluded.last_used_at ELSE legacy_uses.last_used_at END",
            values![
                seen.application.0,
                seen.scheme.as_str(),
                seen.user.0,
                i64::try_from(seen.uses).unwrap_or(i64::MAX),
                seen.first_at.micros(),
                seen.last_at.micros()
            ],
        )
    }

    /// One total per application and scheme, most recently used first.
    pub async fn legacy_totals(&self) -> Result<Vec<LegacyTotal>, Fault> {
        let sql = "SELECT application, scheme, CAST(SUM(uses) AS BIGINT), COUNT(*), MIN(first_used_at), \
                   MAX(last_used_at) FROM legacy_uses WHERE instance = $1 \
                   GROUP BY application, scheme ORDER BY MAX(last_used_at) DESC, application, scheme";
        let read = |row: &SqlRow| {
            Ok(LegacyTotal {
                application: ApplicationId(row.uuid(0)?),
                scheme: scheme(row, 1)?,
                uses: count(row.int(2)?)?,
                users: count(row.int(3)?)?,
                first_at: row.time(4)?,
                last_at: row.time(5)?,
            })
        };
        self.list(KIND, sql, vec![], read).await
    }

    /// Uses with their users, most recent first, at most `most`.
    pub async fn legacy_uses(&self, most: u32) -> Result<Vec<(LegacyUse, Login)>, Fault> {
        let sql = "SELECT l.application, l.scheme, l.user_id, l.uses, l.first_used_at, l.last_used_at, u.login \
                   FROM legacy_uses l JOIN users u ON u.instance = l.instance AND u.id = l.user_id \
                   WHERE l.instance = $1 ORDER BY l.last_used_at DESC, l.application, l.scheme, l.user_id LIMIT $2";
        let read = |row: &SqlRow| {
            let seen = LegacyUse {
                application: ApplicationId(row.uuid(0)?),
                scheme: scheme(row, 1)?,
                user: UserId(row.uuid(2)?),
                uses: count(row.int(3)?)?,
                first_at: row.time(4)?,
                last_at: row.time(5)?,
            };
            Ok((seen, Login::kept(row.text(6)?).0))
        };
        self.list(KIND, sql, values![most], read).await
    }
}
