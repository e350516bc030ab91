//! Administration of users.

use model::audit::AuditEvent;
use model::user::{OWN_SWITCH, Password, PasswordHash, PersonRecord, person_problems};
use model::{Email, Login, Moment, User, UserId, UserType};
use oauth::secret::Presented;
use serde_json::json;
use store::{Batch, Fault, NewUser, Statement, UserRow};

use crate::admin::act::AdminAct;
use crate::admin::events::admin_event;
use crate::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use crate::auth::passwords::AcceptedPassword;
use crate::auth::strength::Weakness;
use crate::memory::live_sessions::ending_user;
use crate::{Answer, Passwords};

/// Attributes of a new user or service account.
pub struct UserDraft<'a> {
    pub login: &'a str,
    pub user_type: UserType,
    pub is_admin: bool,
    pub name: &'a str,
    pub email: Option<Email>,
    pub role: Option<&'a str>,
    pub enabled: bool,
}

/// Parses a login that an administrator entered.
pub fn parse_login(text: &str) -> Result<Login, AdminRefusal> {
    Login::parse(text).ok_or_else(|| {
        let problem = "login: must be 1 to 128 printable ASCII characters without spaces at the ends".to_owned();
        AdminRefusal::Invalid(vec![problem])
    })
}

impl AdminService<'_> {
    pub(crate) async fn find_user(&self, login: &str) -> Answer<User, AdminRefusal> {
        Ok(self.find_user_with_password(login).await?.map(|(user, _)| user))
    }

    /// The user, and whether a password is set.
    pub(crate) async fn find_user_with_password(&self, login: &str) -> Answer<(User, bool), AdminRefusal> {
        let unknown = || AdminRefusal::Unknown(format!("user {login}"));
        let Some(parsed) = Login::typed(login) else { return Ok(Err(unknown())) };
        let found = self.store.user_by_login(&parsed).await?;
        Ok(found.map(|(user, hash)| (user, hash.is_some())).ok_or_else(unknown))
    }

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
}

