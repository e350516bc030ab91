//! Encryption of secrets at rest, under a master key that is not in the database.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::{InstanceId, UserId};
use store::{SealedColumn, Store};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Fault;

const NONCE: usize = 12;

/// AES-256-GCM with a random nonce for every secret.
pub(crate) struct SealingKey(RandomizedNonceKey);

/// 256 bits, from a file or the environment. Its holder is the operator of the installation.
///
/// During a rotation of the master key there are two keys. Both open secrets. Which of them seals is one decision for
/// all nodes, read from the database: once a root secret is sealed under the current key, the rotation has begun. A
/// node that restarts with both keys before that seals under the previous key, which nodes that still wait for their
/// restart can open.
pub struct MasterKey {
    current: SealingKey,
    previous: Option<PreviousKey>,
}

struct PreviousKey {
    key: SealingKey,
    /// Set once a secret sealed under the current key was seen.
    is_over: AtomicBool,
}

/// The purpose of a secret sealed under the master key: a variant for every column that holds one.
#[derive(Clone, Copy)]
pub(crate) enum SealedSecret {
    RootSecret,
    SigningKey,
    AuditKey,
    AuditMemory,
    RefusalMemory,
    /// Bound to one user: moved to another user's row, it does not open.
    AuthenticatorApp(UserId),
}

impl SealedSecret {
    /// The purpose of a row of a column; `None` if the row's key cannot be one.
    pub(crate) fn of(column: SealedColumn, key: &str) -> Option<Self> {
        Some(match column {
            SealedColumn::RootSecret => Self::RootSecret,
            SealedColumn::SigningKey => Self::SigningKey,
            SealedColumn::AuditKey => Self::AuditKey,
            SealedColumn::AuditMemory => Self::AuditMemory,
            SealedColumn::RefusalMemory => Self::RefusalMemory,
            SealedColumn::AuthenticatorApp => Self::AuthenticatorApp(UserId(Uuid::try_parse(key).ok()?)),
        })
    }

    fn purpose(self) -> Cow<'static, str> {
        match self {
            Self::RootSecret => "root secret".into(),
            Self::SigningKey => "signing key".into(),
            Self::AuditKey => "audit key".into(),
            Self::AuditMemory => "audit memory".into(),
            Self::RefusalMemory => "refusal memory".into(),
            Self::AuthenticatorApp(user) => format!("authenticator app of {user}").into(),
        }
    }
}

/// The key that a secret is sealed under.
pub(crate) enum SealedUnder {
    Current,
    /// Carries the secret, to be sealed again.
    Previous(Zeroizing<Vec<u8>>),
    Neither,
}

impl MasterKey {
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self { current: SealingKey::new(bytes), previous: None }
    }

    /// Adds the previous key, from which the database is to be re-encrypted.
    #[must_use]
    pub fn with_previous(self, bytes: &[u8; 32]) -> Self {
        let previous = PreviousKey { key: SealingKey::new(bytes), is_over: AtomicBool::new(false) };
        Self { previous: Some(previous), ..self }
    }

    /// Standard base64 of 32 bytes, as `openssl rand -base64 32` writes it.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        Some(Self::new(bytes.as_slice().try_into().ok()?))
    }

    pub const fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// See [`SealingKey::seal`].
    pub(crate) fn seal(&self, instance: InstanceId, what: SealedSecret, secret: &[u8]) -> Vec<u8> {
        let previous = self.previous.as_ref().filter(|previous| !previous.is_over.load(Ordering::Acquire));
        let key = previous.map_or(&self.current, |previous| &previous.key);
        key.seal(instance, &what.purpose(), secret)
    }

    /// For a rotation: the batch that stores the result decides that all nodes seal under the current key from now on.
    pub(crate) fn seal_under_current(&self, instance: InstanceId, what: SealedSecret, secret: &[u8]) -> Vec<u8> {
        self.current.seal(instance, &what.purpose(), secret)
    }

    pub(crate) fn open(
        &self,
        instance: InstanceId,
        what: SealedSecret,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let purpose = what.purpose();
        let opened = self.current.open(instance, &purpose, sealed);
        match &self.previous {
            None => opened,
            Some(previous) if opened.is_ok() => {
                previous.is_over.store(true, Ordering::Release);
                opened
            }
            Some(previous) => previous.key.open(instance, &purpose, sealed),
        }
    }

    pub(crate) fn examine(&self, instance: InstanceId, what: SealedSecret, sealed: &[u8]) -> SealedUnder {
        let purpose = what.purpose();
        if self.current.open(instance, &purpose, sealed).is_ok() {
            return SealedUnder::Current;
        }
        let previous = self.previous.as_ref().and_then(|previous| previous.key.open(instance, &purpose, sealed).ok());
        previous.map_or(SealedUnder::Neither, SealedUnder::Previous)
    }
}

impl SealingKey {
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, bytes).expect("AES-256 takes 32 bytes"))
    }

    /// Bound to instance and purpose: a sealed secret opens for no other.
    pub(crate) fn seal(&self, instance: InstanceId, purpose: &str, secret: &[u8]) -> Vec<u8> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(context(instance, purpose)), &mut sealed)
            .expect("a secret is far below the limit of AES-GCM");
        [nonce.as_ref().as_slice(), &sealed].concat()
    }

    pub(crate) fn open(&self, instance: InstanceId, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let wrong = || Fault::failed("a secret does not open: is this the master key that it was sealed under?");
        let (nonce, text) = sealed.split_at_checked(NONCE).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut text = Zeroizing::new(text.to_vec());
        let length =
            self.0.open_in_place(nonce, Aad::from(context(instance, purpose)), &mut text).map_err(|_| wrong())?.len();
        text.truncate(length);
        Ok(text)
    }
}

