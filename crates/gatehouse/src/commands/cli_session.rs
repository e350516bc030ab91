//! Shared context of the administration commands.

use anyhow::{Context as _, Result, anyhow, bail};
use flows::admin::operations::users::UserLink;
use flows::admin::operations::{AdminAuthority as _, AdminOperation, Delivery, OperationContext};
use flows::admin::{AdminRefusal, ElevatedAdminService, check_master_key};
use flows::auth::links::HandedOver;
use flows::auth::links::IssuedLink;
use flows::{Answer, Database, MasterKey, Passwords, Platform as _};
use model::mail::{Letter, MailMessage};
use model::{Moment, RootUrl, Timestamp, User};
use serde::Serialize;
use serde_json::Value;
use web::SystemRng;

use crate::cli::{Installation, Output, Target};
use crate::commands::deprecated::with_old_names;
use crate::commands::{begin, open, provisions};
use crate::config::{Config, Environment};
use crate::output;
use crate::platform::SystemPlatform;
use crate::post::Mailer;
use crate::provisions::Provisions;

/// Reads the clock once, for a flow that uses the given randomness.
macro_rules! moment {
    ($rng:ident) => {
        Moment { now: SystemPlatform.now(), rng: &mut $rng }
    };
}
pub(super) use moment;

/// The installation's configuration, open database and master key.
pub(super) struct CliSession {
    pub(super) config: Config,
    pub(super) database: Database,
    pub(super) master: MasterKey,
    pub(super) post: Option<Mailer>,
    pub(super) passwords: Passwords,
}

/// The operator of an instance.
pub(super) struct CliAdmin<'a> {
    pub(super) session: &'a CliSession,
    /// The instance's name.
    pub(super) instance: String,
    pub(super) service: ElevatedAdminService<'a>,
    /// The command's one reading of the clock.
    pub(super) now: Timestamp,
}

impl CliAdmin<'_> {
    /// Runs an operation. A refusal is an error.
    pub(super) async fn run<O: AdminOperation>(&self, input: O::Input) -> Result<O::Output> {
        self.answer::<O>(input).await?.map_err(|refusal| anyhow!("{refusal}"))
    }

    /// Runs an operation.
    pub(super) async fn answer<O: AdminOperation>(&self, input: O::Input) -> Result<Result<O::Output, AdminRefusal>> {
        let mut rng = SystemRng;
        let moment = Moment { now: self.now, rng: &mut rng };
        let mut context = OperationContext {
            service: O::Authority::of(self.service.plain(), moment.now).expect("the operator's sign-in is never old"),
            moment,
            passwords: &self.session.passwords,
            master: &self.session.master,
            delivery: Delivery::Shown(self.session.root(&self.instance)),
        };
        O::run(&mut context, input).await.context("database error")
    }

    /// Sends the link to its user by e-mail. If that fails, it is printed.
    pub(super) async fn mail(&self, link: UserLink) -> Result<UserLink> {
        let handed = self.session.hand_over(&self.instance, &link.issued).await?;
        Ok(match handed {
            HandedOver::Mailed(address) => UserLink { mailed_to: Some(address.as_str().to_owned()), url: None, ..link },
            HandedOver::Shown(_) => link,
        })
    }
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
        Ok(Self { config, database, master, post: provisions.post, passwords: Passwords::new() })
    }

    pub(super) async fn admin(&self, target: &Target) -> Result<CliAdmin<'_>> {
        let instance = match (&target.instance, self.config.instances.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, [only]) => only.name.clone(),
            (None, _) => bail!("there are several instances; choose one with --instance"),
        };
        self.admin_of(instance).await
    }

    pub(super) async fn admin_of(&self, instance: String) -> Result<CliAdmin<'_>> {
        let service = granted(ElevatedAdminService::open(&self.database, &self.master, &instance).await)?;
        Ok(CliAdmin { session: self, instance, service, now: SystemPlatform.now() })
    }

    fn root(&self, instance: &str) -> Option<&RootUrl> {
        self.config.instances.iter().find(|known| known.name == instance).map(|known| &known.root)
    }

    /// The URL of a one-time link.
    fn url(&self, instance: &str, link: &IssuedLink) -> Result<String> {
        let root =
            self.root(instance).with_context(|| format!("instance {instance} has no url in the configuration"))?;
        Ok(link.purpose.url(root, &link.code))
    }

    /// Sends the link to its user by e-mail. If that fails, returns it to be printed.
    async fn hand_over(&self, instance: &str, link: &IssuedLink) -> Result<HandedOver> {
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

/// Prints the answer of a command's operation, with the old names of its members.
pub(super) fn print_answer(output: &Output, command: &str, answer: &impl Serialize, text: &str) -> Result<()> {
    print_answer_to(output, command, &Value::Null, answer, text)
}

/// As [`print_answer`], of a command whose old JSON repeated its arguments, `given`.
pub(super) fn print_answer_to(
    output: &Output,
    command: &str,
    given: &Value,
    answer: &impl Serialize,
    text: &str,
) -> Result<()> {
    print(output, &with_old_names(command, given, serde_json::to_value(answer)?), text)
}

pub(super) fn print(output: &Output, json: &Value, text: &str) -> Result<()> {
    let json = output.json.then(|| serde_json::to_string_pretty(json)).transpose()?;
    output::print(&format!("{}\n", json.as_deref().unwrap_or(text)))
}
