use std::sync::Arc;

use model::audit::RequestOrigin;
use model::authorization::{End, IssuedCode, RefreshFamily};
use model::claims::Epochs;
use model::{
    ApplicationId, Authorization, AuthorizationId, AuthorizationState, Generation, SessionId, Timestamp, UserId,
};
use oauth::pkce::Challenge;
use oauth::scope::Scope;
use oauth::secret::Digest;

use crate::tables::{ConsentParties, ExaminedTable, damaged};
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

macro_rules! select_authorizations {
    ($rest:literal) => {
        concat!(
            "SELECT state, application, user_id, session, scope, auth_time, amr, code_digest, code_expires_at, \
             redirect_uri, nonce, challenge, generation, rotated_at, proven, refresh_until, application_epoch, \
             user_epoch, ended_at, end_reason, rotated_address, rotated_user_agent, id FROM authorizations \
             WHERE instance = $1 ",
            $rest
        )
    };
}

const KIND: &str = "authorization";

pub(super) const EXAMINED: ExaminedTable = ExaminedTable {
    kind: KIND,
    sql: select_authorizations!("AND id > $2 ORDER BY id LIMIT $3"),
    examine: |row| read(AuthorizationId(row.uuid(22)?), row).map(|_| Vec::new()),
};

/// An authorization that cannot be read counts as ended in this version, and the row is left as it is.
fn read_or_ended(id: AuthorizationId, row: &SqlRow) -> Result<Authorization, DamagedRow> {
    read(id, row).or_else(|_| {
        Ok(Authorization {
            id,
            application: ApplicationId(row.uuid(1)?),
            user: UserId(row.uuid(2)?),
            session: SessionId(row.uuid(3)?),
            scope: Scope::default(),
            auth_time: row.time(5)?,
            amr: Vec::new(),
            epochs: Epochs(row.int(16)?, row.int(17)?),
            state: AuthorizationState::Ended(End { at: row.time(13)?, reason: "unreadable".to_owned() }),
        })
    })
}

fn read(id: AuthorizationId, row: &SqlRow) -> Result<Authorization, DamagedRow> {
    let state = match row.text(0)?.as_str() {
        "issued" => AuthorizationState::Issued(Box::new(IssuedCode {
            digest: row.digest(7)?,
            expires_at: row.time(8)?,
            redirect_uri: row.text(9)?,
            nonce: row.opt_text(10)?,
            challenge: match row.opt_text(11)? {
                None => None,
                Some(text) => Challenge::parse(Some(&text), Some("S256"))
                    .map_err(|_| damaged("a PKCE challenge does not read back"))?,
            },
        })),
        "redeemed" => AuthorizationState::Redeemed(RefreshFamily {
            generation: Generation(row.int(12)?),
            rotated_at: row.time(13)?,
            rotated_by: rotated_by(row)?,
            proven: row.flag(14)?,
            refresh_until: row.opt_time(15)?,
        }),
        "ended" => AuthorizationState::Ended(End {
            at: row.opt_time(18)?.unwrap_or_default(),
            reason: row.opt_text(19)?.unwrap_or_default(),
        }),
        _ => return Err(damaged("an authorization's state does not read back")),
    };
    Ok(Authorization {
        id,
        application: ApplicationId(row.uuid(1)?),
        user: UserId(row.uuid(2)?),
        session: SessionId(row.uuid(3)?),
        scope: row.scope(4)?,
        auth_time: row.time(5)?,
        amr: row.text(6)?.split_ascii_whitespace().map(str::to_owned).collect(),
        epochs: Epochs(row.int(16)?, row.int(17)?),
        state,
    })
}

fn rotated_by(row: &SqlRow) -> Result<Option<RequestOrigin>, DamagedRow> {
    let Some(address) = row.opt_text(20)? else { return Ok(None) };
    let address = address.parse().map_err(|_| damaged("an address does not read back"))?;
    Ok(Some(RequestOrigin { address, user_agent: row.opt_text(21)?.map(Arc::from) }))
}

impl Store {
    /// The authorization with the digest of its code, in any state.
    pub async fn authorization(
        &self,
        id: AuthorizationId,
    ) -> Result<Option<(Authorization, Digest<oauth::secret::AuthorizationCode>)>, Fault> {
        let Some(row) = self.row(select_authorizations!("AND id = $2"), values![id.0]).await? else { return Ok(None) };
        let digest = row.digest(7)?;
        Ok(Some((read_or_ended(id, &row)?, digest)))
    }

    pub fn insert_authorization(&self, authorization: &Authorization, code: &IssuedCode) -> Statement {
        self.bound(
            "INSERT INTO authorizations (instance, id, state, application, user_id, session, scope, auth_time, amr, \
             code_digest, code_expires_at, redirect_uri, nonce, challenge, application_epoch, user_epoch, \
             generation, rotated_at, proven) \
             VALUES ($1, $2, 'issued', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, 0, 0)",
            values![
                authorization.id.0,
                authorization.application.0,
                authorization.user.0,
                authorization.session.0,
                authorization.scope.to_string(),
                authorization.auth_time.micros(),
                authorization.amr.join(" "),
                *code.digest.as_bytes(),
                code.expires_at.micros(),
                code.redirect_uri.as_str(),
                code.nonce.as_deref(),
                code.challenge.as_ref().map(Challenge::as_str),
                authorization.epochs.0,
                authorization.epochs.1
            ],
        )
        .expect(1)
    }

