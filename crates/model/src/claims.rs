//! Claims of tokens (`identity.md` §3.3, OpenID Connect Core §2, §5.3).

use std::collections::BTreeSet;
use std::time::Duration;

use oauth::client::ClientId;
use oauth::scope::Scope;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::application::{API_SCOPES, MANAGE_SCOPE};
use crate::{
    Authorization, AuthorizationId, Generation, SessionId, Timestamp, TrustedApplication, User, UserId, UserType,
};

/// The audience of the instance's OData API.
pub const DOMAIN_API: &str = "DomainAPI";

/// The audience of the admin API.
pub const ADMIN_API: &str = "AdminAPI";

/// Maximum lifetime of a token, and so the time for which a revocation must be remembered.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_hours(25);

/// The issuer, and the token format of this instance.
pub struct TokenIssuer<'a> {
    pub issuer: &'a str,
    pub instance: &'a str,
    pub scope_as_string: bool,
    pub service_sub: bool,
    pub now: Timestamp,
    pub lifetime: Duration,
}

/// Epochs of the application and the user at the time of issue. A later epoch invalidates the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs(pub i64, pub i64);

impl Epochs {
    pub fn of(application: &TrustedApplication, user: &User) -> Self {
        Self(application.epoch, user.epoch)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum ScopeClaim {
    Array(Vec<String>),
    Text(String),
}

#[derive(Serialize, Deserialize)]
struct UserClaims {
    sub: String,
    id: Uuid,
    auth_time: i64,
    sid: Uuid,
    idp: String,
    amr: Vec<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    user_type: String,
    is_admin: bool,
    db: String,
}

#[derive(Serialize, Deserialize)]
struct ServiceClaims {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    client_system_user: String,
    client_system_user_type: String,
    client_system_user_id: Uuid,
    client_db: String,
}

#[derive(Serialize, Deserialize)]
struct Claims<Who> {
    iss: String,
    aud: Vec<String>,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    client_id: String,
    scope: ScopeClaim,
    epochs: Epochs,
    #[serde(flatten)]
    who: Who,
}

/// The authorization and generation that an access token descends from. Part of its `jti`, so that revoking the family
/// revokes its access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descent {
    pub authorization: AuthorizationId,
    pub generation: Generation,
}

impl Descent {
    fn to_jti(self, unique: &str) -> String {
        format!("{}.{}.{unique}", self.authorization.0.simple(), self.generation.0)
    }

    fn from_jti(jti: &str) -> Option<Self> {
        let mut parts = jti.split('.');
        let authorization = AuthorizationId(Uuid::try_parse(parts.next()?).ok()?);
        let generation = Generation(parts.next()?.parse().ok()?);
        Some(Self { authorization, generation })
    }
}

/// `aud`: the APIs that the granted scopes cover (none for a Community user), and the issuer's own resources.
fn audience(issuing: &TokenIssuer<'_>, scope: &Scope, user_type: UserType) -> Vec<String> {
    let reaches = |token: &str| match token {
        _ if user_type == UserType::ExternalCommunity => None,
        MANAGE_SCOPE => Some(ADMIN_API),
        _ => API_SCOPES.contains(&token).then_some(DOMAIN_API),
    };
    let apis: BTreeSet<&str> = scope.iter().filter_map(reaches).collect();
    apis.into_iter().rev().map(str::to_owned).chain([format!("{}/resources", issuing.issuer)]).collect()
}

fn claims<Who: Serialize>(
    issuing: &TokenIssuer<'_>,
    application: &TrustedApplication,
    user: &User,
    scope: &Scope,
    jti: String,
    who: Who,
) -> Vec<u8> {
    let iat = issuing.now.seconds();
    let claims = Claims {
        iss: issuing.issuer.to_owned(),
        aud: audience(issuing, scope, user.user_type),
        iat,
        nbf: iat,
        exp: issuing.now.plus(issuing.lifetime).seconds(),
        jti,
        client_id: application.uri.as_str().to_owned(),
        scope: if issuing.scope_as_string {
            ScopeClaim::Text(scope.to_string())
        } else {
            ScopeClaim::Array(scope.iter().map(str::to_owned).collect())
        },
        epochs: Epochs::of(application, user),
        who,
    };
    serde_json::to_vec(&claims).expect("claims are strings and numbers")
}

/// The claims of an access token that acts as a signed-in user.
pub fn user_access_token(
    issuing: &TokenIssuer<'_>,
    application: &TrustedApplication,
    user: &User,
    authorization: &Authorization,
    scope: &Scope,
    generation: Generation,
    unique: &str,
) -> Vec<u8> {
    let descent = Descent { authorization: authorization.id, generation };
    let who = UserClaims {
        sub: user.login.as_str().to_owned(),
        id: user.id.0,
        auth_time: authorization.auth_time.seconds(),
        sid: authorization.session.0,
        idp: "local".to_owned(),
        amr: authorization.amr.clone(),
        name: user.name.clone(),
        email: user.email.as_ref().map(|email| email.address.clone()),
        email_verified: user.email.as_ref().map(|email| email.verified),
        locale: user.locale.clone(),
        user_type: user.user_type.as_str().to_owned(),
        is_admin: user.is_admin(),
        db: issuing.instance.to_owned(),
    };
    claims(issuing, application, user, scope, descent.to_jti(unique), who)
}

/// The claims of an access token that acts as the application's System User (RFC 6749 §4.4).
pub fn service_access_token(
    issuing: &TokenIssuer<'_>,
    application: &TrustedApplication,
    user: &User,
    scope: &Scope,
    unique: &str,
) -> Vec<u8> {
    let who = ServiceClaims {
        sub: issuing.service_sub.then(|| application.uri.as_str().to_owned()),
        client_system_user: user.login.as_str().to_owned(),
        client_system_user_type: user.user_type.as_str().to_owned(),
        client_system_user_id: user.id.0,
        client_db: issuing.instance.to_owned(),
    };
    claims(issuing, application, user, scope, unique.to_owned(), who)
}

/// What an ID token is bound to: the request's nonce, and the values that are issued with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdTokenBinding<'a> {
    pub nonce: Option<&'a str>,
    /// Of the access token (OpenID Connect Core §3.1.3.6).
    pub at_hash: Option<&'a str>,
    /// Of the code (OpenID Connect Core §3.3.2.11).
    pub c_hash: Option<&'a str>,
}

