//! `/roles`: what users may do on the APIs.

use flows::admin::operations::ExpectedVersion;
use flows::admin::operations::roles::{
    CreateRole, DeleteRole, GetRole, ListRoles, ReplaceRole, RoleChange, RoleDeletion, RoleEntry, RoleQuery,
};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::admin_api::input::{JsonBody, ListRange, NameParam, QueryParams};
use crate::admin_api::operation::{Operation, bind};
use crate::admin_api::output::{Created, NoContent, PlainBody, Versioned};

pub(super) fn operations() -> Vec<Operation> {
    const ALL: &str = "/roles";
    const ONE: &str = "/roles/{name}";
    vec![
        bind::<ListRoles, _, _>(
            Method::GET,
            ALL,
            |QueryParams(ListRange { limit, cursor })| Ok(RoleQuery { after: cursor.0, limit: limit.0 }),
            PlainBody,
        ),
        bind::<CreateRole, _, _>(Method::POST, ALL, |JsonBody(role)| Ok(role), created),
        bind::<GetRole, _, _>(Method::GET, ONE, |NameParam(name)| Ok(name), versioned),
        bind::<ReplaceRole, _, _>(
            Method::PUT,
            ONE,
            |(NameParam(name), expected, JsonBody(permissions)): (_, ExpectedVersion, _)| {
                Ok(RoleChange { name, expected, permissions })
            },
            versioned,
        ),
        bind::<DeleteRole, _, _>(
            Method::DELETE,
            ONE,
            |(NameParam(name), expected): (_, ExpectedVersion)| Ok(RoleDeletion { name, expected }),
            NoContent::after,
        ),
    ]
}

fn versioned(role: RoleEntry) -> Versioned<RoleEntry> {
    Versioned(role.version, role)
}

fn created(role: RoleEntry) -> Created<RoleEntry> {
    let name = utf8_percent_encode(&role.name, NON_ALPHANUMERIC);
    Created { at: format!("/roles/{name}"), version: Some(role.version), thing: role }
}
