//! Message texts per language.

use crate::Language;

/// The texts of one language. A language that lacks a message does not compile.
pub(super) struct LetterWords {
    /// Argument: the name.
    pub(super) hello: fn(&str) -> String,
    pub(super) automatic: &'static str,
    pub(super) password_changed: &'static str,
    /// Argument: the login.
    pub(super) password_changed_text: fn(&str) -> String,
    pub(super) token_created: &'static str,
    /// Arguments: the login, and a line that shows the token.
    pub(super) token_created_text: fn(&str, &str) -> String,
    pub(super) service_token_issued: &'static str,
    /// Arguments: the login, an `ApplicationUri`, and a line that shows the token.
    pub(super) service_token_issued_text: fn(&str, &str, &str) -> String,
    pub(super) known_browser: &'static str,
    /// Arguments: the login, and a link that works for an hour.
    pub(super) known_browser_text: fn(&str, &str) -> String,
    pub(super) password_attacked: &'static str,
    /// Argument: the login.
    pub(super) password_attacked_text: fn(&str) -> String,
    pub(super) second_step_attacked: &'static str,
    /// Arguments: the login, and the address of the password reset page.
    pub(super) second_step_attacked_text: fn(&str, &str) -> String,
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
    known_browser: "Sign in with a new browser",
    known_browser_text: |login, link| {
        format!(
            "someone is trying to guess the password of your login {login}. Sign-in with new browsers is therefore blocked at the moment. To sign in with a new browser, open this link in it. It works once and is valid for one hour:\n\n{link}\n\nYou still need your password to sign in. If you did not ask for this, ignore this message."
        )
    },
    password_attacked: "Someone is trying to guess your password",
    password_attacked_text: |login| {
        format!(
            "there were too many failed sign-ins for your login {login}. Sign-in with new browsers is blocked for a while. Browsers you have used before still work.\n\nTo sign in with a new browser, use a passkey or request a link on the sign-in page. If your password is short or you use it elsewhere, change it in your profile."
        )
    },
    second_step_attacked: "Someone knows your password",
    second_step_attacked_text: |login, link| {
        format!(
            "someone entered the correct password of your login {login} and then many wrong codes. They were not signed in, because of two-step sign-in.\n\nChoose a new password now:\n\n{link}\n\nIf you entered the codes yourself, check that the clock of your phone is correct."
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
    known_browser: "Mit einem neuen Browser anmelden",
    known_browser_text: |login, link| {
        format!(
            "jemand versucht, das Passwort Ihres Anmeldenamens {login} zu erraten. Deshalb ist die Anmeldung mit neuen Browsern zurzeit gesperrt. Um sich mit einem neuen Browser anzumelden, öffnen Sie darin diesen Link. Er kann einmal verwendet werden und gilt eine Stunde:\n\n{link}\n\nZum Anmelden brauchen Sie weiterhin Ihr Passwort. Wenn Sie das nicht angefordert haben, ignorieren Sie diese Nachricht."
        )
    },
    password_attacked: "Jemand versucht, Ihr Passwort zu erraten",
    password_attacked_text: |login| {
        format!(
            "für Ihren Anmeldenamen {login} gab es zu viele fehlgeschlagene Anmeldungen. Die Anmeldung mit neuen Browsern ist vorübergehend gesperrt. Bereits verwendete Browser funktionieren weiterhin.\n\nUm sich mit einem neuen Browser anzumelden, verwenden Sie einen Passkey oder fordern Sie auf der Anmeldeseite einen Link an. Wenn Ihr Passwort kurz ist oder Sie es auch anderswo verwenden, ändern Sie es in Ihrem Profil."
        )
    },
    second_step_attacked: "Jemand kennt Ihr Passwort",
    second_step_attacked_text: |login, link| {
        format!(
            "jemand hat das richtige Passwort Ihres Anmeldenamens {login} und danach viele falsche Codes eingegeben. Dank der Anmeldung in zwei Schritten wurde die Person nicht angemeldet.\n\nWählen Sie jetzt ein neues Passwort:\n\n{link}\n\nWenn Sie die Codes selbst eingegeben haben, prüfen Sie, ob die Uhr Ihres Telefons richtig geht."
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
    known_browser: "Вход с нов браузър",
    known_browser_text: |login, link| {
        format!(
            "някой се опитва да познае паролата за потребителското ви име {login}. Затова входът с нови браузъри в момента е блокиран. За да влезете с нов браузър, отворете в него тази връзка. Тя може да се използва веднъж и важи един час:\n\n{link}\n\nЗа вход все още е нужна паролата ви. Ако не сте поискали това, не обръщайте внимание на това съобщение."
        )
    },
    password_attacked: "Някой се опитва да познае паролата ви",
    password_attacked_text: |login| {
        format!(
            "за потребителското ви име {login} имаше твърде много неуспешни опити за вход. Входът с нови браузъри е временно блокиран. Браузърите, които вече сте използвали, продължават да работят.\n\nЗа да влезете с нов браузър, използвайте ключ за достъп или поискайте връзка от страницата за вход. Ако паролата ви е кратка или я използвате и другаде, сменете я в профила си."
        )
    },
    second_step_attacked: "Някой знае паролата ви",
    second_step_attacked_text: |login, link| {
        format!(
            "някой въведе вярната парола за потребителското ви име {login} и след това много грешни кодове. Благодарение на входа в две стъпки не е успял да влезе.\n\nИзберете нова парола сега:\n\n{link}\n\nАко вие сте въвели кодовете, проверете дали часовникът на телефона ви е верен."
        )
    },
};
