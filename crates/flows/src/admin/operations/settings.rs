//! Operations on the instance's settings.

use std::borrow::Cow;

use model::InstanceSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Answer;
use crate::admin::AdminRefusal;
use crate::admin::act::AdminAct;
use crate::admin::merge_patch::MergePatch;
use crate::admin::operations::{
    AdminOperation, AnySignIn, ExpectedVersion, OperationContext, OperationEntry, RecentSignIn, granted,
};
use crate::admin::sessions::StoredSettings;

pub(super) const OPERATIONS: &[OperationEntry] =
    &[OperationEntry::of::<GetSettings>(), OperationEntry::of::<PatchSettings>()];

/// The settings, with names in camelCase, and their version.
pub struct SettingsEntry {
    pub settings: InstanceSettings,
    pub version: i64,
}

impl SettingsEntry {
    fn members(&self) -> Map<String, Value> {
        match serde_json::to_value(&self.settings) {
            Ok(Value::Object(members)) => members,
            _ => unreachable!("settings are a structure of strings and numbers"),
        }
    }
}

impl Serialize for SettingsEntry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.members().into_iter().map(|(name, value)| (camel_case(&name), value)))
    }
}

impl JsonSchema for SettingsEntry {
    fn schema_name() -> Cow<'static, str> {
        InstanceSettings::schema_name()
    }

    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        let mut schema = InstanceSettings::json_schema(schemas);
        if let Some(Value::Object(members)) = schema.get_mut("properties") {
            let renamed = std::mem::take(members).into_iter().map(|(name, schema)| (camel_case(&name), schema));
            members.extend(renamed);
        }
        schema
    }
}

/// The name of a setting in JSON: `seatsPerUser` for `seats_per_user`.
pub fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}

/// The setting of a name in JSON. Its own name is good too.
pub fn setting_name(name: &str) -> String {
    name.chars().fold(String::new(), |setting, char| match char {
        'A'..='Z' => setting + "_" + char.to_ascii_lowercase().encode_utf8(&mut [0; 4]),
        _ => setting + char.encode_utf8(&mut [0; 4]),
    })
}

impl From<StoredSettings> for SettingsEntry {
    fn from(stored: StoredSettings) -> Self {
        Self { version: stored.version, settings: stored.settings }
    }
}

pub struct GetSettings;

impl AdminOperation for GetSettings {
    const NAME: &'static str = "getSettings";
    const SUMMARY: &'static str = "Get the settings";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = ();
    type Output = SettingsEntry;

    async fn run(context: &mut OperationContext<'_, AnySignIn>, (): ()) -> Answer<SettingsEntry, AdminRefusal> {
        Ok(Ok(context.service.settings_as_read().await?.into()))
    }
}

/// A change of settings.
pub struct SettingsChange {
    pub expected: ExpectedVersion,
    /// By the names in JSON.
    pub changes: MergePatch<SettingsEntry>,
}

pub struct PatchSettings;

impl AdminOperation for PatchSettings {
    const NAME: &'static str = "patchSettings";
    const SUMMARY: &'static str = "Update settings. null resets a setting to its default";
    const ACTS: &'static [AdminAct] = &[AdminAct::ChangeSettings];
    type Authority = RecentSignIn;
    type Input = SettingsChange;
    type Output = SettingsEntry;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        SettingsChange { expected, changes }: SettingsChange,
    ) -> Answer<SettingsEntry, AdminRefusal> {
        let current = context.service.settings_as_read().await?;
        granted!(expected.check(current.version));
        let patch = changes.into_members().into_iter().map(|(name, value)| (setting_name(&name), value)).collect();
        let changed = context.service.change_settings(&current, patch, &mut context.moment).await?;
        Ok(changed.map(SettingsEntry::from).map_err(|refusal| by_json_names(refusal, &current.settings)))
    }
}

/// The refusal, with the names of settings as the caller knows them.
fn by_json_names(refusal: AdminRefusal, settings: &InstanceSettings) -> AdminRefusal {
    let AdminRefusal::Invalid(problems) = refusal else { return refusal };
    let Ok(Value::Object(members)) = serde_json::to_value(settings) else { return AdminRefusal::Invalid(problems) };
    let told = |problem: String| {
        let names = members.keys().filter(|name| name.contains('_'));
        names.fold(problem, |problem, name| problem.replace(name.as_str(), &camel_case(name)))
    };
    AdminRefusal::Invalid(problems.into_iter().map(told).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_a_name_in_json_that_leads_back() {
        let settings = SettingsEntry { settings: InstanceSettings::default(), version: 1 };
        for name in settings.members().keys() {
            assert_eq!(setting_name(&camel_case(name)), *name);
            assert_eq!(setting_name(name), *name);
        }
        assert_eq!(camel_case("seats_per_user"), "seatsPerUser");
        let told = by_json_names(AdminRefusal::Invalid(vec!["seats_per_user: bad".to_owned()]), &settings.settings);
        assert_eq!(told, AdminRefusal::Invalid(vec!["seatsPerUser: bad".to_owned()]));
    }
}
