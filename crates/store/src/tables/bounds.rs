//! Upper limits per user.
//!
//! Guards at the end of a batch that began with the user's row ([`Store::hold_user`]): its lock puts the batches of one
//! user in order, and a count in a statement of its own sees what was committed before the lock was acquired.

use model::link::LinkPurpose;
use model::{Timestamp, UserId};

use crate::tables::links::address_stands;
use crate::{Statement, Store, values};

impl Store {
    /// Personal access tokens that are not revoked, including expired ones.
    pub fn expect_personal_tokens_at_most(&self, user: UserId, most: u32) -> Statement {
        self.bound(
            "SELECT 1 WHERE (SELECT COUNT(*) FROM reference_tokens WHERE instance = $1 AND user_id = $2 \
             AND kind = 'personal' AND revoked_at IS NULL) <= $3",
            values![user.0, most],
        )
        .expect(1)
    }

    pub fn expect_passkeys_at_most(&self, user: UserId, most: u32) -> Statement {
        self.bound(
            "SELECT 1 WHERE (SELECT COUNT(*) FROM passkeys WHERE instance = $1 AND user_id = $2) <= $3",
            values![user.0, most],
        )
        .expect(1)
    }

    /// Valid links of this purpose.
    pub fn expect_links_at_most(&self, purpose: LinkPurpose, user: UserId, now: Timestamp, most: u32) -> Statement {
        let sql = concat!(
            "SELECT 1 WHERE (SELECT COUNT(*) FROM links l \
             JOIN users u ON u.instance = l.instance AND u.id = l.user_id AND u.epoch = l.user_epoch \
             WHERE l.instance = $1 AND l.user_id = $2 AND l.kind = $3 AND l.expires_at > $4 AND ",
            address_stands!(),
            ") <= $5"
        );
        self.bound(sql, values![user.0, purpose.kind(), now.micros(), most]).expect(1)
    }
}
