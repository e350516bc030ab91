//! Passkeys (WebAuthn Level 2): options for the browser's script, and verification of its answers.
//!
//! A challenge is not stored: it is in a state that the page carries under a MAC, bound to the browser and to its
//! purpose. Only its answer is recorded, so that it can be answered once.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::session::SessionCookie;
pub use model::two_step::PasskeyRefusal;
use model::{RootUrl, Timestamp, User, UserId};
use oauth::secret::{Digest, Presented};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::{Fault, Statement, StoredPasskey};
use webauthn_rs::prelude::{
    AuthenticationResult, DiscoverableAuthentication, DiscoverableKey, Passkey, PasskeyRegistration,
    PublicKeyCredential, RegisterPublicKeyCredential, Url, WebauthnError, WebauthnResult,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use crate::auth::Auth;
use crate::platform::seal::MacPurpose;

/// How long a page with a challenge may stay open.
pub const CEREMONY_LIFETIME: Duration = Duration::from_mins(10);

/// How long the browser waits for the user to touch the authenticator.
const TOUCH: Duration = Duration::from_mins(2);

/// Options for the browser's script, and the state that must come back with its answer.
pub struct PasskeyChallenge {
    /// `CredentialCreationOptions` or `CredentialRequestOptions` as JSON, binary values in base64url.
    pub options: String,
    pub state: String,
}

/// An answer of the browser's script, with the state of its challenge.
#[derive(Clone, Copy)]
pub struct PasskeyAnswer<'a> {
    pub state: &'a str,
    /// The `PublicKeyCredential` as JSON.
    pub credential: &'a str,
}

/// What a challenge is bound to: its purpose, and the token of the page's form, which is the browser's.
#[derive(Clone, Copy)]
pub(crate) struct Ceremony<'a> {
    pub(crate) purpose: CeremonyPurpose,
    pub(crate) form: &'a str,
}

/// Purpose of a challenge: an answer for one purpose is never valid for another.
#[derive(Clone, Copy)]
pub(crate) enum CeremonyPurpose {
    SignIn,
    SecondStep(UserId),
    /// The user, and the sign-in that registers it.
    Register(UserId, Digest<SessionCookie>),
}

impl CeremonyPurpose {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::SignIn => vec![0],
            Self::SecondStep(user) => [&[1], user.0.as_bytes().as_slice()].concat(),
            Self::Register(user, secret) => [&[2], user.0.as_bytes().as_slice(), secret.as_bytes()].concat(),
        }
    }
}

/// A verified passkey, with the statements that must be committed with its use.
pub(crate) struct VerifiedPasskey {
    pub(crate) passkey: StoredPasskey,
    pub(crate) synced: bool,
    /// Guarded, in this order: the challenge is answered once, and the passkey is unchanged since it was read.
    pub(crate) spends: [Statement; 2],
}

/// A new passkey, with the statement that must be committed with it.
pub(crate) struct RegisteredPasskey {
    pub(crate) credential: Vec<u8>,
    /// JSON, as stored.
    pub(crate) record: String,
    /// Guarded: the challenge is answered once.
    pub(crate) spend: Statement,
}

/// The relying party of passkeys: the instance's host. Signatures are deliberately verified by another library than
/// Gatehouse's own. That library draws the challenges itself.
pub(crate) struct RelyingParty(Webauthn);

impl RelyingParty {
    /// `None` if the root URL has an address instead of a name: passkeys cannot be bound to an address.
    pub(crate) fn new(name: &str, root: &RootUrl) -> Option<Self> {
        let origin = Url::parse(root.as_str()).ok()?;
        origin.domain()?;
        let host = root.host();
        WebauthnBuilder::new(host.as_str(), &origin)
            .and_then(|builder| builder.rp_name(name).timeout(TOUCH).build())
            .ok()
            .map(Self)
    }
}

