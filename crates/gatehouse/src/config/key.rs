//! Secrets from files and environment: the master key, which encrypts the secrets in the databases, and others. This
//! program never writes them anywhere.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::config::Environment;
use crate::problem::StartupProblem;

const MAKE_ONE: &str = "create a key with: (umask 077; openssl rand -base64 32 > master.key)";
/// Maximum file size: far more than a key and its line end.
const MAX_FILE: u64 = 1024;

/// 256 bits.
pub struct MasterKeyBytes(Zeroizing<[u8; 32]>);

impl MasterKeyBytes {
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses 32 bytes in base64 (RFC 4648 §4); surrounding white space is allowed.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        let decoded = Zeroizing::new(STANDARD.decode(text.trim_ascii()).ok()?);
        if decoded.len() != key.len() {
            return None;
        }
        key.copy_from_slice(&decoded);
        Some(Self(key))
    }
}

/// The master key and, during a rotation, the previous one.
#[derive(Debug)]
pub struct MasterKeys {
    pub current: MasterKeyBytes,
    pub previous: Option<MasterKeyBytes>,
}

impl MasterKeys {
    /// Converts to the key type of the flows.
    pub fn sealing(&self) -> flows::MasterKey {
        let current = flows::MasterKey::new(self.current.bytes());
        match &self.previous {
            Some(previous) => current.with_previous(previous.bytes()),
            None => current,
        }
    }
}

/// Sources of the master keys.
#[derive(Debug)]
pub(super) struct MasterKeySources {
    pub(super) current: SecretSource,
    pub(super) previous: Option<SecretSource>,
}

impl MasterKeySources {
    pub(super) fn fetch(&self, environment: Environment<'_>) -> Result<MasterKeys, Vec<StartupProblem>> {
        let current = self.current.fetch_key(MASTER_KEY, environment);
        let previous = self.previous.as_ref().map(|source| source.fetch_key(PREVIOUS_MASTER_KEY, environment));
        match (current, previous.transpose()) {
            (Ok(current), Ok(Some(previous))) if current.bytes() == previous.bytes() => Err(vec![StartupProblem::new(
                "master_key and previous_master_key are the same key",
                "put the new key into [master_key] and the one before it into [previous_master_key], \
                 or take [previous_master_key] out",
            )]),
            (Ok(current), Ok(previous)) => Ok(MasterKeys { current, previous }),
            (current, previous) => Err([current.err(), previous.err()].into_iter().flatten().collect()),
        }
    }
}

impl fmt::Debug for MasterKeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// The source of a secret: exactly one of the two is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    File(PathBuf),
    Environment(String),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(variable) => write!(f, "the environment variable {variable}"),
        }
    }
}

/// A secret's name in messages, and the instruction when it is missing.
#[derive(Clone, Copy)]
pub(super) struct SecretDescription {
    pub(super) what: &'static str,
    pub(super) mend: &'static str,
}

pub(super) const MASTER_KEY: SecretDescription = SecretDescription { what: "the master key", mend: MAKE_ONE };
const PREVIOUS_MASTER_KEY: SecretDescription = SecretDescription {
    what: "the previous master key",
    mend: "give the previous key of the database; remove [previous_master_key] after the rotation",
};

impl SecretSource {
    pub(super) fn within(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Environment(variable) => Self::Environment(variable),
        }
    }

    /// Reads the secret; also returns its source.
    pub(super) fn fetch(
        &self,
        wanted: SecretDescription,
        environment: Environment<'_>,
    ) -> Result<(String, Zeroizing<Vec<u8>>), StartupProblem> {
        match self {
            Self::File(path) => Ok((self.to_string(), read(path, wanted)?)),
            Self::Environment(variable) => {
                let text = environment(variable).ok_or_else(|| {
                    let SecretDescription { what, mend } = wanted;
                    let what = format!("the environment variable {variable}, which should hold {what}, is not set");
                    StartupProblem::new(what, format!("set {variable}; {mend}"))
                })?;
                Ok((self.to_string(), Zeroizing::new(text.into_bytes())))
            }
        }
    }

    pub(super) fn fetch_key(
        &self,
        wanted: SecretDescription,
        environment: Environment<'_>,
    ) -> Result<MasterKeyBytes, StartupProblem> {
        let (place, text) = self.fetch(wanted, environment)?;
        MasterKeyBytes::parse(&text)
            .ok_or_else(|| StartupProblem::new(format!("{place} does not hold 32 bytes in base64"), wanted.mend))
    }
}

/// Reads a secret's file. Refuses a file that other users of the machine can read.
fn read(path: &Path, wanted: SecretDescription) -> Result<Zeroizing<Vec<u8>>, StartupProblem> {
    let file = File::open(path).map_err(|error| unreadable(path, wanted, &error))?;
    let mode = file.metadata().map_err(|error| unreadable(path, wanted, &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(StartupProblem::new(
            format!("{path} is accessible to others (mode {:03o})", mode & 0o777),
            format!(
                "run: chmod 600 {path} (in Kubernetes: defaultMode: 0400); if others may have read it, replace the secrets in it"
            ),
        ));
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_FILE).read_to_end(&mut text).map_err(|error| unreadable(path, wanted, &error))?;
    Ok(text)
}

fn unreadable(path: &Path, wanted: SecretDescription, error: &io::Error) -> StartupProblem {
    let mend = if error.kind() == io::ErrorKind::NotFound {
        wanted.mend
    } else {
        "give read access to the user that runs gatehouse, and to no one else"
    };
    StartupProblem::new(format!("{} in {} cannot be read: {error}", wanted.what, path.display()), mend)
}
