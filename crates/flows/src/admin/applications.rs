//! Administration of the register of Trusted Applications.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::application::Secret;
use model::application::record::{ApplicationRecord, RecordClientType, Registration};
use model::line::{LINE_RULE, is_line};
use model::seat::CloseReason;
use model::{ApplicationId, ClientType, Moment, Timestamp, TrustedApplication, UserId};
use oauth::client::ClientId;
use oauth::secret::{ClientSecret, Digest, Presented};
use store::{Batch, Change, ChangeKind, Fault, NewSecret, SessionsToClose, Statement};
use uuid::Uuid;

use crate::Answer;
use crate::admin::act::AdminAct;
use crate::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use crate::memory::live_sessions::close_sessions;

/// The record or secrets of an application changed.
pub(crate) const fn changed(application: ApplicationId) -> Change {
    Change { kind: ChangeKind::Register, subject: application.0 }
}

/// Maximum live secrets. More than replacing one after another needs.
const MAX_SECRETS: usize = 10;

pub(crate) fn new_secret(
    digest: Digest<ClientSecret>,
    label: &str,
    expires_at: Option<Timestamp>,
    moment: &mut Moment<'_>,
) -> Secret {
    Secret { id: moment.id().to_string(), label: label.to_owned(), digest, created_at: moment.now, expires_at }
}

/// 256 random bits cannot be guessed, so a fast digest is enough to store them.
pub fn draw_secret(moment: &mut Moment<'_>) -> Presented<ClientSecret> {
    Presented::new(URL_SAFE_NO_PAD.encode(moment.rng.secret()))
}

/// Whether nothing but `IsEnabled` differs. The order of scopes means nothing.
fn is_switch(before: &ApplicationRecord, after: &ApplicationRecord) -> bool {
    let sorted = |scope: &str| {
        let mut names: Vec<&str> = scope.split(' ').collect();
        names.sort_unstable();
        names.join(" ")
    };
    let switched = ApplicationRecord { is_enabled: !before.is_enabled, scope: sorted(&before.scope), ..before.clone() };
    switched == ApplicationRecord { scope: sorted(&after.scope), ..after.clone() }
}

impl AdminService<'_> {
    pub async fn applications(&self) -> Result<Vec<TrustedApplication>, Fault> {
        self.store.applications().await
    }

    pub async fn application(&self, uri: &str) -> Answer<TrustedApplication, AdminRefusal> {
        let unknown = || AdminRefusal::Unknown(format!("application {uri}"));
        let Ok(wanted) = uri.parse::<ClientId>() else { return Ok(Err(unknown())) };
        Ok(self.store.application_by_uri(&wanted).await?.ok_or_else(unknown))
    }

    pub async fn application_by_id(&self, id: ApplicationId) -> Answer<TrustedApplication, AdminRefusal> {
        Ok(self.store.application(id).await?.ok_or_else(|| AdminRefusal::Unknown(format!("application {id}"))))
    }

    /// The next applications after an `ApplicationUri`.
    pub async fn applications_after(&self, uri: &str, limit: u32) -> Result<Vec<TrustedApplication>, Fault> {
        self.store.applications_after(uri, limit).await
    }

    /// Validates a record without writing it. `current` is the record to be changed.
    pub async fn problems_of(
        &self,
        record: ApplicationRecord,
        current: Option<&TrustedApplication>,
        moment: &mut Moment<'_>,
    ) -> Result<Vec<String>, Fault> {
        let fixed = current.map(|current| current.fixed_in(&record)).unwrap_or_default();
        if !fixed.is_empty() {
            return Ok(fixed);
        }
        let system_user = match record.system_user {
            Some(user) => self.store.user(UserId(user)).await?,
            None => None,
        };
        let registration = current.map_or_else(
            || {
                // A new Confidential application gets its first secret on registration.
                let has_secret = record.client_type != RecordClientType::Public;
                let secret = has_secret.then(|| new_secret(draw_secret(moment).digest(), "first", None, moment));
                Registration::new(ApplicationId(Uuid::nil()), secret.into_iter().collect())
            },
            TrustedApplication::registration,
        );
        let taken = match current {
            None => self.application(&record.application_uri).await?.ok(),
            Some(_) => None,
        };
        let mut problems = record.check(registration, system_user.as_ref()).err().unwrap_or_default();
        problems.extend(taken.map(|taken| AdminRefusal::Taken(format!("application {}", taken.uri)).to_string()));
        Ok(problems)
    }
}

