//! Cross-origin reads (Fetch §3.2): public documents for every page, the rest for pages of registered applications.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::request::context::RequestContext;

#[derive(Clone, Copy)]
pub(crate) enum CorsReaders<'v> {
    Anybody,
    /// Pages of the applications registered at the request's instance.
    RegisteredAt(&'v RequestContext),
}

const ALLOWED_METHODS: &str = "GET, POST, PATCH, DELETE, OPTIONS";
/// Headers that our endpoints read, and headers that libraries in browsers add: OData clients (`OData-…`, `If-…`,
/// `…DataServiceVersion`), HTTP clients (`X-Requested-With`), tracers (W3C Trace Context, `baggage`). A fixed list, not
/// an echo of the requested headers.
const ALLOWED_HEADERS: &str = "Accept, Accept-Language, Authorization, Content-Type, X-Api-Key, Api-Key, X-Application-Uri, \
                               TransactionId, Prefer, If-Match, If-None-Match, OData-Version, OData-MaxVersion, \
                               OData-Isolation, DataServiceVersion, MaxDataServiceVersion, X-Requested-With, \
                               X-CSRF-Token, Cache-Control, Pragma, traceparent, tracestate, baggage, \
                               X-Request-Id, X-Correlation-Id";
const EXPOSED_HEADERS: &str = "OData-Version, ETag, Location, OData-EntityId, Preference-Applied, WWW-Authenticate, \
                               Retry-After, Allow, Accept-Encoding, Sunset, X-Request-Id";
const PREFLIGHT_SECONDS: &str = "600";

fn allowed_origin(readers: CorsReaders<'_>, headers: &HeaderMap) -> Option<HeaderValue> {
    match readers {
        // Sent even without `Origin`, so that a cache can keep one answer for every origin.
        CorsReaders::Anybody => Some(HeaderValue::from_static("*")),
        CorsReaders::RegisteredAt(context) => {
            let origin = headers.get(header::ORIGIN)?;
            let known = context.instance.allows_origin(origin.to_str().ok()?);
            known.then(|| origin.clone())
        }
    }
}

/// Lets any page read this answer. A cache can keep one answer for every origin.
pub(crate) fn share_with_anybody(mut response: Response) -> Response {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// Lets pages of these readers read this answer.
pub(crate) fn share(readers: CorsReaders<'_>, request: &HeaderMap, mut response: Response) -> Response {
    if matches!(readers, CorsReaders::RegisteredAt(_)) {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed_origin(readers, request) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
    response
}

/// The answer to a preflight. It needs no token and reveals nothing.
pub(crate) fn preflight(readers: CorsReaders<'_>, request: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let known = allowed_origin(readers, request).is_some();
    let mut response = share(readers, request, response);
    if known {
        let mut say = |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
        say(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        say(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        say(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    }
    response
}
