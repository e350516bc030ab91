//! Why a bearer token, or a call with it, was refused (RFC 6750 §3.1, `sessions.md`).

use crate::audit::Asker;
use crate::legacy::LegacyRefusal;
use crate::refusal::{Refusal, RefusalDetails, when};
use crate::seat::NoSeat;
use crate::validity::InvalidityReason;
use crate::{Timestamp, UserType};

/// Why a bearer token is not accepted: `invalid_token` (RFC 6750 §3.1), each with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenRefusal {
    /// The presented value has this many bytes.
    Malformed {
        length: usize,
    },
    /// No reference token of this instance. The value holds its last digits, which lists of tokens show too.
    Unknown {
        tail: String,
    },
    UnknownKey {
        kid: Option<String>,
    },
    BadSignature {
        kid: String,
    },
    NotAnAccessToken,
    WrongIssuer {
        sent: String,
        expected: String,
    },
    /// The token is authentic, but not valid.
    Fallen(Box<EndedToken>),
}

/// An authentic token, and why it is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedToken {
    /// The `jti`, or the id of a reference token.
    pub token: String,
    /// `ApplicationUri`, or its id.
    pub application: String,
    pub end: TokenEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenEnd {
    NotYetValid { from: Timestamp, now: Timestamp },
    Expired { at: Timestamp, now: Timestamp },
    Gone(InvalidityReason),
    Killed { what: RevocationSource, at: Option<Timestamp> },
}

/// What revoked a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationSource {
    /// The token itself was revoked.
    Token,
    /// The authorization that it descends from was revoked or reused, or its consent was withdrawn.
    Authorization,
    /// The user signed out, or an administrator ended the session.
    SignIn,
    /// The database went back to a time before the authorization that it descends from.
    Lost,
    /// One of these, on another node: the database has the revocation, this node's memory did not yet.
    Something,
}

impl RevocationSource {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "the token was revoked",
            Self::Authorization => "its authorization ended",
            Self::SignIn => "its sign-in ended",
            Self::Lost => "its authorization is not in the database",
            Self::Something => "what it descends from ended",
        }
    }
}

impl TokenRefusal {
    pub fn description(&self) -> &'static str {
        match self {
            Self::Malformed { .. }
            | Self::Unknown { .. }
            | Self::UnknownKey { .. }
            | Self::BadSignature { .. }
            | Self::NotAnAccessToken
            | Self::WrongIssuer { .. } => "the token is not an access token of this instance",
            Self::Fallen(fallen) => match fallen.end {
                TokenEnd::NotYetValid { .. } => "the token is not valid yet; check the clock",
                TokenEnd::Expired { .. } => "the token has expired; get a new one",
                TokenEnd::Gone(_) | TokenEnd::Killed { .. } => "the token has been revoked; sign in again",
            },
        }
    }

    pub fn fallen(token: impl Into<String>, application: impl Into<String>, end: TokenEnd) -> Self {
        Self::Fallen(Box::new(EndedToken { token: token.into(), application: application.into(), end }))
    }
}

