use super::*;

fn params(query: &str) -> Params {
    Params::parse(query.as_bytes()).expect("well-formed")
}

const TARGET: &str = "client_id=app&redirect_uri=https://a/cb";

fn target() -> AuthorizationTarget {
    AuthorizationTarget { client_id: "app".parse().expect("valid"), redirect_uri: "https://a/cb".to_owned() }
}

fn malformed(query: &str) -> Result<AuthorizationRequest, Box<MalformedParameters>> {
    AuthorizationRequest::parse(&params(&format!("{TARGET}&{query}"))).map_err(|malformed| match malformed {
        MalformedAuthorizationRequest::Parameters(malformed) => malformed,
        MalformedAuthorizationRequest::Target(error) => panic!("{error}"),
    })
}

fn parse(query: &str) -> Result<AuthorizationRequest, AuthorizationError> {
    malformed(query).map_err(|malformed| malformed.error)
}

#[test]
fn the_target_is_one_client_and_one_redirect_uri() {
    let client_id: ClientId = "app".parse().expect("valid");
    let target = AuthorizationTarget::parse(&params("redirect_uri=https://a/cb?x%3D1&client_id=app&scope=%22"));
    let redirect_uri = "https://a/cb?x=1".to_owned();
    assert_eq!(target, Ok(AuthorizationTarget { client_id: client_id.clone(), redirect_uri }));
    for (query, expected) in [
        ("redirect_uri=https://a", TargetError::ClientIdMissing),
        ("client_id=&redirect_uri=https://a", TargetError::ClientIdMissing),
        ("client_id=%C3%A9&redirect_uri=https://a", TargetError::ClientIdMalformed),
        ("client_id=app&client_id=app&redirect_uri=https://a", TargetError::ClientIdRepeated),
        ("client_id=app", TargetError::RedirectUriMissing { client_id: client_id.clone() }),
        ("client_id=app&redirect_uri=", TargetError::RedirectUriMissing { client_id: client_id.clone() }),
        ("client_id=app&redirect_uri=a&redirect_uri=a", TargetError::RedirectUriRepeated { client_id }),
    ] {
        let refused = Err(MalformedAuthorizationRequest::Target(expected));
        assert_eq!(AuthorizationRequest::parse(&params(query)), refused, "{query}");
    }
}

#[test]
fn a_whole_request_is_read() {
    let request = parse(
        "response_type=code&scope=openid+read&state=s&nonce=n&code_challenge=c&code_challenge_method=S256\
         &prompt=login+consent&max_age=60&login_hint=alice&ui_locales=de+xx&acr_values=a&id_token_hint=i.d.t\
         &response_mode=query",
    );
    let text = |text: &str| Some(text.to_owned());
    let expected = AuthorizationRequest {
        target: target(),
        response_type: ResponseType::Code,
        response_mode: ResponseMode::Query,
        scope: Some(Scope::parse("openid read").expect("valid")),
        state: text("s"),
        nonce: text("n"),
        code_challenge: text("c"),
        code_challenge_method: text("S256"),
        prompt: Prompt { login: true, consent: true, ..Prompt::default() },
        max_age: Some(60),
        login_hint: text("alice"),
        ui_locales: text("de xx"),
        acr_values: text("a"),
        id_token_hint: text("i.d.t"),
    };
    let kept = serde_json::to_string(&expected).expect("it is JSON");
    assert_eq!(serde_json::from_str::<AuthorizationRequest>(&kept).expect("it reads back"), expected);
    assert_eq!(request, Ok(expected));
}

#[test]
fn everything_but_the_response_type_may_be_missing() {
    let request = parse("response_type=code&state=").expect("valid");
    assert_eq!((request.scope, request.state, request.max_age), (None, None, None));
    assert_eq!(request.prompt, Prompt::default());
}

/// OIDC Core §3.1.2.1: these parameters are preferences.
#[test]
fn display_locales_hints_and_unknown_parameters_never_fail() {
    for wish in [
        "display=hologram",
        "ui_locales=%22",
        "claims_locales=zz",
        "acr_values=%C3%A9",
        "login_hint=%C3%A9",
        "unknown=%22",
    ] {
        assert!(parse(&format!("response_type=code&{wish}")).is_ok(), "{wish}");
    }
}

