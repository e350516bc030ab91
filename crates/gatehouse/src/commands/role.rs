//! `gatehouse role`: permissions on the APIs.

use anyhow::Result;
use flows::admin::operations::ExpectedVersion;
use flows::admin::operations::roles::{
    CreateRole, DeleteRole, ListRoles, ReplaceRole, RoleChange, RoleDeletion, RoleEntry, RoleQuery,
};
use model::entities::Permissions;
use serde_json::json;

use crate::cli::{Patterns, RoleCommand};
use crate::commands::cli_session::{CliSession, print, print_answer};
use crate::commands::table::table;
use crate::config::Environment;

/// Roles fetched with one query.
const AT_ONCE: u32 = 500;

pub(super) async fn run(command: RoleCommand, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&command.target().installation, environment).await?;
    let admin = desk.admin(command.target()).await?;
    match command {
        RoleCommand::Create { target, name, patterns } => {
            let role = RoleEntry { name, permissions: permissions(patterns), version: 0 };
            let role = admin.run::<CreateRole>(role).await?;
            print_answer(&target.output, "role create", &role, &format!("Role {} created.", role.name))?;
        }
        RoleCommand::Set { target, name, patterns } => {
            let change = RoleChange { name, expected: ExpectedVersion::Any, permissions: permissions(patterns) };
            let role = admin.run::<ReplaceRole>(change).await?;
            print_answer(&target.output, "role set", &role, &format!("Role {} changed.", role.name))?;
        }
        RoleCommand::Delete { target, name } => {
            admin.run::<DeleteRole>(RoleDeletion { name: name.clone(), expected: ExpectedVersion::Any }).await?;
            print(&target.output, &json!({ "name": name }), &format!("Role {name} deleted."))?;
        }
        RoleCommand::List { target } => {
            let mut roles: Vec<RoleEntry> = Vec::new();
            loop {
                let after = roles.last().map(|role| role.name.clone()).unwrap_or_default();
                let page = admin.run::<ListRoles>(RoleQuery { after, limit: AT_ONCE }).await?;
                roles.extend(page.items);
                if page.next.is_none() {
                    break;
                }
            }
            let text = table(["role", "reads", "updates"], roles.iter().map(row));
            print_answer(&target.output, "role list", &roles, &text)?;
        }
    }
    desk.database.close().await;
    Ok(())
}

fn permissions(patterns: Patterns) -> Permissions {
    Permissions { read: patterns.read, update: patterns.update }
}

fn row(role: &RoleEntry) -> [String; 3] {
    let told = |patterns: &[String]| if patterns.is_empty() { "nothing".to_owned() } else { patterns.join(" ") };
    [role.name.clone(), told(&role.permissions.read), told(&role.permissions.update)]
}
