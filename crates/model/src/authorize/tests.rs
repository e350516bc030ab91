use oauth::params::Params;
use oauth::secret::Presented;
use uuid::Uuid;

use super::*;
use crate::application::tests::{PUBLIC, application, confidential};
use crate::entities::Permissions;
use crate::session::SessionCookie;
use crate::{Login, SessionId, UserId};

const CHALLENGE: &str = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

fn asked(query: &str) -> AuthorizationRequest {
    let query = format!("client_id=app&redirect_uri=https://a/cb&response_type=code&{query}");
    AuthorizationRequest::parse(&Params::parse(query.as_bytes()).expect("valid")).expect("valid")
}

pub(crate) fn user(user_type: UserType) -> User {
    User {
        id: UserId(Uuid::nil()),
        login: Login::parse("alice").expect("valid"),
        user_type,
        admin_flag: false,
        enabled: true,
        name: "Alice".into(),
        email: None,
        locale: None,
        permissions: Permissions::default(),
        epoch: 0,
        has_second_factor: false,
        updated_at: Timestamp(0),
        problems: Vec::new(),
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
    let refusal =
        |app: &TrustedApplication, query: &str| check(app, &asked(query)).err().map(|refusal| refusal.cause());
    assert_eq!(refusal(&app, CHALLENGE), None);
    assert_eq!(refusal(&app, "scope=read"), Some("pkce_required"));
    let plain = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=plain&scope=x";
    assert_eq!(refusal(&app, plain), Some("pkce_refused"));
    assert_eq!(refusal(&app, &format!("{CHALLENGE}&scope=update")), Some("scope_not_registered"));
    app.sign_in.internal = false;
    assert_eq!(refusal(&app, "scope=nonsense"), Some("application_not_for_sign_in"));
    let confidential = application(confidential("s", None), "read");
    assert_eq!(refusal(&confidential, "scope=read"), None, "a confidential application may go without PKCE");
}

/// (query, who, consented, expected)
#[test]
fn prompt_and_max_age_decide_what_is_asked() {
    use LoginNeeded::{Another, NobodySignedIn, TooOld};
    let (required, auth_time) = (AuthorizeRefusal::LoginRequired, Timestamp::from_seconds(1000));
    let app = application(confidential("s", None), "read");
    let at = Timestamp::from_seconds(1100);
    let step = |query: &str, user: Option<(UserType, bool)>, consented: &str| {
        let asked = asked(query);
        let grantable = check(&app, &asked).expect("allowed");
        let (session, consented) = (session(), Scope::parse(consented).expect("valid"));
        let person = user.map(|(kind, _)| self::user(kind));
        let who = person.as_ref().map(|user_| SignInState {
            user: user_,
            session: &session,
            for_this_request: user.is_some_and(|(_, fresh)| fresh),
            is_another: query.contains("id_token_hint"),
            consented: &consented,
        });
        next_step(at, &app, RedirectMatch::Exact, &asked, &grantable, who)
    };
    let alice = Some((UserType::Internal, false));
    let just_now = Some((UserType::Internal, true));
    let carol = Some((UserType::ExternalCommunity, false));
    assert_eq!(step("scope=read", None, ""), Ok(NextStep::SignIn));
    assert_eq!(step("scope=read&prompt=none", None, ""), Err(required(NobodySignedIn)));
    assert_eq!(step("scope=read", alice, ""), Ok(NextStep::Consent));
    let (asked_for, consented) = (Scope::parse("read").expect("valid"), Scope::default());
    let consent = AuthorizeRefusal::ConsentRequired { asked: asked_for, consented };
    assert_eq!(step("scope=read&prompt=none", alice, ""), Err(consent));
    assert_eq!(step("scope=read&prompt=none", alice, "read"), Ok(NextStep::Issue));
    assert_eq!(step("scope=read", alice, "read openid"), Ok(NextStep::Issue));
    assert_eq!(step("scope=read+openid", alice, "read"), Ok(NextStep::Consent), "more than was agreed to");
    assert_eq!(step("scope=read&prompt=consent", alice, "read"), Ok(NextStep::Consent));
    assert_eq!(step("scope=read&prompt=login", alice, "read"), Ok(NextStep::SignIn));
    assert_eq!(step("scope=read&prompt=login", just_now, "read"), Ok(NextStep::Issue));
    assert_eq!(step("scope=read&prompt=select_account", alice, "read"), Ok(NextStep::SignIn));
    assert_eq!(step("scope=read&max_age=99", alice, "read"), Ok(NextStep::SignIn));
    assert_eq!(step("scope=read&max_age=100", alice, "read"), Ok(NextStep::Issue));
    let too_old = TooOld { auth_time, max_age: 99, now: at };
    assert_eq!(step("scope=read&max_age=99&prompt=none", alice, "read"), Err(required(too_old)));
    assert_eq!(step("scope=read&max_age=0", just_now, "read"), Ok(NextStep::Issue));
    assert_eq!(
        step("scope=read", carol, "read"),
        Err(AuthorizeRefusal::UserTypeNotAllowed { user_type: UserType::ExternalCommunity })
    );
    assert_eq!(step("scope=read&id_token_hint=another", alice, "read"), Ok(NextStep::SignIn));
    assert_eq!(step("scope=read&id_token_hint=another", just_now, "read"), Err(required(Another)));
    assert_eq!(step("scope=read&id_token_hint=another&prompt=none", alice, "read"), Err(required(Another)));
}

/// RFC 8252 §8.6: earlier consent is not enough if another program could receive the code.
#[test]
fn a_public_application_that_could_be_another_program_gets_nothing_silently() {
    use RedirectMatch::{AnyLoopbackPort, Exact, PrivateScheme};
    let (public, secret) = (application(PUBLIC, "read"), application(confidential("s", None), "read"));
    let mut without_consent = public.clone();
    without_consent.require_consent = false;
    let read = Scope::parse("read").expect("valid");
    let (session, alice) = (session(), user(UserType::Internal));
    let step = |app: &TrustedApplication, redirect, query: &str, (consented, for_this_request): (&str, bool)| {
        let asked = asked(&format!("{CHALLENGE}&scope=read&{query}"));
        let grantable = check(app, &asked).expect("allowed");
        let consented = Scope::parse(consented).expect("valid");
        let (user, session) = (&alice, &session);
        let who = SignInState { user, session, for_this_request, is_another: false, consented: &consented };
        next_step(Timestamp::from_seconds(1100), app, redirect, &asked, &grantable, Some(who))
    };
    for redirect in [AnyLoopbackPort, PrivateScheme] {
        let confirm = Err(AuthorizeRefusal::InteractionRequired(redirect));
        for app in [&public, &without_consent] {
            assert_eq!(step(app, redirect, "", ("read", false)), Ok(NextStep::SignIn));
            assert_eq!(step(app, redirect, "", ("read", true)), Ok(NextStep::Issue), "a page was answered");
            assert_eq!(step(app, redirect, "prompt=none", ("read", false)), confirm);
        }
        assert_eq!(step(&public, redirect, "", ("", false)), Ok(NextStep::Consent), "the one page is enough");
        let consent = AuthorizeRefusal::ConsentRequired { asked: read.clone(), consented: Scope::default() };
        assert_eq!(step(&public, redirect, "prompt=none", ("", false)), Err(consent), "goes before");
        let login = step(&public, redirect, "prompt=none&max_age=0", ("read", false));
        assert!(matches!(login, Err(AuthorizeRefusal::LoginRequired(_))), "goes before: {login:?}");
        assert_eq!(step(&secret, redirect, "", ("read", false)), Ok(NextStep::Issue), "its secret tells who it is");
    }
    assert_eq!(step(&public, Exact, "", ("read", false)), Ok(NextStep::Issue));
    assert_eq!(step(&public, Exact, "prompt=none", ("read", false)), Ok(NextStep::Issue));
}
