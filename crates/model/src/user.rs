use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::Permissions;
use crate::session::SignInRefusal;
use crate::{Timestamp, UserId};

/// `identity.md` §1: what kind of user this is decides how it may sign in and what its tokens open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserType {
    #[serde(rename = "InternalUser")]
    Internal,
    /// Identifies itself to applications; never reaches the APIs.
    #[serde(rename = "ExternalCommunityUser")]
    ExternalCommunity,
    /// Whom applications act as; nobody signs in as it.
    #[serde(rename = "SystemUserNoLogin")]
    SystemNoLogin,
}

impl UserType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "InternalUser",
            Self::ExternalCommunity => "ExternalCommunityUser",
            Self::SystemNoLogin => "SystemUserNoLogin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Internal, Self::ExternalCommunity, Self::SystemNoLogin].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The name a person signs in with, and the `sub` of their tokens: 1–128 printable ASCII characters,
/// compared case-insensitively, never given to another user again.
#[derive(Clone, Debug)]
pub struct Login(String);

impl Login {
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| (0x20..=0x7e).contains(&b));
        (fits && text.trim() == text).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which logins are compared and kept unique.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Login {}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The resource owner, or the System User an application acts as.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub login: Login,
    pub user_type: UserType,
    pub is_admin: bool,
    pub enabled: bool,
    pub name: String,
    pub email: Option<Email>,
    /// BCP 47.
    pub locale: Option<String>,
    /// What the user's roles allow on the APIs.
    pub permissions: Permissions,
    /// Raised by everything that must kill the user's tokens: disabling, a new password.
    pub epoch: i64,
    /// An authenticator app or a passkey: a password alone does not sign this person in.
    pub has_second_factor: bool,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    pub address: String,
    pub verified: bool,
}

/// A user that is enabled and whom an application may act as or sign in: only [`User::active`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct ActiveUser<'a>(&'a User);

impl User {
    pub fn active(&self) -> Option<ActiveUser<'_>> {
        self.enabled.then_some(ActiveUser(self))
    }

    /// Nobody signs in as a System User, nor as somebody disabled.
    pub fn may_sign_in(&self) -> bool {
        self.check_sign_in().is_ok()
    }

    /// The same, with the reason.
    pub fn check_sign_in(&self) -> Result<(), SignInRefusal> {
        match self.user_type {
            _ if !self.enabled => Err(SignInRefusal::UserDisabled { since: self.updated_at }),
            UserType::SystemNoLogin => Err(SignInRefusal::NotForSignIn(self.user_type)),
            UserType::Internal | UserType::ExternalCommunity => Ok(()),
        }
    }
}

impl<'a> ActiveUser<'a> {
    pub fn get(self) -> &'a User {
        self.0
    }
}

/// Proof that whoever asks may administer the instance: only a sign-in check, or the operator's master key, makes one.
#[derive(Clone, Debug)]
pub struct Administrator {
    actor: String,
}

impl Administrator {
    /// The command line of the installation's operator.
    pub fn operator() -> Self {
        Self { actor: "operator".to_owned() }
    }

    /// Who the audit says it was.
    pub fn actor(&self) -> &str {
        &self.actor
    }
}

/// A password hash in PHC string format; never printed.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub fn new(phc: String) -> Self {
        Self(phc)
    }

    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Marks a password as a person typed it: `oauth::secret::Presented<Password>`.
pub enum Password {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_printable_ascii_of_1_to_128_characters() {
        for bad in ["", " ", " alice", "alice ", "al\u{ef}ce", "a\tb", &"a".repeat(129)] {
            assert!(Login::parse(bad).is_none(), "{bad:?}");
        }
        for good in ["a", "svc.integration", "alice@example.com", "DOMAIN\\bob", &"a".repeat(128)] {
            assert!(Login::parse(good).is_some(), "{good:?}");
        }
    }

    #[test]
    fn logins_are_compared_without_case() {
        assert_eq!(Login::parse("Alice"), Login::parse("aLICE"));
        assert_eq!(Login::parse("Alice").expect("valid").folded(), "alice");
    }

    #[test]
    fn user_types_read_back_as_written() {
        for kind in [UserType::Internal, UserType::ExternalCommunity, UserType::SystemNoLogin] {
            assert_eq!(UserType::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(UserType::parse("internaluser"), None);
    }
}
