//! API sessions and the licence seats they hold (`sessions.md`).
//!
//! The database decides which sessions hold a seat. A node's memory only serves the sessions that it knows. This module
//! has the decisions that a node makes from one database snapshot, and the rules for timers, without database and
//! clock.

mod close_reason;
mod opening;
mod timer;

use std::time::Duration;

use crate::refusal::{Refusal, RefusalDetails, when};
use crate::{ApplicationId, Login, ReferenceTokenId, SessionId, Timestamp, UserId};

pub use close_reason::CloseReason;
pub use opening::{OpeningStep, OwnSession, SeatSnapshot, SessionOpening};
pub use timer::{Extension, SlidingTimer};

/// A session without a call for this long is closed.
pub const IDLE: Duration = Duration::from_mins(20);

/// A service session is closed after this long, even if busy.
pub const SERVICE_LIFETIME: Duration = Duration::from_hours(1);

/// In a database shared by nodes, a session whose idle timer has expired is left open for this long: a node that served
/// a call at the last moment writes it within less time. A single node needs no slack.
pub const SLACK: Duration = Duration::from_millis(600);

/// A call later than this in the future was made before the clock was set back.
pub const FUTURE: Duration = Duration::from_secs(1);

/// The key by which calls belong to one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionKey {
    /// A user token's `sid`. All applications of one sign-in share a seat.
    SignIn(SessionId),
    /// A service token's `jti`. Each token is its own session.
    Service(String),
    /// A reference token's id.
    Reference(ReferenceTokenId),
    /// Basic: the application and the user.
    Basic(ApplicationId, UserId),
    /// ErpLogin: the application and the user. Repeated logins continue the same session while the credentials are
    /// valid.
    ErpLogin(ApplicationId, UserId),
}

impl SessionKey {
    pub fn as_text(&self) -> String {
        match self {
            Self::SignIn(sid) => format!("sid:{sid}"),
            Self::Service(jti) => format!("jti:{jti}"),
            Self::Reference(id) => format!("ref:{id}"),
            Self::Basic(application, user) => format!("basic:{application}.{user}"),
            Self::ErpLogin(application, user) => format!("erp:{application}.{user}"),
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("sid", sid) => Some(Self::SignIn(SessionId(uuid::Uuid::try_parse(sid).ok()?))),
            ("jti", jti) => Some(Self::Service(jti.to_owned())),
            ("ref", id) => Some(Self::Reference(ReferenceTokenId(uuid::Uuid::try_parse(id).ok()?))),
            ("basic", pair) => parse_pair(pair).map(|(application, user)| Self::Basic(application, user)),
            ("erp", pair) => parse_pair(pair).map(|(application, user)| Self::ErpLogin(application, user)),
            _ => None,
        }
    }

    /// When a session opened now is closed even if busy; `None` is never.
    pub fn final_end(&self, opened_at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::SignIn(_) | Self::Reference(_) | Self::Basic(..) | Self::ErpLogin(..) => None,
            Self::Service(_) => Some(opened_at.plus(SERVICE_LIFETIME)),
        }
    }
}

fn parse_pair(text: &str) -> Option<(ApplicationId, UserId)> {
    let (application, user) = text.split_once('.')?;
    Some((ApplicationId(uuid::Uuid::try_parse(application).ok()?), UserId(uuid::Uuid::try_parse(user).ok()?)))
}

/// One licence slot. Every session has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    Shared,
    /// The guaranteed seat of a reserved account.
    Reserved,
}

impl Seat {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Reserved => "reserved",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Shared, Self::Reserved].into_iter().find(|seat| seat.as_str() == text)
    }
}

/// When the timers end a session without further calls.
pub fn ends_at(last_call: Timestamp, final_end: Option<Timestamp>) -> Timestamp {
    let idle = last_call.plus(IDLE);
    final_end.map_or(idle, |end| idle.min(end))
}

/// Whether a session may be closed by its timers, as the database knows them. Another node may have reset the idle
/// timer without having written it yet, hence `slack`. The lifetime needs none.
pub fn is_due(now: Timestamp, row: OwnSession, slack: Duration) -> bool {
    now >= row.ends_at.plus(slack) || row.final_end.is_some_and(|end| now >= end)
}

/// The licensed seats of an instance, and the limits on their use.
#[derive(Clone, Copy, Debug)]
pub struct SeatPolicy<'a> {
    /// `None` is unlimited; the same holds for the ceilings.
    pub seats: Option<u32>,
    /// Maximum seats of one user.
    pub per_user: Option<u32>,
    /// Maximum seats of one application. A session counts for the application that opened it.
    pub per_application: Option<u32>,
    /// Accounts with a guaranteed seat, without duplicates.
    pub reserved: &'a [Login],
}

