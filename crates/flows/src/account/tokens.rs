//! The user's own reference tokens (`identity.md` §3.4).

use std::sync::Arc;

use model::application::{API_SCOPES, ReferenceTokenPolicy};
use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::reference_token::{
    IssueConditions, IssueRefusal, NewTokenRequest, ReferenceToken, ReferenceTokenKind, ReferenceTokenValue,
    check_issue, masked,
};
use model::refusal::{Refusal, RefusalDetails};
use model::session::RECENT_SIGN_IN;
use model::{ApplicationId, Ctx, ReferenceTokenId, Timestamp, TrustedApplication, UserType};
use oauth::scope::Scope;
use oauth::secret::Presented;
use store::{Batch, CommitOutcome};

use crate::account::Account;
use crate::account::profile::{ConcurrentChange, MAX_ATTEMPTS, NotOwned};
use crate::audit::AuditWriter;
use crate::auth::browser_session::SignedIn;
use crate::auth::reference_tokens::new_token;
use crate::{Answer, Fault};

/// Maximum tokens per user, live or expired, not counting revoked ones: more than a user can tell apart.
pub const MAX_OWN_TOKENS: u32 = 100;

/// Attributes of a new personal token.
pub struct OwnTokenDraft<'a> {
    pub application: ApplicationId,
    pub description: &'a str,
    pub scope: &'a Scope,
    pub expires_at: Option<Timestamp>,
}

/// A refused request for a personal token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnTokenRefusal {
    /// The sign-in is not recent enough.
    NotLately,
    TooMany,
    UnknownApplication,
    Rule(IssueRefusal),
    /// The sign-in has ended.
    SignedOut,
}

impl Refusal for OwnTokenRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::NotLately => "signed_in_too_long_ago",
            Self::TooMany => "too_many_tokens",
            Self::UnknownApplication => "unknown_application",
            Self::Rule(_) => "not_allowed",
            Self::SignedOut => "signed_out",
        }
    }

    fn details(&self) -> RefusalDetails {
        let new = |check| RefusalDetails::new(check, "docs/profile.md, Personal access tokens");
        match self {
            Self::NotLately => new("the user signed in recently").expected("minutes", RECENT_SIGN_IN.as_secs() / 60),
            Self::TooMany => {
                new("the user has fewer than the maximum number of tokens").expected("tokens", MAX_OWN_TOKENS)
            }
            Self::UnknownApplication => new("the application is registered and enabled"),
            Self::Rule(rule) => new("the application allows this token").sent("problem", rule),
            Self::SignedOut => new("the sign-in has not ended"),
        }
    }
}

/// A token with its application.
pub struct OwnToken {
    pub token: ReferenceToken,
    /// `None` if the application was deleted.
    pub application: Option<Arc<TrustedApplication>>,
}

