//! `/settings`: the settings of the instance that administrators may change.

use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::ExpectedVersion;
use flows::admin::operations::settings::{GetSettings, PatchSettings, SettingsChange, SettingsEntry};
use http::Method;

use crate::admin_api::operation::{Operation, bind};
use crate::admin_api::output::Versioned;

pub(super) fn operations() -> Vec<Operation> {
    const ALL: &str = "/settings";
    vec![
        bind::<GetSettings, _, _>(Method::GET, ALL, |()| Ok(()), versioned),
        bind::<PatchSettings, _, _>(
            Method::PATCH,
            ALL,
            |(expected, changes): (ExpectedVersion, MergePatch<SettingsEntry>)| {
                Ok(SettingsChange { expected, changes })
            },
            versioned,
        ),
    ]
}

fn versioned(settings: SettingsEntry) -> Versioned<SettingsEntry> {
    Versioned(settings.version, settings)
}
