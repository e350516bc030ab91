//! Secrets as two types: as presented and as stored.

use std::fmt;
use std::marker::PhantomData;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Marks `client_secret`, RFC 6749 §2.3.1.
pub enum ClientSecret {}
/// Marks an authorization code, RFC 6749 §1.3.1.
pub enum AuthorizationCode {}
/// Marks a refresh token, RFC 6749 §1.5.
pub enum RefreshToken {}
/// Marks an access token, RFC 6749 §1.4.
pub enum AccessToken {}

/// A presented secret. It cannot be cloned, printed or compared, and is wiped when dropped.
pub struct Presented<K>(Zeroizing<String>, PhantomData<fn() -> K>);

impl<K> Presented<K> {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()), PhantomData)
    }

    /// The secret itself, to return it to its owner, or to parse a structured one.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the bytes. Only for long random secrets: a user's password needs a slow hash.
    pub fn digest(&self) -> Digest<K> {
        Digest(sha256(self.0.as_bytes()), PhantomData)
    }
}

impl<K> fmt::Debug for Presented<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(…)")
    }
}

/// A stored secret: its SHA-256, compared in constant time.
pub struct Digest<K>([u8; 32], PhantomData<fn() -> K>);

/// The bytes or the text are not a SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 32 bytes, in base64 44 characters")]
pub struct NotADigest;

impl<K> Digest<K> {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes, PhantomData)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn matches(&self, shown: &Presented<K>) -> bool {
        *self == shown.digest()
    }

    /// Standard base64 with padding (RFC 4648 §4).
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads what [`Self::to_base64`] writes.
    pub fn from_base64(text: &str) -> Result<Self, NotADigest> {
        let bytes = STANDARD.decode(text).map_err(|_| NotADigest)?;
        Self::try_from(bytes.as_slice())
    }
}

impl<K> TryFrom<&[u8]> for Digest<K> {
    type Error = NotADigest;

    fn try_from(bytes: &[u8]) -> Result<Self, NotADigest> {
        bytes.try_into().map(Self::from_bytes).map_err(|_| NotADigest)
    }
}

// Derived implementations would require the same traits of the marker.
impl<K> Clone for Digest<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Digest<K> {}

impl<K> PartialEq for Digest<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<K> Eq for Digest<K> {}

impl<K> fmt::Debug for Digest<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(secret: &str) -> Presented<ClientSecret> {
        Presented::new(secret)
    }

    #[test]
    fn a_digest_matches_its_secret_and_no_other() {
        let kept = shown("correct").digest();
        assert!(kept.matches(&shown("correct")));
        for other in ["", "correc", "correct ", "Correct"] {
            assert!(!kept.matches(&shown(other)), "{other:?}");
        }
        assert_eq!(kept, shown("correct").digest());
        assert_ne!(kept, shown("other").digest());
    }

    /// FIPS 180-4, the one-block example.
    #[test]
    fn a_digest_is_sha_256_in_standard_base64() {
        let kept = shown("abc").digest();
        assert_eq!(kept.to_base64(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        assert_eq!(Digest::from_base64(&kept.to_base64()), Ok(kept));
        assert_eq!(Digest::try_from(kept.as_bytes().as_slice()), Ok(kept));
        assert_eq!(Digest::from_bytes(*kept.as_bytes()), kept);
    }

    #[test]
    fn what_is_not_32_bytes_is_no_digest() {
        for text in [
            "",
            "abc",
            "YWJj",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=",
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
        ] {
            assert_eq!(Digest::<ClientSecret>::from_base64(text), Err(NotADigest), "{text:?}");
        }
        for length in [0, 31, 33] {
            assert_eq!(Digest::<ClientSecret>::try_from(vec![0; length].as_slice()), Err(NotADigest), "{length}");
        }
    }

    #[test]
    fn debugging_shows_neither_secret_nor_digest() {
        assert_eq!(format!("{:?}", shown("hush")), "Presented(…)");
        assert_eq!(format!("{:?}", shown("hush").digest()), "Digest(…)");
    }

    #[test]
    fn secrets_cross_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Presented<std::rc::Rc<()>>>();
        crosses::<Digest<std::rc::Rc<()>>>();
    }
}
