use std::time::Duration;

use oauth::secret::Digest;

use crate::why::{Details, Refusal, when};
use crate::{SessionId, Timestamp, UserId, UserType};

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

/// Why nobody was signed in, for the audit. The person hears one text for all but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInRefusal {
    UnknownUser,
    WrongPassword,
    UserDisabled {
        since: Timestamp,
    },
    /// Nobody signs in as a user of this kind.
    NotForSignIn(UserType),
    /// Through this application, by a password alone.
    NotAdmitted(UserType),
    /// A password alone is not enough for this user, and no more can be shown where it was.
    SecondFactor,
    /// Too many wrong passwords lately: wait this long.
    Throttled(Duration),
}

impl Refusal for SignInRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::UserDisabled { .. } => "user_disabled",
            Self::NotForSignIn(_) => "user_may_not_sign_in",
            Self::NotAdmitted(_) => "user_type_not_admitted",
            Self::SecondFactor => "second_factor",
            Self::Throttled(_) => "throttled",
        }
    }

    fn details(&self) -> Details {
        const SIGNING_IN: &str = "docs/tokens.md, Signing in";
        match self {
            // What was typed may be a password in the wrong field.
            Self::UnknownUser => Details::new("the login is that of a user", SIGNING_IN),
            Self::WrongPassword => Details::new("the password is the user's", SIGNING_IN),
            Self::UserDisabled { since } => {
                Details::new("the user is enabled", SIGNING_IN).expected("user disabled or changed last", when(*since))
            }
            Self::NotForSignIn(user_type) => {
                Details::new("people sign in as this kind of user", SIGNING_IN).sent("user type", user_type.as_str())
            }
            Self::NotAdmitted(user_type) => {
                Details::new("the application admits this kind of user", "ImpersonateAs…Allowed of its record")
                    .sent("user type", user_type.as_str())
            }
            Self::SecondFactor => Details::new("the user has no second factor", "docs/api.md, Old clients"),
            Self::Throttled(wait) => Details::new("few wrong passwords came from here lately", SIGNING_IN)
                .expected("seconds to wait", wait.as_secs() + 1),
        }
    }
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
