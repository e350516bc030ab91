//! Bounds on the recorded refusals of unauthenticated clients: a budget of full records per network and per instance,
//! and one folded record a minute for all other refusals of a kind.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;
use crate::audit::{Asker, AuditEvent, AuditKind, AuditOutcome, RequestId, RequestInfo, StoredEvent};

/// Budget of full records, of one network and of an instance.
const OF_NETWORK: Rate = Rate { a_minute: 20, at_once: 40 };
const OF_ALL: Rate = Rate { a_minute: 200, at_once: 400 };

/// Networks with their own budget. Beyond this number, only the instance's budget applies.
const MAX_NETWORKS: usize = 4096;

/// Distinct kinds of refusals within one minute. Further kinds are folded by cause alone.
const MAX_FOLDS: usize = 1024;

/// Refusals within this time are folded into one record.
pub const FOLD_TIME: Duration = Duration::from_mins(1);

/// Folded refusals kept as single lines: per fold, per instance in bytes, and for how long.
const MAX_REMEMBERED_OF_FOLD: u32 = 64;
const MAX_REMEMBERED: usize = 2 * 1024 * 1024;
pub const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// Bytes of the detail, and of other client-chosen texts, in the refusal of an unauthenticated client.
pub const MAX_DETAIL: usize = 1024;
const MAX_TEXT: usize = 256;

struct Rate {
    a_minute: i64,
    at_once: i64,
}

/// A token bucket, stored as the time at which it would be full.
#[derive(Clone, Copy, Default)]
struct Bucket(i64);

impl Bucket {
    fn take(&mut self, rate: &Rate, now: Timestamp) -> bool {
        let interval = 60_000_000 / rate.a_minute;
        let empty = self.settle(rate, now);
        let has_room = self.0 + interval <= empty;
        if has_room {
            self.0 += interval;
        }
        has_room
    }

    /// Clamps the fill time between `now` and that of an empty bucket, because the clock may have been set back.
    /// Returns the time of an empty bucket.
    fn settle(&mut self, rate: &Rate, now: Timestamp) -> i64 {
        let empty = now.micros() + 60_000_000 / rate.a_minute * rate.at_once;
        self.0 = self.0.clamp(now.micros(), empty);
        empty
    }

    fn is_full(self, now: Timestamp) -> bool {
        self.0 <= now.micros()
    }
}

/// A /24 of IPv4 or a /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StrangerNetwork(IpAddr);

impl StrangerNetwork {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !((1 << 80) - 1)).into(),
        })
    }

    pub const fn prefix(self) -> u8 {
        if self.0.is_ipv4() { 24 } else { 48 }
    }
}

/// The common properties of refusals folded into one record. Only the cause when there are too many kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FoldKey {
    kind: &'static str,
    reason: &'static str,
    from: Option<(StrangerNetwork, Option<String>)>,
}

struct Fold {
    kind: AuditKind,
    /// The id of the first request.
    request: RequestId,
    first_at: Timestamp,
    last_at: Timestamp,
    count: u64,
    remembered: u32,
}

/// How a refusal is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldingDecision {
    /// In a full record of its own.
    Whole,
    /// Counted in a fold. `is_remembered` is set if its line may be kept for a while.
    Folded { is_remembered: bool },
}

/// The detail of a folded record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldedRefusals {
    /// Number of refusals without a record of their own.
    #[serde(rename = "folded")]
    pub count: u64,
    /// Microseconds since 1970, as is `last_at`.
    pub first_at: i64,
    pub last_at: i64,
    /// Prefix length of the network given as the address. Absent if the refusals came from several networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u8>,
}

impl FoldedRefusals {
    pub fn of(event: &StoredEvent) -> Option<Self> {
        event.detail.as_deref().and_then(|detail| serde_json::from_str(detail).ok())
    }

    /// Of an event's detail, as JSON.
    pub fn of_detail(detail: &serde_json::Value) -> Option<Self> {
        serde::Deserialize::deserialize(detail).ok()
    }
}

impl fmt::Display for FoldedRefusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, last] = [self.first_at, self.last_at].map(|at| Timestamp(at).rfc3339());
        let noun = if self.count == 1 { "refusal" } else { "refusals" };
        write!(f, "{} similar {noun} from {first} to {last}, recorded together", self.count)?;
        match self.prefix {
            Some(prefix) => write!(f, "; the address is their network (/{prefix})"),
            None => f.write_str("; from several networks"),
        }
    }
}

