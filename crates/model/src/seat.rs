//! API sessions and the licence seats they hold (`sessions.md`).
//!
//! The database decides who holds a seat; a node's memory only serves the sessions it knows. What a node decides from
//! one look at the database, and when it may act on a timer, is said here, without database and clock.

mod opening;
mod timer;

use std::time::Duration;

use crate::why::{Details, Refusal, when};
use crate::{ApplicationId, Login, ReferenceTokenId, SessionId, Timestamp, UserId};

pub use opening::{Opening, OwnRow, Sight, Step};
pub use timer::{Extension, SlidingTimer};

/// A session without a call for this long is closed.
pub const IDLE: Duration = Duration::from_mins(20);

/// A service session is closed after this long, even if busy.
pub const SERVICE_LIFETIME: Duration = Duration::from_hours(1);

/// How long a session whose idle timer has run out in a database that nodes share is left alone: a node that served a
/// call in the last moment writes it down sooner than this. A node alone needs no such patience.
pub const SLACK: Duration = Duration::from_millis(600);

/// A call later than this in the future was made before the clock was set back.
pub const FUTURE: Duration = Duration::from_secs(1);

/// What makes two calls belong to one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionKey {
    /// A user token's `sid`: several applications of one signed-in person share a seat.
    SignIn(SessionId),
    /// A service token's `jti`: each token is its own session.
    Service(String),
    /// A reference token's id.
    Reference(ReferenceTokenId),
    /// Basic: the application and the user.
    Basic(ApplicationId, UserId),
    /// ErpLogin: the same credentials, as long as they are good, are the same session.
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

/// One licence slot. A session has one, always; there is no session without.
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

/// When its timers end a session, if no further call comes.
pub fn ends_at(last_call: Timestamp, final_end: Option<Timestamp>) -> Timestamp {
    let idle = last_call.plus(IDLE);
    final_end.map_or(idle, |end| idle.min(end))
}

/// May a session be closed by its timers, going by what the database knows of it? An idle timer may have been reset on
/// another node, which has not written it down yet (`slack`); a lifetime cannot.
pub fn is_due(now: Timestamp, row: OwnRow, slack: Duration) -> bool {
    now >= row.ends_at.plus(slack) || row.final_end.is_some_and(|end| now >= end)
}

/// What an instance has paid for.
#[derive(Clone, Copy, Debug)]
pub struct Licences<'a> {
    /// `None` is unlimited.
    pub seats: Option<u32>,
    /// Accounts that are guaranteed a seat, each once.
    pub reserved: &'a [Login],
}

/// Who holds seats, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Occupancy<'a> {
    /// Moves with everything that may take a permission to open back: a session closed, a kill, a setting, a reserved
    /// account that took its seat.
    pub version: i64,
    /// Live sessions.
    pub live: u64,
    /// The reserved accounts that hold a seat.
    pub holders: &'a [Login],
    /// When the timers of the session that ends first end it.
    pub earliest_end: Option<Timestamp>,
}

/// A session may be opened while the version is still this one and fewer than `below` are live. Guarding both in the
/// commit lets openings on many nodes go side by side: one that takes a shared seat never makes another wrong while
/// the count is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    pub seat: Seat,
    pub version: i64,
    pub below: Option<u64>,
}

/// No seat is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSeat {
    pub seats: u32,
    pub live: u64,
    /// Seats that are kept for reserved accounts without a session.
    pub kept: u64,
    /// When the next live session's timers end it, if nobody calls with it.
    pub free_at: Timestamp,
}

impl Refusal for NoSeat {
    fn cause(&self) -> &'static str {
        "no_seat_free"
    }

    fn details(&self) -> Details {
        Details::new("a licence seat is free", "docs/tokens.md, API sessions and seats")
            .expected("seats", self.seats)
            .expected("taken", self.live)
            .expected("kept for reserved accounts", self.kept)
            .expected("next free at, if nobody calls", when(self.free_at))
    }
}

/// Is there a seat for one more session of this account? Others may use at most the seats that are not kept for
/// reserved accounts without one; a reserved account's second session competes like any other.
pub fn admit(
    now: Timestamp,
    licences: Licences<'_>,
    occupancy: Occupancy<'_>,
    who: &Login,
) -> Result<Admission, NoSeat> {
    let holds = |login: &Login| occupancy.holders.contains(login);
    let claims_reserved = licences.reserved.contains(who) && !holds(who);
    let seat = if claims_reserved { Seat::Reserved } else { Seat::Shared };
    let version = occupancy.version;
    let Some(seats) = licences.seats else { return Ok(Admission { seat, version, below: None }) };
    let kept = if claims_reserved { 0 } else { licences.reserved.iter().filter(|login| !holds(login)).count() as u64 };
    let below = u64::from(seats).saturating_sub(kept);
    if occupancy.live < below {
        Ok(Admission { seat, version, below: Some(below) })
    } else {
        Err(NoSeat { seats, live: occupancy.live, kept, free_at: occupancy.earliest_end.unwrap_or(now) })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn login(name: &str) -> Login {
        Login::parse(name).expect("valid")
    }

    fn admitted(seats: Option<u32>, live: u64, holders: &[&str], who: &str) -> Option<(Seat, Option<u64>)> {
        let reserved = [login("admin"), login("root")];
        let holders: Vec<Login> = holders.iter().map(|name| login(name)).collect();
        let occupancy = Occupancy { version: 7, live, holders: &holders, earliest_end: None };
        let admission = admit(Timestamp(0), Licences { seats, reserved: &reserved }, occupancy, &login(who)).ok()?;
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
        let occupancy = Occupancy { version: 0, live: 1, holders: &[], earliest_end: Some(Timestamp(9)) };
        let licences = Licences { seats: Some(1), reserved: &[] };
        let refusal = admit(Timestamp(5), licences, occupancy, &login("b"));
        assert_eq!(refusal, Err(NoSeat { seats: 1, live: 1, kept: 0, free_at: Timestamp(9) }));
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
        let idle = OwnRow { ends_at: end, final_end: None };
        assert!(!is_due(end, idle, SLACK), "a call may not be written down yet");
        assert!(!is_due(Timestamp(end.plus(SLACK).0 - 1), idle, SLACK));
        assert!(is_due(end.plus(SLACK), idle, SLACK));
        assert!(is_due(end, idle, Duration::ZERO), "nobody else could have called");
        let service = OwnRow { ends_at: end, final_end: Some(end) };
        assert!(is_due(end, service, SLACK));
        assert!(!is_due(Timestamp(end.0 - 1), service, SLACK));
    }
}