impl ElevatedAdminService<'_> {
    /// Creates a user without a password. Users choose theirs with a link.
    pub async fn create_user(&self, draft: UserDraft<'_>, moment: &mut Moment<'_>) -> Answer<UserId, AdminRefusal> {
        self.create_user_with(draft, None, moment).await
    }

    /// With a precomputed hash, so that many users can be hashed in parallel.
    pub async fn create_user_with(
        &self,
        draft: UserDraft<'_>,
        hash: Option<&PasswordHash>,
        moment: &mut Moment<'_>,
    ) -> Answer<UserId, AdminRefusal> {
        let login = match parse_login(draft.login) {
            Ok(login) => login,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut problems = model::user::person_problems(draft.name, draft.email.as_ref());
        problems.extend(draft.user_type.admin_problem(draft.is_admin));
        if !problems.is_empty() {
            return Ok(Err(AdminRefusal::Invalid(problems)));
        }
        if let Some(role) = draft.role
            && !self.store.has_role(role).await?
        {
            return Ok(Err(AdminRefusal::Unknown(format!("role {role}"))));
        }
        let id = UserId(moment.id());
        let user = NewUser {
            id,
            login: &login,
            user_type: draft.user_type,
            is_admin: draft.is_admin,
            enabled: draft.enabled,
            name: draft.name,
            email: draft.email,
            role: draft.role,
            password: hash,
        };
        let mut batch = Batch::new();
        batch.extend(draft.role.map(|role| self.store.hold_role(role)));
        batch.push(self.store.insert_user(&user, moment.now));
        batch.push(self.events().about(AdminAct::CreateUser, id, &login, moment));
        Ok(self.commit(batch, AdminRefusal::Taken(format!("user {login}")), moment).await?.map(|()| id))
    }

    /// Ends every sign-in and token of the user. Returns the user, who is then sent a letter.
    pub async fn set_password(
        &self,
        passwords: &Passwords,
        login: &str,
        password: &Presented<Password>,
        moment: &mut Moment<'_>,
    ) -> Answer<User, AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match passwords.accept(password, &user).await? {
            Ok(accepted) => self.put_password(passwords, user, accepted, moment).await,
            Err(weakness) => Ok(Err(weakness.into())),
        }
    }

    /// As [`Self::set_password`], but accepts a password that breaks the rule. Returns the weakness too.
    pub async fn set_weak_password(
        &self,
        passwords: &Passwords,
        login: &str,
        password: &Presented<Password>,
        moment: &mut Moment<'_>,
    ) -> Answer<(User, Option<Weakness>), AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match passwords.accept_weak(password, &user).await? {
            Ok((accepted, overridden)) => {
                Ok(self.put_password(passwords, user, accepted, moment).await?.map(|user| (user, overridden)))
            }
            Err(limit) => Ok(Err(limit.into())),
        }
    }

    async fn put_password(
        &self,
        passwords: &Passwords,
        user: User,
        password: AcceptedPassword,
        moment: &mut Moment<'_>,
    ) -> Answer<User, AdminRefusal> {
        let mut salt = [0; 16];
        moment.rng.fill(&mut salt);
        let hash = passwords.hash(password, salt).await?;
        let mut batch = Batch::from(vec![
            self.store.set_password(&user, &hash, moment.now),
            self.events().about(AdminAct::SetPassword, user.id, &user.login, moment),
        ]);
        batch.append(ending_user(&self.store, user.id, moment));
        Ok(self.commit(batch, AdminRefusal::Overtaken, moment).await?.map(|()| user))
    }

    /// `current` as it was read. Removed permissions end at once. A change of nothing but `isActive` is a
    /// [`Self::switch_user`].
    pub async fn change_user(
        &self,
        current: &UserRow,
        record: PersonRecord,
        moment: &mut Moment<'_>,
    ) -> Answer<UserRow, AdminRefusal> {
        let before = PersonRecord::of(&current.user, current.role.as_deref());
        if (PersonRecord { is_active: !before.is_active, ..before.clone() }) == record {
            return self.switch_user(current, record.is_active, moment).await;
        }
        let mut problems = person_problems(&record.name, record.to_email().as_ref());
        problems.extend(record.problems(&before, self.is_own(current)));
        problems.extend(current.user.user_type.admin_problem(record.is_admin));
        if let Some(role) = &record.role
            && !self.store.has_role(role).await?
        {
            problems.push(format!("role: {role} not found"));
        }
        if !problems.is_empty() {
            return Ok(Err(AdminRefusal::Invalid(problems)));
        }
        let event = self.change_of_user(&current.user, (&before, &record), moment);
        self.write_user(current, &record, event, moment).await
    }

    /// `current` as it was read. Enables or disables a user, whatever else is wrong with the record. Disabling ends
    /// all their sign-ins and tokens at once.
    pub async fn switch_user(
        &self,
        current: &UserRow,
        is_active: bool,
        moment: &mut Moment<'_>,
    ) -> Answer<UserRow, AdminRefusal> {
        let before = PersonRecord::of(&current.user, current.role.as_deref());
        let record = PersonRecord { is_active, ..before };
        if self.is_own(current) && !is_active {
            return Ok(Err(AdminRefusal::Invalid(vec![OWN_SWITCH.to_owned()])));
        }
        let act = if is_active { AdminAct::EnableUser } else { AdminAct::DisableUser };
        let event = self.events().about(act, current.user.id, &current.user.login, moment);
        self.write_user(current, &record, event, moment).await
    }

    fn is_own(&self, user: &UserRow) -> bool {
        self.administrator.user() == Some(user.user.id)
    }

    async fn write_user(
        &self,
        current: &UserRow,
        record: &PersonRecord,
        event: Statement,
        moment: &mut Moment<'_>,
    ) -> Answer<UserRow, AdminRefusal> {
        let ends_tokens = PersonRecord::of(&current.user, current.role.as_deref()).outlived_by(record);
        let mut changed = current.clone();
        changed.role.clone_from(&record.role);
        record.put_into(&mut changed.user);
        let mut batch = Batch::new();
        batch.extend(record.role.as_deref().map(|role| self.store.hold_role(role)));
        batch.push(self.store.update_user(&changed, ends_tokens, moment.now));
        batch.push(event);
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

    /// An event with the permissions before and after. Of identifying attributes, it only says that they changed.
    fn change_of_user(
        &self,
        user: &User,
        (before, after): (&PersonRecord, &PersonRecord),
        moment: &mut Moment<'_>,
    ) -> Statement {
        let told = PersonRecord::change_told(before, after);
        let detail = json!({ "subject": user.id.to_string(), "before": told.0, "after": told.1 });
        let event = admin_event(AdminAct::ChangeUser, &detail, moment).user(user.id);
        let login = Some(user.login.as_str().to_owned());
        self.events().statement(&AuditEvent { login, ..event }, moment)
    }
}
