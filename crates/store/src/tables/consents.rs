use model::{ApplicationId, Timestamp, UserId};
use oauth::scope::Scope;

use crate::tables::{ExaminedTable, damaged};
use crate::{Fault, Statement, Store, values};

/// The user who consents, and the application that acts for them: the key of a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentParties {
    pub user: UserId,
    pub application: ApplicationId,
}

/// An application that may act for a user: by consent, by tokens it still holds, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedApplication {
    pub application: ApplicationId,
    /// The consented scope, and the time of the last consent.
    pub consent: Option<(Scope, Timestamp)>,
    /// It holds a code or tokens that may still be valid.
    pub holds_tokens: bool,
}

const KIND: &str = "consent";

pub(super) const EXAMINED: ExaminedTable = ExaminedTable {
    kind: KIND,
    sql: "SELECT user_id || ' for ' || application, scope FROM consents \
          WHERE instance = $1 AND user_id || ' for ' || application > $2 ORDER BY 1 LIMIT $3",
    examine: |row| row.scope(1).map(|_| Vec::new()),
};

impl Store {
    /// The scope that the user consented to for this application; empty if none.
    pub async fn consent(&self, of: ConsentParties) -> Result<Scope, Fault> {
        self.consent_as_written(of).await.map(|(scope, _)| scope)
    }

    /// The same, with the stored text. A text that cannot be read is no consent: the user is asked again.
    pub async fn consent_as_written(&self, of: ConsentParties) -> Result<(Scope, String), Fault> {
        let sql = "SELECT scope FROM consents WHERE instance = $1 AND user_id = $2 AND application = $3";
        let Some(row) = self.row(sql, values![of.user.0, of.application.0]).await? else {
            return Ok(Default::default());
        };
        Ok((row.scope(0).unwrap_or_default(), row.text(0)?))
    }

    /// Guarded by the text of the earlier consent, so that two concurrent pages lose nothing.
    pub fn remember_consent(&self, of: ConsentParties, before: &str, scope: &Scope, now: Timestamp) -> Statement {
        self.bound(
            "INSERT INTO consents (instance, user_id, application, scope, granted_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (instance, user_id, application) DO UPDATE SET scope = $4, granted_at = $5 \
             WHERE consents.scope = $6",
            values![of.user.0, of.application.0, scope.to_string(), now.micros(), before],
        )
        .expect(1)
    }

    /// Guarded: the consent still exists. The row stays locked until the commit, so that a withdrawal either ends what
    /// was issued, or prevents it.
    pub fn rely_on_consent(&self, of: ConsentParties, scope: &Scope) -> Statement {
        self.bound(
            "UPDATE consents SET granted_at = granted_at \
             WHERE instance = $1 AND user_id = $2 AND application = $3 AND scope = $4",
            values![of.user.0, of.application.0, scope.to_string()],
        )
        .expect(1)
    }

    /// Not guarded: without a consent there is nothing to remove.
    pub fn forget_consent(&self, of: ConsentParties) -> Statement {
        self.bound(
            "DELETE FROM consents WHERE instance = $1 AND user_id = $2 AND application = $3",
            values![of.user.0, of.application.0],
        )
    }

    /// `since` is so long ago that no older access token is still valid.
    pub async fn connections(
        &self,
        user: UserId,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<Vec<ConnectedApplication>, Fault> {
        let sql = "SELECT application, MAX(scope), MAX(granted_at), SUM(held) FROM (\
                   SELECT application, scope, granted_at, 0 AS held FROM consents \
                   WHERE instance = $1 AND user_id = $2 \
                   UNION ALL SELECT application, NULL, NULL, 1 FROM authorizations \
                   WHERE instance = $1 AND user_id = $2 AND state <> 'ended' \
                   AND (refresh_until > $3 OR code_expires_at > $3 OR rotated_at > $4)) AS known \
                   GROUP BY application ORDER BY application";
        let connection = |row: &crate::SqlRow| {
            let consent = match (row.opt_text(1)?, row.opt_time(2)?) {
                // A consent that cannot be read grants nothing, and can still be withdrawn.
                (Some(_), Some(at)) => Some((row.scope(1).unwrap_or_default(), at)),
                (None, None) => None,
                _ => return Err(damaged("a consent has a scope and a time")),
            };
            let application = ApplicationId(row.uuid(0)?);
            Ok(ConnectedApplication { application, consent, holds_tokens: row.int(3)? > 0 })
        };
        self.list(KIND, sql, values![user.0, now.micros(), since.micros()], connection).await
    }
}
