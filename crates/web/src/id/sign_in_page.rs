//! Rendering of the sign-in page, and the answer after a sign-in.

use std::time::Duration;

use axum::response::Response;
use flows::Fault;
use flows::auth::browser_session::SignedIn;
use flows::protocol::authorize::VerifiedTarget;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::authorize::may_continue;
use model::session::SessionCookie;
use oauth::authorize::AuthorizationRequest;
use oauth::params::Params;
use oauth::secret::Presented;

use crate::id::authorize::{proceed, target};
use crate::id::{KNOWN_BROWSER_PATH, form_page, password_reset};
use crate::pages::two_step::PasskeyForm;
use crate::pages::{SignInPage, SpentGuesses};
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::malformed;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::{RETURN, way_back};
use crate::site;

/// The target of a sign-in: an application's request, or a page of ours.
pub(super) struct SignInDestination {
    pub(super) params: Params,
    pub(super) target: Option<VerifiedTarget>,
}

impl SignInDestination {
    /// The path with the application's request as its query.
    pub(super) fn along(&self, path: &str) -> String {
        let query = self.params.to_query();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// The final target of the page's forms.
    pub(super) const fn form_target(&self) -> FormTarget {
        if self.target.is_some() { FormTarget::Application } else { FormTarget::Ourselves }
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
    query: Option<&str>,
) -> Result<Result<SignInDestination, Response>, Fault> {
    let params = match Params::parse(query.unwrap_or_default().as_bytes()) {
        Ok(params) => params,
        Err(error) => return Ok(Err(malformed(context, error))),
    };
    if params.get("client_id").is_none() {
        return Ok(Ok(SignInDestination { params, target: None }));
    }
    let target = target(context, &params).await?;
    Ok(target.map(|target| SignInDestination { params, target: Some(target) }))
}

/// The user who may continue without a password: signed in, and the application asked at most for a choice of account.
pub(super) async fn continuing(
    context: &RequestContext,
    headers: &HeaderMap,
    way: &SignInDestination,
) -> Result<Option<SignedIn>, Fault> {
    let asked = way.target.as_ref().and_then(|_| AuthorizationRequest::parse(&way.params).ok());
    let Some(asked) = asked else { return Ok(None) };
    let browser = context.browser(headers).await?;
    Ok(browser.filter(|browser| may_continue(context.now, &asked, &browser.session)))
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
    let (action, passkey_action) = (way.along("/id/account/login"), way.along("/id/account/passkey"));
    let application_name = way.target.as_ref().map(|target| target.application.name.as_str());
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
    (browser, cookie): (&SignedIn, &Presented<SessionCookie>),
) -> Result<Response, Fault> {
    let names = context.cookie_names();
    let response = onwards(context, way, browser).await?;
    let response = render::with_cookie(response, &names.set(names.session, cookie.expose()));
    let response = render::with_cookie(response, &context.know_browser(headers, &browser.user.login));
    Ok(render::with_cookie(response, &names.clear(names.step)))
}

/// Redirects to the application's next page or answer; without an application, to the page that the user came from.
pub(super) async fn onwards(
    context: &mut RequestContext,
    way: &SignInDestination,
    browser: &SignedIn,
) -> Result<Response, Fault> {
    if let Some(target) = &way.target {
        return proceed(context, &Method::POST, &way.params, target, Some(browser), true).await;
    }
    let back = way.params.get(RETURN).and_then(way_back);
    Ok(render::redirect(&Method::POST, back.unwrap_or(site::ACCOUNT)))
}