impl Refusal for TokenRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "token_malformed",
            Self::Unknown { .. } => "token_unknown",
            Self::UnknownKey { .. } => "token_key_unknown",
            Self::BadSignature { .. } => "token_signature_wrong",
            Self::NotAnAccessToken => "not_an_access_token",
            Self::WrongIssuer { .. } => "token_of_another_issuer",
            Self::Fallen(fallen) => match fallen.end {
                TokenEnd::NotYetValid { .. } => "token_not_yet_valid",
                TokenEnd::Expired { .. } => "token_expired",
                TokenEnd::Gone(gone) => gone.cause(),
                TokenEnd::Killed { .. } => "token_ended",
            },
        }
    }

    fn details(&self) -> RefusalDetails {
        const VALIDATION: &str = "RFC 9068 §4";
        match self {
            Self::Malformed { length } => {
                RefusalDetails::new("the token is a JWT, or a reference token", "RFC 9068 §2.1")
                    .hidden("token", *length)
                    .expected("reference token", "enrt_ and 64 upper-case hexadecimal digits")
            }
            Self::Unknown { tail } => RefusalDetails::new(
                "the reference token was issued by this instance",
                "docs/tokens.md, Reference tokens",
            )
            .sent("ends in", tail),
            Self::UnknownKey { kid } => {
                RefusalDetails::new("the token is signed by a key of this instance", VALIDATION)
                    .sent("kid", kid.as_deref().unwrap_or("(none)"))
                    .expected("kid", "one of jwks_uri")
            }
            Self::BadSignature { kid } => {
                RefusalDetails::new("the signature is good, and typ is at+jwt", VALIDATION).sent("kid", kid)
            }
            Self::NotAnAccessToken => RefusalDetails::new("the claims are those of an access token", "RFC 9068 §2.2"),
            Self::WrongIssuer { sent, expected } => {
                RefusalDetails::new("the token was issued by this instance", VALIDATION)
                    .sent("iss", sent)
                    .expected_exactly("iss", expected)
            }
            Self::Fallen(fallen) => fallen.details(),
        }
    }
}

impl EndedToken {
    fn details(&self) -> RefusalDetails {
        let details = match self.end {
            TokenEnd::NotYetValid { from, now } => {
                RefusalDetails::new("the token is valid already", "RFC 7519 §4.1.5").at("not before", from, now)
            }
            TokenEnd::Expired { at, now } => {
                RefusalDetails::new("the token has not expired", "RFC 7519 §4.1.4").at("before", at, now)
            }
            TokenEnd::Gone(gone) => gone.details(),
            TokenEnd::Killed { what, at } => {
                let details = RefusalDetails::new("nothing ended the token", "docs/tokens.md, What revokes tokens")
                    .expected("ended by", what.as_str());
                match at {
                    Some(at) => details.expected("ended at", when(at)),
                    None => details,
                }
            }
        };
        details.sent("token", &self.token).sent("application", &self.application)
    }
}

/// Why a call was not passed to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardRefusal {
    Token(TokenRefusal),
    WrongAudience {
        sent: Vec<String>,
        expected: String,
    },
    /// The token of a Community user identifies the user, but gives no access to APIs.
    NotForCommunityUsers,
    InsufficientScope {
        needed: &'static str,
        granted: String,
    },
    NoSeat(NoSeat),
    Legacy(LegacyRefusal),
}

impl GuardRefusal {
    /// Authenticated if the credential itself was valid, and only the call was refused.
    pub const fn asker(&self) -> Asker {
        match self {
            Self::Token(_) | Self::Legacy(_) => Asker::Stranger,
            Self::WrongAudience { .. }
            | Self::NotForCommunityUsers
            | Self::InsufficientScope { .. }
            | Self::NoSeat(_) => Asker::Authenticated,
        }
    }
}

impl Refusal for GuardRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Token(refusal) => refusal.cause(),
            Self::WrongAudience { .. } => "token_for_another_audience",
            Self::NotForCommunityUsers => "community_user",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::NoSeat(no_seat) => no_seat.cause(),
            Self::Legacy(refusal) => refusal.cause(),
        }
    }

    fn details(&self) -> RefusalDetails {
        match self {
            Self::Token(refusal) => refusal.details(),
            Self::WrongAudience { sent, expected } => RefusalDetails::new("the token is for this API", "RFC 9068 §4")
                .sent("aud", sent.join(" "))
                .expected("aud", expected),
            Self::NotForCommunityUsers => {
                RefusalDetails::new("users of this type can access the APIs", "docs/tokens.md")
                    .sent("user type", UserType::ExternalCommunity.as_str())
                    .expected("user type", UserType::Internal.as_str())
            }
            Self::InsufficientScope { needed, granted } => RefusalDetails::new(
                "the token has the scope, and the scope is registered for its application",
                "RFC 6750 §3.1",
            )
            .sent("scope", granted)
            .expected("scope", needed),
            Self::NoSeat(no_seat) => no_seat.details(),
            Self::Legacy(refusal) => refusal.details(),
        }
    }
}