fn judge_answer(done: WebauthnResult<AuthenticationResult>) -> Result<AuthenticationResult, PasskeyRefusal> {
    done.map_err(|error| match error {
        WebauthnError::CredentialPossibleCompromise => PasskeyRefusal::CounterRegressed,
        _ => PasskeyRefusal::Wrong,
    })
}

fn to_json(value: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(Fault::failed)
}

impl Auth<'_> {
    /// Whether this instance's root URL allows passkeys.
    pub fn knows_passkeys(&self) -> bool {
        self.state.relying_party.is_some()
    }

    /// For the sign-in page: a user with a passkey signs in with it alone. `form` is the page's form token.
    pub fn passkey_challenge(&self, form: &str, now: Timestamp) -> Result<Option<PasskeyChallenge>, Fault> {
        self.challenge(Ceremony { purpose: CeremonyPurpose::SignIn, form }, None, now)
    }

    /// `allowed` lists the passkeys that may answer. With `None`, any that the authenticator finds may.
    pub(crate) fn challenge(
        &self,
        ceremony: Ceremony<'_>,
        allowed: Option<&[StoredPasskey]>,
        now: Timestamp,
    ) -> Result<Option<PasskeyChallenge>, Fault> {
        let Some(RelyingParty(webauthn)) = &self.state.relying_party else { return Ok(None) };
        let (options, state) = webauthn.start_discoverable_authentication().map_err(Fault::failed)?;
        let mut options = to_json(&options)?;
        if let Some(options) = options.as_object_mut() {
            // The page has a button; no request waits in the background.
            options.remove("mediation");
        }
        if let Some(allowed) = allowed {
            let named = |passkey: &StoredPasskey| json!({ "type": "public-key", "id": URL_SAFE_NO_PAD.encode(&passkey.credential) });
            options["publicKey"]["allowCredentials"] = allowed.iter().map(named).collect();
        }
        Ok(Some(PasskeyChallenge { options: options.to_string(), state: self.pack(ceremony, &state, now)? }))
    }

    /// Verifies an answer (WebAuthn §7.2). If the challenge names a user, the passkey must be that user's.
    pub(crate) async fn judge_passkey(
        &self,
        ceremony: Ceremony<'_>,
        answer: PasskeyAnswer<'_>,
        now: Timestamp,
    ) -> Result<Result<VerifiedPasskey, PasskeyRefusal>, Fault> {
        let state = self.unpack::<DiscoverableAuthentication>(ceremony, answer.state, now);
        let (Some((state, expires_at)), Some(RelyingParty(webauthn))) = (state, &self.state.relying_party) else {
            return Ok(Err(PasskeyRefusal::Stale));
        };
        let Ok(credential) = serde_json::from_str::<PublicKeyCredential>(answer.credential) else {
            return Ok(Err(PasskeyRefusal::Unreadable));
        };
        let Some(passkey) = self.memory.store.passkey_by_credential(credential.get_credential_id()).await? else {
            return Ok(Err(PasskeyRefusal::Unknown));
        };
        let handle = credential.get_user_unique_id();
        let is_theirs = handle.is_none_or(|handle| handle == passkey.user.0.as_bytes());
        let is_meant = match ceremony.purpose {
            CeremonyPurpose::SignIn => handle.is_some(),
            CeremonyPurpose::SecondStep(user) | CeremonyPurpose::Register(user, _) => passkey.user == user,
        };
        if !is_theirs || !is_meant {
            return Ok(Err(PasskeyRefusal::Unknown));
        }
        let mut record: Passkey = serde_json::from_str(&passkey.record).map_err(Fault::failed)?;
        let key = DiscoverableKey::from(&record);
        let result = match judge_answer(webauthn.finish_discoverable_authentication_v2(&credential, state, &key)) {
            Ok(result) => result,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let _changed = record.update_credential(&result);
        let written = serde_json::to_string(&record).map_err(Fault::failed)?;
        let spends = [
            self.memory.store.spend_challenge(&digest(answer.state), expires_at),
            self.memory.store.use_passkey(&passkey, &written, now),
        ];
        Ok(Ok(VerifiedPasskey { synced: result.backup_eligible(), passkey, spends }))
    }

    /// Options for a new passkey. It should be discoverable without a login, so that it can be the only factor.
    pub(crate) fn registration(
        &self,
        user: &User,
        ceremony: Ceremony<'_>,
        known: &[StoredPasskey],
        now: Timestamp,
    ) -> Result<Option<PasskeyChallenge>, Fault> {
        let Some(RelyingParty(webauthn)) = &self.state.relying_party else { return Ok(None) };
        let known = known.iter().map(|passkey| passkey.credential.clone()).collect();
        let (options, state) = webauthn
            .start_passkey_registration(user.id.0, user.login.as_str(), &user.name, Some(known))
            .map_err(Fault::failed)?;
        let mut options = to_json(&options)?;
        options["publicKey"]["authenticatorSelection"]["residentKey"] = "preferred".into();
        Ok(Some(PasskeyChallenge { options: options.to_string(), state: self.pack(ceremony, &state, now)? }))
    }

    /// Verifies a new passkey (WebAuthn §7.1), without attestation: the authenticator's maker is not checked.
    pub(crate) fn judge_registration(
        &self,
        ceremony: Ceremony<'_>,
        answer: PasskeyAnswer<'_>,
        now: Timestamp,
    ) -> Result<Result<RegisteredPasskey, PasskeyRefusal>, Fault> {
        let state = self.unpack::<PasskeyRegistration>(ceremony, answer.state, now);
        let (Some((state, expires_at)), Some(RelyingParty(webauthn))) = (state, &self.state.relying_party) else {
            return Ok(Err(PasskeyRefusal::Stale));
        };
        let Ok(credential) = serde_json::from_str::<RegisterPublicKeyCredential>(answer.credential) else {
            return Ok(Err(PasskeyRefusal::Unreadable));
        };
        let Ok(made) = webauthn.finish_passkey_registration(&credential, &state) else {
            return Ok(Err(PasskeyRefusal::Wrong));
        };
        let record = serde_json::to_string(&made).map_err(Fault::failed)?;
        let spend = self.memory.store.spend_challenge(&digest(answer.state), expires_at);
        Ok(Ok(RegisteredPasskey { credential: made.cred_id().clone(), record, spend }))
    }

    /// `made_at.state.tag`; no part is secret.
    fn pack(&self, ceremony: Ceremony<'_>, state: &impl Serialize, now: Timestamp) -> Result<String, Fault> {
        let state = URL_SAFE_NO_PAD.encode(serde_json::to_vec(state).map_err(Fault::failed)?);
        let made_at = now.seconds().to_string();
        let tag = self.memory.current().secret.load().sign(
            MacPurpose::Ceremony,
            &[&ceremony.purpose.bytes(), ceremony.form.as_bytes(), made_at.as_bytes(), state.as_bytes()],
        );
        Ok(format!("{made_at}.{state}.{tag}"))
    }

    fn unpack<T: DeserializeOwned>(
        &self,
        ceremony: Ceremony<'_>,
        packed: &str,
        now: Timestamp,
    ) -> Option<(T, Timestamp)> {
        let (made_at, rest) = packed.split_once('.')?;
        let (state, tag) = rest.split_once('.')?;
        let parts = [&ceremony.purpose.bytes(), ceremony.form.as_bytes(), made_at.as_bytes(), state.as_bytes()];
        if !self.memory.current().secret.load().verify(MacPurpose::Ceremony, &parts, tag) {
            return None;
        }
        let expires_at = Timestamp::from_seconds(made_at.parse().ok()?).plus(CEREMONY_LIFETIME);
        let state = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(state).ok()?).ok()?;
        (now < expires_at).then_some((state, expires_at))
    }
}

/// Type of a packed challenge.
enum CeremonyState {}

fn digest(packed: &str) -> [u8; 32] {
    *Presented::<CeremonyState>::new(packed).digest().as_bytes()
}
