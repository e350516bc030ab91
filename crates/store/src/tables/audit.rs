//! Audit events on their way into the chain: rows committed with a change, and blocks of lines about no change.

use std::collections::HashSet;
use std::time::Duration;

use model::audit::chain::{Chain, ChainId};
use model::audit::folding::may_hold;
use model::audit::{RequestId, StoredEvent};
use model::{InstanceId, Timestamp};
use uuid::Uuid;

use crate::tables::with_one_for_each;
use crate::{Database, Fault, SqlRow, Statement, Store, statement, values};

/// The columns that [`read`] expects, in its order.
macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            "SELECT id, at, kind, outcome, reason, actor, application, user_id, token, session, login, address, \
             user_agent, request, detail, earlier_address, earlier_user_agent, code FROM audit_events ",
            $rest
        )
    };
}

/// The lowest UUID version 7 of a millisecond.
fn least_id(at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.micros() / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

/// Event lines to be sealed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingBlock {
    pub id: String,
    pub first_at: Timestamp,
    pub lines: String,
    /// The code by which the sealer recognises the block as written by Gatehouse.
    pub code: Option<String>,
}

impl Store {
    /// Inserts an event with the code by which the sealer recognises it as written by Gatehouse.
    pub fn insert_audit_event(&self, event: StoredEvent, code: Option<String>) -> Statement {
        self.bound(
            "INSERT INTO audit_events (instance, id, at, kind, outcome, reason, actor, application, user_id, token, \
             session, address, user_agent, request, detail, login, earlier_address, earlier_user_agent, code) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
            values![
                event.id,
                event.at.micros(),
                event.kind,
                event.outcome,
                event.reason,
                event.actor,
                event.application,
                event.user,
                event.token,
                event.session,
                event.address,
                event.user_agent,
                event.request,
                event.detail,
                event.login,
                event.earlier_address,
                event.earlier_user_agent,
                code
            ],
        )
        .expect(1)
    }

    /// Inserts a block of events about no change, one JSON object a line. The id begins with the time of writing. Does
    /// nothing if the block is already waiting or sealed, so that a caller without an answer can retry.
    pub fn insert_audit_block(&self, block: WaitingBlock, last_at: Timestamp) -> Statement {
        let holds = format!("%{}.0 %", block.id);
        self.bound(
            "INSERT INTO audit_blocks (instance, id, first_at, last_at, events, code) \
             SELECT i.id, $2, $3, $4, $5, $6 FROM instances i WHERE i.id = $1 AND NOT EXISTS \
             (SELECT 1 FROM audit_seals s WHERE s.instance = $1 AND s.last_id >= $2 AND s.first_id <= $2 \
             AND s.contents LIKE $7) ON CONFLICT DO NOTHING",
            values![block.id, block.first_at.micros(), last_at.micros(), block.lines, block.code, holds],
        )
    }

    /// The oldest unsealed rows, each with its code. All are about changes; refusals of unauthenticated clients are in
    /// blocks.
    pub async fn unsealed_events(&self, limit: u32) -> Result<Vec<(StoredEvent, Option<String>)>, Fault> {
        if self.chain() != Chain::Main {
            return Ok(Vec::new());
        }
        let sql = select_events!("WHERE instance = $1 ORDER BY id LIMIT $2");
        self.rows(sql, values![limit]).await?.iter().map(|row| Ok((read(row)?, row.opt_text(17)?))).collect()
    }

    /// The oldest unsealed blocks.
    pub async fn unsealed_blocks(&self, limit: u32) -> Result<Vec<WaitingBlock>, Fault> {
        let sql = "SELECT id, first_at, events, code FROM audit_blocks WHERE instance = $1 ORDER BY id LIMIT $2";
        let block = |row: &SqlRow| {
            let (id, first_at) = (row.text(0)?, row.time(1)?);
            Ok(WaitingBlock { id, first_at, lines: row.text(2)?, code: row.opt_text(3)? })
        };
        self.rows(sql, values![limit]).await?.iter().map(block).collect()
    }

    /// Guarded: all of them are still unsealed. Two concurrent seals cannot both take an event.
    pub fn take_unsealed_events(&self, ids: &[&str]) -> Vec<Statement> {
        const START: &str = "DELETE FROM audit_events WHERE instance = $1 AND id IN ";
        with_one_for_each(START, ids)
            .map(|(sql, ids)| {
                let params = ids.iter().map(|id| (*id).into()).collect();
                statement(sql, self.with_instance(params)).expect(ids.len() as u64)
            })
            .collect()
    }

    /// Guarded: it is still unsealed.
    pub fn take_unsealed_block(&self, id: &str) -> Statement {
        self.bound("DELETE FROM audit_blocks WHERE instance = $1 AND id = $2", values![id]).expect(1)
    }

