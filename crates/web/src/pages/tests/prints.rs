//! Every page in each of its states, with ordinary texts or with texts that try to inject markup.

use model::Language;
use model::email_change::AddressSide;

use crate::messages;
use crate::pages::email::*;
use crate::pages::two_step::*;
use crate::pages::*;

mod profile;

/// One page in one state.
pub(super) struct Rendered {
    /// Page and state: `sign-in.error`.
    pub(super) name: &'static str,
    pub(super) html: String,
    /// The names of the texts on the page.
    pub(super) texts: Vec<&'static str>,
}

/// Renders pages and records the texts used.
struct Press {
    hostile: bool,
    texts: Vec<&'static str>,
    rendered: Vec<Rendered>,
}

const HOSTILE: &str = r#"</p><script>x</script>"'&"#;
pub(super) const HOSTILE_ESCAPED: &str = "&#60;/p&#62;&#60;script&#62;x&#60;/script&#62;&#34;&#39;&#38;";

impl Press {
    /// The text itself, or hostile markup that contains the text's name. Lives as long as the test run.
    fn ink(&mut self, name: &'static str, plain: &'static str) -> &'static str {
        self.texts.push(name);
        if self.hostile { format!("{HOSTILE}{name}.").leak() } else { plain }
    }

    fn print(&mut self, name: &'static str, page: &impl Template) {
        let html = page.render().expect("writing to a string cannot fail");
        self.rendered.push(Rendered { name, html, texts: std::mem::take(&mut self.texts) });
    }
}

pub(super) fn every_page(hostile: bool) -> Vec<Rendered> {
    let mut press = Press { hostile, texts: Vec::new(), rendered: Vec::new() };
    print_sign_in(&mut press);
    print_second_step(&mut press);
    print_consent(&mut press);
    print_error(&mut press);
    print_sign_out(&mut press);
    print_form_post(&mut press);
    print_set_up(&mut press);
    print_links(&mut press);
    print_sites(&mut press);
    profile::print(&mut press);
    press.rendered
}

fn print_sign_in(press: &mut Press) {
    let page = SignInPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        application_name: Some(press.ink("application", "My First App")),
        action: press.ink("action", "/id/account/login?return=4f1c"),
        csrf: press.ink("csrf", "9b2e7c"),
        login: "",
        error: None,
        notice: None,
        signed_in_as: None,
        forgotten_url: "/id/account/forgotten",
        passkey: Some(passkey(press)),
        spent: None,
    };
    press.print("sign-in", &page);
    let page = SignInPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        login: press.ink("login", "alice"),
        error: Some(press.ink("error", "That login and password do not go together. Check both and try again.")),
        notice: Some(press.ink("notice", "That was one try too many. Wait 8 seconds before the next one.")),
        ..page
    };
    press.print("sign-in.error", &page);
    let page = SignInPage { error: None, application_name: None, ..page };
    press.print("sign-in.notice", &page);
    let link_action = Some(press.ink("link action", "/id/account/known-browser"));
    let page = SignInPage { spent: Some(SpentGuesses { link_action }), ..page };
    press.print("sign-in.spent", &page);
    let page = SignInPage { spent: Some(SpentGuesses { link_action: None }), ..page };
    press.print("sign-in.spent-without-mail", &page);
    let page = SignInPage {
        spent: None,
        login: "",
        notice: None,
        signed_in_as: Some(press.ink("signed-in-as", "alice")),
        ..page
    };
    press.print("sign-in.select", &page);
}

fn passkey(press: &mut Press) -> PasskeyForm<'static> {
    PasskeyForm {
        action: press.ink("passkey action", "/id/account/passkey?return=4f1c"),
        label: press.ink("passkey label", "Use a passkey"),
        options: press.ink("options", r#"{"publicKey":{}}"#),
        state: press.ink("state", "1900000000.e30.c2ln"),
    }
}

