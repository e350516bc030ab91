//! `/roles`: what users may do on the APIs.

use flows::admin::operations::ExpectedVersion;
use flows::admin::operations::ListPage;
use http::Method;
use model::entities::Permissions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin_api::input::{JsonBody, ListRange, NameParam, QueryParams};
use crate::admin_api::operation::{AdminCall, ElevatedAdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::{Created, NoContent, PlainBody, Versioned};

pub(super) fn operations() -> Vec<Operation> {
    const ONE: &str = "/roles/{name}";
    vec![
        operation(Method::GET, "/roles", "listRoles", "List roles", list),
        operation(Method::POST, "/roles", "createRole", "Create a role", create),
        operation(Method::GET, ONE, "getRole", "Get a role", get),
        operation(Method::PUT, ONE, "replaceRole", "Replace a role's permissions", replace),
        operation(Method::DELETE, ONE, "deleteRole", "Delete a role. Fails while a user has it", delete),
    ]
}

/// A role and its permissions.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Role {
    #[schemars(length(min = 1, max = 64))]
    name: String,
    permissions: Permissions,
}

fn show(role: flows::admin::Role) -> Role {
    Role { name: role.name, permissions: role.permissions }
}

async fn list(
    mut call: AdminCall,
    QueryParams(asked): QueryParams<ListRange>,
) -> OperationResult<PlainBody<ListPage<Role>>> {
    let (service, _) = call.open();
    let rows = service.roles_after(&asked.cursor.0, asked.limit.0 + 1).await?;
    Ok(PlainBody(ListPage::of(rows, asked.limit.0, |role| role.name.clone(), show)))
}

async fn create(mut call: ElevatedAdminCall, JsonBody(role): JsonBody<Role>) -> OperationResult<Created<Role>> {
    let (service, mut moment) = call.open();
    service.create_role(&role.name, &role.permissions, &mut moment).await??;
    let name = percent_encoding::utf8_percent_encode(&role.name, percent_encoding::NON_ALPHANUMERIC);
    Ok(Created { at: format!("/roles/{name}"), version: Some(1), thing: role })
}

async fn get(mut call: AdminCall, NameParam(name): NameParam) -> OperationResult<Versioned<Role>> {
    let (service, _) = call.open();
    let role = service.role(&name).await??;
    Ok(Versioned(role.version, show(role)))
}

async fn replace(
    mut call: ElevatedAdminCall,
    (NameParam(name), expected, JsonBody(permissions)): (NameParam, ExpectedVersion, JsonBody<Permissions>),
) -> OperationResult<Versioned<Role>> {
    let (service, mut moment) = call.open();
    let current = service.role(&name).await??;
    expected.check(current.version)?;
    let changed = service.change_role(&current, permissions, &mut moment).await??;
    Ok(Versioned(changed.version, show(changed)))
}

async fn delete(
    mut call: ElevatedAdminCall,
    (NameParam(name), expected): (NameParam, ExpectedVersion),
) -> OperationResult<NoContent> {
    let (service, mut moment) = call.open();
    let current = service.role(&name).await??;
    expected.check(current.version)?;
    service.delete_role(&current, &mut moment).await??;
    Ok(NoContent)
}
