//! Answers to internal failures, as pages, OAuth errors, OData errors and problem documents.

use axum::body::Body;
use axum::response::Response;
use flows::platform::fault_log::FaultContext;
use flows::{Fault, FaultKind};
use http::{HeaderValue, StatusCode, header};
use odata::ODataErrorBody;
use schemars::JsonSchema;
use serde::Serialize;

use crate::messages::{Messages, ProblemText};
use crate::pages::ErrorPage;
use crate::request::context::{AnyInstance, RequestContext};
use crate::request::latencies::Route;
use crate::request::render;
use crate::request::render::FormTarget;

/// The path of the admin API.
pub(crate) const ADMIN_API: &str = "/manage/api/v1";

/// Reports a fault and returns its status. Faults are reported once, here at the boundary.
pub(crate) fn fault_status(context: &RequestContext<impl AnyInstance>, fault: &Fault) -> StatusCode {
    let affected = FaultContext { instance: Some(&context.instance.info.name), request: Some(context.request.id) };
    context.instance.faults().report(fault, "a request cannot be answered", affected);
    match fault.kind() {
        FaultKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        FaultKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A fault as a page.
pub(crate) fn fault_page(context: &RequestContext<impl AnyInstance>, fault: &Fault) -> Response {
    failed_page(context.messages(), fault_status(context, fault), &context.reference())
}

pub(crate) fn failed_page(messages: &'static Messages, status: StatusCode, reference: &str) -> Response {
    let code = if status == StatusCode::SERVICE_UNAVAILABLE { "temporarily_unavailable" } else { "server_error" };
    let ProblemText { title, message, what_to_do } = messages.problems.fault;
    let error = ErrorPage { messages, title, message, what_to_do, code, reference, status };
    render::retry_later(render::page(status, &error, FormTarget::Ourselves))
}

/// A fault in the format of the endpoint at `path`.
pub(crate) fn fault_as_spoken(context: &RequestContext<impl AnyInstance>, path: &str, fault: &Fault) -> Response {
    failed_as_spoken(path, fault_status(context, fault), context.messages(), &context.reference())
}

pub(crate) fn failed_as_spoken(
    path: &str,
    status: StatusCode,
    messages: &'static Messages,
    reference: &str,
) -> Response {
    match Route::of(path) {
        Route::Api => api_failure(status, reference),
        Route::Token | Route::UserInfo | Route::Revocation | Route::Introspection => failed_json(status),
        Route::Manage if path.starts_with(ADMIN_API) => problem_failure(status, reference.to_owned()),
        _ => failed_page(messages, status, reference),
    }
}

/// A fault as an OAuth error body (RFC 6749 §5.2).
pub(crate) fn fault_json(context: &RequestContext<impl AnyInstance>, fault: &Fault) -> Response {
    failed_json(fault_status(context, fault))
}

pub(crate) fn failed_json(status: StatusCode) -> Response {
    let (error, error_description) = match status {
        StatusCode::SERVICE_UNAVAILABLE => ("temporarily_unavailable", "try again in a moment"),
        _ => ("server_error", "internal server error"),
    };
    render::retry_later(render::json(status, &oauth::token::ErrorBody { error, error_description }))
}

/// The documented error body of the Domain API. `code` is a number, also when access is refused.
pub(crate) fn api_error(status: StatusCode, kind: &'static str, message: String) -> Response {
    let body = ODataErrorBody::new(kind, 0, "{0}", vec![message]);
    let mut response = render::no_store(Response::new(Body::from(body.to_json())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A fault as an error of the Domain API.
pub(crate) fn api_failure(status: StatusCode, reference: &str) -> Response {
    let message = format!("Internal server error. Reference: {reference}");
    render::retry_later(api_error(status, "SystemException", message))
}

/// A fault as an error of the admin API.
pub(crate) fn problem_failure(status: StatusCode, reference: String) -> Response {
    let detail = "Try again in a moment. If this happens again, report the reference to the operator.".to_owned();
    render::retry_later(problem(reference, status, "fault", "Internal error", detail, Vec::new()))
}

pub(crate) fn problem(
    reference: String,
    status: StatusCode,
    kind: &str,
    title: &'static str,
    detail: String,
    problems: Vec<String>,
) -> Response {
    let body = ProblemBody {
        kind: format!("urn:gatehouse:problem:{kind}"),
        title,
        status: status.as_u16(),
        detail,
        problems,
        reference,
    };
    let bytes = serde_json::to_vec(&body).expect("a problem is strings and a number");
    let mut response = render::no_store(Response::new(Body::from(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// `application/problem+json` (RFC 9457 §3).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemBody {
    /// Identifies the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    /// What went wrong and how to fix it.
    detail: String,
    /// Every single error, if the request can have several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    /// Reference of this request in the audit. Look it up under `/refusals/{reference}`.
    reference: String,
}