fn print_second_step(press: &mut Press) {
    let page = |press: &mut Press, field| SecondStepPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        login: press.ink("login", "alice"),
        action: press.ink("action", "/id/account/second-step?return=4f1c"),
        csrf: press.ink("csrf", "9b2e7c"),
        field,
        passkey: None,
        error: None,
        notice: None,
        other_way: None,
        begin_anew_url: press.ink("anew", "/id/account/login"),
        new_password_url: None,
    };
    let first = page(press, Some(CodeField::App));
    let passkey = passkey(press);
    let other_way = Some((press.ink("other", "/id/account/recovery-code"), press.ink("words", "Use a recovery code")));
    press.print("second-step", &SecondStepPage { passkey: Some(passkey), other_way, ..first });
    let refused = page(press, Some(CodeField::App));
    let error = Some(press.ink("error", "This code is not right, or it was used already."));
    press.print("second-step.error", &SecondStepPage { error, ..refused });
    let recovery = page(press, Some(CodeField::Recovery));
    let notice = Some(press.ink("notice", "Too many wrong codes lately. Please wait 8 seconds and try again."));
    press.print("second-step.recovery", &SecondStepPage { notice, ..recovery });
    let closed = page(press, Some(CodeField::App));
    let new_password_url = Some(press.ink("new password", "/id/account/forgotten"));
    press.print("second-step.closed", &SecondStepPage { notice, new_password_url, ..closed });
}

fn print_consent(press: &mut Press) {
    let read = ScopeLine {
        name: press.ink("scope-name", "read"),
        title: press.ink("scope-title", "Read your data"),
        description: press.ink("scope-description", "Everything you may see yourself, nothing more."),
    };
    let update = ScopeLine {
        name: "update",
        title: "Change your data",
        description: "Create, change and delete whatever you may change yourself.",
    };
    let offline = ScopeLine {
        name: "offline_access",
        title: "Stay connected",
        description: "Go on working for you while you are away, for up to 30 days.",
    };
    let scopes = [read, update, offline];
    let page = ConsentPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        application_name: press.ink("application", "My First App"),
        application_uri: press.ink("application-uri", "my.trusted.app/first"),
        user_name: press.ink("user", "Alice Archer"),
        user_login: press.ink("login", "alice"),
        scopes: &scopes,
        action: press.ink("action", "/id/account/consent"),
        csrf: press.ink("csrf", "9b2e7c"),
        policy_url: Some(press.ink("policy", "https://your-app.example.com/privacy")),
        terms_url: Some(press.ink("terms", "https://your-app.example.com/terms")),
        switch_url: Some(press.ink("switch", "/id/account/login?switch=1")),
    };
    press.print("consent", &page);
    press.print(
        "consent.bare",
        &ConsentPage { scopes: &[], policy_url: None, terms_url: None, switch_url: None, ..page },
    );
}

fn print_error(press: &mut Press) {
    let page = ErrorPage {
        messages: messages::of(Language::English),
        title: press.ink("title", "This app is not set up correctly"),
        message: press.ink(
            "message",
            "The app asked to send you to an address that is not registered for it, so you were not sent there.",
        ),
        what_to_do: press.ink(
            "what-to-do",
            "Go back to the app and try once more. If you see this page again, tell whoever looks after the app.",
        ),
        code: press.ink("code", "invalid_request"),
        reference: press.ink("reference", "0193f2c4-7d1e-7b7c-9a52-3c1f0e6b8d10"),
        status: StatusCode::BAD_REQUEST,
    };
    press.print("error", &page);
}

fn print_sign_out(press: &mut Press) {
    let fields = [(press.ink("field-name", "state").to_owned(), press.ink("field-value", "af0ifjsldkj").to_owned())];
    let page = SignOutPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        user: press.ink("user", "Alice Archer"),
        application_name: Some(press.ink("application", "My First App")),
        action: press.ink("action", "/id/connect/endsession"),
        csrf: press.ink("csrf", "9b2e7c"),
        fields: &fields,
    };
    press.print("sign-out", &page);
    press.print("sign-out.bare", &SignOutPage { application_name: None, fields: &[], ..page });

    let page = SignedOutPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        application_name: Some(press.ink("application", "My First App")),
        return_url: Some(press.ink("return", "http://localhost:3000/signed-out")),
    };
    press.print("signed-out", &page);
    press.print("signed-out.app", &SignedOutPage { return_url: None, ..page });
    press.print("signed-out.return", &SignedOutPage { application_name: None, ..page });
    press.print("signed-out.bare", &SignedOutPage { return_url: None, application_name: None, ..page });
}

