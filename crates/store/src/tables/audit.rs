use std::time::Duration;

use model::audit::{AuditEvent, RequestId};
use model::{Timestamp, UserId};
use serde_json::Value;
use uuid::Uuid;

use super::damaged;
use crate::{Fault, Row, Statement, Store, values};

/// An event as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub at: Timestamp,
    pub kind: String,
    pub outcome: String,
    pub reason: String,
    pub actor: Option<String>,
    pub application: Option<String>,
    /// The id of the user.
    pub user: Option<String>,
    pub token: Option<String>,
    pub session: Option<String>,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub request: Option<String>,
    /// JSON.
    pub detail: Option<String>,
}

/// The first UUID version 7 of a millisecond.
fn least_id(at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.micros() / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

impl Store {
    pub fn insert_audit_event(&self, id: Uuid, event: &AuditEvent) -> Statement {
        let visitor = event.visitor.as_ref();
        self.bound(
            "INSERT INTO audit_events (instance, id, at, kind, outcome, reason, actor, application, user_id, token, \
             session, address, user_agent, request, detail) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            values![
                id,
                event.at.micros(),
                event.kind.as_str(),
                event.outcome.as_str(),
                event.reason,
                event.actor.as_deref(),
                event.application.as_deref(),
                event.user.map(|UserId(user)| user),
                event.token.as_deref(),
                event.session.as_deref(),
                visitor.map(|visitor| visitor.address.to_string()),
                visitor.and_then(|visitor| visitor.user_agent.as_deref()),
                visitor.map(|visitor| visitor.request.to_string()),
                event.detail.as_deref()
            ],
        )
        .expect(1)
    }

    /// Events that tell of no change, one JSON object a line; `id` begins with the time of writing.
    pub fn insert_audit_block(
        &self,
        id: Uuid,
        (first_at, last_at): (Timestamp, Timestamp),
        events: String,
    ) -> Statement {
        self.bound(
            "INSERT INTO audit_blocks (instance, id, first_at, last_at, events) VALUES ($1, $2, $3, $4, $5)",
            values![id, first_at.micros(), last_at.micros(), events],
        )
        .expect(1)
    }

    /// The events of one request, in their order. Ids begin with a time, and so bound the search.
    pub async fn audit_events_of(&self, request: RequestId) -> Result<Vec<StoredEvent>, Fault> {
        const BEFORE: Duration = Duration::from_secs(1);
        // The longest a request is given, and a block may wait.
        const AFTER: Duration = Duration::from_mins(2);
        let (from, until) = (request.at().minus(BEFORE), request.at().plus(AFTER));
        let reference = request.to_string();
        let mut events = self.audit_between(from, until).await?;
        events.retain(|event| event.request.as_deref() == Some(reference.as_str()));
        Ok(events)
    }

    /// Every event, oldest first.
    pub async fn audit_trail(&self) -> Result<Vec<StoredEvent>, Fault> {
        self.audit_between(Timestamp(0), Timestamp(i64::MAX)).await
    }

    async fn audit_between(&self, from: Timestamp, until: Timestamp) -> Result<Vec<StoredEvent>, Fault> {
        let rows = "SELECT at, kind, outcome, reason, actor, application, user_id, token, session, address, user_agent, \
                    request, detail FROM audit_events WHERE instance = $1 AND id >= $2 AND id < $3 ORDER BY id";
        let blocks = "SELECT events FROM audit_blocks WHERE instance = $1 AND id >= $2 AND id < $3 ORDER BY id";
        let bounds = || values![least_id(from), least_id(until)];
        let mut events = Vec::new();
        for row in self.rows(rows, bounds()).await? {
            events.push(StoredEvent::from_row(&row)?);
        }
        for block in self.rows(blocks, bounds()).await? {
            for line in block.text(0)?.lines() {
                events.push(StoredEvent::from_line(line)?);
            }
        }
        // Stable: what one request did stays in its order.
        events.sort_by_key(|event| event.at);
        Ok(events)
    }
}

impl StoredEvent {
    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            at: row.time(0)?,
            kind: row.text(1)?,
            outcome: row.text(2)?,
            reason: row.text(3)?,
            actor: row.opt_text(4)?,
            application: row.opt_text(5)?,
            user: row.opt_text(6)?,
            token: row.opt_text(7)?,
            session: row.opt_text(8)?,
            address: row.opt_text(9)?,
            user_agent: row.opt_text(10)?,
            request: row.opt_text(11)?,
            detail: row.opt_text(12)?,
        })
    }

    fn from_line(line: &str) -> Result<Self, Fault> {
        let line: Value = serde_json::from_str(line).map_err(Fault::failed)?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        Ok(Self {
            at: Timestamp(line["at"].as_i64().ok_or_else(|| damaged("an event has a time"))?),
            kind: text("kind").ok_or_else(|| damaged("an event has a kind"))?,
            outcome: text("outcome").ok_or_else(|| damaged("an event has an outcome"))?,
            reason: text("reason").unwrap_or_default(),
            actor: text("actor"),
            application: text("application"),
            user: text("user"),
            token: text("token"),
            session: text("session"),
            address: text("address"),
            user_agent: text("user_agent"),
            request: text("request"),
            detail: line.get("detail").map(Value::to_string),
        })
    }
}
