//! Request bodies: read up to a limit, and only in the expected encoding and content type.

use std::error::Error;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use oauth::params::{MAX_BYTES, ParamError, Params};

use crate::messages::MalformedMessages;
use crate::request::headers;
use crate::server::UnreadBody;

/// The largest form. Equals the limit of the parameter parser.
pub(crate) const LARGEST_FORM: usize = MAX_BYTES;

#[derive(Debug)]
pub(crate) enum BodyError {
    TooLarge,
    /// `Content-Encoding` names a coding other than `identity`.
    Encoded,
    /// The connection broke or was too slow.
    Unfinished,
    NotAForm,
    NotMultipart,
    /// A field of one of our own forms has a value that the form does not offer.
    Field(&'static str),
    Params(ParamError),
}

impl From<ParamError> for BodyError {
    fn from(error: ParamError) -> Self {
        Self::Params(error)
    }
}

impl BodyError {
    /// The message for a page.
    pub(crate) fn text(&self, messages: &MalformedMessages) -> String {
        match self {
            Self::TooLarge => messages.too_large.to_owned(),
            Self::Encoded => messages.encoded.to_owned(),
            Self::Unfinished => messages.unfinished.to_owned(),
            Self::NotAForm => messages.not_a_form.to_owned(),
            Self::NotMultipart => messages.not_multipart.to_owned(),
            Self::Field(name) => messages.of(Some(name), messages.is_wrong),
            Self::Params(error) => match error {
                ParamError::TooLarge => messages.too_large.to_owned(),
                ParamError::TooMany => messages.too_many_parameters.to_owned(),
                ParamError::TooLong(_) => messages.of(error.parameter(), messages.is_too_long),
                ParamError::NotUtf8(_) => messages.of(error.parameter(), messages.is_not_text),
                ParamError::BadEncoding(_) => messages.of(error.parameter(), messages.is_badly_encoded),
            },
        }
    }

    /// The message for programs and the audit. Pages use [`MalformedMessages`].
    pub(crate) fn description(&self) -> String {
        match self {
            Self::TooLarge => "the body is too large".to_owned(),
            Self::Encoded => {
                "compressed request bodies are not supported; send the body without Content-Encoding".to_owned()
            }
            Self::Unfinished => "the request body is incomplete".to_owned(),
            Self::NotAForm => "the Content-Type must be application/x-www-form-urlencoded".to_owned(),
            Self::NotMultipart => "the Content-Type must be multipart/form-data".to_owned(),
            Self::Field(name) => format!("parameter {name} is malformed"),
            Self::Params(error) => error.to_string(),
        }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Adds the accepted coding to the answer of an encoded body (RFC 9110 §12.5.3, §15.5.16).
    pub(crate) fn answered(&self, mut response: Response) -> Response {
        if let Self::Encoded = self {
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        response
    }
}

/// Rejects encoded bodies. Nothing is decompressed: a small body could expand to a large one.
pub(crate) fn check_encoding(headers: &HeaderMap) -> Result<(), BodyError> {
    let mut codings = headers::members(headers, header::CONTENT_ENCODING);
    let is_plain = codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"));
    if is_plain { Ok(()) } else { Err(BodyError::Encoded) }
}

pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    check_encoding(headers)?;
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if is_too_large(&*error) => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Unfinished),
    }
}

/// True if the body exceeds the limit of this endpoint or that of the server.
fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| cause.is::<LengthLimitError>() || cause.downcast_ref() == Some(&UnreadBody::TooLarge))
}

/// The fields of a `multipart/form-data` body.
pub(crate) struct MultipartForm(Vec<(String, Bytes)>);

impl MultipartForm {
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// `None` if the field is absent, empty or not UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.bytes(name).and_then(|value| std::str::from_utf8(value).ok()).filter(|value| !value.is_empty())
    }
}

/// The maximum number of fields in one form. Our pages have fewer.
const MAX_PARTS: usize = 8;

/// Reads `multipart/form-data` (RFC 7578) of at most `limit` bytes. A file's name and declared type are ignored: its
/// content decides its type.
pub(crate) async fn multipart(headers: &HeaderMap, body: Body, limit: usize) -> Result<MultipartForm, BodyError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(|_| BodyError::NotMultipart)?;
    let whole = read(headers, body, limit).await?;
    let stream = futures_util::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(whole)));
    let mut multipart = multer::Multipart::new(stream, boundary);
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(|_| BodyError::NotMultipart)? {
        if parts.len() == MAX_PARTS {
            return Err(BodyError::NotMultipart);
        }
        let name = field.name().unwrap_or_default().to_owned();
        parts.push((name, field.bytes().await.map_err(|_| BodyError::NotMultipart)?));
    }
    Ok(MultipartForm(parts))
}

/// Reads `application/x-www-form-urlencoded` (RFC 6749 Appendix B).
pub(crate) async fn form(headers: &HeaderMap, body: Body) -> Result<Params, BodyError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let bytes = read(headers, body, LARGEST_FORM).await?;
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(BodyError::NotAForm);
    }
    Params::parse(&bytes).map_err(BodyError::Params)
}