/// The refusals of an instance's unauthenticated clients. Memory is bounded, whatever the clients send.
#[derive(Default)]
pub struct RefusalFolding {
    all: Bucket,
    networks: HashMap<StrangerNetwork, Bucket>,
    /// When full buckets were last removed from `networks`.
    looked_at: Timestamp,
    folds: HashMap<FoldKey, Fold>,
}

impl RefusalFolding {
    /// Decides how a refusal is recorded, and counts it if it is folded. `may_keep` is set if there is room for a
    /// record at all.
    pub fn admit(&mut self, event: &AuditEvent, may_keep: bool) -> FoldingDecision {
        let Some(request) = &event.request else { return FoldingDecision::Whole };
        let network = StrangerNetwork::of(request.address);
        if may_keep && self.pays(network, event.at) {
            return FoldingDecision::Whole;
        }
        let own = FoldKey {
            kind: event.kind.as_str(),
            reason: event.reason,
            from: Some((network, event.application.as_deref().map(|uri| shortened(uri, MAX_TEXT)))),
        };
        let key = if self.folds.len() < MAX_FOLDS || self.folds.contains_key(&own) {
            own
        } else {
            FoldKey { from: None, ..own }
        };
        let fold = self.folds.entry(key).or_insert_with(|| Fold {
            kind: event.kind,
            request: request.id,
            first_at: event.at,
            last_at: event.at,
            count: 0,
            remembered: 0,
        });
        fold.count += 1;
        fold.first_at = fold.first_at.min(event.at);
        fold.last_at = fold.last_at.max(event.at);
        let is_remembered = fold.remembered < MAX_REMEMBERED_OF_FOLD;
        fold.remembered += u32::from(is_remembered);
        FoldingDecision::Folded { is_remembered }
    }

    fn pays(&mut self, network: StrangerNetwork, now: Timestamp) -> bool {
        if self.networks.len() >= MAX_NETWORKS && now.since(self.looked_at) >= Duration::from_secs(1) {
            self.looked_at = now;
            self.networks.retain(|_, bucket| !bucket.is_full(now));
        }
        let _empty_at = self.all.settle(&OF_ALL, now);
        let has_room = self.networks.len() < MAX_NETWORKS || self.networks.contains_key(&network);
        let own = !has_room || self.networks.entry(network).or_default().take(&OF_NETWORK, now);
        own && self.all.take(&OF_ALL, now)
    }

    /// Removes and returns the records of folds that are a minute old, or of all folds if `all` is set.
    pub fn due(&mut self, now: Timestamp, all: bool) -> Vec<AuditEvent> {
        let is_due = |fold: &Fold| all || now.since(fold.first_at) >= FOLD_TIME;
        let mut events: Vec<_> =
            self.folds.extract_if(|_, fold| is_due(fold)).map(|(key, fold)| record(&key, &fold)).collect();
        events.sort_by_key(|event| event.at);
        events
    }

    /// Records of the current folds that may contain a request.
    pub fn holding(&self, request: RequestId) -> Vec<AuditEvent> {
        let holds = |fold: &Fold| is_within(request, fold.first_at, fold.last_at);
        self.folds.iter().filter(|(_, fold)| holds(fold)).map(|(key, fold)| record(key, fold)).collect()
    }
}

fn record(key: &FoldKey, fold: &Fold) -> AuditEvent {
    let (network, application) = key.from.clone().unzip();
    let detail = FoldedRefusals {
        count: fold.count,
        first_at: fold.first_at.micros(),
        last_at: fold.last_at.micros(),
        prefix: network.map(StrangerNetwork::prefix),
    };
    AuditEvent {
        asker: Asker::Stranger,
        at: fold.last_at,
        kind: fold.kind,
        outcome: AuditOutcome::Refused,
        reason: key.reason,
        actor: None,
        application: application.flatten(),
        user: None,
        token: None,
        session: None,
        request: network.map(|StrangerNetwork(address)| RequestInfo { address, user_agent: None, id: fold.request }),
        earlier: None,
        login: None,
        detail: Some(serde_json::to_string(&detail).expect("numbers are JSON")),
    }
}

/// A request id has its time in milliseconds.
fn is_within(request: RequestId, first_at: Timestamp, last_at: Timestamp) -> bool {
    let at = request.at().micros();
    first_at.micros() - first_at.micros().rem_euclid(1000) <= at && at <= last_at.micros()
}