#[test]
fn every_refusal_has_its_code() {
    use AuthorizationErrorCode::{
        InvalidRequest, InvalidScope, RequestNotSupported, RequestUriNotSupported, UnsupportedResponseType,
    };
    let long = |name: &str| format!("response_type=code&{name}={}", "x".repeat(MAX_ECHO_BYTES + 1));
    for (query, code, description) in [
        ("", InvalidRequest, "response_type is missing"),
        ("response_type=", InvalidRequest, "response_type is missing"),
        ("response_type=token", UnsupportedResponseType, "response_type must be code, code id_token or id_token"),
        (
            "response_type=code+id_token&scope=openid",
            InvalidRequest,
            "nonce is required, because response_type contains id_token",
        ),
        (
            "response_type=code+id_token&nonce=n&scope=openidx",
            InvalidRequest,
            "scope must contain openid, because response_type contains id_token",
        ),
        (
            "response_type=code+id_token&nonce=n&scope=openid&response_mode=query",
            InvalidRequest,
            "response_type code id_token requires response_mode fragment or form_post",
        ),
        (
            "response_type=id_token&nonce=n&scope=openid",
            InvalidRequest,
            "response_type id_token requires response_mode form_post",
        ),
        ("response_type=code&state=1&state=2", InvalidRequest, "parameter state must not be repeated"),
        ("request=x&request=x", InvalidRequest, "parameter request must not be repeated"),
        ("request=x&request_uri=y", RequestNotSupported, "request objects are not supported"),
        ("request_uri=y&response_type=token", RequestUriNotSupported, "request_uri is not supported"),
        (
            "response_type=code&response_mode=web_message",
            InvalidRequest,
            "response_mode must be query, fragment or form_post",
        ),
        ("response_type=code&prompt=none+login", InvalidRequest, "prompt=none cannot be combined with other values"),
        (
            "response_type=code&prompt=select_account+none",
            InvalidRequest,
            "prompt=none cannot be combined with other values",
        ),
        (
            "response_type=code&prompt=create",
            InvalidRequest,
            "prompt must be none, or any of login, consent and select_account",
        ),
        ("response_type=code&max_age=-1", InvalidRequest, "max_age must be a number of seconds"),
        ("response_type=code&max_age=%2B1", InvalidRequest, "max_age must be a number of seconds"),
        ("response_type=code&max_age=1.5", InvalidRequest, "max_age must be a number of seconds"),
        ("response_type=code&max_age=99999999999999999999", InvalidRequest, "max_age must be a number of seconds"),
        (
            "response_type=code&scope=%22",
            InvalidScope,
            "scope contains a character that RFC 6749 section 3.3 does not allow",
        ),
        (&long("nonce"), InvalidRequest, "nonce is longer than 2048 bytes"),
        (&long("login_hint"), InvalidRequest, "login_hint is longer than 2048 bytes"),
    ] {
        let error = parse(query).expect_err(query);
        assert_eq!((error.code, &*error.description), (code, description), "{query:.80}");
    }
}

#[test]
fn an_error_returns_to_its_client_with_the_state_if_it_was_sent_once() {
    let long = "é".repeat(crate::params::MAX_VALUE / 2);
    for (query, expected) in [
        ("state=s&scope=%22".to_owned(), Some("s")),
        ("scope=read".to_owned(), None),
        ("state=".to_owned(), None),
        ("state=a&state=a".to_owned(), None),
        (format!("state={long}"), Some(long.as_str())),
    ] {
        let malformed = malformed(&format!("{query}&response_type=token")).expect_err("the type is unknown");
        assert_eq!((malformed.state.as_deref(), &malformed.target), (expected, &target()));
    }
}

/// OAuth 2.0 Multiple Response Type Encoding Practices §5, OAuth 2.0 Form Post Response Mode §2.
#[test]
fn an_error_returns_in_the_mode_that_its_response_would_have() {
    for (query, mode) in [
        ("response_type=code", ResponseMode::Query),
        ("response_type=code&response_mode=fragment", ResponseMode::Fragment),
        ("response_type=code&response_mode=form_post", ResponseMode::FormPost),
        ("response_type=code&response_mode=web_message", ResponseMode::Query),
        ("response_type=token", ResponseMode::Fragment),
        ("response_type=id_token+code", ResponseMode::Fragment),
        ("response_type=id_token+code&response_mode=query", ResponseMode::Fragment),
        ("response_type=id_token+code&response_mode=form_post", ResponseMode::FormPost),
        ("response_type=id_token&response_type=code", ResponseMode::Query),
        ("response_mode=form_post&response_mode=form_post", ResponseMode::Query),
        ("", ResponseMode::Query),
    ] {
        let malformed = malformed(&format!("{query}&prompt=nothing")).expect_err("the prompt is unknown");
        assert_eq!(malformed.response_mode, mode, "{query}");
    }
}

#[test]
fn every_type_and_mode_is_read() {
    use ResponseMode::{FormPost, Fragment, Query};
    use ResponseType::{Code, CodeIdToken, IdToken};
    for (query, expected) in [
        ("response_type=code", (Code, Query)),
        ("response_type=code&response_mode=query", (Code, Query)),
        ("response_type=code&response_mode=fragment", (Code, Fragment)),
        ("response_type=code&response_mode=form_post", (Code, FormPost)),
        ("response_type=code+id_token&nonce=n&scope=read+openid", (CodeIdToken, Fragment)),
        ("response_type=id_token+code&nonce=n&scope=openid&response_mode=form_post", (CodeIdToken, FormPost)),
        ("response_type=id_token&nonce=n&scope=openid&response_mode=form_post", (IdToken, FormPost)),
    ] {
        let request = parse(query).expect(query);
        assert_eq!((request.response_type, request.response_mode), expected, "{query}");
    }
}

#[test]
fn what_may_identify_somebody_is_not_recorded() {
    let sent = "response_type=token&scope=read&login_hint=alice&state=s&nonce=n&id_token_hint=i.d.t";
    let sent = malformed(sent).expect_err("the type is unknown").sent;
    assert_eq!(sent.iter().collect::<Vec<_>>(), [("response_type", "token"), ("scope", "read")]);
}

#[test]
fn prompt_is_a_set() {
    let prompt = |text| Prompt::parse(text).expect("valid");
    assert_eq!(prompt("none"), Prompt { none: true, ..Prompt::default() });
    assert_eq!(prompt("login login"), Prompt { login: true, ..Prompt::default() });
    let all = Prompt { none: false, login: true, consent: true, select_account: true };
    assert_eq!(prompt("select_account consent login"), all);
}

#[test]
fn the_challenge_is_judged_by_its_own_rules() {
    let of = |query: &str| parse(&format!("response_type=code{query}")).expect("valid").challenge();
    assert_eq!(of(""), Ok(None));
    assert_eq!(of("&code_challenge_method=S256"), Err(PkceError::ChallengeMissing));
    assert_eq!(of("&code_challenge=x"), Err(PkceError::MethodMissing));
    let sent = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let challenge = of(&format!("&code_challenge={sent}&code_challenge_method=S256"));
    assert_eq!(challenge, Challenge::parse(Some(sent), Some("S256")));
}
