//! Erasing a user: removes identifying data, and keeps the record of the user's actions.

use model::seat::CloseReason;
use model::{InstanceSettings, Moment, User, UserId};
use store::{Batch, Change, ChangeKind, SessionsToClose};

use crate::admin::act::AdminAct;
use crate::admin::{AdminRefusal, ElevatedAdminService};
use crate::memory::live_sessions::close_sessions;
use crate::{Answer, Fault};

impl ElevatedAdminService<'_> {
    /// Ends everything of the user, and erases identifying data: name, login, address, password, and everything in the
    /// audit that is encrypted under the user's key, sealed or waiting. The login is never given out again. The user's
    /// actions stay in the audit, under the user's id.
    pub async fn erase_user(&self, login: &str, moment: &mut Moment<'_>) -> Answer<UserId, AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(application) = self.acting_as(user.id).await? {
            let problem = format!("application {application} acts as {login}: give it another System User first");
            return Ok(Err(AdminRefusal::Invalid(vec![problem])));
        }
        // The seats' row is locked first, as in every batch.
        let mut batch = Batch::new().with(self.store.move_seats());
        batch.append(self.giving_up_seat(&user, moment).await?);
        batch.extend(self.store.erase_user(&user, moment.now));
        batch.push(self.events().of(AdminAct::EraseUser, user.id, moment));
        batch.append(close_sessions(&self.store, SessionsToClose::OfUser(user.id), CloseReason::UserErased, moment));
        batch.announce(Change { kind: ChangeKind::User, subject: user.id.0 }, moment.now);
        Ok(self.commit(batch, AdminRefusal::Overtaken, moment).await?.map(|()| user.id))
    }

    /// Removes the user from the accounts with a guaranteed seat, which the settings name by login.
    async fn giving_up_seat(&self, user: &User, moment: &Moment<'_>) -> Result<Batch, Fault> {
        let (settings, as_written) = self.store.settings_as_written().await?;
        let is_theirs = |login: &String| login.eq_ignore_ascii_case(user.login.as_str());
        if !settings.reserved_seats.iter().any(is_theirs) {
            return Ok(Batch::new());
        }
        let reserved_seats = settings.reserved_seats.iter().filter(|login| !is_theirs(login)).cloned().collect();
        let changed = InstanceSettings { reserved_seats, ..settings };
        let change = Change { kind: ChangeKind::Settings, subject: self.store.instance().0 };
        let mut batch = Batch::new().with(self.store.update_settings(&changed, &as_written));
        batch.announce(change, moment.now);
        Ok(batch)
    }

    /// The application that acts as this user, if any.
    async fn acting_as(&self, user: UserId) -> Result<Option<String>, Fault> {
        let applications = self.store.applications().await?;
        let acts = |application: &&model::TrustedApplication| application.to_record().system_user == Some(user.0);
        Ok(applications.iter().find(acts).map(|application| application.uri.as_str().to_owned()))
    }
}
