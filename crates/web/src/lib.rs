//! Floor 4: everything that knows a header, cookie, status, path or page. No SQL.

mod api;
mod body;
mod cors;
mod documents;
mod id;
mod layer;
pub mod metrics;
pub mod odata;
pub mod pages;
mod person;
mod profile;
mod render;
pub mod server;
mod site;
pub mod traces;
mod visit;
pub mod words;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use tower::Service as _;

pub use site::VERSION;
pub use visit::{Gate, SystemDice};

use crate::layer::{Arrival, Reception};
use crate::pages::ErrorPage;
use crate::server::Answer;
use crate::visit::Visit;

/// Every door of the house.
#[derive(Clone)]
pub struct Doors {
    reception: Arc<Reception>,
    router: Router,
}

impl Doors {
    pub fn new(gate: Arc<Gate>) -> Self {
        let router =
            Router::new().merge(site::router()).merge(id::router()).merge(profile::router()).fallback(nothing_here);
        Self { router: router.with_state(Arc::clone(&gate)), reception: Arc::new(Reception::new(gate)) }
    }

    /// The router is for what is not asked for all the time: calls of the API, whose fixed segments are matched in any
    /// case, and the documents that clients look up.
    async fn open(mut self, arrival: Arrival, mut request: Request) -> Response {
        if api::is_api_path(request.uri().path()) {
            let (parts, body) = request.into_parts();
            return match Visit::of(&self.reception.gate, arrival, &parts) {
                // Boxed for itself: other doors need not carry its state.
                Ok(visit) => Box::pin(api::call(visit, parts, body)).await,
                Err(refused) => refused,
            };
        }
        if let Some(document) = id::prepared(&self.reception.gate, &request) {
            return document;
        }
        request.extensions_mut().insert(arrival);
        let Ok(response) = self.router.call(request).await;
        response
    }
}

impl Answer for Doors {
    fn answer(&self, request: Request, peer: SocketAddr) -> impl Future<Output = Response> + Send + 'static {
        let (doors, arrival) = (self.clone(), self.reception.receive(&request, peer.ip()));
        // Boxed once here, it is not copied by every layer that hands it on.
        let reception = Arc::clone(&self.reception);
        Box::pin(layer::around((reception, arrival), request, move |request| doors.open(arrival, request)))
    }
}

async fn nothing_here(visit: Visit) -> Response {
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