/// The seats in use at one time.
#[derive(Clone, Copy, Debug)]
pub struct Occupancy<'a> {
    /// Changes with every event that may withdraw an admission: a closed session, a revocation, a changed setting, a
    /// reserved account that took its seat.
    pub version: i64,
    /// Live sessions.
    pub live: u64,
    /// The reserved accounts that currently hold a seat.
    pub holders: &'a [Login],
    /// The earliest time at which the timers end a live session.
    pub earliest_end: Option<Timestamp>,
    /// The sessions of the caller's user. Not read if there is no ceiling.
    pub of_user: CeilingUse,
    /// The sessions opened through the caller's application. Not read if there is no ceiling.
    pub of_application: CeilingUse,
}

/// Live sessions under one ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CeilingUse {
    pub live: u64,
    pub earliest_end: Option<Timestamp>,
}

impl CeilingUse {
    fn beneath(self, most: Option<u32>, now: Timestamp) -> Result<Option<u64>, FullCeiling> {
        let Some(most) = most else { return Ok(None) };
        if self.live < u64::from(most) {
            return Ok(Some(u64::from(most)));
        }
        Err(FullCeiling { most, live: self.live, free_at: self.earliest_end.unwrap_or(now) })
    }
}

/// A session may be opened while the version is unchanged and fewer than `below` sessions are live: in total, of the
/// user, and through the application. The commit guards these conditions, so that many nodes can open sessions
/// concurrently: an opening that takes a shared seat does not invalidate another while the counts are below the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatAdmission {
    pub seat: Seat,
    pub version: i64,
    pub below: Option<u64>,
    pub user_below: Option<u64>,
    pub application_below: Option<u64>,
}

/// Why no seat is available for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// All available seats of the instance are taken.
    Licences {
        seats: u32,
        live: u64,
        /// Seats kept for reserved accounts without a session.
        kept: u64,
        /// When the timers end the next live session, if it gets no further call.
        free_at: Timestamp,
    },
    /// The user has the maximum of seats per user.
    User(FullCeiling),
    /// The application has the maximum of seats per application.
    Application(FullCeiling),
}

/// A ceiling that has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullCeiling {
    pub most: u32,
    pub live: u64,
    /// When the timers end the next session under the ceiling, if it gets no further call.
    pub free_at: Timestamp,
}

impl NoSeat {
    pub const fn free_at(&self) -> Timestamp {
        match self {
            Self::Licences { free_at, .. } => *free_at,
            Self::User(filled) | Self::Application(filled) => filled.free_at,
        }
    }
}

impl Refusal for NoSeat {
    fn cause(&self) -> &'static str {
        match self {
            Self::Licences { .. } => "no_seat_free",
            Self::User(_) => "no_seat_free_for_user",
            Self::Application(_) => "no_seat_free_for_application",
        }
    }

    fn details(&self) -> RefusalDetails {
        let details = match self {
            Self::Licences { seats, live, kept, .. } => {
                RefusalDetails::new("a licence seat is free", "docs/tokens.md, API sessions and seats")
                    .expected("seats", seats)
                    .expected("in use", live)
                    .expected("kept for reserved accounts", kept)
            }
            Self::User(FullCeiling { most, live, .. }) => {
                RefusalDetails::new("the user is below the limit of seats per user", "seats_per_user of the settings")
                    .expected("maximum seats per user", most)
                    .expected("in use by the user", live)
            }
            Self::Application(FullCeiling { most, live, .. }) => RefusalDetails::new(
                "the application is below the limit of seats per application",
                "seats_per_application of the settings",
            )
            .expected("maximum seats per application", most)
            .expected("in use through the application", live),
        };
        details.expected("next seat free at, if idle", when(self.free_at()))
    }
}

