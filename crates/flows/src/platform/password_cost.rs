//! Cost of hashing a password.

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use model::user::PasswordHash;

/// Argon2id parameters: memory in KiB and passes, in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    memory_kib: u32,
    passes: u32,
}

impl PasswordCost {
    /// OWASP Password Storage Cheat Sheet: 19 MiB, two passes.
    pub const OWASP: Self = Self { memory_kib: 19 * 1024, passes: 2 };
    /// The minimum that Argon2 allows. For tests only: it protects nothing.
    pub const LEAST: Self = Self { memory_kib: Params::MIN_M_COST, passes: Params::MIN_T_COST };

    pub(crate) fn argon2(self) -> Argon2<'static> {
        let params = Params::new(self.memory_kib, self.passes, 1, None);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params.expect("the parameters are within Argon2's limits"))
    }

    pub(crate) fn hash(self, password: &[u8], salt: &[u8; 16]) -> PasswordHash {
        let hash = self.argon2().hash_password_with_salt(password, salt).expect("a 16-byte salt fits");
        PasswordHash::of_nfc(hash.to_string())
    }

    /// Costs as much to compare as any other hash. It is written as text instead of computed, because a start should
    /// not spend 19 MiB on it.
    pub(crate) fn dummy_hash(self) -> PasswordHash {
        PasswordHash::of_nfc(format!("{}{}${}", self.prefix(), "A".repeat(22), "A".repeat(43)))
    }

    pub(crate) fn is_of(self, kept: &PasswordHash) -> bool {
        kept.as_phc().starts_with(&self.prefix())
    }

    pub(crate) fn prefix(self) -> String {
        format!("$argon2id$v=19$m={},t={},p=1$", self.memory_kib, self.passes)
    }
}
