//! Records that are stored and that this version refuses, or does not wholly know.

use crate::TrustedApplication;
use crate::application::record::{ApplicationRecord, Problems, Registration};
use crate::stored;
use crate::stored::JsonMembers;

/// A record that says more than this version knows, or something that its rules refuse.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    pub(super) record: ApplicationRecord,
    /// Every member as it was written; none if what is stored is no record at all.
    pub(super) members: JsonMembers,
    /// Members that cannot be read.
    pub(super) unreadable: Vec<String>,
    /// Why the application is off. Empty where the record only says more.
    pub(super) problems: Vec<String>,
}

impl StoredRecord {
    /// What stays of it when a good record takes its place.
    pub(super) fn under(&self, record: &ApplicationRecord) -> Option<Box<Self>> {
        let members = stored::written_over(&self.members, record);
        let says_more = members.len() > stored::members_of(record).len();
        let kept = Self { record: record.clone(), members, unreadable: Vec::new(), problems: Vec::new() };
        says_more.then(|| Box::new(kept))
    }
}

/// Records that this version refuses, or does not wholly know.
impl TrustedApplication {
    /// Why the stored record is refused; the application is off as long as it is.
    pub fn problems(&self) -> &[String] {
        self.stored.as_ref().map_or(&[], |stored| &stored.problems)
    }

    /// What stands in the register beside a next record.
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

    /// The record with what cannot be read as it was written: a change of another attribute does not replace it unseen.
    pub fn record_as_stored(&self) -> JsonMembers {
        let mut members = stored::members_of(&self.to_record());
        if let Some(stored) = &self.stored {
            let unreadable = stored.unreadable.iter().filter_map(|name| Some((name, stored.members.get(name)?)));
            members.extend(unreadable.map(|(name, value)| (name.clone(), value.clone())));
        }
        members
    }

    /// What is written down: the record, and what a newer version wrote beside it.
    pub fn to_stored(&self) -> String {
        let members = match &self.stored {
            Some(stored) if !stored.problems.is_empty() => stored.members.clone(),
            Some(stored) => stored::written_over(&stored.members, &self.to_record()),
            None => stored::members_of(&self.to_record()),
        };
        serde_json::Value::from(members).to_string()
    }

    /// Switches it on or off. A record that is refused can only be switched off.
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

    /// What `next` would change that stays as it was registered: tokens know the application by its `ApplicationUri`,
    /// and its `ClientType` says whether it has secrets.
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
