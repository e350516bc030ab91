//! Conversion between an application record and its form.

use model::application::API_SCOPES;
use model::application::record::{ApplicationRecord, RecordAccessTokens, RecordClientType};
use oauth::jose::Algorithm;
use oauth::params::Params;

use crate::admin_ui::{is_checked, lines, several};
use crate::pages::admin::FormField;

const ALGORITHMS: [&str; 4] = ["ES256", "RS256", "PS256", "EdDSA"];

fn algorithm(name: &'static str, label: &'static str, chosen: Option<Algorithm>) -> FormField {
    let usual = [(String::new(), "Instance default".to_owned())];
    let named = ALGORITHMS.map(|name| (name.to_owned(), name.to_owned()));
    FormField::choice(name, label, usual.into_iter().chain(named), chosen.map_or("", |chosen| chosen.as_str()))
}

/// The form fields of a record. A Public application has none for features that need a secret.
pub(super) fn fields(record: &ApplicationRecord, system_user: &str) -> Vec<FormField> {
    let scope = |name| record.scope.split(' ').any(|known| known == name);
    let is_public = record.client_type == RecordClientType::Public;
    let mut fields = vec![
        FormField::line("name", "Name", "Shown to users on the consent page.", &record.name).required(),
        FormField::lines(
            "redirect_uris",
            "Redirect URIs (ImpersonateLoginUrl)",
            "One per line or comma-separated. Compared character by character. http:// is allowed for loopback addresses only; without a port, any port matches.",
            &record.impersonate_login_url,
        ),
        FormField::lines(
            "post_logout_uris",
            "Post-logout URIs (ImpersonateLogoutUrl)",
            "One per line. Where users may be sent after signing out.",
            &record.impersonate_logout_url,
        ),
        FormField::check(
            "internal",
            "Internal users may sign in",
            "ImpersonateAsInternalUserAllowed",
            record.impersonate_as_internal_user_allowed,
        ),
        FormField::check(
            "community",
            "Community users may sign in",
            "ImpersonateAsCommunityUserAllowed. Their tokens identify them but give no access to the APIs",
            record.impersonate_as_community_user_allowed,
        ),
        FormField::several(
            "scope",
            "Scope (maximum that can be granted)",
            API_SCOPES.into_iter().chain(["offline_access", "DomainApi"]).map(|name| (name, name, scope(name))),
        ),
    ];
    if is_public {
        fields.push(FormField::check(
            "public_refresh",
            "Refresh tokens without a secret",
            "PublicRefreshAllowed. Valid for 24 hours, rotated on use",
            record.public_refresh_allowed,
        ));
    } else {
        fields.extend([
            FormField::check(
                "service",
                "May call the APIs on its own",
                "SystemUserAllowed. Client credentials and service tokens act as the System User below",
                record.system_user_allowed,
            ),
            FormField::line("system_user", "System User", "Login of the user the application acts as.", system_user),
            FormField::check(
                "basic",
                "Basic and ErpLogin allowed",
                "BasicAuthenticationAllowed. Takes effect only if enabled for the instance",
                record.basic_authentication_allowed,
            ),
        ]);
    }
    fields.extend(rare_fields(record));
    fields
}

fn rare_fields(record: &ApplicationRecord) -> Vec<FormField> {
    let policies = [
        ("None", "No one"),
        ("AdministratorsOnly", "Administrators"),
        ("AuthenticatedUsers", "Any signed-in user, for themselves"),
    ];
    let policies = policies.map(|(value, text)| (value.to_owned(), text.to_owned()));
    let seconds = record.access_token_seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        FormField::choice(
            "access_tokens",
            "Who may issue reference tokens (AccessTokens)",
            policies,
            format!("{:?}", record.access_tokens),
        ),
        FormField::check(
            "pkce",
            "Require PKCE",
            "RequirePkce. For Confidential applications; Public applications must always use PKCE",
            record.require_pkce,
        ),
        FormField::check("consent", "Require consent", "RequireConsent", record.require_consent),
        FormField::lines(
            "origins",
            "CORS origins (AllowedCorsOrigins)",
            "One per line. Leave empty to use the origins of the redirect URIs.",
            &record.allowed_cors_origins,
        ),
        FormField::line("seconds", "Access token lifetime (seconds)", "Leave empty for the instance default.", seconds),
        algorithm("access_algorithm", "Access token signing algorithm", record.access_token_algorithm),
        algorithm("id_algorithm", "ID token signing algorithm", record.id_token_algorithm),
        FormField::line("policy_url", "Privacy policy", "Link on the consent page.", text(&record.policy_url)),
        FormField::line("terms_url", "Terms of use", "Link on the consent page.", text(&record.terms_url)),
        FormField::check(
            "enabled",
            "Enabled",
            "IsEnabled. Disabling blocks all its tokens immediately",
            record.is_enabled,
        ),
    ]
}

/// The record from the form, without the System User's id, and the errors in the form.
pub(super) fn entered(form: &Params, uri: &str, client_type: RecordClientType) -> (ApplicationRecord, Vec<String>) {
    let mut problems = Vec::new();
    let text = |name: &str| form.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let seconds = text("seconds").and_then(|seconds| {
        let read = seconds.parse().ok();
        problems.extend(read.is_none().then(|| "AccessTokenSeconds: enter a whole number".to_owned()));
        read
    });
    let mut algorithm = |name: &str| {
        let named = form.get(name)?;
        let known = named.parse().ok();
        problems.extend(known.is_none().then(|| format!("{named}: unknown algorithm")));
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
