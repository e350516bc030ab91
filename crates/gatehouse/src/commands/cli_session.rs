//! Shared context of the administration commands.

use anyhow::{Context as _, Result, anyhow, bail};
use flows::admin::{AdminRefusal, ElevatedAdminService, check_master_key};
use flows::auth::links::HandedOver;
use flows::auth::links::IssuedLink;
use flows::{Answer, Database, MasterKey};
use model::User;
use model::mail::{Letter, MailMessage};
use serde_json::Value;

use crate::cli::{Installation, Output, Target};
use crate::commands::{begin, open, provisions};
use crate::config::{Config, Environment};
use crate::output;
use crate::post::Mailer;
use crate::provisions::Provisions;

/// The installation's configuration, open database and master key.
pub(super) struct CliSession {
    pub(super) config: Config,
    pub(super) database: Database,
    pub(super) master: MasterKey,
    pub(super) post: Option<Mailer>,
}

impl CliSession {
    pub(super) async fn open(installation: &Installation, environment: Environment<'_>) -> Result<Self> {
        let (config, provisions) = provisions(installation, environment)?;
        let database = open(&provisions).await?;
        Self::over(database, config, provisions).await
    }

    /// For `instance create`, the only command that creates a database.
    pub(super) async fn begin(
        installation: &Installation,
        instance: &str,
        environment: Environment<'_>,
    ) -> Result<Self> {
        let (config, provisions) = provisions(installation, environment)?;
        if !config.instances.iter().any(|known| known.name == instance) {
            bail!("instance {instance} is not in the configuration; add an [[instance]] with its name and url");
        }
        let database = begin(&provisions).await?;
        Self::over(database, config, provisions).await
    }

    async fn over(database: Database, config: Config, provisions: Provisions) -> Result<Self> {
        let master = provisions.master_keys.sealing();
        check_master_key(&database, &master).await.context(match provisions.master_keys.previous {
            None => "wrong master key for this database",
            Some(_) => "neither the master key nor the previous master key matches this database",
        })?;
        Ok(Self { config, database, master, post: provisions.post })
    }

    pub(super) async fn admin(&self, target: &Target) -> Result<(String, ElevatedAdminService<'_>)> {
        let name = match (&target.instance, self.config.instances.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, [only]) => only.name.clone(),
            (None, _) => bail!("there are several instances; choose one with --instance"),
        };
        let admin = granted(ElevatedAdminService::open(&self.database, &self.master, &name).await)?;
        Ok((name, admin))
    }

    /// The URL of a one-time link.
    pub(super) fn url(&self, instance: &str, link: &IssuedLink) -> Result<String> {
        let found = self.config.instances.iter().find(|known| known.name == instance);
        let known = found.with_context(|| format!("instance {instance} has no url in the configuration"))?;
        Ok(link.purpose.url(&known.root, &link.code))
    }

    /// Sends the link to its user by e-mail. If that fails, returns it to be printed.
    pub(super) async fn hand_over(&self, instance: &str, link: &IssuedLink) -> Result<HandedOver> {
        let url = self.url(instance, link)?;
        let (Some(post), Some(letter)) = (&self.post, link.letter(instance, &url)) else {
            return Ok(HandedOver::Shown(url));
        };
        Ok(match post.send(&letter).await {
            Ok(()) => HandedOver::Mailed(letter.to),
            Err(undelivered) => {
                output::note(format_args!("warning: e-mail not sent: {undelivered}\n"));
                HandedOver::Shown(url)
            }
        })
    }
}

impl CliSession {
    /// Sends a user a letter if e-mail works. A failure is no reason to undo the change.
    pub(super) async fn write_to<'a>(
        &self,
        instance: &'a str,
        user: &'a User,
        letter: impl FnOnce(Letter<'a>) -> MailMessage,
    ) {
        let (Some(post), Some(to)) = (&self.post, user.mailbox()) else { return };
        if let Err(undelivered) = post.send(&letter(Letter { to, instance, user })).await {
            output::note(format_args!("warning: e-mail not sent: {undelivered}\n"));
        }
    }
}

/// Turns a refusal into an error that is printed.
pub(super) fn granted<T>(answer: Answer<T, AdminRefusal>) -> Result<T> {
    answer.context("database error")?.map_err(|refusal| anyhow!("{refusal}"))
}

/// Reads the clock once, for a flow that uses the given randomness.
macro_rules! moment {
    ($rng:ident) => {
        Moment { now: SystemPlatform.now(), rng: &mut $rng }
    };
}
pub(super) use moment;

pub(super) fn print(output: &Output, json: &Value, text: &str) -> Result<()> {
    let json = output.json.then(|| serde_json::to_string_pretty(json)).transpose()?;
    output::print(&format!("{}\n", json.as_deref().unwrap_or(text)))
}
