//! `[mail]`: the SMTP server for outgoing mail.

use std::path::{Path, PathBuf};

use lettre::message::Mailbox;
use serde::Deserialize;
use toml::Spanned;
use zeroize::Zeroizing;

use crate::config::key::SecretDescription;
use crate::config::parsed::{Grammar, Parsed};
use crate::config::{Environment, Mistake, SecretSource};
use crate::problem::StartupProblem;

const PASSWORD: SecretDescription = SecretDescription {
    what: "the mail server password",
    mend: "write the password there on one line, or correct [mail]",
};

/// Protection of the connection to the mail server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailSecurity {
    /// STARTTLS (RFC 3207). Nothing is sent if the server does not offer it.
    #[default]
    StartTls,
    /// RFC 8314: TLS from the first byte.
    Tls,
    None,
}

impl MailSecurity {
    const fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// Parsed mail settings.
#[derive(Debug)]
pub struct MailSettings {
    pub host: String,
    pub port: u16,
    pub security: MailSecurity,
    pub from: Mailbox,
    pub username: Option<(String, SecretSource)>,
    /// PEM file of a certificate authority to trust for this server, in addition to the public ones.
    pub authority: Option<PathBuf>,
}

/// The section as written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MailTable {
    host: String,
    port: Option<u16>,
    #[serde(default)]
    tls: MailSecurity,
    from: Parsed<Mailbox>,
    username: Option<String>,
    password: Option<SecretSource>,
    authority: Option<PathBuf>,
}

impl Grammar for Mailbox {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "not a sender like \"Gatehouse <no-reply@example.com>\"".to_owned())
    }
}

pub(super) fn settle(table: Spanned<MailTable>, folder: &Path) -> Result<MailSettings, Mistake> {
    let span = table.span();
    let table = table.into_inner();
    let mistake = |what: &str, mend| Err(Mistake { span: span.clone(), what: what.to_owned(), mend });
    let username = match (table.username, table.password) {
        (Some(username), Some(password)) => Some((username, password.within(folder))),
        (None, None) => None,
        (Some(_), None) => {
            return mistake("[mail] has a username but no password", "add password = { file = \"smtp.password\" }");
        }
        (None, Some(_)) => {
            return mistake("[mail] has a password but no username", "add the username, or remove both");
        }
    };
    if username.is_some() && table.tls == MailSecurity::None {
        let mend = "use tls = \"starttls\" or \"tls\", or a server that requires no password";
        return mistake("[mail] would send its password unencrypted", mend);
    }
    Ok(MailSettings {
        host: table.host,
        port: table.port.unwrap_or(table.tls.port()),
        security: table.tls,
        from: table.from.0,
        username,
        authority: table.authority.map(|path| folder.join(path)),
    })
}

impl MailSettings {
    /// Login name and password for the mail server, if configured.
    pub fn login(&self, environment: Environment<'_>) -> Result<Option<SmtpLogin>, StartupProblem> {
        self.username.as_ref().map(|(name, source)| login(name, source, environment)).transpose()
    }
}

fn login(name: &str, source: &SecretSource, environment: Environment<'_>) -> Result<SmtpLogin, StartupProblem> {
    let (place, text) = source.fetch(PASSWORD, environment)?;
    let text = std::str::from_utf8(&text).map(|text| Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()));
    match text {
        Ok(password) if !password.is_empty() => Ok(SmtpLogin { name: name.to_owned(), password }),
        _ => Err(StartupProblem::new(format!("{place} holds no password"), PASSWORD.mend)),
    }
}

/// Login name and password for the mail server.
pub struct SmtpLogin {
    pub name: String,
    pub password: Zeroizing<String>,
}
