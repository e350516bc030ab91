//! A request that took longer than it may, answered in the language of its door.

use axum::response::Response;
use http::{HeaderValue, StatusCode};
use model::Language;

use crate::metrics::Route;
use crate::server::Overdue;
use crate::words;
use crate::{api, manage, render};

/// `accepted` is the request's `Accept-Language`, for people.
pub(crate) fn answer(overdue: Overdue, path: &str, reference: &str, accepted: Option<&HeaderValue>) -> Response {
    if overdue.is_of_the_sender {
        let what = "The request's body did not arrive in time.\n";
        return overdue.close(render::text(StatusCode::REQUEST_TIMEOUT, what));
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let response = match Route::of(path) {
        Route::Api => api::failed(status, reference),
        Route::Token | Route::UserInfo | Route::Revocation | Route::Introspection => render::failed_json(status),
        Route::Manage if path.starts_with(manage::PREFIX) => manage::failed(status, reference.to_owned()),
        _ => {
            let accepted = accepted.map(|line| String::from_utf8_lossy(line.as_bytes()));
            let language = accepted.and_then(|line| Language::of_accept_language(&line));
            render::failed_page(words::of(language.unwrap_or_default()), status, reference)
        }
    };
    overdue.close(response)
}
