//! Operations on API sessions and seats: who is using the APIs.

use std::collections::{BTreeSet, HashMap};

use model::seat::SessionKey;
use model::{ApiSessionId, ApplicationId};
use schemars::JsonSchema;
use serde::Serialize;
use store::ApiSessionRow;
use uuid::Uuid;

use crate::admin::act::AdminAct;
use crate::admin::operations::{AdminOperation, AnySignIn, ListPage, OperationContext, OperationEntry, Time, granted};
use crate::admin::sessions::SessionSelector;
use crate::admin::{AdminRefusal, AdminService};
use crate::{Answer, Fault};

pub(super) const OPERATIONS: &[OperationEntry] = &[
    OperationEntry::of::<ListSessions>(),
    OperationEntry::of::<EndSessions>(),
    OperationEntry::of::<EndSession>(),
    OperationEntry::of::<GetSeats>(),
    OperationEntry::of::<GetSeatHistory>(),
];

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Kind")]
pub enum SessionKind {
    /// Opened by a user's access token.
    Person,
    /// Opened by a service's access token.
    Service,
    /// Opened by a reference token.
    Key,
    /// Opened by a password (Basic or ErpLogin).
    Legacy,
}

impl SessionKind {
    const fn of(key: &SessionKey) -> Self {
        match key {
            SessionKey::SignIn(_) => Self::Person,
            SessionKey::Service(_) => Self::Service,
            SessionKey::Reference(_) => Self::Key,
            SessionKey::Basic(..) | SessionKey::ErpLogin(..) => Self::Legacy,
        }
    }
}

/// A live API session. The data is at most one second old.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    pub id: Uuid,
    pub kind: SessionKind,
    /// Id of the user it acts as.
    pub user: Uuid,
    pub login: String,
    /// `ApplicationUri`s of the applications that use it.
    pub applications: Vec<String>,
    /// `shared` or `reserved`.
    pub seat: &'static str,
    pub opened_at: Time,
    pub last_call: Time,
    pub calls: u64,
    pub address: String,
    /// When it closes unless another call arrives.
    pub ends_at: Time,
    #[serde(skip)]
    pub key: SessionKey,
}

impl SessionEntry {
    fn of(session: ApiSessionRow, applications: Vec<String>) -> Self {
        Self {
            id: session.id.0,
            kind: SessionKind::of(&session.key),
            user: session.user.0,
            login: session.login.as_str().to_owned(),
            applications,
            seat: session.seat.as_str(),
            opened_at: session.opened_at.into(),
            last_call: session.last_call.into(),
            calls: session.calls,
            address: session.address,
            ends_at: session.ends_at.into(),
            key: session.key,
        }
    }
}

/// The next live sessions after an id, newest first.
pub struct SessionQuery {
    pub login: Option<String>,
    pub after: Option<ApiSessionId>,
    pub limit: u32,
}

/// The `ApplicationUri`s of the applications that use these sessions.
async fn application_uris(
    service: &AdminService<'_>,
    sessions: &[ApiSessionRow],
) -> Result<HashMap<ApplicationId, String>, Fault> {
    let ids: BTreeSet<ApplicationId> = sessions.iter().flat_map(|row| row.applications.iter().copied()).collect();
    let mut uris = HashMap::new();
    for id in ids {
        let found = service.store().application(id).await?;
        uris.extend(found.map(|application| (id, application.uri.as_str().to_owned())));
    }
    Ok(uris)
}

pub struct ListSessions;

impl AdminOperation for ListSessions {
    const NAME: &'static str = "listSessions";
    const SUMMARY: &'static str = "List live API sessions, newest first";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = SessionQuery;
    type Output = ListPage<SessionEntry>;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        SessionQuery { login, after, limit }: SessionQuery,
    ) -> Answer<ListPage<SessionEntry>, AdminRefusal> {
        let rows = context.service.sessions_before(after, login.as_deref(), limit + 1).await?;
        let uris = application_uris(&context.service, &rows).await?;
        let show = |row: ApiSessionRow| {
            let applications = row.applications.iter().filter_map(|id| uris.get(id).cloned()).collect();
            SessionEntry::of(row, applications)
        };
        Ok(Ok(ListPage::of(rows, limit, |row| row.id.to_string(), show)))
    }
}

