//! One authorization of an application by a user: first the code, then the family of refresh tokens. One row
//! throughout.

use std::time::Duration;

use oauth::pkce::{Challenge, Verifier};
use oauth::scope::Scope;
use oauth::secret::{AuthorizationCode, Digest};

use crate::audit::RequestOrigin;
use crate::claims::Epochs;
use crate::refusal::{Refusal, RefusalDetails, when};
use crate::validity::InvalidityReason;
use crate::{ApplicationId, AuthenticatedClient, AuthorizationId, SessionId, Timestamp, UserId};

/// Lifetime of a code (RFC 6749 §4.1.2 recommends at most ten minutes; FAPI 2.0 §5.3.2.1: at most 60 s).
pub const CODE_LIFETIME: Duration = Duration::from_mins(1);

/// For this long, the previous refresh token returns the newest again: two tabs may refresh at once, or a response may
/// be lost.
pub const ROTATION_GRACE: Duration = Duration::from_secs(10);

/// Number of a refresh token within its family. The first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub i64);

impl Generation {
    pub const FIRST: Self = Self(1);

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[derive(Clone, Debug)]
pub struct Authorization {
    pub id: AuthorizationId,
    pub application: ApplicationId,
    pub user: UserId,
    pub session: SessionId,
    pub scope: Scope,
    pub auth_time: Timestamp,
    pub amr: Vec<String>,
    /// Epochs of the application and the user at the time of consent. A later epoch of either invalidates the
    /// authorization.
    pub epochs: Epochs,
    pub state: AuthorizationState,
}

#[derive(Clone, Debug)]
pub enum AuthorizationState {
    /// A code was issued and not yet redeemed.
    Issued(Box<IssuedCode>),
    Redeemed(RefreshFamily),
    /// Revoked, with all its tokens.
    Ended(End),
}

impl Authorization {
    /// Origin of the first request for the newest refresh token, if known.
    pub fn rotated_by(&self) -> Option<&RequestOrigin> {
        match &self.state {
            AuthorizationState::Redeemed(family) => family.rotated_by.as_ref(),
            AuthorizationState::Issued(_) | AuthorizationState::Ended(_) => None,
        }
    }
}

/// When and why an authorization ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub at: Timestamp,
    /// The cause, one word for programs.
    pub reason: String,
}

impl End {
    fn details(&self) -> RefusalDetails {
        RefusalDetails::new("the authorization has not ended", "docs/tokens.md, What revokes tokens")
            .expected("before", when(self.at))
            .expected("ended by", &self.reason)
    }
}

#[derive(Clone, Debug)]
pub struct IssuedCode {
    pub digest: Digest<AuthorizationCode>,
    pub redirect_uri: String,
    pub nonce: Option<String>,
    pub challenge: Option<Challenge>,
    pub expires_at: Timestamp,
}

/// All refresh tokens descended from one authorization: one row with a generation number. Also kept if no refresh token
/// was issued, because access tokens from the code descend from it too.
#[derive(Clone, Debug)]
pub struct RefreshFamily {
    pub generation: Generation,
    pub rotated_at: Timestamp,
    /// Origin of the first request for the newest generation. Unknown for generation 1, for rotations before this was
    /// recorded, and after the person was erased.
    pub rotated_by: Option<RequestOrigin>,
    /// Whether the application received the newest generation: one of its access tokens was used.
    pub proven: bool,
    /// Absolute time; `None` without `offline_access`.
    pub refresh_until: Option<Timestamp>,
}

/// Why a code was not redeemed: `invalid_grant` to the caller, each with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedeemRefusal {
    /// The presented value has this many bytes.
    Unknown {
        length: usize,
    },
    OtherApplication {
        of: ApplicationId,
    },
    /// RFC 6749 §4.1.2: refuse, and revoke the tokens issued for the code.
    Reused {
        /// The newest generation issued since the first use.
        newest: Generation,
        rotated_at: Timestamp,
    },
    /// The code was reused before, or the user signed out meanwhile.
    Ended(End),
    Expired {
        at: Timestamp,
        now: Timestamp,
    },
    RedirectUriDiffers {
        sent: Option<String>,
        expected: String,
    },
    VerifierMissing {
        challenge: Challenge,
    },
    VerifierUnexpected,
    VerifierWrong {
        /// Challenge of the verifier that was sent.
        sent: Challenge,
        expected: Challenge,
    },
    /// The user was disabled, changed the password or signed out meanwhile, or the application was disabled.
    Gone(InvalidityReason),
}

