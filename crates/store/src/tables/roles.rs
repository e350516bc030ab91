use model::domain::Permissions;

use crate::{Fault, Row, Statement, Store, values};

/// What users of this role may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub permissions: Permissions,
    /// Raised by every change: what the next one is guarded by.
    pub version: i64,
}

pub(super) const ROLES_AFTER: &str =
    "SELECT name, permits, version FROM roles WHERE instance = $1 AND name > $2 ORDER BY name LIMIT $3";

fn read(row: &Row) -> Result<Role, Fault> {
    let permissions = serde_json::from_str(&row.text(1)?).map_err(Fault::failed)?;
    Ok(Role { name: row.text(0)?, permissions, version: row.int(2)? })
}

fn json(permissions: &Permissions) -> String {
    serde_json::to_string(permissions).expect("patterns are strings")
}

impl Store {
    pub async fn role(&self, name: &str) -> Result<Option<Role>, Fault> {
        let sql = "SELECT name, permits, version FROM roles WHERE instance = $1 AND name = $2";
        self.row(sql, values![name]).await?.as_ref().map(read).transpose()
    }

    pub async fn has_role(&self, name: &str) -> Result<bool, Fault> {
        Ok(self.role(name).await?.is_some())
    }

    /// The next roles behind a name, in the order of names, at most so many.
    pub async fn roles_after(&self, name: &str, limit: u32) -> Result<Vec<Role>, Fault> {
        self.rows(ROLES_AFTER, values![name, limit]).await?.iter().map(read).collect()
    }

    /// Guarded: a name is given once.
    pub fn insert_role(&self, name: &str, permissions: &Permissions) -> Statement {
        self.bound(
            "INSERT INTO roles (instance, name, permits) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            values![name, json(permissions)],
        )
        .expect(1)
    }

    /// Guarded by the version that was read.
    pub fn update_role(&self, role: &Role) -> Statement {
        self.bound(
            "UPDATE roles SET permits = $4, version = version + 1 WHERE instance = $1 AND name = $2 AND version = $3",
            values![role.name.as_str(), role.version, json(&role.permissions)],
        )
        .expect(1)
    }

    /// Keeps the role as it is until the batch is done: whoever gives it to somebody begins so, and so does whoever takes
    /// it away. Guarded: there is such a role.
    pub fn hold_role(&self, name: &str) -> Statement {
        self.bound("UPDATE roles SET permits = permits WHERE instance = $1 AND name = $2", values![name]).expect(1)
    }

    /// Does anybody have the role?
    pub async fn role_is_used(&self, name: &str) -> Result<bool, Fault> {
        let sql = "SELECT 1 FROM users WHERE instance = $1 AND role = $2 LIMIT 1";
        Ok(self.row(sql, values![name]).await?.is_some())
    }

    /// Guarded by the version that was read, and by nobody's having it. Two statements: only behind the lock does a look
    /// at the users see who was given the role meanwhile.
    pub fn delete_role(&self, role: &Role) -> [Statement; 2] {
        let delete = self.bound(
            "DELETE FROM roles WHERE instance = $1 AND name = $2 AND version = $3 \
             AND NOT EXISTS (SELECT 1 FROM users u WHERE u.instance = $1 AND u.role = $2)",
            values![role.name.as_str(), role.version],
        );
        [self.hold_role(&role.name), delete.expect(1)]
    }
}
