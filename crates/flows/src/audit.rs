//! How events reach the audit: with the change they tell of, or, where nothing changed, in batches of at most a second.
//! The sealer then makes a chain of them.

mod attest;
mod book;
mod checkpoints;
mod export;
mod list;
mod people;
mod publishing;
mod retention;
mod sealer;
mod seam;

use std::collections::VecDeque;
use std::sync::Arc;

use model::audit::{AnsweredCall, AuditEvent, AuditKind, AuditOutcome, Calls};
use model::{Dice, Moment, Timestamp};
use parking_lot::Mutex;
use store::{Fault, Statement};

pub(crate) use self::attest::AuditedStore;
pub(crate) use self::book::events_of;
pub use self::book::{Book, BookEvent, Pages, Span, Verdict, sealed_trail};
pub use self::export::{Export, Format};
pub use self::list::{Listed, Place, Wanted};
pub use self::people::Known;
pub(crate) use self::publishing::Noticeboard;
pub use self::publishing::PublishedCheckpoint;
pub(crate) use self::sealer::Sealer;

use crate::meters::Fill;

/// Writes events into the batch of the change that they tell of.
pub(crate) struct Trail<'a> {
    store: &'a AuditedStore,
    dice: &'a mut dyn Dice,
    now: Timestamp,
}

impl<'a> Trail<'a> {
    pub(crate) fn new(store: &'a AuditedStore, dice: &'a mut dyn Dice, now: Timestamp) -> Self {
        Self { store, dice, now }
    }

    pub(crate) fn event(&mut self, event: &AuditEvent) -> Statement {
        self.store.insert_event(self.dice.id(self.now), event)
    }

    pub(crate) fn key_rotated(&mut self, what: &'static str, kid: &str) -> Statement {
        let mut event = house_event(self.now, AuditKind::KeyRotated);
        event.detail = Some(serde_json::json!({ "key": kid, "what": what }).to_string());
        self.event(&event)
    }
}

/// An event that the house causes itself: no visitor.
pub(crate) fn house_event(at: Timestamp, kind: AuditKind) -> AuditEvent {
    AuditEvent {
        at,
        kind,
        outcome: AuditOutcome::Done,
        reason: "",
        actor: Some("gatehouse".into()),
        application: None,
        user: None,
        token: None,
        session: None,
        visitor: None,
        earlier: None,
        login: None,
        detail: None,
    }
}

/// Events that may wait to be written, in bytes of text. A database that is away longer is told of by refusing.
const MOST_WAITING: usize = 16 * 1024 * 1024;

/// Where events go that tell of no change: lines in memory, until the next beat writes them together. Most tell of calls
/// that were let in; these are sealed as they stand. The others (refusals, client-credentials tokens) wait for their seal
/// as a block.
#[derive(Default)]
pub(crate) struct Notebook {
    notes: Mutex<Page>,
    calls: Mutex<Vec<Arc<Calls>>>,
}

/// Calls that one seal holds at most, in bytes of text, about: they are hashed, copied and written as one, so that what a
/// full seal takes on its way is several times as much. A little less than what a text that doubles comes to.
const ENOUGH_CALLS: usize = 512 * 1024 - 8 * 1024;

