//! Codes by which the sealer recognizes its own waiting events, and the sealed record of the chain's end. Both derive
//! from one secret of the instance's audit, kept under the master key, so that the instance's root secret may be
//! replaced meanwhile.

use std::ops::Deref;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use model::audit::chain::Chain;
use model::audit::{AuditEvent, ChainMemory, Doubt, RememberedEnd, StoredEvent};
use model::{InstanceId, Moment, Rng, Timestamp};
use store::{MemoryRow, SessionsToClose, Statement, Store, WaitingBlock, session_closed_code};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::platform::seal::{MacPurpose, RootSecret, SealedSecret, SealingKey};
use crate::{Fault, MasterKey};

/// Purpose under which the chain's end is sealed.
const PURPOSE: &str = "audit memory";

/// Prefix of a code that this version writes, and of the code of a closed session, which the database writes.
const OF_EVENTS: &str = "1.";
const OF_CLOSINGS: &str = "s1.";

/// The chains of an instance have separate secrets: no code or sealed record of one chain is valid for the other.
const fn sealed_as(chain: Chain) -> SealedSecret {
    match chain {
        Chain::Main => SealedSecret::AuditMemory,
        Chain::Refusals => SealedSecret::RefusalMemory,
    }
}

/// The audit secret of one chain.
pub(super) struct AuditSecret {
    codes: EventCodes,
    memory: SealingKey,
    /// The secret, sealed under the master key.
    sealed: Vec<u8>,
}

impl AuditSecret {
    pub(super) fn draw(store: &Store, master: &MasterKey, rng: &mut dyn Rng) -> Self {
        let secret = Zeroizing::new(rng.secret());
        let sealed = master.seal(*store.instance(), sealed_as(store.chain()), &*secret);
        Self::of(*store.instance(), &*secret, sealed)
    }

    pub(super) fn open(store: &Store, master: &MasterKey, sealed: Vec<u8>) -> Result<Self, Fault> {
        let secret = master.open(*store.instance(), sealed_as(store.chain()), &sealed)?;
        Ok(Self::of(*store.instance(), &secret, sealed))
    }

    fn of(instance: InstanceId, secret: &[u8], sealed: Vec<u8>) -> Self {
        let root = RootSecret::new(secret);
        let memory = SealingKey::new(&Zeroizing::new(root.derive(MacPurpose::AuditMemory)));
        Self { codes: EventCodes { instance, root: Arc::new(root) }, memory, sealed }
    }

    pub(super) const fn codes(&self) -> &EventCodes {
        &self.codes
    }

    /// The end of the chain that the row records. A row whose numbers differ from the sealed ones counts as lost: this
    /// installation did not write it.
    pub(super) fn read(&self, row: &MemoryRow) -> ChainMemory {
        let opened = self.memory.open(self.codes.instance, PURPOSE, &row.remembered).ok();
        let read = opened.and_then(|text| serde_json::from_slice::<RememberedEnd>(&text).ok());
        let ours = |kept: &RememberedEnd| (kept.head.seal, kept.signed.seal) == (row.head, row.signed);
        read.filter(ours).map_or(ChainMemory::Lost, ChainMemory::Kept)
    }

    pub(super) fn seal(&self, remembered: &RememberedEnd) -> Vec<u8> {
        let text = serde_json::to_vec(remembered).expect("numbers and texts are JSON");
        self.memory.seal(self.codes.instance, PURPOSE, &text)
    }

    pub(super) fn first_row(&self, remembered: &RememberedEnd) -> MemoryRow {
        MemoryRow {
            secret: self.sealed.clone(),
            version: 0,
            head: remembered.head.seal,
            signed: remembered.signed.seal,
            remembered: self.seal(remembered),
        }
    }
}

/// Writes and checks the codes of events that wait for their seal.
#[derive(Clone)]
pub(crate) struct EventCodes {
    instance: InstanceId,
    root: Arc<RootSecret>,
}

impl EventCodes {
    fn of_event(&self, event: &StoredEvent) -> String {
        format!(
            "{OF_EVENTS}{}",
            self.root.sign(MacPurpose::AuditEvent, &[self.instance.0.as_bytes(), &event.content()])
        )
    }

