//! Requests that a page refuses before any flow runs: malformed, or a form without a valid CSRF token.

use axum::response::Response;
use flows::Fault;
use http::StatusCode;
use model::audit::AuditKind;
use model::refusal::{MalformedRequest, Refusal, RefusalDetails};

use crate::messages::ProblemText;
use crate::pages::ErrorPage;
use crate::request::body::BodyError;
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::render;
use crate::request::render::FormTarget;

/// What an error page says about a refused request.
pub(crate) struct PageRefusal<'a> {
    pub(crate) status: StatusCode,
    /// The OAuth error code (RFC 6749 §4.1.2.1).
    pub(crate) code: &'static str,
    pub(crate) title: &'a str,
    pub(crate) message: &'a str,
    pub(crate) what_to_do: &'a str,
}

impl PageRefusal<'static> {
    pub(crate) const fn new(status: StatusCode, code: &'static str, text: ProblemText) -> Self {
        let ProblemText { title, message, what_to_do } = text;
        Self { status, code, title, message, what_to_do }
    }
}

/// An error page for a refused request.
pub(crate) fn error_page(context: &RequestContext, refusal: &PageRefusal<'_>) -> Response {
    let PageRefusal { status, code, title, message, what_to_do } = *refusal;
    let reference = context.reference();
    let error =
        ErrorPage { messages: context.messages(), title, message, what_to_do, code, reference: &reference, status };
    render::page(status, &error, FormTarget::Ourselves)
}

/// A form with an invalid CSRF token: the page was open too long, or another site posted the form.
pub(crate) fn form_expired(context: &mut RequestContext) -> Response {
    if let Err(fault) = tell_refused(context, AuditKind::Authorize, &FormNotOurs) {
        return failures::fault_page(context, &fault);
    }
    let text = context.messages().problems.expired;
    error_page(context, &PageRefusal::new(StatusCode::FORBIDDEN, "invalid_request", text))
}

/// The signed-in user is not an administrator.
pub(crate) fn for_administrators(context: &RequestContext) -> Response {
    let text = context.messages().problems.not_an_administrator;
    error_page(context, &PageRefusal::new(StatusCode::FORBIDDEN, "access_denied", text))
}

/// A malformed request. The audit text is English; the page is in the user's language.
pub(crate) fn malformed(context: &mut RequestContext, error: impl Into<BodyError>) -> Response {
    let error = error.into();
    if let Err(fault) = tell_refused(context, AuditKind::Authorize, &unreadable(&error.description())) {
        return failures::fault_page(context, &fault);
    }
    let messages = context.messages();
    let text = messages.problems.unreadable;
    let message = format!("{} ({})", text.message, error.text(&messages.malformed));
    // Malformed forms get 400. An unsupported coding keeps 415, which `Accept-Encoding` belongs to.
    let status = if let BodyError::Encoded = error { error.status() } else { StatusCode::BAD_REQUEST };
    let refusal = PageRefusal { message: &message, ..PageRefusal::new(status, "invalid_request", text) };
    error.answered(error_page(context, &refusal))
}

pub(crate) fn tell_refused(context: &mut RequestContext, kind: AuditKind, refusal: &dyn Refusal) -> Result<(), Fault> {
    let (instance, ctx) = context.split();
    instance.audit_refusal(&ctx, kind, refusal)
}

pub(crate) fn unreadable(problem: &str) -> MalformedRequest<'_> {
    MalformedRequest { cause: "malformed_request", problem }
}

struct FormNotOurs;

impl Refusal for FormNotOurs {
    fn cause(&self) -> &'static str {
        "form_not_ours"
    }

    fn details(&self) -> RefusalDetails {
        RefusalDetails::new("the form carries a valid CSRF token from this browser and site", "RFC 6749 §10.12")
    }
}
