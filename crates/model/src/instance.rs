use std::time::Duration;

use oauth::client::ClientId;
use oauth::jose::Algorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::application::record::AlgorithmName;
use crate::legacy::Sunset;
use crate::seat::SeatPolicy;
use crate::stored;
use crate::stored::Stored;
use crate::{HostName, Login, SessionLifetimes};

/// The external base URL of an instance: from configuration, never from a request header. Without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootUrl(String);

impl RootUrl {
    /// Accepts `https`, or `http` on a loopback host; no path, query, fragment or user-info. The error states what to
    /// do.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "is not an absolute URL like https://erp.example.com")?;
        let text = url.host_str().ok_or("has no host")?;
        let host = HostName::parse(text).map_err(|_| "must have exactly one host; wildcards are not supported")?;
        if text != host.as_str() {
            // The dot would be part of the issuer, which clients compare byte for byte.
            return Err("must have a host without a trailing dot");
        }
        if url.scheme() != "https" && !(url.scheme() == "http" && host.is_loopback()) {
            return Err("must begin with https:// (http:// only for loopback hosts)");
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err("must consist of scheme, host and optional port only");
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The issuer (RFC 8414 §2), and the `iss` of everything signed.
    pub fn issuer(&self) -> String {
        format!("{}/id", self.0)
    }

    /// The root of the OData API, with a trailing slash: clients use it as a base address.
    pub fn service_root(&self) -> String {
        format!("{}/api/domain/odata/", self.0)
    }

    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    pub fn host(&self) -> HostName {
        let url = Url::parse(&self.0).ok();
        url.as_ref().and_then(Url::host_str).and_then(HostName::of).expect("it was parsed with a host")
    }

    /// The origin, as a browser sends it in `Origin` (RFC 6454 §6.2).
    pub fn origin(&self) -> &str {
        &self.0
    }
}

/// How an unexpired access token is treated after its sign-in has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AfterLogout {
    /// Calls are refused with 401.
    #[default]
    Refuse,
    /// The next call opens a new API session.
    Reactivate,
}

/// Maximum number of reserved accounts. More guarantees could not be kept.
const MAX_RESERVED: usize = 100;

/// Settings of an instance. Absent members have their default.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct InstanceSettings {
    #[schemars(with = "AlgorithmName")]
    pub access_token_algorithm: Algorithm,
    #[schemars(with = "AlgorithmName")]
    pub id_token_algorithm: Algorithm,
    /// Access token lifetime in seconds.
    pub access_token_seconds: u64,
    /// Write the `scope` claim as a space-delimited string (RFC 9068) instead of an array.
    pub scope_as_string: bool,
    /// Include `sub` in service tokens (RFC 9068).
    pub service_token_sub: bool,
    /// Maximum duration of a sign-in, in seconds.
    pub session_seconds: u64,
    /// Idle timeout of a sign-in, in seconds.
    pub session_idle_seconds: u64,
    /// Failed sign-ins per account within ten minutes before further attempts are delayed.
    pub free_failures_per_account: u32,
    /// Failed sign-ins per client address within ten minutes before further attempts are delayed.
    pub free_failures_per_address: u32,
    /// Number of licence seats. `null` means unlimited.
    pub seats: Option<u32>,
    /// Logins with a guaranteed seat.
    pub reserved_seats: Vec<String>,
    /// Maximum seats per user, including reserved ones. `null` means no limit.
    pub seats_per_user: Option<u32>,
    /// Maximum seats per application. A session counts towards the application that opened it. `null` means no limit.
    pub seats_per_application: Option<u32>,
    pub after_logout: AfterLogout,
    /// Whether new reference tokens must have an expiry.
    pub reference_tokens_must_expire: bool,
    /// Whether Basic and ErpLogin are enabled.
    pub legacy_schemes: bool,
    /// `ApplicationUri` of the application used for legacy clients that name none.
    pub default_legacy_application: Option<String>,
    /// The date from which Basic and ErpLogin are disabled.
    pub legacy_sunset: Option<Sunset>,
    /// Audit retention in days. `null` means forever.
    pub audit_retention_days: Option<u32>,
    /// Retention of the refusals chain in days.
    pub refusals_retention_days: u32,
    /// Maximum size of the refusals chain in MiB. The oldest events are deleted first.
    pub refusals_max_mib: u32,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self {
            access_token_algorithm: Algorithm::Es256,
            id_token_algorithm: Algorithm::Rs256,
            access_token_seconds: 3600,
            scope_as_string: false,
            service_token_sub: false,
            session_seconds: 10 * 3600,
            session_idle_seconds: 2 * 3600,
            free_failures_per_account: 5,
            free_failures_per_address: 20,
            seats: None,
            reserved_seats: Vec::new(),
            seats_per_user: None,
            seats_per_application: None,
            after_logout: AfterLogout::Refuse,
            reference_tokens_must_expire: false,
            legacy_schemes: false,
            default_legacy_application: None,
            legacy_sunset: None,
            audit_retention_days: None,
            refusals_retention_days: 30,
            refusals_max_mib: 64,
        }
    }
}