    /// The unsealed events of one request, in order. Ids begin with a time, which bounds the search. Only unsealed
    /// events contain identifying data.
    pub async fn audit_events_of(&self, request: RequestId) -> Result<Vec<StoredEvent>, Fault> {
        let (from, until) = around(request);
        let reference = request.to_string();
        let mut events = self.waiting_between(from, until).await?;
        events.retain(|event| event.request.as_deref() == Some(reference.as_str()));
        Ok(events)
    }

    /// Unsealed events that may be a folded record counting the refusal of a request.
    pub async fn waiting_folds(&self, request: RequestId) -> Result<Vec<StoredEvent>, Fault> {
        let (from, until) = around(request);
        let mut events = self.waiting_between(from, until).await?;
        events.retain(|event| may_hold(event, request));
        Ok(events)
    }

    /// Every event of the chain, oldest first. Sealed events come without identifying data.
    pub async fn audit_trail(&self) -> Result<Vec<StoredEvent>, Fault> {
        // Unsealed events are read first: an event sealed in between is then found twice rather than never, and one
        // copy is dropped.
        let mut events = self.waiting_between(Timestamp(0), Timestamp(i64::MAX)).await?;
        let waiting: HashSet<String> = events.iter().map(|event| event.id.clone()).collect();
        let (mut sealed, mut after) = (HashSet::new(), 0);
        loop {
            let seals = self.seals_after(after, 64).await?;
            let Some(last) = seals.last() else { break };
            after = last.number;
            let lines = seals.iter().flat_map(|seal| seal.events.lines());
            for (event, _) in lines.filter_map(StoredEvent::parse) {
                if waiting.contains(&event.id) {
                    sealed.insert(event.id.clone());
                }
                events.push(event);
            }
        }
        let mut number = 0;
        events.retain(|event| {
            number += 1;
            number > waiting.len() || !sealed.contains(&event.id)
        });
        events.sort_by_key(|event| event.at);
        Ok(events)
    }

    /// Unsealed events. A line of a block gets an id: the block's, with the line number.
    async fn waiting_between(&self, from: Timestamp, until: Timestamp) -> Result<Vec<StoredEvent>, Fault> {
        let rows = select_events!("WHERE instance = $1 AND id >= $2 AND id < $3 ORDER BY id");
        let blocks = "SELECT id, first_at, events FROM audit_blocks \
                      WHERE instance = $1 AND id >= $2 AND id < $3 ORDER BY id";
        let bounds = || values![least_id(from), least_id(until)];
        let mut events: Vec<StoredEvent> = match self.chain() {
            Chain::Main => self.rows(rows, bounds()).await?.iter().map(read).collect::<Result<_, Fault>>()?,
            Chain::Refusals => Vec::new(),
        };
        for block in self.rows(blocks, bounds()).await? {
            events.extend(lines_of(&block.text(0)?, block.time(1)?, &block.text(2)?));
        }
        // A stable sort keeps the events of one request in order.
        events.sort_by_key(|event| event.at);
        Ok(events)
    }
}

/// The events of a block. Their ids are the block's id with the line number.
pub fn lines_of(id: &str, first_at: Timestamp, lines: &str) -> Vec<StoredEvent> {
    let event = |line: &str| match StoredEvent::parse(line) {
        Some((event, _)) => event,
        None => StoredEvent::unreadable(first_at, line),
    };
    lines
        .lines()
        .enumerate()
        .map(|(number, line)| StoredEvent { id: format!("{id}.{number}"), doubt: None, ..event(line) })
        .collect()
}

/// The time range in which the events of a request were written.
pub(super) fn around(request: RequestId) -> (Timestamp, Timestamp) {
    const BEFORE: Duration = Duration::from_secs(1);
    // The maximum duration of a request, plus the maximum wait of a block.
    const AFTER: Duration = Duration::from_mins(2);
    (request.at().minus(BEFORE), request.at().plus(AFTER))
}

impl Database {
    /// Chains with unsealed events. Looks only at the oldest rows: events behind very many others are found once those
    /// are sealed.
    pub async fn chains_with_unsealed_events(&self) -> Result<Vec<ChainId>, Fault> {
        let sql = "SELECT instance, 'main' FROM \
                   (SELECT instance FROM audit_events ORDER BY instance, id LIMIT 50000) e \
                   UNION SELECT instance, 'main' FROM audit_blocks UNION SELECT instance, 'refusals' FROM refusal_blocks";
        let read = |row: &SqlRow| {
            let instance = InstanceId(row.uuid(0).ok()?);
            Some(ChainId { instance, chain: Chain::parse(&row.text(1).ok()?)? })
        };
        Ok(self.query(sql, vec![]).await?.iter().filter_map(read).collect())
    }
}

fn read(row: &SqlRow) -> Result<StoredEvent, Fault> {
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
        doubt: None,
        detail: row.opt_text(14)?,
        earlier_address: row.opt_text(15)?,
        earlier_user_agent: row.opt_text(16)?,
    })
}
