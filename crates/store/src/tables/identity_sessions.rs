use model::audit::RequestInfo;
use model::session::SessionCookie;
use model::{IdentitySession, SessionId, Timestamp, UserId};
use oauth::secret::Digest;

use crate::tables::ExaminedTable;
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

/// A sign-in, with the address and user agent of its last authentication.
#[derive(Clone, Debug)]
pub struct SignInRow {
    pub session: IdentitySession,
    /// Empty if none was recorded.
    pub address: String,
    pub user_agent: String,
}

/// The columns that [`read`] expects, in its order.
macro_rules! select_sign_ins {
    ($rest:literal) => {
        concat!(
            "SELECT id, secret, user_id, auth_time, amr, created_at, last_seen, user_epoch, address, user_agent \
             FROM identity_sessions WHERE instance = $1 AND ended_at IS NULL ",
            $rest
        )
    };
}

const KIND: &str = "sign-in";

pub(super) const EXAMINED: ExaminedTable = ExaminedTable {
    kind: KIND,
    sql: select_sign_ins!("AND id > $2 ORDER BY id LIMIT $3"),
    examine: |row| read(row).map(|_| Vec::new()),
};

fn read(row: &SqlRow) -> Result<SignInRow, DamagedRow> {
    let session = IdentitySession {
        id: SessionId(row.uuid(0)?),
        secret: row.digest(1)?,
        user: UserId(row.uuid(2)?),
        auth_time: row.time(3)?,
        amr: row.text(4)?.split_ascii_whitespace().map(str::to_owned).collect(),
        created_at: row.time(5)?,
        last_seen: row.time(6)?,
        user_epoch: row.int(7)?,
    };
    Ok(SignInRow { session, address: row.text(8)?, user_agent: row.text(9)? })
}

impl Store {
    /// A sign-in that was not ended. The caller checks its timers.
    pub async fn identity_session(&self, id: SessionId) -> Result<Option<IdentitySession>, Fault> {
        let row = self.row(select_sign_ins!("AND id = $2"), values![id.0]).await?;
        // A row that cannot be read is no sign-in: the user signs in again.
        Ok(row.and_then(|row| self.readable(KIND, &[row], read).pop()).map(|row| row.session))
    }

    /// A user's sign-ins that were not ended, most recently used first. The caller checks their timers.
    pub async fn identity_sessions_of(&self, user: UserId, limit: u32) -> Result<Vec<SignInRow>, Fault> {
        let sql = select_sign_ins!("AND user_id = $2 ORDER BY last_seen DESC, id LIMIT $3");
        self.list(KIND, sql, values![user.0, limit], read).await
    }

    /// Goes into the batch with the statement that creates or renews the sign-in.
    pub fn signed_in_from(&self, id: SessionId, request: &RequestInfo) -> Statement {
        self.bound(
            "UPDATE identity_sessions SET address = $3, user_agent = $4 WHERE instance = $1 AND id = $2",
            values![id.0, request.address.to_string(), request.user_agent.as_deref().unwrap_or_default()],
        )
        .expect(1)
    }

    pub fn insert_identity_session(&self, session: &IdentitySession) -> Statement {
        self.bound(
            "INSERT INTO identity_sessions (instance, id, secret, user_id, user_epoch, auth_time, amr, created_at, \
             last_seen) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            values![
                session.id.0,
                *session.secret.as_bytes(),
                session.user.0,
                session.user_epoch,
                session.auth_time.micros(),
                session.amr.join(" "),
                session.created_at.micros(),
                session.last_seen.micros()
            ],
        )
        .expect(1)
    }

    /// The user authenticated again: same `sid`, new secret. Guarded by the secret that was shown.
    pub fn renew_identity_session(&self, renewed: &IdentitySession, old: &Digest<SessionCookie>) -> Statement {
        self.bound(
            "UPDATE identity_sessions SET secret = $4, auth_time = $5, amr = $6, last_seen = $7, created_at = $8, \
             user_epoch = $9 WHERE instance = $1 AND id = $2 AND secret = $3 AND ended_at IS NULL",
            values![
                renewed.id.0,
                *old.as_bytes(),
                *renewed.secret.as_bytes(),
                renewed.auth_time.micros(),
                renewed.amr.join(" "),
                renewed.last_seen.micros(),
                renewed.created_at.micros(),
                renewed.user_epoch
            ],
        )
        .expect(1)
    }

    /// Slides the idle timer. Guarded: fails for a sign-in that has ended, or that a new password or a new state of its
    /// user ended. The row stays locked until the batch commits, so that nothing new is issued on an ended sign-in.
    pub fn touch_identity_session(&self, id: SessionId, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE identity_sessions SET last_seen = CASE WHEN last_seen < $3 THEN $3 ELSE last_seen END \
             WHERE instance = $1 AND id = $2 AND ended_at IS NULL AND user_epoch = (SELECT u.epoch FROM users u \
             WHERE u.instance = identity_sessions.instance AND u.id = identity_sessions.user_id)",
            values![id.0, now.micros()],
        )
        .expect(1)
    }

    /// Ends a sign-in, once. A caller that must be the first to end it expects one row.
    pub fn end_identity_session(&self, id: SessionId, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE identity_sessions SET ended_at = $3 WHERE instance = $1 AND id = $2 AND ended_at IS NULL",
            values![id.0, now.micros()],
        )
    }

    /// Sign-ins that ended, or are too old for any timer to keep them. A small batch.
    pub fn sweep_identity_sessions(&self, ended_before: Timestamp, created_before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM identity_sessions WHERE instance = $1 AND id IN (SELECT id FROM identity_sessions \
             WHERE instance = $1 AND (ended_at < $2 OR created_at < $3) LIMIT 500)",
            values![ended_before.micros(), created_before.micros()],
        )
    }

    /// Sign-ins that ended since. Their tokens may still be unexpired.
    pub async fn sessions_ended_since(&self, since: Timestamp) -> Result<Vec<SessionId>, Fault> {
        let sql = "SELECT id FROM identity_sessions WHERE instance = $1 AND ended_at IS NOT NULL AND ended_at >= $2";
        self.list(KIND, sql, values![since.micros()], |row| row.uuid(0).map(SessionId)).await
    }
}
