//! The record of a Trusted Application as administrators write it. Attribute names are fixed (`identity.md` §2).

mod refused;

use std::time::Duration;

use oauth::client::ClientId;
use oauth::jose::Algorithm;
use oauth::redirect::{RedirectUri, RedirectUriError};
use oauth::scope::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::addresses::{Addresses, addresses_as_written, single_addresses};
use crate::application::{
    API_SCOPES, AllowedUserTypes, ClientType, LEGACY_SCOPE, PublicRefresh, ReferenceTokenPolicy, Secret, ServiceAccess,
};
use crate::line;
use crate::line::{LINE_RULE, is_line};
use crate::stored;
use crate::stored::Stored;
use crate::{ApplicationId, TrustedApplication, User, UserId};

pub use self::refused::StoredRecord;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecordClientType {
    /// Has no secret.
    Public,
    /// Authenticates with a secret.
    Confidential,
    /// Not an OAuth client.
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecordAccessTokens {
    /// No one.
    #[default]
    None,
    /// Any signed-in user, for themselves, and administrators.
    AuthenticatedUsers,
    /// Only administrators.
    AdministratorsOnly,
}

/// The record of a Trusted Application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a documented attribute")]
pub struct ApplicationRecord {
    /// The `client_id`: 1 to 255 printable ASCII characters. Cannot be changed.
    pub application_uri: String,
    /// Display name, shown to users on the consent page.
    pub name: String,
    /// Cannot be changed.
    pub client_type: RecordClientType,
    /// Redirect URIs, compared character by character.
    #[serde(default, deserialize_with = "addresses_as_written")]
    #[schemars(with = "Addresses")]
    pub impersonate_login_url: Vec<String>,
    /// URIs to which users may be sent after signing out.
    #[serde(default, deserialize_with = "addresses_as_written")]
    #[schemars(with = "Addresses")]
    pub impersonate_logout_url: Vec<String>,
    /// Whether internal users can sign in to the application.
    #[serde(default)]
    pub impersonate_as_internal_user_allowed: bool,
    /// Whether community users can sign in to the application. Their tokens give no access to the APIs.
    #[serde(default)]
    pub impersonate_as_community_user_allowed: bool,
    /// Whether the application can call the APIs on its own, as `SystemUser`. Not for Public applications.
    #[serde(default)]
    pub system_user_allowed: bool,
    /// Id of the user the application acts as. Required if `SystemUserAllowed` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_user: Option<Uuid>,
    /// Space-separated scopes: the maximum that can be granted.
    #[serde(default)]
    pub scope: String,
    /// Who can issue reference tokens for the application.
    #[serde(default)]
    pub access_tokens: RecordAccessTokens,
    /// Whether Basic and ErpLogin are allowed, if they are enabled for the instance.
    #[serde(default)]
    pub basic_authentication_allowed: bool,
    /// Whether a Public application gets refresh tokens (valid for 24 hours, rotated on use).
    #[serde(default)]
    pub public_refresh_allowed: bool,
    /// Whether users are asked for consent.
    #[serde(default = "yes")]
    pub require_consent: bool,
    /// Whether a Confidential application must use PKCE. Public applications must always use it.
    #[serde(default)]
    pub require_pkce: bool,
    /// Disabling blocks all tokens of the application immediately.
    #[serde(default = "yes")]
    pub is_enabled: bool,
    /// Origins whose scripts may read responses. If empty, the origins of the redirect URIs.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "addresses_as_written")]
    #[schemars(with = "Addresses")]
    pub allowed_cors_origins: Vec<String>,
    /// Access token lifetime, 60 to 86400 seconds. If absent, that of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_seconds: Option<u64>,
    /// If absent, that of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AlgorithmName>")]
    pub access_token_algorithm: Option<Algorithm>,
    /// If absent, that of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AlgorithmName>")]
    pub id_token_algorithm: Option<Algorithm>,
    /// Privacy policy, linked from the consent page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_url: Option<String>,
    /// Terms of use, linked from the consent page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_url: Option<String>,
}

/// A JWS algorithm by its name (RFC 7518 §3.1), for the description of records and settings.
#[derive(JsonSchema)]
#[schemars(rename = "Algorithm")]
#[expect(dead_code, reason = "stands for the names alone")]
pub(crate) enum AlgorithmName {
    #[schemars(rename = "ES256")]
    Es256,
    #[schemars(rename = "RS256")]
    Rs256,
    #[schemars(rename = "PS256")]
    Ps256,
    #[schemars(rename = "EdDSA")]
    EdDsa,
}

const fn yes() -> bool {
    true
}

/// Register data of an application outside its record.
pub struct Registration {
    pub id: ApplicationId,
    pub secrets: Vec<Secret>,
    pub epoch: i64,
    pub version: i64,
    /// The scope registered so far. A newer version may have registered scopes that this one does not know.
    pub scope: Scope,
    pub stored: Option<Box<StoredRecord>>,
}

impl Registration {
    /// For an application that is not registered yet.
    pub fn new(id: ApplicationId, secrets: Vec<Secret>) -> Self {
        Self { id, secrets, epoch: 0, version: 1, scope: Scope::default(), stored: None }
    }
}

/// An accepted record, with warnings for the administrator.
#[derive(Debug)]
pub struct AcceptedRecord {
    pub application: TrustedApplication,
    pub warnings: Vec<String>,
}

type ReadAddress = fn(&str) -> Result<RedirectUri, RedirectUriError>;

const ACCESS_TOKEN_SECONDS: std::ops::RangeInclusive<u64> = 60..=24 * 3600;
const MAX_URIS: usize = 64;

impl ApplicationRecord {
    /// A record that allows only reading, after consent.
    pub fn blank(client_type: RecordClientType) -> Self {
        Self {
            application_uri: String::new(),
            name: String::new(),
            client_type,
            impersonate_login_url: vec![],
            impersonate_logout_url: vec![],
            impersonate_as_internal_user_allowed: false,
            impersonate_as_community_user_allowed: false,
            system_user_allowed: false,
            system_user: None,
            scope: "read".to_owned(),
            access_tokens: RecordAccessTokens::None,
            basic_authentication_allowed: false,
            public_refresh_allowed: false,
            require_consent: true,
            require_pkce: false,
            is_enabled: true,
            allowed_cors_origins: vec![],
            access_token_seconds: None,
            access_token_algorithm: None,
            id_token_algorithm: None,
            policy_url: None,
            terms_url: None,
        }
    }

    /// Validates a record before it is written, and reports all problems at once. `system_user` is the loaded user that
    /// the record names.
    pub fn check(
        mut self,
        registration: Registration,
        system_user: Option<&User>,
    ) -> Result<AcceptedRecord, Vec<String>> {
        self.split_lists();
        let mut problems = Problems(Vec::new());
        if !is_line(&self.name, 200) {
            problems.say(format!("Name: must be 1 to 200 characters {LINE_RULE}"));
        }
        for token in self.scope.split(' ').filter(|token| !token.is_empty() && !is_registrable(token)) {
            if !registration.scope.contains(token) {
                let known = "use read, update, sec, manage, offline_access or DomainApi";
                problems.say(format!("Scope: {token} is unknown; {known}"));
            }
        }
        let warnings = self.warnings(system_user);
        let stored = registration.stored.as_ref().map(|stored| stored.under(&self));
        let service = system_user.map(|user| user.id);
        let uri = self.application_uri.clone();
        problems.take("ApplicationUri", uri.parse::<ClientId>());
        let application = self.read(RedirectUri::register, &mut problems, registration, uri, service);
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        Ok(AcceptedRecord { application: TrustedApplication { stored: stored.flatten(), ..application }, warnings })
    }

    /// Reads a stored record, under its `ApplicationUri`. A record accepted before a rule of [`Self::check`] existed
    /// stays in force. A record that cannot be read any more disables the application. `system_user` is the user that
    /// the register connects with it.
    pub fn restore(
        text: &str,
        registration: Registration,
        uri: String,
        system_user: Option<UserId>,
    ) -> TrustedApplication {
        let stored = Stored::read(text, &Self { scope: String::new(), ..Self::blank(RecordClientType::None) });
        let mut record: Self = stored.value;
        record.split_restored();
        let mut problems = Problems(stored.problems.iter().map(ToString::to_string).collect());
        problems.take("ApplicationUri", uri.parse::<ClientId>());
        let application = record.clone().read(RedirectUri::parse, &mut problems, registration, uri, system_user);
        let is_good = problems.0.is_empty();
        let reads_whole = stored.members.is_empty() && stored.problems.is_empty();
        let stored = (!reads_whole || !is_good).then(|| {
            let unreadable = stored.problems.into_iter().map(|problem| problem.member).collect();
            let members = if reads_whole { stored::members_of(&record) } else { stored.members };
            Box::new(StoredRecord { record, members, unreadable, problems: problems.0 })
        });
        TrustedApplication { enabled: application.enabled && is_good, stored, ..application }
    }

    /// Splits stored texts that hold several addresses, if each part is a valid address.
    fn split_restored(&mut self) {
        for list in [&mut self.impersonate_login_url, &mut self.impersonate_logout_url] {
            if list.iter().any(|text| text.contains(',')) {
                let singles = single_addresses(list);
                let are_good = singles.iter().all(|text| RedirectUri::register(text).is_ok());
                *list = if are_good && singles.len() <= MAX_URIS { singles } else { std::mem::take(list) };
            }
        }
    }

    /// Restores scopes that a newer version registered, for a page that shows only known scopes.
    pub fn keep_unknown_scopes(&mut self, registered: &Scope) {
        for token in registered.iter().filter(|token| !is_registrable(token)) {
            if !self.scope.is_empty() {
                self.scope.push(' ');
            }
            self.scope.push_str(token);
        }
    }

    /// Splits texts that hold several addresses.
    fn split_lists(&mut self) {
        for list in [&mut self.impersonate_login_url, &mut self.impersonate_logout_url, &mut self.allowed_cors_origins]
        {
            *list = single_addresses(list);
        }
    }

    /// Builds the application that the record describes, and collects all problems.
    fn read(
        self,
        address: ReadAddress,
        problems: &mut Problems,
        registration: Registration,
        uri: String,
        system_user: Option<UserId>,
    ) -> TrustedApplication {
        let redirect_uris = problems.uris("ImpersonateLoginUrl", &self.impersonate_login_url, address);
        let post_logout_uris = problems.uris("ImpersonateLogoutUrl", &self.impersonate_logout_url, address);
        let scope = problems.take("Scope", Scope::parse(&self.scope)).unwrap_or_default();
        let sign_in = AllowedUserTypes {
            internal: self.impersonate_as_internal_user_allowed,
            community: self.impersonate_as_community_user_allowed,
        };
        let client_type = self.client_type(registration.secrets, problems);
        let service = self.service(system_user, problems);
        if self.access_token_seconds.is_some_and(|seconds| !ACCESS_TOKEN_SECONDS.contains(&seconds)) {
            problems.say("AccessTokenSeconds: must be 60 to 86400".into());
        }
        problems.origins(&self.allowed_cors_origins);
        problems.links("PolicyUrl", self.policy_url.as_deref());
        problems.links("TermsUrl", self.terms_url.as_deref());
        TrustedApplication {
            id: registration.id,
            uri: ClientId::kept(uri),
            name: line::shown(self.name),
            client_type,
            redirect_uris,
            post_logout_uris,
            sign_in,
            service,
            scope,
            access_tokens: match self.access_tokens {
                RecordAccessTokens::None => ReferenceTokenPolicy::None,
                RecordAccessTokens::AuthenticatedUsers => ReferenceTokenPolicy::AuthenticatedUsers,
                RecordAccessTokens::AdministratorsOnly => ReferenceTokenPolicy::AdministratorsOnly,
            },
            basic_authentication_allowed: self.basic_authentication_allowed,
            require_consent: self.require_consent,
            require_pkce: self.require_pkce,
            enabled: self.is_enabled,
            epoch: registration.epoch,
            access_token_lifetime: self.access_token_seconds.map(Duration::from_secs),
            cors_origins: self.allowed_cors_origins,
            access_token_algorithm: self.access_token_algorithm,
            id_token_algorithm: self.id_token_algorithm,
            policy_url: self.policy_url,
            terms_url: self.terms_url,
            version: registration.version,
            stored: None,
        }
    }

    fn client_type(&self, secrets: Vec<Secret>, problems: &mut Problems) -> ClientType {
        match self.client_type {
            RecordClientType::Public => {
                if !secrets.is_empty() {
                    problems.say(
                        "ClientType: a Public application has no secret; remove the secret or choose Confidential"
                            .into(),
                    );
                }
                if self.system_user_allowed {
                    problems
                        .say("SystemUserAllowed: not allowed for a Public application, which cannot authenticate; choose Confidential".into());
                }
                let refresh = if self.public_refresh_allowed { PublicRefresh::Allowed } else { PublicRefresh::Never };
                ClientType::Public { refresh }
            }
            RecordClientType::Confidential => {
                if secrets.is_empty() {
                    problems
                        .say("ClientType: a Confidential application needs a secret; add one or choose Public".into());
                }
                ClientType::Confidential { secrets }
            }
            RecordClientType::None => ClientType::None,
        }
    }

    fn service(&self, system_user: Option<UserId>, problems: &mut Problems) -> ServiceAccess {
        match (self.system_user_allowed, self.system_user, system_user) {
            (false, ..) => ServiceAccess::Off,
            (true, Some(id), Some(user)) if user == UserId(id) => ServiceAccess::ActsAs(user),
            (true, None, _) => {
                problems.say("SystemUser: required if SystemUserAllowed is true".into());
                ServiceAccess::Off
            }
            (true, Some(_), _) => {
                problems.say("SystemUser: user not found".into());
                ServiceAccess::Off
            }
        }
    }

    fn warnings(&self, system_user: Option<&User>) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |when: bool, text: &str| warnings.extend(when.then(|| text.to_owned()));
        warn(
            self.system_user_allowed && system_user.is_some_and(User::is_admin),
            "SystemUser is an administrator, so service tokens of this application have full access",
        );
        warn(
            self.impersonate_as_community_user_allowed && !self.impersonate_as_internal_user_allowed,
            "Only community users can sign in; their tokens give no access to the APIs",
        );
        warn(
            self.access_tokens == RecordAccessTokens::AuthenticatedUsers,
            "AccessTokens is AuthenticatedUsers, so any signed-in user can create personal access tokens",
        );
        warnings
    }
}

