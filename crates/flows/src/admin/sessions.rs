//! API sessions: the live view, ending sessions, and the settings that govern them.

use std::collections::BTreeSet;
use std::time::Duration;

use model::seat::{CloseReason, SessionKey};
use model::{AfterLogout, ApiSessionId, InstanceSettings, Login, Moment, SessionId, Timestamp, User};
use store::{ApiSessionRow, Batch, Change, ChangeKind, SessionsToClose, Statement};

use crate::admin::act::AdminAct;
use crate::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use crate::memory::live_sessions::close_sessions;
use crate::{Answer, Fault};

/// The interval of [`AdminService::seats_over_the_day`]. It covers one day: closed sessions are kept for longer.
const QUARTER: Duration = Duration::from_mins(15);
const QUARTERS: u32 = 96;

/// The seats of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatsView {
    /// `None`: unlimited.
    pub seats: Option<u32>,
    pub used: u64,
    /// Number of accounts with a guaranteed seat.
    pub reserved: usize,
}

/// Selects the sessions to end.
#[derive(Clone, Copy, Debug)]
pub enum SessionSelector<'a> {
    One(ApiSessionId),
    OfUser(&'a str),
    /// By `ApplicationUri`.
    OfApplication(&'a str),
}

/// Settings, with the stored text that guards a change of them.
pub struct StoredSettings {
    pub settings: InstanceSettings,
    /// Settings that cannot be read, with the reasons. The most restrictive value applies instead.
    pub problems: Vec<String>,
    as_written: String,
    pub version: i64,
}

impl StoredSettings {
    fn new(settings: InstanceSettings, as_written: String) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, as_written.as_bytes());
        let head = digest.as_ref().first_chunk().expect("a SHA-256 digest has 32 bytes");
        let problems = InstanceSettings::restore(&as_written).problems.iter().map(ToString::to_string).collect();
        Self { settings, problems, as_written, version: i64::from_be_bytes(*head) }
    }
}

