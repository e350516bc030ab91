//! What the authorization endpoint decides (`identity.md` §3.1), once the target of a redirect is trusted.

use std::borrow::Cow;
use std::time::Duration;

use oauth::authorize::{AuthorizationError, AuthorizationErrorCode as Code, AuthorizationRequest, Prompt};
use oauth::pkce::{Challenge, PkceError};
use oauth::scope::Scope;

use crate::application::{ScopeNotAllowed, grant_scope};
use crate::{IdentitySession, Timestamp, TrustedApplication, User};

/// Why an authorization request was refused; each goes back to the application as a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizeRefusal {
    Malformed(AuthorizationError),
    NotForSignIn,
    PkceRequired,
    Pkce(PkceError),
    ScopeNotAllowed(String),
    UserTypeNotAllowed,
    LoginRequired,
    ConsentRequired,
    ConsentRefused,
    /// The application or the user changed between two looks.
    Overtaken,
}

impl AuthorizeRefusal {
    pub fn code(&self) -> Code {
        match self {
            Self::Malformed(error) => error.code,
            Self::NotForSignIn => Code::UnauthorizedClient,
            Self::PkceRequired | Self::Pkce(_) => Code::InvalidRequest,
            Self::ScopeNotAllowed(_) => Code::InvalidScope,
            Self::UserTypeNotAllowed | Self::ConsentRefused => Code::AccessDenied,
            Self::LoginRequired => Code::LoginRequired,
            Self::ConsentRequired => Code::ConsentRequired,
            Self::Overtaken => Code::TemporarilyUnavailable,
        }
    }

    /// `error_description`: tells the application's developer what to do.
    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::Malformed(error) => error.description.clone(),
            Self::NotForSignIn => "this application may not sign users in".into(),
            Self::PkceRequired => "code_challenge is required: use PKCE with S256 (RFC 7636)".into(),
            Self::Pkce(error) => error.to_string().into(),
            Self::ScopeNotAllowed(scope) => format!("scope {scope} is not registered for this application").into(),
            Self::UserTypeNotAllowed => "this kind of user may not sign in to this application".into(),
            Self::LoginRequired => "the user who is asked for is not signed in".into(),
            Self::ConsentRequired => "the user has not consented, and prompt=none forbids asking".into(),
            Self::ConsentRefused => "the user did not consent".into(),
            Self::Overtaken => "something changed meanwhile: start again".into(),
        }
    }

    /// The exact cause, for the audit.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_request",
            Self::NotForSignIn => "application_not_for_sign_in",
            Self::PkceRequired => "pkce_required",
            Self::Pkce(_) => "pkce_refused",
            Self::ScopeNotAllowed(_) => "scope_not_registered",
            Self::UserTypeNotAllowed => "user_type_not_allowed",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::ConsentRefused => "consent_refused",
            Self::Overtaken => "overtaken",
        }
    }
}

/// A request that may be granted, if the person agrees.
#[derive(Clone, Debug)]
pub struct Grantable {
    pub scope: Scope,
    pub challenge: Option<Challenge>,
}

type Check = fn(&TrustedApplication, &AuthorizationRequest) -> Result<(), AuthorizeRefusal>;

/// One line, one rule, in the order of `identity.md` §3.1; the first that fails is the answer.
const CHECKS: &[Check] = &[
    application_signs_users_in,         // RFC 6749 §4.1.2.1, unauthorized_client
    public_application_uses_pkce,       // RFC 9700 §2.1.1
    challenge_is_s256,                  // RFC 7636 §4.3
    scope_is_registered_or_of_protocol, // RFC 6749 §3.3
];

fn application_signs_users_in(app: &TrustedApplication, _: &AuthorizationRequest) -> Result<(), AuthorizeRefusal> {
    if app.sign_in.allowed() { Ok(()) } else { Err(AuthorizeRefusal::NotForSignIn) }
}

fn public_application_uses_pkce(
    app: &TrustedApplication,
    asked: &AuthorizationRequest,
) -> Result<(), AuthorizeRefusal> {
    if app.is_public() && asked.code_challenge.is_none() { Err(AuthorizeRefusal::PkceRequired) } else { Ok(()) }
}

fn challenge_is_s256(_: &TrustedApplication, asked: &AuthorizationRequest) -> Result<(), AuthorizeRefusal> {
    asked.challenge().map(|_| ()).map_err(AuthorizeRefusal::Pkce)
}

