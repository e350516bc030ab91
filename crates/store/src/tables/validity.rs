//! Whether everything that an access token refers to is still valid: a guard of the batch that opens a session.

use model::{ApplicationId, AuthorizationId, ReferenceTokenId, SessionId, UserId};
use uuid::Uuid;

use crate::{SqlValue, Statement, Store, values};

/// The records that a token refers to, which may have ended.
#[derive(Clone, Copy, Debug)]
pub struct TokenNames {
    /// With the epoch of issue. `None` for a reference token, which outlives a new password.
    pub user: (UserId, Option<i64>),
    pub application: (ApplicationId, i64),
    pub authorization: Option<AuthorizationId>,
    /// The sign-in, if its end also ends the token.
    pub sign_in: Option<SessionId>,
    /// The `jti` of a service token.
    pub service_token: Option<Uuid>,
    pub reference_token: Option<ReferenceTokenId>,
}

/// Disabling an application raises its epoch, so comparing the epoch is enough.
const STANDS: &str = "SELECT 1 FROM users u JOIN applications a ON a.instance = u.instance \
     WHERE u.instance = $1 AND u.id = $2 AND (u.epoch = $3 OR $3 IS NULL) AND u.enabled = 1 AND a.id = $4 AND a.epoch = $5 \
     AND NOT EXISTS (SELECT 1 FROM identity_sessions i \
     WHERE i.instance = $1 AND i.id = $6 AND i.ended_at IS NOT NULL) \
     AND NOT EXISTS (SELECT 1 FROM authorizations z \
     WHERE z.instance = $1 AND z.id = $7 AND z.state = 'ended' AND ($8 = 1 OR z.end_reason <> 'sign_out')) \
     AND NOT EXISTS (SELECT 1 FROM revoked_tokens t WHERE t.instance = $1 AND t.id = $9) \
     AND NOT EXISTS (SELECT 1 FROM reference_tokens r \
     WHERE r.instance = $1 AND r.id = $10 AND r.revoked_at IS NOT NULL)";

fn params(token: &TokenNames) -> Vec<SqlValue> {
    values![
        token.user.0.0,
        token.user.1,
        token.application.0.0,
        token.application.1,
        token.sign_in.map(|SessionId(id)| id),
        token.authorization.map(|AuthorizationId(id)| id),
        token.sign_in.is_some(),
        token.service_token,
        token.reference_token.map(|ReferenceTokenId(id)| id)
    ]
}

impl Store {
    /// Guard: all of them are valid.
    pub fn expect_token_stands(&self, token: &TokenNames) -> Statement {
        self.bound(STANDS, params(token)).expect(1)
    }
}
