use model::reference_token::{ReferenceToken, ReferenceTokenKind, ReferenceTokenValue};
use model::{ApplicationId, ReferenceTokenId, Timestamp, UserId};
use oauth::secret::Digest;
use uuid::Uuid;

use crate::tables::{ExaminedTable, PageQuery, before, damaged};
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

/// The columns that [`read`] expects, in its order.
macro_rules! select_tokens {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, digest, tail, application, user_id, description, scope, created_by, created_at, \
             expires_at, last_used_at, revoked_at FROM reference_tokens WHERE instance = $1 ",
            $rest
        )
    };
}

pub(super) const TOKENS_BEFORE: &str = select_tokens!("AND id < $2 ORDER BY id DESC LIMIT $3");
pub(super) const TOKENS_OF_APPLICATION: &str =
    select_tokens!("AND application = $2 AND id < $3 ORDER BY id DESC LIMIT $4");
pub(super) const TOKENS_OF_USER: &str = select_tokens!("AND user_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4");

/// Selects the tokens of a list.
#[derive(Clone, Copy, Debug)]
pub enum TokensOf {
    Everybody,
    Application(ApplicationId),
    User(UserId),
}

const KIND: &str = "reference token";

pub(super) const EXAMINED: ExaminedTable = ExaminedTable {
    kind: KIND,
    sql: select_tokens!("AND id > $2 ORDER BY id LIMIT $3"),
    examine: |row| read(row).map(|_| Vec::new()),
};

fn read(row: &SqlRow) -> Result<ReferenceToken, DamagedRow> {
    Ok(ReferenceToken {
        id: ReferenceTokenId(row.uuid(0)?),
        kind: ReferenceTokenKind::parse(&row.text(1)?).ok_or_else(|| damaged("a token's kind does not read back"))?,
        digest: row.digest(2)?,
        tail: row.text(3)?,
        application: ApplicationId(row.uuid(4)?),
        user: UserId(row.uuid(5)?),
        description: row.text(6)?,
        scope: row.scope(7)?,
        created_by: row.text(8)?,
        created_at: row.time(9)?,
        expires_at: row.opt_time(10)?,
        last_used_at: row.opt_time(11)?,
        revoked_at: row.opt_time(12)?,
    })
}

impl Store {
    pub async fn reference_token(&self, digest: &Digest<ReferenceTokenValue>) -> Result<Option<ReferenceToken>, Fault> {
        // A row that cannot be read gives no access.
        Ok(self.list(KIND, select_tokens!("AND digest = $2"), values![*digest.as_bytes()], read).await?.pop())
    }

    pub async fn reference_token_by_id(&self, id: ReferenceTokenId) -> Result<Option<ReferenceToken>, Fault> {
        Ok(self.row(select_tokens!("AND id = $2"), values![id.0]).await?.as_ref().map(read).transpose()?)
    }

    /// The next tokens after an id, newest first, at most `limit`; optionally of one application or one user.
    pub async fn reference_tokens_before(
        &self,
        id: Option<ReferenceTokenId>,
        of: TokensOf,
        limit: u32,
    ) -> Result<Vec<ReferenceToken>, Fault> {
        let before = before(id.map(|id| id.0));
        let (sql, params) = match of {
            TokensOf::Everybody => (TOKENS_BEFORE, vec![]),
            TokensOf::Application(application) => (TOKENS_OF_APPLICATION, values![application.0]),
            TokensOf::User(user) => (TOKENS_OF_USER, values![user.0]),
        };
        self.page(PageQuery { kind: KIND, sql, params, key: 0 }, before, limit, read).await
    }

    /// A user's own tokens that are not revoked, including expired ones; newest first, at most `limit`.
    pub async fn personal_tokens(&self, user: UserId, limit: u32) -> Result<Vec<ReferenceToken>, Fault> {
        let sql = select_tokens!(
            "AND user_id = $2 AND kind = 'personal' AND revoked_at IS NULL ORDER BY created_at DESC, id LIMIT $3"
        );
        self.list(KIND, sql, values![user.0, limit], read).await
    }

    /// All of a user's own tokens that work now, without a limit.
    pub async fn live_personal_tokens(&self, user: UserId, now: Timestamp) -> Result<Vec<ReferenceToken>, Fault> {
        let sql = select_tokens!(
            "AND user_id = $2 AND kind = 'personal' AND revoked_at IS NULL \
             AND (expires_at IS NULL OR expires_at > $3) ORDER BY id"
        );
        self.list(KIND, sql, values![user.0, now.micros()], read).await
    }

    pub fn insert_reference_token(&self, token: &ReferenceToken) -> Statement {
        self.bound(
            "INSERT INTO reference_tokens (instance, id, digest, kind, application, user_id, tail, description, scope, \
             created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            values![
                token.id.0,
                *token.digest.as_bytes(),
                token.kind.as_str(),
                token.application.0,
                token.user.0,
                token.tail.as_str(),
                token.description.as_str(),
                token.scope.to_string(),
                token.created_by.as_str(),
                token.created_at.micros(),
                token.expires_at.map(Timestamp::micros)
            ],
        )
        .expect(1)
    }

    /// Guarded: a token is revoked once, and the first reason is kept.
    pub fn revoke_reference_token(&self, id: ReferenceTokenId, reason: &'static str, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE reference_tokens SET revoked_at = $3, revoke_reason = $4 \
             WHERE instance = $1 AND id = $2 AND revoked_at IS NULL",
            values![id.0, now.micros(), reason],
        )
        .expect(1)
    }

    /// Records the last use. Written in batches, never during a call.
    pub fn reference_token_used(&self, id: ReferenceTokenId, at: Timestamp) -> Statement {
        self.bound(
            "UPDATE reference_tokens SET last_used_at = $3 \
             WHERE instance = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3)",
            values![id.0, at.micros()],
        )
    }

    /// Not guarded: revoking twice changes nothing.
    pub fn revoke_access_token(&self, id: Uuid, now: Timestamp) -> Statement {
        self.bound(
            "INSERT INTO revoked_tokens (instance, id, revoked_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            values![id, now.micros()],
        )
    }

    /// Service tokens revoked since. They may still be unexpired.
    pub async fn access_tokens_revoked_since(&self, since: Timestamp) -> Result<Vec<Uuid>, Fault> {
        let sql = "SELECT id FROM revoked_tokens WHERE instance = $1 AND revoked_at >= $2";
        self.list("revoked token", sql, values![since.micros()], |row| row.uuid(0)).await
    }

    /// Revocations older than any live token. A small batch.
    pub fn sweep_revoked_tokens(&self, before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM revoked_tokens WHERE instance = $1 AND id IN \
             (SELECT id FROM revoked_tokens WHERE instance = $1 AND revoked_at < $2 LIMIT 500)",
            values![before.micros()],
        )
    }
}
