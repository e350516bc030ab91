//! Invariants that are checked on the state of all nodes and the database.

use std::time::Duration;

use model::seat::{CeilingUse, Occupancy, admit};
use model::{Login, Timestamp};

use crate::database::NodeId;
use crate::nodes::FUSE;
use crate::town::{A_SECOND, Broken, LOGINS, Town};

/// Accepted calls of a session that count for its timers: all of the last seconds, and the latest one before.
pub(crate) struct Served {
    pub(crate) final_end: Option<Timestamp>,
    /// With the node that has not written the call yet. The opening itself is written.
    pub(crate) calls: Vec<(Timestamp, Option<NodeId>)>,
    /// The latest call, whether or not it was lost.
    pub(crate) latest: Timestamp,
}

impl Served {
    const KEPT: Duration = Duration::from_secs(5);

    pub(crate) fn add(&mut self, at: Timestamp, node: Option<NodeId>) {
        let old = |(call, _): &(Timestamp, Option<NodeId>)| at.since(*call) > Self::KEPT;
        let latest_old = self.calls.iter().copied().filter(old).max();
        self.calls.retain(|call| !old(call));
        self.calls.extend(latest_old);
        self.calls.push((at, node));
        self.latest = self.latest.max(at);
    }

    /// The session's timers must not end it before this time. `None` if no counting call is known.
    pub(crate) fn not_before(&self) -> Option<Timestamp> {
        let last = self.calls.iter().map(|(at, _)| *at).max()?;
        Some(model::seat::ends_at(last, self.final_end))
    }
}

impl Town {
    pub(crate) fn look_at_the_laws(&mut self) -> Result<(), Broken> {
        let database = &self.database;
        let live = database.live.len() as u64;
        if database.counted != live {
            return Err(Broken(1, format!("{live} live sessions, {} seats counted", database.counted)));
        }
        if let Some(seats) = database.seats {
            let most = self.over.unwrap_or(0).max(u64::from(seats));
            if live > most {
                return Err(Broken(1, format!("{live} live sessions on {seats} seats")));
            }
            self.over = self.over.filter(|_| live > u64::from(seats)).map(|_| live);
        }
        self.none_is_above_a_ceiling()?;
        self.reserved_find_their_seats()?;
        self.none_outlives_its_timers()
    }

    /// A lowered limit ends no session, and no new one opens until there is room below it.
    fn none_is_above_a_ceiling(&mut self) -> Result<(), Broken> {
        let database = &self.database;
        let (accounts, applications) = &mut self.under_ceilings;
        let above = |live: u64, before: &mut u64, most: Option<u32>| {
            let allowed = most.map_or(u64::MAX, u64::from).max(*before);
            *before = live;
            live > allowed
        };
        for (account, before) in accounts {
            let live = database.of_account(*account).live;
            if above(live, before, database.per_user) {
                return Err(Broken(6, format!("{live} sessions of {account}, at most {:?}", database.per_user)));
            }
        }
        for (application, before) in applications {
            let live = database.shared_of(*application);
            if above(live, before, database.per_application) {
                let most = database.per_application;
                return Err(Broken(6, format!("{live} sessions through {application}, at most {most:?}")));
            }
        }
        Ok(())
    }

    fn reserved_find_their_seats(&self) -> Result<(), Broken> {
        let database = &self.database;
        let holders = database.holders(&LOGINS);
        let everywhere_full = CeilingUse { live: u64::MAX, earliest_end: None };
        let occupancy = Occupancy {
            version: 0,
            live: database.counted,
            holders: &holders,
            earliest_end: None,
            // An account without a seat has no session.
            of_user: CeilingUse::default(),
            of_application: everywhere_full,
        };
        let licences = database.licences();
        let waits = |login: &&Login| !holders.contains(login) && admit(self.time, licences, occupancy, login).is_err();
        match database.reserved.iter().find(waits) {
            Some(login) if self.promised => Err(Broken(2, format!("{login} finds no seat"))),
            _ => Ok(()),
        }
    }

    fn none_outlives_its_timers(&self) -> Result<(), Broken> {
        // A node must have run long enough to close it, and to be sure that the others are silent.
        let attended = self
            .nodes
            .iter()
            .any(|node| node.up && node.is_steady(self.time) && self.time.since(node.steady_since) > FUSE + A_SECOND);
        if !self.database.up || !attended || self.time.since(self.calm_since) <= FUSE + A_SECOND {
            return Ok(());
        }
        for (key, row) in &self.database.live {
            let end = self.served.get(&row.id).map(|served| model::seat::ends_at(served.latest, served.final_end));
            if let Some(end) = end.filter(|end| self.time > end.plus(A_SECOND)) {
                return Err(Broken(4, format!("{key:?} outlived its timers by {:?}", self.time.since(end))));
            }
        }
        Ok(())
    }
}
