//! Last uses of reference tokens: noted on calls, written in batches.

use std::collections::HashMap;
use std::time::Duration;

use model::{ReferenceTokenId, Timestamp};
use parking_lot::RwLock;
use store::{Batch, Store};

use crate::Fault;

/// Last uses of tokens, to the minute: noted on calls, written in batches.
#[derive(Default)]
pub(crate) struct LastUsed(RwLock<TokenUses>);

#[derive(Default)]
struct TokenUses {
    waiting: HashMap<ReferenceTokenId, Timestamp>,
    /// Written within the last minute or two: a token in constant use costs one write a minute.
    written: [HashMap<ReferenceTokenId, Timestamp>; 2],
    turned: Timestamp,
}

impl TokenUses {
    fn knows(&self, id: ReferenceTokenId, now: Timestamp) -> bool {
        let lately = self.written.iter().filter_map(|written| written.get(&id));
        self.waiting.contains_key(&id) || lately.max().is_some_and(|at| *at <= now && now.since(*at) < EXACTLY)
    }
}

/// Precision of a token's last use.
const EXACTLY: Duration = Duration::from_mins(1);

/// Maximum number of remembered uses. Beyond it, a use is written again sooner, or is not noted yet.
const MAX_NOTED: usize = 100_000;

/// Uses written in one batch. One batch a tick, so that many tokens do not delay other writers.
const WRITTEN_AT_ONCE: usize = 100;

impl LastUsed {
    pub(crate) fn note(&self, id: ReferenceTokenId, now: Timestamp) {
        if self.0.read().knows(id, now) {
            return;
        }
        let mut uses = self.0.write();
        if uses.waiting.len() < MAX_NOTED {
            uses.waiting.insert(id, now);
        }
    }

    /// Writes one batch. Answers whether more uses wait.
    pub(crate) async fn flush(&self, store: &Store, now: Timestamp) -> Result<bool, Fault> {
        let mut noted: Vec<_> = self.0.read().waiting.iter().map(|(id, at)| (*id, *at)).take(WRITTEN_AT_ONCE).collect();
        if noted.is_empty() {
            return Ok(false);
        }
        // All nodes use the same order, so that their batches do not wait for each other.
        noted.sort_unstable();
        let statements: Vec<_> = noted.iter().map(|(id, at)| store.reference_token_used(*id, *at)).collect();
        let _written = store.commit(Batch::from(statements)).await?;
        let mut uses = self.0.write();
        if uses.written[0].len() >= MAX_NOTED || now.since(uses.turned) >= EXACTLY || uses.turned > now {
            uses.turned = now;
            uses.written.swap(0, 1);
            uses.written[0].clear();
        }
        for (id, at) in noted {
            uses.waiting.remove(&id);
            uses.written[0].insert(id, at);
        }
        Ok(!uses.waiting.is_empty())
    }
}
