//! The steps that open a session on a node that does not know it: read a snapshot, decide, act, and read again if
//! another node was faster. The node supplies the snapshots and performs the steps.

use std::time::Duration;

use crate::seat::SeatAdmission;
use crate::seat::{NoSeat, Occupancy, SeatPolicy, admit, ends_at, is_due};
use crate::{Login, Timestamp};

/// Snapshots read before giving up. After each but the last, another node was faster, so some caller made progress.
const LOOKS: u8 = 16;

/// A consistent snapshot of the database.
#[derive(Clone, Copy, Debug)]
pub struct SeatSnapshot<'a> {
    pub licences: SeatPolicy<'a>,
    pub occupancy: Occupancy<'a>,
    /// The live session of the caller's key, if any.
    pub own: Option<OwnSession>,
}

/// The timers of a live session as last written to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnSession {
    pub ends_at: Timestamp,
    pub final_end: Option<Timestamp>,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningStep {
    /// The key has a live session: load it into memory. If it has ended meanwhile, read again.
    Join,
    /// The key has a live session that may be closed before calls are next written: write this call first, with this
    /// end. If the session has ended meanwhile, read again.
    Prolong(Timestamp),
    /// Commit the opening, guarded by the admission and by the key having no session. If a guard fails, read again.
    Open(SeatAdmission),
    /// Close the sessions whose timers have expired, then read again.
    CloseDue,
    Refuse(NoSeat),
    /// Other nodes were faster too often. The caller may retry.
    GiveUp,
}

/// The state of one opening.
pub struct SessionOpening<'a> {
    now: Timestamp,
    who: &'a Login,
    slack: Duration,
    looks_left: u8,
    has_closed_due: bool,
}

impl<'a> SessionOpening<'a> {
    /// `slack` is the one of [`is_due`].
    pub const fn new(now: Timestamp, who: &'a Login, slack: Duration) -> Self {
        Self { now, who, slack, looks_left: LOOKS, has_closed_due: false }
    }

    pub fn step(&mut self, sight: &SeatSnapshot<'_>) -> OpeningStep {
        if self.looks_left == 0 {
            return OpeningStep::GiveUp;
        }
        self.looks_left -= 1;
        match sight.own {
            Some(own) if is_due(self.now, own, self.slack) => self.close_due(),
            Some(own) if own.ends_at <= self.now.plus(self.slack) => {
                OpeningStep::Prolong(ends_at(self.now, own.final_end))
            }
            Some(_) => OpeningStep::Join,
            None => match admit(self.now, sight.licences, sight.occupancy, self.who) {
                Ok(admission) => OpeningStep::Open(admission),
                Err(no_seat) if !self.has_closed_due && self.frees_one(sight, no_seat) => self.close_due(),
                Err(no_seat) => OpeningStep::Refuse(no_seat),
            },
        }
    }

    fn close_due(&mut self) -> OpeningStep {
        self.has_closed_due = true;
        OpeningStep::CloseDue
    }

    /// Whether an expired session holds a needed seat and is not closed yet.
    fn frees_one(&self, sight: &SeatSnapshot<'_>, no_seat: NoSeat) -> bool {
        sight.occupancy.live > 0 && no_seat.free_at() <= self.now
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CeilingUse, FullCeiling, IDLE, SLACK};
    use super::*;

    const NOW: Timestamp = Timestamp(10_000_000_000);

    fn sight(live: u64, earliest_end: Timestamp, own: Option<OwnSession>) -> SeatSnapshot<'static> {
        SeatSnapshot {
            licences: SeatPolicy { seats: Some(2), per_user: None, per_application: None, reserved: &[] },
            occupancy: Occupancy {
                version: 1,
                live,
                holders: &[],
                earliest_end: Some(earliest_end),
                of_user: CeilingUse::default(),
                of_application: CeilingUse::default(),
            },
            own,
        }
    }

    #[test]
    fn a_live_key_is_joined_and_never_opened_twice() {
        let who = Login::parse("alice").expect("valid");
        let own = |ends_at| Some(OwnSession { ends_at, final_end: None });
        let later = NOW.plus(IDLE);
        assert_eq!(
            SessionOpening::new(NOW, &who, SLACK).step(&sight(2, later, own(later))),
            OpeningStep::Join,
            "whether or not seats are free"
        );
        let prolonged = OpeningStep::Prolong(NOW.plus(IDLE));
        assert_eq!(
            SessionOpening::new(NOW, &who, SLACK).step(&sight(1, NOW, own(NOW))),
            prolonged,
            "perhaps called elsewhere"
        );
        let over = NOW.minus(SLACK);
        assert_eq!(SessionOpening::new(NOW, &who, SLACK).step(&sight(1, over, own(over))), OpeningStep::CloseDue);
    }

    #[test]
    fn a_full_ceiling_is_swept_only_where_a_session_under_it_is_over() {
        let who = Login::parse("alice").expect("valid");
        let at = |end| {
            let full = sight(1, NOW, None);
            let of_user = CeilingUse { live: 1, earliest_end: Some(end) };
            let occupancy = Occupancy { of_user, ..full.occupancy };
            SeatSnapshot { licences: SeatPolicy { per_user: Some(1), ..full.licences }, occupancy, ..full }
        };
        let mut opening = SessionOpening::new(NOW, &who, SLACK);
        assert_eq!(opening.step(&at(NOW)), OpeningStep::CloseDue);
        let later = NOW.plus(IDLE);
        let refused = OpeningStep::Refuse(NoSeat::User(FullCeiling { most: 1, live: 1, free_at: later }));
        assert_eq!(SessionOpening::new(NOW, &who, SLACK).step(&at(later)), refused, "what is over is somebody else's");
    }

    #[test]
    fn without_a_free_seat_sessions_are_swept_once_before_anybody_is_refused() {
        let who = Login::parse("alice").expect("valid");
        let full = sight(2, NOW, None);
        let mut opening = SessionOpening::new(NOW, &who, SLACK);
        assert_eq!(opening.step(&full), OpeningStep::CloseDue);
        assert_eq!(
            opening.step(&full),
            OpeningStep::Refuse(NoSeat::Licences { seats: 2, live: 2, kept: 0, free_at: NOW }),
            "it closed nothing"
        );
        let later = NOW.plus(IDLE);
        let refused = OpeningStep::Refuse(NoSeat::Licences { seats: 2, live: 2, kept: 0, free_at: later });
        assert_eq!(SessionOpening::new(NOW, &who, SLACK).step(&sight(2, later, None)), refused);
    }

    #[test]
    fn overtaken_too_often_it_gives_up() {
        let who = Login::parse("alice").expect("valid");
        let mut opening = SessionOpening::new(NOW, &who, SLACK);
        for _ in 0..LOOKS {
            assert!(matches!(opening.step(&sight(1, NOW, None)), OpeningStep::Open(_)));
        }
        assert_eq!(opening.step(&sight(1, NOW, None)), OpeningStep::GiveUp);
    }
}
