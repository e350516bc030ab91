//! Administration of users.

use model::user::{PersonRecord, person_problems};
use model::{Moment, User, UserId};
use store::{Batch, Fault, Statement, UserRow};

use crate::Answer;
use crate::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use crate::memory::live_sessions::ending_user;

impl AdminService<'_> {
    pub async fn user_by_id(&self, id: UserId) -> Answer<UserRow, AdminRefusal> {
        Ok(self.store.user_row(id).await?.ok_or_else(|| AdminRefusal::Unknown(format!("user {id}"))))
    }

    /// The user with this login, case-insensitive.
    pub async fn user_by_name(&self, login: &str) -> Answer<UserRow, AdminRefusal> {
        match self.find_user(login).await? {
            Ok(user) => self.user_by_id(user.id).await,
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// The next users after a folded login.
    pub async fn users_after(&self, login: &str, limit: u32) -> Result<Vec<UserRow>, Fault> {
        self.store.users_after(login, limit).await
    }

    /// An event with the permissions before and after. Of identifying attributes, it only says that they changed.
    fn change_of_user(
        &self,
        user: &User,
        before: &PersonRecord,
        after: &PersonRecord,
        moment: &mut Moment<'_>,
    ) -> Statement {
        let (before, after) = PersonRecord::change_told(before, after);
        let mut event = Self::user_event("change-user", user.id, Some(&user.login), moment);
        event.detail = Some(
            serde_json::json!({
                "what": "change-user", "subject": user.id.to_string(), "before": before, "after": after,
            })
            .to_string(),
        );
        self.event_statement(&event, moment)
    }
}

impl ElevatedAdminService<'_> {
    /// `current` as it was read. Removed permissions end at once. `own` is the user that the administrator acts as.
    pub async fn change_user(
        &self,
        current: &UserRow,
        record: PersonRecord,
        own: Option<UserId>,
        moment: &mut Moment<'_>,
    ) -> Answer<UserRow, AdminRefusal> {
        let before = PersonRecord::of(&current.user, current.role.as_deref());
        let mut problems = person_problems(&record.name, record.to_email().as_ref());
        problems.extend(record.problems(&before, own == Some(current.user.id)));
        problems.extend(current.user.user_type.admin_problem(record.is_admin));
        if let Some(role) = &record.role
            && !self.store.has_role(role).await?
        {
            problems.push(format!("role: {role} not found"));
        }
        if !problems.is_empty() {
            return Ok(Err(AdminRefusal::Invalid(problems)));
        }
        let ends_tokens = before.outlived_by(&record);
        let mut changed = current.clone();
        changed.role.clone_from(&record.role);
        record.put_into(&mut changed.user);
        let mut batch = Batch::new();
        batch.extend(record.role.as_deref().map(|role| self.store.hold_role(role)));
        batch.push(self.store.update_user(&changed, ends_tokens, moment.now));
        batch.push(self.change_of_user(&current.user, &before, &record, moment));
        if ends_tokens {
            batch.append(ending_user(&self.store, current.user.id, moment));
        } else {
            let change = store::Change { kind: store::ChangeKind::User, subject: current.user.id.0 };
            batch.announce(change, moment.now);
        }
        let done = self.commit(batch, AdminRefusal::Overtaken, moment).await?;
        changed.version += 1;
        changed.user.epoch += i64::from(ends_tokens);
        changed.user.updated_at = moment.now;
        Ok(done.map(|()| changed))
    }
}
