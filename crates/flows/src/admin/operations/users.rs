//! Operations on users and service accounts.

use model::mail::Letter;
use model::user::{Password, PersonRecord};
use model::{Email, Timestamp, UserId, UserType};
use oauth::secret::Presented;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::UserRow;
use uuid::Uuid;

use crate::Answer;
use crate::admin::act::AdminAct;
use crate::admin::merge_patch::MergePatch;
use crate::admin::operations::{
    AdminOperation, AnySignIn, Delivery, ExpectedVersion, ListPage, OperationContext, OperationEntry, RecentSignIn,
    Time, granted,
};
use crate::admin::{AdminRefusal, UserDraft, parse_login};
use crate::auth::links::{HandedOver, IssuedLink};

pub(super) const OPERATIONS: &[OperationEntry] = &[
    OperationEntry::of::<ListUsers>(),
    OperationEntry::of::<CreateUser>(),
    OperationEntry::of::<GetUser>(),
    OperationEntry::of::<PatchUser>(),
    OperationEntry::of::<SetPassword>(),
    OperationEntry::of::<ResetSecondFactor>(),
    OperationEntry::of::<InviteUser>(),
    OperationEntry::of::<ResetPassword>(),
    OperationEntry::of::<CreateSetUpLink>(),
    OperationEntry::of::<EraseUser>(),
];

/// A user.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserEntry {
    pub id: Uuid,
    pub login: String,
    pub user_type: UserType,
    pub has_password: bool,
    pub has_second_factor: bool,
    pub updated_at: Time,
    /// Why the stored record is invalid. The user is treated as disabled until it is corrected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    #[serde(flatten)]
    pub record: PersonRecord,
    #[serde(skip)]
    pub version: i64,
}

impl From<UserRow> for UserEntry {
    fn from(row: UserRow) -> Self {
        Self {
            record: PersonRecord::of(&row.user, row.role.as_deref()),
            id: row.user.id.0,
            login: row.user.login.as_str().to_owned(),
            user_type: row.user.user_type,
            has_password: row.has_password,
            has_second_factor: row.user.has_second_factor,
            updated_at: row.user.updated_at.into(),
            problems: row.user.problems,
            version: row.version,
        }
    }
}

/// The next users after a folded login, or the one with a login.
pub struct UserQuery {
    /// Not case-sensitive.
    pub login: Option<String>,
    pub after: String,
    pub limit: u32,
}

pub struct ListUsers;

impl AdminOperation for ListUsers {
    const NAME: &'static str = "listUsers";
    const SUMMARY: &'static str = "List users";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = UserQuery;
    type Output = ListPage<UserEntry>;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        query: UserQuery,
    ) -> Answer<ListPage<UserEntry>, AdminRefusal> {
        let rows = match query.login.as_deref() {
            Some(login) => context.service.user_by_name(login).await?.into_iter().collect(),
            None => context.service.users_after(&query.after, query.limit + 1).await?,
        };
        Ok(Ok(ListPage::of(rows, query.limit, |row| row.user.login.folded(), UserEntry::from)))
    }
}

/// A user to create.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NewUser")]
pub struct NewUserRequest {
    /// 1 to 128 printable ASCII characters, no spaces at the ends. Cannot be changed or reused.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[!-~]([ -~]*[!-~])?$"))]
    pub login: String,
    pub user_type: UserType,
    /// Display name. Defaults to the login.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub name: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub is_admin: bool,
    #[serde(default)]
    pub role: Option<String>,
    #[serde(default = "yes")]
    pub is_active: bool,
}

const fn yes() -> bool {
    true
}

pub struct CreateUser;

impl AdminOperation for CreateUser {
    const NAME: &'static str = "createUser";
    const SUMMARY: &'static str = "Create a user";
    const ACTS: &'static [AdminAct] = &[AdminAct::CreateUser];
    type Authority = RecentSignIn;
    type Input = NewUserRequest;
    type Output = UserEntry;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        new: NewUserRequest,
    ) -> Answer<UserEntry, AdminRefusal> {
        granted!(parse_login(&new.login));
        let draft = UserDraft {
            login: &new.login,
            user_type: new.user_type,
            is_admin: new.is_admin,
            name: new.name.as_deref().unwrap_or(&new.login),
            email: new.email.map(|address| Email { address, verified: false }),
            role: new.role.as_deref(),
            enabled: new.is_active,
        };
        let created = context.service.create_user(draft, &mut context.moment).await?;
        let id = granted!(created.map_err(AdminRefusal::of_a_member));
        Ok(context.service.user_by_id(id).await?.map(UserEntry::from))
    }
}

