use model::{ApplicationId, Timestamp, UserId};
use oauth::scope::Scope;

use crate::{Fault, Statement, Store, values};

impl Store {
    /// What the user agreed to for this application; empty when nothing.
    pub async fn consent(&self, user: UserId, application: ApplicationId) -> Result<Scope, Fault> {
        let sql = "SELECT scope FROM consents WHERE instance = $1 AND user_id = $2 AND application = $3";
        match self.row(sql, values![user.0, application.0]).await? {
            None => Ok(Scope::default()),
            Some(row) => Scope::parse(&row.text(0)?).map_err(Fault::failed),
        }
    }

    /// Guarded by what was agreed to before: two pages at once lose nothing.
    pub fn remember_consent(
        &self,
        (user, application): (UserId, ApplicationId),
        (before, scope): (&Scope, &Scope),
        now: Timestamp,
    ) -> Statement {
        self.bound(
            "INSERT INTO consents (instance, user_id, application, scope, granted_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (instance, user_id, application) DO UPDATE SET scope = $4, granted_at = $5 \
             WHERE consents.scope = $6",
            values![user.0, application.0, scope.to_string(), now.micros(), before.to_string()],
        )
        .expect(1)
    }
}
