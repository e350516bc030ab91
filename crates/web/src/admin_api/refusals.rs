//! `/refusals`: why something was refused, by the reference that was shown.

use http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin_api::audit::EventEntry;
use crate::admin_api::input::ReferenceParam;
use crate::admin_api::operation::{AdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::PlainBody;

pub(super) fn operations() -> Vec<Operation> {
    vec![operation(Method::GET, "/refusals/{reference}", "getRefusal", "Explain a refusal by its reference", get)]
}

/// The audit events of one request, in order.
#[derive(Serialize, JsonSchema)]
struct Events {
    items: Vec<EventEntry>,
}

async fn get(mut call: AdminCall, ReferenceParam(reference): ReferenceParam) -> OperationResult<PlainBody<Events>> {
    let (service, moment) = call.open();
    let events = service.why(&reference, moment.now).await??;
    Ok(PlainBody(Events { items: events.into_iter().map(EventEntry::from).collect() }))
}
