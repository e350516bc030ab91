//! One-time links, by the digest of their code.

use model::link::LinkPurpose;
use model::{Timestamp, User, UserId};

use crate::{Fault, Statement, Store, values};

/// Link `l` goes to an address where its user `u` still reads mail. A set-up link for a user without an address was
/// handed over, and stays valid when they get one.
macro_rules! address_stands {
    () => {
        "(l.address IS NOT DISTINCT FROM u.email OR (l.address IS NULL AND l.kind = 'set-up'))"
    };
}
pub(super) use address_stands;

impl Store {
    /// Bound to the epoch and the address that were read: the link ends with everything else that the epoch ends, and
    /// with any change of the address.
    pub fn insert_link(
        &self,
        digest: &[u8; 32],
        purpose: LinkPurpose,
        user: &User,
        expires_at: Timestamp,
    ) -> Statement {
        self.bound(
            "INSERT INTO links (instance, digest, kind, user_id, user_epoch, address, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            values![
                *digest,
                purpose.kind(),
                user.id.0,
                user.epoch,
                user.email.as_ref().map(|email| email.address.as_str()),
                expires_at.micros()
            ],
        )
        .expect(1)
    }

    /// The purpose and the user of a link, while it is valid.
    pub async fn link(&self, digest: &[u8; 32], now: Timestamp) -> Result<Option<(LinkPurpose, UserId)>, Fault> {
        let sql = concat!(
            "SELECT l.kind, l.user_id FROM links l \
             JOIN users u ON u.instance = l.instance AND u.id = l.user_id AND u.epoch = l.user_epoch \
             WHERE l.instance = $1 AND l.digest = $2 AND l.expires_at > $3 AND ",
            address_stands!()
        );
        let Some(row) = self.row(sql, values![*digest, now.micros()]).await? else { return Ok(None) };
        // A link whose purpose this version does not know is not valid here.
        let Some(purpose) = LinkPurpose::read(&row.text(0)?) else { return Ok(None) };
        Ok(Some((purpose, UserId(row.uuid(1)?))))
    }

    /// Usable once: the guard fails for the second use, and if the address was changed. Its batch changes the user
    /// first, so that the address cannot change after this check.
    pub fn use_link(&self, digest: &[u8; 32]) -> Statement {
        let sql = concat!(
            "DELETE FROM links AS l WHERE l.instance = $1 AND l.digest = $2 AND EXISTS \
             (SELECT 1 FROM users u WHERE u.instance = l.instance AND u.id = l.user_id AND ",
            address_stands!(),
            ")"
        );
        self.bound(sql, values![*digest]).expect(1)
    }

    /// A small batch of expired links.
    pub fn sweep_links(&self, before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM links WHERE instance = $1 AND digest IN \
             (SELECT digest FROM links WHERE instance = $1 AND expires_at < $2 ORDER BY expires_at LIMIT 500)",
            values![before.micros()],
        )
    }
}