/// ID token claims (OpenID Connect Core §2). Personal claims are at UserInfo.
pub fn id_token(
    issuing: &TokenIssuer<'_>,
    application: &TrustedApplication,
    user: &User,
    authorization: &Authorization,
    binding: IdTokenBinding<'_>,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct IdToken<'a> {
        iss: &'a str,
        sub: &'a str,
        aud: &'a str,
        exp: i64,
        iat: i64,
        auth_time: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<&'a str>,
        sid: Uuid,
        amr: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        at_hash: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        c_hash: Option<&'a str>,
    }
    let IdTokenBinding { nonce, at_hash, c_hash } = binding;
    let claims = IdToken {
        iss: issuing.issuer,
        sub: user.login.as_str(),
        aud: application.uri.as_str(),
        exp: issuing.now.plus(issuing.lifetime).seconds(),
        iat: issuing.now.seconds(),
        auth_time: authorization.auth_time.seconds(),
        nonce,
        sid: authorization.session.0,
        amr: &authorization.amr,
        at_hash,
        c_hash,
    };
    serde_json::to_vec(&claims).expect("claims are strings and numbers")
}

/// Claims of an `id_token_hint` (OpenID Connect RP-Initiated Logout 1.0 §2). Expired ones are accepted.
#[derive(Debug, Deserialize)]
pub struct IdTokenHint {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    pub sid: Uuid,
}

/// UserInfo (OpenID Connect Core §5.3.2, §5.4): `sub`, and the known claims of the granted scopes.
pub fn user_info(user: &User, scope: &Scope) -> serde_json::Value {
    let mut info = serde_json::Map::new();
    let mut say = |name: &str, value: serde_json::Value| info.insert(name.to_owned(), value);
    say("sub", user.login.as_str().into());
    if scope.contains("profile") {
        say("name", user.name.as_str().into());
        say("preferred_username", user.login.as_str().into());
        if let Some(locale) = &user.locale {
            say("locale", locale.as_str().into());
        }
        say("updated_at", user.updated_at.seconds().into());
    }
    if let (true, Some(email)) = (scope.contains("email"), &user.email) {
        say("email", email.address.as_str().into());
        say("email_verified", email.verified.into());
    }
    info.into()
}

/// The claims of an access token of this instance. The signature is verified elsewhere.
#[derive(Clone, Debug)]
pub struct AccessTokenClaims {
    pub id: String,
    pub issuer: String,
    pub audience: Vec<String>,
    pub not_before: Timestamp,
    pub expires_at: Timestamp,
    pub client_id: ClientId,
    pub scope: Scope,
    pub epochs: Epochs,
    pub holder: TokenSubject,
}

/// The subject of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSubject {
    User {
        user: UserId,
        session: SessionId,
        descent: Descent,
        /// When the user signed in (OpenID Connect Core §2).
        auth_time: Timestamp,
    },
    Service {
        user: UserId,
    },
}

impl TokenSubject {
    pub fn user(self) -> UserId {
        match self {
            Self::User { user, .. } | Self::Service { user } => user,
        }
    }
}

impl AccessTokenClaims {
    /// `None` if the payload is not an access token of Gatehouse.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        if let Ok(claims) = serde_json::from_slice::<Claims<UserClaims>>(payload) {
            let holder = TokenSubject::User {
                user: UserId(claims.who.id),
                session: SessionId(claims.who.sid),
                descent: Descent::from_jti(&claims.jti)?,
                auth_time: Timestamp::from_seconds(claims.who.auth_time),
            };
            return claims.into_token(holder);
        }
        let claims = serde_json::from_slice::<Claims<ServiceClaims>>(payload).ok()?;
        let user = UserId(claims.who.client_system_user_id);
        claims.into_token(TokenSubject::Service { user })
    }

    pub fn is_for(&self, audience: &str) -> bool {
        self.audience.iter().any(|one| one == audience)
    }
}

impl<Who> Claims<Who> {
    fn into_token(self, holder: TokenSubject) -> Option<AccessTokenClaims> {
        let scope = match &self.scope {
            ScopeClaim::Array(tokens) => Scope::parse(&tokens.join(" ")).ok()?,
            ScopeClaim::Text(text) => Scope::parse(text).ok()?,
        };
        Some(AccessTokenClaims {
            id: self.jti,
            issuer: self.iss,
            audience: self.aud,
            not_before: Timestamp::from_seconds(self.nbf),
            expires_at: Timestamp::from_seconds(self.exp),
            client_id: self.client_id.parse().ok()?,
            scope,
            epochs: self.epochs,
            holder,
        })
    }
}
