use std::time::Duration;

use oauth::secret::Digest;

use crate::refusal::{Refusal, RefusalDetails, when};
use crate::throttle::Throttled;
use crate::{SessionId, Timestamp, UserId, UserType};

/// Marks the secret in the browser's cookie: the credential of an [`IdentitySession`].
pub enum SessionCookie {}

/// Marks the random value that binds forms and pending requests to a browser.
pub enum FormCookie {}

/// The browser's single-sign-on login at `/id`. Its id is public (`sid`); the cookie carries a separate secret.
#[derive(Clone, Debug)]
pub struct IdentitySession {
    pub id: SessionId,
    pub secret: Digest<SessionCookie>,
    pub user: UserId,
    /// When the user last authenticated: the `auth_time` claim.
    pub auth_time: Timestamp,
    /// Authentication methods (RFC 8176).
    pub amr: Vec<String>,
    pub created_at: Timestamp,
    pub last_seen: Timestamp,
    /// The user's epoch at sign-in. A new password or disabling the user raises it and so ends the session.
    pub user_epoch: i64,
}

/// Sensitive changes require a sign-in at most this old: new tokens, second factors, administrative changes.
pub const RECENT_SIGN_IN: Duration = Duration::from_mins(10);

/// A sign-in older than [`RECENT_SIGN_IN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInTooOld {
    pub signed_in: Timestamp,
}

impl SignInTooOld {
    /// Compares whole seconds, the unit of `auth_time` in tokens, so that a sign-in that `max_age` accepted is not
    /// refused afterwards.
    pub fn check(signed_in: Timestamp, now: Timestamp) -> Result<(), Self> {
        let recent = now.seconds() <= signed_in.plus(RECENT_SIGN_IN).seconds();
        if recent { Ok(()) } else { Err(Self { signed_in }) }
    }
}

impl Refusal for SignInTooOld {
    fn cause(&self) -> &'static str {
        "sign_in_too_old"
    }

    fn details(&self) -> RefusalDetails {
        RefusalDetails::new("the sign-in is recent", "docs/admin-api.md, Recent sign-in; RFC 9470")
            .sent("signed in", when(self.signed_in))
            .expected("seconds, at most", RECENT_SIGN_IN.as_secs())
    }
}

/// Why a sign-in failed, for the audit. The user sees one text for all but the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInRefusal {
    UnknownUser,
    WrongPassword,
    UserDisabled {
        since: Timestamp,
    },
    /// Users of this type cannot sign in.
    NotForSignIn(UserType),
    /// The application does not admit users of this type by a password alone.
    NotAdmitted(UserType),
    /// The user needs a second factor, and the password was given where no second factor can be shown.
    SecondFactor,
    /// Too many recent wrong passwords. The duration is the wait.
    Throttled(Duration),
    /// Unauthenticated clients have used up the guesses at the account. For this long, only known browsers may try.
    GuessesSpent(Duration),
}

impl SignInRefusal {
    pub const fn held(held: Throttled) -> Self {
        if held.is_spent { Self::GuessesSpent(held.wait) } else { Self::Throttled(held.wait) }
    }

    /// The wait, if throttling is the only reason.
    pub const fn wait(&self) -> Option<Duration> {
        match self {
            Self::Throttled(wait) | Self::GuessesSpent(wait) => Some(*wait),
            _ => None,
        }
    }
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
            Self::GuessesSpent(_) => "guesses_spent",
        }
    }

    fn details(&self) -> RefusalDetails {
        const SIGNING_IN: &str = "docs/tokens.md, Signing in";
        match self {
            // The text is not recorded: it may be a password typed into the wrong field.
            Self::UnknownUser => RefusalDetails::new("the login exists", SIGNING_IN),
            Self::WrongPassword => RefusalDetails::new("the password is correct", SIGNING_IN),
            Self::UserDisabled { since } => RefusalDetails::new("the user is enabled", SIGNING_IN)
                .expected("user last disabled or changed", when(*since)),
            Self::NotForSignIn(user_type) => {
                RefusalDetails::new("users of this type can sign in", SIGNING_IN).sent("user type", user_type.as_str())
            }
            Self::NotAdmitted(user_type) => {
                RefusalDetails::new("the application allows users of this type", "ImpersonateAs…Allowed of its record")
                    .sent("user type", user_type.as_str())
            }
            Self::SecondFactor => RefusalDetails::new("the user has no second factor", "docs/api.md, Old clients"),
            Self::Throttled(wait) => {
                RefusalDetails::new("there were few recent wrong passwords from this network", SIGNING_IN)
                    .expected("seconds to wait", wait.as_secs() + 1)
            }
            Self::GuessesSpent(wait) => RefusalDetails::new(
                "the limit of wrong passwords from unknown browsers is not reached",
                "docs/operating.md, Guessed passwords",
            )
            .expected("seconds to wait", wait.as_secs() + 1),
        }
    }
}

/// Lifetimes of a sign-in.
#[derive(Clone, Copy, Debug)]
pub struct SessionLifetimes {
    pub absolute: Duration,
    pub idle: Duration,
}

impl IdentitySession {
    pub fn is_live(&self, now: Timestamp, lifetimes: SessionLifetimes) -> bool {
        now < self.created_at.plus(lifetimes.absolute) && now < self.last_seen.plus(lifetimes.idle)
    }

    /// Whether the user authenticated recently.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        SignInTooOld::check(self.auth_time, now).is_ok()
    }

    /// Whether the user also proved a second factor recently: `mfa` of [`crate::two_step::AuthenticationMethod::amr`].
    pub fn is_recent_with_second_factor(&self, now: Timestamp) -> bool {
        self.is_recent(now) && self.amr.iter().any(|method| method == "mfa")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_sign_in_is_recent_for_ten_minutes() {
        let (signed_in, second) = (Timestamp(10_900_000), 1_000_000);
        for (later, recent) in [(0, true), (600 * second, true), (600 * second + 99_999, true), (601 * second, false)] {
            let checked = SignInTooOld::check(signed_in, Timestamp(signed_in.0 + later));
            assert_eq!(checked.is_ok(), recent, "{later}");
        }
    }

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
