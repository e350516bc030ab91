//! `/settings`: the settings of the instance that administrators may change.

use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::ExpectedVersion;
use http::Method;
use model::InstanceSettings;

use crate::admin_api::operation::{AdminCall, ElevatedAdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::Versioned;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/settings", "getSettings", "Get the settings", get),
        operation(
            Method::PATCH,
            "/settings",
            "patchSettings",
            "Update settings. null resets a setting to its default",
            patch,
        ),
    ]
}

async fn get(mut call: AdminCall, (): ()) -> OperationResult<Versioned<InstanceSettings>> {
    let (service, _) = call.open();
    let read = service.settings_as_read().await?;
    Ok(Versioned(read.version, read.settings))
}

async fn patch(
    mut call: ElevatedAdminCall,
    (expected, patch): (ExpectedVersion, MergePatch<InstanceSettings>),
) -> OperationResult<Versioned<InstanceSettings>> {
    let (service, mut moment) = call.open();
    let current = service.settings_as_read().await?;
    expected.check(current.version)?;
    let changed = service.change_settings(&current, patch.into_members(), &mut moment).await??;
    Ok(Versioned(changed.version, changed.settings))
}