fn scope_is_registered_or_of_protocol(
    app: &TrustedApplication,
    asked: &AuthorizationRequest,
) -> Result<(), AuthorizeRefusal> {
    grant_scope(app, asked.scope.as_ref())
        .map(|_| ())
        .map_err(|ScopeNotAllowed(name)| AuthorizeRefusal::ScopeNotAllowed(name))
}

/// Checks 4 to 6: may this application ask for this at all?
pub fn check(app: &TrustedApplication, asked: &AuthorizationRequest) -> Result<Grantable, AuthorizeRefusal> {
    for check in CHECKS {
        check(app, asked)?;
    }
    Ok(Grantable {
        scope: grant_scope(app, asked.scope.as_ref())
            .map_err(|ScopeNotAllowed(name)| AuthorizeRefusal::ScopeNotAllowed(name))?,
        challenge: asked.challenge().map_err(AuthorizeRefusal::Pkce)?,
    })
}

/// Who is at the browser.
#[derive(Clone, Copy)]
pub struct SignedIn<'a> {
    pub user: &'a User,
    pub session: &'a IdentitySession,
    /// The person proved who they are for this very request, so `prompt=login` and `max_age` are met.
    pub for_this_request: bool,
    /// Not the person that `id_token_hint` names (OpenID Connect Core §3.1.2.1).
    pub is_another: bool,
    /// What the user agreed to before, for this application.
    pub consented: &'a Scope,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    SignIn,
    Consent,
    Issue,
}

/// Check 7: sign-in, user type, consent (OpenID Connect Core §3.1.2.3, §3.1.2.4).
pub fn next_step(
    now: Timestamp,
    app: &TrustedApplication,
    asked: &AuthorizationRequest,
    grantable: &Grantable,
    who: Option<SignedIn<'_>>,
) -> Result<Step, AuthorizeRefusal> {
    let silent = asked.prompt.none;
    let Some(who) = who.filter(|who| !must_sign_in_again(now, asked, *who)) else {
        return if silent { Err(AuthorizeRefusal::LoginRequired) } else { Ok(Step::SignIn) };
    };
    if who.is_another {
        return if silent || who.for_this_request { Err(AuthorizeRefusal::LoginRequired) } else { Ok(Step::SignIn) };
    }
    if !app.admits(who.user) {
        return Err(AuthorizeRefusal::UserTypeNotAllowed);
    }
    let agreed = !app.require_consent || grantable.scope.is_subset(who.consented);
    match (agreed && !asked.prompt.consent, silent) {
        (true, _) => Ok(Step::Issue),
        (false, true) => Err(AuthorizeRefusal::ConsentRequired),
        (false, false) => Ok(Step::Consent),
    }
}

/// May the person go on as who they are, by a press of a button? Only where nothing but a choice was asked for.
pub fn may_continue(now: Timestamp, asked: &AuthorizationRequest, session: &IdentitySession) -> bool {
    !asked.prompt.login && !is_too_old(now, asked, session)
}

fn is_too_old(now: Timestamp, asked: &AuthorizationRequest, session: &IdentitySession) -> bool {
    asked.max_age.is_some_and(|age| age == 0 || now.since(session.auth_time) > Duration::from_secs(age))
}

fn must_sign_in_again(now: Timestamp, asked: &AuthorizationRequest, who: SignedIn<'_>) -> bool {
    let Prompt { login, select_account, .. } = asked.prompt;
    !who.for_this_request && (login || select_account || is_too_old(now, asked, who.session))
}

#[cfg(test)]
mod tests {
    use oauth::params::Params;
    use oauth::secret::Presented;
    use uuid::Uuid;

    use super::*;
    use crate::application::tests::{PUBLIC, application, confidential};
    use crate::domain::Permissions;
    use crate::session::SessionCookie;
    use crate::{Login, SessionId, UserId, UserType};

    const CHALLENGE: &str = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

    fn asked(query: &str) -> AuthorizationRequest {
        let params = Params::parse(format!("response_type=code&{query}").as_bytes()).expect("valid");
        AuthorizationRequest::parse(&params).expect("valid")
    }

    fn user(user_type: UserType) -> User {
        User {
            id: UserId(Uuid::nil()),
            login: Login::parse("alice").expect("valid"),
            user_type,
            is_admin: false,
            enabled: true,
            name: "Alice".into(),
            email: None,
            locale: None,
            permissions: Permissions::default(),
            epoch: 0,
            updated_at: Timestamp(0),
        }
    }

