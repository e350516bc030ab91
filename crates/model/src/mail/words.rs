//! What letters say in the languages that people read.

use crate::Language;

/// Texts of one language. A letter that one lacks does not compile.
pub(super) struct LetterWords {
    /// Of a name.
    pub(super) hello: fn(&str) -> String,
    pub(super) automatic: &'static str,
    pub(super) password_changed: &'static str,
    /// Of a login.
    pub(super) password_changed_text: fn(&str) -> String,
    pub(super) token_created: &'static str,
    /// Of a login and a line that shows the token.
    pub(super) token_created_text: fn(&str, &str) -> String,
    pub(super) service_token_issued: &'static str,
    /// Of a login, an `ApplicationUri`, and a line that shows the token.
    pub(super) service_token_issued_text: fn(&str, &str, &str) -> String,
}

pub(super) const fn of(language: Language) -> &'static LetterWords {
    match language {
        Language::English => &ENGLISH,
        Language::Bulgarian => &BULGARIAN,
        Language::German => &GERMAN,
    }
}

pub(super) const ENGLISH: LetterWords = LetterWords {
    hello: |name| format!("Hello {name},"),
    automatic: "This message was sent automatically; nobody reads answers to it.",
    password_changed: "Your password was changed",
    password_changed_text: |login| {
        format!(
            "the password of your login {login} was changed. Everything opened with the old one has ended; access tokens that were made by hand go on working.\n\nIf that was not you, tell your administrator at once."
        )
    },
    token_created: "An access token was created",
    token_created_text: |login, token| {
        format!(
            "an access token that acts as you, {login}, was created:\n\n    {token}\n\nIf you know nothing of it, revoke it on your profile, under access tokens, and tell your administrator at once."
        )
    },
    service_token_issued: "A service token was issued",
    service_token_issued_text: |login, uri, token| {
        format!(
            "your login {login} issued a service token for the application {uri}:\n\n    {token}\n\nIf that was not you, revoke it in the instance manager, under reference tokens, and change your password at once."
        )
    },
};

const GERMAN: LetterWords = LetterWords {
    hello: |name| format!("Guten Tag {name},"),
    automatic: "Diese Nachricht wurde automatisch verschickt; Antworten liest niemand.",
    password_changed: "Ihr Passwort wurde geändert",
    password_changed_text: |login| {
        format!(
            "das Passwort Ihres Anmeldenamens {login} wurde geändert. Alles, was mit dem alten geöffnet wurde, ist beendet; von Hand erstellte Zugriffstoken gelten weiter.\n\nWaren Sie das nicht, dann sagen Sie es sofort Ihrem Administrator."
        )
    },
    token_created: "Ein Zugriffstoken wurde erstellt",
    token_created_text: |login, token| {
        format!(
            "es wurde ein Zugriffstoken erstellt, das für Sie ({login}) handelt:\n\n    {token}\n\nWissen Sie nichts davon, dann widerrufen Sie es in Ihrem Profil unter Zugriffstoken und sagen Sie es sofort Ihrem Administrator."
        )
    },
    service_token_issued: "Ein Diensttoken wurde ausgestellt",
    service_token_issued_text: |login, uri, token| {
        format!(
            "mit Ihrem Anmeldenamen {login} wurde ein Diensttoken für die Anwendung {uri} ausgestellt:\n\n    {token}\n\nWaren Sie das nicht, dann widerrufen Sie es in der Verwaltung unter „Reference tokens“ und ändern Sie sofort Ihr Passwort."
        )
    },
};

const BULGARIAN: LetterWords = LetterWords {
    hello: |name| format!("Здравейте, {name},"),
    automatic: "Това съобщение е изпратено автоматично; никой не чете отговорите.",
    password_changed: "Паролата ви е сменена",
    password_changed_text: |login| {
        format!(
            "паролата за потребителското ви име {login} е сменена. Всичко, отворено със старата, е прекратено; ключовете за достъп, създадени ръчно, продължават да важат.\n\nАко не сте били вие, веднага кажете на администратора си."
        )
    },
    token_created: "Създаден е ключ за достъп",
    token_created_text: |login, token| {
        format!(
            "създаден е ключ за достъп, който действа от ваше име ({login}):\n\n    {token}\n\nАко не знаете за него, отменете го в профила си, в „Ключове за достъп“, и веднага кажете на администратора си."
        )
    },
    service_token_issued: "Издаден е служебен ключ",
    service_token_issued_text: |login, uri, token| {
        format!(
            "с потребителското ви име {login} е издаден служебен ключ за приложението {uri}:\n\n    {token}\n\nАко не сте били вие, отменете го в управлението, в „Reference tokens“, и веднага сменете паролата си."
        )
    },
};
