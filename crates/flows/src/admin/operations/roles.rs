//! Operations on roles: what users may do on the APIs.

use model::entities::Permissions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::Role;

use crate::Answer;
use crate::admin::AdminRefusal;
use crate::admin::act::AdminAct;
use crate::admin::operations::{
    AdminOperation, AnySignIn, ExpectedVersion, ListPage, OperationContext, OperationEntry, RecentSignIn, granted,
};

pub(super) const OPERATIONS: &[OperationEntry] = &[
    OperationEntry::of::<ListRoles>(),
    OperationEntry::of::<CreateRole>(),
    OperationEntry::of::<GetRole>(),
    OperationEntry::of::<ReplaceRole>(),
    OperationEntry::of::<DeleteRole>(),
];

/// A role and its permissions.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Role")]
pub struct RoleEntry {
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    pub permissions: Permissions,
    #[serde(skip)]
    pub version: i64,
}

impl From<Role> for RoleEntry {
    fn from(role: Role) -> Self {
        Self { name: role.name, permissions: role.permissions, version: role.version }
    }
}

/// The next roles after a name.
pub struct RoleQuery {
    pub after: String,
    pub limit: u32,
}

pub struct ListRoles;

impl AdminOperation for ListRoles {
    const NAME: &'static str = "listRoles";
    const SUMMARY: &'static str = "List roles";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = RoleQuery;
    type Output = ListPage<RoleEntry>;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        RoleQuery { after, limit }: RoleQuery,
    ) -> Answer<ListPage<RoleEntry>, AdminRefusal> {
        let rows = context.service.roles_after(&after, limit + 1).await?;
        Ok(Ok(ListPage::of(rows, limit, |role| role.name.clone(), RoleEntry::from)))
    }
}

pub struct CreateRole;

impl AdminOperation for CreateRole {
    const NAME: &'static str = "createRole";
    const SUMMARY: &'static str = "Create a role";
    const ACTS: &'static [AdminAct] = &[AdminAct::CreateRole];
    type Authority = RecentSignIn;
    type Input = RoleEntry;
    type Output = RoleEntry;

    async fn run(context: &mut OperationContext<'_, RecentSignIn>, role: RoleEntry) -> Answer<RoleEntry, AdminRefusal> {
        let created = context.service.create_role(&role.name, &role.permissions, &mut context.moment).await?;
        Ok(created.map(|()| RoleEntry { version: 1, ..role }))
    }
}

/// By name.
pub struct GetRole;

impl AdminOperation for GetRole {
    const NAME: &'static str = "getRole";
    const SUMMARY: &'static str = "Get a role";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = String;
    type Output = RoleEntry;

    async fn run(context: &mut OperationContext<'_, AnySignIn>, name: String) -> Answer<RoleEntry, AdminRefusal> {
        Ok(context.service.role(&name).await?.map(RoleEntry::from))
    }
}

/// New permissions of a role.
pub struct RoleChange {
    pub name: String,
    pub expected: ExpectedVersion,
    pub permissions: Permissions,
}

pub struct ReplaceRole;

impl AdminOperation for ReplaceRole {
    const NAME: &'static str = "replaceRole";
    const SUMMARY: &'static str = "Replace a role's permissions";
    const ACTS: &'static [AdminAct] = &[AdminAct::ChangeRole];
    type Authority = RecentSignIn;
    type Input = RoleChange;
    type Output = RoleEntry;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        RoleChange { name, expected, permissions }: RoleChange,
    ) -> Answer<RoleEntry, AdminRefusal> {
        let current = granted!(context.service.role(&name).await?);
        granted!(expected.check(current.version));
        let changed = context.service.change_role(&current, permissions, &mut context.moment).await?;
        Ok(changed.map(RoleEntry::from))
    }
}

/// A role to delete.
pub struct RoleDeletion {
    pub name: String,
    pub expected: ExpectedVersion,
}

pub struct DeleteRole;

impl AdminOperation for DeleteRole {
    const NAME: &'static str = "deleteRole";
    const SUMMARY: &'static str = "Delete a role. Fails while a user has it";
    const ACTS: &'static [AdminAct] = &[AdminAct::DeleteRole];
    type Authority = RecentSignIn;
    type Input = RoleDeletion;
    type Output = ();

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        RoleDeletion { name, expected }: RoleDeletion,
    ) -> Answer<(), AdminRefusal> {
        let current = granted!(context.service.role(&name).await?);
        granted!(expected.check(current.version));
        context.service.delete_role(&current, &mut context.moment).await
    }
}
