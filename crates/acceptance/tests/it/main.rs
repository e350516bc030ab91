//! The protocol endpoints, tested from outside. Each file covers one specification.

mod gatehouse;
mod oauth_responses;
mod odata_v4;
mod oidc_core;
mod oidc_discovery;
mod oidc_logout;
mod regression;
mod rfc6749;
mod rfc6750;
mod rfc7009;
mod rfc7636;
mod rfc7662;
mod rfc8252;
mod rfc8414;
mod rfc9068;
mod rfc9207;
mod rfc9700;

use acceptance::HttpAnswer;

const FIRST: &str = "my.trusted.app/first";
const SPA: &str = "my.trusted.app/spa";
const NATIVE: &str = "my.trusted.app/native";
const SERVICE: &str = "my.trusted.app/service";
const READER: &str = "my.trusted.app/reader";
const PORTAL: &str = "portal.example.com";
const OFF: &str = "my.trusted.app/off";

/// An error page without a redirect.
#[track_caller]
fn assert_error_page(answer: &HttpAnswer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.location(), "", "nobody is sent anywhere");
    assert_eq!(answer.page(), "error");
    assert_eq!(answer.words("#code").as_deref(), Some(code));
}

/// A refusal of the token endpoint.
#[track_caller]
fn assert_refused(answer: &HttpAnswer, status: u16, error: &str) {
    assert_eq!(answer.refusal(), (status, error.to_owned()), "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
}
