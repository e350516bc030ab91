//! An authorization request while its user signs in, proves a second factor, chooses an account or consents.

use std::sync::Arc;
use std::time::Duration;

use oauth::authorize::AuthorizationRequest;
use oauth::secret::Digest;
use uuid::Uuid;

use crate::session::FormCookie;
use crate::{SessionId, Timestamp};

/// How long the pages of a request may take.
pub const PENDING_LIFETIME: Duration = Duration::from_hours(24);

/// How long a proof is valid: the password until the second step, and a sign-in for this request until the user
/// consents.
pub const PROOF_LIFETIME: Duration = Duration::from_mins(10);

/// The id of a pending request in the addresses of its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingId {
    /// The whole request, encrypted. No user has authenticated yet, so nothing is stored.
    Sealed(String),
    /// The key of a row.
    Stored(Uuid),
}

impl PendingId {
    pub fn parse(text: &str) -> Self {
        Uuid::try_parse(text).map_or_else(|_| Self::Sealed(text.to_owned()), Self::Stored)
    }
}

impl std::fmt::Display for PendingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sealed(text) => f.write_str(text),
            Self::Stored(id) => id.simple().fmt(f),
        }
    }
}

/// A pending request of one browser.
#[derive(Clone, Debug)]
pub struct PendingAuthorization {
    pub id: PendingId,
    /// The browser that sent the request. No other browser can continue it.
    pub browser: Digest<FormCookie>,
    pub request: Arc<AuthorizationRequest>,
    /// The sign-in after which only consent was missing.
    pub sign_in: Option<RequestSignIn>,
    pub expires_at: Timestamp,
}

/// A sign-in that satisfied the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestSignIn {
    pub session: SessionId,
    pub at: Timestamp,
}

impl PendingAuthorization {
    /// Whether this sign-in satisfied the request, recently enough that `prompt=login` need not ask again.
    pub fn is_met_by(&self, session: SessionId, now: Timestamp) -> bool {
        self.sign_in.is_some_and(|met| met.session == session && now < met.at.plus(PROOF_LIFETIME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        for id in [PendingId::Stored(Uuid::from_u128(7)), PendingId::Sealed("c2VhbGVk".to_owned())] {
            assert_eq!(PendingId::parse(&id.to_string()), id);
        }
    }
}
