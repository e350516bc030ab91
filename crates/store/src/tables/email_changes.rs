//! Pending changes of e-mail addresses, one per user, while the addresses are asked.

use model::email_change::EmailChange;
use model::link::LinkCode;
use model::mail::EmailAddress;
use model::{Timestamp, UserId};
use oauth::secret::Digest;

use crate::tables::{ExaminedTable, damaged};
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

/// The columns that [`read`] expects, in its order.
macro_rules! select_changes {
    ($rest:literal) => {
        concat!(
            "SELECT user_id, user_epoch, old_address, new_address, old_digest, new_digest, expires_at \
             FROM email_changes WHERE instance = $1 ",
            $rest
        )
    };
}

const KIND: &str = "change of address";

pub(super) const EXAMINED: ExaminedTable = ExaminedTable {
    kind: KIND,
    sql: select_changes!("AND user_id > $2 ORDER BY user_id LIMIT $3"),
    examine: |row| read(row).map(|_| Vec::new()),
};

fn read(row: &SqlRow) -> Result<EmailChange, DamagedRow> {
    let digest = |column| match row.opt_bytes(column)? {
        Some(_) => row.digest::<LinkCode>(column).map(Some),
        None => Ok(None),
    };
    Ok(EmailChange {
        user: UserId(row.uuid(0)?),
        user_epoch: row.int(1)?,
        old: row.opt_text(2)?,
        new: EmailAddress::parse(&row.text(3)?).ok_or_else(|| damaged("an address does not read back"))?,
        old_code: digest(4)?,
        new_code: digest(5)?,
        expires_at: row.time(6)?,
    })
}

fn bytes(code: Option<&Digest<LinkCode>>) -> Option<[u8; 32]> {
    code.map(|code| *code.as_bytes())
}

impl Store {
    /// Counts an e-mail to an address that is not yet the user's. Guarded: at most `most` per day (UTC) over all nodes.
    pub fn count_new_address_letter(&self, user: UserId, now: Timestamp, most: u32) -> Statement {
        self.bound(
            "INSERT INTO new_address_letters AS l (instance, user_id, day, letters) VALUES ($1, $2, $3, 1) \
             ON CONFLICT (instance, user_id) DO UPDATE SET day = excluded.day, \
             letters = CASE WHEN l.day = excluded.day THEN l.letters + 1 ELSE 1 END \
             WHERE l.day <> excluded.day OR l.letters < $4",
            values![user.0, now.seconds().div_euclid(86_400), most],
        )
        .expect(1)
    }

    /// The user's last requested change, expired or not.
    pub async fn email_change(&self, user: UserId) -> Result<Option<EmailChange>, Fault> {
        // A row that cannot be read is no change: the user requests it again.
        Ok(self.list(KIND, select_changes!("AND user_id = $2"), values![user.0], read).await?.pop())
    }

    /// The change that one side answers with this code, expired or not.
    pub async fn email_change_by_code(&self, code: &Digest<LinkCode>) -> Result<Option<EmailChange>, Fault> {
        let sql = select_changes!("AND (old_digest = $2 OR new_digest = $2)");
        Ok(self.list(KIND, sql, values![*code.as_bytes()], read).await?.pop())
    }

    /// Replaces the user's earlier change, whose codes become invalid.
    pub fn put_email_change(&self, change: &EmailChange) -> Statement {
        self.bound(
            "INSERT INTO email_changes \
             (instance, user_id, user_epoch, old_address, new_address, old_digest, new_digest, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (instance, user_id) DO UPDATE SET \
             user_epoch = excluded.user_epoch, old_address = excluded.old_address, \
             new_address = excluded.new_address, old_digest = excluded.old_digest, \
             new_digest = excluded.new_digest, expires_at = excluded.expires_at",
            values![
                change.user.0,
                change.user_epoch,
                change.old.as_deref(),
                change.new.as_str(),
                bytes(change.old_code.as_ref()),
                bytes(change.new_code.as_ref()),
                change.expires_at.micros()
            ],
        )
        .expect(1)
    }

    /// One side has agreed. Guarded by the answers that were read.
    pub fn advance_email_change(&self, before: &EmailChange, after: &EmailChange) -> Statement {
        self.bound(
            "UPDATE email_changes SET old_digest = $5, new_digest = $6 WHERE instance = $1 AND user_id = $2 \
             AND old_digest IS NOT DISTINCT FROM $3 AND new_digest IS NOT DISTINCT FROM $4",
            values![
                before.user.0,
                bytes(before.old_code.as_ref()),
                bytes(before.new_code.as_ref()),
                bytes(after.old_code.as_ref()),
                bytes(after.new_code.as_ref())
            ],
        )
        .expect(1)
    }

    /// The change is made or abandoned. Guarded by the answers that were read.
    pub fn end_email_change(&self, change: &EmailChange) -> Statement {
        self.bound(
            "DELETE FROM email_changes WHERE instance = $1 AND user_id = $2 \
             AND old_digest IS NOT DISTINCT FROM $3 AND new_digest IS NOT DISTINCT FROM $4",
            values![change.user.0, bytes(change.old_code.as_ref()), bytes(change.new_code.as_ref())],
        )
        .expect(1)
    }

    /// A small batch of expired changes.
    pub fn sweep_email_changes(&self, before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM email_changes WHERE instance = $1 AND user_id IN \
             (SELECT user_id FROM email_changes WHERE instance = $1 AND expires_at < $2 LIMIT 500)",
            values![before.micros()],
        )
    }
}
