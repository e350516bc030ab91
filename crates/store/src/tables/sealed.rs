//! All columns sealed under the master key, in one list for sealing them again.

use crate::{Fault, SqlRow, Statement, Store, statement, values};

/// A column of sealed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedColumn {
    RootSecret,
    SigningKey,
    AuditKey,
    AuditMemory,
    RefusalMemory,
    AuthenticatorApp,
}

/// A sealed secret and its row.
pub struct SealedRow {
    /// Identifies the row within its instance.
    pub key: String,
    pub sealed: Vec<u8>,
}

impl SealedColumn {
    /// The root secret comes first: the key that it is under is the one that an instance seals under.
    pub const ALL: [Self; 6] = [
        Self::RootSecret,
        Self::SigningKey,
        Self::AuditKey,
        Self::AuditMemory,
        Self::RefusalMemory,
        Self::AuthenticatorApp,
    ];

    /// Table and column.
    pub const fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::RootSecret => ("instances", "root_secret"),
            Self::SigningKey => ("signing_keys", "private_key"),
            Self::AuditKey => ("audit_keys", "private_key"),
            Self::AuditMemory => ("audit_memory", "secret"),
            Self::RefusalMemory => ("refusal_memory", "secret"),
            Self::AuthenticatorApp => ("authenticator_apps", "sealed_secret"),
        }
    }

    /// The columns for the instance and for the row's key.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::RootSecret => ("id", "id"),
            Self::AuditMemory | Self::RefusalMemory => ("instance", "instance"),
            Self::SigningKey | Self::AuditKey => ("instance", "kid"),
            Self::AuthenticatorApp => ("instance", "user_id"),
        }
    }
}

impl Store {
    /// Rows in the order of their keys, after a given key.
    pub async fn sealed_after(&self, column: SealedColumn, key: &str, limit: u32) -> Result<Vec<SealedRow>, Fault> {
        let ((table, sealed), (instance, name)) = (column.place(), column.names());
        let sql = format!(
            "SELECT {name}, {sealed} FROM {table} WHERE {instance} = $1 AND {name} > $2 ORDER BY {name} LIMIT $3"
        );
        let rows = self.query(sql, self.with_instance(values![key, limit])).await?;
        let read = |row: &SqlRow| Ok(SealedRow { key: row.text(0)?, sealed: row.bytes(1)? });
        rows.iter().map(read).collect()
    }

    /// Guarded by the bytes that were read, without an expected count: a row that changed or disappeared meanwhile is
    /// left alone. A caller that must be the one to change it expects one row.
    pub fn reseal(&self, column: SealedColumn, read: &SealedRow, sealed: Vec<u8>) -> Statement {
        let ((table, place), (instance, name)) = (column.place(), column.names());
        let sql = format!("UPDATE {table} SET {place} = $3 WHERE {instance} = $1 AND {name} = $2 AND {place} = $4");
        statement(sql, self.with_instance(values![read.key.as_str(), sealed, read.sealed.as_slice()]))
    }
}
