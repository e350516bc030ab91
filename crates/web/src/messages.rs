//! The texts of the pages in each language. A text missing in one language is a compile error.
//!
//! Grouped like the pages. A text with parameters is a function, because languages differ in word order.

mod bulgarian;
mod email;
mod english;
mod german;
mod malformed;
mod two_step;

use flows::auth::strength::Weakness;
use model::Language;

pub use email::EmailMessages;
pub use malformed::MalformedMessages;
pub use two_step::TwoStepMessages;

pub struct Messages {
    /// BCP 47, for `<html lang>`.
    pub tag: &'static str,
    pub frame: FrameMessages,
    pub sign_in: SignInMessages,
    pub consent: ConsentMessages,
    pub scopes: ScopeMessages,
    pub error: ErrorMessages,
    pub problems: ProblemMessages,
    pub malformed: MalformedMessages,
    pub target: TargetMessages,
    pub sign_out: SignOutMessages,
    pub signed_out: SignedOutMessages,
    pub form_post: FormPostMessages,
    pub account: AccountMessages,
    pub set_up: SetUpMessages,
    pub forgotten: PasswordResetMessages,
    pub known_browser: KnownBrowserMessages,
    pub email: EmailMessages,
    pub landing: LandingMessages,
    pub profile: ProfileMessages,
    pub overview: OverviewMessages,
    pub password: PasswordMessages,
    pub tokens: TokensMessages,
    pub apps: AppsMessages,
    pub sessions: SessionsMessages,
    pub picture: PictureMessages,
    pub language: LanguageMessages,
    pub two_step: TwoStepMessages,
}

/// A name and a sentence about it.
pub type LabelledText = (&'static str, &'static str);

/// The text of an error page.
#[derive(Clone, Copy)]
pub struct ProblemText {
    pub title: &'static str,
    pub message: &'static str,
    /// The user's next step.
    pub what_to_do: &'static str,
}

pub fn of(language: Language) -> &'static Messages {
    match language {
        Language::English => &english::WORDS,
        Language::Bulgarian => &bulgarian::WORDS,
        Language::German => &german::WORDS,
    }
}

/// Texts on every page.
pub struct FrameMessages {
    pub protected: &'static str,
    pub sign_out: &'static str,
    /// Prefix of the title on error pages.
    pub error_title: &'static str,
    pub new_tab: &'static str,
}

pub struct SignInMessages {
    pub title: &'static str,
    /// Followed by the application's name.
    pub to_continue_to: &'static str,
    pub continue_as: fn(&str) -> String,
    pub or_someone_else: &'static str,
    pub login: &'static str,
    pub password: &'static str,
    /// The same for every cause: it does not tell whether login, password or account was wrong.
    pub wrong: &'static str,
    pub wait: fn(u64) -> String,
    /// Others have used up the login's guesses. The argument is the minutes until the next guess.
    pub spent: fn(u64) -> String,
    pub send_link: &'static str,
    /// Shown if no mail is sent.
    pub spent_without_mail: &'static str,
    /// For a signed-in user whose change needs a recent sign-in.
    pub once_more: &'static str,
}

pub struct ConsentMessages {
    pub title: fn(&str) -> String,
    pub asks_in: fn(&str) -> String,
    pub signed_in_as: fn(&str) -> String,
    pub other_account: &'static str,
    pub nothing: &'static str,
    pub will_be_able: &'static str,
    /// Followed by the application's URI.
    pub only_if: &'static str,
    pub policy: &'static str,
    pub terms: &'static str,
    pub allow: &'static str,
    pub deny: &'static str,
}

/// The permissions of an application: title and description of each.
pub struct ScopeMessages {
    pub openid: LabelledText,
    pub profile: LabelledText,
    pub email: LabelledText,
    pub phone: LabelledText,
    pub address: LabelledText,
    pub offline_access: LabelledText,
    pub read: LabelledText,
    pub update: LabelledText,
    pub sec: LabelledText,
    pub manage: LabelledText,
    pub other: LabelledText,
}

