//! Buffer of events that report no change: lines in memory, until a tick writes them.

mod refusals;

use std::collections::VecDeque;
use std::sync::Arc;

use model::audit::chain::Chain;
use model::audit::{AnsweredCall, AuditEvent, Calls};
use model::{Moment, Timestamp};
use parking_lot::Mutex;
use store::{Fault, Statement};
use uuid::Uuid;

use crate::audit::buffer::refusals::RefusalBuffer;
use crate::audit::event_codes::AuditedStore;
use crate::audit::sealer::{PendingCallSeal, Sealer};
use crate::platform::meters::QueueFill;

/// Events that may wait to be written, in bytes of text. If the database is away for longer, requests are refused.
const MAX_WAITING: usize = 16 * 1024 * 1024;

/// Lines that the next tick writes together. Most report admitted calls, and are sealed as they stand. The others
/// (refusals, client-credentials tokens) wait as a block to be sealed.
#[derive(Default)]
pub(crate) struct AuditBuffer {
    notes: LineBuffer,
    calls: Mutex<VecDeque<CallBuffer>>,
    /// Refusals to unauthenticated clients have a share of their own: they never take the room of other events.
    pub(crate) refusals: RefusalBuffer,
}

/// Lines to be written as blocks.
#[derive(Default)]
pub(super) struct LineBuffer(Mutex<OpenLines>);

/// Bytes of text of the calls in one seal, about. They are hashed, copied and written as one, so a full seal takes
/// several times as much memory on its way. Slightly below a power of two, because the text's buffer grows by doubling.
const ENOUGH_CALLS: usize = 512 * 1024 - 8 * 1024;

/// Calls for one seal. None is added after the first attempt to seal them.
struct CallBuffer {
    calls: Arc<Calls>,
    tried: Arc<Mutex<Option<PendingCallSeal>>>,
}

impl CallBuffer {
    fn with_room(&mut self) -> Option<&mut Calls> {
        let is_open = self.tried.lock().is_none() && self.calls.bytes() < ENOUGH_CALLS;
        if is_open { Arc::get_mut(&mut self.calls) } else { None }
    }
}

#[derive(Default)]
struct OpenLines {
    lines: Vec<u8>,
    first_at: Timestamp,
    last_at: Timestamp,
    /// Blocks cut at earlier ticks, until a commit is known to have written them.
    blocks: VecDeque<LineBlock>,
}

/// Lines written as one row. The id is drawn before the first attempt, so that the database recognizes a second one.
struct LineBlock {
    id: Uuid,
    times: (Timestamp, Timestamp),
    lines: String,
}

impl OpenLines {
    fn waiting(&self) -> usize {
        self.lines.len() + self.blocks.iter().map(|block| block.lines.len()).sum::<usize>()
    }

    /// Cuts the lines noted since the last tick into blocks.
    fn cut(&mut self, moment: &mut Moment<'_>) {
        if self.lines.is_empty() {
            return;
        }
        let text = String::from_utf8(std::mem::take(&mut self.lines)).expect("events are written as JSON");
        let times = (self.first_at, self.last_at);
        self.last_at = Timestamp::default();
        for piece in pieces(&text) {
            self.blocks.push_back(LineBlock { id: moment.id(), times, lines: piece.to_owned() });
        }
    }
}

impl LineBuffer {
    /// `false` if more than `most` bytes wait already.
    pub(super) fn put(&self, event: &AuditEvent, most: usize) -> bool {
        let mut page = self.0.lock();
        if page.waiting() > most {
            return false;
        }
        if page.lines.is_empty() {
            page.first_at = event.at;
        }
        page.last_at = page.last_at.max(event.at);
        event.write_line(&mut page.lines);
        page.lines.push(b'\n');
        true
    }

    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting()
    }

    /// Blocks stay here until a commit is known to have written them. Only one caller may write at a time.
    pub(super) async fn write_down(&self, store: &AuditedStore, moment: &mut Moment<'_>) -> Result<(), Fault> {
        self.0.lock().cut(moment);
        loop {
            let batch: Vec<Statement> = {
                let page = self.0.lock();
                let some = page.blocks.iter().take(BLOCKS_AT_ONCE);
                some.map(|block| store.insert_block(block.id, block.times, &block.lines)).collect()
            };
            let written = batch.len();
            if written == 0 {
                return Ok(());
            }
            let _nothing_is_guarded = store.commit(batch.into()).await?;
            self.0.lock().blocks.drain(..written);
        }
    }
}

impl AuditBuffer {
    /// A request that cannot be audited is not answered: a full buffer is a fault. Refusals to unauthenticated clients
    /// are always answered.
    pub(crate) fn put(&self, event: AuditEvent) -> Result<(), Fault> {
        if event.chain() == Chain::Refusals {
            self.refusals.put(event);
            return Ok(());
        }
        let has_room = self.notes.put(&event, MAX_WAITING);
        if has_room { Ok(()) } else { Err(Fault::unavailable("the audit cannot be written")) }
    }

