use std::time::Duration;

pub mod record;

use oauth::client::{ClientCredentials, ClientId};
use oauth::jose::Algorithm;
use oauth::redirect::{RedirectMatch, RedirectUri};
use oauth::scope::Scope;
use oauth::secret::{ClientSecret, Digest, Presented};

use crate::application::record::StoredRecord;
use crate::audit::Asker;
use crate::refusal::{Refusal, RefusalDetails};
use crate::{ApplicationId, Timestamp, User, UserId, UserType};

/// Scopes that concern the user or the protocol and give no access to APIs (OpenID Connect Core §5.4, §11).
pub const PROTOCOL_SCOPES: [&str; 6] = ["openid", "profile", "email", "phone", "address", "offline_access"];

/// The legacy marker: accepted from every application, grants nothing by itself.
pub const LEGACY_SCOPE: &str = "DomainApi";

/// The scope of the admin API. The user must be an administrator too.
pub const MANAGE_SCOPE: &str = "manage";

/// Scopes of the instance's APIs.
pub const API_SCOPES: [&str; 4] = ["read", "update", "sec", MANAGE_SCOPE];

/// Granted only if requested by name.
const ONLY_BY_NAME: [&str; 2] = ["sec", MANAGE_SCOPE];

/// The register entry of an OAuth client (`identity.md` §2). Its `ApplicationUri` is the `client_id`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of the record")]
pub struct TrustedApplication {
    pub id: ApplicationId,
    pub uri: ClientId,
    pub name: String,
    pub client_type: ClientType,
    /// `ImpersonateLoginUrl`: redirect URIs for authorization responses.
    pub redirect_uris: Vec<RedirectUri>,
    /// `ImpersonateLogoutUrl`: redirect URIs for the browser after sign-out.
    pub post_logout_uris: Vec<RedirectUri>,
    pub sign_in: AllowedUserTypes,
    pub service: ServiceAccess,
    /// The maximum API scope that can be granted.
    pub scope: Scope,
    pub access_tokens: ReferenceTokenPolicy,
    pub basic_authentication_allowed: bool,
    pub require_consent: bool,
    /// Whether a Confidential application must use PKCE. A Public one always must (RFC 9700 §2.1.1).
    pub require_pkce: bool,
    pub enabled: bool,
    /// Raised when the application is disabled, which invalidates tokens issued before.
    pub epoch: i64,
    pub access_token_lifetime: Option<Duration>,
    pub cors_origins: Vec<String>,
    pub access_token_algorithm: Option<Algorithm>,
    pub id_token_algorithm: Option<Algorithm>,
    pub policy_url: Option<String>,
    pub terms_url: Option<String>,
    pub version: i64,
    /// Set if the stored record has members that this version does not know, or violates its rules. A violation
    /// disables the application.
    pub stored: Option<Box<StoredRecord>>,
}

/// Client types (RFC 6749 §2.1), with the attributes specific to each.
#[derive(Clone, Debug)]
pub enum ClientType {
    Public {
        refresh: PublicRefresh,
    },
    Confidential {
        secrets: Vec<Secret>,
    },
    /// A register entry only. Cannot act as a client.
    None,
}

/// `PublicRefreshAllowed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicRefresh {
    Never,
    Allowed,
}

/// One of several secrets of an application, so that secrets can be replaced without downtime.
#[derive(Clone, Debug)]
pub struct Secret {
    pub id: String,
    pub label: String,
    pub digest: Digest<ClientSecret>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

/// The user types that may sign in through the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedUserTypes {
    pub internal: bool,
    pub community: bool,
}

impl AllowedUserTypes {
    pub fn allowed(self) -> bool {
        self.internal || self.community
    }