impl Account<'_> {
    /// Newest first. The last use that memory knows is written within a tick.
    pub async fn own_tokens(&self, browser: &SignedIn) -> Result<Vec<OwnToken>, Fault> {
        let register = self.memory.applications();
        let tokens = self.memory.store.personal_tokens(browser.user.id, MAX_OWN_TOKENS).await?;
        let own = |token: ReferenceToken| OwnToken { application: register.by_id(token.application).cloned(), token };
        Ok(tokens.into_iter().map(own).collect())
    }

    /// Applications that the user may issue tokens for, by name.
    pub fn applications_for_tokens(&self, browser: &SignedIn) -> Vec<Arc<TrustedApplication>> {
        let may = |application: &TrustedApplication| match application.access_tokens {
            ReferenceTokenPolicy::None => false,
            ReferenceTokenPolicy::AdministratorsOnly => browser.user.is_admin(),
            ReferenceTokenPolicy::AuthenticatedUsers => true,
        };
        let has_scope =
            |application: &TrustedApplication| API_SCOPES.iter().any(|name| application.scope.contains(name));
        if browser.user.user_type != UserType::Internal {
            return Vec::new();
        }
        let register = self.memory.applications();
        let all =
            register.all().filter(|application| application.enabled && may(application) && has_scope(application));
        let mut known: Vec<_> = all.cloned().collect();
        known.sort_by(|a, b| (&a.name, a.uri.as_str()).cmp(&(&b.name, b.uri.as_str())));
        known
    }

    /// Issues a token. Its value is returned once.
    pub async fn issue_own_token(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        draft: &OwnTokenDraft<'_>,
    ) -> Answer<(ReferenceToken, Presented<ReferenceTokenValue>), OwnTokenRefusal> {
        let (application, wish) = match self.check_own_token(ctx.now, browser, draft) {
            Ok(checked) => checked,
            Err(refusal) => return self.refuse_own_token(browser, ctx.now, ctx.request, refusal),
        };
        let by = browser.user.login.as_str();
        let (token, value) = new_token(&wish, &application, &browser.user, by, &mut ctx.moment());
        let event = AuditEvent::done(ctx.now, AuditKind::TokenIssued, ctx.request)
            .application(application.uri.as_str())
            .user(browser.user.id)
            .session(browser.session.id)
            .token(token.id.to_string())
            .detail(&serde_json::json!({ "what": "personal", "scope": token.scope.to_string() }));
        let batch = Batch::from(vec![
            self.memory.store.hold_user(&browser.user),
            self.memory.store.touch_identity_session(browser.session.id, ctx.now),
            self.memory.store.insert_reference_token(&token),
            self.memory.store.expect_personal_tokens_at_most(browser.user.id, MAX_OWN_TOKENS),
            AuditWriter::new(&self.memory.store, ctx.rng, ctx.now).event(&event),
        ]);
        Ok(match self.memory.store.commit(batch).await? {
            CommitOutcome::Committed => {
                let masked = masked(&token.tail);
                self.mail.write_to(&browser.user, |letter| letter.token_created(&masked, &token.description));
                Ok((token, value))
            }
            CommitOutcome::GuardFailed { statement } => {
                let refusal = if statement == 3 { OwnTokenRefusal::TooMany } else { OwnTokenRefusal::SignedOut };
                self.refuse_own_token(browser, ctx.now, ctx.request, refusal)?
            }
        })
    }

    fn refuse_own_token<T>(
        &self,
        browser: &SignedIn,
        now: Timestamp,
        request: &RequestInfo,
        refusal: OwnTokenRefusal,
    ) -> Answer<T, OwnTokenRefusal> {
        let event = AuditEvent::refused(now, AuditKind::TokenRefused, request, Asker::Authenticated, &refusal);
        self.audit.put(event.user(browser.user.id).session(browser.session.id))?;
        Ok(Err(refusal))
    }

    fn check_own_token<'a>(
        &self,
        now: Timestamp,
        browser: &SignedIn,
        draft: &OwnTokenDraft<'a>,
    ) -> Result<(Arc<TrustedApplication>, NewTokenRequest<'a>), OwnTokenRefusal> {
        if !browser.session.is_recent(now) {
            return Err(OwnTokenRefusal::NotLately);
        }
        let register = self.memory.applications();
        let Some(application) = register.by_id(draft.application).filter(|application| application.enabled) else {
            return Err(OwnTokenRefusal::UnknownApplication);
        };
        let wish = NewTokenRequest {
            kind: ReferenceTokenKind::Personal,
            description: draft.description,
            scope: draft.scope,
            expires_at: draft.expires_at,
        };
        let conditions = IssueConditions {
            by_administrator: browser.user.is_admin(),
            must_expire: self.memory.settings().reference_tokens_must_expire,
        };
        if let Err(refusal) = check_issue(now, application, &browser.user, &wish, conditions) {
            return Err(OwnTokenRefusal::Rule(refusal));
        }
        Ok((Arc::clone(application), wish))
    }

    /// Effective on the next call.
    pub async fn revoke_own_token(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        id: ReferenceTokenId,
    ) -> Answer<(), NotOwned> {
        let known = self.memory.store.reference_token_by_id(id).await?;
        let is_own = |token: &ReferenceToken| {
            token.user == browser.user.id && token.kind == ReferenceTokenKind::Personal && token.revoked_at.is_none()
        };
        match known.filter(is_own) {
            Some(token) => self.auth.revoke_reference_token(ctx, &token, "owner").await.map(|_| Ok(())),
            None => Ok(Err(NotOwned)),
        }
    }

    /// The number of the user's reference tokens that work now. A new password does not revoke them.
    pub async fn live_own_tokens(&self, browser: &SignedIn, now: Timestamp) -> Result<usize, Fault> {
        Ok(self.memory.store.live_personal_tokens(browser.user.id, now).await?.len())
    }

    /// Revokes all of the user's reference tokens at once. Retries if one is issued or revoked concurrently.
    pub async fn revoke_own_tokens(&self, ctx: &mut Ctx<'_>, browser: &SignedIn) -> Answer<(), ConcurrentChange> {
        for _ in 0..MAX_ATTEMPTS {
            let tokens = self.memory.store.live_personal_tokens(browser.user.id, ctx.now).await?;
            if tokens.is_empty() {
                return Ok(Ok(()));
            }
            let mut batch = Batch::new();
            for token in &tokens {
                batch.append(self.auth.revocation_batch(ctx, token, "owner"));
            }
            if self.memory.commit(batch, ctx.now).await? == CommitOutcome::Committed {
                return Ok(Ok(()));
            }
        }
        Ok(Err(ConcurrentChange))
    }
}