impl ScopeMessages {
    /// The texts of a scope.
    pub(crate) fn of(&self, name: &str) -> LabelledText {
        match name {
            "openid" => self.openid,
            "profile" => self.profile,
            "email" => self.email,
            "phone" => self.phone,
            "address" => self.address,
            "offline_access" => self.offline_access,
            "read" => self.read,
            "update" => self.update,
            "sec" => self.sec,
            "manage" => self.manage,
            _ => self.other,
        }
    }
}

pub struct ErrorMessages {
    pub what_you_can_do: &'static str,
    pub reference: &'static str,
    pub error: &'static str,
    pub status: &'static str,
    /// The link on the page for unknown addresses.
    pub home: &'static str,
    pub give_reference: &'static str,
}

/// Texts of error pages.
pub struct ProblemMessages {
    pub no_page: ProblemText,
    pub not_an_administrator: ProblemText,
    pub expired: ProblemText,
    pub unreadable: ProblemText,
    pub spent: ProblemText,
    pub fault: ProblemText,
}

/// Texts for a refused request that cannot be reported to an application.
pub struct TargetMessages {
    pub title: &'static str,
    /// Followed by the exact cause.
    pub malformed: &'static str,
    pub unknown: &'static str,
    pub disabled: &'static str,
    pub not_registered: &'static str,
    pub what_to_do: &'static str,
}

pub struct SignOutMessages {
    pub title: &'static str,
    /// Followed by the login.
    pub signed_in_as: &'static str,
    pub asked_by: fn(&str, &str) -> String,
    pub meaning: &'static str,
    pub button: &'static str,
    pub stay: &'static str,
}

pub struct SignedOutMessages {
    pub title: &'static str,
    pub go_back: &'static str,
    pub back_to: fn(&str) -> String,
    pub back: &'static str,
    pub next_time: fn(&str) -> String,
    pub close: &'static str,
}

pub struct FormPostMessages {
    pub title: &'static str,
    pub lead: &'static str,
    pub button: &'static str,
}

pub struct AccountMessages {
    pub title: &'static str,
    pub no_sites: &'static str,
    pub onwards: &'static str,
}

pub struct SetUpMessages {
    pub title: &'static str,
    /// Followed by the instance's name.
    pub then_sign_in_to: &'static str,
    /// The same for users who had a password before.
    pub reset_at: &'static str,
    pub login: &'static str,
    pub password: &'static str,
    pub hint: &'static str,
    pub again: &'static str,
    pub save: &'static str,
    pub differ: &'static str,
    pub done: &'static str,
    pub sign_in_now: fn(&str) -> String,
    pub sign_in: &'static str,
}

pub struct PasswordResetMessages {
    pub title: &'static str,
    pub by_mail: &'static str,
    pub by_administrator: &'static str,
    pub tell_administrator: &'static str,
    pub login_or_email: &'static str,
    pub send: &'static str,
    pub back: &'static str,
    pub wait: fn(u64) -> String,
    pub sent_title: &'static str,
    /// The same whether or not a mail was sent.
    pub sent: &'static str,
    pub nothing_there: &'static str,
}

/// Texts of the link that makes a new browser known.
pub struct KnownBrowserMessages {
    pub title: &'static str,
    pub about: fn(&str) -> String,
    pub confirm: &'static str,
    pub done: &'static str,
    pub sign_in_now: &'static str,
    /// The same whether or not a mail was sent.
    pub sent: &'static str,
}

/// Texts about the sites of an instance.
pub struct LandingMessages {
    pub where_to: &'static str,
    pub id: LabelledText,
    pub profile: LabelledText,
    pub domain_api: LabelledText,
    pub manager: LabelledText,
}

/// Texts of the profile site's menu.
pub struct ProfileMessages {
    pub title: &'static str,
    pub overview: &'static str,
    pub password: &'static str,
    pub tokens: &'static str,
    pub apps: &'static str,
    pub sessions: &'static str,
    pub picture: &'static str,
    pub language: &'static str,
    /// Shown after a change.
    pub saved: &'static str,
    pub overtaken: &'static str,
}

