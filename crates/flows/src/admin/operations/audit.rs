//! Operations on the audit.

use model::audit::Doubt;
use model::audit::chain::Chain;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Answer;
use crate::admin::AdminRefusal;
use crate::admin::AuditedEvent;
use crate::admin::act::AdminAct;
use crate::admin::operations::{
    AdminOperation, AnySignIn, ListPage, OperationContext, OperationEntry, Time, cursor_text, granted,
};
use crate::audit::{ChainPosition, EventFilter, VerificationResult};

pub(super) const OPERATIONS: &[OperationEntry] = &[
    OperationEntry::of::<ListEvents>(),
    EXPORT_EVENTS,
    OperationEntry::of::<VerifyAudit>(),
    OperationEntry::of::<GetRefusal>(),
];

/// A file is streamed, so this operation has no output to describe.
pub const EXPORT_EVENTS: OperationEntry = OperationEntry {
    name: "exportEvents",
    summary: "Export the audit as a file, oldest event first",
    needs_recent_sign_in: false,
    acts: &[],
};

/// An event of the audit.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventEntry {
    pub id: String,
    pub at: Time,
    pub kind: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// The cause of a refusal, as a code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// `ApplicationUri` of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Id of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's login. Absent once the user is erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Id of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Address of the earlier request that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier_user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Why the event may not be authentic: `unattested`, `forged` or `repeated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<&'static str>,
    /// Further details, depending on the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

impl From<AuditedEvent> for EventEntry {
    fn from(event: AuditedEvent) -> Self {
        Self {
            id: event.id,
            at: event.at.into(),
            kind: event.kind,
            outcome: event.outcome,
            reason: event.reason,
            actor: event.actor,
            application: event.application,
            user: event.user,
            login: event.login,
            token: event.token,
            session: event.session,
            address: event.address,
            user_agent: event.user_agent,
            earlier_address: event.earlier_address,
            earlier_user_agent: event.earlier_user_agent,
            request: event.request,
            doubt: event.doubt.map(Doubt::as_str),
            detail: event.detail.and_then(|text| serde_json::from_str(&text).ok()),
        }
    }
}

/// Events from a position on, newest first.
pub struct EventQuery {
    pub filter: EventFilter,
    pub from: Option<ChainPosition>,
    pub limit: u32,
}

/// The position of a cursor's key: three numbers with dots.
pub fn position(key: &str) -> Option<ChainPosition> {
    let mut numbers = key.split('.');
    let (first, seal, event) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let position = ChainPosition { first: first.parse().ok()?, seal: seal.parse().ok()?, event: event.parse().ok()? };
    numbers.next().is_none().then_some(position)
}

pub struct ListEvents;

impl AdminOperation for ListEvents {
    const NAME: &'static str = "listEvents";
    const SUMMARY: &'static str = "List audit events, newest first";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = EventQuery;
    type Output = ListPage<EventEntry>;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        EventQuery { filter, from, limit }: EventQuery,
    ) -> Answer<ListPage<EventEntry>, AdminRefusal> {
        let listed = context.service.events_before(&filter, from, limit as usize).await?;
        let items = listed.events.into_iter().map(EventEntry::from).collect();
        let next =
            listed.next.map(|ChainPosition { first, seal, event }| cursor_text(&format!("{first}.{seal}.{event}")));
        Ok(Ok(ListPage { items, next }))
    }
}

/// The result of verifying the audit.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Whether no tampering was found.
    pub whole: bool,
    pub seals: u64,
    pub events: u64,
    /// Number of events about erased users.
    pub erased: u64,
    /// Number of events without an authentication code: written by an older version or by someone else.
    pub unattested: u64,
    /// Whether the only finding is that the database lost its newest seals, as recorded by a break.
    pub only_broken: bool,
    /// The newest seal.
    pub newest: i64,
    /// The newest seal covered by a signature.
    pub signed: i64,
    /// Whether there are events that are not sealed yet.
    pub waiting: bool,
    /// The findings.
    pub findings: Vec<String>,
    /// Number of further findings.
    pub more: usize,
    /// The result for the refusals chain. All other members are about the main chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusals: Option<Box<Verification>>,
}

impl From<VerificationResult> for Verification {
    fn from(verdict: VerificationResult) -> Self {
        Self {
            whole: verdict.is_whole(),
            seals: verdict.seals,
            events: verdict.events,
            erased: verdict.erased,
            unattested: verdict.unattested.events,
            only_broken: verdict.is_only_broken(),
            newest: verdict.newest,
            signed: verdict.signed,
            waiting: verdict.waiting,
            findings: verdict.findings.iter().map(ToString::to_string).collect(),
            more: verdict.more,
            refusals: None,
        }
    }
}

pub struct VerifyAudit;

impl AdminOperation for VerifyAudit {
    const NAME: &'static str = "verifyAudit";
    const SUMMARY: &'static str = "Verify both chains of the audit and report any tampering";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = ();
    type Output = Verification;

    async fn run(context: &mut OperationContext<'_, AnySignIn>, (): ()) -> Answer<Verification, AdminRefusal> {
        let main = context.service.audit_reader(context.master).verify(&[], |_, _| {}).await?;
        let main = granted!(main.map_err(AdminRefusal::from));
        let refusals = context.service.audit_reader_of(Chain::Refusals, context.master).await?;
        let refusals = granted!(refusals.verify(&[], |_, _| {}).await?.map_err(AdminRefusal::from));
        Ok(Ok(Verification { refusals: Some(Box::new(refusals.into())), ..main.into() }))
    }
}

/// The audit events of one request, in order.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Events")]
pub struct RequestEvents {
    pub items: Vec<EventEntry>,
}

pub struct GetRefusal;

impl AdminOperation for GetRefusal {
    const NAME: &'static str = "getRefusal";
    const SUMMARY: &'static str = "Explain a refusal by its reference";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = String;
    type Output = RequestEvents;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        reference: String,
    ) -> Answer<RequestEvents, AdminRefusal> {
        let events = context.service.why(&reference, context.moment.now).await?;
        Ok(events.map(|events| RequestEvents { items: events.into_iter().map(EventEntry::from).collect() }))
    }
}
