//! The chain backwards, a page at a time, for who wants to see what happened last.

use model::audit::chain::{Chain, Seal, SealHash};
use model::audit::{AuditKind, AuditOutcome, StoredEvent};
use model::{Timestamp, UserId};
use store::Store;

use crate::Fault;
use crate::audit::person_keys::{KnownPerson, open_people};
use crate::audit::sealer::aside;

/// Seals that are read at once: some mebibytes at most.
const PAGE: u32 = 8;

/// Where one look gives up on what is rare, whichever comes first; it says where to go on.
const MAX_SEALS: usize = 1000;
const MAX_EVENTS: usize = 20_000;

/// Which events are asked for; what is absent is no question.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub chain: Chain,
    pub since: Option<Timestamp>,
    /// Not included.
    pub until: Option<Timestamp>,
    pub kind: Option<AuditKind>,
    pub outcome: Option<AuditOutcome>,
    /// `ApplicationUri`.
    pub application: Option<String>,
    pub user: Option<UserId>,
}

impl EventFilter {
    fn has(&self, event: &StoredEvent) -> bool {
        self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
            && self.kind.is_none_or(|kind| event.kind == kind.as_str())
            && self.outcome.is_none_or(|outcome| event.outcome == outcome.as_str())
            && self.application.as_ref().is_none_or(|uri| event.application.as_ref() == Some(uri))
            && self.user.is_none_or(|user| event.user.as_ref() == Some(&user.to_string()))
    }
}

/// Between two events of the chain: before it is what was not looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPosition {
    /// No seal before this one holds anything that is asked for.
    pub first: i64,
    pub seal: i64,
    /// So many events of the seal stand before the place.
    pub event: usize,
}

/// Some events, the newest first.
#[derive(Debug)]
pub struct EventPage {
    pub events: Vec<StoredEvent>,
    /// Where to go on. There may be such a place although fewer events than asked for were found, or none.
    pub next: Option<ChainPosition>,
}

struct FoundEvents {
    seal: i64,
    /// In its seal, from 0.
    number: usize,
    event: StoredEvent,
    person: Option<SealHash>,
}

/// Behind everything that is asked for; none if there is nothing.
async fn newest_place(store: &Store, wanted: &EventFilter) -> Result<Option<ChainPosition>, Fault> {
    let (since, until) = (wanted.since.unwrap_or(Timestamp(0)), wanted.until.unwrap_or(Timestamp(i64::MAX)));
    let (first, last) = if wanted.since.is_none() && wanted.until.is_none() {
        (1, store.audit_head().await?.number)
    } else {
        match store.seals_within(since, until).await? {
            Some(span) => span,
            None => return Ok(None),
        }
    };
    Ok(Some(ChainPosition { first, seal: last.saturating_add(1), event: 0 }))
}

/// The newest seals with something before the place.
async fn seals_before(store: &Store, place: ChainPosition) -> Result<Vec<Seal>, Fault> {
    let behind = place.seal.saturating_add(i64::from(place.event > 0));
    let mut seals = store.seals_before(behind, PAGE).await?;
    seals.retain(|seal| seal.number >= place.first);
    Ok(seals)
}

/// The newest events that are wanted, and the seals that hold them. A line that does not read back is left out: verifying
/// tells of it.
fn find(
    mut seals: Vec<Seal>,
    before: ChainPosition,
    wanted: &EventFilter,
    most: usize,
) -> (Vec<FoundEvents>, Vec<Seal>) {
    let mut found: Vec<FoundEvents> = Vec::new();
    for seal in &seals {
        let end = if seal.number == before.seal { before.event } else { usize::MAX };
        let lines: Vec<(usize, &str)> = seal.events.lines().enumerate().take(end).collect();
        for (number, line) in lines.into_iter().rev() {
            if found.len() == most {
                break;
            }
            if let Some((event, person)) = StoredEvent::parse(line)
                && wanted.has(&event)
            {
                found.push(FoundEvents { seal: seal.number, number, event, person });
            }
        }
    }
    seals.retain(|seal| found.iter().any(|found| found.seal == seal.number));
    (found, seals)
}

/// The newest sealed events that are wanted, from a place on, at most so many.
pub(crate) async fn events_before(
    store: &Store,
    wanted: &EventFilter,
    from: Option<ChainPosition>,
    limit: usize,
) -> Result<EventPage, Fault> {
    let store = store.with_chain(wanted.chain);
    let mut listed = EventPage { events: Vec::new(), next: None };
    let start = match from {
        Some(place) => Some(place),
        None => newest_place(&store, wanted).await?,
    };
    let Some(mut place) = start else { return Ok(listed) };
    let (mut seals_seen, mut events_seen) = (0, 0);
    while seals_seen < MAX_SEALS && events_seen < MAX_EVENTS {
        let seals = seals_before(&store, place).await?;
        let Some(oldest) = seals.last().map(|seal| seal.number) else { return Ok(listed) };
        seals_seen += seals.len();
        events_seen += seals.iter().map(|seal| usize::try_from(seal.count).unwrap_or(0)).sum::<usize>();
        // One more than is told says whether there are more.
        let (wanted, most) = (wanted.clone(), limit + 1 - listed.events.len());
        let (found, seals) = aside(move || find(seals, place, &wanted, most)).await?;
        let people = open_people(&store, &seals).await?;
        for FoundEvents { seal, number, event, person } in found {
            if listed.events.len() == limit {
                listed.next = Some(place);
                return Ok(listed);
            }
            place = ChainPosition { seal, event: number, ..place };
            let known = person.and_then(|digest| people.get(&digest)).and_then(KnownPerson::person);
            listed.events.push(event.with_person(known.unwrap_or_default()));
        }
        place = ChainPosition { seal: oldest, event: 0, ..place };
    }
    listed.next = Some(place);
    Ok(listed)
}
