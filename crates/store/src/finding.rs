//! Stored records that cannot be read, or that today's rules refuse. Only that record is affected.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;

use model::InstanceId;

use crate::{Fault, SqlRow};

/// A part of a row that cannot be read: another version or a foreign program wrote it.
///
/// A query for this one record fails with a [`Fault`]; a list omits it (`Store::readable`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRow(Cow<'static, str>);

impl DamagedRow {
    pub(crate) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for DamagedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DamagedRow {}

impl From<DamagedRow> for Fault {
    fn from(damage: DamagedRow) -> Self {
        Self::failed(damage)
    }
}

/// A stored record that this version cannot use as it is, for the examination of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFinding {
    /// The kind of record: `application`, `user`, …
    pub kind: &'static str,
    /// The id or the name of the record.
    pub record: String,
    /// The refused attributes.
    pub problems: Vec<String>,
}

/// Rows omitted from lists. Each is logged once; at most [`MAX_TOLD`] are remembered.
#[derive(Default)]
pub(crate) struct UnreadableRows(Mutex<BTreeSet<(InstanceId, &'static str, String)>>);

/// More unreadable rows than this have another cause than the rows.
const MAX_TOLD: usize = 1000;

impl UnreadableRows {
    pub(crate) fn tell(&self, instance: InstanceId, kind: &'static str, row: &SqlRow, damage: &DamagedRow) {
        let record = row.name();
        let mut told = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.len() < MAX_TOLD && told.insert((instance, kind, record.clone())) {
            tracing::warn!(%instance, kind, record, %damage, "a stored record cannot be read; `gatehouse doctor` lists it");
        }
    }
}
