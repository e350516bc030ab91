//! Rendering of the sign-in page, and the answer after a sign-in.

use std::time::Duration;

use axum::response::Response;
use flows::Fault;
use flows::auth::browser_session::SignedIn;
use flows::protocol::authorize::RequestUser;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::authorize::may_continue;
use model::pending_authorization::PendingAuthorization;
use model::session::SessionCookie;
use oauth::params::Params;
use oauth::secret::Presented;

use crate::id::pending::{PendingRequest, address, find, id_in, proceed};
use crate::id::{KNOWN_BROWSER_PATH, SIGN_IN_PATH, form_page, password_reset};
use crate::pages::two_step::PasskeyForm;
use crate::pages::{SignInPage, SpentGuesses};
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::malformed;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::{RETURN, way_back};
use crate::site;

/// The target of a sign-in.
pub(super) enum SignInDestination {
    Application(PendingRequest),
    /// A page of ours, which the parameters name.
    Ourselves(Params),
}

impl SignInDestination {
    /// The address of a page on the way to this destination.
    pub(super) fn along(&self, path: &str) -> String {
        match self {
            Self::Application(asked) => address(path, &asked.pending.id),
            Self::Ourselves(params) => match params.to_query() {
                query if query.is_empty() => path.to_owned(),
                query => format!("{path}?{query}"),
            },
        }
    }

    pub(super) fn login_hint(&self) -> Option<&str> {
        match self {
            Self::Application(asked) => asked.pending.request.login_hint.as_deref(),
            Self::Ourselves(params) => params.get("login_hint"),
        }
    }

    pub(super) const fn pending(&self) -> Option<&PendingAuthorization> {
        match self {
            Self::Application(asked) => Some(&asked.pending),
            Self::Ourselves(_) => None,
        }
    }

    /// Whether one of our pages sent the user here.
    pub(super) fn is_from_our_page(&self) -> bool {
        matches!(self, Self::Ourselves(params) if params.get(RETURN).is_some())
    }

    /// The final target of the page's forms.
    pub(super) const fn form_target(&self) -> FormTarget {
        match self {
            Self::Application(_) => FormTarget::Application,
            Self::Ourselves(_) => FormTarget::Ourselves,
        }
    }
}

/// Texts of the page besides the form.
#[derive(Default)]
pub(super) struct SignInNotice<'a> {
    pub(super) login: &'a str,
    pub(super) error: Option<&'a str>,
    pub(super) notice: Option<&'a str>,
    /// True if others have used up the login's guesses.
    pub(super) is_spent: bool,
    pub(super) status: StatusCode,
}

pub(super) async fn way(
    context: &mut RequestContext,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Result<SignInDestination, Response>, Fault> {
    if let Some(id) = id_in(query) {
        return Ok(find(context, headers, id).await?.map(SignInDestination::Application));
    }
    Ok(match Params::parse(query.unwrap_or_default().as_bytes()) {
        Ok(params) => Ok(SignInDestination::Ourselves(params)),
        Err(error) => Err(malformed(context, error)),
    })
}

/// The user who may continue without a password: signed in, and the application asked at most for a choice of account.
pub(super) async fn continuing(
    context: &RequestContext,
    headers: &HeaderMap,
    way: &SignInDestination,
) -> Result<Option<SignedIn>, Fault> {
    let Some(pending) = way.pending() else { return Ok(None) };
    let browser = context.browser(headers).await?;
    Ok(browser.filter(|browser| may_continue(context.now, &pending.request, &browser.session)))
}

pub(super) async fn page(
    context: &mut RequestContext,
    headers: &HeaderMap,
    way: &SignInDestination,
    said: SignInNotice<'_>,
) -> Result<Response, Fault> {
    let continuing = continuing(context, headers, way).await?;
    if let Some(browser) = &continuing {
        context.speak_to(&browser.user);
    }
    let (action, passkey_action) = (way.along(SIGN_IN_PATH), way.along("/id/account/passkey"));
    let application_name = match way {
        SignInDestination::Application(asked) => Some(asked.verified.application.name.as_str()),
        SignInDestination::Ourselves(_) => None,
    };
    Ok(form_page(context, headers, |context, csrf| {
        let passkey = match context.instance.auth().passkey_challenge(csrf, context.now) {
            Ok(passkey) => passkey,
            Err(fault) => return failures::fault_page(context, &fault),
        };
        let page = SignInPage {
            messages: context.messages(),
            instance_name: &context.instance.info.name,
            application_name,
            action: &action,
            csrf,
            login: said.login,
            error: said.error,
            notice: said.notice,
            signed_in_as: continuing.as_ref().map(|browser| browser.user.login.as_str()),
            forgotten_url: password_reset::PATH,
            passkey: passkey.as_ref().map(|passkey| PasskeyForm {
                action: &passkey_action,
                label: context.messages().two_step.sign_in_by_passkey,
                options: &passkey.options,
                state: &passkey.state,
            }),
            spent: said
                .is_spent
                .then(|| SpentGuesses { link_action: context.instance.mail().is_open().then_some(KNOWN_BROWSER_PATH) }),
        };
        render::page_with_script(said.status, &page, way.form_target())
    }))
}

/// Rounded up to whole seconds, so that a retry after them is not too early.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + 1
}

pub(super) fn after_wait(mut response: Response, wait: Duration) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    response
}

/// Continues with the new session cookie. From now on the browser is known for the login. The first-step cookie is
/// removed.
pub(super) async fn signed_in(
    context: &mut RequestContext,
    headers: &HeaderMap,
    way: &SignInDestination,
    browser: &SignedIn,
    cookie: &Presented<SessionCookie>,
) -> Result<Response, Fault> {
    let names = context.cookie_names();
    let response = onwards(context, headers, way, browser).await?;
    let response = render::with_cookie(response, &names.set(names.session, cookie.expose()));
    let response = render::with_cookie(response, &context.know_browser(headers, &browser.user.login));
    Ok(render::with_cookie(response, &names.clear(names.step)))
}

/// Redirects to the application's next page or answer; without an application, to the page that the user came from.
pub(super) async fn onwards(
    context: &mut RequestContext,
    headers: &HeaderMap,
    way: &SignInDestination,
    browser: &SignedIn,
) -> Result<Response, Fault> {
    match way {
        SignInDestination::Application(PendingRequest { pending, verified }) => {
            let user = RequestUser { browser, for_this_request: true };
            proceed(context, &Method::POST, headers, verified, Some(pending), Some(user)).await
        }
        SignInDestination::Ourselves(params) => {
            let back = params.get(RETURN).and_then(way_back).unwrap_or(site::ACCOUNT);
            Ok(render::redirect(&Method::POST, &request_of_old(params).unwrap_or_else(|| back.to_owned())))
        }
    }
}

/// The authorization request in an address of this page as earlier versions made them: people have bookmarks, and pages
/// stay open during an update.
pub(super) fn request_of_old(params: &Params) -> Option<String> {
    params.get("client_id").map(|_| format!("/id/connect/authorize?{}", params.to_query()))
}
