//! Validates access tokens and reference tokens of API calls: the credential itself, and everything it names.

use std::sync::Arc;
use std::time::Duration;

use model::application::PROTOCOL_SCOPES;
use model::claims::{AccessTokenClaims, TokenSubject};
use model::guard::{GuardRefusal, RevocationSource, TokenEnd, TokenRefusal};
use model::reference_token::{ReferenceToken, ReferenceTokenValue, is_reference_token};
use model::seat::SessionKey;
use model::validity;
use model::validity::InvalidityReason;
use model::{AfterLogout, Timestamp, TrustedApplication, User};
use oauth::jose::UnverifiedJws;
use oauth::scope::Scope;
use oauth::secret::{self, Digest, Presented};
use store::TokenNames;
use uuid::Uuid;

use crate::Answer;
use crate::auth::Auth;
use crate::memory::VerifiedToken;

/// A clock slightly behind the issuing node's must not refuse a fresh token.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// A valid credential, with the current records that it names.
pub(crate) struct ValidCredential {
    pub(crate) credential: CredentialRecord,
    pub(crate) application: Arc<TrustedApplication>,
    pub(crate) user: Arc<User>,
}

pub(crate) enum CredentialRecord {
    Jwt(Arc<VerifiedToken>),
    Reference(Arc<ReferenceToken>),
}

impl CredentialRecord {
    /// When the user behind it signed in. `None` for a reference token or a service's token.
    pub(crate) fn signed_in(&self) -> Option<Timestamp> {
        match self {
            Self::Jwt(verified) => match verified.token.holder {
                TokenSubject::User { auth_time, .. } => Some(auth_time),
                TokenSubject::Service { .. } => None,
            },
            Self::Reference(_) => None,
        }
    }
}

impl ValidCredential {
    /// A reference token is valid for all APIs of the instance.
    pub(crate) fn is_for(&self, audience: &str) -> bool {
        match &self.credential {
            CredentialRecord::Jwt(verified) => verified.token.is_for(audience),
            CredentialRecord::Reference(_) => true,
        }
    }

    /// The granted scope, within what the application may have today.
    pub(crate) fn scope(&self) -> Scope {
        match &self.credential {
            CredentialRecord::Jwt(verified) => verified.token.scope.clone(),
            CredentialRecord::Reference(token) => token.effective_scope(&self.application),
        }
    }

    pub(crate) fn audience(&self) -> Vec<String> {
        match &self.credential {
            CredentialRecord::Jwt(verified) => verified.token.audience.clone(),
            CredentialRecord::Reference(_) => Vec::new(),
        }
    }

    pub(crate) fn lacks(&self, needed: &'static str) -> GuardRefusal {
        GuardRefusal::InsufficientScope { needed, granted: self.scope().to_string() }
    }

    pub(crate) fn has(&self, scope: &str) -> bool {
        let granted = match &self.credential {
            CredentialRecord::Jwt(verified) => &verified.token.scope,
            CredentialRecord::Reference(token) => &token.scope,
        };
        granted.contains(scope) && (self.application.scope.contains(scope) || PROTOCOL_SCOPES.contains(&scope))
    }

    pub(crate) fn session_key(&self) -> SessionKey {
        match &self.credential {
            CredentialRecord::Reference(token) => SessionKey::Reference(token.id),
            CredentialRecord::Jwt(verified) => match verified.token.holder {
                TokenSubject::User { session, .. } => SessionKey::SignIn(session),
                TokenSubject::Service { .. } => SessionKey::Service(verified.token.id.clone()),
            },
        }
    }
}

