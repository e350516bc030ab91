//! `/sessions` and `/seats`: who is using the APIs.

use flows::admin::AdminRefusal;
use flows::admin::operations::sessions::{
    EndSession, EndSessions, GetSeatHistory, GetSeats, ListSessions, SessionQuery, SessionsOf,
};
use http::Method;
use model::ApiSessionId;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin_api::input::{Cursor, IdParam, JsonBody, Limit, QueryParams};
use crate::admin_api::operation::{Operation, bind};
use crate::admin_api::output::{NoContent, PlainBody};
use crate::admin_api::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        bind::<ListSessions, _, _>(
            Method::GET,
            "/sessions",
            |QueryParams(Asked { limit, cursor, user })| {
                Ok(SessionQuery { login: user, after: cursor.id()?.map(ApiSessionId), limit: limit.0 })
            },
            PlainBody,
        ),
        bind::<EndSessions, _, _>(Method::POST, "/sessions/end", |JsonBody(whose)| sessions_of(whose), PlainBody),
        bind::<EndSession, _, _>(
            Method::DELETE,
            "/sessions/{id}",
            |IdParam(id)| Ok(ApiSessionId(id)),
            NoContent::after,
        ),
        bind::<GetSeats, _, _>(Method::GET, "/seats", |()| Ok(()), PlainBody),
        bind::<GetSeatHistory, _, _>(Method::GET, "/seats/history", |()| Ok(()), PlainBody),
    ]
}

/// Selects the sessions to end. Give exactly one member.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Whose {
    /// Login of the user.
    #[serde(default)]
    user: Option<String>,
    /// `ApplicationUri` of the application.
    #[serde(default)]
    application: Option<String>,
}

fn sessions_of(whose: Whose) -> Result<SessionsOf, Problem> {
    match (whose.user, whose.application) {
        (Some(login), None) => Ok(SessionsOf::User(login)),
        (None, Some(uri)) => Ok(SessionsOf::Application(uri)),
        _ => Err(Problem::Admin(AdminRefusal::Invalid(vec!["user, application: send one of them".to_owned()]))),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    limit: Limit,
    #[serde(default)]
    cursor: Cursor,
    /// Return only sessions of the user with this login.
    user: Option<String>,
}
