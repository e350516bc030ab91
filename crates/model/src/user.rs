use std::fmt;

use oauth::secret::Presented;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::entities::Permissions;
use crate::line::{LINE_RULE, is_line};
use crate::mail::EmailAddress;
use crate::session::SignInRefusal;
use crate::{Timestamp, UserId};

/// Type of user. It determines how the user signs in and whether tokens give access to the APIs (`identity.md` §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UserType {
    #[serde(rename = "InternalUser")]
    Internal,
    /// Can sign in to applications, without access to the APIs.
    #[serde(rename = "ExternalCommunityUser")]
    ExternalCommunity,
    /// Service account that applications act as. Cannot sign in.
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

    /// Why a user of this type cannot become an administrator.
    pub fn admin_problem(self, is_admin: bool) -> Option<String> {
        (is_admin && self == Self::ExternalCommunity).then(|| format!("isAdmin: not allowed for {}", self.as_str()))
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

    /// Parses a login as typed: keyboards add spaces at the ends, which no login has.
    pub fn typed(text: &str) -> Option<Self> {
        Self::parse(text.trim())
    }

    /// Reads a stored login. It may be older than today's rules, so a violation is returned beside it.
    pub fn kept(text: String) -> (Self, Option<&'static str>) {
        let problem = Self::parse(&text).is_none().then_some("login: not 1 to 128 printable ASCII characters");
        (Self(text), problem)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The case-folded form, which is compared and kept unique.
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

/// The resource owner, or the System User that an application acts as.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub login: Login,
    pub user_type: UserType,
    /// As stored. [`User::is_admin`] tells whether the user is an administrator of the instance.
    pub admin_flag: bool,
    pub enabled: bool,
    pub name: String,
    pub email: Option<Email>,
    /// BCP 47.
    pub locale: Option<String>,
    /// What the user's roles allow on the APIs.
    pub permissions: Permissions,
    /// Raised by every change that must invalidate the user's tokens: disabling, a new password.
    pub epoch: i64,
    /// Whether the user has an authenticator app or a passkey, so that a password alone is not enough to sign in.
    pub has_second_factor: bool,
    pub updated_at: Timestamp,
    /// Violations of this version's rules in the stored record. Such a user counts as disabled.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    pub address: String,
    pub verified: bool,
}

/// A user's attributes (names as in the profile's JSON, `identity.md` §3.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PersonRecord {
    /// Display name.
    pub name: String,
    pub email: Option<String>,
    /// Reset when the e-mail address changes.
    #[serde(default)]
    pub email_verified: bool,
    /// Whether the user is an administrator of the instance.
    #[serde(default)]
    pub is_admin: bool,
    /// Disabling a user ends all sign-ins and blocks all tokens immediately.
    #[serde(default = "yes")]
    pub is_active: bool,
    /// Name of the role (permissions on the APIs).
    pub role: Option<String>,
    /// Language tag (BCP 47).
    pub preferred_language: Option<String>,
}

const fn yes() -> bool {
    true
}

/// The problem of administrators who disable themselves.
pub const OWN_SWITCH: &str = "isActive: you cannot disable yourself; ask another administrator";

impl PersonRecord {
    pub fn of(user: &User, role: Option<&str>) -> Self {
        Self {
            name: user.name.clone(),
            email: user.email.as_ref().map(|email| email.address.clone()),
            email_verified: user.email.as_ref().is_some_and(|email| email.verified),
            is_admin: user.is_admin(),
            is_active: user.enabled,
            role: role.map(str::to_owned),
            preferred_language: user.locale.clone(),
        }
    }

    pub fn to_email(&self) -> Option<Email> {
        self.email.clone().map(|address| Email { address, verified: self.email_verified })
    }

    /// Applies the record to a user. A [`User`] holds the role's permissions, not the role.
    pub fn put_into(&self, user: &mut User) {
        user.name.clone_from(&self.name);
        user.email = self.to_email();
        user.admin_flag = self.is_admin;
        user.enabled = self.is_active;
        user.locale.clone_from(&self.preferred_language);
    }

    /// What is wrong with changing `before` to this. `own` is set for the administrator's own record: administrators
    /// cannot remove their own access, so that one always remains.
    pub fn problems(&self, before: &Self, own: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if own && before.is_admin && !self.is_admin {
            problems
                .push("isAdmin: you cannot remove your own administrator rights; ask another administrator".to_owned());
        }
        if own && !self.is_active {
            problems.push(OWN_SWITCH.to_owned());
        }
        if self.email.is_none() && self.email_verified {
            problems.push("emailVerified: the user has no e-mail address".to_owned());
        }
        let tag = |text: &str| text.len() <= 35 && text.split('-').all(is_subtag);
        if self.preferred_language.as_deref().is_some_and(|text| !tag(text)) {
            problems.push("preferredLanguage: must be a language tag, for example en or de-AT".to_owned());
        }
        problems
    }