pub struct GetUser;

impl AdminOperation for GetUser {
    const NAME: &'static str = "getUser";
    const SUMMARY: &'static str = "Get a user";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = UserId;
    type Output = UserEntry;

    async fn run(context: &mut OperationContext<'_, AnySignIn>, id: UserId) -> Answer<UserEntry, AdminRefusal> {
        Ok(context.service.user_by_id(id).await?.map(UserEntry::from))
    }
}

/// A change of a user.
pub struct UserChange {
    pub id: UserId,
    pub expected: ExpectedVersion,
    pub changes: MergePatch<PersonRecord>,
}

pub struct PatchUser;

impl AdminOperation for PatchUser {
    const NAME: &'static str = "patchUser";
    const SUMMARY: &'static str = "Update a user. Only the given members change";
    const ACTS: &'static [AdminAct] = &[AdminAct::ChangeUser, AdminAct::EnableUser, AdminAct::DisableUser];
    type Authority = RecentSignIn;
    type Input = UserChange;
    type Output = UserEntry;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        UserChange { id, expected, changes }: UserChange,
    ) -> Answer<UserEntry, AdminRefusal> {
        let current = granted!(context.service.user_by_id(id).await?);
        granted!(expected.check(current.version));
        if let Some(is_active) = changes.only_flag("isActive") {
            let switched = context.service.switch_user(&current, is_active, &mut context.moment).await?;
            return Ok(switched.map(UserEntry::from));
        }
        let before = PersonRecord::of(&current.user, current.role.as_deref());
        let says_verified = changes.mentions("emailVerified");
        let mut record = granted!(changes.apply(&before));
        // What was verified was the other address.
        record.email_verified &= says_verified || record.email == before.email;
        Ok(context.service.change_user(&current, record, &mut context.moment).await?.map(UserEntry::from))
    }
}

/// A password for a user.
pub struct PasswordOf {
    pub id: UserId,
    pub password: Presented<Password>,
}

pub struct SetPassword;

impl AdminOperation for SetPassword {
    const NAME: &'static str = "setPassword";
    const SUMMARY: &'static str =
        "Set a user's password. Ends all sign-ins and revokes the user's access and refresh tokens";
    const ACTS: &'static [AdminAct] = &[AdminAct::SetPassword];
    type Authority = RecentSignIn;
    type Input = PasswordOf;
    type Output = ();

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        PasswordOf { id, password }: PasswordOf,
    ) -> Answer<(), AdminRefusal> {
        let login = granted!(context.service.user_by_id(id).await?).user.login;
        let set =
            context.service.set_password(context.passwords, login.as_str(), &password, &mut context.moment).await?;
        let user = granted!(set);
        if let Delivery::Mail { mail, .. } = &context.delivery {
            mail.write_to(&user, Letter::password_changed);
        }
        Ok(Ok(()))
    }
}

pub struct ResetSecondFactor;

impl AdminOperation for ResetSecondFactor {
    const NAME: &'static str = "resetSecondFactor";
    const SUMMARY: &'static str = "Reset two-step sign-in: removes authenticator app, passkeys and recovery codes, ends all sign-ins, and revokes access and refresh tokens";
    const ACTS: &'static [AdminAct] = &[AdminAct::ResetSecondFactor];
    type Authority = RecentSignIn;
    type Input = UserId;
    type Output = ();

    /// A missing second factor is no refusal, because DELETE is idempotent.
    async fn run(context: &mut OperationContext<'_, RecentSignIn>, id: UserId) -> Answer<(), AdminRefusal> {
        let user = granted!(context.service.user_by_id(id).await?).user;
        if !user.has_second_factor {
            return Ok(Ok(()));
        }
        context.service.reset_second_factor(user.login.as_str(), &mut context.moment).await
    }
}