fn context(instance: InstanceId, purpose: &str) -> Vec<u8> {
    format!("{instance}/{purpose}").into_bytes()
}

/// Root of the secrets that an instance, or the audit of one, derives. The derived secrets are not stored.
pub(crate) struct RootSecret(hmac::Key);

/// Purpose of a MAC: a MAC for one purpose never passes for another.
#[derive(Clone, Copy)]
pub(crate) enum MacPurpose {
    RefreshToken,
    Form,
    PendingAuthorization,
    PersonForm,
    ErpSession,
    FirstStep,
    Ceremony,
    AuthenticatorApp,
    AuditEvent,
    AuditBlock,
    AuditClosing,
    AuditMemory,
    DeviceCookie,
    Account,
    SecondStepAccount,
    KnownNetwork,
}

impl RootSecret {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    pub(crate) async fn load(store: &Store, master: &MasterKey) -> Result<Self, Fault> {
        let sealed = store.root_secret().await?;
        master.open(*store.instance(), SealedSecret::RootSecret, &sealed).map(|secret| Self::new(&secret))
    }

    pub(crate) fn sign(&self, purpose: MacPurpose, parts: &[&[u8]]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &framed(purpose, parts)))
    }

    /// A keyed digest that stands in a row or cookie for text that must not be readable there.
    pub(crate) fn digest(&self, purpose: MacPurpose, parts: &[&[u8]]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, &framed(purpose, parts));
        *tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes")
    }

    /// Derives a key for one purpose.
    pub(crate) fn derive(&self, purpose: MacPurpose) -> [u8; 32] {
        self.digest(purpose, &[])
    }

    pub(crate) fn verify(&self, purpose: MacPurpose, parts: &[&[u8]], shown: &str) -> bool {
        URL_SAFE_NO_PAD.decode(shown).is_ok_and(|tag| hmac::verify(&self.0, &framed(purpose, parts), &tag).is_ok())
    }
}

/// Prefixes every part with its length, so that two different lists of parts never read the same.
fn framed(purpose: MacPurpose, parts: &[&[u8]]) -> Vec<u8> {
    let mut text = vec![purpose as u8];
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HERE: InstanceId = InstanceId(Uuid::from_u128(1));

    #[test]
    fn a_sealed_secret_opens_only_where_it_was_sealed() {
        let key = MasterKey::new(&[7; 32]);
        let there = InstanceId(Uuid::from_u128(2));
        let sealed = key.seal(HERE, SealedSecret::SigningKey, b"secret");
        assert_eq!(key.open(HERE, SealedSecret::SigningKey, &sealed).expect("opens").as_slice(), b"secret");
        assert!(key.open(there, SealedSecret::SigningKey, &sealed).is_err());
        assert!(key.open(HERE, SealedSecret::RootSecret, &sealed).is_err());
        assert!(MasterKey::new(&[8; 32]).open(HERE, SealedSecret::SigningKey, &sealed).is_err());
        assert!(key.open(HERE, SealedSecret::SigningKey, &sealed[..5]).is_err());
        let mut bent = sealed;
        bent[20] ^= 1;
        assert!(key.open(HERE, SealedSecret::SigningKey, &bent).is_err());
        let mine = key.seal(HERE, SealedSecret::AuthenticatorApp(UserId(Uuid::from_u128(1))), b"secret");
        assert!(key.open(HERE, SealedSecret::AuthenticatorApp(UserId(Uuid::from_u128(2))), &mine).is_err());
    }

    #[test]
    fn two_keys_open_both_and_seal_under_the_one_that_the_database_has_come_to() {
        let (old, new) = (MasterKey::new(&[7; 32]), MasterKey::new(&[8; 32]));
        let both = MasterKey::new(&[8; 32]).with_previous(&[7; 32]);
        let what = SealedSecret::RootSecret;
        let before = both.seal(HERE, what, b"a");
        assert_eq!(old.open(HERE, what, &before).expect("opens").as_slice(), b"a", "others may know the old one alone");
        assert_eq!(both.open(HERE, what, &before).expect("opens").as_slice(), b"a");
        assert!(new.open(HERE, what, &both.seal(HERE, what, b"b")).is_err(), "what the old key sealed decides nothing");

        let begun = both.seal_under_current(HERE, what, b"a");
        assert_eq!(both.open(HERE, what, &begun).expect("opens").as_slice(), b"a");
        assert_eq!(new.open(HERE, what, &both.seal(HERE, what, b"c")).expect("opens").as_slice(), b"c");
        assert_eq!(both.open(HERE, what, &before).expect("opens").as_slice(), b"a", "what is left opens as before");
        assert!(both.open(HERE, what, &MasterKey::new(&[9; 32]).seal(HERE, what, b"d")).is_err());
    }

    #[test]
    fn a_code_of_authenticity_is_good_for_one_purpose_and_one_content() {
        let secret = RootSecret::new(&[1; 32]);
        let tag = secret.sign(MacPurpose::Form, &[b"ab", b"c"]);
        assert!(secret.verify(MacPurpose::Form, &[b"ab", b"c"], &tag));
        assert!(!secret.verify(MacPurpose::Form, &[b"a", b"bc"], &tag));
        assert!(!secret.verify(MacPurpose::PersonForm, &[b"ab", b"c"], &tag));
        assert!(!RootSecret::new(&[2; 32]).verify(MacPurpose::Form, &[b"ab", b"c"], &tag));
        assert!(!secret.verify(MacPurpose::Form, &[b"ab", b"c"], ""));
    }
}
