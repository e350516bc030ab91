//! Reading what outsiders send: bounded, and only in the shape that is expected.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use oauth::params::{ParamError, Params};

/// The largest form: room for every parameter at its longest.
pub(crate) const LARGEST_FORM: usize = 32 * 1024;

#[derive(Debug)]
pub(crate) enum BodyError {
    TooLarge,
    /// The connection broke, or was too slow.
    Unfinished,
    NotAForm,
    Params(ParamError),
}

impl BodyError {
    pub(crate) fn description(&self) -> String {
        match self {
            Self::TooLarge => "the body is too large".to_owned(),
            Self::Unfinished => "the body did not arrive whole".to_owned(),
            Self::NotAForm => "send application/x-www-form-urlencoded".to_owned(),
            Self::Params(error) => error.to_string(),
        }
    }
}

pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Unfinished),
    }
}

/// RFC 6749 Appendix B.
pub(crate) async fn form(headers: &HeaderMap, body: Body) -> Result<Params, BodyError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let bytes = read(body, LARGEST_FORM).await?;
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(BodyError::NotAForm);
    }
    Params::parse(&bytes).map_err(BodyError::Params)
}