pub struct OverviewMessages {
    pub name: &'static str,
    pub login: &'static str,
    pub email: &'static str,
    pub no_email: &'static str,
    pub verified: &'static str,
    pub not_verified: &'static str,
    pub kind: &'static str,
    pub internal: &'static str,
    pub community: &'static str,
    pub administrator: &'static str,
    pub signed_in_since: &'static str,
}

pub struct LanguageMessages {
    pub lead: &'static str,
    pub as_browser: &'static str,
    pub save: &'static str,
}

pub struct PasswordMessages {
    pub lead: &'static str,
    pub current: &'static str,
    pub wrong: &'static str,
    pub same: &'static str,
    pub too_short: &'static str,
    pub too_long: &'static str,
    pub common: &'static str,
    pub about_you: &'static str,
    pub guessable: fn(&str) -> String,
    /// Shown after a change. The argument is the number of access tokens that stay valid.
    pub tokens_live: fn(usize) -> String,
    pub revoke_tokens: fn(usize) -> String,
}

impl PasswordMessages {
    /// The reason for refusing a weak password.
    pub(crate) fn weakness(&self, weakness: Weakness) -> String {
        match weakness {
            Weakness::Empty | Weakness::TooShort => self.too_short.to_owned(),
            Weakness::TooLong => self.too_long.to_owned(),
            Weakness::Common => self.common.to_owned(),
            Weakness::AboutYou => self.about_you.to_owned(),
            Weakness::Guessable(tens) => (self.guessable)(&grouped(tens)),
        }
    }
}

/// A power of ten with spaces between groups: `10 000`.
fn grouped(tens: u32) -> String {
    let digits = format!("1{}", "0".repeat(usize::try_from(tens).unwrap_or(0).min(19)));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

pub struct TokensMessages {
    pub lead: &'static str,
    pub none: &'static str,
    pub expired: &'static str,
    pub created: &'static str,
    pub expires: &'static str,
    pub expires_never: &'static str,
    pub last_used: &'static str,
    pub never_used: &'static str,
    pub revoke: &'static str,
    pub new: &'static str,
    pub no_application: &'static str,
    pub choose: &'static str,
    pub description: &'static str,
    pub description_hint: &'static str,
    pub scopes: &'static str,
    pub expiry: &'static str,
    pub never: &'static str,
    pub days: fn(u32) -> String,
    pub make: &'static str,
    pub prove: &'static str,
    pub sign_in_again: &'static str,
    pub made: &'static str,
    pub once: &'static str,
    pub try_it: &'static str,
    pub done: &'static str,
    pub incomplete: &'static str,
    pub no_scope: &'static str,
    pub no_description: &'static str,
    pub must_expire: &'static str,
    pub not_allowed: &'static str,
    pub not_lately: &'static str,
    pub too_many: &'static str,
    pub signed_out: &'static str,
}

pub struct AppsMessages {
    pub lead: &'static str,
    pub none: &'static str,
    pub since: &'static str,
    pub connected: &'static str,
    pub withdraw: &'static str,
    pub meaning: &'static str,
}

pub struct SessionsMessages {
    pub lead: &'static str,
    pub browser_on: fn(&str, &str) -> String,
    pub unknown_device: &'static str,
    pub this_one: &'static str,
    pub address: &'static str,
    pub since: &'static str,
    pub last_used: &'static str,
    pub used_by: &'static str,
    pub end: &'static str,
    pub end_others: &'static str,
}

pub struct PictureMessages {
    pub yours: &'static str,
    pub file: &'static str,
    pub hint: &'static str,
    pub save: &'static str,
    pub remove: &'static str,
    pub too_large: &'static str,
    pub unknown_format: &'static str,
    pub too_many_pixels: &'static str,
    pub damaged: &'static str,
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn a_power_of_ten_is_grouped_by_three() {
        assert_eq!(grouped(0), "1");
        assert_eq!(grouped(3), "1\u{202f}000");
        assert_eq!(grouped(7), "10\u{202f}000\u{202f}000");
    }
}