/// Whether a seat is available for one more session of this account. Other accounts cannot use the seats kept for
/// reserved accounts without a session. A second session of a reserved account competes like any other. The kept seat
/// is exempt from application ceilings, so that the account gets it through any application.
pub fn admit(
    now: Timestamp,
    licences: SeatPolicy<'_>,
    occupancy: Occupancy<'_>,
    who: &Login,
) -> Result<SeatAdmission, NoSeat> {
    let holds = |login: &Login| occupancy.holders.contains(login);
    let claims_reserved = licences.reserved.contains(who) && !holds(who);
    let user_below = occupancy.of_user.beneath(licences.per_user, now).map_err(NoSeat::User)?;
    let application_below = if claims_reserved {
        None
    } else {
        occupancy.of_application.beneath(licences.per_application, now).map_err(NoSeat::Application)?
    };
    let seat = if claims_reserved { Seat::Reserved } else { Seat::Shared };
    let admission = SeatAdmission { seat, version: occupancy.version, below: None, user_below, application_below };
    let Some(seats) = licences.seats else { return Ok(admission) };
    let kept = if claims_reserved { 0 } else { licences.reserved.iter().filter(|login| !holds(login)).count() as u64 };
    let below = u64::from(seats).saturating_sub(kept);
    if occupancy.live < below {
        Ok(SeatAdmission { below: Some(below), ..admission })
    } else {
        let free_at = occupancy.earliest_end.unwrap_or(now);
        Err(NoSeat::Licences { seats, live: occupancy.live, kept, free_at })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const UNLIMITED: SeatPolicy<'static> =
        SeatPolicy { seats: None, per_user: None, per_application: None, reserved: &[] };
    const NOBODY: Occupancy<'static> = Occupancy {
        version: 0,
        live: 0,
        holders: &[],
        earliest_end: None,
        of_user: CeilingUse { live: 0, earliest_end: None },
        of_application: CeilingUse { live: 0, earliest_end: None },
    };

    fn login(name: &str) -> Login {
        Login::parse(name).expect("valid")
    }

    fn admitted(seats: Option<u32>, live: u64, holders: &[&str], who: &str) -> Option<(Seat, Option<u64>)> {
        let reserved = [login("admin"), login("root")];
        let holders: Vec<Login> = holders.iter().map(|name| login(name)).collect();
        let occupancy = Occupancy { version: 7, live, holders: &holders, ..NOBODY };
        let licences = SeatPolicy { seats, reserved: &reserved, ..UNLIMITED };
        let admission = admit(Timestamp(0), licences, occupancy, &login(who)).ok()?;
        assert_eq!(admission.version, 7, "guarded by what was seen");
        Some((admission.seat, admission.below))
    }

    #[test]
    fn a_reserved_account_always_finds_its_seat() {
        assert_eq!(admitted(Some(3), 0, &[], "alice"), Some((Seat::Shared, Some(1))));
        assert_eq!(admitted(Some(3), 1, &[], "bob"), None, "two are kept");
        assert_eq!(admitted(Some(3), 1, &[], "admin"), Some((Seat::Reserved, Some(3))));
        assert_eq!(admitted(Some(3), 1, &[], "ADMIN"), Some((Seat::Reserved, Some(3))));
        assert_eq!(admitted(Some(3), 2, &["admin"], "root"), Some((Seat::Reserved, Some(3))));
        assert_eq!(admitted(Some(3), 2, &["admin"], "alice"), None, "one is kept for root");
        assert_eq!(admitted(Some(3), 1, &["admin"], "admin"), Some((Seat::Shared, Some(2))), "its second competes");
        assert_eq!(admitted(Some(3), 2, &["admin"], "admin"), None);
        assert_eq!(admitted(Some(3), 2, &["admin", "root"], "alice"), Some((Seat::Shared, Some(3))));
        assert_eq!(admitted(Some(3), 3, &["admin", "root"], "alice"), None);
    }

    #[test]
    fn unlimited_admits_everybody_and_a_lowered_number_nobody() {
        assert_eq!(admitted(None, 1_000_000, &[], "bob"), Some((Seat::Shared, None)));
        assert_eq!(admitted(Some(1), 4, &["admin", "root"], "carol"), None, "over, after the number was lowered");
        assert_eq!(admitted(Some(1), 4, &["admin"], "root"), None);
        assert_eq!(admitted(Some(0), 0, &["admin", "root"], "carol"), None);
        assert_eq!(admitted(Some(1), 0, &[], "carol"), None, "more is kept than there is");
    }

    #[test]
    fn a_refusal_says_when_a_seat_may_come_free() {
        let occupancy = Occupancy { live: 1, earliest_end: Some(Timestamp(9)), ..NOBODY };
        let licences = SeatPolicy { seats: Some(1), ..UNLIMITED };
        let refusal = admit(Timestamp(5), licences, occupancy, &login("b"));
        assert_eq!(refusal, Err(NoSeat::Licences { seats: 1, live: 1, kept: 0, free_at: Timestamp(9) }));
    }

    #[test]
    fn a_ceiling_refuses_at_its_number_and_says_when_one_under_it_comes_free() {
        let share = |live| CeilingUse { live, earliest_end: Some(Timestamp(9)) };
        let filled = |most, live| FullCeiling { most, live, free_at: Timestamp(9) };
        let (alice, reserved) = (login("alice"), [login("admin")]);
        let ask = |who: &Login, holders: &[Login], (of_user, of_application): (u64, u64)| {
            let (of_user, of_application) = (share(of_user), share(of_application));
            let occupancy = Occupancy { live: 4, holders, of_user, of_application, ..NOBODY };
            let licences =
                SeatPolicy { seats: Some(5), per_user: Some(2), per_application: Some(3), reserved: &reserved };
            admit(Timestamp(5), licences, occupancy, who)
        };
        let admitted = ask(&alice, &reserved, (1, 2)).expect("under both");
        assert_eq!((admitted.user_below, admitted.application_below, admitted.below), (Some(2), Some(3), Some(5)));
        assert_eq!(ask(&alice, &reserved, (2, 2)), Err(NoSeat::User(filled(2, 2))));
        assert_eq!(ask(&alice, &reserved, (7, 2)), Err(NoSeat::User(filled(2, 7))), "after it was lowered");
        assert_eq!(ask(&alice, &reserved, (1, 3)), Err(NoSeat::Application(filled(3, 3))));
        assert_eq!(ask(&alice, &reserved, (2, 3)), Err(NoSeat::User(filled(2, 2))), "the narrower is told");
        assert_eq!(ask(&alice, &[], (2, 3)), Err(NoSeat::User(filled(2, 2))), "whether or not seats are free");
        let kept = ask(&reserved[0], &[], (0, 3)).expect("the seat that is kept");
        assert_eq!((kept.seat, kept.application_below), (Seat::Reserved, None));
        assert_eq!(ask(&reserved[0], &reserved, (1, 3)), Err(NoSeat::Application(filled(3, 3))), "its second competes");
        assert_eq!(ask(&reserved[0], &reserved, (2, 0)), Err(NoSeat::User(filled(2, 2))), "its first counts");
    }

    #[test]
    fn timers_end_a_session_when_idle_and_a_service_after_an_hour() {
        let at = |minutes: i64| Timestamp::from_seconds(minutes * 60);
        let person = SessionKey::SignIn(SessionId(Uuid::nil()));
        let service = SessionKey::Service("j".into());
        assert_eq!(ends_at(at(300), person.final_end(at(0))), at(320));
        assert_eq!(ends_at(at(5), service.final_end(at(0))), at(25));
        assert_eq!(ends_at(at(55), service.final_end(at(0))), at(60));
        let reference = SessionKey::Reference(ReferenceTokenId(Uuid::nil()));
        assert_eq!(ends_at(at(300), reference.final_end(at(0))), at(320), "no absolute end");
        let (app, user) = (ApplicationId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let (basic, erp) = (SessionKey::Basic(app, user), SessionKey::ErpLogin(app, user));
        assert_eq!(ends_at(at(300), basic.final_end(at(0))), at(320));
        assert_eq!(ends_at(at(300), erp.final_end(at(0))), at(320));
        for key in [person, service, reference, basic, erp] {
            assert_eq!(SessionKey::parse(&key.as_text()), Some(key));
        }
        assert_eq!(SessionKey::parse("sid:nobody"), None);
        assert_eq!(SessionKey::parse("x:1"), None);
        assert_eq!(SessionKey::parse(&format!("basic:{}", Uuid::nil())), None, "of nobody");
        for seat in [Seat::Shared, Seat::Reserved] {
            assert_eq!(Seat::parse(seat.as_str()), Some(seat));
        }
    }

    #[test]
    fn an_idle_timer_is_believed_after_a_while_and_a_lifetime_at_once() {
        let end = Timestamp::from_seconds(60);
        let idle = OwnSession { ends_at: end, final_end: None };
        assert!(!is_due(end, idle, SLACK), "a call may not be written down yet");
        assert!(!is_due(Timestamp(end.plus(SLACK).0 - 1), idle, SLACK));
        assert!(is_due(end.plus(SLACK), idle, SLACK));
        assert!(is_due(end, idle, Duration::ZERO), "nobody else could have called");
        let service = OwnSession { ends_at: end, final_end: Some(end) };
        assert!(is_due(end, service, SLACK));
        assert!(!is_due(Timestamp(end.0 - 1), service, SLACK));
    }
}
