//! A model of the store's statements; each batch runs at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use model::seat::{CeilingUse, Extension, FUTURE, OwnSession, Seat, SeatAdmission, SeatPolicy, ends_at, is_due};
use model::{Login, Timestamp};

use crate::town::Key;

pub(crate) type NodeId = usize;

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) opened_at: Timestamp,
    pub(crate) last_call: Timestamp,
    pub(crate) timers: OwnSession,
    pub(crate) node: NodeId,
    pub(crate) seat: Seat,
}

/// An entry of the change feed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Closed(Key, u64),
    Killed(Key),
}

pub(crate) struct Database {
    pub(crate) up: bool,
    pub(crate) version: i64,
    pub(crate) counted: u64,
    pub(crate) live: BTreeMap<Key, Row>,
    pub(crate) seats: Option<u32>,
    pub(crate) reserved: Vec<Login>,
    pub(crate) per_user: Option<u32>,
    pub(crate) per_application: Option<u32>,
    pub(crate) feed: Vec<Change>,
    pub(crate) killed: BTreeMap<Key, Timestamp>,
    drawn: u64,
}

impl Database {
    pub(crate) fn new(seats: Option<u32>) -> Self {
        Self {
            up: true,
            version: 0,
            counted: 0,
            live: BTreeMap::new(),
            seats,
            reserved: Vec::new(),
            per_user: None,
            per_application: None,
            feed: Vec::new(),
            killed: BTreeMap::new(),
            drawn: 0,
        }
    }

    pub(crate) fn holders(&self, logins: &[Login]) -> Vec<Login> {
        let holds = |login: &&Login| self.live.keys().any(|key| logins[key.account] == **login);
        self.reserved.iter().filter(holds).cloned().collect()
    }

    pub(crate) fn of_account(&self, account: usize) -> CeilingUse {
        self.share(|key, _| key.account == account)
    }

    pub(crate) fn of_application(&self, application: u32) -> CeilingUse {
        self.share(|key, _| key.application() == application)
    }

    /// Seats under the application's limit: seats reserved for accounts do not count.
    pub(crate) fn shared_of(&self, application: u32) -> u64 {
        self.share(|key, row| key.application() == application && row.seat == Seat::Shared).live
    }

    pub(crate) fn licences(&self) -> SeatPolicy<'_> {
        let Self { seats, per_user, per_application, reserved, .. } = self;
        SeatPolicy { seats: *seats, per_user: *per_user, per_application: *per_application, reserved }
    }

    fn share(&self, counts: impl Fn(&Key, &Row) -> bool) -> CeilingUse {
        let ends = self.live.iter().filter(|(key, row)| counts(key, row)).map(|(_, row)| row.timers.ends_at);
        CeilingUse { live: ends.clone().count() as u64, earliest_end: ends.min() }
    }

    /// `take_seat`, `expect_token_stands`, `expect_room_under_ceilings` and `open_api_session`, all or nothing.
    pub(crate) fn open(&mut self, key: Key, admission: SeatAdmission, now: Timestamp, node: NodeId) -> Opened {
        let room = admission.below.is_none_or(|below| self.counted < below)
            && admission.user_below.is_none_or(|below| self.of_account(key.account).live < below)
            && admission.application_below.is_none_or(|below| self.of_application(key.application()).live < below);
        if self.killed.contains_key(&key) {
            return Opened::TokenEnded;
        }
        if self.version != admission.version || !room || self.live.contains_key(&key) {
            return Opened::Overtaken;
        }
        self.version += i64::from(admission.seat == Seat::Reserved);
        self.counted += 1;
        self.drawn += 1;
        let final_end = key.session().final_end(now);
        let timers = OwnSession { ends_at: ends_at(now, final_end), final_end };
        self.live
            .insert(key, Row { id: self.drawn, opened_at: now, last_call: now, timers, node, seat: admission.seat });
        Opened::As(self.drawn)
    }

    /// `slide_api_session`.
    pub(crate) fn slide(&mut self, (key, id): (Key, u64), extension: Extension, node: NodeId, now: Timestamp) {
        let Some(row) = self.live.get_mut(&key).filter(|row| row.id == id) else { return };
        if row.last_call < extension.last_call || (row.node == node && row.last_call > now.plus(FUTURE)) {
            row.last_call = extension.last_call;
            row.timers.ends_at = extension.ends_at;
            row.node = node;
        }
    }

    /// `close_api_sessions` with `Closing::Due`; returns the closed sessions.
    pub(crate) fn close_due(&mut self, now: Timestamp, slack: Duration) -> Vec<(Key, u64)> {
        let due = |row: &Row| is_due(now, row.timers, slack);
        let closed: Vec<_> = self.live.iter().filter(|(_, row)| due(row)).map(|(key, row)| (*key, row.id)).collect();
        if !closed.is_empty() {
            self.live.retain(|_, row| !due(row));
            self.closed(&closed);
        }
        closed
    }

    /// A revocation with `Closing::OfSignIn`.
    pub(crate) fn kill(&mut self, key: Key, now: Timestamp) {
        self.killed.insert(key, now);
        let closed: Vec<_> = self.live.remove(&key).map(|row| (key, row.id)).into_iter().collect();
        self.closed(&closed);
        self.feed.push(Change::Killed(key));
    }

    fn closed(&mut self, closed: &[(Key, u64)]) {
        self.version += 1;
        self.counted = self.live.len() as u64;
        self.feed.extend(closed.iter().map(|(key, id)| Change::Closed(*key, *id)));
    }

    pub(crate) fn set(&mut self, seats: Option<u32>, reserved: Vec<Login>, ceilings: (Option<u32>, Option<u32>)) {
        self.version += 1;
        self.seats = seats;
        self.reserved = reserved;
        (self.per_user, self.per_application) = ceilings;
    }
}

pub(crate) enum Opened {
    As(u64),
    Overtaken,
    TokenEnded,
}