    /// The change for the audit, before and after. For attributes that identify the person, only that they changed.
    pub fn change_told(before: &Self, after: &Self) -> (serde_json::Value, serde_json::Value) {
        let value = |of: &Self| serde_json::to_value(of).expect("a record is strings and flags");
        let (mut before, mut after) = crate::audit::differing(value(before), value(after));
        for told in [&mut before, &mut after] {
            for name in ["name", "email"] {
                if let Some(said) = told.get_mut(name) {
                    *said = "…".into();
                }
            }
        }
        (before, after)
    }

    /// Whether the change to `next` invalidates issued tokens: the user is disabled, or tokens claim an `is_admin` that
    /// is withdrawn.
    pub fn outlived_by(&self, next: &Self) -> bool {
        (self.is_active && !next.is_active) || (self.is_admin && !next.is_admin)
    }
}

/// A subtag of BCP 47 (RFC 5646 §2.1): 1 to 8 letters or digits.
fn is_subtag(text: &str) -> bool {
    (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Problems of the display name and the e-mail address. The texts state what to do.
pub fn person_problems(name: &str, email: Option<&Email>) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_line(name, 200) {
        problems.push(format!("name: must be 1 to 200 characters {LINE_RULE}"));
    }
    if email.is_some_and(|email| EmailAddress::parse(&email.address).is_none()) {
        problems.push("email: must be a valid e-mail address of at most 254 characters".to_owned());
    }
    problems
}

/// Problems of a role's name, which is shown in lists and used in paths.
pub fn role_name_problem(name: &str) -> Option<String> {
    let good = is_line(name, 64) && name.trim() == name && !name.contains(['/', '\\']);
    (!good).then(|| format!("name: must be 1 to 64 characters {LINE_RULE}, without slashes or spaces at the ends"))
}

/// An enabled user that an application may act as or sign in. Only [`User::active`] creates one.
#[derive(Clone, Copy, Debug)]
pub struct ActiveUser<'a>(&'a User);

impl User {
    /// Whether the user administers the instance. The flag has no effect on a Community user, who may have it from
    /// before the rule.
    pub fn is_admin(&self) -> bool {
        self.admin_flag && self.user_type != UserType::ExternalCommunity
    }

    /// Whether the user is enabled and has a record that this version accepts.
    pub fn is_on(&self) -> bool {
        self.enabled && self.problems.is_empty()
    }

    pub fn active(&self) -> Option<ActiveUser<'_>> {
        self.is_on().then_some(ActiveUser(self))
    }

    /// Whether the user may sign in: System Users and disabled users may not.
    pub fn may_sign_in(&self) -> bool {
        self.check_sign_in().is_ok()
    }

    /// As [`Self::may_sign_in`], with the reason.
    pub fn check_sign_in(&self) -> Result<(), SignInRefusal> {
        match self.user_type {
            _ if !self.is_on() => Err(SignInRefusal::UserDisabled { since: self.updated_at }),
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

/// A password hash in PHC string format. Never printed.
#[derive(Clone)]
pub struct PasswordHash {
    phc: String,
    is_nfc: bool,
}

impl PasswordHash {
    /// A hash of the password in Unicode NFC (RFC 8265 §4.2.2), the form of all new hashes.
    pub const fn of_nfc(phc: String) -> Self {
        Self { phc, is_nfc: true }
    }

    /// A hash of the bytes as typed, the form of older hashes.
    pub const fn of_bytes(phc: String) -> Self {
        Self { phc, is_nfc: false }
    }

    pub fn as_phc(&self) -> &str {
        &self.phc
    }

    pub const fn is_nfc(&self) -> bool {
        self.is_nfc
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Marks a password as a user typed it: `oauth::secret::Presented<Password>`.
pub enum Password {}

/// A login and its password as typed, not yet compared.
#[derive(Clone, Copy)]
pub struct PasswordCredentials<'a> {
    pub login: &'a str,
    pub password: &'a Presented<Password>,
}

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
    fn blanks_around_a_typed_login_are_the_keyboards() {
        for typed in ["alice", "alice ", " alice\t", "\u{a0}alice\u{3000}", "alice\r\n"] {
            assert_eq!(Login::typed(typed), Login::parse("alice"), "{typed:?}");
        }
        for none in ["", " ", "\u{a0}", "al\u{ef}ce ", &format!("{} ", "a".repeat(129))] {
            assert!(Login::typed(none).is_none(), "{none:?}");
        }
        assert_ne!(Login::typed("al ice"), Login::parse("alice"), "within, they count");
    }

    #[test]
    fn a_change_of_a_person_is_told_without_the_person() {
        let before = PersonRecord {
            name: "Alice".to_owned(),
            email: Some("alice@example.com".to_owned()),
            email_verified: true,
            is_admin: false,
            is_active: true,
            role: None,
            preferred_language: None,
        };
        let after = PersonRecord { name: "Eve".to_owned(), is_admin: true, ..before.clone() };
        let (old, new) = PersonRecord::change_told(&before, &after);
        assert_eq!(old, serde_json::json!({"name": "…", "isAdmin": false}));
        assert_eq!(new, serde_json::json!({"name": "…", "isAdmin": true}));
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
