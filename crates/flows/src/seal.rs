//! Secrets at rest are sealed under a master key that is not in the database.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::{InstanceId, Operator};
use zeroize::Zeroizing;

use crate::Fault;

const NONCE: usize = 12;

/// AES-256-GCM with a nonce drawn for every secret.
pub(crate) struct SealingKey(RandomizedNonceKey);

/// 256 bits, from a file or the environment. Holding it is being the operator of the installation.
pub struct MasterKey(SealingKey);

impl MasterKey {
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(SealingKey::new(bytes))
    }

    /// Standard base64 of 32 bytes, as `openssl rand -base64 32` writes it.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        Some(Self::new(bytes.as_slice().try_into().ok()?))
    }

    /// Who holds the master key may do everything, and could read everything anyway.
    pub fn operator(&self) -> Operator {
        Operator::with_master_key()
    }

    /// See [`SealingKey::seal`].
    pub fn seal(&self, instance: InstanceId, purpose: &str, secret: &[u8]) -> Vec<u8> {
        self.0.seal(instance, purpose, secret)
    }

    pub fn open(&self, instance: InstanceId, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        self.0.open(instance, purpose, sealed)
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
pub(crate) enum Purpose {
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
}

impl RootSecret {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    pub(crate) fn sign(&self, purpose: Purpose, parts: &[&[u8]]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &framed(purpose, parts)))
    }

    /// A key for one purpose.
    pub(crate) fn derive(&self, purpose: Purpose) -> [u8; 32] {
        let tag = hmac::sign(&self.0, &framed(purpose, &[]));
        *tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes")
    }

    pub(crate) fn verify(&self, purpose: Purpose, parts: &[&[u8]], shown: &str) -> bool {
        URL_SAFE_NO_PAD.decode(shown).is_ok_and(|tag| hmac::verify(&self.0, &framed(purpose, parts), &tag).is_ok())
    }
}

/// Every part with its length, so that no two lists of parts read the same.
fn framed(purpose: Purpose, parts: &[&[u8]]) -> Vec<u8> {
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

    #[test]
    fn a_sealed_secret_opens_only_where_it_was_sealed() {
        let key = MasterKey::new(&[7; 32]);
        let (here, there) = (InstanceId(Uuid::from_u128(1)), InstanceId(Uuid::from_u128(2)));
        let sealed = key.seal(here, "signing key", b"secret");
        assert_eq!(key.open(here, "signing key", &sealed).expect("opens").as_slice(), b"secret");
        assert!(key.open(there, "signing key", &sealed).is_err());
        assert!(key.open(here, "root secret", &sealed).is_err());
        assert!(MasterKey::new(&[8; 32]).open(here, "signing key", &sealed).is_err());
        assert!(key.open(here, "signing key", &sealed[..5]).is_err());
        let mut bent = sealed;
        bent[20] ^= 1;
        assert!(key.open(here, "signing key", &bent).is_err());
    }

    #[test]
    fn a_code_of_authenticity_is_good_for_one_purpose_and_one_content() {
        let secret = RootSecret::new(&[1; 32]);
        let tag = secret.sign(Purpose::Form, &[b"ab", b"c"]);
        assert!(secret.verify(Purpose::Form, &[b"ab", b"c"], &tag));
        assert!(!secret.verify(Purpose::Form, &[b"a", b"bc"], &tag));
        assert!(!secret.verify(Purpose::Interaction, &[b"ab", b"c"], &tag));
        assert!(!RootSecret::new(&[2; 32]).verify(Purpose::Form, &[b"ab", b"c"], &tag));
        assert!(!secret.verify(Purpose::Form, &[b"ab", b"c"], ""));
    }
}