impl AdminService<'_> {
    /// The next live sessions after an id, newest first; optionally of one user.
    pub async fn sessions_before(
        &self,
        id: Option<ApiSessionId>,
        login: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApiSessionRow>, Fault> {
        let user = match login {
            None => None,
            Some(login) => match self.find_user(login).await? {
                Ok(user) => Some(user.id),
                Err(_) => return Ok(Vec::new()),
            },
        };
        self.store.live_api_sessions_before(id, user, limit).await
    }

    /// The seats, and the accounts with a guaranteed seat, each with whether it holds it now.
    pub async fn seats(&self) -> Result<(SeatsView, Vec<(Login, bool)>), Fault> {
        let settings = self.store.settings().await?;
        let reserved = settings.reserved_accounts();
        let seen = self.store.seats_seen(&[], settings.licences(&reserved)).await?;
        let seats = SeatsView { seats: seen.settings.seats, used: seen.live, reserved: reserved.len() };
        let holds = |login: Login| {
            let holds = seen.holders.contains(&login);
            (login, holds)
        };
        Ok((seats, reserved.into_iter().map(holds).collect()))
    }

    /// Seats taken over the last day, one value per quarter of an hour. The last value is the present one.
    pub async fn seats_over_the_day(&self, now: Timestamp) -> Result<Vec<(Timestamp, u64)>, Fault> {
        let since = now.minus(QUARTER * QUARTERS);
        let counts = self.store.seats_over(since, QUARTER, QUARTERS as usize).await?;
        Ok((1..=QUARTERS).map(|quarter| since.plus(QUARTER * quarter)).zip(counts).collect())
    }

    /// Ends sessions at once; their seats are free on return. If `after_logout` is `Refuse`, the user's sign-in ends
    /// with the session, so that its tokens cannot open another. Returns how many sessions ended.
    pub async fn end_sessions(
        &self,
        ending: SessionSelector<'_>,
        moment: &mut Moment<'_>,
    ) -> Answer<usize, AdminRefusal> {
        let (closing, subject) = match self.resolve_selector(ending).await? {
            Ok(meant) => meant,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let settings = self.store.settings().await?;
        let mut ended = 0;
        loop {
            // The next round closes sessions that are opened meanwhile.
            let sessions = self.store.live_api_sessions_of(closing).await?;
            if sessions.is_empty() {
                break;
            }
            ended += sessions.len();
            // The seats' row is locked first, as in every batch: a fixed lock order prevents deadlocks.
            let mut batch = Batch::new().with(self.store.move_seats());
            if settings.after_logout == AfterLogout::Refuse {
                let sign_ins: BTreeSet<SessionId> = sessions.iter().filter_map(|row| sign_in(&row.key)).collect();
                for sign_in in sign_ins {
                    batch.append(self.ending_sign_in(sign_in, moment));
                }
            }
            batch.push(self.events().plain(AdminAct::EndSessions, &subject, moment));
            batch.append(close_sessions(&self.store, closing, CloseReason::EndedByAdministrator, moment));
            if let Err(refusal) = self.commit(batch, AdminRefusal::Overtaken, moment).await? {
                return Ok(Err(refusal));
            }
        }
        match (ended, ending) {
            (0, SessionSelector::One(id)) => Ok(Err(AdminRefusal::Unknown(format!("live API session {id}")))),
            _ => Ok(Ok(ended)),
        }
    }

    async fn resolve_selector(&self, ending: SessionSelector<'_>) -> Answer<(SessionsToClose, String), AdminRefusal> {
        Ok(match ending {
            SessionSelector::One(id) => Ok((SessionsToClose::One(id), id.to_string())),
            SessionSelector::OfUser(login) => {
                let user: Result<User, _> = self.find_user(login).await?;
                user.map(|user| (SessionsToClose::OfUser(user.id), user.id.to_string()))
            }
            SessionSelector::OfApplication(uri) => {
                let application = self.application(uri).await?;
                application.map(|known| (SessionsToClose::UsedBy(known.id), known.uri.as_str().to_owned()))
            }
        })
    }

    fn ending_sign_in(&self, sign_in: SessionId, moment: &Moment<'_>) -> Batch {
        let change = Change { kind: ChangeKind::SessionEnded, subject: sign_in.0 };
        let mut ending = Batch::from(vec![
            self.store.end_identity_session(sign_in, moment.now),
            self.store.end_authorizations_of(sign_in, "ended_by_administrator", moment.now),
        ]);
        ending.announce(change, moment.now);
        ending
    }

    pub async fn settings(&self) -> Result<InstanceSettings, Fault> {
        self.store.settings().await
    }

    /// The settings as stored, with the text that distinguishes this version from any other.
    pub async fn settings_as_read(&self) -> Result<StoredSettings, Fault> {
        let (settings, as_written) = self.store.settings_as_written().await?;
        Ok(StoredSettings::new(settings, as_written))
    }
}

impl ElevatedAdminService<'_> {
    /// `current` as it was read. Every node applies the change within a second, and at once when it opens a session.
    pub async fn change_settings(
        &self,
        current: &StoredSettings,
        patch: serde_json::Map<String, serde_json::Value>,
        moment: &mut Moment<'_>,
    ) -> Answer<StoredSettings, AdminRefusal> {
        let changed = match current.settings.patched(patch) {
            Ok(changed) => changed,
            Err(problems) => return Ok(Err(AdminRefusal::Invalid(problems))),
        };
        let told = (self.settings_json(&current.settings).await?, self.settings_json(&changed).await?);
        let event = self.events().change(AdminAct::ChangeSettings, "settings", &told.0, &told.1, moment);
        match self.write_settings(current, &changed, event, moment).await? {
            Ok(()) => self.settings_as_read().await.map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

impl ElevatedAdminService<'_> {
    async fn write_settings(
        &self,
        current: &StoredSettings,
        changed: &InstanceSettings,
        event: Statement,
        moment: &mut Moment<'_>,
    ) -> Answer<(), AdminRefusal> {
        self.prepare_keys([changed.access_token_algorithm, changed.id_token_algorithm], moment).await?;
        let mut batch =
            Batch::from(vec![self.store.move_seats(), self.store.update_settings(changed, &current.as_written), event]);
        if current.settings.legacy_schemes && !changed.legacy_schemes {
            batch.append(close_sessions(
                &self.store,
                SessionsToClose::OfLegacySchemes,
                CloseReason::LegacySwitchedOff,
                moment,
            ));
        }
        let change = Change { kind: ChangeKind::Settings, subject: self.store.instance().0 };
        batch.announce(change, moment.now);
        self.commit(batch, AdminRefusal::Overtaken, moment).await
    }

    /// Settings for the audit, with user ids instead of logins.
    async fn settings_json(&self, settings: &InstanceSettings) -> Result<serde_json::Value, Fault> {
        let mut accounts = Vec::new();
        for login in settings.reserved_accounts() {
            let known = self.store.user_by_login(&login).await?;
            accounts.push(known.map_or_else(|| "nobody yet".to_owned(), |(user, _)| user.id.to_string()));
        }
        let mut told = serde_json::to_value(settings).expect("settings are strings and numbers");
        told["reserved_seats"] = serde_json::json!(accounts);
        Ok(told)
    }
}

fn sign_in(key: &SessionKey) -> Option<SessionId> {
    match key {
        SessionKey::SignIn(sign_in) => Some(*sign_in),
        SessionKey::Service(_) | SessionKey::Reference(_) | SessionKey::Basic(..) | SessionKey::ErpLogin(..) => None,
    }
}