impl RedeemRefusal {
    pub const fn description(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::OtherApplication { .. } | Self::Reused { .. } | Self::Ended(_) => {
                "the code is unknown, used or issued to another application; start again"
            }
            Self::Expired { .. } => "the code has expired; start again",
            Self::RedirectUriDiffers { .. } => "redirect_uri does not match the authorization request",
            Self::VerifierMissing { .. } | Self::VerifierUnexpected | Self::VerifierWrong { .. } => {
                "PKCE verification failed"
            }
            Self::Gone(_) => "the user's sign-in has ended; start again",
        }
    }
}

impl Refusal for RedeemRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "code_unknown",
            Self::OtherApplication { .. } => "code_of_another_application",
            Self::Reused { .. } => "code_reused",
            Self::Ended(_) => "authorization_ended",
            Self::Expired { .. } => "code_expired",
            Self::RedirectUriDiffers { .. } => "redirect_uri_differs",
            Self::VerifierMissing { .. } => "verifier_missing",
            Self::VerifierUnexpected => "verifier_without_challenge",
            Self::VerifierWrong { .. } => "verifier_wrong",
            Self::Gone(gone) => gone.cause(),
        }
    }

    fn details(&self) -> RefusalDetails {
        match self {
            Self::Unknown { length } => {
                RefusalDetails::new("the code was issued here, and not long ago", "RFC 6749 §4.1.3")
                    .hidden("code", *length)
            }
            Self::OtherApplication { of } => {
                RefusalDetails::new("the code was issued to this application", "RFC 6749 §4.1.3")
                    .expected("application id", of)
            }
            Self::Reused { newest, rotated_at } => {
                RefusalDetails::new("the code was not used before", "RFC 6749 §4.1.2")
                    .expected("before", when(*rotated_at))
                    .expected("newest refresh token of the first use", newest.0)
            }
            Self::Ended(end) => end.details(),
            Self::Expired { at, now } => {
                RefusalDetails::new("the code is younger than a minute", "RFC 6749 §4.1.2").at("before", *at, *now)
            }
            Self::RedirectUriDiffers { sent, expected } => {
                RefusalDetails::new("redirect_uri is the one of the authorization request", "RFC 6749 §4.1.3")
                    .sent("redirect_uri", sent.as_deref().unwrap_or_default())
                    .expected_exactly("redirect_uri", expected)
            }
            Self::VerifierMissing { challenge } => {
                RefusalDetails::new("code_verifier is sent where there was a code_challenge", "RFC 7636 §4.5")
                    .expected("code_challenge", challenge.as_str())
            }
            Self::VerifierUnexpected => {
                RefusalDetails::new("code_verifier is sent only where there was a code_challenge", "RFC 9700 §2.1.1")
            }
            Self::VerifierWrong { sent, expected } => {
                RefusalDetails::new("the SHA-256 of code_verifier is the code_challenge", "RFC 7636 §4.6")
                    .sent("code_challenge", sent.as_str())
                    .expected_exactly("code_challenge", expected.as_str())
            }
            Self::Gone(gone) => gone.details(),
        }
    }
}

