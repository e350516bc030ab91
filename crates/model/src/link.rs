//! One-time links, sent to a user or shown to an administrator, that permit one action without a sign-in. Possession of
//! the link is the only proof, so a link is short-lived, stored as a digest, and invalidated with the user's epoch.

use std::time::Duration;

use oauth::secret::Presented;

use crate::RootUrl;
use crate::refusal::{Refusal, RefusalDetails};

/// Marks the one-time code in a link.
pub enum LinkCode {}

/// Password-reset links that one user may have live at once. Further requests create none, so that a mailbox cannot be
/// flooded. Existing links keep working, so that the user is not shut out.
pub const MAX_RESETS: u32 = 3;

/// The purpose of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPurpose {
    /// A new user chooses the first password.
    SetUp,
    /// A user who forgot the password chooses a new one.
    PasswordReset,
    /// Makes a browser known for a login whose guesses unauthenticated clients have spent. It opens nothing else.
    KnownBrowser,
}

impl LinkPurpose {
    const ALL: [Self; 3] = [Self::SetUp, Self::PasswordReset, Self::KnownBrowser];

    pub const fn sets_password(self) -> bool {
        matches!(self, Self::SetUp | Self::PasswordReset)
    }

    pub const fn kind(self) -> &'static str {
        match self {
            Self::SetUp => "set-up",
            Self::PasswordReset => "password-reset",
            Self::KnownBrowser => "known-browser",
        }
    }

    /// Parses the text that [`Self::kind`] writes.
    pub fn read(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.kind() == kind)
    }

    /// The page that accepts the link, below the issuer.
    pub const fn page(self) -> &'static str {
        match self {
            Self::SetUp => "/account/set-up",
            Self::PasswordReset => "/account/reset-password",
            Self::KnownBrowser => "/account/known-browser",
        }
    }

    pub fn url(self, root: &RootUrl, code: &Presented<LinkCode>) -> String {
        format!("{}{}?code={}", root.issuer(), self.page(), code.expose())
    }
}

/// Lifetime of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLifetime {
    /// For a link that the user requested a moment ago.
    Asked,
    /// For a link that an administrator hands over.
    HandedOver,
    /// For a link that waits in a mailbox.
    Invitation,
}

impl LinkLifetime {
    pub const fn span(self) -> Duration {
        match self {
            Self::Asked => Duration::from_hours(1),
            Self::HandedOver => Duration::from_hours(24),
            Self::Invitation => Duration::from_hours(7 * 24),
        }
    }

    /// The lifetime as messages state it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Asked => "one hour",
            Self::HandedOver => "24 hours",
            Self::Invitation => "7 days",
        }
    }
}

/// A link that had no effect: unknown, used, expired, or its user changed meanwhile.
pub struct DeadLink;

impl Refusal for DeadLink {
    fn cause(&self) -> &'static str {
        "link_spent"
    }

    fn details(&self) -> RefusalDetails {
        RefusalDetails::new("the link is unused and not expired, and the user was not changed since", "docs/tokens.md")
    }
}

/// Why no password-reset mail was sent. The caller learns only of a throttle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetNotSent {
    /// Too many requests. The duration is the wait.
    Throttled(Duration),
    TooManyQuestions,
    /// Neither login nor address belongs to a user.
    UnknownUser,
    UserMayNotSignIn,
    NoAddress,
    NoMail,
    /// This many links are live already.
    LinksStillLive(u32),
    /// The user changed while the request was being processed.
    UserChanged,
}

impl Refusal for ResetNotSent {
    fn cause(&self) -> &'static str {
        match self {
            Self::Throttled(_) => "throttled",
            Self::TooManyQuestions => "too_many_questions",
            Self::UnknownUser => "unknown_user",
            Self::UserMayNotSignIn => "user_may_not_sign_in",
            Self::NoAddress => "no_address",
            Self::NoMail => "no_mail",
            Self::LinksStillLive(_) => "links_still_live",
            Self::UserChanged => "user_changed",
        }
    }

    fn details(&self) -> RefusalDetails {
        const MAIL: &str = "docs/configuration.md, mail";
        const SIGNING_IN: &str = "docs/tokens.md, Signing in";
        match self {
            Self::Throttled(wait) => {
                RefusalDetails::new("there were few recent requests from this network", SIGNING_IN)
                    .expected("seconds to wait", wait.as_secs() + 1)
            }
            Self::TooManyQuestions => {
                RefusalDetails::new("the limit of pending reset requests is not reached", SIGNING_IN)
            }
            Self::UnknownUser => RefusalDetails::new("the login or e-mail address belongs to a user", SIGNING_IN),
            Self::UserMayNotSignIn => RefusalDetails::new("the user is enabled and can sign in", SIGNING_IN),
            Self::NoAddress => RefusalDetails::new("the user has a valid e-mail address", MAIL),
            Self::NoMail => RefusalDetails::new("e-mail is configured", MAIL),
            Self::LinksStillLive(most) => RefusalDetails::new("the user has few active links", SIGNING_IN)
                .expected("live links", format!("below {most}")),
            Self::UserChanged => RefusalDetails::new("the user was not changed during the request", SIGNING_IN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_reads_back_as_written_and_nothing_else_does() {
        for purpose in LinkPurpose::ALL {
            assert_eq!(LinkPurpose::read(purpose.kind()), Some(purpose));
        }
        assert_eq!(LinkPurpose::read(""), None);
    }

    #[test]
    fn a_link_leads_to_the_page_of_its_purpose() {
        let root = RootUrl::parse("https://erp.example.com").expect("a root");
        let url = LinkPurpose::PasswordReset.url(&root, &Presented::new("abc"));
        assert_eq!(url, "https://erp.example.com/id/account/reset-password?code=abc");
    }
}
