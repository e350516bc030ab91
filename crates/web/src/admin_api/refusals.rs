//! `/refusals`: why something was refused, by the reference that was shown.

use flows::admin::operations::audit::GetRefusal;
use http::Method;

use crate::admin_api::input::ReferenceParam;
use crate::admin_api::operation::{Operation, bind};
use crate::admin_api::output::PlainBody;

pub(super) fn operations() -> Vec<Operation> {
    vec![bind::<GetRefusal, _, _>(
        Method::GET,
        "/refusals/{reference}",
        |ReferenceParam(reference)| Ok(reference),
        PlainBody,
    )]
}
