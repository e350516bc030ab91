//! How answers look: pages with their policy, redirects, JSON, and faults without detail.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flows::Fault;
use flows::audit::{AuditExport, ExportFormat};
use flows::server::InstanceAdmin;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use model::audit::chain::Chain;
use serde::Serialize;

/// Seconds after which something that failed for lack of a resource may be tried again.
const RETRY_AFTER: &str = "1";

/// HTML §7.1.3. An application that opened our page in a window may wait for it (`scope::alone` says where none does).
pub(crate) const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Fetch §3.7.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Passkeys, and nothing else that a browser could give away.
static PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "publickey-credentials-get=(self), publickey-credentials-create=(self), accelerometer=(), camera=(), \
     display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), payment=(), \
     serial=(), usb=()",
);

/// With room for the headers that every answer has: a map that grows is filled again.
pub(crate) fn response(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::with_capacity(14);
    response
}

fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = response(status, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Somebody has to repair it first: asking again soon is no use.
pub(crate) fn refused_instance() -> Response {
    let text = "This instance cannot be served at the moment. Its operator finds the reason in the log.\n";
    let mut response = no_store(self::text(StatusCode::SERVICE_UNAVAILABLE, text));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

pub(crate) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    typed(status, "text/plain; charset=utf-8", text)
}

/// Nothing here may be kept by anybody (RFC 6749 §5.1).
pub(crate) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(value).expect("answers are strings, numbers and flags");
    typed(status, "application/json", bytes)
}

pub(crate) fn json_bytes(bytes: Bytes) -> Response {
    typed(StatusCode::OK, "application/json", bytes)
}

/// Where the forms of a page may end, redirects included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormTarget {
    Ourselves,
    /// An application's redirect URI, and wherever the application sends the browser from there.
    Application,
}

impl FormTarget {
    /// Chromium checks every redirect that follows a form against `form-action` (CSP Level 3 §6.4.1), and an
    /// application's callback may redirect anywhere: to another origin, to a private scheme. No list of sources names
    /// that, so such a page sends none. It loses little: templates escape what strangers write, so that nobody injects a
    /// form, and under `default-src 'none'` no script rewrites ours.
    const fn directive(self) -> &'static str {
        match self {
            Self::Ourselves => "form-action 'self'; ",
            Self::Application => "",
        }
    }
}

/// A page: no script, no frame, styles of our own, forms to `form_target`.
pub(crate) fn page(status: StatusCode, page: &impl Template, form_target: FormTarget) -> Response {
    page_under("", status, page, form_target)
}

/// A page that runs a script of ours, which is a file; none in the page itself.
pub(crate) fn page_with_script(status: StatusCode, page: &impl Template, form_target: FormTarget) -> Response {
    page_under("script-src 'self'; ", status, page, form_target)
}

/// The audit as a file, sent while it is read.
pub(crate) fn exported(
    (manager, chain): (Arc<InstanceAdmin>, Chain),
    export: AuditExport,
    format: ExportFormat,
) -> Response {
    let (content_type, ending) = match format {
        ExportFormat::Jsonl => ("application/jsonl", "jsonl"),
        ExportFormat::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    // Names of instances are letters, digits, dots, hyphens and underscores.
    let name = manager.instance().info.name.clone();
    let what = match chain {
        Chain::Main => "audit",
        Chain::Refusals => "refusals",
    };
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{what}-{name}.{ending}\""));
    let pieces = stream::try_unfold((manager, chain, export, name), async |(manager, chain, mut export, name)| {
        let service = manager.service();
        let book = service.audit_reader_of(chain, manager.master()).await?;
        let piece = export.next(&book, &name).await?;
        drop(book);
        drop(service);
        Ok::<_, Fault>(piece.map(|piece| (piece, (manager, chain, export, name))))
    });
    let mut response = no_store(typed(StatusCode::OK, content_type, Body::from_stream(pieces)));
    let disposition = disposition.unwrap_or(HeaderValue::from_static("attachment"));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    response
}

/// As [`page_with_script`], of which the script asks us for more.
pub(crate) fn page_that_asks(status: StatusCode, page: &impl Template) -> Response {
    page_under("script-src 'self'; connect-src 'self'; ", status, page, FormTarget::Ourselves)
}

fn page_under(scripts: &str, status: StatusCode, page: &impl Template, form_target: FormTarget) -> Response {
    let html = page.render().expect("templates are checked when compiled");
    let mut response = no_store(typed(status, "text/html; charset=utf-8", html));
    let form_action = form_target.directive();
    let policy = format!(
        "default-src 'none'; {scripts}style-src 'self'; img-src 'self'; {form_action}frame-ancestors 'none'; \
         base-uri 'none'"
    );
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("unsafe-none"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(PERMISSIONS_POLICY, PERMISSIONS.clone());
    response
}

/// 302 in answer to a GET, 303 in answer to a POST: the method of what follows is GET either way (RFC 9110 §15.4).
pub(crate) fn redirect(method: &http::Method, location: &str) -> Response {
    let status = if method == http::Method::POST { StatusCode::SEE_OTHER } else { StatusCode::FOUND };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    match HeaderValue::try_from(location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
        }
        // Redirect URIs are registered as printable ASCII, and parameters are encoded.
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    no_store(response)
}

pub(crate) fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

pub(crate) fn retry_later(mut response: Response) -> Response {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    no_store(response)
}
