//! Legacy authentication of API calls (`identity.md` §3.5): Basic, and ErpLogin with its sessions.

mod networks;
mod uses;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::claims::Epochs;
use model::guard::GuardRefusal;
use model::legacy::{AttemptedScheme, LegacyRefusal, LegacyScheme, check_application, check_open, check_person};
use model::seat::SessionKey;
use model::user::PasswordCredentials;
use model::{
    ApiSessionId, ApplicationId, Ctx, InstanceSettings, Login, Timestamp, TrustedApplication, User, UserId, UserType,
};
use oauth::client::ClientId;
use oauth::secret::Presented;
use store::{Batch, TokenNames};
use uuid::Uuid;

pub(crate) use self::uses::LegacyUses;
use crate::audit::InstanceAudit;
use crate::auth::Auth;
use crate::auth::guesses::PasswordSource;
use crate::auth::sign_in::FailedSignIn;
use crate::memory::{ApplicationRegister, Believed};
use crate::platform::seal::MacPurpose;
use crate::protocol::guard::Caller;
use crate::seats::{Seats, SessionRequest};
use crate::{Answer, Fault};

/// The credential after `ErpSession` in `Authorization`. It is derived like a refresh token and not stored, so that the
/// same login gets the same credential again.
pub enum ErpSession {}

/// A login and password sent by a legacy client.
pub struct LegacyPassword<'a> {
    pub scheme: LegacyScheme,
    pub credentials: PasswordCredentials<'a>,
    /// The calling application, if the client names it.
    pub application: Option<&'a str>,
}

/// A legacy credential, checked against the current state.
struct LegacyCredential {
    scheme: LegacyScheme,
    application: Arc<TrustedApplication>,
    user: Arc<User>,
    /// The session that an `ErpSession` credential names.
    session: Option<ApiSessionId>,
}

/// The claims in an `ErpSession` credential, protected by a MAC of the instance.
#[derive(Clone, Copy)]
struct ErpSessionClaims {
    session: ApiSessionId,
    application: ApplicationId,
    user: UserId,
    epochs: Epochs,
}

/// A refused legacy call, with the user that the password seemed to belong to.
struct LegacyDenial {
    refusal: LegacyRefusal,
    user: Option<UserId>,
}

impl From<LegacyRefusal> for LegacyDenial {
    fn from(refusal: LegacyRefusal) -> Self {
        Self { refusal, user: None }
    }
}

impl From<FailedSignIn> for LegacyDenial {
    fn from(denied: FailedSignIn) -> Self {
        Self { refusal: LegacyRefusal::Password(denied.refusal), user: denied.user }
    }
}

impl ErpSessionClaims {
    const BYTES: usize = 64;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let ids = [self.session.0, self.application.0, self.user.0];
        for (place, id) in bytes.chunks_exact_mut(16).zip(ids) {
            place.copy_from_slice(id.as_bytes());
        }
        bytes[48..56].copy_from_slice(&self.epochs.0.to_be_bytes());
        bytes[56..].copy_from_slice(&self.epochs.1.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let id = |at: usize| Uuid::from_slice(&bytes[at..at + 16]).expect("an id has 16 bytes");
        let epoch = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("an epoch has 8 bytes"));
        Self {
            session: ApiSessionId(id(0)),
            application: ApplicationId(id(16)),
            user: UserId(id(32)),
            epochs: Epochs(epoch(48), epoch(56)),
        }
    }
}

impl LegacyCredential {
    fn key(&self) -> SessionKey {
        match self.scheme {
            LegacyScheme::Basic => SessionKey::Basic(self.application.id, self.user.id),
            LegacyScheme::ErpLogin => SessionKey::ErpLogin(self.application.id, self.user.id),
        }
    }

    fn names(&self) -> TokenNames {
        TokenNames {
            user: (self.user.id, Some(self.user.epoch)),
            application: (self.application.id, self.application.epoch),
            authorization: None,
            sign_in: None,
            service_token: None,
            reference_token: None,
        }
    }
}

