//! One-time links, by the digest of their code.

use model::link::LinkPurpose;
use model::{Timestamp, User, UserId};

use super::damaged;
use crate::{Fault, Statement, Store, values};

impl Store {
    /// Bound to the epoch that was read: it dies with whatever else of the user dies.
    pub fn insert_link(
        &self,
        digest: &[u8; 32],
        purpose: LinkPurpose,
        user: &User,
        expires_at: Timestamp,
    ) -> Statement {
        self.bound(
            "INSERT INTO links (instance, digest, kind, user_id, user_epoch, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            values![*digest, purpose.kind(), user.id.0, user.epoch, expires_at.micros()],
        )
        .expect(1)
    }

    /// What a link is for and whose it is, while it is good.
    pub async fn link(&self, digest: &[u8; 32], now: Timestamp) -> Result<Option<(LinkPurpose, UserId)>, Fault> {
        let sql = "SELECT l.kind, l.user_id FROM links l \
                   JOIN users u ON u.instance = l.instance AND u.id = l.user_id AND u.epoch = l.user_epoch \
                   WHERE l.instance = $1 AND l.digest = $2 AND l.expires_at > $3";
        let Some(row) = self.row(sql, values![*digest, now.micros()]).await? else { return Ok(None) };
        let purpose = LinkPurpose::read(&row.text(0)?).ok_or_else(|| damaged("a link does not read back"))?;
        Ok(Some((purpose, UserId(row.uuid(1)?))))
    }

    /// How many links of this kind the user has that have not expired.
    pub async fn live_links(&self, purpose: LinkPurpose, user: UserId, now: Timestamp) -> Result<u64, Fault> {
        let sql = "SELECT count(*) FROM links WHERE instance = $1 AND user_id = $2 AND kind = $3 AND expires_at > $4";
        let row = self.row(sql, values![user.0, purpose.kind(), now.micros()]).await?;
        row.map_or(Ok(0), |row| Ok(u64::try_from(row.int(0)?).unwrap_or(0)))
    }

    /// One use: the guard fails for the second.
    pub fn use_link(&self, digest: &[u8; 32]) -> Statement {
        self.bound("DELETE FROM links WHERE instance = $1 AND digest = $2", values![*digest]).expect(1)
    }

    /// All of this kind that the user has.
    pub fn end_links(&self, purpose: LinkPurpose, user: UserId) -> Statement {
        let sql = "DELETE FROM links WHERE instance = $1 AND user_id = $2 AND kind = $3";
        self.bound(sql, values![user.0, purpose.kind()])
    }

    /// A small batch of the dead.
    pub fn sweep_links(&self, before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM links WHERE instance = $1 AND digest IN \
             (SELECT digest FROM links WHERE instance = $1 AND expires_at < $2 ORDER BY expires_at LIMIT 500)",
            values![before.micros()],
        )
    }
}
