//! E-mail messages as values. Sending is done elsewhere.

mod words;

use std::fmt;

use self::words::LetterWords;
use crate::line::marked;
use crate::link::LinkLifetime;
use crate::{Language, User};

/// An e-mail address: `local@domain`, at most 254 characters (RFC 5321 §4.5.3.1.3), printable ASCII without characters
/// that need quoting. Stricter than RFC 5322, but covers the addresses in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailAddress(String);

impl EmailAddress {
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.rsplit_once('@')?;
        let fits = text.len() <= 254 && (1..=64).contains(&local.len());
        let is_local = local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
            && local.split('.').all(|atom| !atom.is_empty());
        let is_domain = domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        (fits && is_local && is_domain).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The case-folded form, by which users are found.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A plain-text message. The text may hold a link that opens an account, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MailMessage {
    pub to: EmailAddress,
    pub subject: String,
    pub text: String,
    /// The message type, for the log and the metrics.
    pub about: &'static str,
}

impl fmt::Debug for MailMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({})", self.about)
    }
}

impl User {
    /// The user's address for mail.
    pub fn mailbox(&self) -> Option<EmailAddress> {
        self.email.as_ref().and_then(|email| EmailAddress::parse(&email.address))
    }
}

/// Names are external input: reduced to one line of limited length.
fn one_line(text: &str) -> String {
    marked(text).replace(char::REPLACEMENT_CHARACTER, " ").chars().take(100).collect()
}

/// Writes the messages of one instance to one address.
pub struct Letter<'a> {
    pub to: EmailAddress,
    pub instance: &'a str,
    pub user: &'a User,
}

