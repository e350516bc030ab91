//! A node: its memory and its unfinished work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::Timestamp;
use model::seat::{Extension, OpeningStep, OwnSession, SLACK, SessionOpening, SlidingTimer};

use crate::database::Change;
use crate::town::Key;

/// As in the product.
pub(crate) const TICK: Duration = Duration::from_millis(200);
pub(crate) const FUSE: Duration = Duration::from_secs(2);
pub(crate) const STEADY: Duration = Duration::from_secs(1);

pub(crate) struct Known {
    pub(crate) id: u64,
    pub(crate) timer: SlidingTimer,
}

/// Work waits for the database between its stages; other work continues meanwhile.
pub(crate) enum Work {
    Call {
        key: Key,
        opening: SessionOpening<'static>,
        stage: Stage,
    },
    /// The state of memory when the flush began.
    Flush(Vec<(Key, u64, Extension)>),
    CloseDue,
}

#[derive(Clone, Copy)]
pub(crate) enum Stage {
    Look,
    Act(OpeningStep),
    /// Committed, but not yet answered.
    Opened(u64, Timestamp),
}

pub(crate) struct Node {
    pub(crate) up: bool,
    /// Its clock minus the true time, in microseconds.
    pub(crate) offset: i64,
    pub(crate) memory: BTreeMap<Key, Known>,
    pub(crate) heard_of: BTreeSet<Key>,
    pub(crate) closed_lately: BTreeSet<u64>,
    pub(crate) work: Vec<(Timestamp, Work)>,
    pub(crate) read: usize,
    pub(crate) followed: Timestamp,
    pub(crate) steady_since: Timestamp,
    pub(crate) next_tick: Timestamp,
}

impl Node {
    pub(crate) fn new(offset: i64, time: Timestamp, read: usize) -> Self {
        Self {
            up: true,
            offset,
            memory: BTreeMap::new(),
            heard_of: BTreeSet::new(),
            closed_lately: BTreeSet::new(),
            work: Vec::new(),
            read,
            followed: time,
            steady_since: time,
            next_tick: time.plus(TICK),
        }
    }

    pub(crate) fn clock(&self, time: Timestamp) -> Timestamp {
        Timestamp(time.0 + self.offset)
    }

    pub(crate) fn memory_holds(&self, time: Timestamp) -> bool {
        time.since(self.followed) <= FUSE
    }

    /// As in the product.
    pub(crate) fn slack(&self, time: Timestamp) -> Duration {
        if self.is_steady(time) { SLACK } else { Duration::MAX }
    }

    pub(crate) fn is_steady(&self, time: Timestamp) -> bool {
        time.since(self.followed) < STEADY && self.followed.since(self.steady_since) >= STEADY
    }

    /// Applies the entries of the feed.
    pub(crate) fn follow(&mut self, feed: &[Change], time: Timestamp) {
        for change in &feed[self.read..] {
            match *change {
                Change::Closed(key, id) => self.forget(key, id),
                Change::Killed(key) => {
                    self.heard_of.insert(key);
                    self.memory.remove(&key);
                }
            }
        }
        self.read = feed.len();
        if time.since(self.followed) >= STEADY {
            self.steady_since = time;
        }
        self.followed = time;
    }

    pub(crate) fn forget(&mut self, key: Key, id: u64) {
        self.closed_lately.insert(id);
        if self.memory.get(&key).is_some_and(|known| known.id == id) {
            self.memory.remove(&key);
        }
    }

    pub(crate) fn learn(&mut self, key: Key, id: u64, row: OwnSession, last_call: Timestamp) {
        match self.memory.get(&key) {
            Some(known) if known.id == id => known.timer.learn(row),
            _ if self.closed_lately.contains(&id) => {}
            _ => {
                self.memory.insert(key, Known { id, timer: SlidingTimer::new(last_call, row.final_end) });
            }
        }
    }

    pub(crate) fn unwritten(&self, now: Timestamp) -> Vec<(Key, u64, Extension)> {
        let known = self.memory.iter().inspect(|(_, known)| known.timer.mind_the_clock(now));
        known.filter_map(|(key, known)| Some((*key, known.id, known.timer.unwritten()?))).collect()
    }
}
