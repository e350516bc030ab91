//! `gatehouse role`: permissions on the APIs.

use anyhow::Result;
use flows::Platform as _;
use flows::admin::Role;
use model::Moment;
use model::entities::Permissions;
use serde_json::{Value, json};
use web::SystemRng;

use crate::cli::{Patterns, RoleCommand};
use crate::commands::cli_session::{CliSession, granted, moment, print};
use crate::commands::table::table;
use crate::config::Environment;
use crate::platform::SystemPlatform;

/// Roles fetched with one query.
const AT_ONCE: u32 = 500;

pub(super) async fn run(command: RoleCommand, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    match command {
        RoleCommand::Create { target, name, patterns } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            granted(admin.create_role(&name, &permissions(patterns), &mut moment!(rng)).await)?;
            print(&target.output, &json!({ "name": name }), &format!("Role {name} created."))?;
            desk.database.close().await;
        }
        RoleCommand::Set { target, name, patterns } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let role = granted(admin.role(&name).await)?;
            let changed = granted(admin.change_role(&role, permissions(patterns), &mut moment!(rng)).await)?;
            print(&target.output, &entry(&changed), &format!("Role {name} changed."))?;
            desk.database.close().await;
        }
        RoleCommand::Delete { target, name } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let role = granted(admin.role(&name).await)?;
            granted(admin.delete_role(&role, &mut moment!(rng)).await)?;
            print(&target.output, &json!({ "name": name }), &format!("Role {name} deleted."))?;
            desk.database.close().await;
        }
        RoleCommand::List { target } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let mut roles: Vec<Role> = Vec::new();
            loop {
                let last = roles.last().map(|role| role.name.clone()).unwrap_or_default();
                let more = admin.roles_after(&last, AT_ONCE).await?;
                if more.is_empty() {
                    break;
                }
                roles.extend(more);
            }
            let list: Vec<Value> = roles.iter().map(entry).collect();
            print(&target.output, &json!(list), &table(["role", "reads", "updates"], roles.iter().map(row)))?;
        }
    }
    Ok(())
}

fn permissions(patterns: Patterns) -> Permissions {
    Permissions { read: patterns.read, update: patterns.update }
}

fn entry(role: &Role) -> Value {
    json!({ "name": role.name, "permissions": role.permissions })
}

fn row(role: &Role) -> [String; 3] {
    let told = |patterns: &[String]| if patterns.is_empty() { "nothing".to_owned() } else { patterns.join(" ") };
    [role.name.clone(), told(&role.permissions.read), told(&role.permissions.update)]
}