impl Letter<'_> {
    fn write(self, about: &'static str, subject: &str, body: &str) -> MailMessage {
        self.write_in(&words::ENGLISH, about, subject, body)
    }

    fn write_in(self, words: &LetterWords, about: &'static str, subject: &str, body: &str) -> MailMessage {
        let hello = (words.hello)(&one_line(&self.user.name));
        let text = format!("{hello}\n\n{body}\n\n-- \n{}\n{}\n", self.instance, words.automatic);
        MailMessage { to: self.to, subject: format!("{subject} – {}", self.instance), text, about }
    }

    /// Texts in the user's chosen language.
    fn words(&self) -> &'static LetterWords {
        words::of(self.user.locale.as_deref().and_then(Language::of_tag).unwrap_or_default())
    }

    fn login(&self) -> &str {
        self.user.login.as_str()
    }

    pub fn invitation(self, link: &str, life: LinkLifetime) -> MailMessage {
        let body = format!(
            "you have been given access to {}. Your login is\n\n    {}\n\nChoose your password with this link. It works once and is valid for {}:\n\n{link}\n\nIf you did not expect this, ignore this message. Nobody can sign in as you until a password is chosen.",
            self.instance,
            self.login(),
            life.text(),
        );
        self.write("invitation", "Your invitation", &body)
    }

    pub fn password_reset(self, link: &str, life: LinkLifetime) -> MailMessage {
        let body = format!(
            "someone asked to reset the password of your login\n\n    {}\n\nChoose a new password with this link. It works once and is valid for {}:\n\n{link}\n\nIf you did not ask for this, ignore this message. Your password stays unchanged.",
            self.login(),
            life.text(),
        );
        self.write("password-reset", "Choose a new password", &body)
    }

    /// Sent after every password change, however it was made.
    pub fn password_changed(self) -> MailMessage {
        let words = self.words();
        let body = (words.password_changed_text)(self.login());
        self.write_in(words, "password-changed", words.password_changed, &body)
    }

    /// A link that makes the browser opening it a known browser. The text states the lifetime [`LinkLifetime::Asked`].
    pub fn known_browser(self, link: &str) -> MailMessage {
        let words = self.words();
        let body = (words.known_browser_text)(self.login(), link);
        self.write_in(words, "known-browser", words.known_browser, &body)
    }

    /// Unauthenticated clients have used up the guesses at the password.
    pub fn password_attacked(self) -> MailMessage {
        let words = self.words();
        let body = (words.password_attacked_text)(self.login());
        self.write_in(words, "password-attacked", words.password_attacked, &body)
    }

    /// A client with the correct password guesses codes. `link` leads to the password reset page.
    pub fn second_step_attacked(self, link: &str) -> MailMessage {
        let words = self.words();
        let body = (words.second_step_attacked_text)(self.login(), link);
        self.write_in(words, "second-step-attacked", words.second_step_attacked, &body)
    }

    /// To the user that the token acts as. `masked` is the token as lists show it, never its value.
    pub fn token_created(self, masked: &str, description: &str) -> MailMessage {
        let words = self.words();
        let body = (words.token_created_text)(self.login(), &format!("{masked}  {}", one_line(description)));
        self.write_in(words, "token-created", words.token_created, &body)
    }

    /// To the administrator who issued the token.
    pub fn service_token_issued(self, uri: &str, masked: &str, description: &str) -> MailMessage {
        let words = self.words();
        let token = format!("{masked}  {}", one_line(description));
        let body = (words.service_token_issued_text)(self.login(), uri, &token);
        self.write_in(words, "service-token-issued", words.service_token_issued, &body)
    }

    /// To the new address.
    pub fn email_confirmation(self, link: &str, life: LinkLifetime) -> MailMessage {
        let body = format!(
            "someone asked to use this e-mail address for the login {} at {}. Confirm or decline with this link. It works once and is valid for {}:\n\n{link}\n\nIf you did not ask for this, decline or ignore this message.",
            self.login(),
            self.instance,
            life.text(),
        );
        self.write("email-confirmation", "Confirm your e-mail address", &body)
    }

    /// To the current address, which has to agree too.
    pub fn email_changing(self, new: &EmailAddress, link: &str, life: LinkLifetime) -> MailMessage {
        let body = format!(
            "someone signed in as {} asked to change the e-mail address of this account to\n\n    {new}\n\nBoth addresses must confirm. Confirm or decline with this link. It works once and is valid for {}:\n\n{link}\n\nIf you do nothing, the address stays unchanged. If you did not ask for this, decline, change your password and tell your administrator.",
            self.login(),
            life.text(),
        );
        self.write("email-changing", "Your e-mail address is about to change", &body)
    }

    /// `what` begins a sentence: "A passkey was added".
    pub fn two_step_changed(self, what: &str) -> MailMessage {
        let body = format!(
            "{what} for your login {}. You can review your sign-in methods in your profile under \"Two-step sign-in\".\n\nIf you did not do this, change your password and tell your administrator at once.",
            self.login()
        );
        self.write("two-step-changed", "Your two-step sign-in was changed", &body)
    }

    /// `masked` is the token as lists show it, never its value.
    pub fn token_leaked(self, masked: &str, description: &str) -> MailMessage {
        let body = format!(
            "one of your personal access tokens was found where others could read it. It has been revoked:\n\n    {masked}  {}\n\nScripts that used it no longer work. Create a new token for them, and check how the old one was used.",
            one_line(description),
        );
        self.write("token-leaked", "Your personal access token was revoked", &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UserType;

    #[test]
    fn an_address_is_a_name_and_a_domain_and_nothing_that_needs_quoting() {
        for good in ["eve@example.com", "e.v-e+tag@mail.example.co.uk", "root@localhost"] {
            assert_eq!(EmailAddress::parse(good).expect(good).as_str(), good);
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "eve",
            "@example.com",
            "eve@",
            "e ve@example.com",
            "eve@exa mple.com",
            ".eve@example.com",
            "e..ve@example.com",
            "eve@-example.com",
            "eve@example..com",
            "eve@example.com\r\nBcc: all@example.com",
            "ève@example.com",
            "<eve@example.com>",
            "eve@example.com,bob@example.com",
            &long,
        ] {
            assert_eq!(EmailAddress::parse(bad), None, "{bad:?}");
        }
        assert_eq!(EmailAddress::parse("Eve@Example.com").expect("good").folded(), "eve@example.com");
    }

    #[test]
    fn letters_speak_the_language_that_the_person_chose() {
        let letter = |locale: Option<&str>| {
            let user = User { locale: locale.map(str::to_owned), ..crate::authorize::tests::user(UserType::Internal) };
            let to = EmailAddress::parse("eve@example.com").expect("good");
            Letter { to, instance: "erp", user: &user }.password_changed()
        };
        for (locale, subject) in [
            (None, "Your password was changed – erp"),
            (Some("fr"), "Your password was changed – erp"),
            (Some("de-AT"), "Ihr Passwort wurde geändert – erp"),
            (Some("bg"), "Паролата ви е сменена – erp"),
        ] {
            assert_eq!(letter(locale).subject, subject);
        }
    }

    #[test]
    fn a_message_is_never_printed() {
        let to = EmailAddress::parse("eve@example.com").expect("good");
        let message =
            MailMessage { to, subject: "s".into(), text: "https://x/?code=secret".into(), about: "invitation" };
        assert_eq!(format!("{message:?}"), "Message(invitation)");
    }

    #[test]
    fn a_name_cannot_add_lines_to_a_letter() {
        assert_eq!(one_line("Eve\r\n\r\nClick here"), "Eve    Click here");
        assert_eq!(one_line(&"x".repeat(500)).len(), 100);
    }
}
