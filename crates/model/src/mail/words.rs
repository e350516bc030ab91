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
    automatic: "This is an automatic message. Replies are not read.",
    password_changed: "Your password was changed",
    password_changed_text: |login| {
        format!(
            "the password of your login {login} was changed. You were signed out everywhere else. Personal access tokens still work.\n\nIf you did not make this change, tell your administrator at once."
        )
    },
    token_created: "A personal access token was created",
    token_created_text: |login, token| {
        format!(
            "a personal access token for your login {login} was created:\n\n    {token}\n\nIf you do not recognise it, revoke it in your profile under \"Personal access tokens\" and tell your administrator at once."
        )
    },
    service_token_issued: "A service token was issued",
    service_token_issued_text: |login, uri, token| {
        format!(
            "your login {login} issued a service token for the application {uri}:\n\n    {token}\n\nIf you did not do this, revoke it in the instance manager under \"Reference tokens\" and change your password at once."
        )
    },
};

const GERMAN: LetterWords = LetterWords {
    hello: |name| format!("Guten Tag {name},"),
    automatic: "Diese Nachricht wurde automatisch erstellt. Antworten werden nicht gelesen.",
    password_changed: "Ihr Passwort wurde geändert",
    password_changed_text: |login| {
        format!(
            "das Passwort Ihres Anmeldenamens {login} wurde geändert. Sie wurden überall sonst abgemeldet. Persönliche Zugriffstoken gelten weiter.\n\nWenn Sie das nicht waren, informieren Sie sofort Ihren Administrator."
        )
    },
    token_created: "Ein persönliches Zugriffstoken wurde erstellt",
    token_created_text: |login, token| {
        format!(
            "für Ihren Anmeldenamen {login} wurde ein persönliches Zugriffstoken erstellt:\n\n    {token}\n\nWenn Sie es nicht kennen, widerrufen Sie es in Ihrem Profil unter „Persönliche Zugriffstoken“ und informieren Sie sofort Ihren Administrator."
        )
    },
    service_token_issued: "Ein Diensttoken wurde ausgestellt",
    service_token_issued_text: |login, uri, token| {
        format!(
            "mit Ihrem Anmeldenamen {login} wurde ein Diensttoken für die Anwendung {uri} ausgestellt:\n\n    {token}\n\nWenn Sie das nicht waren, widerrufen Sie es in der Instanzverwaltung unter „Reference tokens“ und ändern Sie sofort Ihr Passwort."
        )
    },
};

const BULGARIAN: LetterWords = LetterWords {
    hello: |name| format!("Здравейте, {name},"),
    automatic: "Това съобщение е изпратено автоматично. Отговорите не се четат.",
    password_changed: "Паролата ви е сменена",
    password_changed_text: |login| {
        format!(
            "паролата за потребителското ви име {login} е сменена. Излязохте от системата навсякъде другаде. Личните токени за достъп продължават да важат.\n\nАко не сте били вие, веднага уведомете администратора си."
        )
    },
    token_created: "Създаден е личен токен за достъп",
    token_created_text: |login, token| {
        format!(
            "създаден е личен токен за достъп за потребителското ви име {login}:\n\n    {token}\n\nАко не го разпознавате, анулирайте го в профила си, в „Лични токени за достъп“, и веднага уведомете администратора си."
        )
    },
    service_token_issued: "Издаден е служебен токен",
    service_token_issued_text: |login, uri, token| {
        format!(
            "с потребителското ви име {login} е издаден служебен токен за приложението {uri}:\n\n    {token}\n\nАко не сте били вие, анулирайте го в управлението на инстанцията, в „Reference tokens“, и веднага сменете паролата си."
        )
    },
};
