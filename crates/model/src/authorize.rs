//! Decisions of the authorization endpoint (`identity.md` §3.1), after the redirect URI was verified.

use std::borrow::Cow;
use std::time::Duration;

use oauth::authorize::{
    AuthorizationError, AuthorizationErrorCode as Code, AuthorizationRequest, Prompt, ResponseType, SentParameters,
    TargetError,
};
use oauth::pkce::{Challenge, PkceError};
use oauth::redirect::RedirectMatch;
use oauth::scope::Scope;

use crate::application::{ClientRefusal, ScopeNotAllowed, grant_scope};
use crate::refusal::{Refusal, RefusalDetails, when};
use crate::{IdentitySession, Timestamp, TrustedApplication, User, UserType};

/// Checks 1 and 2 failed: no redirect URI can be trusted with the error, so a page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetRefusal {
    Malformed(TargetError),
    UnknownApplication,
    ApplicationDisabled,
    RedirectUriNotRegistered { sent: String, registered: Vec<String> },
}

impl Refusal for TargetRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_target",
            Self::UnknownApplication => "unknown_application",
            Self::ApplicationDisabled => "application_disabled",
            Self::RedirectUriNotRegistered { .. } => "redirect_uri_not_registered",
        }
    }

    fn details(&self) -> RefusalDetails {
        match self {
            Self::Malformed(error) => {
                RefusalDetails::new("client_id and redirect_uri are sent, once each", "RFC 6749 §4.1.2.1")
                    .sent("problem", error)
            }
            Self::UnknownApplication => ClientRefusal::Unknown.details(),
            Self::ApplicationDisabled => ClientRefusal::Disabled.details(),
            Self::RedirectUriNotRegistered { sent, registered } => not_registered("redirect_uri", sent, registered),
        }
    }
}

/// A redirect URI that is not registered.
fn not_registered(name: &'static str, sent: &str, registered: &[String]) -> RefusalDetails {
    let details = RefusalDetails::new(
        "the address is registered for the application, character for character",
        "RFC 6749 §3.1.2.3, RFC 9700 §4.1.3; ImpersonateLoginUrl, ImpersonateLogoutUrl",
    );
    registered.iter().fold(details.sent(name, sent), |details, uri| details.expected_exactly(name, uri))
}

/// Why the browser was not redirected to the application after sign-out. The user is signed out all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnRefusal {
    /// Neither the hint nor `client_id` names an enabled application, or the two disagree.
    UnknownApplication {
        sent: String,
    },
    NotRegistered {
        sent: String,
        registered: Vec<String>,
    },
}

impl Refusal for ReturnRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::UnknownApplication { .. } => "application_not_named",
            Self::NotRegistered { .. } => "post_logout_redirect_uri_not_registered",
        }
    }

    fn details(&self) -> RefusalDetails {
        match self {
            Self::UnknownApplication { sent } => RefusalDetails::new(
                "id_token_hint or client_id identifies an enabled application, and both agree",
                "OpenID Connect RP-Initiated Logout 1.0 §2, §3",
            )
            .sent("post_logout_redirect_uri", sent),
            Self::NotRegistered { sent, registered } => not_registered("post_logout_redirect_uri", sent, registered),
        }
    }
}

/// Why an authorization request was refused. Every refusal is returned to the application in a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizeRefusal {
    Malformed(AuthorizationError, SentParameters),
    NotForSignIn,
    ResponseTypeNotAllowed(ResponseType),
    PkceRequired {
        /// Required by the record of a Confidential application, rather than because it is Public.
        by_record: bool,
    },
    Pkce(PkceError, SentParameters),
    ScopeNotAllowed(ScopeNotAllowed),
    /// `id_token_hint` is no ID token of this issuer.
    HintUnreadable,
    UserTypeNotAllowed {
        user_type: UserType,
    },
    LoginRequired(LoginNeeded),
    ConsentRequired {
        asked: Scope,
        consented: Scope,
    },
    ConsentRefused {
        asked: Scope,
    },
    /// Another program could pose as the application, so the user would have to confirm.
    InteractionRequired(RedirectMatch),
    /// The application or the user changed between two reads.
    Overtaken,
}

/// Why a sign-in page is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginNeeded {
    NobodySignedIn,
    /// `prompt` requires it.
    Prompted,
    TooOld {
        auth_time: Timestamp,
        max_age: u64,
        now: Timestamp,
    },
    /// The signed-in user is not the one that `id_token_hint` names.
    Another,
}