    fn block<'b>(&'b self, id: &'b str, first_at: &'b [u8], lines: &'b str) -> [&'b [u8]; 4] {
        [self.instance.0.as_bytes(), id.as_bytes(), first_at, lines.as_bytes()]
    }

    fn of_block(&self, id: &str, first_at: Timestamp, lines: &str) -> String {
        let at = first_at.micros().to_be_bytes();
        format!("{OF_EVENTS}{}", self.root.sign(MacPurpose::AuditBlock, &self.block(id, &at, lines)))
    }

    /// The key under which the database writes the codes of the sessions that one batch closes.
    fn of_closing(&self, close_id: &str) -> String {
        self.root.sign(MacPurpose::AuditClosing, &[self.instance.0.as_bytes(), close_id.as_bytes()])
    }

    /// Doubt about a waiting row: its code is missing or wrong.
    pub(super) fn doubt_event(&self, event: &StoredEvent, code: Option<&str>) -> Option<Doubt> {
        doubt(code, |code| {
            if let Some(code) = code.strip_prefix(OF_EVENTS) {
                let parts: [&[u8]; 2] = [self.instance.0.as_bytes(), &event.content()];
                return Some(self.root.verify(MacPurpose::AuditEvent, &parts, code));
            }
            let (close_id, code) = code.strip_prefix(OF_CLOSINGS)?.split_once('.')?;
            let ours = session_closed_code(self.instance, event, &self.of_closing(close_id));
            Some(ours.is_some_and(|ours| verify_slices_are_equal(ours.as_bytes(), code.as_bytes()).is_ok()))
        })
    }

    pub(super) fn doubt_block(&self, block: &WaitingBlock) -> Option<Doubt> {
        let at = block.first_at.micros().to_be_bytes();
        doubt(block.code.as_deref(), |code| {
            let code = code.strip_prefix(OF_EVENTS)?;
            Some(self.root.verify(MacPurpose::AuditBlock, &self.block(&block.id, &at, &block.lines), code))
        })
    }
}

/// A code of an unknown format counts as none.
fn doubt(code: Option<&str>, check: impl FnOnce(&str) -> Option<bool>) -> Option<Doubt> {
    match code.and_then(check) {
        None => Some(Doubt::Unattested),
        Some(false) => Some(Doubt::Forged),
        Some(true) => None,
    }
}

/// An instance's tables, with the codes for events that wait to be sealed.
#[derive(Clone)]
pub(crate) struct AuditedStore {
    store: Store,
    /// `None` only if a command runs before the first server of a version that writes codes.
    codes: Option<EventCodes>,
}

impl Deref for AuditedStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl AuditedStore {
    pub(super) const fn new(store: Store, codes: EventCodes) -> Self {
        Self { store, codes: Some(codes) }
    }

    /// Opens the store with the audit secret that the database holds.
    pub(crate) async fn open(store: Store, master: &MasterKey) -> Result<Self, Fault> {
        // A secret that does not open was not written by this installation: the next server reports it.
        let secret = store.audit_secret().await?.and_then(|sealed| AuditSecret::open(&store, master, sealed).ok());
        let codes = secret.map(|secret| secret.codes);
        Ok(Self { store, codes })
    }

    /// For an instance being created: the batch that creates it also stores the secrets of its chains.
    pub(crate) fn begin(store: Store, master: &MasterKey, rng: &mut dyn Rng) -> (Self, [Statement; 2]) {
        let mut first = |store: &Store| {
            let secret = AuditSecret::draw(store, master, rng);
            let insert = store.insert_audit_memory(secret.first_row(&RememberedEnd::NOTHING_YET));
            (secret.codes, insert)
        };
        let (_, insert_refusals) = first(&store.with_chain(Chain::Refusals));
        let (codes, insert) = first(&store);
        (Self { store, codes: Some(codes) }, [insert, insert_refusals])
    }

    /// Inserts an event in the batch of the change that it reports. Only the main chain has rows of events: in the
    /// other chain the event waits as a line.
    pub(super) fn insert_event(&self, id: Uuid, event: &AuditEvent) -> Statement {
        if self.store.chain() != Chain::Main {
            let mut line = Vec::new();
            event.write_line(&mut line);
            line.push(b'\n');
            let line = String::from_utf8(line).expect("events are written as JSON");
            return self.insert_block(id, (event.at, event.at), &line);
        }
        let event = event.stored(id);
        let code = self.codes.as_ref().map(|codes| codes.of_event(&event));
        self.store.insert_audit_event(event, code)
    }

    pub(super) fn insert_block(&self, id: Uuid, (first_at, last_at): (Timestamp, Timestamp), lines: &str) -> Statement {
        let id = id.to_string();
        let code = self.codes.as_ref().map(|codes| codes.of_block(&id, first_at, lines));
        self.store.insert_audit_block(WaitingBlock { id, first_at, lines: lines.to_owned(), code }, last_at)
    }

