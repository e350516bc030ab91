//! Requests and answers as text for administrators. Secrets are cut to a few characters.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, header};
use oauth::params::Params;
use serde_json::Value;

use crate::admin_ui::applications::trial::exchange::{RequestSender, TrialAnswer};

const SECRETS: [&str; 10] = [
    "client_secret",
    "code",
    "code_verifier",
    "access_token",
    "refresh_token",
    "id_token",
    "token",
    "csrf",
    "request",
    "state",
];

/// Shows at most a quarter: a secret that an administrator typed may be short.
fn shortened(value: &str) -> String {
    let head: String = value.chars().take(value.len().min(24) / 4).collect();
    format!("{head}… ({} characters)", value.len())
}

fn value(name: &str, value: &str) -> String {
    if SECRETS.contains(&name) { shortened(value) } else { value.to_owned() }
}

fn pairs<'a>(query: impl Iterator<Item = (&'a str, &'a str)>, before: [&str; 2]) -> String {
    let line = |(place, (name, text)): (usize, (&str, &str))| {
        format!("\n{}{name}={}", before[place.min(1)], value(name, text))
    };
    query.enumerate().map(line).collect()
}

/// An address with its query, one parameter per line.
fn address(text: &str) -> String {
    let Some((path, query)) = text.split_once('?') else { return text.to_owned() };
    match Params::parse(query.as_bytes()) {
        Ok(query) => format!("{path}{}", pairs(query.iter(), ["  ?", "  &"])),
        Err(_) => path.to_owned(),
    }
}

pub(super) fn as_asked(method: &Method, target: &str, by: RequestSender<'_>, form: Option<&[(&str, &str)]>) -> String {
    let credential = match by {
        RequestSender::Application { token: Some(token) } => format!("\nAuthorization: Bearer {}", shortened(token)),
        RequestSender::Application { token: None } => String::new(),
        RequestSender::Browser => "\nCookie: of your sign-in".to_owned(),
    };
    let body = form.map(|form| pairs(form.iter().copied(), ["", ""]));
    let body = body.map(|lines| format!("\nContent-Type: application/x-www-form-urlencoded\n{lines}"));
    format!("{method} {}{credential}{}", address(target), body.unwrap_or_default())
}

pub(super) fn as_answered(heard: &TrialAnswer) -> String {
    let mut text = heard.status.to_string();
    if !heard.location().is_empty() {
        let _infallible = write!(text, "\nLocation: {}", address(heard.location()));
    }
    if let Some(challenge) = heard.headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()) {
        let _infallible = write!(text, "\nWWW-Authenticate: {challenge}");
    }
    let content = heard.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content.starts_with("text/html") {
        text.push_str("\n\nAn HTML page.");
    }
    let Value::Object(mut members) = heard.json() else { return text };
    let mut tokens = String::new();
    for (name, member) in &mut members {
        let Value::String(whole) = member else { continue };
        if let Value::Object(claims) = claims(whole) {
            let _infallible = write!(tokens, "\n\n{name} claims:\n{}", pretty(&Value::Object(claims)));
        }
        *whole = value(name, whole);
    }
    format!("{text}\n\n{}{tokens}", pretty(&Value::Object(members)))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("it was JSON")
}

/// The claims of a JWT; null if the text is not a JWT.
pub(super) fn claims(token: &str) -> Value {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Value::Null;
    };
    let bytes = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_something_is_not_shown_whole() {
        let secret = "x".repeat(43);
        let asked = as_asked(
            &Method::POST,
            &format!("/id/connect/token?code={secret}&scope=read"),
            RequestSender::Application { token: Some(&secret) },
            Some(&[("client_secret", &secret), ("scope", "read update")]),
        );
        assert!(!asked.contains(&secret), "{asked}");
        assert!(asked.contains("client_secret=xxxxxx… (43 characters)"), "{asked}");
        assert!(asked.contains("\n  &scope=read\n"), "{asked}");
        assert!(asked.ends_with("\nscope=read update"), "{asked}");
        assert_eq!([shortened("mistyped"), shortened("abc")], ["mi… (8 characters)", "… (3 characters)"]);
    }
}
