//! One-time links: what a person is sent, or an administrator is shown, so that something can be done once without a
//! sign-in. Whoever holds the link is believed, so it is short-lived, kept as a digest, and dies with its user's epoch.

use std::time::Duration;

use oauth::secret::Presented;

use crate::RootUrl;
use crate::mail::EmailAddress;

/// Marks the one-time value in a link.
pub enum LinkCode {}

/// How many password-reset links of one person live at once: more are not made, so that nobody's mailbox is flooded. The
/// ones that live go on working, so nobody is shut out.
pub const MOST_RESETS: u64 = 3;

/// What a link is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkPurpose {
    /// A new person chooses a first password.
    SetUp,
    /// Somebody who forgot a password chooses a new one.
    PasswordReset,
    /// The address becomes the user's, because whoever reads its mail used the link.
    EmailConfirmation(EmailAddress),
}

impl LinkPurpose {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SetUp => "set-up",
            Self::PasswordReset => "password-reset",
            Self::EmailConfirmation(_) => "email-confirmation",
        }
    }

    pub const fn address(&self) -> Option<&EmailAddress> {
        match self {
            Self::SetUp | Self::PasswordReset => None,
            Self::EmailConfirmation(address) => Some(address),
        }
    }

    /// What [`Self::kind`] and [`Self::address`] were.
    pub fn read(kind: &str, address: Option<&str>) -> Option<Self> {
        match (kind, address) {
            ("set-up", None) => Some(Self::SetUp),
            ("password-reset", None) => Some(Self::PasswordReset),
            ("email-confirmation", Some(address)) => EmailAddress::parse(address).map(Self::EmailConfirmation),
            _ => None,
        }
    }

    pub const fn sets_password(&self) -> bool {
        matches!(self, Self::SetUp | Self::PasswordReset)
    }

    /// Where it is used, below the issuer.
    pub const fn page(&self) -> &'static str {
        match self {
            Self::SetUp => "/account/set-up",
            Self::PasswordReset => "/account/reset-password",
            Self::EmailConfirmation(_) => "/account/confirm-email",
        }
    }

    pub fn url(&self, root: &RootUrl, code: &Presented<LinkCode>) -> String {
        format!("{}{}?code={}", root.issuer(), self.page(), code.expose())
    }
}

/// How long a link is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLife {
    /// One that a person asked for a moment ago.
    Asked,
    /// One that an administrator hands over.
    HandedOver,
    /// One that waits in somebody's mailbox.
    Invitation,
}

impl LinkLife {
    pub const fn span(self) -> Duration {
        match self {
            Self::Asked => Duration::from_hours(1),
            Self::HandedOver => Duration::from_hours(24),
            Self::Invitation => Duration::from_hours(7 * 24),
        }
    }

    /// As it is told to people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Asked => "one hour",
            Self::HandedOver => "24 hours",
            Self::Invitation => "7 days",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_reads_back_as_written_and_nothing_else_does() {
        let address = EmailAddress::parse("eve@example.com").expect("an address");
        for purpose in [LinkPurpose::SetUp, LinkPurpose::PasswordReset, LinkPurpose::EmailConfirmation(address)] {
            let address = purpose.address().map(EmailAddress::as_str);
            assert_eq!(LinkPurpose::read(purpose.kind(), address), Some(purpose.clone()));
        }
        for (kind, address) in [
            ("set-up", Some("eve@example.com")),
            ("email-confirmation", None),
            ("email-confirmation", Some("eve")),
            ("", None),
        ] {
            assert_eq!(LinkPurpose::read(kind, address), None, "{kind} {address:?}");
        }
    }

    #[test]
    fn a_link_leads_to_the_page_of_its_purpose() {
        let root = RootUrl::parse("https://erp.example.com").expect("a root");
        let url = LinkPurpose::PasswordReset.url(&root, &Presented::new("abc"));
        assert_eq!(url, "https://erp.example.com/id/account/reset-password?code=abc");
    }
}