    /// Guarded: a code is redeemed once, and not after its authorization ended.
    pub fn redeem_code(&self, id: AuthorizationId, refresh_until: Option<Timestamp>, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE authorizations SET state = 'redeemed', generation = 1, rotated_at = $3, refresh_until = $4 \
             WHERE instance = $1 AND id = $2 AND state = 'issued'",
            values![id.0, now.micros(), refresh_until.map(Timestamp::micros)],
        )
        .expect(1)
    }

    /// Guarded by the generation that was read.
    pub fn advance_family(
        &self,
        id: AuthorizationId,
        from: Generation,
        by: &RequestOrigin,
        now: Timestamp,
    ) -> Statement {
        self.bound(
            "UPDATE authorizations SET generation = generation + 1, rotated_at = $4, rotated_address = $5, \
             rotated_user_agent = $6, proven = 0 \
             WHERE instance = $1 AND id = $2 AND generation = $3 AND state = 'redeemed'",
            values![id.0, from.0, now.micros(), by.address.to_string(), by.user_agent.as_deref()],
        )
        .expect(1)
    }

    /// Guard: the family has not ended. Its generation may have advanced: the token was the last but one when it was
    /// read.
    pub fn expect_family_stands(&self, id: AuthorizationId) -> Statement {
        self.bound("SELECT 1 FROM authorizations WHERE instance = $1 AND id = $2 AND state = 'redeemed'", values![id.0])
            .expect(1)
    }

    /// An access token of this generation was used. Not guarded, because a later generation makes the fact irrelevant.
    pub fn prove_generation(&self, id: AuthorizationId, generation: Generation) -> Statement {
        self.bound(
            "UPDATE authorizations SET proven = 1 \
             WHERE instance = $1 AND id = $2 AND generation = $3 AND state = 'redeemed' AND proven = 0",
            values![id.0, generation.0],
        )
    }

    /// Not guarded: ending twice changes nothing, and the first reason is kept.
    pub fn end_authorization(&self, id: AuthorizationId, reason: &'static str, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE authorizations SET state = 'ended', ended_at = $3, end_reason = $4 \
             WHERE instance = $1 AND id = $2 AND state <> 'ended'",
            values![id.0, now.micros(), reason],
        )
    }

    /// Ends all authorizations of a sign-in.
    pub fn end_authorizations_of(&self, session: SessionId, reason: &'static str, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE authorizations SET state = 'ended', ended_at = $3, end_reason = $4 \
             WHERE instance = $1 AND session = $2 AND state <> 'ended'",
            values![session.0, now.micros(), reason],
        )
    }

    /// Ends all authorizations that a user gave an application.
    pub fn end_authorizations_between(&self, of: ConsentParties, reason: &'static str, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE authorizations SET state = 'ended', ended_at = $4, end_reason = $5 \
             WHERE instance = $1 AND user_id = $2 AND application = $3 AND state <> 'ended'",
            values![of.user.0, of.application.0, now.micros(), reason],
        )
    }

    /// A user's authorizations that ended since, for this reason.
    pub async fn authorizations_of_user_ended_since(
        &self,
        user: UserId,
        reason: &'static str,
        since: Timestamp,
    ) -> Result<Vec<AuthorizationId>, Fault> {
        let sql = "SELECT id FROM authorizations WHERE instance = $1 AND user_id = $2 AND ended_at >= $3 \
                   AND end_reason = $4";
        let params = values![user.0, since.micros(), reason];
        self.list(KIND, sql, params, |row| row.uuid(0).map(AuthorizationId)).await
    }

    /// Authorizations that ended since. Their access tokens may still be unexpired. Excludes those that ended with
    /// their sign-in: a setting decides if that ends access tokens.
    pub async fn authorizations_ended_since(&self, since: Timestamp) -> Result<Vec<AuthorizationId>, Fault> {
        let sql = "SELECT id FROM authorizations WHERE instance = $1 AND ended_at IS NOT NULL AND ended_at >= $2 \
                   AND end_reason NOT IN ('sign_out', 'ended_by_administrator')";
        self.list(KIND, sql, values![since.micros()], |row| row.uuid(0).map(AuthorizationId)).await
    }

    /// Number of live refresh token families.
    pub async fn live_families(&self, now: Timestamp) -> Result<u64, Fault> {
        let sql =
            "SELECT COUNT(*) FROM authorizations WHERE instance = $1 AND state = 'redeemed' AND refresh_until > $2";
        let row = self.row(sql, values![now.micros()]).await?;
        row.map_or(Ok(0), |row| Ok(row.int(0)?.unsigned_abs()))
    }

    /// Rows that can no longer be used: codes never redeemed, families whose last token expired long ago. A small
    /// batch, so that the writer is never busy for long.
    pub fn sweep_authorizations(&self, dead_before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM authorizations WHERE instance = $1 AND id IN (SELECT id FROM authorizations \
             WHERE instance = $1 AND rotated_at < $2 AND code_expires_at < $2 AND COALESCE(refresh_until, 0) < $2 \
             LIMIT 500)",
            values![dead_before.micros()],
        )
    }
}
