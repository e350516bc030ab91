//! Passwords that were right a moment ago, so that a client that sends one with every call does not cost an Argon2 each
//! time.
//!
//! Each entry is an HMAC over application, login and password, under a random key of this process.
//! It leads to the user and the epoch at which the password was right. This weakens nothing: every caller is throttled
//! before the lookup, and a password that is not found is compared and counted as on the sign-in page, so no guess
//! costs less. A new password and a disabled user raise the epoch, which is checked every time. An entry is valid for
//! five minutes, and then costs one more comparison. The first calls of one client often arrive side by side: they
//! share one comparison, instead of counting as that many guesses.

use std::time::Duration;

use aws_lc_rs::hmac;
use model::seat::FUTURE;
use model::user::PasswordCredentials;
use model::{ApplicationId, Timestamp, User, UserId};
use quick_cache::sync::Cache;

use crate::{Answer, Fault};

/// How long a password stays known.
const KNOWN_FOR: Duration = Duration::from_mins(5);

const MAX_KNOWN: usize = 10_000;

/// Key of an entry. It reveals nothing without the HMAC key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PasswordTag([u8; 32]);

/// The user whose password was right, and the epoch at that time.
#[derive(Clone, Copy)]
pub(crate) struct KnownPassword {
    pub(crate) user: UserId,
    pub(crate) epoch: i64,
    at: Timestamp,
}

pub(crate) struct KnownPasswords {
    key: hmac::Key,
    known: Cache<PasswordTag, KnownPassword>,
}

/// A comparison that ended without a user.
enum Unproven<R> {
    Away(R),
    Fault(Fault),
}

impl KnownPasswords {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), known: Cache::new(MAX_KNOWN) }
    }

    pub(crate) fn tag(&self, application: ApplicationId, credentials: PasswordCredentials<'_>) -> PasswordTag {
        let PasswordCredentials { login, password } = credentials;
        let login = login.trim().to_ascii_lowercase();
        let mut context = hmac::Context::with_key(&self.key);
        for part in [application.0.as_bytes().as_slice(), login.as_bytes(), password.expose().as_bytes()] {
            // Prefixes every part with its length, so that two different lists of parts never read the same.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        PasswordTag(context.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes"))
    }

    pub(crate) fn get(&self, tag: PasswordTag, now: Timestamp) -> Option<KnownPassword> {
        self.known.get(&tag).filter(|known| known.is_fresh(now))
    }

    /// Runs `proving` once for all concurrent callers. Only a right password is kept.
    pub(crate) async fn learn<R>(
        &self,
        tag: PasswordTag,
        now: Timestamp,
        proving: impl Future<Output = Answer<User, R>>,
    ) -> Answer<KnownPassword, R> {
        self.known.remove_if(&tag, |known| !known.is_fresh(now));
        let proving = async {
            match proving.await {
                Ok(Ok(user)) => Ok(KnownPassword { user: user.id, epoch: user.epoch, at: now }),
                Ok(Err(away)) => Err(Unproven::Away(away)),
                Err(fault) => Err(Unproven::Fault(fault)),
            }
        };
        match self.known.get_or_insert_async(&tag, proving).await {
            Ok(known) => Ok(Ok(known)),
            Err(Unproven::Away(away)) => Ok(Err(away)),
            Err(Unproven::Fault(fault)) => Err(fault),
        }
    }

    pub(crate) fn forget_tag(&self, tag: PasswordTag) {
        self.known.remove(&tag);
    }

    pub(crate) fn forget(&self, user: UserId) {
        self.known.retain(|_, known| known.user != user);
    }
}

impl KnownPassword {
    /// A clock that was set back also makes the entry stale. Concurrent calls read the clock one after another, so a
    /// small difference is allowed.
    fn is_fresh(self, now: Timestamp) -> bool {
        now.since(self.at) < KNOWN_FOR && self.at.since(now) < FUTURE
    }
}

#[cfg(test)]
mod tests {
    use oauth::secret::Presented;
    use uuid::Uuid;

    use super::*;

    fn tag(passwords: &KnownPasswords, application: u128, login: &str, password: &str) -> PasswordTag {
        let credentials = PasswordCredentials { login, password: &Presented::new(password) };
        passwords.tag(ApplicationId(Uuid::from_u128(application)), credentials)
    }

    #[test]
    fn a_tag_is_of_one_application_login_and_password_under_one_key() {
        let passwords = KnownPasswords::new(&[1; 32]);
        let known = tag(&passwords, 1, "alice", "secret");
        assert!(known == tag(&passwords, 1, "Alice", "secret"), "logins have no case");
        assert!(known == tag(&passwords, 1, "\u{a0}alice ", "secret"), "nor blanks at their ends");
        assert!(known != tag(&passwords, 1, "alice", "secret "), "passwords may have them");
        for other in [
            tag(&passwords, 2, "alice", "secret"),
            tag(&passwords, 1, "alices", "ecret"),
            tag(&passwords, 1, "alice", "Secret"),
            tag(&KnownPasswords::new(&[2; 32]), 1, "alice", "secret"),
        ] {
            assert!(known != other);
        }
    }

    #[test]
    fn an_entry_is_good_for_five_minutes_of_a_clock_that_goes_forwards() {
        let at = Timestamp::from_seconds(1000);
        let known = KnownPassword { user: UserId(Uuid::nil()), epoch: 0, at };
        assert!(known.is_fresh(at) && known.is_fresh(at.plus(Duration::from_secs(299))));
        assert!(known.is_fresh(at.minus(Duration::from_millis(5))), "side by side");
        assert!(!known.is_fresh(at.plus(KNOWN_FOR)));
        assert!(!known.is_fresh(at.minus(FUTURE)));
    }
}
