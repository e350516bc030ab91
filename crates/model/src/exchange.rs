//! Refusals of the token endpoint (RFC 6749 §5.2).

use std::borrow::Cow;

use oauth::token::TokenErrorCode;

use crate::application::{ClientRefusal, ScopeNotAllowed};
use crate::authorization::{RedeemRefusal, RefreshRefusal};
use crate::refusal::{Refusal, RefusalDetails};
use crate::validity::InvalidityReason;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeRefusal {
    Client(ClientRefusal),
    Code(RedeemRefusal),
    Refresh(RefreshRefusal),
    ServiceNotAllowed,
    SystemUserGone(InvalidityReason),
    ScopeNotAllowed(ScopeNotAllowed),
}

impl ExchangeRefusal {
    pub const fn code(&self) -> TokenErrorCode {
        match self {
            Self::Client(_) => TokenErrorCode::InvalidClient,
            Self::Refresh(RefreshRefusal::ScopeWidened { .. }) | Self::ScopeNotAllowed(_) => {
                TokenErrorCode::InvalidScope
            }
            Self::Refresh(RefreshRefusal::NotAllowed) | Self::ServiceNotAllowed | Self::SystemUserGone(_) => {
                TokenErrorCode::UnauthorizedClient
            }
            Self::Code(_) | Self::Refresh(_) => TokenErrorCode::InvalidGrant,
        }
    }

    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::Client(_) => "client authentication failed: the client is unknown or disabled, or its credentials are wrong".into(),
            Self::Code(refusal) => refusal.description().into(),
            Self::Refresh(RefreshRefusal::ScopeWidened { name, .. }) => {
                format!("scope {name} was not granted; a refresh request can only narrow the scope").into()
            }
            Self::Refresh(RefreshRefusal::NotAllowed) => "this application is not allowed to use refresh tokens".into(),
            Self::Refresh(_) => "the refresh token is unknown, used, expired, revoked or issued to another application; sign the user in again".into(),
            Self::ServiceNotAllowed => "this application is not allowed to use client_credentials".into(),
            Self::SystemUserGone(_) => "the System User of this application is not active".into(),
            Self::ScopeNotAllowed(refusal) => refusal.description().into(),
        }
    }
}

impl Refusal for ExchangeRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Client(refusal) => refusal.cause(),
            Self::Code(refusal) => refusal.cause(),
            Self::Refresh(refusal) => refusal.cause(),
            Self::ServiceNotAllowed => "service_not_allowed",
            Self::SystemUserGone(_) => "system_user_not_active",
            Self::ScopeNotAllowed(_) => ScopeNotAllowed::CAUSE,
        }
    }

    fn details(&self) -> RefusalDetails {
        match self {
            Self::Client(refusal) => refusal.details(),
            Self::Code(refusal) => refusal.details(),
            Self::Refresh(refusal) => refusal.details(),
            Self::ServiceNotAllowed => RefusalDetails::new(
                "the application may act as a service",
                "RFC 6749 §4.4; SystemUserAllowed, SystemUser",
            ),
            Self::SystemUserGone(gone) => gone.details(),
            Self::ScopeNotAllowed(refusal) => refusal.details(),
        }
    }
}
