//! The pages of the profile site.

use model::{Email, Language, PasskeyId, Timestamp};

use crate::messages;
use crate::messages::Messages;
use crate::pages::email::*;
use crate::pages::profile::*;
use crate::pages::tests::prints::Press;
use crate::pages::tokens::*;
use crate::pages::two_step::*;

const WORDS: fn() -> &'static Messages = || messages::of(Language::English);

fn frame(press: &mut Press, section: ProfileSection) -> ProfileFrame<'static> {
    ProfileFrame {
        messages: WORDS(),
        instance_name: press.ink("instance", "testdb"),
        user_name: press.ink("user", "Alice Archer"),
        login: press.ink("login", "alice"),
        section,
        csrf: press.ink("csrf", "9b2e7c"),
        said: ProfileNotice::Nothing,
    }
}

pub(super) fn print(press: &mut Press) {
    print_two_step(press);
    print_email(press);
    let since = DisplayTime(Timestamp::from_seconds(1_795_255_032));
    let email = Email { address: press.ink("email", "alice@example.com").to_owned(), verified: true };
    let mut page = OverviewPage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::Overview),
        email: Some(&email),
        kind: "Internal user",
        is_admin: true,
        since,
    };
    // The overview has no form.
    press.texts.retain(|text| *text != "csrf");
    press.print("profile", &page);
    page = OverviewPage { frame: frame(press, ProfileSection::Overview), email: None, is_admin: false, ..page };
    press.texts.retain(|text| *text != "csrf");
    press.print("profile.bare", &page);

    let frame_of_language = frame(press, ProfileSection::Language);
    let page = LanguagePage { messages: WORDS(), frame: frame_of_language, chosen: Some(Language::Bulgarian) };
    press.print("profile-language", &page);
    let said = ProfileNotice::Refused(press.ink("error", "Somebody else changed this."));
    let frame_of_language = frame(press, ProfileSection::Language).saying(said);
    press.print("profile-language.error", &LanguagePage { frame: frame_of_language, chosen: None, ..page });
    print_forms(press);
    print_lists(press);
    print_tokens(press);
}

fn print_email(press: &mut Press) {
    let email = Email { address: press.ink("email", "alice@example.com").to_owned(), verified: false };
    let asked = [(press.ink("new", "alice@home.example"), true), (press.ink("old", "alice@work.example"), false)];
    let until = DisplayTime(Timestamp::from_seconds(1_795_255_032));
    let mut page = EmailPage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::Email),
        email: Some(&email),
        waiting: Some(PendingAddress { asked: &asked, until }),
        way: EmailChangeMethod::SignInAgain(press.ink("again", "/id/account/login?return=x")),
    };
    press.print("profile-email", &page);
    let said = ProfileNotice::Refused(press.ink("error", "This is no address that mail can go to."));
    let way = EmailChangeMethod::Ask(press.ink("typed", "alice at home"));
    page =
        EmailPage { frame: frame(press, ProfileSection::Email).saying(said), email: None, waiting: None, way, ..page };
    press.print("profile-email.error", &page);
    page = EmailPage { frame: frame(press, ProfileSection::Email), way: EmailChangeMethod::NoMail, ..page };
    press.texts.retain(|text| *text != "csrf");
    press.print("profile-email.no-mail", &page);
}

fn print_forms(press: &mut Press) {
    let page = PasswordPage { messages: WORDS(), frame: frame(press, ProfileSection::Password), live_tokens: 2 };
    press.print("profile-password", &page);
    let said = ProfileNotice::Refused(press.ink("error", "The password until now is not right."));
    let page =
        PasswordPage { messages: WORDS(), frame: frame(press, ProfileSection::Password).saying(said), live_tokens: 0 };
    press.print("profile-password.error", &page);
    let page = PicturePage { messages: WORDS(), frame: frame(press, ProfileSection::Picture), is_chosen: true };
    press.print("profile-picture", &page);
    let said = ProfileNotice::Refused(press.ink("error", "The file is damaged."));
    let page =
        PicturePage { messages: WORDS(), frame: frame(press, ProfileSection::Picture).saying(said), is_chosen: false };
    press.print("profile-picture.error", &page);
}

fn print_lists(press: &mut Press) {
    let at = DisplayTime(Timestamp::from_seconds(1_795_255_032));
    let lines = [
        SessionLine {
            id: press.ink("id", "0193f2c4").to_owned(),
            device: press.ink("device", "Firefox on Linux").to_owned(),
            address: press.ink("address", "192.0.2.1").to_owned(),
            since: at,
            last_used: at,
            applications: vec![press.ink("application", "My First App").to_owned()],
            is_this: true,
        },
        SessionLine {
            id: "0193f2c5".to_owned(),
            device: "Safari on iPhone".to_owned(),
            address: String::new(),
            since: at,
            last_used: at,
            applications: Vec::new(),
            is_this: false,
        },
    ];
    let page = SessionsPage { messages: WORDS(), frame: frame(press, ProfileSection::Sessions), lines: &lines };
    press.print("profile-sessions", &page);
    let lines = [AppLine {
        id: press.ink("id", "0193f2c4").to_owned(),
        name: press.ink("application", "My First App").to_owned(),
        uri: press.ink("uri", "my.trusted.app/first").to_owned(),
        allowed: vec!["Read data", "Change data"],
        since: Some(at),
        holds_tokens: true,
    }];
    let page = AppsPage { messages: WORDS(), frame: frame(press, ProfileSection::Apps), lines: &lines };
    press.print("profile-apps", &page);
    let bare = AppsPage { messages: WORDS(), frame: frame(press, ProfileSection::Apps), lines: &[] };
    press.texts.retain(|text| *text != "csrf");
    press.print("profile-apps.bare", &bare);
}