#[derive(Default)]
struct Page {
    lines: Vec<u8>,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl Notebook {
    /// What cannot be told of is not answered: a full notebook is a fault.
    pub(crate) fn put(&self, event: &AuditEvent) -> Result<(), Fault> {
        let mut page = self.notes.lock();
        if page.lines.len() > MOST_WAITING {
            return Err(Fault::unavailable("the audit cannot be written"));
        }
        if page.lines.is_empty() {
            page.first_at = event.at;
        }
        page.last_at = page.last_at.max(event.at);
        event.write_line(&mut page.lines);
        page.lines.push(b'\n');
        Ok(())
    }

    /// As [`Self::put`], for what is put here most often.
    pub(crate) fn put_call(&self, call: &AnsweredCall<'_>) -> Result<(), Fault> {
        let mut pages = self.calls.lock();
        if pages.len() * ENOUGH_CALLS > MOST_WAITING {
            return Err(Fault::unavailable("the audit cannot be written"));
        }
        match pages.last_mut().and_then(Arc::get_mut) {
            Some(page) if page.bytes() < ENOUGH_CALLS => page.add(call),
            _ => {
                let mut page = Calls::beginning_with(call.request);
                page.add(call);
                pages.push(Arc::new(page));
            }
        }
        Ok(())
    }

    /// Calls go into the chain. What cannot be sealed goes back before what was noted meanwhile.
    pub(crate) async fn seal_calls(&self, sealer: &Sealer, now: Timestamp) -> Result<(), Fault> {
        let mut pages: VecDeque<_> = std::mem::take(&mut *self.calls.lock()).into();
        while let Some(page) = pages.front() {
            if let Err(fault) = sealer.seal_calls(page, now).await {
                self.calls.lock().splice(0..0, pages);
                return Err(fault);
            }
            pages.pop_front();
        }
        Ok(())
    }

    /// Whether calls wait for their seal.
    pub(crate) fn has_calls(&self) -> bool {
        !self.calls.lock().is_empty()
    }

    /// What waits, in bytes of text.
    pub(crate) fn fill(&self) -> Fill {
        let calls: usize = self.calls.lock().iter().map(|page| page.bytes()).sum();
        Fill { waiting: self.notes.lock().lines.len() + calls, most: MOST_WAITING }
    }

    /// What cannot be written goes back before what was noted meanwhile.
    pub(crate) async fn write_down(&self, store: &AuditedStore, moment: &mut Moment<'_>) -> Result<(), Fault> {
        let page = std::mem::take(&mut *self.notes.lock());
        if page.lines.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8(page.lines).expect("events are written as JSON");
        let times = (page.first_at, page.last_at);
        let mut rest = text.as_str();
        for blocks in pieces(&text).chunks(BLOCKS_AT_ONCE) {
            let batch: Vec<_> = blocks.iter().map(|piece| store.insert_block(moment.id(), times, piece)).collect();
            if let Err(fault) = store.commit(batch.into()).await {
                let mut newer = self.notes.lock();
                let mut lines = rest.as_bytes().to_vec();
                lines.append(&mut newer.lines);
                newer.lines = lines;
                newer.first_at = page.first_at;
                return Err(fault);
            }
            rest = &rest[blocks.iter().map(|piece| piece.len()).sum()..];
        }
        Ok(())
    }
}

/// Blocks that one batch writes at most, 1 MiB: others wait for the writer no longer.
const BLOCKS_AT_ONCE: usize = 4;

/// Whole lines, in pieces of about 256 KiB: what waited for long is still read little by little.
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
    use model::audit::{RequestId, Visitor};
    use model::why::Unreadable;

    use super::*;

    #[test]
    fn an_event_is_one_line_of_json_whatever_is_in_it() {
        let visitor = Visitor {
            address: [127, 0, 0, 1].into(),
            user_agent: Some("a\n\"b\"".into()),
            request: RequestId::new(Timestamp(0), 1, 2),
        };
        let notebook = Notebook::default();
        let refusal = Unreadable { cause: "malformed", problem: "x" };
        let event = AuditEvent::refused(Timestamp(5), AuditKind::ApiCall, &visitor, &refusal)
            .detail(&serde_json::json!({ "path": "/a\nb" }));
        notebook.put(&event).expect("there is room");
        notebook.put(&event).expect("there is room");
        let text = String::from_utf8(notebook.notes.lock().lines.clone()).expect("JSON is UTF-8");
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
        let notebook = Notebook::default();
        notebook.notes.lock().lines = vec![b' '; MOST_WAITING + 1];
        let refused = notebook.put(&house_event(Timestamp(0), AuditKind::ApiCall)).expect_err("full");
        assert_eq!(refused.kind(), store::FaultKind::Unavailable);
    }
}