impl Auth<'_> {
    /// Checks that the credential is valid, and everything it names, too.
    pub(crate) async fn validate_credential(
        &self,
        shown: &Presented<secret::AccessToken>,
        now: Timestamp,
    ) -> Answer<ValidCredential, TokenRefusal> {
        self.memory.renew(now).await?;
        if is_reference_token(shown.expose()) {
            self.validate_reference_token(shown, now).await
        } else {
            self.validate_jwt(shown, now).await
        }
    }

    /// Checks signature, `typ`, issuer, times, and that everything it names is valid; all but the first three on every
    /// call.
    async fn validate_jwt(
        &self,
        shown: &Presented<secret::AccessToken>,
        now: Timestamp,
    ) -> Answer<ValidCredential, TokenRefusal> {
        let digest = *shown.digest().as_bytes();
        let known =
            self.memory.current().verified.get(&digest).filter(|verified| self.memory.keys().trusts(&verified.kid));
        let verified = match known {
            Some(verified) => verified,
            // Boxed: this happens once for each token.
            None => match Box::pin(self.verify_first(shown, digest, now)).await? {
                Ok(verified) => verified,
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        let token = &verified.token;
        let fallen = |end| Ok(Err(TokenRefusal::fallen(token.id.as_str(), token.client_id.as_str(), end)));
        if now >= token.expires_at {
            return fallen(TokenEnd::Expired { at: token.expires_at, now });
        }
        if now.plus(CLOCK_SKEW) < token.not_before {
            return fallen(TokenEnd::NotYetValid { from: token.not_before, now });
        }
        if let Some((what, at)) = self.memory.current().revocations.revoking(token, self.memory.settings().after_logout)
        {
            return fallen(TokenEnd::Killed { what, at: Some(at) });
        }
        let application = self.memory.applications().by_uri(&token.client_id).cloned();
        let application = match validity::application(application, Some(token.epochs.0)) {
            Ok(application) => application,
            Err(gone) => return fallen(TokenEnd::Gone(gone)),
        };
        let user = self.memory.cached_user(token.holder.user()).await?;
        match validity::user(user, Some(token.epochs.1)) {
            Ok(user) => {
                Ok(Ok(ValidCredential { credential: CredentialRecord::Jwt(Arc::clone(&verified)), application, user }))
            }
            Err(gone) => fallen(TokenEnd::Gone(gone)),
        }
    }

    /// Verifies a token that memory does not know. After the database may have gone back, the token's authorization may
    /// be lost with the transaction that made it: it is looked up once.
    async fn verify_first(
        &self,
        shown: &Presented<secret::AccessToken>,
        digest: [u8; 32],
        now: Timestamp,
    ) -> Answer<Arc<VerifiedToken>, TokenRefusal> {
        let memory = self.memory.kept();
        let verified = match self.verify(shown) {
            Ok(verified) => Arc::new(verified),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let token = &verified.token;
        if let TokenSubject::User { descent, .. } = token.holder
            && memory.must_ask_for_authorization(now)
            && self.memory.store.authorization(descent.authorization).await?.is_none()
        {
            let end = TokenEnd::Killed { what: RevocationSource::Lost, at: None };
            return Ok(Err(TokenRefusal::fallen(token.id.as_str(), token.client_id.as_str(), end)));
        }
        memory.verified.remember(digest, Arc::clone(&verified));
        Ok(Ok(verified))
    }

    /// Found by digest; in memory if it was used recently (`identity.md` §3.4).
    async fn validate_reference_token(
        &self,
        shown: &Presented<secret::AccessToken>,
        now: Timestamp,
    ) -> Answer<ValidCredential, TokenRefusal> {
        let digest = Digest::<ReferenceTokenValue>::from_bytes(*shown.digest().as_bytes());
        let mut found = self.memory.current().reference_tokens.known(*digest.as_bytes());
        if found.is_none() {
            let memory = self.memory.kept();
            let read = self.memory.store.reference_token(&digest);
            found = Box::pin(memory.reference_tokens.get(*digest.as_bytes(), read)).await?;
        }
        let Some(token) = found else {
            let tail = shown.expose().get(shown.expose().len() - 4..).unwrap_or_default().to_owned();
            return Ok(Err(TokenRefusal::Unknown { tail }));
        };
        let fallen = |end| Ok(Err(TokenRefusal::fallen(token.id.to_string(), token.application.to_string(), end)));
        if let Some(at) = token.revoked_at {
            return fallen(TokenEnd::Killed { what: RevocationSource::Token, at: Some(at) });
        }
        if let Some(at) = token.expires_at.filter(|_| !token.is_live(now)) {
            return fallen(TokenEnd::Expired { at, now });
        }
        let application =
            match validity::application(self.memory.applications().by_id(token.application).cloned(), None) {
                Ok(application) => application,
                Err(gone) => return fallen(TokenEnd::Gone(gone)),
            };
        match validity::user(self.memory.cached_user(token.user).await?, None) {
            Ok(user) if token.is_allowed(&application, &user) => Ok(Ok(ValidCredential {
                credential: CredentialRecord::Reference(Arc::clone(&token)),
                application,
                user,
            })),
            Ok(user) => fallen(TokenEnd::Gone(InvalidityReason::UserNotAdmitted(user.user_type))),
            Err(gone) => fallen(TokenEnd::Gone(gone)),
        }
    }

    /// Everything a token names that may have ended without this node having read of it yet.
    pub(crate) fn names(&self, standing: &ValidCredential) -> TokenNames {
        let common = TokenNames {
            user: (standing.user.id, None),
            application: (standing.application.id, standing.application.epoch),
            authorization: None,
            sign_in: None,
            service_token: None,
            reference_token: None,
        };
        let token = match &standing.credential {
            CredentialRecord::Reference(token) => return TokenNames { reference_token: Some(token.id), ..common },
            CredentialRecord::Jwt(verified) => &verified.token,
        };
        let common = TokenNames { user: (standing.user.id, Some(token.epochs.1)), ..common };
        match token.holder {
            TokenSubject::Service { .. } => TokenNames { service_token: Uuid::try_parse(&token.id).ok(), ..common },
            TokenSubject::User { session, descent, .. } => {
                let refuses = self.memory.settings().after_logout == AfterLogout::Refuse;
                let sign_in = Some(session).filter(|_| refuses);
                TokenNames { authorization: Some(descent.authorization), sign_in, ..common }
            }
        }
    }

    fn verify(&self, shown: &Presented<secret::AccessToken>) -> Result<VerifiedToken, TokenRefusal> {
        let malformed = |_| TokenRefusal::Malformed { length: shown.expose().len() };
        let jws = UnverifiedJws::parse(shown.expose()).map_err(malformed)?;
        let kid = jws.header.kid.clone().ok_or(TokenRefusal::UnknownKey { kid: None })?;
        let keys = self.memory.keys();
        let key = keys.verifying(&kid).ok_or_else(|| TokenRefusal::UnknownKey { kid: Some(kid.clone()) })?;
        let payload = jws.verify(key, &["at+jwt"]).map_err(|_| TokenRefusal::BadSignature { kid: kid.clone() })?;
        let token = AccessTokenClaims::parse(&payload).ok_or(TokenRefusal::NotAnAccessToken)?;
        if token.issuer != self.info.issuer {
            return Err(TokenRefusal::WrongIssuer { sent: token.issuer, expected: self.info.issuer.clone() });
        }
        Ok(VerifiedToken { token, kid })
    }

    /// Noted in memory and written in batches, so that a call costs no durable write.
    pub(crate) fn note_use(&self, standing: &ValidCredential, now: Timestamp) {
        match &standing.credential {
            CredentialRecord::Reference(token) => self.memory.current().token_uses.note(token.id, now),
            CredentialRecord::Jwt(verified) => {
                if let TokenSubject::User { descent, .. } = verified.token.holder {
                    self.memory.current().used_generations.note(descent);
                }
            }
        }
    }
}
