//! Reference tokens (`identity.md` §3.4): creation, and revocation together with their sessions.

use model::audit::{AuditEvent, AuditKind};
use model::reference_token::{NewTokenRequest, ReferenceToken, ReferenceTokenValue, draw, is_reference_token, masked};
use model::seat::CloseReason;
use model::{Ctx, Moment, ReferenceTokenId, TrustedApplication, User};
use oauth::secret::{AccessToken, Digest, Presented};
use store::{Batch, Change, ChangeKind, CommitOutcome, SessionsToClose};

use crate::Fault;
use crate::audit::AuditWriter;
use crate::auth::Auth;
use crate::memory::live_sessions::close_sessions;

/// The requested token, and its value, which is stored nowhere.
pub(crate) fn new_token(
    wish: &NewTokenRequest<'_>,
    application: &TrustedApplication,
    holder: &User,
    created_by: &str,
    moment: &mut Moment<'_>,
) -> (ReferenceToken, Presented<ReferenceTokenValue>) {
    let value = draw(moment.rng);
    let tail = value.expose().get(value.expose().len() - 4..).unwrap_or_default().to_owned();
    let token = ReferenceToken {
        id: ReferenceTokenId(moment.id()),
        kind: wish.kind,
        digest: value.digest(),
        tail,
        application: application.id,
        user: holder.id,
        description: wish.description.trim().to_owned(),
        scope: wish.scope.clone(),
        created_by: created_by.to_owned(),
        created_at: moment.now,
        expires_at: wish.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    (token, value)
}

/// The change that announces the revocation of a token to every node.
pub(crate) fn of_token(token: &ReferenceToken) -> Change {
    Change { kind: ChangeKind::ReferenceTokenRevoked, subject: token.id.0 }
}

impl Auth<'_> {
    /// Revokes a token that was found in a wrong place. The answer does not reveal whether it was a token of this
    /// instance.
    pub async fn revoke_leaked(&self, ctx: &mut Ctx<'_>, shown: &Presented<AccessToken>) -> Result<(), Fault> {
        if !is_reference_token(shown.expose()) {
            return Ok(());
        }
        let digest = Digest::<ReferenceTokenValue>::from_bytes(*shown.digest().as_bytes());
        let Some(token) = self.memory.store.reference_token(&digest).await? else { return Ok(()) };
        let revoked = self.revoke_reference_token(ctx, &token, "leaked").await?;
        // A token that is already revoked may be reported any number of times: only the first report sends an e-mail.
        if revoked && let Some(user) = self.memory.store.user(token.user).await? {
            self.mail.write_to(&user, |letter| letter.token_leaked(&masked(&token.tail), &token.description));
        }
        Ok(())
    }

    /// Answers whether this call revoked the token.
    pub(crate) async fn revoke_reference_token(
        &self,
        ctx: &mut Ctx<'_>,
        token: &ReferenceToken,
        reason: &'static str,
    ) -> Result<bool, Fault> {
        let batch = self.revocation_batch(ctx, token, reason);
        // A failed guard means that it was revoked, and announced, before.
        Ok(self.memory.commit(batch, ctx.now).await? == CommitOutcome::Committed)
    }

    /// Ends a token and its session, with the audit event. Guarded: the token must not be revoked yet.
    pub(crate) fn revocation_batch(&self, ctx: &mut Ctx<'_>, token: &ReferenceToken, reason: &'static str) -> Batch {
        let mut event = AuditEvent::done(ctx.now, AuditKind::TokenRevoked, ctx.request)
            .user(token.user)
            .token(token.id.to_string());
        event.reason = reason;
        let mut batch = Batch::from(vec![
            self.memory.store.revoke_reference_token(token.id, reason, ctx.now),
            AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event),
        ]);
        batch.append(close_sessions(
            &self.memory.store,
            SessionsToClose::OfReferenceToken(token.id),
            CloseReason::TokenRevoked,
            &mut ctx.moment(),
        ));
        batch.announce(of_token(token), ctx.now);
        batch
    }
}
