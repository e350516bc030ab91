//! `gatehouse.toml`, as documented in docs/configuration.md. The whole file is parsed at once; an unknown key is an
//! error that shows its line.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use model::{HostName, RootUrl};
use serde::Deserialize;
use store::DatabaseUrl;
use toml::Spanned;
use web::server::{Limits, TrustedProxies};

use crate::checkpoints::{Publishing, Webhook};
use crate::logging::LogSettings;
use crate::problem::StartupProblem;
use crate::tls::TlsFiles;
use crate::traces::Collector;

mod key;
mod mail;
mod parsed;

pub use self::mail::{MailSecurity, MailSettings, SmtpLogin};
use key::MasterKeySources;
pub use key::{MasterKeyBytes, MasterKeys, SecretSource};
use parsed::{DatabaseText, InstanceName, Parsed};

/// Looks up an environment variable. An argument, because only `main` may read the real ones.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The parsed configuration. Its paths are complete: a path in the file is relative to the file's folder.
#[derive(Debug)]
pub struct Config {
    pub listen: Vec<SocketAddr>,
    pub trusted_proxies: TrustedProxies,
    pub log: LogSettings,
    /// The instance that answers requests for unknown hosts.
    pub default_instance: Option<String>,
    /// At least one instance; names and hosts are unique.
    pub instances: Vec<InstanceConfig>,
    database: DatabaseConfig,
    master_keys: MasterKeySources,
    tls: Option<TlsFiles>,
    pub mail: Option<MailSettings>,
    pub metrics: Option<MetricsSettings>,
    pub traces: Option<TraceSettings>,
    /// Destinations of the audit's checkpoints.
    pub publishing: Option<Publishing>,
    pub connections: ConnectionSettings,
    path: PathBuf,
}

/// Host names and root URL of one instance.
#[derive(Debug)]
pub struct InstanceConfig {
    pub name: String,
    pub root: RootUrl,
    /// The host of the root URL comes first.
    pub hosts: Vec<HostName>,
}

#[derive(Debug)]
enum DatabaseConfig {
    Here(DatabaseUrl),
    InEnvironment { variable: String, folder: PathBuf },
}

