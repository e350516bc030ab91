//! Reference tokens (`identity.md` §3.4): issued by hand, shown once, revoked at once.

use std::collections::HashMap;
use std::time::Duration;

use model::application::ServiceAccess;
use model::audit::{AuditEvent, AuditKind};
use model::reference_token::{
    IssueRefusal, NewTokenRequest, ReferenceToken, ReferenceTokenKind, ReferenceTokenValue, check_issue, draw,
    is_reference_token, masked,
};
use model::seat::CloseReason;
use model::{Ctx, Moment, ReferenceTokenId, Timestamp, TrustedApplication, User};
use oauth::secret::{AccessToken, Digest, Presented};
use parking_lot::RwLock;
use store::{Batch, Change, ChangeKind, CommitOutcome, SessionsToClose, Store, TokensOf};

use crate::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use crate::api_sessions::close_sessions;
use crate::audit::AuditWriter;
use crate::instance::Instance;
use crate::{Answer, Fault};

/// When tokens were last used, to the minute: noted on calls, written in batches.
#[derive(Default)]
pub(crate) struct LastUsed(RwLock<TokenUses>);

#[derive(Default)]
struct TokenUses {
    waiting: HashMap<ReferenceTokenId, Timestamp>,
    /// Written down within the last minute or two: a token that is used all the time is a write a minute.
    written: [HashMap<ReferenceTokenId, Timestamp>; 2],
    turned: Timestamp,
}

impl TokenUses {
    fn knows(&self, id: ReferenceTokenId, now: Timestamp) -> bool {
        let lately = self.written.iter().filter_map(|written| written.get(&id));
        self.waiting.contains_key(&id) || lately.max().is_some_and(|at| *at <= now && now.since(*at) < EXACTLY)
    }
}

/// How exactly the last use of a token is known.
const EXACTLY: Duration = Duration::from_mins(1);

/// Uses that are remembered at most. One that is not is noted again sooner, or not yet.
const MAX_NOTED: usize = 100_000;

/// Uses written down in one batch. One batch a beat, so that a crowd of tokens holds nobody else up.
const WRITTEN_AT_ONCE: usize = 100;

impl LastUsed {
    pub(crate) fn note(&self, id: ReferenceTokenId, now: Timestamp) {
        if self.0.read().knows(id, now) {
            return;
        }
        let mut uses = self.0.write();
        if uses.waiting.len() < MAX_NOTED {
            uses.waiting.insert(id, now);
        }
    }

    /// One batch; whether there is more.
    pub(crate) async fn flush(&self, store: &Store, now: Timestamp) -> Result<bool, Fault> {
        let mut noted: Vec<_> = self.0.read().waiting.iter().map(|(id, at)| (*id, *at)).take(WRITTEN_AT_ONCE).collect();
        if noted.is_empty() {
            return Ok(false);
        }
        // In one order on all nodes, so that their batches do not wait for each other.
        noted.sort_unstable();
        let statements: Vec<_> = noted.iter().map(|(id, at)| store.reference_token_used(*id, *at)).collect();
        let _written = store.commit(Batch::from(statements)).await?;
        let mut uses = self.0.write();
        if uses.written[0].len() >= MAX_NOTED || now.since(uses.turned) >= EXACTLY || uses.turned > now {
            uses.turned = now;
            uses.written.swap(0, 1);
            uses.written[0].clear();
        }
        for (id, at) in noted {
            uses.waiting.remove(&id);
            uses.written[0].insert(id, at);
        }
        Ok(!uses.waiting.is_empty())
    }
}

/// A token as it was wished for, and its value, which is nowhere else.
pub(crate) fn new_token(
    wish: &NewTokenRequest<'_>,
    (application, holder): (&TrustedApplication, &User),
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

/// That a token is revoked, for every node.
pub(crate) fn of_token(token: &ReferenceToken) -> Change {
    Change { kind: ChangeKind::ReferenceTokenRevoked, subject: token.id.0 }
}

/// A token that was issued by an administrator's hand.
pub struct IssuedToken {
    pub token: ReferenceToken,
    /// Shown this once.
    pub value: Presented<ReferenceTokenValue>,
    /// Whom it acts as.
    pub holder: User,
}

/// What an administrator asks a token for.
pub struct TokenDraft<'a> {
    pub application: &'a str,
    /// The person whom a personal token acts as; a service token acts as the application's System User.
    pub login: Option<&'a str>,
    pub wish: NewTokenRequest<'a>,
}