/// Whose sessions end.
pub enum SessionsOf {
    /// By login.
    User(String),
    /// By `ApplicationUri`.
    Application(String),
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Ended")]
pub struct EndedSessions {
    /// How many sessions ended.
    pub ended: usize,
}

pub struct EndSessions;

impl AdminOperation for EndSessions {
    const NAME: &'static str = "endSessions";
    const SUMMARY: &'static str = "End all API sessions of a user or an application";
    const ACTS: &'static [AdminAct] = &[AdminAct::EndSessions];
    type Authority = AnySignIn;
    type Input = SessionsOf;
    type Output = EndedSessions;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        whose: SessionsOf,
    ) -> Answer<EndedSessions, AdminRefusal> {
        let selector = match &whose {
            SessionsOf::User(login) => SessionSelector::OfUser(login),
            SessionsOf::Application(uri) => SessionSelector::OfApplication(uri),
        };
        let ended = context.service.end_sessions(selector, &mut context.moment).await?;
        Ok(ended.map(|ended| EndedSessions { ended }).map_err(AdminRefusal::of_a_member))
    }
}

pub struct EndSession;

impl AdminOperation for EndSession {
    const NAME: &'static str = "endSession";
    const SUMMARY: &'static str = "End an API session and free its seat";
    const ACTS: &'static [AdminAct] = &[AdminAct::EndSessions];
    type Authority = AnySignIn;
    type Input = ApiSessionId;
    type Output = ();

    async fn run(context: &mut OperationContext<'_, AnySignIn>, id: ApiSessionId) -> Answer<(), AdminRefusal> {
        granted!(context.service.end_sessions(SessionSelector::One(id), &mut context.moment).await?);
        Ok(Ok(()))
    }
}

/// The licence seats of the instance.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Seats")]
pub struct SeatUsage {
    /// Number of seats. `null` means unlimited.
    pub total: Option<u32>,
    pub used: u64,
    /// Users with a guaranteed seat.
    pub reserved: Vec<ReservedSeat>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Reserved")]
pub struct ReservedSeat {
    pub login: String,
    pub holds_a_seat: bool,
}

pub struct GetSeats;

impl AdminOperation for GetSeats {
    const NAME: &'static str = "getSeats";
    const SUMMARY: &'static str = "Get licence seat usage";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = ();
    type Output = SeatUsage;

    async fn run(context: &mut OperationContext<'_, AnySignIn>, (): ()) -> Answer<SeatUsage, AdminRefusal> {
        let (seats, reserved) = context.service.seats().await?;
        let reserved =
            reserved.into_iter().map(|(login, holds_a_seat)| ReservedSeat { login: login.to_string(), holds_a_seat });
        Ok(Ok(SeatUsage { total: seats.seats, used: seats.used, reserved: reserved.collect() }))
    }
}

/// How many seats were taken at a time.
#[derive(Serialize, JsonSchema)]
pub struct SeatsThen {
    pub at: Time,
    pub used: u64,
}

/// The last day, a quarter of an hour after another; the last entry is now.
#[derive(Serialize, JsonSchema)]
pub struct SeatHistory {
    pub items: Vec<SeatsThen>,
}

pub struct GetSeatHistory;

impl AdminOperation for GetSeatHistory {
    const NAME: &'static str = "getSeatHistory";
    const SUMMARY: &'static str = "Get licence seat usage over the last 24 hours";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = ();
    type Output = SeatHistory;

    async fn run(context: &mut OperationContext<'_, AnySignIn>, (): ()) -> Answer<SeatHistory, AdminRefusal> {
        let counts = context.service.seats_over_the_day(context.moment.now).await?;
        let items = counts.into_iter().map(|(at, used)| SeatsThen { at: at.into(), used });
        Ok(Ok(SeatHistory { items: items.collect() }))
    }
}