impl Config {
    /// Reads and parses the file. An error shows the line of the first mistake.
    pub fn load(path: &Path) -> Result<Self, StartupProblem> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            StartupProblem::new(
                format!("{} cannot be read: {error}", path.display()),
                "give the path with --config; see docs/gatehouse.example.toml for an example",
            )
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, StartupProblem> {
        let document: ConfigDocument = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            if is_secret(&text[..text.floor_char_boundary(span.start)]) {
                let what = "secrets are not allowed in this file";
                let mend =
                    "use { file = \"…\" } or { environment = \"…\" }; if others may have read the secret, replace it";
                return StartupProblem::at(path, text, span.start..span.start, what, mend);
            }
            StartupProblem::at(path, text, span, error.message(), "see docs/configuration.md for all keys")
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        document
            .settle(path, folder)
            .map_err(|mistake| StartupProblem::at(path, text, mistake.span, &mistake.what, mistake.mend))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    pub fn database(&self, environment: Environment<'_>) -> Result<DatabaseUrl, StartupProblem> {
        self.database.fetch(environment)
    }

    pub fn master_keys(&self, environment: Environment<'_>) -> Result<MasterKeys, Vec<StartupProblem>> {
        self.master_keys.fetch(environment)
    }

    /// The sources of the master key and of the previous one, for display.
    pub fn master_key_places(&self) -> (String, Option<String>) {
        (self.master_keys.current.to_string(), self.master_keys.previous.as_ref().map(ToString::to_string))
    }

    /// The file of an embedded database that the configuration names.
    pub fn database_file(&self) -> Option<PathBuf> {
        match &self.database {
            DatabaseConfig::Here(url) => url.file().map(Path::to_owned),
            DatabaseConfig::InEnvironment { .. } => None,
        }
    }

    /// Is the file itself a secret? The URL of a database server holds a password.
    pub fn holds_password(&self) -> bool {
        matches!(&self.database, DatabaseConfig::Here(url) if url.file().is_none())
    }

    /// Files that only their owner should be able to read, each with a description.
    pub fn secret_files(&self) -> Vec<(PathBuf, &'static str)> {
        let password = self.mail.as_ref().and_then(|mail| mail.username.as_ref()).map(|(_, source)| source);
        let MasterKeySources { current, previous } = &self.master_keys;
        let sources = [
            (Some(current), "the master key"),
            (previous.as_ref(), "the previous master key"),
            (password, "the mail server password"),
        ];
        let named = sources.into_iter().filter_map(|(source, what)| match source {
            Some(SecretSource::File(path)) => Some((path.clone(), what)),
            _ => None,
        });
        let private_key = self.tls.iter().map(|files| (files.private_key.clone(), "the certificate's private key"));
        named.chain(private_key).collect()
    }
}

/// Does a value written after this text hold a secret? Then neither it nor an error message that quotes it may be
/// shown.
fn is_secret(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let key = line.trim_end().strip_suffix('=').unwrap_or_default().trim_end();
    ["password", "master_key"].iter().any(|secret| key.ends_with(secret))
}

impl DatabaseConfig {
    fn fetch(&self, environment: Environment<'_>) -> Result<DatabaseUrl, StartupProblem> {
        match self {
            Self::Here(url) => Ok(url.clone()),
            Self::InEnvironment { variable, folder } => {
                let text = environment(variable).ok_or_else(|| {
                    let what =
                        format!("the environment variable {variable}, which should hold the database URL, is not set");
                    StartupProblem::new(what, format!("set {variable}, or set `database` in the configuration"))
                })?;
                parsed::database_url(&text, folder).map_err(|error| {
                    let what = format!("the environment variable {variable} does not hold a database URL: {error}");
                    StartupProblem::new(what, "write sqlite:gatehouse.db or postgres://user:password@host/name")
                })
            }
        }
    }
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigDocument {
    listen: Spanned<Vec<Parsed<SocketAddr>>>,
    database: Spanned<DatabaseText>,
    default_instance: Option<Spanned<String>>,
    #[serde(default)]
    trusted_proxies: Vec<Parsed<IpNet>>,
    master_key: SecretSource,
    previous_master_key: Option<SecretSource>,
    tls: Option<TlsFiles>,
    mail: Option<Spanned<mail::MailTable>>,
    metrics: Option<MetricsSettings>,
    traces: Option<TraceSettings>,
    audit: Option<AuditTable>,
    #[serde(default)]
    connections: ConnectionSettings,
    #[serde(default)]
    log: LogSettings,
    #[serde(rename = "instance")]
    instances: Spanned<Vec<InstanceTable>>,
}

/// `[metrics]`: the listener for metrics and health.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSettings {
    #[serde(deserialize_with = "parsed::parse")]
    pub listen: SocketAddr,
    /// Host names accepted by this listener, besides IP addresses and the hosts of the instances.
    #[serde(default, deserialize_with = "parsed::several")]
    pub hosts: Vec<HostName>,
}

/// `[traces]`: the collector of spans, and the share of requests that are traced.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    #[serde(rename = "otlp", deserialize_with = "parsed::parse")]
    pub collector: Collector,
    /// Share of the traces that begin here, from 0 to 1.
    #[serde(default = "all", deserialize_with = "parsed::share")]
    pub sample: f64,
}

/// `[connections]`: limits on connections. Omitted values default to those of [`Limits`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSettings {
    maximum: Option<NonZeroU32>,
    per_network: Option<NonZeroU32>,
    per_site: Option<NonZeroU32>,
}

impl ConnectionSettings {
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            max_connections: self.maximum.map_or(usual.max_connections, NonZeroU32::get),
            connections_per_network: self.per_network.map_or(usual.connections_per_network, NonZeroU32::get),
            connections_per_site: self.per_site.map_or(usual.connections_per_site, NonZeroU32::get),
            ..usual
        }
    }
}

const fn all() -> f64 {
    1.0
}

/// `[audit]`: destinations of checkpoints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditTable {
    publish: PublishTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishTable {
    #[serde(default)]
    log: bool,
    file: Option<PathBuf>,
    webhook: Option<Parsed<Webhook>>,
}