impl AdminService<'_> {
    /// The newest first.
    pub async fn tokens(&self, limit: u32) -> Result<Vec<ReferenceToken>, Fault> {
        self.store().reference_tokens_before(None, TokensOf::Everybody, limit).await
    }

    /// The next tokens behind an id, the newest first.
    pub async fn tokens_before(
        &self,
        id: Option<ReferenceTokenId>,
        of: TokensOf,
        limit: u32,
    ) -> Result<Vec<ReferenceToken>, Fault> {
        self.store().reference_tokens_before(id, of, limit).await
    }

    pub async fn token(&self, id: ReferenceTokenId) -> Answer<ReferenceToken, AdminRefusal> {
        let found = self.store().reference_token_by_id(id).await?;
        Ok(found.ok_or_else(|| AdminRefusal::Unknown(format!("token {id}"))))
    }

    /// Dead on the next call.
    pub async fn revoke_token(&self, id: ReferenceTokenId, moment: &mut Moment<'_>) -> Answer<(), AdminRefusal> {
        let mut batch = Batch::from(vec![
            self.store().revoke_reference_token(id, "administrator", moment.now),
            self.event("revoke-token", &id.to_string(), moment),
        ]);
        let change = Change { kind: ChangeKind::ReferenceTokenRevoked, subject: id.0 };
        batch.append(close_sessions(
            self.store(),
            SessionsToClose::OfReferenceToken(id),
            CloseReason::TokenRevoked,
            moment,
        ));
        batch.announce(change, moment.now);
        self.commit(batch, AdminRefusal::Unknown(format!("active token {id}")), moment).await
    }
}

impl ElevatedAdminService<'_> {
    /// A token by an administrator's hand; its value is answered once, with whom it acts as, to be written to.
    pub async fn issue_token(
        &self,
        draft: &TokenDraft<'_>,
        moment: &mut Moment<'_>,
    ) -> Answer<IssuedToken, AdminRefusal> {
        let invalid = |refusal: IssueRefusal| AdminRefusal::Invalid(vec![refusal.to_string()]);
        let application = match self.application(draft.application).await? {
            Ok(application) => application,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let holder = match (draft.wish.kind, draft.login, application.service) {
            (ReferenceTokenKind::Personal, Some(login), _) => match self.find_user(login).await? {
                Ok(user) => Some(user),
                Err(refusal) => return Ok(Err(refusal)),
            },
            (ReferenceTokenKind::Service, _, ServiceAccess::ActsAs(user)) => self.store().user(user).await?,
            _ => None,
        };
        let Some(holder) = holder else { return Ok(Err(invalid(IssueRefusal::NoSystemUser))) };
        let must_expire = self.store().settings().await?.reference_tokens_must_expire;
        if let Err(refusal) = check_issue(moment.now, &application, &holder, &draft.wish, (true, must_expire)) {
            return Ok(Err(invalid(refusal)));
        }
        let (token, value) = new_token(&draft.wish, (&application, &holder), self.actor(), moment);
        let batch =
            vec![self.store().insert_reference_token(&token), self.event("issue-token", &token.id.to_string(), moment)];
        Ok(self.commit(batch, AdminRefusal::Overtaken, moment).await?.map(|()| IssuedToken { token, value, holder }))
    }
}

impl Instance {
    /// Somebody found a token where it should not be. Nothing in the answer tells whether it was one of ours.
    pub async fn revoke_leaked(&self, ctx: &mut Ctx<'_>, shown: &Presented<AccessToken>) -> Result<(), Fault> {
        if !is_reference_token(shown.expose()) {
            return Ok(());
        }
        let digest = Digest::<ReferenceTokenValue>::from_bytes(*shown.digest().as_bytes());
        let Some(token) = self.store.reference_token(&digest).await? else { return Ok(()) };
        let revoked = self.revoke_reference_token(ctx, &token, "leaked").await?;
        // A dead one is reported as often as somebody likes.
        if revoked && let Some(user) = self.store.user(token.user).await? {
            self.write_to(&user, |letter| letter.token_leaked(&masked(&token.tail), &token.description));
        }
        Ok(())
    }

    /// Whether it was this that ended it.
    pub(crate) async fn revoke_reference_token(
        &self,
        ctx: &mut Ctx<'_>,
        token: &ReferenceToken,
        reason: &'static str,
    ) -> Result<bool, Fault> {
        let batch = self.revocation_batch(ctx, token, reason);
        // A failed guard: it was revoked before, and announced.
        Ok(self.commit(batch, ctx.now).await? == CommitOutcome::Committed)
    }

    /// Ends a token and its session, with the event. Guarded: it was not revoked before.
    pub(crate) fn revocation_batch(&self, ctx: &mut Ctx<'_>, token: &ReferenceToken, reason: &'static str) -> Batch {
        let mut event = AuditEvent::done(ctx.now, AuditKind::TokenRevoked, ctx.request)
            .user(token.user)
            .token(token.id.to_string());
        event.reason = reason;
        let mut batch = Batch::from(vec![
            self.store.revoke_reference_token(token.id, reason, ctx.now),
            AuditWriter::new(&self.store, ctx.rng, ctx.now).event(&event),
        ]);
        batch.append(close_sessions(
            &self.store,
            SessionsToClose::OfReferenceToken(token.id),
            CloseReason::TokenRevoked,
            &mut ctx.moment(),
        ));
        batch.announce(of_token(token), ctx.now);
        batch
    }
}