impl AuthorizeRefusal {
    pub fn code(&self) -> Code {
        match self {
            Self::Malformed(error, _) => error.code,
            Self::NotForSignIn | Self::ResponseTypeNotAllowed(_) => Code::UnauthorizedClient,
            Self::PkceRequired { .. } | Self::Pkce(..) | Self::HintUnreadable => Code::InvalidRequest,
            Self::ScopeNotAllowed(_) => Code::InvalidScope,
            Self::UserTypeNotAllowed { .. } | Self::ConsentRefused { .. } => Code::AccessDenied,
            Self::LoginRequired(_) => Code::LoginRequired,
            Self::ConsentRequired { .. } => Code::ConsentRequired,
            Self::InteractionRequired(_) => Code::InteractionRequired,
            Self::Overtaken => Code::TemporarilyUnavailable,
        }
    }

    /// `error_description`: advice for the application's developer.
    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::Malformed(error, _) => error.description.clone(),
            Self::NotForSignIn => "this application is not allowed to sign users in".into(),
            Self::ResponseTypeNotAllowed(_) => "a Public application must use response_type code".into(),
            Self::PkceRequired { .. } => "code_challenge is required: use PKCE with S256 (RFC 7636)".into(),
            Self::Pkce(error, _) => error.to_string().into(),
            Self::ScopeNotAllowed(refusal) => refusal.description().into(),
            Self::HintUnreadable => "id_token_hint must be an ID token of this issuer".into(),
            Self::UserTypeNotAllowed { .. } => {
                "users of this type are not allowed to sign in to this application".into()
            }
            Self::LoginRequired(_) => "the requested user is not signed in; retry without prompt=none".into(),
            Self::ConsentRequired { .. } => "the user has not consented yet; retry without prompt=none".into(),
            Self::ConsentRefused { .. } => "the user did not consent".into(),
            Self::InteractionRequired(_) => {
                "another program could receive this redirect_uri, so the user must confirm; retry without prompt=none"
                    .into()
            }
            Self::Overtaken => "the user or application was changed during the request; start again".into(),
        }
    }
}

impl Refusal for AuthorizeRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Malformed(..) => "malformed_request",
            Self::NotForSignIn => "application_not_for_sign_in",
            Self::ResponseTypeNotAllowed(_) => "response_type_not_allowed",
            Self::PkceRequired { .. } => "pkce_required",
            Self::Pkce(..) => "pkce_refused",
            Self::ScopeNotAllowed(_) => ScopeNotAllowed::CAUSE,
            Self::HintUnreadable => "id_token_hint_unreadable",
            Self::UserTypeNotAllowed { .. } => "user_type_not_allowed",
            Self::LoginRequired(_) => "login_required",
            Self::ConsentRequired { .. } => "consent_required",
            Self::ConsentRefused { .. } => "consent_refused",
            Self::InteractionRequired(_) => "interaction_required",
            Self::Overtaken => "overtaken",
        }
    }

    fn details(&self) -> RefusalDetails {
        const PROMPT: &str = "OpenID Connect Core §3.1.2.1, §3.1.2.6";
        let told = |details: RefusalDetails, sent: &SentParameters| {
            sent.iter().fold(details, |details, (name, value)| details.sent(name, value))
        };
        match self {
            Self::Malformed(error, sent) => {
                let details = RefusalDetails::new(
                    "the request is well-formed",
                    "RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.1",
                );
                told(details.expected("problem", &error.description), sent)
            }
            Self::NotForSignIn => RefusalDetails::new(
                "the application signs users in",
                "ImpersonateAsInternalUserAllowed, ImpersonateAsCommunityUserAllowed",
            ),
            Self::ResponseTypeNotAllowed(sent) => RefusalDetails::new(
                "a Public application receives nothing but a code from the authorization endpoint",
                "RFC 9700 §2.1.2; ClientType",
            )
            .sent("response_type", sent.as_str())
            .expected("response_type", ResponseType::Code.as_str()),
            Self::PkceRequired { by_record } => {
                let details = if *by_record {
                    RefusalDetails::new("the application sends code_challenge, as its record requires", "RequirePkce")
                        .expected("RequirePkce", "false")
                } else {
                    RefusalDetails::new("a Public application sends code_challenge", "RFC 9700 §2.1.1")
                };
                details.expected("code_challenge_method", "S256")
            }
            Self::Pkce(error, sent) => {
                let details = RefusalDetails::new("code_challenge is one of S256", "RFC 7636 §4.3");
                told(details.expected("problem", error), sent)
            }
            Self::ScopeNotAllowed(refusal) => refusal.details(),
            Self::HintUnreadable => RefusalDetails::new(
                "id_token_hint is an ID token that this issuer signed, with a key that is still published",
                "OpenID Connect Core §3.1.2.1, §3.1.2.2",
            ),
            Self::UserTypeNotAllowed { user_type } => RefusalDetails::new(
                "the application allows users of this type",
                "ImpersonateAsInternalUserAllowed, ImpersonateAsCommunityUserAllowed",
            )
            .sent("user type", user_type.as_str()),
            Self::LoginRequired(needed) => needed.details(),
            Self::ConsentRequired { asked, consented } => {
                RefusalDetails::new("with prompt=none, the user has already consented", PROMPT)
                    .sent("scope", asked)
                    .expected("consented", consented)
            }
            Self::ConsentRefused { asked } => {
                RefusalDetails::new("the user consents", "RFC 6749 §4.1.2.1").sent("scope", asked)
            }
            Self::InteractionRequired(matched) => {
                let registered = match matched {
                    RedirectMatch::Exact => "byte for byte",
                    RedirectMatch::AnyLoopbackPort => "on a loopback address without a port",
                    RedirectMatch::PrivateScheme => "under a private-use scheme",
                };
                RefusalDetails::new(
                    "with prompt=none, no other program on the device can receive the response of a Public application",
                    "RFC 8252 §8.6, RFC 6749 §10.2, OpenID Connect Core §3.1.2.6",
                )
                .sent("redirect_uri registered", registered)
                .expected("redirect_uri registered", "with https, or on a loopback address with its port")
            }
            Self::Overtaken => RefusalDetails::new("nothing was changed during the request", "RFC 6749 §4.1.2.1"),
        }
    }
}