impl PublishTable {
    fn within(self, folder: &Path) -> Publishing {
        let file = self.file.map(|file| folder.join(file));
        Publishing { log: self.log, file, webhook: self.webhook.map(|webhook| webhook.0) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceTable {
    name: Spanned<Parsed<InstanceName>>,
    url: Spanned<Parsed<RootUrl>>,
    #[serde(default)]
    hosts: Vec<Spanned<Parsed<HostName>>>,
}

/// An error that involves several values.
struct Mistake {
    span: std::ops::Range<usize>,
    what: String,
    mend: &'static str,
}

impl ConfigDocument {
    fn settle(self, path: &Path, folder: &Path) -> Result<Config, Mistake> {
        let listen = distinct_addresses(self.listen)?;
        let instances = distinct_instances(self.instances)?;
        let default_instance = self.default_instance.map(|name| known(name, &instances)).transpose()?;
        let mail = self.mail.map(|table| mail::settle(table, folder)).transpose()?;
        let span = self.database.span();
        let database = match self.database.into_inner() {
            DatabaseText::Environment(variable) => {
                DatabaseConfig::InEnvironment { variable, folder: folder.to_owned() }
            }
            DatabaseText::Url(text) => {
                DatabaseConfig::Here(parsed::database_url(&text, folder).map_err(|error| Mistake {
                    span,
                    what: error.to_string(),
                    mend: "write sqlite:gatehouse.db, postgres://user:password@host/name or env:NAME_OF_A_VARIABLE",
                })?)
            }
        };
        Ok(Config {
            listen,
            trusted_proxies: TrustedProxies::new(self.trusted_proxies.into_iter().map(|network| network.0).collect()),
            log: self.log,
            default_instance,
            instances,
            database,
            master_keys: MasterKeySources {
                current: self.master_key.within(folder),
                previous: self.previous_master_key.map(|source| source.within(folder)),
            },
            tls: self.tls.map(|files| files.within(folder)),
            mail,
            metrics: self.metrics,
            traces: self.traces,
            publishing: self.audit.map(|audit| audit.publish.within(folder)),
            connections: self.connections,
            path: path.to_owned(),
        })
    }
}

fn distinct_addresses(listen: Spanned<Vec<Parsed<SocketAddr>>>) -> Result<Vec<SocketAddr>, Mistake> {
    let span = listen.span();
    let addresses: Vec<SocketAddr> = listen.into_inner().into_iter().map(|address| address.0).collect();
    let repeated = addresses.iter().enumerate().find(|(place, address)| addresses[..*place].contains(address));
    let what = match repeated {
        Some((_, address)) => format!("{address} is listed twice"),
        None if addresses.is_empty() => "no address to listen on".to_owned(),
        None => return Ok(addresses),
    };
    Err(Mistake { span, what, mend: "list every address once, for example [\"127.0.0.1:8080\"]" })
}

fn distinct_instances(tables: Spanned<Vec<InstanceTable>>) -> Result<Vec<InstanceConfig>, Mistake> {
    let span = tables.span();
    let tables = tables.into_inner();
    if tables.is_empty() {
        return Err(Mistake {
            span,
            what: "no instance to serve".to_owned(),
            mend: "add an [[instance]] with name and url",
        });
    }
    let mut names = HashSet::new();
    let mut owners: HashMap<HostName, String> = HashMap::new();
    let mut instances = Vec::with_capacity(tables.len());
    for table in tables {
        let span = table.name.span();
        let name = table.name.into_inner().0.0;
        if !names.insert(name.to_ascii_lowercase()) {
            let what = format!("duplicate instance name `{name}`");
            return Err(Mistake { span, what, mend: "instance names must be unique (not case-sensitive)" });
        }
        let span = table.url.span();
        let root = table.url.into_inner().0;
        let aliases = table.hosts.into_iter().map(|host| (host.span(), host.into_inner().0));
        let mut hosts = Vec::new();
        for (span, host) in std::iter::once((span, root.host())).chain(aliases) {
            if let Some(owner) = owners.insert(host.clone(), name.clone()) {
                let what = format!("the host `{host}` already belongs to the instance `{owner}`");
                let mend = "each host can belong to one instance only, regardless of the port";
                return Err(Mistake { span, what, mend });
            }
            hosts.push(host);
        }
        instances.push(InstanceConfig { name, root, hosts });
    }
    Ok(instances)
}

fn known(name: Spanned<String>, instances: &[InstanceConfig]) -> Result<String, Mistake> {
    if instances.iter().any(|instance| instance.name == *name.get_ref()) {
        return Ok(name.into_inner());
    }
    Err(Mistake {
        span: name.span(),
        what: format!("unknown instance `{}`", name.get_ref()),
        mend: "use the `name` of an [[instance]] below, or remove the key to answer unknown hosts with 404",
    })
}

#[cfg(test)]
mod tests;
