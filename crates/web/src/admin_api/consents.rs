//! `/users/{id}/consents`: the applications that may act for a user.

use flows::admin::operations::consents::{ConsentOf, ListConsents, WithdrawConsent};
use http::Method;
use model::{ApplicationId, UserId};

use crate::admin_api::input::{ApplicationParam, IdParam};
use crate::admin_api::operation::{Operation, bind};
use crate::admin_api::output::{NoContent, PlainBody};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        bind::<ListConsents, _, _>(Method::GET, "/users/{id}/consents", |IdParam(id)| Ok(UserId(id)), PlainBody),
        bind::<WithdrawConsent, _, _>(
            Method::DELETE,
            "/users/{id}/consents/{application}",
            |(IdParam(id), ApplicationParam(application))| {
                Ok(ConsentOf { user: UserId(id), application: ApplicationId(application) })
            },
            NoContent::after,
        ),
    ]
}
