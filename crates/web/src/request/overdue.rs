//! Requests that exceeded their time limit, answered in the format of their endpoint.

use axum::response::Response;
use http::{HeaderValue, StatusCode};
use model::Language;

use crate::messages;
use crate::request::failures;
use crate::request::render;
use crate::server::Overdue;

/// `accepted` is the request's `Accept-Language`, for pages.
pub(crate) fn answer(overdue: Overdue, path: &str, reference: &str, accepted: Option<&HeaderValue>) -> Response {
    if overdue == Overdue::Sender {
        let what = "The request's body did not arrive in time.\n";
        return overdue.close(render::text(StatusCode::REQUEST_TIMEOUT, what));
    }
    let accepted = accepted.map(|line| String::from_utf8_lossy(line.as_bytes()));
    let language = accepted.and_then(|line| Language::of_accept_language(&line));
    let messages = messages::of(language.unwrap_or_default());
    overdue.close(failures::failed_as_spoken(path, StatusCode::SERVICE_UNAVAILABLE, messages, reference))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use http::header;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::server::RequestDeadline;

    #[tokio::test]
    async fn every_door_says_in_its_language_that_the_time_is_over() {
        let overdue = RequestDeadline::new(Duration::ZERO).keep(pending::<()>()).await.expect_err("it never ends");
        assert_eq!(overdue, Overdue::Server);
        let german = HeaderValue::from_static("de");
        for (path, content_type, said) in [
            ("/id/connect/token", "application/json", r#""error":"temporarily_unavailable""#),
            ("/id/connect/userinfo", "application/json", r#""error":"temporarily_unavailable""#),
            ("/api/domain/odata/Crm_Customers", "application/json", "SystemException"),
            ("/manage/api/v1/users", "application/problem+json", "urn:gatehouse:problem:fault"),
            ("/manage/users", "text/html; charset=utf-8", "temporarily_unavailable"),
            ("/id/account/login", "text/html; charset=utf-8", "lang=\"de\""),
        ] {
            let response = answer(overdue, path, "0123", Some(&german));
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            let headers = response.headers().clone();
            assert_eq!(
                (&headers[header::CONTENT_TYPE], &headers[header::RETRY_AFTER]),
                (&content_type.parse().expect("a value"), &HeaderValue::from_static("5")),
                "{path}"
            );
            assert_eq!(headers[header::CACHE_CONTROL], "no-store", "{path}");
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert!(String::from_utf8_lossy(&body).contains(said), "{path}: {body:?}");
        }
    }
}