    /// As [`Self::put`], for calls, the most frequent events.
    pub(crate) fn put_call(&self, call: &AnsweredCall<'_>) -> Result<(), Fault> {
        let mut pages = self.calls.lock();
        if pages.len() * ENOUGH_CALLS > MAX_WAITING {
            return Err(Fault::unavailable("the audit cannot be written"));
        }
        if let Some(calls) = pages.back_mut().and_then(CallBuffer::with_room) {
            calls.add(call);
        } else {
            let mut calls = Calls::beginning_with(call.request);
            calls.add(call);
            pages.push_back(CallBuffer { calls: Arc::new(calls), tried: Arc::default() });
        }
        Ok(())
    }

    /// Seals the waiting calls; they stay here until they are known to be in the chain. Only one caller may seal at a
    /// time.
    pub(crate) async fn seal_calls(&self, sealer: &Sealer, now: Timestamp) -> Result<(), Fault> {
        loop {
            let first = self.calls.lock().front().map(|page| (Arc::clone(&page.calls), Arc::clone(&page.tried)));
            let Some((calls, tried)) = first else { return Ok(()) };
            sealer.seal_calls(&calls, &tried, now).await?;
            self.calls.lock().pop_front();
        }
    }

    /// Whether calls wait to be sealed.
    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.lock().is_empty()
    }

    /// Bytes of text that wait, and their bound.
    pub(crate) fn fill(&self) -> QueueFill {
        let calls: usize = self.calls.lock().iter().map(|page| page.calls.bytes()).sum();
        QueueFill { waiting: self.notes.waiting() + calls, most: MAX_WAITING }
    }

    /// Writes the lines noted since the last tick to the table where they wait to be sealed.
    pub(crate) async fn write_down(&self, store: &AuditedStore, moment: &mut Moment<'_>) -> Result<(), Fault> {
        self.notes.write_down(store, moment).await
    }
}

/// Blocks that one batch writes at most, 1 MiB, so that other writers do not wait longer.
const BLOCKS_AT_ONCE: usize = 4;

/// Splits whole lines into pieces of about 256 KiB, so that lines that waited for long are still read in small
/// portions.
fn pieces(lines: &str) -> Vec<&str> {
    const ENOUGH: usize = 256 * 1024;
    let (mut pieces, mut rest) = (Vec::new(), lines);
    while let Some(end) = rest.as_bytes().get(ENOUGH..).and_then(|more| more.iter().position(|byte| *byte == b'\n')) {
        let (piece, more) = rest.split_at(ENOUGH + end + 1);
        pieces.push(piece);
        rest = more;
    }
    pieces.extend((!rest.is_empty()).then_some(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use model::audit::{Asker, AuditKind, RequestId, RequestInfo};
    use model::refusal::MalformedRequest;

    use super::super::system_event;
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json_whatever_is_in_it() {
        let request = RequestInfo {
            address: [127, 0, 0, 1].into(),
            user_agent: Some("a\n\"b\"".into()),
            id: RequestId::new(Timestamp(0), 1, 2),
        };
        let buffer = AuditBuffer::default();
        let refusal = MalformedRequest { cause: "malformed", problem: "x" };
        let event = AuditEvent::refused(Timestamp(5), AuditKind::ApiCall, &request, Asker::Authenticated, &refusal)
            .detail(&serde_json::json!({ "path": "/a\nb" }));
        buffer.put(event.clone()).expect("there is room");
        buffer.put(event).expect("there is room");
        let text = String::from_utf8(buffer.notes.0.lock().lines.clone()).expect("JSON is UTF-8");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["detail"]["path"], "/a\nb");
        assert_eq!((&lines[0]["at"], &lines[0]["user_agent"]), (&5.into(), &"a\n\"b\"".into()));
        assert_eq!(lines[0]["request"].as_str().map(str::len), Some(32));
    }

    #[test]
    fn what_waited_for_long_is_cut_between_lines() {
        let line = "x".repeat(175_000) + "\n";
        let lines = line.repeat(3);
        let cut = pieces(&lines);
        assert_eq!(cut, [&lines[..2 * line.len()], &line]);
        assert_eq!(pieces("a\nb\n"), ["a\nb\n"]);
        assert!(pieces("").is_empty());
    }

    #[test]
    fn a_full_notebook_refuses_instead_of_losing() {
        let buffer = AuditBuffer::default();
        buffer.notes.0.lock().lines = vec![b' '; MAX_WAITING + 1];
        let refused = buffer.put(system_event(Timestamp(0), AuditKind::ApiCall)).expect_err("full");
        assert_eq!(refused.kind(), store::FaultKind::Unavailable);
    }
}