    pub fn allows(self, user_type: UserType) -> bool {
        match user_type {
            UserType::Internal => self.internal,
            UserType::ExternalCommunity => self.community,
            UserType::SystemNoLogin => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceAccess {
    Off,
    /// The System User that service tokens act as.
    ActsAs(UserId),
}

/// `AccessTokens`: who may issue reference tokens for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceTokenPolicy {
    None,
    AuthenticatedUsers,
    AdministratorsOnly,
}

impl ReferenceTokenPolicy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::AuthenticatedUsers => "AuthenticatedUsers",
            Self::AdministratorsOnly => "AdministratorsOnly",
        }
    }
}

/// An enabled application that has authenticated. Only [`TrustedApplication::authenticate`] creates one.
#[derive(Clone, Copy, Debug)]
pub struct AuthenticatedClient<'a>(&'a TrustedApplication);

impl<'a> AuthenticatedClient<'a> {
    pub fn get(self) -> &'a TrustedApplication {
        self.0
    }

    /// A Public application has no secret, so any client can claim to be one.
    pub fn asker(self) -> Asker {
        if self.is_confidential() { Asker::Authenticated } else { Asker::Stranger }
    }

    pub fn is_confidential(self) -> bool {
        matches!(self.0.client_type, ClientType::Confidential { .. })
    }
}

/// Why a client did not authenticate. The caller gets `invalid_client` for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientRefusal {
    Unknown,
    Disabled,
    WrongSecret {
        method: &'static str,
        /// Number of secrets that would have been accepted.
        live: usize,
    },
    /// The presented secret was valid until it expired.
    SecretExpired {
        label: String,
        at: Timestamp,
        now: Timestamp,
    },
    SecretMissing,
    SecretFromPublic {
        method: &'static str,
    },
    NotAClient,
}

impl Refusal for ClientRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_application",
            Self::Disabled => "application_disabled",
            Self::WrongSecret { .. } => "wrong_secret",
            Self::SecretExpired { .. } => "secret_expired",
            Self::SecretMissing => "secret_missing",
            Self::SecretFromPublic { .. } => "secret_from_public_application",
            Self::NotAClient => "client_type_none",
        }
    }

    fn details(&self) -> RefusalDetails {
        const AUTHENTICATION: &str = "RFC 6749 §2.3.1";
        match self {
            Self::Unknown => RefusalDetails::new("client_id names an application of this instance", "RFC 6749 §2.2"),
            Self::Disabled => RefusalDetails::new("the application is enabled", "IsEnabled of the application"),
            Self::WrongSecret { method, live } => {
                RefusalDetails::new("the secret is a live one of the application", AUTHENTICATION)
                    .sent("method", method)
                    .expected("live secrets", live)
            }
            Self::SecretExpired { label, at, now } => RefusalDetails::new("the secret has not expired", AUTHENTICATION)
                .sent("secret", label)
                .at("before", *at, *now),
            Self::SecretMissing => RefusalDetails::new("a Confidential application proves itself", AUTHENTICATION)
                .sent("method", "none")
                .expected("method", "client_secret_basic or client_secret_post"),
            Self::SecretFromPublic { method } => {
                RefusalDetails::new("a Public application sends no secret", "RFC 6749 §2.1, §2.3.1")
                    .sent("method", method)
                    .expected("method", "none")
            }
            Self::NotAClient => {
                RefusalDetails::new("the application is an OAuth client", "ClientType of the application")
                    .expected("ClientType", "Public or Confidential")
            }
        }
    }
}

