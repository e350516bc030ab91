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
    pub(super) known_browser: &'static str,
    /// Of a login and a link that works for an hour.
    pub(super) known_browser_text: fn(&str, &str) -> String,
    pub(super) password_attacked: &'static str,
    /// Of a login.
    pub(super) password_attacked_text: fn(&str) -> String,
    pub(super) second_step_attacked: &'static str,
    /// Of a login and the address where a new password is asked for.
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
    known_browser: "Use a new browser",
    known_browser_text: |login, link| {
        format!(
            "somebody is guessing the password of your login {login}, so new browsers are not let in at the moment. To sign in with a new browser, open this link in it. The link works once, for one hour:\n\n{link}\n\nThe link does not sign you in: you still need your password. If you did not ask for it, do nothing."
        )
    },
    password_attacked: "Somebody is guessing your password",
    password_attacked_text: |login| {
        format!(
            "there were many wrong passwords for your login {login}. For a while, new browsers are not let in. Browsers that you have signed in with before work as usual.\n\nTo sign in with a new browser, use a passkey, or ask for a link on the sign-in page. If your password is short or used elsewhere too, choose another one on your profile."
        )
    },
    second_step_attacked: "Somebody knows your password",
    second_step_attacked_text: |login, link| {
        format!(
            "somebody entered the right password of your login {login} and then many wrong codes. The second step has kept them out so far.\n\nChoose a new password now:\n\n{link}\n\nIf it was you who entered the codes, check that the clock of your phone is right."
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
    known_browser: "Neuen Browser verwenden",
    known_browser_text: |login, link| {
        format!(
            "jemand versucht, das Passwort Ihres Anmeldenamens {login} zu erraten; deshalb werden neue Browser zurzeit nicht zugelassen. Um sich mit einem neuen Browser anzumelden, öffnen Sie darin diesen Link. Er gilt einmal, eine Stunde lang:\n\n{link}\n\nDer Link meldet Sie nicht an: Sie brauchen weiterhin Ihr Passwort. Haben Sie ihn nicht angefordert, dann tun Sie nichts."
        )
    },
    password_attacked: "Jemand versucht, Ihr Passwort zu erraten",
    password_attacked_text: |login| {
        format!(
            "für Ihren Anmeldenamen {login} wurden viele falsche Passwörter eingegeben. Für eine Weile werden neue Browser nicht zugelassen. Browser, mit denen Sie schon angemeldet waren, funktionieren wie gewohnt.\n\nUm sich mit einem neuen Browser anzumelden, verwenden Sie einen Passkey oder fordern Sie auf der Anmeldeseite einen Link an. Ist Ihr Passwort kurz oder wird es auch anderswo verwendet, dann wählen Sie in Ihrem Profil ein anderes."
        )
    },
    second_step_attacked: "Jemand kennt Ihr Passwort",
    second_step_attacked_text: |login, link| {
        format!(
            "jemand hat das richtige Passwort Ihres Anmeldenamens {login} und danach viele falsche Codes eingegeben. Der zweite Schritt hat das bisher aufgehalten.\n\nWählen Sie jetzt ein neues Passwort:\n\n{link}\n\nHaben Sie die Codes selbst eingegeben, dann prüfen Sie, ob die Uhr Ihres Telefons richtig geht."
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
    known_browser: "Използвайте нов браузър",
    known_browser_text: |login, link| {
        format!(
            "някой се опитва да познае паролата за потребителското ви име {login}, затова в момента нови браузъри не се допускат. За да влезете с нов браузър, отворете в него тази връзка. Тя важи веднъж, един час:\n\n{link}\n\nВръзката не ви вписва: паролата ви все още е нужна. Ако не сте я поискали вие, не правете нищо."
        )
    },
    password_attacked: "Някой се опитва да познае паролата ви",
    password_attacked_text: |login| {
        format!(
            "за потребителското ви име {login} бяха въведени много грешни пароли. За известно време нови браузъри не се допускат. Браузърите, с които вече сте влизали, работят както обикновено.\n\nЗа да влезете с нов браузър, използвайте ключ за достъп или поискайте връзка от страницата за вход. Ако паролата ви е кратка или я използвате и другаде, изберете друга в профила си."
        )
    },
    second_step_attacked: "Някой знае паролата ви",
    second_step_attacked_text: |login, link| {
        format!(
            "някой въведе вярната парола за потребителското ви име {login} и след това много грешни кодове. Досега втората стъпка го е спряла.\n\nИзберете нова парола сега:\n\n{link}\n\nАко кодовете сте въвели вие, проверете дали часовникът на телефона ви е верен."
        )
    },
};
