//! Secrets at rest are sealed under a master key that is not in the database.

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

/// AES-256-GCM with a nonce drawn for every secret.
pub(crate) struct SealingKey(RandomizedNonceKey);

/// 256 bits, from a file or the environment. Holding it is being the operator of the installation.
///
/// While the master key is rotated there are two. Both open; which of them seals is one decision for all nodes, told by
/// the database: once a root secret is sealed under the current key, the rotation has begun. A node that is restarted
/// with both keys before that seals under the previous one, which nodes that wait for their restart can open.
pub struct MasterKey {
    current: SealingKey,
    previous: Option<PreviousKey>,
}

struct PreviousKey {
    key: SealingKey,
    /// Whether something was seen that the current key sealed.
    is_over: AtomicBool,
}

/// What is sealed under the master key: a variant for every column that holds it.
#[derive(Clone, Copy)]
pub(crate) enum SealedSecret {
    RootSecret,
    SigningKey,
    AuditKey,
    AuditMemory,
    RefusalMemory,
    /// For one person: moved to another's row, it does not open.
    AuthenticatorApp(UserId),
}

impl SealedSecret {
    /// What a row of a column is sealed as; nothing if the row's key cannot be one.
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

/// Which key a secret is under.
pub(crate) enum SealedUnder {
    Current,
    /// With the secret, to be sealed anew.
    Previous(Zeroizing<Vec<u8>>),
    Neither,
}

impl MasterKey {
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self { current: SealingKey::new(bytes), previous: None }
    }

    /// With the key before this one, from which the database is to be brought over.
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

    /// For a rotation, which decides that from now on everything is sealed under the current key.
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

    /// Bound to the instance and the purpose: a sealed secret opens nowhere else.
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

/// What an instance derives from its root secret, or from that of its audit: nothing of it is stored.
pub(crate) struct RootSecret(hmac::Key);

/// What a code of authenticity is for; one never passes as another.
#[derive(Clone, Copy)]
pub(crate) enum MacPurpose {
    RefreshToken,
    Form,
    Interaction,
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

    /// A digest that names what is not to be read in a row or cookie.
    pub(crate) fn digest(&self, purpose: MacPurpose, parts: &[&[u8]]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, &framed(purpose, parts));
        *tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes")
    }

    /// A key for one purpose.
    pub(crate) fn derive(&self, purpose: MacPurpose) -> [u8; 32] {
        self.digest(purpose, &[])
    }

    pub(crate) fn verify(&self, purpose: MacPurpose, parts: &[&[u8]], shown: &str) -> bool {
        URL_SAFE_NO_PAD.decode(shown).is_ok_and(|tag| hmac::verify(&self.0, &framed(purpose, parts), &tag).is_ok())
    }
}

/// Every part with its length, so that no two lists of parts read the same.
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
        assert!(!secret.verify(MacPurpose::Interaction, &[b"ab", b"c"], &tag));
        assert!(!RootSecret::new(&[2; 32]).verify(MacPurpose::Form, &[b"ab", b"c"], &tag));
        assert!(!secret.verify(MacPurpose::Form, &[b"ab", b"c"], ""));
    }
}