    fn session() -> IdentitySession {
        IdentitySession {
            id: SessionId(Uuid::nil()),
            secret: Presented::<SessionCookie>::new("x").digest(),
            user: UserId(Uuid::nil()),
            auth_time: Timestamp::from_seconds(1000),
            amr: vec![],
            created_at: Timestamp::from_seconds(1000),
            last_seen: Timestamp::from_seconds(1000),
            user_epoch: 0,
        }
    }

    #[test]
    fn the_first_failing_check_is_the_answer() {
        let mut app = application(PUBLIC, "read");
        let refusal = |app: &TrustedApplication, query: &str| check(app, &asked(query)).err();
        assert_eq!(refusal(&app, CHALLENGE), None);
        assert_eq!(refusal(&app, "scope=read"), Some(AuthorizeRefusal::PkceRequired));
        assert!(matches!(
            refusal(
                &app,
                "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=plain&scope=x"
            ),
            Some(AuthorizeRefusal::Pkce(_))
        ));
        assert_eq!(
            refusal(&app, &format!("{CHALLENGE}&scope=update")),
            Some(AuthorizeRefusal::ScopeNotAllowed("update".into()))
        );
        app.sign_in.internal = false;
        assert_eq!(refusal(&app, "scope=nonsense"), Some(AuthorizeRefusal::NotForSignIn));
        let confidential = application(confidential("s", None), "read");
        assert_eq!(refusal(&confidential, "scope=read"), None, "a confidential application may go without PKCE");
    }

    /// (query, who, consented, expected)
    #[test]
    fn prompt_and_max_age_decide_what_is_asked() {
        use AuthorizeRefusal::{ConsentRequired, LoginRequired, UserTypeNotAllowed};
        let app = application(confidential("s", None), "read");
        let at = Timestamp::from_seconds(1100);
        let step = |query: &str, user: Option<(UserType, bool)>, consented: &str| {
            let asked = asked(query);
            let grantable = check(&app, &asked).expect("allowed");
            let (session, consented) = (session(), Scope::parse(consented).expect("valid"));
            let person = user.map(|(kind, _)| self::user(kind));
            let who = person.as_ref().map(|user_| SignedIn {
                user: user_,
                session: &session,
                for_this_request: user.is_some_and(|(_, fresh)| fresh),
                is_another: query.contains("id_token_hint"),
                consented: &consented,
            });
            next_step(at, &app, &asked, &grantable, who)
        };
        let alice = Some((UserType::Internal, false));
        let just_now = Some((UserType::Internal, true));
        let carol = Some((UserType::ExternalCommunity, false));
        assert_eq!(step("scope=read", None, ""), Ok(Step::SignIn));
        assert_eq!(step("scope=read&prompt=none", None, ""), Err(LoginRequired));
        assert_eq!(step("scope=read", alice, ""), Ok(Step::Consent));
        assert_eq!(step("scope=read&prompt=none", alice, ""), Err(ConsentRequired));
        assert_eq!(step("scope=read&prompt=none", alice, "read"), Ok(Step::Issue));
        assert_eq!(step("scope=read", alice, "read openid"), Ok(Step::Issue));
        assert_eq!(step("scope=read+openid", alice, "read"), Ok(Step::Consent), "more than was agreed to");
        assert_eq!(step("scope=read&prompt=consent", alice, "read"), Ok(Step::Consent));
        assert_eq!(step("scope=read&prompt=login", alice, "read"), Ok(Step::SignIn));
        assert_eq!(step("scope=read&prompt=login", just_now, "read"), Ok(Step::Issue));
        assert_eq!(step("scope=read&prompt=select_account", alice, "read"), Ok(Step::SignIn));
        assert_eq!(step("scope=read&max_age=99", alice, "read"), Ok(Step::SignIn));
        assert_eq!(step("scope=read&max_age=100", alice, "read"), Ok(Step::Issue));
        assert_eq!(step("scope=read&max_age=99&prompt=none", alice, "read"), Err(LoginRequired));
        assert_eq!(step("scope=read&max_age=0", just_now, "read"), Ok(Step::Issue));
        assert_eq!(step("scope=read", carol, "read"), Err(UserTypeNotAllowed));
        assert_eq!(step("scope=read&id_token_hint=another", alice, "read"), Ok(Step::SignIn));
        assert_eq!(step("scope=read&id_token_hint=another", just_now, "read"), Err(LoginRequired));
        assert_eq!(step("scope=read&id_token_hint=another&prompt=none", alice, "read"), Err(LoginRequired));
    }
}