/// Whether an event is the record of a fold that may contain a request.
pub fn may_hold(event: &StoredEvent, request: RequestId) -> bool {
    FoldedRefusals::of(event).is_some_and(|fold| is_within(request, Timestamp(fold.first_at), Timestamp(fold.last_at)))
}

/// Single lines of folded refusals. The oldest are dropped first.
#[derive(Default)]
pub struct FoldedLines {
    lines: VecDeque<(RequestId, Box<str>)>,
    bytes: usize,
}

impl FoldedLines {
    pub fn add(&mut self, request: RequestId, line: &str, now: Timestamp) {
        self.bytes += line.len();
        self.lines.push_back((request, line.into()));
        let is_over = |request: RequestId| now.since(request.at()) > REMEMBERED_FOR;
        while self.bytes > MAX_REMEMBERED || self.lines.front().is_some_and(|(request, _)| is_over(*request)) {
            let Some((_, line)) = self.lines.pop_front() else { break };
            self.bytes -= line.len();
        }
    }

    pub fn of(&self, request: RequestId, now: Timestamp) -> Vec<StoredEvent> {
        if now.since(request.at()) > REMEMBERED_FOR {
            return Vec::new();
        }
        let theirs = self.lines.iter().filter(|(id, _)| *id == request);
        theirs.filter_map(|(_, line)| StoredEvent::parse(line)).map(|(event, _)| event).collect()
    }
}

/// Cuts the client-chosen texts of a refusal, so that its record has a bounded size.
#[must_use]
pub fn bounded(mut event: AuditEvent) -> AuditEvent {
    event.application = event.application.map(|uri| shortened(&uri, MAX_TEXT));
    event.detail = event.detail.map(|detail| cut(detail, MAX_DETAIL));
    event
}

fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most { text.to_owned() } else { format!("{}…", &text[..text.floor_char_boundary(most)]) }
}

/// Cuts the texts of a JSON detail until it has about `most` bytes, and adds `"cut": true`.
fn cut(detail: String, most: usize) -> String {
    if detail.len() <= most {
        return detail;
    }
    let Ok(Value::Object(mut members)) = serde_json::from_str(&detail) else {
        return serde_json::json!({ "cut": true, "text": shortened(&detail, most / 2) }).to_string();
    };
    members.insert("cut".to_owned(), true.into());
    let mut value = Value::Object(members);
    let mut longest = most / 4;
    loop {
        shorten_texts(&mut value, longest);
        let text = value.to_string();
        if text.len() <= most {
            return text;
        }
        if longest == 0 {
            return serde_json::json!({ "cut": true }).to_string();
        }
        longest /= 2;
    }
}

