//! When reference tokens were last used: noted on calls, written in batches.

use std::collections::HashMap;
use std::time::Duration;

use model::{ReferenceTokenId, Timestamp};
use parking_lot::RwLock;
use store::{Batch, Store};

use crate::Fault;

/// When tokens were last used, to the minute: noted on calls, written in batches.
#[derive(Default)]
pub(crate) struct LastUsed(RwLock<TokenUses>);

#[derive(Default)]
struct TokenUses {
    waiting: HashMap<ReferenceTokenId, Timestamp>,
    /// Written down within the last minute or two: a token that is used all the time is a write a minute.
    written: [HashMap<ReferenceTokenId, Timestamp>; 2],
    turned: Timestamp,
}

impl TokenUses {
    fn knows(&self, id: ReferenceTokenId, now: Timestamp) -> bool {
        let lately = self.written.iter().filter_map(|written| written.get(&id));
        self.waiting.contains_key(&id) || lately.max().is_some_and(|at| *at <= now && now.since(*at) < EXACTLY)
    }
}

/// How exactly the last use of a token is known.
const EXACTLY: Duration = Duration::from_mins(1);

/// Uses that are remembered at most. One that is not is noted again sooner, or not yet.
const MAX_NOTED: usize = 100_000;

/// Uses written down in one batch. One batch a beat, so that a crowd of tokens holds nobody else up.
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

    /// One batch; whether there is more.
    pub(crate) async fn flush(&self, store: &Store, now: Timestamp) -> Result<bool, Fault> {
        let mut noted: Vec<_> = self.0.read().waiting.iter().map(|(id, at)| (*id, *at)).take(WRITTEN_AT_ONCE).collect();
        if noted.is_empty() {
            return Ok(false);
        }
        // In one order on all nodes, so that their batches do not wait for each other.
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