/// A one-time link, either e-mailed to the user or returned.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Link")]
pub struct UserLink {
    /// The address the link was e-mailed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailed_to: Option<String>,
    /// The link, if it was not e-mailed. Give it to the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub expires_at: Time,
    #[serde(skip)]
    pub issued: IssuedLink,
}

impl UserLink {
    fn handed_over(issued: IssuedLink, delivery: &Delivery<'_>, now: Timestamp) -> Self {
        let (mailed_to, url) = match delivery.hand_over(&issued) {
            HandedOver::Mailed(address) => (Some(address.as_str().to_owned()), None),
            HandedOver::Shown(url) => (None, Some(url)),
        };
        Self { mailed_to, url, expires_at: now.plus(issued.life.span()).into(), issued }
    }
}

pub struct InviteUser;

impl AdminOperation for InviteUser {
    const NAME: &'static str = "inviteUser";
    const SUMMARY: &'static str = "Invite a user: create a one-time link to choose the first password";
    const ACTS: &'static [AdminAct] = &[AdminAct::CreateSetUpLink];
    type Authority = RecentSignIn;
    type Input = UserId;
    type Output = UserLink;

    async fn run(context: &mut OperationContext<'_, RecentSignIn>, id: UserId) -> Answer<UserLink, AdminRefusal> {
        let login = granted!(context.service.user_by_id(id).await?).user.login;
        granted!(context.delivery.check());
        let link = context.service.invite(login.as_str(), &mut context.moment).await?;
        Ok(link.map(|link| UserLink::handed_over(link, &context.delivery, context.moment.now)))
    }
}

pub struct ResetPassword;

impl AdminOperation for ResetPassword {
    const NAME: &'static str = "resetPassword";
    const SUMMARY: &'static str = "Create a one-time password reset link";
    const ACTS: &'static [AdminAct] = &[AdminAct::CreateResetLink];
    type Authority = RecentSignIn;
    type Input = UserId;
    type Output = UserLink;

    async fn run(context: &mut OperationContext<'_, RecentSignIn>, id: UserId) -> Answer<UserLink, AdminRefusal> {
        let login = granted!(context.service.user_by_id(id).await?).user.login;
        granted!(context.delivery.check());
        let link = context.service.reset_link(login.as_str(), &mut context.moment).await?;
        Ok(link.map(|link| UserLink::handed_over(link, &context.delivery, context.moment.now)))
    }
}

/// As [`InviteUser`], with a shorter lifetime: the operator hands the link over.
pub struct CreateSetUpLink;

impl AdminOperation for CreateSetUpLink {
    const NAME: &'static str = "createSetUpLink";
    const SUMMARY: &'static str = "Create a one-time link to choose the first password, to be handed over";
    const ACTS: &'static [AdminAct] = &[AdminAct::CreateSetUpLink];
    type Authority = RecentSignIn;
    type Input = UserId;
    type Output = UserLink;

    async fn run(context: &mut OperationContext<'_, RecentSignIn>, id: UserId) -> Answer<UserLink, AdminRefusal> {
        let login = granted!(context.service.user_by_id(id).await?).user.login;
        granted!(context.delivery.check());
        let link = context.service.set_up_link(login.as_str(), &mut context.moment).await?;
        Ok(link.map(|link| UserLink::handed_over(link, &context.delivery, context.moment.now)))
    }
}

/// The id of an erased user. The audit keeps it.
#[derive(Serialize, JsonSchema)]
pub struct ErasedUser {
    pub id: Uuid,
}

pub struct EraseUser;

impl AdminOperation for EraseUser {
    const NAME: &'static str = "eraseUser";
    const SUMMARY: &'static str = "Erase a user permanently: account, personal data, and identifying data in the audit";
    const ACTS: &'static [AdminAct] = &[AdminAct::EraseUser];
    type Authority = RecentSignIn;
    type Input = UserId;
    type Output = ErasedUser;

    async fn run(context: &mut OperationContext<'_, RecentSignIn>, id: UserId) -> Answer<ErasedUser, AdminRefusal> {
        let login = granted!(context.service.user_by_id(id).await?).user.login;
        let erased = context.service.erase_user(login.as_str(), &mut context.moment).await?;
        Ok(erased.map(|id| ErasedUser { id: id.0 }))
    }
}