fn print_tokens(press: &mut Press) {
    let at = DisplayTime(Timestamp::from_seconds(1_795_255_032));
    let application = |press: &mut Press| TokenApplication {
        id: press.ink("application-id", "0193f2c4").to_owned(),
        name: press.ink("application", "Scripts"),
        uri: press.ink("uri", "my.trusted.app/scripts"),
    };
    let lines = [TokenLine {
        id: press.ink("id", "0193f2c4").to_owned(),
        masked: press.ink("masked", "enrt_…7960").to_owned(),
        description: press.ink("description", "nightly export").to_owned(),
        application: press.ink("application", "Scripts").to_owned(),
        scope: press.ink("scope", "read").to_owned(),
        created: at,
        expires: Some(at),
        is_expired: true,
        last_used: Some(at),
    }];
    let applications = [application(press)];
    let page = TokensPage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::Tokens),
        lines: &lines,
        applications: &applications,
    };
    press.print("profile-tokens", &page);
    let scopes = [ScopeChoice { name: "read", title: "Read data", description: "See it.", is_chosen: true }];
    let expiries = [Expiry { value: "30".to_owned(), name: "30 days".to_owned(), is_chosen: true }];
    let description = press.ink("description", "nightly export");
    let form = NewTokenForm { description, scopes: &scopes, expiries: &expiries };
    let page = NewTokenPage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::Tokens),
        application: application(press),
        form: Some(form),
        sign_in_url: "/id/account/login",
    };
    press.print("profile-token-new", &page);
    let said = ProfileNotice::Refused(press.ink("error", "Choose at least one thing."));
    let form = NewTokenForm { description: "", scopes: &scopes, expiries: &expiries };
    let frame_of_error = frame(press, ProfileSection::Tokens).saying(said);
    let page = NewTokenPage { frame: frame_of_error, application: application(press), form: Some(form), ..page };
    press.print("profile-token-new.error", &page);
    let page = TokenCreatedPage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::Tokens),
        value: press.ink("value", "enrt_0123"),
        description: press.ink("description", "nightly export"),
        expires: Some(at),
        call: press.ink("call", "http://localhost:8080/api/domain/odata/Crm_Customers?$top=1"),
    };
    press.texts.retain(|text| *text != "csrf");
    press.print("profile-token-made", &page);
}

fn print_two_step(press: &mut Press) {
    let day = DisplayTime(Timestamp::from_seconds(1_795_255_032));
    let lines = [
        PasskeyLine {
            id: PasskeyId(uuid::Uuid::from_u128(7)),
            name: press.ink("passkey", "Laptop"),
            added: day,
            last_used: Some(day),
        },
        PasskeyLine { id: PasskeyId(uuid::Uuid::from_u128(8)), name: "Blue key", added: day, last_used: None },
    ];
    let mut page = TwoStepPage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::TwoStep),
        is_on: true,
        app_since: Some(day),
        passkeys: &lines,
        knows_passkeys: true,
        recovery_codes_left: 7,
    };
    press.texts.retain(|text| *text != "csrf");
    press.print("profile-two-step", &page);
    page = TwoStepPage {
        is_on: false,
        app_since: None,
        passkeys: &[],
        frame: frame(press, ProfileSection::TwoStep),
        ..page
    };
    press.texts.retain(|text| *text != "csrf");
    press.print("profile-two-step.off", &page);

    let said = ProfileNotice::Refused(press.ink("error", "This is not the code that the app shows."));
    let page = AuthenticatorPage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::TwoStep).saying(said),
        picture: r#"<svg role="img" aria-label="QR code"></svg>"#,
        uri: press.ink("uri", "otpauth://totp/testdb:alice?secret=GEZDGNBVGY3TQOJQ"),
        secret: press.ink("secret", "GEZD GNBV GY3T QOJQ"),
        offer: press.ink("offer", "1900000000.GEZD.c2ln"),
        is_first: true,
    };
    press.print("profile-two-step-app.error", &page);
    let said = ProfileNotice::Refused(press.ink("error", "This passkey could not be added."));
    let page = PasskeyPage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::TwoStep).saying(said),
        options: press.ink("options", r#"{"publicKey":{}}"#),
        state: press.ink("state", "1900000000.e30.c2ln"),
        name: press.ink("name", "Laptop"),
        is_first: false,
    };
    press.print("profile-two-step-passkey.error", &page);
    let page = ConfirmPage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::TwoStep),
        what: press.ink("what", "app"),
        title: press.ink("title", "Remove the authenticator app?"),
        meaning: press.ink("meaning", "You will no longer be able to sign in with its codes."),
        button: press.ink("button", "Remove"),
    };
    press.print("profile-two-step-confirm", &page);
    let page = ProvePage {
        messages: WORDS(),
        frame: frame(press, ProfileSection::TwoStep),
        title: press.ink("title", "Remove the authenticator app?"),
        sign_in_url: press.ink("url", "/id/account/login?return=%2Fprofile%2Ftwo-step"),
    };
    press.texts.retain(|text| *text != "csrf");
    press.print("profile-two-step-prove", &page);
    let codes = [press.ink("code", "000G-40R4-0M30-E27Z"), "ZZZZ-ZZZZ-ZZZZ-ZZZZ"];
    let page = RecoveryCodesPage { messages: WORDS(), frame: frame(press, ProfileSection::TwoStep), codes: &codes };
    press.texts.retain(|text| *text != "csrf");
    press.print("profile-recovery-codes", &page);
}