    /// See [`Store::close_api_sessions`]. The id identifies the sessions that are closed together.
    pub(crate) fn close_api_sessions(
        &self,
        closing: SessionsToClose,
        reason: model::seat::CloseReason,
        moment: &mut Moment<'_>,
    ) -> (Uuid, [Statement; 4]) {
        let close_id = moment.id();
        let key = self.codes.as_ref().map(|codes| codes.of_closing(&close_id.to_string()));
        (close_id, self.store.close_api_sessions(closing, reason, close_id, moment.now, key.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use model::audit::chain::{SealHash, SealLink};

    use super::*;

    fn codes(instance: u128, secret: u8) -> EventCodes {
        EventCodes { instance: InstanceId(Uuid::from_u128(instance)), root: Arc::new(RootSecret::new(&[secret; 32])) }
    }

    fn closed() -> StoredEvent {
        StoredEvent {
            id: "1".to_owned(),
            at: Timestamp(5),
            kind: "session-closed".to_owned(),
            outcome: "done".to_owned(),
            reason: "sign_out".to_owned(),
            actor: Some("gatehouse".to_owned()),
            user: Some("u".to_owned()),
            session: Some("s".to_owned()),
            ..StoredEvent::default()
        }
    }

    #[test]
    fn a_row_is_ours_by_its_code_and_in_every_member() {
        let ours = codes(1, 7);
        let event = StoredEvent { kind: "sign-in".to_owned(), login: Some("eve".to_owned()), ..closed() };
        let code = ours.of_event(&event);
        let says = |codes: &EventCodes, event: &StoredEvent, code| codes.doubt_event(event, code);
        assert_eq!(says(&ours, &event, Some(&code)), None);
        let forged = Some(Doubt::Forged);
        assert_eq!(says(&codes(2, 7), &event, Some(&code)), forged, "of another instance");
        assert_eq!(says(&codes(1, 8), &event, Some(&code)), forged);
        assert_eq!(says(&ours, &StoredEvent { login: None, ..event.clone() }, Some(&code)), forged);
        assert_eq!(says(&ours, &StoredEvent { id: "2".to_owned(), ..event.clone() }, Some(&code)), forged);
        for bad in ["1.", "1.AAAA", "1.é", "s1.x.y"] {
            assert_eq!(says(&ours, &event, Some(bad)), forged, "{bad}");
        }
        for none in [None, Some(""), Some("2.AAAA"), Some("s1."), Some("x")] {
            assert_eq!(says(&ours, &event, none), Some(Doubt::Unattested), "{none:?}");
        }
        assert_eq!(says(&ours, &event, Some(&ours.of_block("1", event.at, "x"))), forged, "a block is no row");
    }

    #[test]
    fn the_event_of_a_closed_session_is_ours_by_the_key_of_its_closing() {
        let ours = codes(1, 7);
        let event = closed();
        let code = |of: &str, event: &StoredEvent| {
            let code = session_closed_code(ours.instance, event, &ours.of_closing(of)).expect("such an event");
            format!("s1.{of}.{code}")
        };
        let good = code("c", &event);
        assert_eq!(ours.doubt_event(&event, Some(&good)), None);
        let other = StoredEvent { session: Some("another".to_owned()), ..event.clone() };
        assert_eq!(ours.doubt_event(&other, Some(&good)), Some(Doubt::Forged));
        assert_eq!(ours.doubt_event(&event, Some(&good.replace("s1.c", "s1.d"))), Some(Doubt::Forged));
        assert_eq!(codes(1, 8).doubt_event(&event, Some(&good)), Some(Doubt::Forged));
        let more = StoredEvent { detail: Some("{}".to_owned()), ..event };
        assert_eq!(ours.doubt_event(&more, Some(&good)), Some(Doubt::Forged));
    }

    #[test]
    fn a_block_is_ours_by_its_code() {
        let ours = codes(1, 7);
        let code = Some(ours.of_block("b", Timestamp(5), "x\n"));
        let block = WaitingBlock { id: "b".to_owned(), first_at: Timestamp(5), lines: "x\n".to_owned(), code };
        assert_eq!(ours.doubt_block(&block), None);
        for other in [
            WaitingBlock { id: "c".to_owned(), ..block.clone() },
            WaitingBlock { first_at: Timestamp(6), ..block.clone() },
            WaitingBlock { lines: "y\n".to_owned(), ..block.clone() },
        ] {
            assert_eq!(ours.doubt_block(&other), Some(Doubt::Forged));
        }
        assert_eq!(ours.doubt_block(&WaitingBlock { code: None, ..block }), Some(Doubt::Unattested));
    }

    #[test]
    fn what_is_remembered_reads_back_only_as_it_was_written() {
        let instance = InstanceId(Uuid::from_u128(1));
        let secret = AuditSecret::of(instance, &[7; 32], Vec::new());
        let link = |seal| SealLink { seal, hash: SealHash::of(b"x") };
        let kept = RememberedEnd { head: link(9), signed: link(7) };
        let row = secret.first_row(&kept);
        assert_eq!(secret.read(&row), ChainMemory::Kept(kept));
        let with = |head, remembered| secret.read(&MemoryRow { head, remembered, ..secret.first_row(&kept) });
        assert_eq!(with(8, row.remembered.clone()), ChainMemory::Lost);
        assert_eq!(with(9, vec![0; 40]), ChainMemory::Lost);
        assert_eq!(AuditSecret::of(instance, &[8; 32], Vec::new()).read(&row), ChainMemory::Lost);
    }
}