fn is_registrable(token: &str) -> bool {
    API_SCOPES.contains(&token) || token == LEGACY_SCOPE || token == "offline_access"
}

struct Problems(Vec<String>);

impl Problems {
    fn say(&mut self, problem: String) {
        self.0.push(problem);
    }

    fn take<T, E: std::fmt::Display>(&mut self, attribute: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.say(format!("{attribute}: {error}"))).ok()
    }

    /// Checks a URL that is shown to users as a link.
    fn links(&mut self, attribute: &str, text: Option<&str>) {
        let good = |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if text.is_some_and(|text| text.len() > 2048 || !good(text)) {
            self.say(format!("{attribute}: must be an http:// or https:// address"));
        }
    }

    /// Checks origins, which are compared with those that browsers send, byte for byte (RFC 6454 §6.2).
    fn origins(&mut self, origins: &[String]) {
        let good = |text: &str| {
            Url::parse(text).is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == text)
        };
        if origins.len() > MAX_URIS {
            self.say(format!("AllowedCorsOrigins: at most {MAX_URIS} entries"));
        }
        for text in origins.iter().take(MAX_URIS).filter(|text| !good(text)) {
            let rule = "use scheme://host or scheme://host:port, in lower case, without the default port";
            self.say(format!("AllowedCorsOrigins: {}: {rule}", quoted(text)));
        }
    }

    fn uris(&mut self, attribute: &str, texts: &[String], address: ReadAddress) -> Vec<RedirectUri> {
        if texts.len() > MAX_URIS {
            self.say(format!("{attribute}: at most {MAX_URIS} entries"));
        }
        let read = |text: &String| self.take(&format!("{attribute}: {}", quoted(text)), address(text));
        texts.iter().take(MAX_URIS).filter_map(read).collect()
    }
}