impl InstanceSettings {
    /// Reads stored settings. An unreadable setting is replaced by the most restrictive value.
    pub fn restore(text: &str) -> Stored<Self> {
        Stored::read(text, &Self::strictest())
    }

    /// The text that replaces stored settings: these settings, members of a newer version, and unreadable members
    /// unless these settings change them.
    pub fn written_over(&self, text: &str) -> String {
        let before = Self::restore(text);
        let mut members = stored::written_over(&before.members, self);
        let strictest = stored::members_of(&Self::strictest());
        for name in before.problems.iter().map(|problem| &problem.member) {
            if members.get(name) == strictest.get(name) {
                members.extend(before.members.get(name).map(|value| (name.clone(), value.clone())));
            }
        }
        serde_json::Value::from(members).to_string()
    }

    fn strictest() -> Self {
        Self {
            seats: Some(0),
            seats_per_user: Some(1),
            seats_per_application: Some(1),
            reference_tokens_must_expire: true,
            legacy_sunset: Some(Sunset::PAST),
            ..Self::default()
        }
    }

    pub fn session_lifetimes(&self) -> SessionLifetimes {
        SessionLifetimes {
            absolute: Duration::from_secs(self.session_seconds),
            idle: Duration::from_secs(self.session_idle_seconds),
        }
    }

    /// The accounts with a guaranteed seat, without duplicates.
    pub fn reserved_accounts(&self) -> Vec<Login> {
        let mut accounts: Vec<Login> = Vec::new();
        for login in self.reserved_seats.iter().filter_map(|login| Login::parse(login)) {
            if !accounts.contains(&login) {
                accounts.push(login);
            }
        }
        accounts
    }