/// Redeems a code (RFC 6749 §4.1.3, RFC 7636 §4.6). If another application presents it, the refusal does not tell
/// whether it was used, and nothing is revoked: a third party must not be able to revoke the tokens of its owner.
pub fn redeem<'a>(
    now: Timestamp,
    client: AuthenticatedClient<'_>,
    authorization: &'a Authorization,
    redirect_uri: Option<&str>,
    verifier: Option<&Verifier>,
) -> Result<&'a IssuedCode, RedeemRefusal> {
    if authorization.application != client.get().id {
        return Err(RedeemRefusal::OtherApplication { of: authorization.application });
    }
    let code = match &authorization.state {
        AuthorizationState::Issued(code) => code,
        AuthorizationState::Redeemed(family) => {
            return Err(RedeemRefusal::Reused { newest: family.generation, rotated_at: family.rotated_at });
        }
        AuthorizationState::Ended(end) => return Err(RedeemRefusal::Ended(end.clone())),
    };
    if now >= code.expires_at {
        return Err(RedeemRefusal::Expired { at: code.expires_at, now });
    }
    if redirect_uri != Some(code.redirect_uri.as_str()) {
        let sent = redirect_uri.map(str::to_owned);
        return Err(RedeemRefusal::RedirectUriDiffers { sent, expected: code.redirect_uri.clone() });
    }
    match (&code.challenge, verifier) {
        (None, None) => Ok(code),
        (Some(challenge), None) => Err(RedeemRefusal::VerifierMissing { challenge: challenge.clone() }),
        (None, Some(_)) => Err(RedeemRefusal::VerifierUnexpected),
        (Some(challenge), Some(verifier)) if verifier.matches(challenge) => Ok(code),
        (Some(challenge), Some(verifier)) => {
            Err(RedeemRefusal::VerifierWrong { sent: verifier.challenge(), expected: challenge.clone() })
        }
    }
}

/// The effect of presenting a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The newest token was presented: issue the next.
    Advance,
    /// The previous token was presented: return the newest again.
    Repeat,
}

/// Why a refresh token was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshRefusal {
    /// The presented value has this many bytes. Set only if it is not a refresh token of this instance.
    Unknown {
        length: Option<usize>,
    },
    OtherApplication {
        of: ApplicationId,
    },
    /// The application may not refresh, or may no longer.
    NotAllowed,
    Ended(End),
    Expired {
        at: Timestamp,
        now: Timestamp,
    },
    /// The only refusal that revokes the family: RFC 9700 §4.14.2.
    Reused {
        shown: Generation,
        newest: Generation,
        rotated_at: Timestamp,
        proven: bool,
    },
    ScopeWidened {
        name: String,
        granted: Scope,
    },
    Gone(InvalidityReason),
}

impl Refusal for RefreshRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "refresh_token_unknown",
            Self::OtherApplication { .. } => "refresh_token_of_another_application",
            Self::NotAllowed => "refresh_not_allowed",
            Self::Ended(_) => "authorization_ended",
            Self::Expired { .. } => "refresh_token_expired",
            Self::Reused { .. } => "refresh_token_reused",
            Self::ScopeWidened { .. } => "scope_widened",
            Self::Gone(gone) => gone.cause(),
        }
    }

    fn details(&self) -> RefusalDetails {
        const REFRESHING: &str = "RFC 6749 §6";
        match self {
            Self::Unknown { length } => {
                let details = RefusalDetails::new("the refresh token was issued here", REFRESHING);
                match length {
                    Some(length) => details.hidden("refresh_token", *length),
                    None => details,
                }
            }
            Self::OtherApplication { of } => {
                RefusalDetails::new("the refresh token was issued to this application", REFRESHING)
                    .expected("application id", of)
            }
            Self::NotAllowed => RefusalDetails::new("the application may refresh", "ClientType, PublicRefreshAllowed"),
            Self::Ended(end) => end.details(),
            Self::Expired { at, now } => {
                RefusalDetails::new("the refresh token has not expired", REFRESHING).at("before", *at, *now)
            }
            Self::Reused { shown, newest, rotated_at, proven } => RefusalDetails::new(
                "the refresh token is the newest one, or the response with the newest one may have been lost",
                "RFC 9700 §4.14.2",
            )
            .sent("generation", shown.0)
            .expected("generation", newest.0)
            .expected("newest since", when(*rotated_at))
            .expected("newest was used", proven),
            Self::ScopeWidened { name, granted } => {
                RefusalDetails::new("a refresh narrows the scope, or keeps it", REFRESHING)
                    .sent("scope", name)
                    .expected("scope", granted)
            }
            Self::Gone(gone) => gone.details(),
        }
    }
}

