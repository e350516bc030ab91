//! Rendering of answers: pages with their Content Security Policy, redirects, JSON, and failures without detail.

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

/// Seconds until a request that failed for lack of a resource may be retried.
const RETRY_AFTER: &str = "1";

/// HTML §7.1.3. An application that opened our page in a window may wait for that window; `scope::alone` sets the
/// header for pages where none does.
pub(crate) const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Fetch §3.7.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Allows passkeys and denies every other browser feature.
static PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "publickey-credentials-get=(self), publickey-credentials-create=(self), accelerometer=(), camera=(), \
     display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), payment=(), \
     serial=(), usb=()",
);

/// A response with room reserved for the headers that every answer has: growing the map would rehash it.
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

/// `Retry-After` is a minute: an operator has to repair the instance first, so an earlier retry is useless.
pub(crate) fn refused_instance() -> Response {
    let text = "This instance cannot be served at the moment. Its operator finds the reason in the log.\n";
    let mut response = no_store(self::text(StatusCode::SERVICE_UNAVAILABLE, text));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

pub(crate) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    typed(status, "text/plain; charset=utf-8", text)
}

/// Forbids storage by any cache (RFC 6749 §5.1).
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

/// The targets of a page's forms, including redirects (`form-action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormTarget {
    Ourselves,
    /// An application's redirect URI, and any URI that the application redirects to.
    Application,
}

impl FormTarget {
    /// Chromium checks every redirect that follows a form against `form-action` (CSP Level 3 §6.4.1), and an
    /// application's callback may redirect to any origin or private scheme. No source list covers that, so such a page
    /// sends no `form-action`. The loss is small: templates escape untrusted text, so no form can be injected, and
    /// `default-src 'none'` forbids scripts that could rewrite ours.
    const fn directive(self) -> &'static str {
        match self {
            Self::Ourselves => "form-action 'self'; ",
            Self::Application => "",
        }
    }
}

/// A page without scripts and frames, with our own styles, and forms that go to `form_target`.
pub(crate) fn page(status: StatusCode, page: &impl Template, form_target: FormTarget) -> Response {
    page_under("", status, page, form_target)
}

/// A page with a script file of ours. Inline scripts stay forbidden.
pub(crate) fn page_with_script(status: StatusCode, page: &impl Template, form_target: FormTarget) -> Response {
    page_under("script-src 'self'; ", status, page, form_target)
}

/// The audit as a file, streamed while it is read.
pub(crate) fn exported(
    manager: Arc<InstanceAdmin>,
    chain: Chain,
    export: AuditExport,
    format: ExportFormat,
) -> Response {
    let (content_type, ending) = match format {
        ExportFormat::Jsonl => ("application/jsonl", "jsonl"),
        ExportFormat::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    // Needs no quoting: names of instances consist of letters, digits, dots, hyphens and underscores.
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

/// Like [`page_with_script`], for a script that sends requests to us.
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

/// 302 after GET, 303 after POST. The next method is GET either way (RFC 9110 §15.4).
pub(crate) fn redirect(method: &http::Method, location: &str) -> Response {
    let status = if method == http::Method::POST { StatusCode::SEE_OTHER } else { StatusCode::FOUND };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    match HeaderValue::try_from(location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
        }
        // Unreachable: redirect URIs are registered as printable ASCII, and parameters are encoded.
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