impl LoginNeeded {
    fn details(self) -> RefusalDetails {
        let details = RefusalDetails::new(
            "with prompt=none, the requested user is signed in",
            "OpenID Connect Core §3.1.2.1, §3.1.2.6",
        );
        match self {
            Self::NobodySignedIn => details.expected("signed in", "somebody"),
            Self::Prompted => details.expected("prompt", "neither login nor select_account"),
            Self::TooOld { auth_time, max_age, now } => details
                .sent("max_age", max_age)
                .sent("signed in at", when(auth_time))
                .sent("at", when(now))
                .expected("seconds since the sign-in", format_args!("at most {max_age}")),
            Self::Another => details.expected("signed in", "whom id_token_hint names"),
        }
    }
}

/// A request that may be granted if the user consents.
#[derive(Clone, Debug)]
pub struct GrantableRequest {
    pub scope: Scope,
    pub challenge: Option<Challenge>,
}

type Check = fn(&TrustedApplication, &AuthorizationRequest) -> Result<(), AuthorizeRefusal>;

/// One check per line, in the order of `identity.md` §3.1. The first failing check is the answer.
const CHECKS: &[Check] = &[
    application_signs_users_in,         // RFC 6749 §4.1.2.1, unauthorized_client
    response_type_is_allowed,           // RFC 6749 §4.1.2.1, RFC 9700 §2.1.2
    pkce_is_used_where_required,        // RFC 9700 §2.1.1
    challenge_is_s256,                  // RFC 7636 §4.3
    scope_is_registered_or_of_protocol, // RFC 6749 §3.3
];

fn application_signs_users_in(app: &TrustedApplication, _: &AuthorizationRequest) -> Result<(), AuthorizeRefusal> {
    if app.sign_in.allowed() { Ok(()) } else { Err(AuthorizeRefusal::NotForSignIn) }
}

fn response_type_is_allowed(app: &TrustedApplication, asked: &AuthorizationRequest) -> Result<(), AuthorizeRefusal> {
    if app.is_public() && asked.response_type != ResponseType::Code {
        return Err(AuthorizeRefusal::ResponseTypeNotAllowed(asked.response_type));
    }
    Ok(())
}

/// An ID token alone needs none: it is bound to the request by its nonce.
fn pkce_is_used_where_required(app: &TrustedApplication, asked: &AuthorizationRequest) -> Result<(), AuthorizeRefusal> {
    let is_required = asked.response_type.has_code() && (app.is_public() || app.require_pkce);
    if is_required && asked.code_challenge.is_none() {
        return Err(AuthorizeRefusal::PkceRequired { by_record: !app.is_public() });
    }
    Ok(())
}

fn challenge_is_s256(_: &TrustedApplication, asked: &AuthorizationRequest) -> Result<(), AuthorizeRefusal> {
    asked.challenge().map(|_| ()).map_err(|error| pkce(asked, error))
}

fn pkce(asked: &AuthorizationRequest, error: PkceError) -> AuthorizeRefusal {
    AuthorizeRefusal::Pkce(error, asked.sent_challenge())
}