/// Basic and ErpLogin at one instance.
#[derive(Clone, Copy)]
pub struct LegacySchemes<'a> {
    pub(crate) memory: Believed<'a>,
    pub(crate) audit: &'a InstanceAudit,
    pub(crate) auth: Auth<'a>,
    pub(crate) seats: Seats<'a>,
    pub(crate) uses: &'a LegacyUses,
}

impl LegacySchemes<'_> {
    /// Authorizes a call with Basic credentials. Checks credential, scope and seat, as for a token.
    pub async fn authorize_call_by_password(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &LegacyPassword<'_>,
        scope: &'static str,
    ) -> Answer<Caller, GuardRefusal> {
        match self.validate_password(ctx, shown).await? {
            Ok(standing) => self.open_or_continue(standing, Some(scope), ctx).await,
            Err(refusal) => Ok(Err(GuardRefusal::Legacy(refusal))),
        }
    }

    /// Authorizes a call with an `ErpSession`. Without a scope, it only requires that the session is live.
    pub async fn authorize_call_by_erp_session(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &Presented<ErpSession>,
        scope: Option<&'static str>,
    ) -> Answer<Caller, GuardRefusal> {
        match self.validate_erp_session(shown, ctx.now).await? {
            Ok(standing) => self.open_or_continue(standing, scope, ctx).await,
            Err(refusal) => Ok(Err(GuardRefusal::Legacy(refusal))),
        }
    }

    /// ErpLogin: opens an API session, which takes a seat, and returns the credential that names it. While the session
    /// is live, the same login and password get the same answer.
    pub async fn erp_login(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &LegacyPassword<'_>,
    ) -> Answer<(Caller, Presented<ErpSession>), GuardRefusal> {
        let standing = match self.validate_password(ctx, shown).await? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(GuardRefusal::Legacy(refusal))),
        };
        let caller = match self.open_or_continue(standing, None, ctx).await? {
            Ok(caller) => caller,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let named = ErpSessionClaims {
            session: caller.session,
            application: caller.application.id,
            user: caller.user.id,
            epochs: Epochs::of(&caller.application, &caller.user),
        };
        Ok(Ok((caller, self.erp_session(named))))
    }

    /// Whether Basic would be accepted for this application. Decides if a challenge offers it.
    pub fn offers_basic(&self, application: Option<&str>, now: Timestamp) -> bool {
        let (settings, register) = (self.memory.settings(), self.memory.applications());
        check_open(now, &settings).is_ok() && calling_application(application, &settings, &register).is_ok()
    }

    async fn open_or_continue(
        &self,
        standing: LegacyCredential,
        scope: Option<&'static str>,
        ctx: &mut Ctx<'_>,
    ) -> Answer<Caller, GuardRefusal> {
        if standing.user.user_type == UserType::ExternalCommunity {
            return Ok(Err(GuardRefusal::NotForCommunityUsers));
        }
        let granted = standing.application.default_api_scopes();
        if let Some(needed) = scope.filter(|scope| !granted.contains(scope)) {
            return Ok(Err(GuardRefusal::InsufficientScope { needed, granted: granted.to_string() }));
        }
        let (key, only) = (standing.key(), standing.session);
        let known = self.seats.known_session(&key, only, standing.application.id, ctx.now);
        let (session, opened_from) = if let Some(known) = known {
            (known.id, known.address)
        } else {
            match self.unknown_session(key, &standing, ctx).await? {
                Ok(session) => (session, None),
                Err(refusal) => return Ok(Err(refusal)),
            }
        };
        self.uses.note((standing.application.id, standing.scheme, standing.user.id), ctx.now);
        Ok(Ok(Caller { user: standing.user, application: standing.application, session, opened_from }))
    }

    async fn unknown_session(
        &self,
        key: SessionKey,
        standing: &LegacyCredential,
        ctx: &mut Ctx<'_>,
    ) -> Answer<ApiSessionId, GuardRefusal> {
        let calling = SessionRequest {
            key,
            token: standing.names(),
            user: &standing.user,
            application: standing.application.id,
            application_uri: standing.application.uri.as_str(),
            continues: standing.session,
        };
        match standing.session {
            None => self.seats.session_for(&calling, ctx).await,
            Some(_) => self.seats.continue_session(&calling, ctx).await,
        }
    }

    async fn validate_password(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &LegacyPassword<'_>,
    ) -> Answer<LegacyCredential, LegacyRefusal> {
        self.memory.renew(ctx.now).await?;
        let (settings, register) = (self.memory.settings(), self.memory.applications());
        let application =
            check_open(ctx.now, &settings).and_then(|()| calling_application(shown.application, &settings, &register));
        let answer = match application {
            Ok(application) => {
                let person = self.password_user(&application, shown, ctx).await?;
                person.map(|user| LegacyCredential { scheme: shown.scheme, application, user, session: None })
            }
            Err(refusal) => Err(refusal.into()),
        };
        answer.map_or_else(
            |away| {
                self.audit_legacy_refusal(&away, shown, ctx.now, ctx.request)?;
                Ok(Err(away.refusal))
            },
            |standing| Ok(Ok(standing)),
        )
    }

    /// Checks the password. One that matched recently costs no Argon2
    /// ([`KnownPasswords`](crate::memory::known_passwords::KnownPasswords)). The throttle is checked first in either
    /// case, so that the cache allows no faster guessing than the sign-in page.
    async fn password_user(
        &self,
        application: &TrustedApplication,
        shown: &LegacyPassword<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Answer<Arc<User>, LegacyDenial> {
        /// Attempts when concurrent changes to the user win the race.
        const TRIES: usize = 4;
        let memory = self.memory.kept();
        let (tag, now) = (memory.known_passwords.tag(application.id, shown.credentials), ctx.now);
        let login = Login::typed(shown.credentials.login);
        let network = self.known_network(&memory, login.as_ref(), ctx.request.address, now).await?;
        let source = PasswordSource::Client(network);
        let attempt = self.auth.attempt(login.as_ref(), shown.credentials.password, ctx.request.address, source, now);
        for _ in 0..TRIES {
            if let Some(held) = self.auth.state.throttle.held(&attempt, now, self.auth.free_failures()) {
                return Ok(Err(FailedSignIn::held(held).into()));
            }
            let known = if let Some(known) = memory.known_passwords.get(tag, now) {
                known
            } else {
                let proving = self.check_password_for(application, shown, source, ctx);
                // Boxed: the future is large, and most calls do not need it.
                match Box::pin(memory.known_passwords.learn(tag, now, proving)).await? {
                    Ok(known) => known,
                    Err(away) => return Ok(Err(away)),
                }
            };
            let user = self
                .memory
                .cached_user(known.user)
                .await?
                .filter(|user| user.epoch == known.epoch && check_person(user, application).is_ok());
            match user {
                Some(user) => return Ok(Ok(user)),
                None => memory.known_passwords.forget_tag(tag),
            }
        }
        Err(Fault::unavailable("the user is being changed at this moment"))
    }

    /// The full Argon2 comparison, as at the sign-in page.
    async fn check_password_for(
        &self,
        application: &TrustedApplication,
        shown: &LegacyPassword<'_>,
        source: PasswordSource<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Answer<User, LegacyDenial> {
        let may = |user: &User| check_person(user, application);
        let proven = match self.auth.check_password(ctx, shown.credentials, source, may).await? {
            Ok(proven) => proven,
            Err(denied) => return Ok(Err(denied.into())),
        };
        let user = proven.user;
        if let Some((old, better)) = proven.better_hash {
            let batch = Batch::new().with(self.memory.store.rehash_password(user.id, &old, &better));
            // Replaces nothing if a new password was set meanwhile; the user's epoch then differs.
            let _replaced = self.memory.store.commit(batch).await?;
        }
        self.note_network(&user, ctx.request.address, ctx.now).await?;
        // The password was compared with the database, and memory may not yet know a change that was committed before.
        self.memory.current().users.forget(user.id);
        let event = AuditEvent::done(ctx.now, AuditKind::SignIn, ctx.request)
            .user(user.id)
            .application(application.uri.as_str())
            .detail(&serde_json::json!({ "scheme": shown.scheme.as_str() }));
        self.audit.put(event)?;
        Ok(Ok(user))
    }

    fn audit_legacy_refusal(
        &self,
        away: &LegacyDenial,
        shown: &LegacyPassword<'_>,
        now: Timestamp,
        request: &RequestInfo,
    ) -> Result<(), Fault> {
        let attempted = AttemptedScheme { scheme: shown.scheme, refusal: &away.refusal };
        let mut event = AuditEvent::refused(now, AuditKind::SignIn, request, Asker::Stranger, &attempted);
        event.user = away.user;
        let settings = self.memory.settings();
        let named = shown.application.or(settings.default_legacy_application.as_deref());
        event.application = named.and_then(|uri| uri.parse::<ClientId>().ok()).map(|uri| uri.as_str().to_owned());
        self.audit.put(event)
    }

    fn erp_session(&self, named: ErpSessionClaims) -> Presented<ErpSession> {
        let bytes = named.to_bytes();
        let tag = self.memory.current().secret.load().sign(MacPurpose::ErpSession, &[&bytes]);
        Presented::new(format!("{}.{tag}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    fn read_erp_session(&self, shown: &Presented<ErpSession>) -> Option<ErpSessionClaims> {
        let (named, tag) = shown.expose().split_once('.')?;
        let bytes: [u8; ErpSessionClaims::BYTES] = URL_SAFE_NO_PAD.decode(named).ok()?.try_into().ok()?;
        self.memory
            .current()
            .secret
            .load()
            .verify(MacPurpose::ErpSession, &[&bytes], tag)
            .then(|| ErpSessionClaims::from_bytes(&bytes))
    }

    async fn validate_erp_session(
        &self,
        shown: &Presented<ErpSession>,
        now: Timestamp,
    ) -> Answer<LegacyCredential, LegacyRefusal> {
        self.memory.renew(now).await?;
        let (settings, register) = (self.memory.settings(), self.memory.applications());
        if let Err(refusal) = check_open(now, &settings) {
            return Ok(Err(refusal));
        }
        let Some(named) = self.read_erp_session(shown) else {
            return Ok(Err(LegacyRefusal::UnknownSession { length: shown.expose().len() }));
        };
        let application = register.by_id(named.application);
        if let Err(refusal) = check_application(application.map(AsRef::as_ref)) {
            return Ok(Err(refusal));
        }
        let user = self.memory.cached_user(named.user).await?;
        let Some((application, user)) = application.cloned().zip(user) else {
            return Ok(Err(LegacyRefusal::SessionOver));
        };
        let stands = named.epochs == Epochs::of(&application, &user) && check_person(&user, &application).is_ok();
        let scheme = LegacyScheme::ErpLogin;
        let standing = LegacyCredential { scheme, application, user, session: Some(named.session) };
        Ok(if stands { Ok(standing) } else { Err(LegacyRefusal::SessionOver) })
    }
}

/// The named application, else the instance's default, if it may use the legacy schemes.
fn calling_application(
    named: Option<&str>,
    settings: &InstanceSettings,
    register: &ApplicationRegister,
) -> Result<Arc<TrustedApplication>, LegacyRefusal> {
    let uri = named.or(settings.default_legacy_application.as_deref()).ok_or(LegacyRefusal::NoApplication)?;
    let application = uri.parse::<ClientId>().ok().and_then(|uri| register.by_uri(&uri));
    check_application(application.map(AsRef::as_ref))?;
    application.cloned().ok_or(LegacyRefusal::UnknownApplication)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_erp_session_says_reads_back_as_written() {
        let named = ErpSessionClaims {
            session: ApiSessionId(Uuid::from_u128(1)),
            application: ApplicationId(Uuid::from_u128(2 << 100)),
            user: UserId(Uuid::from_u128(3)),
            epochs: Epochs(4, i64::MAX),
        };
        let read = ErpSessionClaims::from_bytes(&named.to_bytes());
        assert_eq!((read.session, read.application, read.user), (named.session, named.application, named.user));
        assert_eq!(read.epochs, named.epochs);
    }
}
