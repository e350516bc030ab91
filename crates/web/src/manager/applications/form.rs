//! A record as a form, and the form as a record.

use model::application::API_SCOPES;
use model::record::{ApplicationRecord, RecordAccessTokens, RecordClientType};
use oauth::jose::Algorithm;
use oauth::params::Params;

use crate::manager::{is_checked, lines, several};
use crate::pages::manager::Field;

const ALGORITHMS: [&str; 4] = ["ES256", "RS256", "PS256", "EdDSA"];

fn algorithm(name: &'static str, label: &'static str, chosen: Option<Algorithm>) -> Field {
    let usual = [(String::new(), "As the instance".to_owned())];
    let named = ALGORITHMS.map(|name| (name.to_owned(), name.to_owned()));
    Field::choice(name, label, usual.into_iter().chain(named), chosen.map_or("", |chosen| chosen.as_str()))
}

/// What of a record can be written down; a Public application has no part in what needs a secret.
pub(super) fn fields(record: &ApplicationRecord, system_user: &str) -> Vec<Field> {
    let scope = |name| record.scope.split(' ').any(|known| known == name);
    let is_public = record.client_type == RecordClientType::Public;
    let mut fields = vec![
        Field::line("name", "Name", "People see it when they consent.", &record.name).required(),
        Field::lines(
            "redirect_uris",
            "Redirect URIs (ImpersonateLoginUrl)",
            "One a line, or separated by commas; compared letter by letter. http:// only for loopback addresses; without a port any port fits.",
            &record.impersonate_login_url,
        ),
        Field::lines(
            "post_logout_uris",
            "Post-logout URIs (ImpersonateLogoutUrl)",
            "One a line: where people may be sent after signing out.",
            &record.impersonate_logout_url,
        ),
        Field::check(
            "internal",
            "Internal users may sign in",
            "ImpersonateAsInternalUserAllowed",
            record.impersonate_as_internal_user_allowed,
        ),
        Field::check(
            "community",
            "Community users may sign in",
            "ImpersonateAsCommunityUserAllowed: their tokens identify them and open no API",
            record.impersonate_as_community_user_allowed,
        ),
        Field::several(
            "scope",
            "Scope: the most it may ever be granted",
            API_SCOPES.into_iter().chain(["offline_access", "DomainApi"]).map(|name| (name, name, scope(name))),
        ),
    ];
    if is_public {
        fields.push(Field::check(
            "public_refresh",
            "Refresh tokens without a secret",
            "PublicRefreshAllowed: for 24 hours, rotating",
            record.public_refresh_allowed,
        ));
    } else {
        fields.extend([
            Field::check(
                "service",
                "May call the APIs on its own",
                "SystemUserAllowed: client credentials and service tokens, as the System User below",
                record.system_user_allowed,
            ),
            Field::line("system_user", "System User", "The login of the user that it acts as.", system_user),
            Field::check(
                "basic",
                "Legacy sign-in with passwords",
                "BasicAuthenticationAllowed: only while the instance allows it",
                record.basic_authentication_allowed,
            ),
        ]);
    }
    fields.extend(rare_fields(record));
    fields
}

fn rare_fields(record: &ApplicationRecord) -> Vec<Field> {
    let policies = [
        ("None", "Nobody"),
        ("AdministratorsOnly", "Administrators"),
        ("AuthenticatedUsers", "Anyone who is signed in, for themselves"),
    ];
    let policies = policies.map(|(value, text)| (value.to_owned(), text.to_owned()));
    let seconds = record.access_token_seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        Field::choice(
            "access_tokens",
            "Who may issue reference tokens (AccessTokens)",
            policies,
            format!("{:?}", record.access_tokens),
        ),
        Field::check(
            "pkce",
            "PKCE is required",
            "RequirePkce: of an application that has a secret too; a Public one always must use it",
            record.require_pkce,
        ),
        Field::check("consent", "People are asked for consent", "RequireConsent", record.require_consent),
        Field::lines(
            "origins",
            "Origins of browsers that may read answers (AllowedCorsOrigins)",
            "One a line; left empty, those of the redirect URIs.",
            &record.allowed_cors_origins,
        ),
        Field::line("seconds", "Seconds that an access token lives", "Left empty, as the instance.", seconds),
        algorithm("access_algorithm", "Signature of access tokens", record.access_token_algorithm),
        algorithm("id_algorithm", "Signature of ID tokens", record.id_token_algorithm),
        Field::line("policy_url", "Privacy policy", "Linked from the consent page.", text(&record.policy_url)),
        Field::line("terms_url", "Terms of service", "Linked from the consent page.", text(&record.terms_url)),
        Field::check("enabled", "Enabled", "IsEnabled: switched off, everything of it ends at once", record.is_enabled),
    ]
}

/// The record as the form says it, but for the System User's id; and what does not read.
pub(super) fn entered(form: &Params, (uri, client_type): (&str, RecordClientType)) -> (ApplicationRecord, Vec<String>) {
    let mut problems = Vec::new();
    let text = |name: &str| form.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let seconds = text("seconds").and_then(|seconds| {
        let read = seconds.parse().ok();
        problems.extend(read.is_none().then(|| "AccessTokenSeconds: write a number".to_owned()));
        read
    });
    let mut algorithm = |name: &str| {
        let named = form.get(name)?;
        let known = named.parse().ok();
        problems.extend(known.is_none().then(|| format!("{named}: no such algorithm")));
        known
    };
    let record = ApplicationRecord {
        application_uri: uri.to_owned(),
        name: text("name").unwrap_or_default(),
        client_type,
        impersonate_login_url: lines(form, "redirect_uris"),
        impersonate_logout_url: lines(form, "post_logout_uris"),
        impersonate_as_internal_user_allowed: is_checked(form, "internal"),
        impersonate_as_community_user_allowed: is_checked(form, "community"),
        system_user_allowed: is_checked(form, "service"),
        system_user: None,
        scope: several(form, "scope").join(" "),
        access_tokens: match form.get("access_tokens") {
            Some("AuthenticatedUsers") => RecordAccessTokens::AuthenticatedUsers,
            Some("AdministratorsOnly") => RecordAccessTokens::AdministratorsOnly,
            _ => RecordAccessTokens::None,
        },
        basic_authentication_allowed: is_checked(form, "basic"),
        public_refresh_allowed: is_checked(form, "public_refresh"),
        require_consent: is_checked(form, "consent"),
        require_pkce: is_checked(form, "pkce"),
        is_enabled: is_checked(form, "enabled"),
        allowed_cors_origins: lines(form, "origins"),
        access_token_seconds: seconds,
        access_token_algorithm: algorithm("access_algorithm"),
        id_token_algorithm: algorithm("id_algorithm"),
        policy_url: text("policy_url"),
        terms_url: text("terms_url"),
    };
    (record, problems)
}