impl ElevatedAdminService<'_> {
    /// Creates the application. A Confidential one gets its first secret, which is returned once and stored as a
    /// digest.
    pub async fn create_application(
        &self,
        record: ApplicationRecord,
        secret: Option<&Presented<ClientSecret>>,
        moment: &mut Moment<'_>,
    ) -> Answer<(TrustedApplication, Vec<String>), AdminRefusal> {
        let id = ApplicationId(moment.id());
        let secrets: Vec<Secret> =
            secret.map(|secret| new_secret(secret.digest(), "first", None, moment)).into_iter().collect();
        let system_user = match record.system_user {
            Some(user) => self.store.user(UserId(user)).await?,
            None => None,
        };
        let registration = Registration::new(id, secrets.clone());
        let accepted = match record.check(registration, system_user.as_ref()) {
            Ok(accepted) => accepted,
            Err(problems) => return Ok(Err(AdminRefusal::Invalid(problems))),
        };
        let application = accepted.application;
        self.prepare_keys(application.own_algorithms(), moment).await?;
        let mut batch = Batch::new().with(self.store.insert_application(&application, moment.now));
        batch.extend(secrets.iter().map(|secret| self.insert_secret(id, secret, moment.now)));
        batch.push(self.events().plain(AdminAct::CreateApplication, application.uri.as_str(), moment));
        batch.announce(changed(application.id), moment.now);
        let taken = AdminRefusal::Taken(format!("application {}", application.uri));
        Ok(self.commit(batch, taken, moment).await?.map(|()| (application, accepted.warnings)))
    }

    /// Enables or disables the application. Disabling takes effect at once, also for tokens already issued.
    pub async fn set_application_enabled(
        &self,
        uri: &str,
        enabled: bool,
        moment: &mut Moment<'_>,
    ) -> Answer<TrustedApplication, AdminRefusal> {
        let application = match self.application(uri).await? {
            Ok(application) => application,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.switch_application(application, enabled, moment).await
    }

    /// `application` as it was read. Disabling takes effect at once, also for tokens already issued.
    pub(crate) async fn switch_application(
        &self,
        mut application: TrustedApplication,
        enabled: bool,
        moment: &mut Moment<'_>,
    ) -> Answer<TrustedApplication, AdminRefusal> {
        let ends_tokens = application.enabled && !enabled;
        if let Err(problems) = application.switch(enabled) {
            return Ok(Err(AdminRefusal::Invalid(problems)));
        }
        let act = if enabled { AdminAct::EnableApplication } else { AdminAct::DisableApplication };
        let mut batch = Batch::from(vec![
            self.store.update_application(&application, ends_tokens),
            self.events().plain(act, application.uri.as_str(), moment),
        ]);
        if ends_tokens {
            batch.append(self.removal_batch(&application, moment));
        } else {
            batch.announce(changed(application.id), moment.now);
        }
        let done = self.commit(batch, AdminRefusal::Overtaken, moment).await?;
        application.version += 1;
        application.epoch += i64::from(ends_tokens);
        Ok(done.map(|()| application))
    }

    /// `current` as it was read. Removed permissions end at once.
    pub async fn change_application(
        &self,
        current: &TrustedApplication,
        record: ApplicationRecord,
        moment: &mut Moment<'_>,
    ) -> Answer<(TrustedApplication, Vec<String>), AdminRefusal> {
        let before = current.to_record();
        let fixed = current.fixed_in(&record);
        if !fixed.is_empty() {
            return Ok(Err(AdminRefusal::Invalid(fixed)));
        }
        let system_user = match record.system_user {
            Some(user) => self.store.user(UserId(user)).await?,
            None => None,
        };
        let accepted = match record.check(current.registration(), system_user.as_ref()) {
            Ok(accepted) => accepted,
            Err(problems) => return Ok(Err(AdminRefusal::Invalid(problems))),
        };
        let mut application = accepted.application;
        let ends_tokens = current.outlived_by(&application);
        self.prepare_keys(application.own_algorithms(), moment).await?;
        let after = application.to_record();
        let uri = application.uri.as_str();
        let event = if is_switch(&before, &after) {
            let act = if after.is_enabled { AdminAct::EnableApplication } else { AdminAct::DisableApplication };
            self.events().plain(act, uri, moment)
        } else {
            self.events().change(AdminAct::ChangeApplication, uri, &before, &after, moment)
        };
        let mut batch = Batch::from(vec![self.store.update_application(&application, ends_tokens), event]);
        if ends_tokens {
            batch.append(self.removal_batch(&application, moment));
        } else {
            batch.announce(changed(application.id), moment.now);
        }
        let done = self.commit(batch, AdminRefusal::Overtaken, moment).await?;
        application.version += 1;
        application.epoch += i64::from(ends_tokens);
        Ok(done.map(|()| (application, accepted.warnings)))
    }

    /// Adds a secret beside the live ones, for replacing a secret without downtime.
    pub async fn add_secret(
        &self,
        uri: &str,
        what: (&str, Option<Timestamp>),
        moment: &mut Moment<'_>,
    ) -> Answer<Presented<ClientSecret>, AdminRefusal> {
        let application = match self.application(uri).await? {
            Ok(application) => application,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(self.add_secret_to(&application, what, moment).await?.map(|(_, shown)| shown))
    }

    /// `application` as it was read. The secret is returned once.
    pub async fn add_secret_to(
        &self,
        application: &TrustedApplication,
        (label, expires_at): (&str, Option<Timestamp>),
        moment: &mut Moment<'_>,
    ) -> Answer<(Secret, Presented<ClientSecret>), AdminRefusal> {
        let uri = application.uri.as_str();
        let mut problems = Vec::new();
        if !matches!(application.client_type, ClientType::Confidential { .. }) {
            problems.push(format!("{uri} is not a Confidential application, so it has no secrets"));
        }
        if application.secrets().len() >= MAX_SECRETS {
            problems.push(format!("{uri} already has {MAX_SECRETS} secrets; remove an unused one first"));
        }
        if !is_line(label, 100) {
            problems.push(format!("label: must be 1 to 100 characters {LINE_RULE}"));
        }
        if expires_at.is_some_and(|end| end < moment.now) {
            problems.push("the expiry is in the past".to_owned());
        }
        if !problems.is_empty() {
            return Ok(Err(AdminRefusal::Invalid(problems)));
        }
        let shown = draw_secret(moment);
        let secret = new_secret(shown.digest(), label.trim(), expires_at, moment);
        let mut batch = Batch::from(vec![
            self.store.touch_application(application),
            self.insert_secret(application.id, &secret, moment.now),
            self.secret_event(AdminAct::AddSecret, uri, &secret, moment),
        ]);
        batch.announce(changed(application.id), moment.now);
        Ok(self.commit(batch, AdminRefusal::Overtaken, moment).await?.map(|()| (secret, shown)))
    }

    /// `application` as it was read. Clients that still use the secret are refused from now on. The last secret cannot
    /// be removed.
    pub async fn remove_secret(
        &self,
        application: &TrustedApplication,
        id: &str,
        moment: &mut Moment<'_>,
    ) -> Answer<(), AdminRefusal> {
        let secrets = application.secrets();
        let Some(secret) = secrets.iter().find(|secret| secret.id == id) else {
            return Ok(Err(AdminRefusal::Unknown(format!("secret {id} of {}", application.uri))));
        };
        if secrets.len() == 1 {
            let problem = "the last secret cannot be removed; add a new one first".to_owned();
            return Ok(Err(AdminRefusal::Invalid(vec![problem])));
        }
        let mut batch = Batch::from(vec![
            self.store.touch_application(application),
            self.store.delete_secret(application.id, id),
            self.secret_event(AdminAct::RemoveSecret, application.uri.as_str(), secret, moment),
        ]);
        batch.announce(changed(application.id), moment.now);
        self.commit(batch, AdminRefusal::Overtaken, moment).await
    }

    pub(crate) fn insert_secret(&self, application: ApplicationId, secret: &Secret, now: Timestamp) -> Statement {
        let new = NewSecret {
            id: &secret.id,
            application,
            label: &secret.label,
            digest: secret.digest,
            expires_at: secret.expires_at,
        };
        self.store.insert_secret(&new, now)
    }

    /// Takes the application off the sessions under the seats' lock, so that no session can be opened through it
    /// meanwhile. The register changes first: a node that sees a session closed then issues no more tokens for the
    /// application.
    pub(crate) fn removal_batch(&self, application: &TrustedApplication, moment: &mut Moment<'_>) -> Batch {
        let mut leaving = Batch::from(vec![self.store.move_seats(), self.store.leave_api_sessions(application.id)]);
        leaving.announce(changed(application.id), moment.now);
        leaving.append(close_sessions(&self.store, SessionsToClose::Unused, CloseReason::ApplicationDisabled, moment));
        leaving
    }

    /// The event names the secret, never its value.
    fn secret_event(&self, act: AdminAct, uri: &str, secret: &Secret, moment: &mut Moment<'_>) -> Statement {
        let detail = serde_json::json!({
            "subject": uri, "secret": secret.id, "label": secret.label,
            "expires_at": secret.expires_at.map(Timestamp::seconds),
        });
        self.events().with(act, &detail, moment)
    }
}