/// Rotation (RFC 6749 §6), with reuse detection as in RFC 9700 §4.14.2 and the exception of `identity.md` §3.2: the
/// previous token returns the newest again within [`ROTATION_GRACE`], and later only to a confidential application that
/// has not yet used the newest.
pub fn rotate(
    now: Timestamp,
    client: AuthenticatedClient<'_>,
    authorization: &Authorization,
    shown: Generation,
    asked: Option<&Scope>,
) -> Result<Rotation, RefreshRefusal> {
    if authorization.application != client.get().id {
        return Err(RefreshRefusal::OtherApplication { of: authorization.application });
    }
    let family = match &authorization.state {
        AuthorizationState::Redeemed(family) => family,
        AuthorizationState::Ended(end) => return Err(RefreshRefusal::Ended(end.clone())),
        // The MAC is valid, but this token was never issued.
        AuthorizationState::Issued(_) => return Err(RefreshRefusal::Unknown { length: None }),
    };
    if shown > family.generation {
        return Err(RefreshRefusal::Unknown { length: None });
    }
    let rotation = if shown == family.generation {
        Rotation::Advance
    } else if shown.next() == family.generation && may_repeat(now, client, family) {
        Rotation::Repeat
    } else {
        let RefreshFamily { generation, rotated_at, proven, .. } = *family;
        return Err(RefreshRefusal::Reused { shown, newest: generation, rotated_at, proven });
    };
    match family.refresh_until {
        None => return Err(RefreshRefusal::Unknown { length: None }),
        Some(at) if now >= at => return Err(RefreshRefusal::Expired { at, now }),
        Some(_) if !client.get().may_refresh() => return Err(RefreshRefusal::NotAllowed),
        Some(_) => {}
    }
    match asked.and_then(|asked| asked.iter().find(|token| !authorization.scope.contains(token))) {
        Some(token) => {
            Err(RefreshRefusal::ScopeWidened { name: token.to_owned(), granted: authorization.scope.clone() })
        }
        None => Ok(rotation),
    }
}

fn may_repeat(now: Timestamp, client: AuthenticatedClient<'_>, family: &RefreshFamily) -> bool {
    let just_now = now.since(family.rotated_at) <= ROTATION_GRACE;
    just_now || (client.is_confidential() && !family.proven)
}

#[cfg(test)]
mod tests {
    use oauth::client::ClientCredentials;
    use oauth::secret::Presented;
    use uuid::Uuid;

    use super::*;
    use crate::ClientType;
    use crate::TrustedApplication;
    use crate::application::PublicRefresh;
    use crate::application::tests::{application, confidential};

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn authorization(state: AuthorizationState) -> Authorization {
        Authorization {
            id: AuthorizationId(Uuid::nil()),
            application: ApplicationId(Uuid::nil()),
            user: UserId(Uuid::nil()),
            session: SessionId(Uuid::nil()),
            scope: Scope::parse("openid read offline_access").expect("valid"),
            auth_time: Timestamp(0),
            amr: vec![],
            epochs: Epochs(0, 0),
            state,
        }
    }

    fn issued(challenge: Option<&str>) -> AuthorizationState {
        AuthorizationState::Issued(Box::new(IssuedCode {
            digest: Presented::<AuthorizationCode>::new("code").digest(),
            redirect_uri: "https://app.example.com/cb".into(),
            nonce: None,
            challenge: challenge.and_then(|c| Challenge::parse(Some(c), Some("S256")).expect("valid")),
            expires_at: Timestamp(60),
        }))
    }

    fn family(generation: i64, proven: bool) -> AuthorizationState {
        AuthorizationState::Redeemed(RefreshFamily {
            generation: Generation(generation),
            rotated_at: Timestamp::from_seconds(100),
            rotated_by: None,
            proven,
            refresh_until: Some(Timestamp::from_seconds(1000)),
        })
    }

    fn ended() -> AuthorizationState {
        AuthorizationState::Ended(End { at: Timestamp(50), reason: "sign_out".to_owned() })
    }