    /// `reserved` are the [reserved accounts](Self::reserved_accounts).
    pub fn licences<'a>(&self, reserved: &'a [Login]) -> SeatPolicy<'a> {
        SeatPolicy {
            seats: self.seats,
            per_user: self.seats_per_user,
            per_application: self.seats_per_application,
            reserved,
        }
    }

    /// These settings with one of them changed, or what is wrong with the change. The value is JSON. A bare word is a
    /// string, or the only member of a list.
    pub fn with(&self, name: &str, value: &str) -> Result<Self, String> {
        let mut settings = serde_json::to_value(self).expect("settings are strings and numbers");
        let known = settings.as_object_mut().expect("settings are a structure");
        if !known.contains_key(name) {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(format!("unknown setting {name}; known settings: {}", names.join(", ")));
        }
        let value: serde_json::Value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        let is_list = known[name].is_array() && value.is_string();
        known[name] = if is_list { vec![value].into() } else { value };
        let changed: Self = serde_json::from_value(settings).map_err(|error| format!("{name}: {error}"))?;
        changed.check()?;
        Ok(changed)
    }

    /// These settings with some members changed (RFC 7396); null resets a member to its default. Or everything that is
    /// wrong with the change.
    pub fn patched(&self, patch: serde_json::Map<String, serde_json::Value>) -> Result<Self, Vec<String>> {
        let mut settings = serde_json::to_value(self).expect("settings are strings and numbers");
        let known = settings.as_object_mut().expect("settings are a structure");
        let unknown: Vec<String> = patch.keys().filter(|name| !known.contains_key(*name)).cloned().collect();
        if !unknown.is_empty() {
            return Err(unknown.into_iter().map(|name| format!("{name}: unknown setting")).collect());
        }
        for (name, value) in patch {
            if value.is_null() {
                known.remove(&name);
            } else {
                known.insert(name, value);
            }
        }
        let changed: Self = serde_json::from_value(settings).map_err(|error| vec![error.to_string()])?;
        changed.check().map_err(|problem| vec![problem])?;
        Ok(changed)
    }

    /// Refuses settings that could not be kept, when they are written.
    fn check(&self) -> Result<(), String> {
        if let Some(bad) = self.reserved_seats.iter().find(|login| Login::parse(login).is_none()) {
            return Err(format!("reserved_seats: {bad:?} is not a login"));
        }
        let spans = [
            ("access_token_seconds", self.access_token_seconds, 60..=86_400),
            ("session_seconds", self.session_seconds, 60..=31_536_000),
            ("session_idle_seconds", self.session_idle_seconds, 60..=31_536_000),
        ];
        if let Some((name, _, span)) = spans.iter().find(|(_, seconds, span)| !span.contains(seconds)) {
            return Err(format!("{name}: must be {} to {}", span.start(), span.end()));
        }
        let reserved = self.reserved_accounts().len();
        if reserved != self.reserved_seats.len() {
            return Err("reserved_seats: contains a login twice (not case-sensitive)".to_owned());
        }
        if reserved > MAX_RESERVED {
            return Err(format!("reserved_seats: at most {MAX_RESERVED} logins"));
        }
        let ceilings = [("seats_per_user", self.seats_per_user), ("seats_per_application", self.seats_per_application)];
        if let Some((name, _)) = ceilings.iter().find(|(_, most)| *most == Some(0)) {
            return Err(format!("{name}: must be at least 1, or null for no limit"));
        }
        if self.audit_retention_days == Some(0) {
            return Err("audit_retention_days: must be at least 1, or null to keep the audit forever".to_owned());
        }
        if self.refusals_retention_days == 0 {
            return Err("refusals_retention_days: must be at least 1".to_owned());
        }
        if !(1..=65_536).contains(&self.refusals_max_mib) {
            return Err("refusals_max_mib: must be 1 to 65536".to_owned());
        }
        if self.seats.is_some_and(|seats| reserved > seats as usize) {
            return Err(format!("reserved_seats: there are fewer seats than the {reserved} reserved ones"));
        }
        if self.default_legacy_application.as_ref().is_some_and(|uri| uri.parse::<ClientId>().is_err()) {
            return Err("default_legacy_application: must be an ApplicationUri".to_owned());
        }
        Ok(())
    }

    pub fn access_token_lifetime(&self) -> Duration {
        Duration::from_secs(self.access_token_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_url_is_an_origin_and_secure() {
        for (text, kept) in [
            ("https://ERP.example.com", "https://erp.example.com"),
            ("https://erp.example.com:443/", "https://erp.example.com"),
            ("https://erp.example.com:8443", "https://erp.example.com:8443"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://demodb.localhost:8080/", "http://demodb.localhost:8080"),
        ] {
            assert_eq!(RootUrl::parse(text).map(|url| url.as_str().to_owned()), Ok(kept.to_owned()));
        }
        for bad in [
            "erp.example.com",
            "http://erp.example.com",
            "http://localhost.example.com",
            "http://127.example.com",
            "https://erp.example.com/id",
            "https://erp.example.com/?a",
            "https://erp.example.com/#a",
            "https://me@erp.example.com",
            "ftp://localhost",
            "https://erp.example.com.",
            "http://localhost.",
            "https://*.example.com",
            "https://erp..example.com",
        ] {
            assert!(RootUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_setting_is_changed_by_name_and_a_promise_that_cannot_be_kept_is_refused() {
        let settings = InstanceSettings::default();
        let five = settings.with("seats", "5").expect("a number");
        assert_eq!(five.seats, Some(5));
        assert_eq!(five.with("seats", "null").expect("unlimited").seats, None);
        assert_eq!(five.with("after_logout", "reactivate").expect("a word").after_logout, AfterLogout::Reactivate);
        let kept = five.with("reserved_seats", "admin").expect("one account");
        assert_eq!(kept.reserved_seats, ["admin"]);
        assert_eq!(kept.with("reserved_seats", r#"["admin","root"]"#).expect("two").reserved_accounts().len(), 2);
        let ending = five.with("legacy_sunset", "2027-03-01").expect("a day");
        assert_eq!(ending.legacy_sunset.map(|day| day.to_string()).as_deref(), Some("2027-03-01"));
        assert_eq!(ending.with("legacy_sunset", "null").expect("none").legacy_sunset, None);
        for (name, value) in [
            ("seat", "5"),
            ("seats", "-1"),
            ("seats", "many"),
            ("after_logout", "maybe"),
            ("reserved_seats", r#"["admin","Admin"]"#),
            ("reserved_seats", r#"[" x"]"#),
            ("reserved_seats", r#"["a","b","c","d","e","f"]"#),
            ("legacy_sunset", "soon"),
            ("default_legacy_application", ""),
        ] {
            assert!(five.with(name, value).is_err(), "{name}={value}");
        }
        assert!(kept.with("seats", "0").is_err(), "one is kept");
        assert_eq!(kept.with("audit_retention_days", "365").expect("a year").audit_retention_days, Some(365));
        for ceiling in ["seats_per_user", "seats_per_application"] {
            let changed = kept.with(ceiling, "2").expect("a ceiling");
            assert_eq!(changed.with(ceiling, "null").expect("none").licences(&[]).per_user, None);
            for bad in ["0", "-1", "many", "1.5"] {
                assert!(kept.with(ceiling, bad).is_err(), "{ceiling}={bad}");
            }
        }
        let both = kept.with("seats_per_user", "2").and_then(|changed| changed.with("seats_per_application", "3"));
        let both = both.expect("two ceilings");
        assert_eq!((both.licences(&[]).per_user, both.licences(&[]).per_application), (Some(2), Some(3)));
        assert!(kept.with("audit_retention_days", "0").is_err(), "then there would be none");
    }

    #[test]
    fn settings_are_patched_by_name_and_null_is_the_default() {
        let patch = |text: &str| match serde_json::from_str(text) {
            Ok(serde_json::Value::Object(members)) => members,
            other => panic!("{text}: {other:?}"),
        };
        let settings = InstanceSettings { seats: Some(5), ..InstanceSettings::default() };
        let changed = settings.patched(patch(r#"{"seats": null, "access_token_seconds": 600}"#)).expect("good");
        assert_eq!((changed.seats, changed.access_token_seconds), (None, 600));
        let back = changed.patched(patch(r#"{"access_token_seconds": null}"#)).expect("good");
        assert_eq!(back.access_token_seconds, 3600);
        for bad in [
            r#"{"seat": 5, "colour": 1}"#,
            r#"{"seats": "many"}"#,
            r#"{"seats": -1}"#,
            r#"{"access_token_seconds": 59}"#,
            r#"{"access_token_seconds": 86401}"#,
            r#"{"session_seconds": 0}"#,
            r#"{"session_idle_seconds": 31536001}"#,
            r#"{"seats": 0, "reserved_seats": ["admin"]}"#,
        ] {
            assert!(settings.patched(patch(bad)).is_err(), "{bad}");
        }
        assert_eq!(settings.patched(patch(r#"{"seat": 5, "colour": 1}"#)).err().map(|all| all.len()), Some(2));
    }

    #[test]
    fn issuer_and_host_follow_from_the_root() {
        let root = RootUrl::parse("https://erp.example.com:8443").expect("valid");
        assert_eq!(root.issuer(), "https://erp.example.com:8443/id");
        assert_eq!(root.host().as_str(), "erp.example.com");
    }
}
