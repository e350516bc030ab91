//! Stored records that this version refuses, or does not fully know.

use crate::TrustedApplication;
use crate::application::record::{ApplicationRecord, Problems, Registration};
use crate::stored;
use crate::stored::JsonMembers;

/// A stored record with members that this version does not know, or that violates its rules.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    pub(super) record: ApplicationRecord,
    /// Every member as written; empty if the stored text is not a record at all.
    pub(super) members: JsonMembers,
    /// Names of members that cannot be read.
    pub(super) unreadable: Vec<String>,
    /// Why the application is disabled. Empty if the record only has unknown members.
    pub(super) problems: Vec<String>,
}

impl StoredRecord {
    /// The unknown members to keep when a valid record replaces this one.
    pub(super) fn under(&self, record: &ApplicationRecord) -> Option<Box<Self>> {
        let members = stored::written_over(&self.members, record);
        let says_more = members.len() > stored::members_of(record).len();
        let kept = Self { record: record.clone(), members, unreadable: Vec::new(), problems: Vec::new() };
        says_more.then(|| Box::new(kept))
    }
}

/// Records that this version refuses, or does not fully know.
impl TrustedApplication {
    /// Why the stored record is refused. The application is disabled until it is replaced.
    pub fn problems(&self) -> &[String] {
        self.stored.as_ref().map_or(&[], |stored| &stored.problems)
    }

    /// The register data for the next version of the record.
    pub fn registration(&self) -> Registration {
        Registration {
            id: self.id,
            secrets: self.secrets().to_vec(),
            epoch: self.epoch,
            version: self.version,
            scope: self.scope.clone(),
            stored: self.stored.clone(),
        }
    }

    /// The record, with unreadable members as written, so that a change of another attribute does not silently replace
    /// them.
    pub fn record_as_stored(&self) -> JsonMembers {
        let mut members = stored::members_of(&self.to_record());
        if let Some(stored) = &self.stored {
            let unreadable = stored.unreadable.iter().filter_map(|name| Some((name, stored.members.get(name)?)));
            members.extend(unreadable.map(|(name, value)| (name.clone(), value.clone())));
        }
        members
    }

    /// The text to store: the record, and members that a newer version wrote.
    pub fn to_stored(&self) -> String {
        let members = match &self.stored {
            Some(stored) if !stored.problems.is_empty() => stored.members.clone(),
            Some(stored) => stored::written_over(&stored.members, &self.to_record()),
            None => stored::members_of(&self.to_record()),
        };
        serde_json::Value::from(members).to_string()
    }

    /// Enables or disables the application. An application with a refused record can only be disabled.
    pub fn switch(&mut self, enabled: bool) -> Result<(), Vec<String>> {
        if let Some(stored) = self.stored.as_mut().filter(|stored| !stored.problems.is_empty()) {
            if enabled || stored.members.is_empty() {
                return Err(stored.problems.clone());
            }
            stored.record.is_enabled = false;
            stored.members.insert("IsEnabled".to_owned(), false.into());
        }
        self.enabled = enabled;
        Ok(())
    }

    /// Changes in `next` to fixed attributes. Tokens name the application by its `ApplicationUri`, and its `ClientType`
    /// decides whether it has secrets.
    pub fn fixed_in(&self, next: &ApplicationRecord) -> Vec<String> {
        let mut problems = Problems(Vec::new());
        if self.uri.as_str() != next.application_uri {
            problems.say(format!("ApplicationUri: cannot be changed (is {}); register a new application", self.uri));
        }
        let unreadable = self.stored.iter().flat_map(|stored| &stored.unreadable);
        let is_unknown = unreadable.into_iter().any(|name| ["ClientType", "record"].contains(&name.as_str()));
        match self.record_as_stored().get("ClientType") {
            Some(written) if is_unknown && written.as_str() != Some("None") => {
                problems.say(format!("ClientType: cannot be changed (is {written}, unknown to this version)"));
            }
            _ if !is_unknown && self.to_record().client_type != next.client_type => problems.say(format!(
                "ClientType: cannot be changed (is {:?}); register a new application",
                self.to_record().client_type
            )),
            _ => {}
        }
        problems.0
    }
}