impl TrustedApplication {
    /// Client authentication (RFC 6749 §2.3, §3.2.1). The secret is compared even if the refusal is already certain, so
    /// that the time taken does not tell an unknown application from a disabled one.
    pub fn authenticate(
        &self,
        shown: &ClientCredentials,
        now: Timestamp,
    ) -> Result<AuthenticatedClient<'_>, ClientRefusal> {
        let proof = match (shown, &self.client_type) {
            (_, ClientType::None) => Err(ClientRefusal::NotAClient),
            (ClientCredentials::None { .. }, ClientType::Public { .. }) => Ok(()),
            (ClientCredentials::None { .. }, ClientType::Confidential { .. }) => Err(ClientRefusal::SecretMissing),
            (_, ClientType::Public { .. }) => Err(ClientRefusal::SecretFromPublic { method: shown.method() }),
            (
                ClientCredentials::Post { secret, .. } | ClientCredentials::Basic { secret, .. },
                ClientType::Confidential { secrets },
            ) => match_secret(secrets, secret, now, shown.method()),
        };
        if !self.enabled {
            return Err(ClientRefusal::Disabled);
        }
        proof.map(|()| AuthenticatedClient(self))
    }

    /// The live and expired secrets. Only a Confidential application has any.
    pub fn secrets(&self) -> &[Secret] {
        match &self.client_type {
            ClientType::Confidential { secrets } => secrets,
            ClientType::Public { .. } | ClientType::None => &[],
        }
    }

    /// Whether the change to `next` invalidates issued tokens: the application is disabled, or its service tokens act
    /// as another user.
    pub fn outlived_by(&self, next: &Self) -> bool {
        let switched_off = self.enabled && !next.enabled;
        let other_service = self.service != ServiceAccess::Off && self.service != next.service;
        switched_off || other_service
    }

    /// How the presented URI matches a registered one (RFC 6749 §3.1.2). Of several matches, the surest.
    pub fn redirect_match(&self, presented: &str) -> Option<RedirectMatch> {
        self.redirect_uris.iter().filter_map(|registered| registered.matches(presented)).min()
    }

    pub fn accepts_post_logout(&self, presented: &str) -> bool {
        self.post_logout_uris.iter().any(|registered| registered.as_str() == presented)
    }

    /// Whether the application may refresh. Otherwise `offline_access` is dropped from its scope.
    pub fn may_refresh(&self) -> bool {
        match self.client_type {
            ClientType::Public { refresh } => refresh == PublicRefresh::Allowed,
            ClientType::Confidential { .. } => true,
            ClientType::None => false,
        }
    }

    /// The absolute lifetime, from the sign-in.
    pub fn refresh_lifetime(&self) -> Duration {
        const DAY: Duration = Duration::from_hours(24);
        match self.client_type {
            ClientType::Confidential { .. } => 30 * DAY,
            _ => DAY,
        }
    }

    pub fn is_public(&self) -> bool {
        matches!(self.client_type, ClientType::Public { .. })
    }

    /// The API scopes granted if none are requested: all registered ones except those granted only by name.
    pub fn default_api_scopes(&self) -> Scope {
        self.scope.filter(|token| API_SCOPES.contains(&token) && !ONLY_BY_NAME.contains(&token))
    }

    /// Whether this user may sign in through the application.
    pub fn admits(&self, user: &User) -> bool {
        user.may_sign_in() && self.sign_in.allows(user.user_type)
    }

    /// The signing algorithms of its tokens that override the instance's choice.
    pub fn own_algorithms(&self) -> impl Iterator<Item = Algorithm> + use<> {
        [self.access_token_algorithm, self.id_token_algorithm].into_iter().flatten()
    }

    /// Origins whose scripts may read cross-origin responses: the configured ones, else those of the redirect URIs.
    pub fn origins(&self) -> impl Iterator<Item = String> + '_ {
        let derived = self.cors_origins.is_empty();
        self.cors_origins
            .iter()
            .cloned()
            .chain(self.redirect_uris.iter().filter(move |_| derived).filter_map(RedirectUri::origin))
    }
}

/// Compares every secret, even after a match.
fn match_secret(
    secrets: &[Secret],
    shown: &Presented<ClientSecret>,
    now: Timestamp,
    method: &'static str,
) -> Result<(), ClientRefusal> {
    let ended = |kept: &Secret| kept.expires_at.filter(|end| *end <= now);
    let live = secrets.iter().filter(|kept| ended(kept).is_none()).count();
    let mut found = Err(ClientRefusal::WrongSecret { method, live });
    for kept in secrets {
        match (kept.digest.matches(shown), ended(kept)) {
            (true, None) => found = Ok(()),
            (true, Some(at)) if found.is_err() => {
                found = Err(ClientRefusal::SecretExpired { label: kept.label.clone(), at, now });
            }
            _ => {}
        }
    }
    found
}

