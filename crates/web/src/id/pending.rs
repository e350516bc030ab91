//! Pending authorization requests, which pages of `/id` carry by their ids.

use std::borrow::Cow;

use axum::response::Response;
use flows::Fault;
use flows::auth::browser_session::SignedIn;
use flows::protocol::authorize::{AuthorizeOutcome, RequestUser, TargetRefusal, VerifiedRequest};
use http::{HeaderMap, Method, StatusCode};
use model::pending_authorization::{PendingAuthorization, PendingId};
use oauth::authorize::{AuthorizationResponse, ResponseMode};

use crate::id::SIGN_IN_PATH;
use crate::pages::FormPostPage;
use crate::request::context::RequestContext;
use crate::request::malformed::{PageRefusal, error_page, form_expired};
use crate::request::render;
use crate::request::render::FormTarget;

pub(super) const CONSENT_PATH: &str = "/id/account/consent";

/// The parameter with the id in a page's address. Its value may be longer than that of others: it may be a whole
/// request.
const PARAMETER: &str = "request=";

/// A request with a page to answer.
pub(super) struct PendingRequest {
    pub(super) pending: PendingAuthorization,
    pub(super) verified: VerifiedRequest,
}

impl PendingRequest {
    /// Whether this sign-in satisfied the request recently.
    pub(super) fn is_met_by(&self, browser: &SignedIn, context: &RequestContext) -> bool {
        self.pending.is_met_by(browser.session.id, context.now)
    }
}

/// The address of a page for this request.
pub(super) fn address(path: &str, id: &PendingId) -> String {
    format!("{path}?{PARAMETER}{id}")
}

/// The id in a page's query.
pub(super) fn id_in(query: Option<&str>) -> Option<PendingId> {
    let id = query?.strip_prefix(PARAMETER)?;
    Some(PendingId::parse(id.split('&').next().unwrap_or_default()))
}

/// The request with this id; otherwise a page with the reason: it has expired or belongs to another browser, or the
/// application has changed meanwhile.
pub(super) async fn find(
    context: &mut RequestContext,
    headers: &HeaderMap,
    id: PendingId,
) -> Result<Result<PendingRequest, Response>, Fault> {
    let found = context.instance.pending_authorizations().find(id, context.form_cookies(headers), context.now).await?;
    let Some(pending) = found else { return Ok(Err(form_expired(context))) };
    context.ask_for_languages(pending.request.ui_locales.as_deref());
    let (instance, mut ctx) = context.split();
    let verified = instance.protocol().verify_request(&mut ctx, pending.request.clone()).await?;
    Ok(match verified {
        Ok(verified) => Ok(PendingRequest { pending, verified }),
        Err(refusal) => Err(target_page(context, &refusal)),
    })
}

pub(super) fn respond(context: &RequestContext, method: &Method, response: &AuthorizationResponse) -> Response {
    match response.mode {
        ResponseMode::Query => render::redirect(method, &response.in_query()),
        ResponseMode::Fragment => render::redirect(method, &response.in_fragment()),
        ResponseMode::FormPost => {
            let page = FormPostPage {
                messages: context.messages(),
                instance_name: &context.instance.info.name,
                action: &response.redirect_uri,
                parameters: &response.parameters,
            };
            render::page_with_script(StatusCode::OK, &page, FormTarget::Application)
        }
    }
}

/// Redirects to the next page, or back to the application. `pending` is the request if a page of it was answered.
pub(super) async fn proceed(
    context: &mut RequestContext,
    method: &Method,
    headers: &HeaderMap,
    verified: &VerifiedRequest,
    pending: Option<&PendingAuthorization>,
    user: Option<RequestUser<'_>>,
) -> Result<Response, Fault> {
    let (instance, mut ctx) = context.split();
    let outcome = instance.protocol().authorize(&mut ctx, verified, user).await?;
    if let AuthorizeOutcome::Respond(response) = outcome {
        return Ok(respond(context, method, &response));
    }
    let (cookie, is_new) = context.form_cookie(headers);
    let pending = pending
        .cloned()
        .unwrap_or_else(|| context.instance.pending_authorizations().begin(&verified.request, &cookie, context.now));
    let page = match (outcome, user) {
        (AuthorizeOutcome::Consent { .. }, Some(user)) => {
            let (instance, mut ctx) = context.split();
            let kept = instance.pending_authorizations().keep_sign_in(&mut ctx, user.browser, pending).await?;
            address(CONSENT_PATH, &kept.id)
        }
        _ => address(SIGN_IN_PATH, &pending.id),
    };
    let mut response = render::redirect(method, &page);
    if is_new {
        let names = context.cookie_names();
        response = render::with_cookie(response, &names.set(names.form, cookie.expose()));
    }
    Ok(response)
}

pub(super) fn target_page(context: &RequestContext, refusal: &TargetRefusal) -> Response {
    let (messages, malformed) = (&context.messages().target, &context.messages().malformed);
    let message = match refusal {
        TargetRefusal::Malformed(error) => format!("{} {}.", messages.malformed, malformed.target(error)).into(),
        TargetRefusal::UnknownApplication => Cow::Borrowed(messages.unknown),
        TargetRefusal::ApplicationDisabled => messages.disabled.into(),
        TargetRefusal::RedirectUriNotRegistered { .. } => messages.not_registered.into(),
    };
    let code = match refusal {
        TargetRefusal::UnknownApplication | TargetRefusal::ApplicationDisabled => "unauthorized_client",
        TargetRefusal::Malformed(_) | TargetRefusal::RedirectUriNotRegistered { .. } => "invalid_request",
    };
    let (title, what_to_do) = (messages.title, messages.what_to_do);
    error_page(context, &PageRefusal { status: StatusCode::BAD_REQUEST, code, title, message: &message, what_to_do })
}
