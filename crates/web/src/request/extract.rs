//! axum extractors for the request context.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::HeaderMap;
use http::request::Parts;

use crate::request::context::{AppState, PublicContext, RequestContext, UncheckedContext};
use crate::request::failures;
use crate::request::start::RequestStart;

impl FromRequestParts<Arc<AppState>> for RequestContext {
    type Rejection = Response;

    /// Waits until memory is up to date with the database.
    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Response> {
        let PublicContext(context) = PublicContext::from_request_parts(parts, state).await?;
        context.believed().await.map_err(|refused| {
            let (context, fault) = *refused;
            failures::fault_as_spoken(&context, parts.uri.path(), &fault)
        })
    }
}

impl FromRequestParts<Arc<AppState>> for PublicContext {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<AppState>) -> Result<Self, Response> {
        let arrival = *parts.extensions.get::<RequestStart>().expect("every request has arrived");
        UncheckedContext::of(state, arrival, parts).map(Self)
    }
}

/// A request's headers, moved instead of copied: later extractors see none.
pub(crate) struct Headers(pub(crate) HeaderMap);

impl<S: Sync> FromRequestParts<S> for Headers {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(std::mem::take(&mut parts.headers)))
    }
}
