//! Records that do not read back, or that today's rules refuse: a matter of that record alone.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;

use model::InstanceId;

use crate::{Fault, SqlRow};

/// What in a row does not read back: another version wrote it, or somebody else.
///
/// Who asked for this one record meets a [`Fault`]; a list goes on without it (`Store::readable`).
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

/// A stored record that this version cannot use as it is, for who examines an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFinding {
    /// What it is: `application`, `user`, …
    pub kind: &'static str,
    /// Which one: its id, or its name.
    pub record: String,
    /// What of it is refused.
    pub problems: Vec<String>,
}

/// Rows that lists went on without. Each is told of once, and only so many are remembered.
#[derive(Default)]
pub(crate) struct UnreadableRows(Mutex<BTreeSet<(InstanceId, &'static str, String)>>);

/// Beyond this something else is wrong than a row.
const MAX_TOLD: usize = 1000;

impl UnreadableRows {
    pub(crate) fn tell(&self, instance: InstanceId, kind: &'static str, (row, damage): (&SqlRow, &DamagedRow)) {
        let record = row.name();
        let mut told = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.len() < MAX_TOLD && told.insert((instance, kind, record.clone())) {
            tracing::warn!(%instance, kind, record, %damage, "a stored record cannot be read; `gatehouse doctor` lists it");
        }
    }
}