/// Scope of the client-credentials grant (RFC 6749 §3.3): protocol scopes are dropped, the rest must be registered.
pub fn service_scope(application: &TrustedApplication, asked: Option<&Scope>) -> Result<Scope, ScopeNotAllowed> {
    grant_scope(application, asked).map(|scope| scope.filter(|token| !PROTOCOL_SCOPES.contains(&token)))
}

/// A requested scope that is not allowed, and the registered scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeNotAllowed {
    pub name: String,
    pub registered: Scope,
}

impl ScopeNotAllowed {
    pub const CAUSE: &str = "scope_not_registered";

    pub fn description(&self) -> String {
        format!("scope {} is not registered for this application", self.name)
    }

    pub fn details(&self) -> RefusalDetails {
        RefusalDetails::new(
            "each scope is registered for the application, or one of the protocol",
            "RFC 6749 §3.3; Scope",
        )
        .sent("scope", &self.name)
        .expected("scope", format_args!("{} or any of {}", self.registered, PROTOCOL_SCOPES.join(" ")))
    }
}

/// `identity.md` §3.1 (6): each requested scope must be registered or a protocol scope. If none is requested, or no API
/// scope but the legacy marker, the registered API scopes are granted, except those granted only by name.
pub fn grant_scope(application: &TrustedApplication, asked: Option<&Scope>) -> Result<Scope, ScopeNotAllowed> {
    let Some(asked) = asked.filter(|scope| !scope.is_empty()) else {
        return Ok(application.default_api_scopes());
    };
    let is_protocol = |token: &str| PROTOCOL_SCOPES.contains(&token);
    let is_api = |token: &str| !is_protocol(token) && token != LEGACY_SCOPE;
    if let Some(token) = asked.iter().find(|token| is_api(token) && !application.scope.contains(token)) {
        return Err(ScopeNotAllowed { name: token.to_owned(), registered: application.scope.clone() });
    }
    let named = asked.filter(|token| token != LEGACY_SCOPE && (token != "offline_access" || application.may_refresh()));
    let only_the_marker = asked.contains(LEGACY_SCOPE) && !asked.iter().any(is_api);
    Ok(if only_the_marker { named.union(&application.default_api_scopes()) } else { named })
}

#[cfg(test)]
pub(crate) mod tests {
    use uuid::Uuid;

    use super::*;

    pub(crate) fn application(client_type: ClientType, scope: &str) -> TrustedApplication {
        TrustedApplication {
            id: ApplicationId(Uuid::nil()),
            uri: "my.trusted.app/first".parse().expect("valid"),
            name: "First".into(),
            client_type,
            redirect_uris: vec![RedirectUri::parse("https://app.example.com/cb").expect("valid")],
            post_logout_uris: vec![],
            sign_in: AllowedUserTypes { internal: true, community: false },
            service: ServiceAccess::Off,
            scope: Scope::parse(scope).expect("valid"),
            access_tokens: ReferenceTokenPolicy::None,
            basic_authentication_allowed: false,
            require_consent: true,
            require_pkce: false,
            enabled: true,
            epoch: 0,
            access_token_lifetime: None,
            cors_origins: vec![],
            access_token_algorithm: None,
            id_token_algorithm: None,
            policy_url: None,
            terms_url: None,
            version: 1,
            stored: None,
        }
    }

    pub(crate) fn confidential(secret: &str, expires_at: Option<Timestamp>) -> ClientType {
        ClientType::Confidential {
            secrets: vec![Secret {
                id: "1".into(),
                label: "first".into(),
                digest: Presented::<ClientSecret>::new(secret).digest(),
                created_at: Timestamp(0),
                expires_at,
            }],
        }
    }

