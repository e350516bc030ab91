//! The laws that can be seen by looking at the whole town.

use std::time::Duration;

use model::seat::{Licences, Occupancy, admit};
use model::{Login, Timestamp};

use crate::database::NodeId;
use crate::nodes::FUSE;
use crate::town::{A_SECOND, Broken, LOGINS, Town};

/// The calls that were let in with a session and count: all of the last seconds, and the latest before those.
pub(crate) struct Served {
    pub(crate) final_end: Option<Timestamp>,
    /// With the node that has yet to write it down; the opening itself is written down.
    pub(crate) calls: Vec<(Timestamp, Option<NodeId>)>,
    /// The latest, whether or not it was lost.
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

    /// Before this its timers must not end it; `None` where no call that counts is known.
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
        self.reserved_find_their_seats()?;
        self.none_outlives_its_timers()
    }

    fn reserved_find_their_seats(&self) -> Result<(), Broken> {
        let database = &self.database;
        let holders = database.holders(&LOGINS);
        let occupancy = Occupancy { version: 0, live: database.counted, holders: &holders, earliest_end: None };
        let licences = Licences { seats: database.seats, reserved: &database.reserved };
        let waits = |login: &&Login| !holders.contains(login) && admit(self.time, licences, occupancy, login).is_err();
        match database.reserved.iter().find(waits) {
            Some(login) if self.promised => Err(Broken(2, format!("{login} finds no seat"))),
            _ => Ok(()),
        }
    }

    fn none_outlives_its_timers(&self) -> Result<(), Broken> {
        // Somebody must have been there to close it, for as long as it takes to be sure of the others' silence.
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
