//! Changes of a user's e-mail address. The new address must confirm, because it may be mistyped or belong to another
//! person. The old address must confirm too, because the person at the browser may not be the user.

use std::time::Duration;

use oauth::secret::{Digest, Presented};

use crate::link::{LinkCode, LinkLifetime};
use crate::mail::EmailAddress;
use crate::refusal::{Refusal, RefusalDetails};
use crate::{RootUrl, Timestamp, User, UserId};

/// How long both addresses have to answer.
pub const ANSWER_LIFE: LinkLifetime = LinkLifetime::HandedOver;

/// Messages per day that one account may send to addresses not yet its own. Without the limit, a signed-in user could
/// send mail to anyone in Gatehouse's name. Days are in UTC.
pub const MAX_NEW_ADDRESSES: u32 = 10;

/// Time until the daily count of messages to new addresses is reset.
pub fn until_midnight(now: Timestamp) -> Duration {
    const DAY: i64 = 86_400;
    Duration::from_secs((DAY - now.seconds().rem_euclid(DAY)).unsigned_abs())
}

/// The page where an address answers.
pub fn answer_url(root: &RootUrl, code: &Presented<LinkCode>) -> String {
    format!("{}/account/confirm-email?code={}", root.issuer(), code.expose())
}

/// The address that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSide {
    Old,
    New,
}

impl AddressSide {
    /// For the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// A pending change, one per user: a new request replaces the previous one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailChange {
    pub user: UserId,
    /// The user's epoch at the request. A later epoch invalidates the change.
    pub user_epoch: i64,
    /// The address at the time of the request. The change applies only while the user still has it.
    pub old: Option<String>,
    pub new: EmailAddress,
    /// The code for the old address; `None` once it has agreed, or if its consent is not required.
    pub old_code: Option<Digest<LinkCode>>,
    /// The code for the new address; `None` once it has agreed.
    pub new_code: Option<Digest<LinkCode>>,
    pub expires_at: Timestamp,
}

impl EmailChange {
    /// Whether the change still applies to the user's current state.
    pub fn stands(&self, user: &User, now: Timestamp) -> bool {
        let old = user.email.as_ref().map(|email| email.address.as_str());
        now < self.expires_at
            && user.may_sign_in()
            && self.user == user.id
            && self.user_epoch == user.epoch
            && self.old.as_deref() == old
    }

    /// The address that this code belongs to.
    pub fn side(&self, code: &Digest<LinkCode>) -> Option<AddressSide> {
        if self.old_code.as_ref() == Some(code) {
            Some(AddressSide::Old)
        } else if self.new_code.as_ref() == Some(code) {
            Some(AddressSide::New)
        } else {
            None
        }
    }

    /// The change that remains after this side has agreed. `None` if both have agreed and the address can be changed.
    #[must_use]
    pub fn agreed(&self, side: AddressSide) -> Option<Self> {
        let next = match side {
            AddressSide::Old => Self { old_code: None, ..self.clone() },
            AddressSide::New => Self { new_code: None, ..self.clone() },
        };
        (next.old_code.is_some() || next.new_code.is_some()).then_some(next)
    }
}

/// The current address, which must agree to its replacement: the one that mail reaches, unless it equals the new one.
pub fn asked_besides(user: &User, new: &EmailAddress) -> Option<EmailAddress> {
    user.mailbox().filter(|old| old.folded() != new.folded())
}

/// Why no confirmation was requested for another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailRefusal {
    NotAnAddress,
    /// It is the user's address already, and confirmed.
    Known,
    /// The sign-in is too old.
    NotLately,
    /// Too many requests. The duration is the wait.
    Throttled(Duration),
    /// [`MAX_NEW_ADDRESSES`] messages were sent to new addresses today. The duration is the time until tomorrow.
    TooManyToday(Duration),
    /// Gatehouse sends no mail. An administrator changes the address.
    NoMail,
    /// Pushes items of `key` until the queue refuses one. Returns the number accepted.
    Overtaken,
}