fn scope_is_registered_or_of_protocol(
    app: &TrustedApplication,
    asked: &AuthorizationRequest,
) -> Result<(), AuthorizeRefusal> {
    grant_scope(app, asked.scope.as_ref()).map(|_| ()).map_err(AuthorizeRefusal::ScopeNotAllowed)
}

/// Checks 4 to 6: whether the application may request this.
pub fn check(app: &TrustedApplication, asked: &AuthorizationRequest) -> Result<GrantableRequest, AuthorizeRefusal> {
    for check in CHECKS {
        check(app, asked)?;
    }
    Ok(GrantableRequest {
        scope: grant_scope(app, asked.scope.as_ref()).map_err(AuthorizeRefusal::ScopeNotAllowed)?,
        challenge: asked.challenge().map_err(|error| pkce(asked, error))?,
    })
}

/// The user signed in at the browser.
#[derive(Clone, Copy)]
pub struct SignInState<'a> {
    pub user: &'a User,
    pub session: &'a IdentitySession,
    /// The user answered a page of this very request: signed in, which meets `prompt=login` and `max_age`, or confirmed
    /// the account.
    pub for_this_request: bool,
    /// The user is not the one that `id_token_hint` names (OpenID Connect Core §3.1.2.1).
    pub is_another: bool,
    /// Scope to which the user already consented for this application.
    pub consented: &'a Scope,
}

/// The next step of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Show the sign-in page, with a button to continue if [`may_continue`] allows it.
    SignIn,
    Consent,
    Issue,
}

/// Check 7: sign-in, user type, consent (OpenID Connect Core §3.1.2.3, §3.1.2.4), and a confirmation if the application
/// cannot be told from another program (RFC 8252 §8.6).
pub fn next_step(
    now: Timestamp,
    app: &TrustedApplication,
    redirect: RedirectMatch,
    asked: &AuthorizationRequest,
    grantable: &GrantableRequest,
    who: Option<SignInState<'_>>,
) -> Result<NextStep, AuthorizeRefusal> {
    let silent = asked.prompt.none;
    let who = match who.ok_or(LoginNeeded::NobodySignedIn).and_then(|who| needs_no_sign_in(now, asked, who)) {
        Ok(who) => who,
        Err(needed) => return if silent { Err(AuthorizeRefusal::LoginRequired(needed)) } else { Ok(NextStep::SignIn) },
    };
    if who.is_another {
        let refused = silent || who.for_this_request;
        return if refused { Err(AuthorizeRefusal::LoginRequired(LoginNeeded::Another)) } else { Ok(NextStep::SignIn) };
    }
    if !app.admits(who.user) {
        return Err(AuthorizeRefusal::UserTypeNotAllowed { user_type: who.user.user_type });
    }
    let agreed = !app.require_consent || grantable.scope.is_subset(who.consented);
    if asked.prompt.consent || !agreed {
        let (asked, consented) = (grantable.scope.clone(), who.consented.clone());
        return if silent {
            Err(AuthorizeRefusal::ConsentRequired { asked, consented })
        } else {
            Ok(NextStep::Consent)
        };
    }
    if app.is_public() && redirect.is_claimable() && !who.for_this_request {
        return if silent { Err(AuthorizeRefusal::InteractionRequired(redirect)) } else { Ok(NextStep::SignIn) };
    }
    Ok(NextStep::Issue)
}

/// Whether the user may continue as the signed-in account with one click. Not if the request requires a new
/// authentication.
pub fn may_continue(now: Timestamp, asked: &AuthorizationRequest, session: &IdentitySession) -> bool {
    !asked.prompt.login && !is_too_old(now, asked, session)
}

fn is_too_old(now: Timestamp, asked: &AuthorizationRequest, session: &IdentitySession) -> bool {
    asked.max_age.is_some_and(|age| age == 0 || now.since(session.auth_time) > Duration::from_secs(age))
}

fn needs_no_sign_in<'a>(
    now: Timestamp,
    asked: &AuthorizationRequest,
    who: SignInState<'a>,
) -> Result<SignInState<'a>, LoginNeeded> {
    let Prompt { login, select_account, .. } = asked.prompt;
    if who.for_this_request {
        Ok(who)
    } else if login || select_account {
        Err(LoginNeeded::Prompted)
    } else if is_too_old(now, asked, who.session) {
        let max_age = asked.max_age.unwrap_or_default();
        Err(LoginNeeded::TooOld { auth_time: who.session.auth_time, max_age, now })
    } else {
        Ok(who)
    }
}

#[cfg(test)]
pub(crate) mod tests;