    pub(crate) const PUBLIC: ClientType = ClientType::Public { refresh: PublicRefresh::Never };

    fn shown(secret: Option<&str>) -> ClientCredentials {
        let client_id = "my.trusted.app/first".parse().expect("valid");
        match secret {
            None => ClientCredentials::None { client_id },
            Some(secret) => ClientCredentials::Post { client_id, secret: Presented::new(secret) },
        }
    }

    fn refusal(application: &TrustedApplication, secret: Option<&str>, now: i64) -> Option<&'static str> {
        application.authenticate(&shown(secret), Timestamp(now)).err().map(|refusal| refusal.cause())
    }

    #[test]
    fn a_client_proves_itself_as_its_type_demands() {
        let mut app = application(confidential("right", Some(Timestamp(10))), "read");
        assert_eq!(refusal(&app, Some("right"), 9), None);
        assert_eq!(refusal(&app, Some("right"), 10), Some("secret_expired"), "an expired secret is no secret");
        assert_eq!(refusal(&app, Some("wrong"), 9), Some("wrong_secret"));
        assert_eq!(refusal(&app, None, 9), Some("secret_missing"));
        app.enabled = false;
        assert_eq!(refusal(&app, Some("right"), 9), Some("application_disabled"));

        let app = application(PUBLIC, "read");
        assert_eq!(refusal(&app, None, 0), None);
        assert_eq!(refusal(&app, Some("any"), 0), Some("secret_from_public_application"));
        assert_eq!(refusal(&application(ClientType::None, "read"), None, 0), Some("client_type_none"));
    }

    fn granted(client_type: ClientType, registered: &str, asked: Option<&str>) -> Result<String, String> {
        let asked = asked.map(|text| Scope::parse(text).expect("valid"));
        grant_scope(&application(client_type, registered), asked.as_ref()).map(|s| s.to_string()).map_err(|e| e.name)
    }

    #[test]
    fn scopes_are_granted_as_registered() {
        let secret = || confidential("s", None);
        assert_eq!(granted(secret(), "read update sec", None), Ok("read update".into()), "sec only by name");
        assert_eq!(granted(secret(), "read update sec", Some("sec")), Ok("sec".into()));
        assert_eq!(granted(secret(), "read manage", None), Ok("read".into()), "manage only by name");
        assert_eq!(granted(secret(), "read manage", Some("DomainApi")), Ok("read".into()));
        assert_eq!(granted(secret(), "read manage", Some("manage")), Ok("manage".into()));
        assert_eq!(granted(secret(), "read", Some("manage")), Err("manage".into()));
        assert_eq!(granted(secret(), "read update", Some("DomainApi")), Ok("read update".into()));
        assert_eq!(granted(secret(), "read update", Some("DomainApi read")), Ok("read".into()));
        assert_eq!(granted(secret(), "read", Some("openid profile")), Ok("openid profile".into()));
        assert_eq!(granted(secret(), "read", Some("openid DomainApi")), Ok("openid read".into()));
        assert_eq!(granted(secret(), "read", Some("read update")), Err("update".into()));
        assert_eq!(granted(secret(), "read", Some("READ")), Err("READ".into()));
        assert_eq!(granted(secret(), "read", Some("offline_access read")), Ok("offline_access read".into()));
        assert_eq!(granted(PUBLIC, "read", Some("offline_access read")), Ok("read".into()), "silently dropped");
        let refreshing = ClientType::Public { refresh: PublicRefresh::Allowed };
        assert_eq!(granted(refreshing, "read", Some("offline_access")), Ok("offline_access".into()));
    }

    #[test]
    fn a_service_gets_no_protocol_scope() {
        let app = application(confidential("s", None), "read update");
        let asked = Scope::parse("openid offline_access read").expect("valid");
        assert_eq!(service_scope(&app, Some(&asked)).map(|s| s.to_string()), Ok("read".into()));
        assert_eq!(service_scope(&app, None).map(|s| s.to_string()), Ok("read update".into()));
    }
}