impl Refusal for EmailRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::NotAnAddress => "not_an_address",
            Self::Known => "known_address",
            Self::NotLately => "signed_in_too_long_ago",
            Self::Throttled(_) => "throttled",
            Self::TooManyToday(_) => "too_many_letters_today",
            Self::NoMail => "no_mail",
            Self::Overtaken => "overtaken",
        }
    }

    fn details(&self) -> RefusalDetails {
        const EMAIL: &str = "docs/profile.md, E-mail address";
        match self {
            Self::NotAnAddress => RefusalDetails::new("the e-mail address is valid", EMAIL),
            Self::Known => RefusalDetails::new("the address differs from the current one", EMAIL),
            Self::NotLately => RefusalDetails::new("the user signed in recently", EMAIL),
            Self::Throttled(wait) => RefusalDetails::new("there were few recent requests", EMAIL)
                .expected("seconds to wait", wait.as_secs() + 1),
            Self::TooManyToday(wait) => {
                RefusalDetails::new("the daily limit of confirmation e-mails is not reached", EMAIL)
                    .expected("e-mails per day", MAX_NEW_ADDRESSES)
                    .expected("seconds to wait", wait.as_secs())
            }
            Self::NoMail => RefusalDetails::new("e-mail is configured", "docs/configuration.md, mail"),
            Self::Overtaken => RefusalDetails::new("the sign-in and the account were not changed", EMAIL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::tests::user as anybody;
    use crate::{Email, UserType};

    fn user() -> User {
        anybody(UserType::Internal)
    }

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).expect("an address")
    }

    fn code(text: &str) -> Digest<LinkCode> {
        Presented::new(text).digest()
    }

    fn known_by(text: Option<&str>) -> User {
        User { email: text.map(|text| Email { address: text.to_owned(), verified: true }), ..user() }
    }

    fn change() -> EmailChange {
        EmailChange {
            user: user().id,
            user_epoch: user().epoch,
            old: Some("old@example.com".to_owned()),
            new: address("new@example.com"),
            old_code: Some(code("old")),
            new_code: Some(code("new")),
            expires_at: Timestamp(10),
        }
    }

    #[test]
    fn the_address_changes_when_both_have_agreed_in_any_order() {
        let asked = change();
        assert_eq!(
            (asked.side(&code("old")), asked.side(&code("new"))),
            (Some(AddressSide::Old), Some(AddressSide::New))
        );
        assert_eq!(asked.side(&code("other")), None);
        for (first, second) in [(AddressSide::Old, AddressSide::New), (AddressSide::New, AddressSide::Old)] {
            let waiting = asked.agreed(first).expect("the other has not answered");
            assert_eq!(waiting.agreed(first), Some(waiting.clone()), "no side answers for the other");
            assert_eq!(waiting.agreed(second), None);
        }
        let old_is_not_asked = EmailChange { old_code: None, ..asked };
        assert_eq!(old_is_not_asked.agreed(AddressSide::New), None);
    }

    #[test]
    fn a_change_is_about_the_user_as_they_were() {
        let (change, now) = (change(), Timestamp(9));
        let alice = known_by(Some("old@example.com"));
        assert!(change.stands(&alice, now));
        assert!(!change.stands(&alice, Timestamp(10)), "expired");
        assert!(!change.stands(&known_by(Some("third@example.com")), now));
        assert!(!change.stands(&known_by(None), now));
        assert!(!change.stands(&User { epoch: alice.epoch + 1, ..alice.clone() }, now));
        assert!(!change.stands(&User { enabled: false, ..alice.clone() }, now));
        assert!(!change.stands(&User { id: UserId(uuid::Uuid::from_u128(99)), ..alice }, now));
    }

    #[test]
    fn the_old_address_is_asked_where_there_is_one_that_mail_reaches() {
        let asked = |old, new| asked_besides(&known_by(old), &address(new)).map(|old| old.to_string());
        assert_eq!(asked(Some("old@example.com"), "new@example.com").as_deref(), Some("old@example.com"));
        assert_eq!(asked(Some("Old@Example.com"), "old@example.com"), None, "the same mailbox");
        assert_eq!(asked(Some("by the door"), "new@example.com"), None);
        assert_eq!(asked(None, "new@example.com"), None);
    }
}
