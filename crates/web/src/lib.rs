//! Floor 4: HTTP. The only crate with headers, cookies, statuses, paths and pages. No SQL.

mod admin_api;
mod admin_ui;
mod api;
mod health;
mod id;
pub mod messages;
pub mod metrics;
pub mod odata;
pub mod pages;
mod profile;
mod request;
pub mod server;
mod site;

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn;
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::StatusCode;
use tower::Service as _;

pub use request::context::{AppState, SystemRng};
pub use request::traces;
pub use site::VERSION;

use crate::messages::ProblemText;
use crate::pages::ErrorPage;
use crate::request::context::{AnyInstance, PublicContext, RequestContext, UncheckedContext};
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::scope;
use crate::request::scope::{RequestIds, RequestScope};
use crate::server::{RequestDeadline, Responder};

/// The HTTP service: all endpoints of Gatehouse.
#[derive(Clone)]
pub struct HttpService {
    ids: Arc<RequestIds>,
    router: Router,
}

impl HttpService {
    pub fn new(state: Arc<AppState>) -> Self {
        let of_people = Router::new().merge(profile::router()).merge(admin_ui::router()).layer(from_fn(scope::alone));
        let acting = id::acting().merge(of_people).fallback(nothing_here).with_state(Arc::clone(&state));
        let router = Router::new()
            .merge(site::router())
            .merge(id::router())
            .merge(profile::documents())
            .merge(admin_api::router())
            // A separate service, so that the layer runs before method routing.
            .fallback_service(Router::new().fallback_service(acting).layer(from_fn(scope::acting)));
        Self { router: router.with_state(Arc::clone(&state)), ids: Arc::new(RequestIds::new(state)) }
    }
}

impl Responder for HttpService {
    /// Frequent requests bypass the router: API calls, whose fixed segments are matched anyway, token requests, and the
    /// discovery documents. Each path has its own boxed future: none carries another's state, and a boxed future is not
    /// copied by every layer that passes it on.
    fn answer_within(
        &self,
        mut request: Request,
        peer: SocketAddr,
        allowance: RequestDeadline,
    ) -> impl Future<Output = Response> + Send + 'static {
        let (state, request_scope) = (&self.ids.state, RequestScope::begin(&self.ids, &request, peer.ip()));
        if let Some(document) = id::prepared(state, &request) {
            return Either::Left(ready(request_scope.end(document)));
        }
        let is_call = api::is_api_path(request.uri().path());
        if is_call || id::asks_for_tokens(&request) {
            let (parts, body) = request.into_parts();
            return match UncheckedContext::of(state, request_scope.arrival(), &parts) {
                Ok(context) if is_call => {
                    let answering = api::call(context, parts, body, allowance.work());
                    Either::Right(request_scope.through(allowance, answering).boxed())
                }
                Ok(context) => {
                    let answering = scope::finish(allowance.work(), id::tokens(context, parts.headers, body));
                    Either::Right(request_scope.through(allowance, answering).boxed())
                }
                Err(refused) => Either::Left(ready(request_scope.end(refused))),
            };
        }
        request.extensions_mut().insert(request_scope.arrival());
        if let Some(work) = allowance.work() {
            request.extensions_mut().insert(work);
        }
        let request_scope = request_scope.in_language_of(&request);
        let answering = self.router.clone().call(request).map(|Ok(response)| response);
        Either::Right(request_scope.through(allowance, answering).boxed())
    }
}

async fn nothing_here(PublicContext(context): PublicContext) -> Response {
    no_such_page(&context)
}

fn no_such_page(context: &RequestContext<impl AnyInstance>) -> Response {
    let ProblemText { title, message, what_to_do } = context.messages().problems.no_page;
    let page = ErrorPage {
        messages: context.messages(),
        title,
        message,
        what_to_do,
        code: "not_found",
        reference: &context.reference(),
        status: StatusCode::NOT_FOUND,
    };
    render::page(StatusCode::NOT_FOUND, &page, FormTarget::Ourselves)
}
