use crate::InstanceId;
use uuid::Uuid;

use crate::audit::verify::*;

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(1));
const MINUTE: i64 = 60_000_000;

fn event(id: &str, at: i64) -> (StoredEvent, Option<SealHash>) {
    let kind = "sign-in".to_owned();
    let event = StoredEvent { id: id.to_owned(), at: Timestamp(at), kind, ..StoredEvent::default() };
    (event, None)
}

fn head(seal: &Seal) -> ChainHead {
    ChainHead { number: seal.number, hash: seal.actual_hash(INSTANCE), at: seal.at }
}

/// Three seals, a minute apart, of three events each.
fn chain() -> Vec<Seal> {
    let mut seals: Vec<Seal> = Vec::new();
    for number in 1..=3 {
        let before = seals.last().map_or(ChainHead::NONE, head);
        let at = |second: i64| number * MINUTE + second;
        let events = ["a", "b", "c"].iter().zip(0..).map(|(id, second)| event(&format!("{id}{number}"), at(second)));
        seals.push(Seal::new(INSTANCE, &before, Timestamp(at(9)), events.collect(), String::new()));
    }
    seals
}

/// A checkpoint from a version that named no previous one.
fn signed(seal: &Seal) -> SignedSeal {
    let (hash, jws) = (seal.actual_hash(INSTANCE), SealHash::of(format!("JWS of {}", seal.number).as_bytes()));
    SignedSeal { seal: seal.number, hash, jws, prev: None, pruned: false, broken: None }
}

/// A checkpoint that names the previous one.
fn naming(before: Option<&SignedSeal>, seal: &Seal) -> SignedSeal {
    SignedSeal { prev: Some(before.map_or(SealLink::NONE, link)), ..signed(seal) }
}

fn link(checkpoint: &SignedSeal) -> SealLink {
    SealLink { seal: checkpoint.seal, hash: checkpoint.jws }
}

fn verify(seals: &[Seal], checkpoints: &[SignedSeal]) -> Vec<AuditFinding> {
    check(ChainVerifier::new(INSTANCE), seals, Checkpoints { kept: checkpoints, elsewhere: &[] })
}

fn check(mut verifier: ChainVerifier, seals: &[Seal], signed: Checkpoints<'_>) -> Vec<AuditFinding> {
    let mut found = Vec::new();
    for seal in seals {
        verifier.seal(seal, signed, &mut found);
    }
    let newest = signed.kept.iter().map(|one| one.seal).max().unwrap_or(0);
    verifier.finish(newest, signed.elsewhere, &mut found);
    found
}

fn named(seal: i64, id: &str, second: i64) -> EventName {
    EventName { seal, id: id.to_owned(), kind: "sign-in".to_owned(), at: seal * MINUTE + second }
}

