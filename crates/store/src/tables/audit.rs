//! Events on their way into the chain: rows that were committed with a change, and blocks of lines that tell of none.

use std::time::Duration;

use model::audit::{AuditEvent, RequestId, StoredEvent};
use model::{InstanceId, Timestamp, UserId};
use uuid::Uuid;

use super::with_one_for_each;
use crate::{Database, Fault, Row, Statement, Store, statement, values};

/// The columns that [`read`] expects, in its order.
macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            "SELECT id, at, kind, outcome, reason, actor, application, user_id, token, session, login, address, \
             user_agent, request, detail, earlier_address, earlier_user_agent FROM audit_events ",
            $rest
        )
    };
}

/// The first UUID version 7 of a millisecond.
fn least_id(at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.micros() / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

impl Store {
    pub fn insert_audit_event(&self, id: Uuid, event: &AuditEvent) -> Statement {
        let (visitor, earlier) = (event.visitor.as_ref(), event.earlier.as_ref());
        self.bound(
            "INSERT INTO audit_events (instance, id, at, kind, outcome, reason, actor, application, user_id, token, \
             session, address, user_agent, request, detail, login, earlier_address, earlier_user_agent) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
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
                event.detail.as_deref(),
                event.login.as_deref(),
                earlier.map(|origin| origin.address.to_string()),
                earlier.and_then(|origin| origin.user_agent.as_deref())
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

    /// The oldest rows that wait for their seal.
    pub async fn unsealed_events(&self, limit: u32) -> Result<Vec<StoredEvent>, Fault> {
        let sql = select_events!("WHERE instance = $1 ORDER BY id LIMIT $2");
        self.rows(sql, values![limit]).await?.iter().map(read).collect()
    }

    /// The oldest blocks that wait for their seal: id, first time, lines.
    pub async fn unsealed_blocks(&self, limit: u32) -> Result<Vec<(String, Timestamp, String)>, Fault> {
        let sql = "SELECT id, first_at, events FROM audit_blocks WHERE instance = $1 ORDER BY id LIMIT $2";
        let rows = self.rows(sql, values![limit]).await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.time(1)?, row.text(2)?))).collect()
    }

    /// Guarded: each of them still waits. Two that seal at once cannot both take an event.
    pub fn take_unsealed_events(&self, ids: &[&str]) -> Vec<Statement> {
        const START: &str = "DELETE FROM audit_events WHERE instance = $1 AND id IN ";
        with_one_for_each(START, ids)
            .map(|(sql, ids)| {
                let params = ids.iter().map(|id| (*id).into()).collect();
                statement(sql, self.with_instance(params)).expect(ids.len() as u64)
            })
            .collect()
    }

    /// Guarded: it still waits.
    pub fn take_unsealed_block(&self, id: &str) -> Statement {
        self.bound("DELETE FROM audit_blocks WHERE instance = $1 AND id = $2", values![id]).expect(1)
    }

    /// The events of one request, in their order. Ids begin with a time, and so bound the search. What identifies a
    /// person is in those that wait for their seal only.
    pub async fn audit_events_of(&self, request: RequestId) -> Result<Vec<StoredEvent>, Fault> {
        let (from, until) = around(request);
        let reference = request.to_string();
        let mut events = self.waiting_between(from, until).await?;
        events.retain(|event| event.request.as_deref() == Some(reference.as_str()));
        Ok(events)
    }

    /// Every event, oldest first; without what identifies a person where it is sealed.
    pub async fn audit_trail(&self) -> Result<Vec<StoredEvent>, Fault> {
        let mut events = self.waiting_between(Timestamp(0), Timestamp(i64::MAX)).await?;
        let mut after = 0;
        loop {
            let seals = self.seals_after(after, 64).await?;
            let Some(last) = seals.last() else { break };
            after = last.number;
            let lines = seals.iter().flat_map(|seal| seal.events.lines());
            events.extend(lines.filter_map(|line| StoredEvent::parse(line).map(|(event, _)| event)));
        }
        events.sort_by_key(|event| event.at);
        Ok(events)
    }

    /// Events that wait for their seal. Lines get their id here: the block's, and their number in it.
    async fn waiting_between(&self, from: Timestamp, until: Timestamp) -> Result<Vec<StoredEvent>, Fault> {
        let rows = select_events!("WHERE instance = $1 AND id >= $2 AND id < $3 ORDER BY id");
        let blocks = "SELECT id, first_at, events FROM audit_blocks \
                      WHERE instance = $1 AND id >= $2 AND id < $3 ORDER BY id";
        let bounds = || values![least_id(from), least_id(until)];
        let mut events: Vec<StoredEvent> =
            self.rows(rows, bounds()).await?.iter().map(read).collect::<Result<_, Fault>>()?;
        for block in self.rows(blocks, bounds()).await? {
            events.extend(lines_of(&block.text(0)?, block.time(1)?, &block.text(2)?));
        }
        // Stable: what one request did stays in its order.
        events.sort_by_key(|event| event.at);
        Ok(events)
    }
}

/// The events of a block. Their ids are the block's, with the number of the line.
pub fn lines_of(id: &str, first_at: Timestamp, lines: &str) -> Vec<StoredEvent> {
    let event = |line: &str| match StoredEvent::parse(line) {
        Some((event, _)) => event,
        None => StoredEvent::unreadable(first_at, line),
    };
    lines
        .lines()
        .enumerate()
        .map(|(number, line)| StoredEvent { id: format!("{id}.{number}"), ..event(line) })
        .collect()
}

/// When the events of a request may have been written.
pub(super) fn around(request: RequestId) -> (Timestamp, Timestamp) {
    const BEFORE: Duration = Duration::from_secs(1);
    // The longest a request is given, and a block may wait.
    const AFTER: Duration = Duration::from_mins(2);
    (request.at().minus(BEFORE), request.at().plus(AFTER))
}

impl Database {
    /// Instances with events that wait for their seal. A look at the oldest: what waits behind very many others is seen
    /// once those are sealed.
    pub async fn instances_with_unsealed_events(&self) -> Result<Vec<InstanceId>, Fault> {
        let sql = "SELECT instance FROM (SELECT instance FROM audit_events ORDER BY instance, id LIMIT 50000) e \
                   UNION SELECT instance FROM audit_blocks";
        Ok(self.query(sql, vec![]).await?.iter().filter_map(|row| row.uuid(0).ok().map(InstanceId)).collect())
    }
}

fn read(row: &Row) -> Result<StoredEvent, Fault> {
    Ok(StoredEvent {
        id: row.text(0)?,
        at: row.time(1)?,
        kind: row.text(2)?,
        outcome: row.text(3)?,
        reason: row.text(4)?,
        actor: row.opt_text(5)?,
        application: row.opt_text(6)?,
        user: row.opt_text(7)?,
        token: row.opt_text(8)?,
        session: row.opt_text(9)?,
        login: row.opt_text(10)?,
        address: row.opt_text(11)?,
        user_agent: row.opt_text(12)?,
        request: row.opt_text(13)?,
        detail: row.opt_text(14)?,
        earlier_address: row.opt_text(15)?,
        earlier_user_agent: row.opt_text(16)?,
    })
}
