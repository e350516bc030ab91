//! Authorization requests of users who are signing in, from the first correct password on.

use std::sync::Arc;

use model::pending_authorization::{PendingAuthorization, PendingId, RequestSignIn};
use model::session::FormCookie;
use model::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::tables::damaged;
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

fn read(row: &SqlRow) -> Result<PendingAuthorization, DamagedRow> {
    let session = row.opt_text(3)?.map(|_| row.uuid(3)).transpose()?;
    let met_at = row.opt_int(4)?;
    Ok(PendingAuthorization {
        id: PendingId::Stored(row.uuid(0)?),
        browser: row.digest::<FormCookie>(1)?,
        request: Arc::new(serde_json::from_str(&row.text(2)?).map_err(|_| damaged("a request does not read back"))?),
        sign_in: session
            .zip(met_at)
            .map(|(session, at)| RequestSignIn { session: SessionId(session), at: Timestamp(at) }),
        expires_at: row.time(5)?,
    })
}

impl Store {
    /// Expired or not, of any browser.
    pub async fn pending_authorization(&self, id: Uuid) -> Result<Option<PendingAuthorization>, Fault> {
        let sql = "SELECT id, browser, request, session, met_at, expires_at FROM pending_authorizations \
                   WHERE instance = $1 AND id = $2";
        // A row that cannot be read is no request: the user starts again at the application.
        Ok(self.list("pending authorization", sql, values![id], read).await?.pop())
    }

    /// Stores the request under this id, for a user who has authenticated. An existing row gets the newer user and
    /// sign-in.
    pub fn put_pending_authorization(&self, id: Uuid, user: UserId, pending: &PendingAuthorization) -> Statement {
        let request = serde_json::to_string(&*pending.request).expect("a request is JSON");
        let (session, met_at) = pending.sign_in.map(|met| (met.session.0, met.at.micros())).unzip();
        self.bound(
            "INSERT INTO pending_authorizations \
             (instance, id, user_id, browser, request, session, met_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (instance, id) DO UPDATE SET \
             user_id = excluded.user_id, session = excluded.session, met_at = excluded.met_at",
            values![id, user.0, *pending.browser.as_bytes(), request, session, met_at, pending.expires_at.micros()],
        )
        .expect(1)
    }

    /// A small batch of expired requests.
    pub fn sweep_pending_authorizations(&self, before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM pending_authorizations WHERE instance = $1 AND id IN \
             (SELECT id FROM pending_authorizations WHERE instance = $1 AND expires_at < $2 \
             ORDER BY expires_at LIMIT 500)",
            values![before.micros()],
        )
    }
}
