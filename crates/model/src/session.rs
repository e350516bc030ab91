use std::time::Duration;

use oauth::secret::Digest;

use crate::{SessionId, Timestamp, UserId};

/// Marks the secret in the browser's cookie: the credential of an [`IdentitySession`].
pub enum SessionCookie {}

/// The browser's single-sign-on login at `/id`. Its id is public (`sid`); the cookie carries a separate secret.
#[derive(Clone, Debug)]
pub struct IdentitySession {
    pub id: SessionId,
    pub secret: Digest<SessionCookie>,
    pub user: UserId,
    /// When the person last proved who they are; the `auth_time` claim.
    pub auth_time: Timestamp,
    /// RFC 8176.
    pub amr: Vec<String>,
    pub created_at: Timestamp,
    pub last_seen: Timestamp,
    /// The user's epoch at sign-in: a new password or a disabled user ends the session.
    pub user_epoch: i64,
}

/// How long a sign-in lasts.
#[derive(Clone, Copy, Debug)]
pub struct SessionLifetimes {
    pub absolute: Duration,
    pub idle: Duration,
}

impl IdentitySession {
    pub fn is_live(&self, now: Timestamp, lifetimes: SessionLifetimes) -> bool {
        now < self.created_at.plus(lifetimes.absolute) && now < self.last_seen.plus(lifetimes.idle)
    }
}

#[cfg(test)]
mod tests {
    use oauth::secret::Presented;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_sign_in_ends_after_its_idle_and_its_absolute_time() {
        let at = Timestamp::from_seconds;
        let lifetimes = SessionLifetimes { absolute: Duration::from_secs(100), idle: Duration::from_secs(20) };
        let session = |last_seen| IdentitySession {
            id: SessionId(Uuid::nil()),
            secret: Presented::<SessionCookie>::new("x").digest(),
            user: UserId(Uuid::nil()),
            auth_time: at(0),
            amr: vec!["pwd".into()],
            created_at: at(0),
            last_seen: at(last_seen),
            user_epoch: 0,
        };
        assert!(session(0).is_live(at(19), lifetimes));
        assert!(!session(0).is_live(at(20), lifetimes), "idle");
        assert!(session(90).is_live(at(99), lifetimes));
        assert!(!session(90).is_live(at(100), lifetimes), "absolute");
    }
}