/// Problems of addresses to be registered, each with its text.
pub(crate) fn address_problems(attribute: &str, texts: &[String]) -> Vec<String> {
    let mut problems = Problems(Vec::new());
    problems.uris(attribute, texts, RedirectUri::register);
    problems.0
}

/// Quotes an address to identify it among several. Long texts are cut.
fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let cut: String = line::marked(text).chars().take(MAX_CHARS).collect();
    format!("\"{cut}{}\"", if text.chars().nth(MAX_CHARS).is_some() { "…" } else { "" })
}

impl TrustedApplication {
    /// The record for export, the inverse of [`ApplicationRecord::check`].
    pub fn to_record(&self) -> ApplicationRecord {
        if let Some(stored) = self.stored.as_ref().filter(|stored| !stored.problems.is_empty()) {
            return stored.record.clone();
        }
        let texts = |uris: &[RedirectUri]| uris.iter().map(|uri| uri.as_str().to_owned()).collect();
        let system_user = match self.service {
            ServiceAccess::Off => None,
            ServiceAccess::ActsAs(user) => Some(user.0),
        };
        ApplicationRecord {
            application_uri: self.uri.as_str().to_owned(),
            name: self.name.clone(),
            client_type: match self.client_type {
                ClientType::Public { .. } => RecordClientType::Public,
                ClientType::Confidential { .. } => RecordClientType::Confidential,
                ClientType::None => RecordClientType::None,
            },
            impersonate_login_url: texts(&self.redirect_uris),
            impersonate_logout_url: texts(&self.post_logout_uris),
            impersonate_as_internal_user_allowed: self.sign_in.internal,
            impersonate_as_community_user_allowed: self.sign_in.community,
            system_user_allowed: system_user.is_some(),
            system_user,
            scope: self.scope.to_string(),
            access_tokens: match self.access_tokens {
                ReferenceTokenPolicy::None => RecordAccessTokens::None,
                ReferenceTokenPolicy::AuthenticatedUsers => RecordAccessTokens::AuthenticatedUsers,
                ReferenceTokenPolicy::AdministratorsOnly => RecordAccessTokens::AdministratorsOnly,
            },
            basic_authentication_allowed: self.basic_authentication_allowed,
            public_refresh_allowed: matches!(self.client_type, ClientType::Public { refresh: PublicRefresh::Allowed }),
            require_consent: self.require_consent,
            require_pkce: self.require_pkce,
            is_enabled: self.enabled,
            allowed_cors_origins: self.cors_origins.clone(),
            access_token_seconds: self.access_token_lifetime.map(|lifetime| lifetime.as_secs()),
            access_token_algorithm: self.access_token_algorithm,
            id_token_algorithm: self.id_token_algorithm,
            policy_url: self.policy_url.clone(),
            terms_url: self.terms_url.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