fn lines(seal: &Seal) -> Vec<String> {
    seal.events.lines().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_chain_that_nobody_touched_has_no_findings() {
    let seals = chain();
    assert_eq!(verify(&seals, &[signed(&seals[1]), signed(&seals[2])]), []);
    assert_eq!(verify(&[], &[]), []);
}

#[test]
fn a_changed_event_is_named_with_what_was_done_to_it() {
    type Change = fn(&mut Vec<String>);
    let cases: [(Change, Vec<AuditFinding>); 7] = [
        (|lines| lines[1] = lines[1].replace("sign-in", "sign-up"), vec![AuditFinding::EventEdited(named(2, "b2", 1))]),
        (|lines| drop(lines.remove(0)), vec![AuditFinding::EventRemoved(named(2, "a2", 0))]),
        (|lines| lines.swap(0, 1), vec![AuditFinding::EventMoved(named(2, "a2", 0))]),
        (
            |lines| lines.insert(1, lines[2].clone()),
            vec![AuditFinding::EventMoved(named(2, "b2", 1)), AuditFinding::EventInserted(named(2, "c2", 2))],
        ),
        (
            |lines| lines.push("{\"id\":\"x\",\"at\":7,\"kind\":\"k\",\"outcome\":\"done\"}\n".to_owned()),
            vec![AuditFinding::EventInserted(EventName { seal: 2, id: "x".to_owned(), kind: "k".to_owned(), at: 7 })],
        ),
        (
            |lines| lines[2] = "nonsense\n".to_owned(),
            vec![
                AuditFinding::EventInserted(EventName {
                    seal: 2,
                    id: "?".to_owned(),
                    kind: "?".to_owned(),
                    at: 2 * MINUTE + 9,
                }),
                AuditFinding::EventRemoved(named(2, "c2", 2)),
            ],
        ),
        (
            Vec::clear,
            vec![
                AuditFinding::EventRemoved(named(2, "a2", 0)),
                AuditFinding::EventRemoved(named(2, "b2", 1)),
                AuditFinding::EventRemoved(named(2, "c2", 2)),
            ],
        ),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let mut seals = chain();
        let mut changed = lines(&seals[1]);
        change(&mut changed);
        seals[1].events = changed.concat();
        assert_eq!(verify(&seals, &[signed(&chain()[2])]), expected, "case {number}");
    }
}

#[test]
fn a_changed_seal_is_found_at_itself_or_at_the_next() {
    let of = |change: fn(&mut Seal)| {
        let mut seals = chain();
        change(&mut seals[1]);
        verify(&seals, &[signed(&chain()[2])])
    };
    let edited = [AuditFinding::SealEdited { seal: 2 }];
    assert_eq!(of(|seal| seal.hash = "0".repeat(64)), edited);
    assert_eq!(of(|seal| seal.at = Timestamp(1)), edited);
    assert_eq!(of(|seal| seal.count = 2), edited);
    assert_eq!(of(|seal| seal.contents.push_str("x\n")), edited, "told once");
    let unlinked = |seal| AuditFinding::SealUnlinked { seal };
    let [edited] = edited;
    assert_eq!(of(|seal| seal.previous = "0".repeat(64)), [edited, unlinked(2)]);
    // A seal rewritten with all data that depends on it: the next seal names another hash.
    assert_eq!(
        of(|seal| *seal = Seal::new(INSTANCE, &head(&chain()[0]), seal.at, vec![event("z", 5)], String::new())),
        [unlinked(3)]
    );
}

#[test]
fn a_chain_written_anew_from_the_change_on_is_not_the_one_that_was_signed() {
    let mut seals = chain();
    let honest = signed(&seals[2]);
    seals[1] = Seal::new(INSTANCE, &head(&seals[0]), seals[1].at, vec![event("z", 5)], String::new());
    seals[2] = Seal::new(INSTANCE, &head(&seals[1]), seals[2].at, vec![event("y", 6)], String::new());
    assert_eq!(verify(&seals, &[]), [], "without a signature nobody can tell");
    assert_eq!(verify(&seals, &[honest]), [AuditFinding::NotAsSigned { seal: 3 }]);
}

#[test]
fn what_is_missing_is_named_unless_the_server_signed_that_it_deleted_it() {
    let seals = chain();
    let newest = signed(&seals[2]);
    assert_eq!(verify(&seals[..2], &[newest]), [AuditFinding::SealsMissing { from: 3, to: 3 }]);
    assert_eq!(
        verify(&[seals[0].clone(), seals[2].clone()], &[newest]),
        [AuditFinding::SealsMissing { from: 2, to: 2 }]
    );
    assert_eq!(verify(&seals[2..], &[newest]), [AuditFinding::SealsMissing { from: 1, to: 2 }]);
    assert_eq!(verify(&seals[2..], &[newest, signed(&seals[1])]), [AuditFinding::SealsMissing { from: 1, to: 2 }]);
    let pruned = SignedSeal { pruned: true, ..signed(&seals[1]) };
    assert_eq!(verify(&seals[2..], &[newest, pruned]), []);
    let other = SignedSeal { pruned: true, hash: SealHash::NONE, ..signed(&seals[1]) };
    assert_eq!(verify(&seals[2..], &[newest, other]), [AuditFinding::SealsMissing { from: 1, to: 2 }]);
    assert_eq!(verify(&[], &[newest]), [AuditFinding::SealsMissing { from: 1, to: 3 }]);
}

#[test]
fn a_server_that_did_not_sign_for_long_is_reported() {
    let mut seals = chain();
    for later in [20, 31] {
        let at = Timestamp(later * MINUTE);
        let before = head(&seals[seals.len() - 1]);
        seals.push(Seal::new(INSTANCE, &before, at, vec![event("d", at.0)], String::new()));
    }
    assert_eq!(verify(&seals, &[]), [AuditFinding::Unsigned { from: 1, to: 5 }]);
    assert_eq!(verify(&seals, &[signed(&seals[2])]), [AuditFinding::Unsigned { from: 4, to: 5 }]);
    assert_eq!(verify(&seals, &[signed(&seals[3])]), [], "nobody was there to be told of");
}

#[test]
fn a_finding_reads_as_a_sentence() {
    let edited = AuditFinding::EventEdited(named(2, "b2", 1));
    assert_eq!(edited.to_string(), "event edited: b2 (sign-in, at 1970-01-01T00:02:00.000001Z) in seal 2");
    let json = serde_json::to_value(edited).expect("JSON");
    assert_eq!((&json["finding"], &json["id"], &json["seal"]), (&"event-edited".into(), &"b2".into(), &2.into()));
}

#[test]
fn checkpoints_that_were_taken_out_are_named_by_the_next() {
    let seals = chain();
    let one = naming(None, &seals[0]);
    let two = naming(Some(&one), &seals[1]);
    let three = naming(Some(&two), &seals[2]);
    let missing = |seal, named_by| AuditFinding::CheckpointMissing { seal, named_by };
    assert_eq!(verify(&seals, &[one, two, three]), []);
    assert_eq!(verify(&seals, &[one, three]), [missing(2, 3)]);
    assert_eq!(verify(&seals, &[three]), [missing(2, 3)]);
    let other = SignedSeal { jws: SealHash::of(b"another"), ..two };
    assert_eq!(verify(&seals, &[one, other, three]), [missing(2, 3)], "one in the place of another");
    // A version that names no previous checkpoint signed earlier, in between, or later.
    assert_eq!(verify(&seals, &[signed(&seals[0]), naming(Some(&signed(&seals[0])), &seals[1])]), []);
    assert_eq!(verify(&seals, &[one, signed(&seals[1]), naming(Some(&one), &seals[2])]), []);
    assert_eq!(verify(&seals, &[one, signed(&seals[1]), naming(Some(&signed(&seals[1])), &seals[2])]), []);
    assert_eq!(verify(&seals, &[one, two, signed(&seals[2])]), []);
    // Only the first checkpoint may name none; a later one may not.
    assert_eq!(verify(&seals, &[one, naming(None, &seals[1])]), [missing(0, 2)]);
    // A pruned checkpoint is not missing.
    let pruned = SignedSeal { pruned: true, ..signed(&seals[1]) };
    assert_eq!(verify(&seals[2..], &[pruned, three]), []);
    assert_eq!(verify(&seals[2..], &[pruned, naming(Some(&one), &seals[2])]), []);
}

#[test]
fn the_end_of_the_chain_is_the_one_that_is_remembered() {
    let seals = chain();
    let one = naming(None, &seals[0]);
    let two = naming(Some(&one), &seals[1]);
    let newest = |seal: &Seal| SealLink { seal: seal.number, hash: seal.actual_hash(INSTANCE) };
    let kept = RememberedEnd { head: newest(&seals[2]), signed: link(&two) };
    let found = |memory, seals: &[Seal], checkpoints: &[SignedSeal]| {
        let verifier = ChainVerifier::new(INSTANCE).against(memory);
        check(verifier, seals, Checkpoints { kept: checkpoints, elsewhere: &[] })
    };
    let all = [one, two];
    assert_eq!(found(ChainMemory::Kept(kept), &seals, &all), []);
    assert_eq!(
        found(ChainMemory::Kept(RememberedEnd { head: newest(&seals[1]), ..kept }), &seals, &all),
        [],
        "it goes on"
    );
    assert_eq!(found(ChainMemory::Kept(kept), &seals[..2], &all), [AuditFinding::SealsMissing { from: 3, to: 3 }]);
    let mut replaced = seals.clone();
    replaced[2] = Seal::new(INSTANCE, &head(&seals[1]), seals[2].at, vec![event("z", 5)], String::new());
    assert_eq!(found(ChainMemory::Kept(kept), &replaced, &all), [AuditFinding::HeadReplaced { seal: 3 }]);
    assert_eq!(found(ChainMemory::Kept(kept), &seals, &[one]), [AuditFinding::CheckpointReplaced { seal: 2 }]);
    let other = SignedSeal { jws: SealHash::of(b"another"), ..two };
    assert_eq!(found(ChainMemory::Kept(kept), &seals, &[one, other]), [AuditFinding::CheckpointReplaced { seal: 2 }]);
    assert_eq!(found(ChainMemory::Lost, &seals, &all), [AuditFinding::MemoryLost]);
    let older = [signed(&seals[0]), signed(&seals[1])];
    assert_eq!(found(ChainMemory::Lost, &seals, &older), [], "written by a version that remembers nothing");
    let pruned = SignedSeal { pruned: true, ..signed(&seals[1]) };
    assert_eq!(found(ChainMemory::Kept(kept), &seals[2..], &[pruned]), []);
}

#[test]
fn a_stretch_without_a_signature_is_found_wherever_it_is() {
    let mut seals = chain();
    for later in [20, 31, 32] {
        let (before, at) = (head(&seals[seals.len() - 1]), Timestamp(later * MINUTE));
        seals.push(Seal::new(INSTANCE, &before, at, vec![event("d", at.0)], String::new()));
    }
    let three = naming(None, &seals[2]);
    let covered = [three, naming(Some(&three), &seals[3]), naming(Some(&naming(Some(&three), &seals[3])), &seals[5])];
    assert_eq!(verify(&seals, &covered), []);
    let six = naming(Some(&three), &seals[5]);
    assert_eq!(verify(&seals, &[three, six]), [AuditFinding::Unsigned { from: 4, to: 6 }]);
    assert_eq!(verify(&seals, &[three, SignedSeal { prev: None, ..six }]), [], "of a version that was not held to it");
    let broken = Break { cause: BreakCause::NothingRemembered, known: SealLink::NONE, found: SealLink::NONE };
    let upgraded = SignedSeal { broken: Some(broken), prev: Some(SealLink::NONE), ..six };
    assert_eq!(verify(&seals, &[upgraded]), [], "the first of a version that is");
}

#[test]
fn a_break_is_told_of_and_explains_only_what_was_lost_in_it() {
    let seals = chain();
    let lost = |seal, text: &str| SealLink { seal, hash: SealHash::of(text.as_bytes()) };
    let found = SealLink { seal: 2, hash: seals[1].actual_hash(INSTANCE) };
    let break_of = |cause| Break { cause, known: lost(5, "five"), found };
    let one = naming(None, &seals[1]);
    let telling = |cause| [one, SignedSeal { broken: Some(break_of(cause)), ..naming(Some(&one), &seals[2]) }];
    for cause in [
        BreakCause::DatabaseWentBack,
        BreakCause::ChainWentBack,
        BreakCause::HeadReplaced,
        BreakCause::CheckpointReplaced,
        BreakCause::UnknownSeals,
        BreakCause::NothingRemembered,
    ] {
        let told = verify(&seals, &telling(cause));
        assert_eq!(told, [AuditFinding::Broken { seal: 3, broken: break_of(cause) }], "{cause:?}");
        assert_eq!(told[0].is_loss(), cause.is_loss());
    }
    // Published before the break: the break lost or rewrote its seal.
    let published = |seal| SignedSeal { seal, hash: SealHash::of(b"published"), ..one };
    let against = |cause, seal| {
        let signed = Checkpoints { kept: &telling(cause), elsewhere: &[published(seal)] };
        let mut findings = check(ChainVerifier::new(INSTANCE), &seals, signed);
        findings.retain(|finding| !matches!(finding, AuditFinding::Broken { .. }));
        findings
    };
    assert_eq!(against(BreakCause::DatabaseWentBack, 3), [AuditFinding::LostInBreak { seal: 3 }]);
    assert_eq!(against(BreakCause::DatabaseWentBack, 5), [AuditFinding::LostInBreak { seal: 5 }]);
    assert_eq!(against(BreakCause::DatabaseWentBack, 2), [AuditFinding::NotAsSigned { seal: 2 }]);
    assert_eq!(against(BreakCause::DatabaseWentBack, 6), [AuditFinding::SealsMissing { from: 4, to: 6 }]);
    assert_eq!(against(BreakCause::HeadReplaced, 3), [AuditFinding::NotAsSigned { seal: 3 }]);
}

#[test]
fn the_first_break_of_an_upgraded_chain_is_none_and_every_later_one_is() {
    let seals = chain();
    let broken = Break { cause: BreakCause::NothingRemembered, known: SealLink::NONE, found: SealLink::NONE };
    let first = SignedSeal { broken: Some(broken), ..naming(Some(&signed(&seals[0])), &seals[1]) };
    assert_eq!(verify(&seals, &[signed(&seals[0]), first]), []);
    let again = SignedSeal { broken: Some(broken), ..naming(Some(&first), &seals[2]) };
    assert_eq!(verify(&seals, &[signed(&seals[0]), first, again]), [AuditFinding::Broken { seal: 3, broken }]);
}

#[test]
fn events_that_are_not_vouched_for_are_found_or_counted() {
    let mut seals = chain();
    let doubtful = |id: &str, doubt| (StoredEvent { doubt: Some(doubt), ..event(id, 4 * MINUTE).0 }, None);
    let events = vec![doubtful("f", Doubt::Forged), doubtful("r", Doubt::Repeated), doubtful("u", Doubt::Unattested)];
    seals.push(Seal::new(INSTANCE, &head(&seals[2]), Timestamp(4 * MINUTE), events, String::new()));
    assert_eq!(
        verify(&seals, &[]),
        [AuditFinding::EventForged(named(4, "f", 0)), AuditFinding::EventRepeated(named(4, "r", 0))]
    );
    let mut verifier = ChainVerifier::new(INSTANCE);
    for seal in &seals {
        verifier.seal(seal, Checkpoints::default(), &mut Vec::new());
    }
    assert_eq!(verifier.unattested, Unattested { events: 1, first_at: 4 * MINUTE, last_at: 4 * MINUTE });
}

#[test]
fn seals_that_nobody_knows_are_counted_by_the_break_that_tells_of_them() {
    let detail =
        serde_json::json!({ "known": SealLink::NONE, "found": SealLink { seal: 3, hash: SealHash::of(b"three") } });
    let told = StoredEvent {
        kind: "audit-broken".to_owned(),
        reason: BreakCause::UnknownSeals.as_str().to_owned(),
        detail: Some(detail.to_string()),
        ..event("b", 1).0
    };
    let count = |told: StoredEvent| {
        let mut verifier = ChainVerifier::new(INSTANCE);
        let seal = Seal::new(INSTANCE, &ChainHead::NONE, Timestamp(5), vec![(told, None)], String::new());
        verifier.seal(&seal, Checkpoints::default(), &mut Vec::new());
        verifier.unknown_seals
    };
    assert_eq!(count(told.clone()), 3);
    assert_eq!(count(StoredEvent { doubt: Some(Doubt::Unattested), ..told }), 0, "anybody may have written it");
}
