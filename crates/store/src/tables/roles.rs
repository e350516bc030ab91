use model::entities::Permissions;
use model::stored::{JsonMembers, written_over};

use crate::tables::{ExaminedTable, PageQuery};
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

/// The permissions of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub permissions: Permissions,
    /// Permissions that cannot be read, with the reasons. They are not granted.
    pub problems: Vec<String>,
    /// The stored JSON, with members that this version does not know.
    pub stored: JsonMembers,
    /// Incremented by every change. Guards the next one.
    pub version: i64,
}

pub(super) const ROLES_AFTER: &str =
    "SELECT name, permits, version FROM roles WHERE instance = $1 AND name > $2 ORDER BY name LIMIT $3";

fn read(row: &SqlRow) -> Result<Role, DamagedRow> {
    let permits = Permissions::restore(&row.text(1)?);
    let problems = permits.problems.iter().map(ToString::to_string).collect();
    let (name, version) = (row.text(0)?, row.int(2)?);
    Ok(Role { name, permissions: permits.value, problems, stored: permits.members, version })
}

const KIND: &str = "role";

pub(super) const EXAMINED: ExaminedTable =
    ExaminedTable { kind: KIND, sql: ROLES_AFTER, examine: |row| read(row).map(|role| role.problems) };

fn json(permissions: &Permissions) -> String {
    serde_json::to_string(permissions).expect("patterns are strings")
}

impl Store {
    pub async fn role(&self, name: &str) -> Result<Option<Role>, Fault> {
        let sql = "SELECT name, permits, version FROM roles WHERE instance = $1 AND name = $2";
        Ok(self.row(sql, values![name]).await?.as_ref().map(read).transpose()?)
    }

    pub async fn has_role(&self, name: &str) -> Result<bool, Fault> {
        Ok(self.role(name).await?.is_some())
    }

    /// The next roles after a name, ordered by name, at most `limit`.
    pub async fn roles_after(&self, name: &str, limit: u32) -> Result<Vec<Role>, Fault> {
        let query = PageQuery { kind: KIND, sql: ROLES_AFTER, params: vec![], key: 0 };
        self.page(query, name.to_owned(), limit, read).await
    }

    /// Guarded: a name is used once.
    pub fn insert_role(&self, name: &str, permissions: &Permissions) -> Statement {
        self.bound(
            "INSERT INTO roles (instance, name, permits) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            values![name, json(permissions)],
        )
        .expect(1)
    }

    /// Guarded by the version that was read. Members that a newer version wrote beside the permissions are kept.
    pub fn update_role(&self, role: &Role) -> Statement {
        let permits = serde_json::Value::from(written_over(&role.stored, &role.permissions)).to_string();
        self.bound(
            "UPDATE roles SET permits = $4, version = version + 1 WHERE instance = $1 AND name = $2 AND version = $3",
            values![role.name.as_str(), role.version, permits],
        )
        .expect(1)
    }

    /// Locks the role until the end of the batch. Batches that assign or remove the role begin with it. Guarded: the
    /// role exists.
    pub fn hold_role(&self, name: &str) -> Statement {
        self.bound("UPDATE roles SET permits = permits WHERE instance = $1 AND name = $2", values![name]).expect(1)
    }

    /// Whether a user has the role.
    pub async fn role_is_used(&self, name: &str) -> Result<bool, Fault> {
        let sql = "SELECT 1 FROM users WHERE instance = $1 AND role = $2 LIMIT 1";
        Ok(self.row(sql, values![name]).await?.is_some())
    }

    /// Guarded by the version that was read, and by the absence of users with the role. Two statements: only after the
    /// lock does the check of the users see a role that was assigned meanwhile.
    pub fn delete_role(&self, role: &Role) -> [Statement; 2] {
        let delete = self.bound(
            "DELETE FROM roles WHERE instance = $1 AND name = $2 AND version = $3 \
             AND NOT EXISTS (SELECT 1 FROM users u WHERE u.instance = $1 AND u.role = $2)",
            values![role.name.as_str(), role.version],
        );
        [self.hold_role(&role.name), delete.expect(1)]
    }
}
