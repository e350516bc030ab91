//! One request of a run and its answer.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

/// The sender of a request.
#[derive(Clone, Copy)]
pub(super) enum RequestSender<'a> {
    Browser,
    Application { token: Option<&'a str> },
}

/// The answer to a request.
pub(super) struct TrialAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl TrialAnswer {
    pub(super) fn location(&self) -> &str {
        self.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn member(&self, name: &str) -> Option<String> {
        self.json()[name].as_str().map(str::to_owned)
    }

    pub(super) fn reference(&self) -> Option<&str> {
        self.headers.get("x-request-id").and_then(|value| value.to_str().ok())
    }
}
