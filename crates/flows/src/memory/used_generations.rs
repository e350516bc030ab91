//! Refresh generations that have reached their application: noted when an access token of the generation is used,
//! written in batches.

use std::collections::{HashMap, HashSet};

use model::claims::Descent;
use model::{AuthorizationId, Generation};
use parking_lot::Mutex;
use store::{Batch, Fault, Store};

#[derive(Default)]
pub(crate) struct UsedGenerations {
    noted: Mutex<HashMap<AuthorizationId, Generation>>,
    waiting: Mutex<HashSet<AuthorizationId>>,
}

const MAX_NOTED: usize = 100_000;

impl UsedGenerations {
    pub(crate) fn note(&self, descent: Descent) {
        let mut noted = self.noted.lock();
        if noted.get(&descent.authorization).is_some_and(|known| *known >= descent.generation) {
            return;
        }
        if noted.len() >= MAX_NOTED {
            noted.clear(); // written generations stay in the database
        }
        noted.insert(descent.authorization, descent.generation);
        self.waiting.lock().insert(descent.authorization);
    }

    pub(crate) fn knows(&self, authorization: AuthorizationId, generation: Generation) -> bool {
        self.noted.lock().get(&authorization).is_some_and(|known| *known >= generation)
    }

    pub(crate) async fn flush(&self, store: &Store) -> Result<(), Fault> {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if waiting.is_empty() {
            return Ok(());
        }
        // All nodes use the same order, so that their batches do not wait for each other.
        let mut in_order: Vec<_> = waiting.iter().collect();
        in_order.sort_unstable();
        let statements: Vec<_> = {
            let noted = self.noted.lock();
            in_order.into_iter().filter_map(|id| Some(store.prove_generation(*id, *noted.get(id)?))).collect()
        };
        let written = store.commit(Batch::from(statements)).await;
        if written.is_err() {
            self.waiting.lock().extend(waiting);
        }
        written.map(|_| ())
    }
}
