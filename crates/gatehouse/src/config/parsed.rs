//! Values with their own grammar, parsed during deserialization so that an error has a line.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;
use model::{HostName, RootUrl};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use store::{DatabaseUrl, DatabaseUrlError};
use zeroize::Zeroizing;

use crate::checkpoints::Webhook;
use crate::traces::Collector;

/// Limit of [`flows::admin::create_instance`].
const MAX_INSTANCE_NAME: usize = 63;

/// A value written as a string in the file.
pub(super) struct Parsed<T>(pub(super) T);

pub(super) trait Grammar: Sized {
    /// Parses the text. The error says what to write instead.
    fn parse(text: &str) -> Result<Self, String>;
}

impl<'de, T: Grammar> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::parse(&text).map(Self).map_err(D::Error::custom)
    }
}

/// For a field that holds the parsed value itself.
pub(super) fn parse<'de, T: Grammar, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Parsed::deserialize(deserializer).map(|parsed| parsed.0)
}

/// Like [`parse`], for a list of values.
pub(super) fn several<'de, T: Grammar, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let parsed = Vec::<Parsed<T>>::deserialize(deserializer)?;
    Ok(parsed.into_iter().map(|parsed| parsed.0).collect())
}

/// A number from 0 to 1.
pub(super) fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    let fits = (0.0..=1.0).contains(&share);
    fits.then_some(share).ok_or_else(|| D::Error::custom("must be a number from 0 to 1, for example 0.05"))
}

impl Grammar for Collector {
    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(str::to_owned)
    }
}

impl Grammar for Webhook {
    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(str::to_owned)
    }
}

impl Grammar for SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "not an address with a port, for example 127.0.0.1:8080 or [::]:8080".to_owned())
    }
}

/// A network, or a single address as a network of one.
impl Grammar for IpNet {
    fn parse(text: &str) -> Result<Self, String> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| "not an IP address or network, for example 10.0.0.0/8".to_owned())
    }
}

impl Grammar for RootUrl {
    fn parse(text: &str) -> Result<Self, String> {
        RootUrl::parse(text).map_err(|fault| format!("the root URL {fault}"))
    }
}

impl Grammar for HostName {
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| format!("invalid host `{}`: {error}", text.escape_debug()))
    }
}

pub(super) struct InstanceName(pub(super) String);

impl Grammar for InstanceName {
    fn parse(text: &str) -> Result<Self, String> {
        let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !letters || text.is_empty() || text.len() > MAX_INSTANCE_NAME {
            return Err(format!("an instance name must be 1 to {MAX_INSTANCE_NAME} letters, digits, `-`, `_` or `.`"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// `database`: a URL, or a reference to its source.
pub(super) enum DatabaseText {
    Url(Zeroizing<String>),
    Environment(String),
}

impl<'de> Deserialize<'de> for DatabaseText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Ok(match text.strip_prefix("env:") {
            Some(variable) => Self::Environment(variable.to_owned()),
            None => Self::Url(text),
        })
    }
}

/// Parses a database URL. A relative path (of `sqlite:`) is resolved against the configuration's folder.
pub(super) fn database_url(text: &str, folder: &Path) -> Result<DatabaseUrl, DatabaseUrlError> {
    let url = DatabaseUrl::parse(text)?;
    match text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
        Some(path) => DatabaseUrl::parse(&format!("sqlite:{}", folder.join(path).display())),
        None => Ok(url),
    }
}
