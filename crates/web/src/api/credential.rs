//! The credential of an API call: exactly one, in one header.

use flows::protocol::guard::{GuardRefusal, TokenRefusal};
use flows::protocol::legacy::ErpSession;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::reference_token::is_reference_token;
use model::user::Password;
use oauth::auth_header::split_scheme;
use oauth::basic::{self, Basic, BasicError};
use oauth::bearer::{self, BearerError};
use oauth::secret::{AccessToken, Presented};

use crate::api::CallRefusal;

/// Headers that carry a credential beside `Authorization`.
const KEY_HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];

/// Names the calling application of a Basic call: Basic itself has no field for it.
const APPLICATION: &str = "x-application-uri";

const MAX_ERP_SESSION: usize = 256;

pub(super) enum ApiCredential {
    Token(Presented<AccessToken>),
    /// With the application from `X-Application-Uri`.
    Basic(Basic<Password>, Option<String>),
    ErpSession(Presented<ErpSession>),
}

impl ApiCredential {
    pub(super) fn is_legacy(&self) -> bool {
        !matches!(self, Self::Token(_))
    }
}

pub(super) fn credential(headers: &HeaderMap) -> Result<ApiCredential, CallRefusal> {
    let shown = headers.get_all(header::AUTHORIZATION).iter().count()
        + KEY_HEADERS.iter().map(|name| headers.get_all(name).iter().count()).sum::<usize>();
    if shown > 1 {
        return Err(CallRefusal::BadCredential("send one credential, in one header"));
    }
    if let Some(key) = KEY_HEADERS.iter().find_map(|name| headers.get(name)) {
        return match key.to_str() {
            Ok(key) if is_reference_token(key) => Ok(ApiCredential::Token(Presented::new(key))),
            _ => {
                let length = key.as_bytes().len();
                Err(CallRefusal::Guard(GuardRefusal::Token(TokenRefusal::Malformed { length })))
            }
        };
    }
    let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    match bearer::token(authorization) {
        Ok(token) => Ok(ApiCredential::Token(token)),
        Err(BearerError::OtherScheme) => legacy(authorization.unwrap_or_default(), headers),
        Err(BearerError::Missing) => Err(CallRefusal::NoCredential),
        Err(BearerError::Malformed) => Err(CallRefusal::BadCredential("the access token is malformed")),
        Err(BearerError::TooLong) => Err(CallRefusal::BadCredential("the access token is too long")),
    }
}

fn legacy(authorization: &[u8], headers: &HeaderMap) -> Result<ApiCredential, CallRefusal> {
    let (scheme, rest) = split_scheme(authorization);
    if scheme.eq_ignore_ascii_case(b"ErpSession") {
        return match std::str::from_utf8(rest) {
            Ok(session) if (1..=MAX_ERP_SESSION).contains(&session.len()) => {
                Ok(ApiCredential::ErpSession(Presented::new(session)))
            }
            _ => Err(CallRefusal::BadCredential("the ErpSession is malformed")),
        };
    }
    match basic::parse(authorization) {
        Ok(basic) => Ok(ApiCredential::Basic(basic, application(headers)?)),
        Err(BasicError::OtherScheme) => Err(CallRefusal::NoCredential),
        Err(BasicError::TooLong) => Err(CallRefusal::BadCredential("the Basic credentials are too long")),
        Err(BasicError::NotBase64) => Err(CallRefusal::BadCredential("the Basic credentials are not base64")),
        Err(BasicError::NoColon) => Err(CallRefusal::BadCredential("the Basic credentials contain no colon")),
        Err(BasicError::NotUtf8) => Err(CallRefusal::BadCredential("send the Basic credentials in UTF-8")),
        Err(BasicError::ControlCharacter) => {
            Err(CallRefusal::BadCredential("the Basic credentials contain a control character"))
        }
    }
}

/// The application from `X-Application-Uri`, if present.
pub(super) fn application(headers: &HeaderMap) -> Result<Option<String>, CallRefusal> {
    const WHAT: &str = "X-Application-Uri must name one application, in printable ASCII";
    let mut named = headers.get_all(APPLICATION).iter();
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        (Some(uri), None) => {
            let uri = uri.to_str().map_err(|_| CallRefusal::BadCredential(WHAT))?.trim();
            Ok(Some(uri.to_owned()).filter(|uri| !uri.is_empty()))
        }
        (Some(_), Some(_)) => Err(CallRefusal::BadCredential(WHAT)),
    }
}
