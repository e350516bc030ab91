//! `/sessions` and `/seats`: who is using the APIs.

use flows::admin::operations::{ListPage, Time};
use flows::admin::sessions::SessionSelector;
use flows::admin::{AdminRefusal, ApiSessionRow};
use flows::memory::ApplicationRegister;
use http::Method;
use model::ApiSessionId;
use model::seat::SessionKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::admin_api::input::{Cursor, IdParam, JsonBody, Limit, QueryParams};
use crate::admin_api::operation::{AdminCall, Operation, OperationResult, operation};
use crate::admin_api::output::{NoContent, PlainBody};
use crate::admin_api::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/sessions", "listSessions", "List live API sessions, newest first", list),
        operation(
            Method::POST,
            "/sessions/end",
            "endSessions",
            "End all API sessions of a user or an application",
            end,
        ),
        operation(Method::DELETE, "/sessions/{id}", "endSession", "End an API session and free its seat", end_one),
        operation(Method::GET, "/seats", "getSeats", "Get licence seat usage", seats),
        operation(
            Method::GET,
            "/seats/history",
            "getSeatHistory",
            "Get licence seat usage over the last 24 hours",
            history,
        ),
    ]
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Opened by a user's access token.
    Person,
    /// Opened by a service's access token.
    Service,
    /// Opened by a reference token.
    Key,
    /// Opened by a password (Basic or ErpLogin).
    Legacy,
}

/// A live API session. The data is at most one second old.
#[derive(Serialize, JsonSchema)]
struct SessionEntry {
    id: Uuid,
    kind: Kind,
    /// Id of the user it acts as.
    user: Uuid,
    login: String,
    /// `ApplicationUri`s of the applications that use it.
    applications: Vec<String>,
    /// `shared` or `reserved`.
    seat: &'static str,
    opened_at: Time,
    last_call: Time,
    calls: u64,
    address: String,
    /// When it closes unless another call arrives.
    ends_at: Time,
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

#[derive(Serialize, JsonSchema)]
struct Ended {
    /// How many sessions ended.
    ended: usize,
}

/// The licence seats of the instance.
#[derive(Serialize, JsonSchema)]
struct Seats {
    /// Number of seats. `null` means unlimited.
    total: Option<u32>,
    used: u64,
    /// Users with a guaranteed seat.
    reserved: Vec<Reserved>,
}

#[derive(Serialize, JsonSchema)]
struct Reserved {
    login: String,
    holds_a_seat: bool,
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

fn show(session: &ApiSessionRow, register: &ApplicationRegister) -> SessionEntry {
    let uri = |id: &model::ApplicationId| register.by_id(*id).map(|known| known.uri.as_str().to_owned());
    SessionEntry {
        id: session.id.0,
        kind: match session.key {
            SessionKey::SignIn(_) => Kind::Person,
            SessionKey::Service(_) => Kind::Service,
            SessionKey::Reference(_) => Kind::Key,
            SessionKey::Basic(..) | SessionKey::ErpLogin(..) => Kind::Legacy,
        },
        user: session.user.0,
        login: session.login.as_str().to_owned(),
        applications: session.applications.iter().filter_map(uri).collect(),
        seat: session.seat.as_str(),
        opened_at: session.opened_at.into(),
        last_call: session.last_call.into(),
        calls: session.calls,
        address: session.address.clone(),
        ends_at: session.ends_at.into(),
    }
}

async fn list(
    mut call: AdminCall,
    QueryParams(asked): QueryParams<Asked>,
) -> OperationResult<PlainBody<ListPage<SessionEntry>>> {
    let register = call.manager.instance().applications();
    let after = asked.cursor.id()?.map(ApiSessionId);
    let (service, _) = call.open();
    let rows = service.sessions_before(after, asked.user.as_deref(), asked.limit.0 + 1).await?;
    Ok(PlainBody(ListPage::of(rows, asked.limit.0, |row| row.id.to_string(), |row| show(&row, &register))))
}

async fn end(mut call: AdminCall, JsonBody(whose): JsonBody<Whose>) -> OperationResult<PlainBody<Ended>> {
    let ending = match (&whose.user, &whose.application) {
        (Some(login), None) => SessionSelector::OfUser(login),
        (None, Some(uri)) => SessionSelector::OfApplication(uri),
        _ => {
            let problem = "user, application: send one of them".to_owned();
            return Err(AdminRefusal::Invalid(vec![problem]).into());
        }
    };
    let (service, mut moment) = call.open();
    let ended = service.end_sessions(ending, &mut moment).await?.map_err(Problem::of_a_member)?;
    Ok(PlainBody(Ended { ended }))
}

async fn end_one(mut call: AdminCall, IdParam(id): IdParam) -> OperationResult<NoContent> {
    let (service, mut moment) = call.open();
    service.end_sessions(SessionSelector::One(ApiSessionId(id)), &mut moment).await??;
    Ok(NoContent)
}

async fn seats(mut call: AdminCall, (): ()) -> OperationResult<PlainBody<Seats>> {
    let (service, _) = call.open();
    let (seats, reserved) = service.seats().await?;
    let reserved =
        reserved.into_iter().map(|(login, holds_a_seat)| Reserved { login: login.to_string(), holds_a_seat });
    Ok(PlainBody(Seats { total: seats.seats, used: seats.used, reserved: reserved.collect() }))
}

/// How many seats were taken at a time.
#[derive(Serialize, JsonSchema)]
struct SeatsThen {
    at: Time,
    used: u64,
}

/// The last day, a quarter of an hour after another; the last entry is now.
#[derive(Serialize, JsonSchema)]
struct SeatHistory {
    items: Vec<SeatsThen>,
}

async fn history(mut call: AdminCall, (): ()) -> OperationResult<PlainBody<SeatHistory>> {
    let now = call.now;
    let (service, _) = call.open();
    let counts = service.seats_over_the_day(now).await?;
    Ok(PlainBody(SeatHistory {
        items: counts.into_iter().map(|(at, used)| SeatsThen { at: at.into(), used }).collect(),
    }))
}