fn shorten_texts(value: &mut Value, most: usize) {
    match value {
        Value::String(text) if text.len() > most + '…'.len_utf8() => *text = shortened(text, most),
        Value::Array(values) => values.iter_mut().for_each(|value| shorten_texts(value, most)),
        Value::Object(members) => members.values_mut().for_each(|value| shorten_texts(value, most)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::{Refusal, RefusalDetails};

    struct Wrong;

    impl Refusal for Wrong {
        fn cause(&self) -> &'static str {
            "wrong"
        }

        fn details(&self) -> RefusalDetails {
            RefusalDetails::new("it is right", "RFC 0")
        }
    }

    const START: i64 = 1_795_255_032_000_000;

    fn refusal(address: [u8; 4], number: u64, at: i64) -> AuditEvent {
        let at = Timestamp(START + at);
        let request = RequestInfo { address: address.into(), user_agent: None, id: RequestId::new(at, 1, number) };
        AuditEvent::refused(at, AuditKind::TokenRefused, &request, Asker::Stranger, &Wrong)
    }

    fn whole(folding: &mut RefusalFolding, events: impl IntoIterator<Item = AuditEvent>) -> usize {
        events.into_iter().filter(|event| folding.admit(event, true) == FoldingDecision::Whole).count()
    }

    #[test]
    fn a_network_has_forty_records_at_once_and_twenty_a_minute() {
        let mut folding = RefusalFolding::default();
        let storm = |at| (0..5000).map(move |number| refusal([192, 0, 2, (number % 250) as u8], number, at));
        assert_eq!(whole(&mut folding, storm(0)), 40);
        assert_eq!(whole(&mut folding, storm(60_000_000)), 20);
        assert_eq!(whole(&mut folding, [refusal([198, 51, 100, 1], 1, 60_000_000)]), 1, "others have their own");
        assert_eq!(whole(&mut folding, storm(-86_400_000_000)), 0, "the clock was put back by a day");
        assert_eq!(whole(&mut folding, storm(-86_340_000_000)), 20, "and it fills again");
    }

    #[test]
    fn all_networks_together_have_a_budget_too() {
        let mut folding = RefusalFolding::default();
        let storm = (0..60_000_u32).map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            refusal([10 + a, b, c, 1], u64::from(number), 0)
        });
        assert_eq!(whole(&mut folding, storm), 400);
        assert!(folding.networks.len() <= MAX_NETWORKS && folding.folds.len() <= MAX_FOLDS + 1);
        let counted: u64 = folding.due(Timestamp(START), true).iter().map(count).sum();
        assert_eq!(counted, 60_000 - 400, "each of the others is counted");
    }

    fn count(event: &AuditEvent) -> u64 {
        FoldedRefusals::of(&event.stored(uuid::Uuid::nil())).expect("the record of a fold").count
    }

    #[test]
    fn what_is_folded_is_one_record_a_minute_that_says_how_many() {
        let mut folding = RefusalFolding::default();
        whole(&mut folding, (0..140_u8).map(|number| refusal([192, 0, 2, 7], number.into(), 1000 * i64::from(number))));
        assert!(folding.due(Timestamp(START + 60_000_000), false).is_empty(), "its minute is not over");
        let inside = RequestId::new(Timestamp(START + 90_000), 1, 90);
        assert_eq!(folding.holding(inside).len(), 1);
        let records = folding.due(Timestamp(START + 60_040_000), false);
        let [record] = &records[..] else { panic!("{records:?}") };
        assert_eq!((count(record), record.at, record.reason), (100, Timestamp(START + 139_000), "wrong"));
        assert_eq!(record.request.as_ref().map(|request| request.address), Some([192, 0, 2, 0].into()));
        let stored = record.stored(uuid::Uuid::nil());
        assert!(may_hold(&stored, inside));
        assert!(!may_hold(&stored, RequestId::new(Timestamp(START + 141_000), 1, 1)));
        assert!(folding.due(Timestamp(START + 200_000_000), true).is_empty(), "told once");
    }

    #[test]
    fn without_room_everything_is_counted_and_some_is_remembered() {
        let (mut folding, mut remembered) = (RefusalFolding::default(), FoldedLines::default());
        for number in 0..100 {
            let event = refusal([192, 0, 2, 7], number, 0);
            let kept = folding.admit(&event, false);
            assert_eq!(kept, FoldingDecision::Folded { is_remembered: number < 64 });
            let mut line = Vec::new();
            event.write_line(&mut line);
            let request = event.request.as_ref().expect("somebody").id;
            remembered.add(request, std::str::from_utf8(&line).expect("JSON"), event.at);
        }
        let request = RequestId::new(Timestamp(START), 1, 7);
        assert_eq!(remembered.of(request, Timestamp(START))[0].request, Some(request.to_string()));
        assert!(remembered.of(request, Timestamp(START + 600_001_000)).is_empty(), "ten minutes are over");
        for number in 0..10_000 {
            remembered.add(RequestId::new(Timestamp(START), 2, number), &"x".repeat(1000), Timestamp(START));
        }
        assert!(remembered.bytes <= MAX_REMEMBERED && remembered.of(request, Timestamp(START)).is_empty());
    }

    #[test]
    fn what_strangers_send_is_cut_between_characters_and_stays_json() {
        let details = (0..16).fold(RefusalDetails::new("a", "b"), |details, _| details.sent("x", "é\"".repeat(512)));
        let event = AuditEvent { detail: serde_json::to_string(&details).ok(), ..refusal([1; 4], 1, 0) };
        let cut = bounded(event.application("é".repeat(400)));
        let detail = cut.detail.expect("it has one");
        assert!(detail.len() <= MAX_DETAIL, "{}", detail.len());
        let value: Value = serde_json::from_str(&detail).expect("JSON");
        assert_eq!((&value["cut"], &value["check"]), (&true.into(), &"a".into()));
        assert!(cut.application.expect("it has one").len() <= MAX_TEXT + 3);
        let small = refusal([1; 4], 1, 0);
        assert_eq!(bounded(small.clone()).detail, small.detail, "what fits is kept as it is");
    }

    #[test]
    fn a_network_is_a_24_or_a_48() {
        let of = |text: &str| StrangerNetwork::of(text.parse().expect("an address"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.200"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:ffff::9"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
        assert_eq!((of("192.0.2.1").prefix(), of("2001:db8::").prefix()), (24, 48));
    }
}