    fn with_client<T>(app: &TrustedApplication, run: impl FnOnce(AuthenticatedClient<'_>) -> T) -> T {
        let client_id = app.uri.clone();
        let shown = if app.is_public() {
            ClientCredentials::None { client_id }
        } else {
            ClientCredentials::Post { client_id, secret: Presented::new("s") }
        };
        run(app.authenticate(&shown, Timestamp(0)).expect("authenticates"))
    }

    #[test]
    fn a_code_is_redeemed_only_as_it_was_asked_for() {
        let app = application(confidential("s", None), "read");
        let mut stranger = app.clone();
        stranger.id = ApplicationId(Uuid::max());
        let redeem_ = |app: &TrustedApplication, state, now, uri: Option<&str>, verifier: Option<&str>| {
            let verifier = verifier.map(|text| Verifier::parse(text).expect("valid"));
            let authorization = authorization(state);
            with_client(app, |client| redeem(Timestamp(now), client, &authorization, uri, verifier.as_ref()).err())
                .map(|refusal| refusal.cause())
        };
        let uri = Some("https://app.example.com/cb");
        let other = "a".repeat(43);
        assert_eq!(redeem_(&app, issued(None), 59, uri, None), None);
        assert_eq!(redeem_(&app, issued(Some(CHALLENGE)), 59, uri, Some(VERIFIER)), None);
        assert_eq!(redeem_(&stranger, issued(None), 0, uri, None), Some("code_of_another_application"));
        assert_eq!(
            redeem_(&stranger, family(1, false), 0, uri, None),
            Some("code_of_another_application"),
            "no stranger kills"
        );
        assert_eq!(redeem_(&app, family(1, false), 0, uri, None), Some("code_reused"));
        assert_eq!(redeem_(&app, ended(), 0, uri, None), Some("authorization_ended"));
        assert_eq!(redeem_(&app, issued(None), 60, uri, None), Some("code_expired"));
        assert_eq!(
            redeem_(&app, issued(None), 0, Some("https://app.example.com/cb/"), None),
            Some("redirect_uri_differs")
        );
        assert_eq!(redeem_(&app, issued(None), 0, None, None), Some("redirect_uri_differs"));
        assert_eq!(redeem_(&app, issued(Some(CHALLENGE)), 0, uri, None), Some("verifier_missing"));
        assert_eq!(redeem_(&app, issued(None), 0, uri, Some(VERIFIER)), Some("verifier_without_challenge"));
        assert_eq!(redeem_(&app, issued(Some(CHALLENGE)), 0, uri, Some(&other)), Some("verifier_wrong"));
    }

    #[test]
    fn a_reused_refresh_token_ends_its_family_unless_the_answer_may_have_been_lost() {
        let secret = application(confidential("s", None), "read");
        let public = application(ClientType::Public { refresh: PublicRefresh::Allowed }, "read");
        let never = application(ClientType::Public { refresh: PublicRefresh::Never }, "read");
        let show = |app: &TrustedApplication, state, now, shown, asked: Option<&str>| {
            let asked = asked.map(|text| Scope::parse(text).expect("valid"));
            let authorization = authorization(state);
            with_client(app, |client| {
                rotate(Timestamp::from_seconds(now), client, &authorization, Generation(shown), asked.as_ref())
            })
            .map_err(|refusal| refusal.cause())
        };
        for app in [&secret, &public] {
            assert_eq!(show(app, family(3, false), 500, 3, None), Ok(Rotation::Advance));
            assert_eq!(show(app, family(3, true), 110, 2, None), Ok(Rotation::Repeat), "within ten seconds, always");
            assert_eq!(show(app, family(3, false), 100, 1, None), Err("refresh_token_reused"), "two before: at once");
            assert_eq!(show(app, family(3, false), 500, 4, None), Err("refresh_token_unknown"));
            assert_eq!(show(app, ended(), 500, 3, None), Err("authorization_ended"));
            assert_eq!(show(app, issued(None), 500, 1, None), Err("refresh_token_unknown"));
            assert_eq!(show(app, family(3, false), 1000, 3, None), Err("refresh_token_expired"));
            assert_eq!(show(app, family(3, false), 500, 3, Some("read")), Ok(Rotation::Advance), "narrower");
            assert_eq!(show(app, family(3, false), 500, 3, Some("read sec")), Err("scope_widened"));
        }
        assert_eq!(show(&secret, family(3, false), 111, 2, None), Ok(Rotation::Repeat), "unproven: a lost answer");
        assert_eq!(show(&secret, family(3, true), 111, 2, None), Err("refresh_token_reused"));
        assert_eq!(show(&public, family(3, false), 111, 2, None), Err("refresh_token_reused"));
        assert_eq!(show(&never, family(3, false), 111, 3, None), Err("refresh_not_allowed"));
    }
}
