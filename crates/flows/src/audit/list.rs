//! Reads the chain backwards, a page at a time, to list the latest events.

use model::audit::chain::{Chain, Seal, SealHash};
use model::audit::{AuditKind, AuditOutcome, StoredEvent};
use model::{Timestamp, UserId};
use store::Store;

use crate::Fault;
use crate::audit::person_keys::{KnownPerson, open_people};
use crate::audit::sealer::aside;

/// Seals read at once: some mebibytes at most.
const PAGE: u32 = 8;

/// One search for rare events stops at whichever bound comes first, and answers where to continue.
const MAX_SEALS: usize = 1000;
const MAX_EVENTS: usize = 20_000;

/// Selects events. An absent field selects all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub chain: Chain,
    pub since: Option<Timestamp>,
    /// Exclusive.
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

/// A position between two events of the chain. The events before it have not been searched yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPosition {
    /// No seal before this one holds a selected event.
    pub first: i64,
    pub seal: i64,
    /// Number of events of the seal before the position.
    pub event: usize,
}

/// A page of events, the newest first.
#[derive(Debug)]
pub struct EventPage {
    pub events: Vec<StoredEvent>,
    /// Where to continue. May be set although fewer events than requested were found, or none.
    pub next: Option<ChainPosition>,
}

struct FoundEvents {
    seal: i64,
    /// Position in its seal, from 0.
    number: usize,
    event: StoredEvent,
    person: Option<SealHash>,
}

/// The position behind all selected events; `None` if there are none.
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

/// The newest seals with events before the position.
async fn seals_before(store: &Store, place: ChainPosition) -> Result<Vec<Seal>, Fault> {
    let behind = place.seal.saturating_add(i64::from(place.event > 0));
    let mut seals = store.seals_before(behind, PAGE).await?;
    seals.retain(|seal| seal.number >= place.first);
    Ok(seals)
}

/// The newest selected events, and the seals that hold them. Skips a line that does not parse: verification reports it.
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

/// The newest selected events before a position, up to the limit.
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
        // Fetches one extra event to know whether a next page exists.
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