fn print_form_post(press: &mut Press) {
    let parameters =
        [("code", press.ink("code", "c1").to_owned()), ("state", press.ink("state", "af0ifjsldkj").to_owned())];
    let page = FormPostPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        action: press.ink("action", "https://your-app.example.com/signin-callback"),
        parameters: &parameters,
    };
    press.print("form-post", &page);
}

fn print_set_up(press: &mut Press) {
    let page = SetUpPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        login: press.ink("login", "admin"),
        reset: false,
        action: press.ink("action", "/id/account/setup"),
        csrf: press.ink("csrf", "9b2e7c"),
        code: press.ink("code", "K7QF"),
        error: None,
    };
    press.print("set-up", &page);
    let error = Some(press.ink("error", "The two passwords differ. Type the same one twice."));
    press.print("set-up.error", &SetUpPage { error, ..page });
    press.print("set-up.reset", &SetUpPage { reset: true, ..page });
    let page = SetUpDonePage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        sign_in_url: press.ink("sign-in", "/id/account/login"),
    };
    press.print("set-up-done", &page);
}

fn print_links(press: &mut Press) {
    let page = PasswordResetPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        sends_mail: true,
        action: press.ink("action", "/id/account/forgotten"),
        csrf: press.ink("csrf", "9b2e7c"),
        notice: Some(press.ink("notice", "Please wait 7 seconds.")),
        sign_in_url: press.ink("sign-in", "/id/account/login"),
    };
    press.print("forgotten", &page);
    let (instance_name, sign_in_url) = (page.instance_name, page.sign_in_url);
    press.print("forgotten.no-mail", &PasswordResetPage { sends_mail: false, notice: None, ..page });
    press.print("forgotten-sent", &PasswordResetSentPage { messages: page.messages, instance_name, sign_in_url });
    print_known_browser(press);
    for (name, side) in [("confirm-email", AddressSide::New), ("confirm-email.old", AddressSide::Old)] {
        let page = ConfirmEmailPage {
            messages: messages::of(Language::English),
            instance_name: press.ink("instance", "testdb"),
            side,
            login: press.ink("login", "alice"),
            address: press.ink("address", "alice@example.com"),
            action: press.ink("action", "/id/account/confirm-email"),
            csrf: press.ink("csrf", "9b2e7c"),
            code: press.ink("code", "K7QF"),
        };
        press.print(name, &page);
    }
    let page = EmailAnsweredPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        title: press.ink("title", "Nothing changes"),
        meaning: press.ink("meaning", "The address stays as it was."),
        password_url: Some(press.ink("url", "/profile/password")),
    };
    press.print("email-answered", &page);
}

fn print_known_browser(press: &mut Press) {
    let page = KnownBrowserPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        login: press.ink("login", "alice"),
        action: press.ink("action", "/id/account/known-browser"),
        csrf: press.ink("csrf", "9b2e7c"),
        code: press.ink("code", "K7QF"),
    };
    press.print("known-browser", &page);
    for (name, is_sent) in [("known-browser-sent", true), ("known-browser-done", false)] {
        let sign_in_url = press.ink("sign-in", "/id/account/login");
        let (messages, instance_name) = (page.messages, page.instance_name);
        press.print(name, &KnownBrowserDonePage { messages, instance_name, is_sent, sign_in_url });
    }
}

fn print_sites(press: &mut Press) {
    let sites = [
        SiteLink {
            name: press.ink("site", "Your profile"),
            description: press.ink("site-description", "Your password, access tokens, connected apps and devices."),
            url: press.ink("site-url", "/profile"),
        },
        SiteLink {
            name: "Instance manager",
            description: "Trusted applications, users and settings, for administrators.",
            url: "/manage",
        },
        SiteLink {
            name: "Domain API",
            description: "The OData service, for programs that have a token.",
            url: "/api/domain/odata/",
        },
    ];
    let page = LandingPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        sites: &sites,
        version: press.ink("version", "0.1.0"),
    };
    press.print("landing", &page);
    press.texts.extend(["site", "site-description", "site-url"]);
    let page = AccountPage {
        messages: messages::of(Language::English),
        instance_name: press.ink("instance", "testdb"),
        user_name: press.ink("user", "Alice Archer"),
        login: press.ink("login", "alice"),
        sign_out_url: press.ink("sign-out", "/id/connect/endsession"),
        sites: &sites,
    };
    press.print("account", &page);
    press.print("account.bare", &AccountPage { sites: &[], ..page });
}
