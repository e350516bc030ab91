//! Floor 4: everything that knows a header, cookie, status, path or page. No SQL.

mod api;
mod body;
mod cors;
mod documents;
mod id;
mod layer;
pub mod odata;
pub mod pages;
mod person;
mod profile;
mod render;
pub mod server;
mod site;
mod visit;
pub mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;

pub use site::VERSION;
pub use visit::{Gate, SystemDice};

use crate::layer::Reception;
use crate::pages::ErrorPage;
use crate::visit::Visit;

/// Every door of the house.
pub fn router(gate: Arc<Gate>) -> Router {
    let reception = Reception::new(Arc::clone(&gate));
    Router::new()
        .merge(site::router())
        .merge(id::router())
        .merge(profile::router())
        .fallback(elsewhere)
        .with_state(gate)
        .layer(axum::middleware::from_fn_with_state(reception, layer::around))
}

/// The API, whose fixed segments are matched in any case, or nothing.
async fn elsewhere(visit: Visit, request: Request) -> Response {
    if api::is_api_path(request.uri().path()) {
        return api::call(visit, request).await;
    }
    let (title, message, what_to_do) = visit.words().problems.no_page;
    let page = ErrorPage {
        words: visit.words(),
        title,
        message,
        what_to_do,
        code: "not_found",
        reference: &visit.reference(),
        status: StatusCode::NOT_FOUND,
    };
    render::page(StatusCode::NOT_FOUND, &page, None)
}
