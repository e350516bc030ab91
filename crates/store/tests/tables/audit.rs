//! The chain of the audit, its checkpoints and its people; and what erasing a person leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use model::audit::chain::{Chain, ChainHead, Seal, SealHash, SealLink};
use model::audit::{AuditEvent, AuditKind, RequestId, RequestInfo, StoredEvent};
use model::link::LinkPurpose;
use model::two_step::RecoveryCode;
use model::{InstanceId, Timestamp};
use oauth::secret::Presented;
use store::{Batch, Change, ChangeKind, CommitOutcome, MemoryRow, Store, WaitingBlock, lines_of};
use uuid::Uuid;

use crate::common::Place;
use crate::email_changes::email_change;
use crate::{LATER, MUCH_LATER, NOW, done, login, on_both, refused, server, somebody, user_id};

on_both! {
    the_next_seal_is_put_behind_the_newest_once
    what_waits_is_taken_by_one_only
    seals_are_found_by_number_time_and_request
    what_is_remembered_is_read_with_the_chain_and_written_once
    what_is_sealed_is_found_by_its_id
    a_block_is_written_once_however_often_it_is_tried
    an_event_that_is_sealed_while_the_trail_is_read_is_told_once
    chains_of_an_instance_are_apart
    the_oldest_seals_go_until_the_others_fit
    old_seals_go_and_a_checkpoint_stays_in_their_place
    a_person_has_one_key_until_it_is_erased
    a_checkpoint_key_is_replaced_by_one_of_two
    an_erased_user_leaves_an_id_and_takes_the_login_along
    every_table_about_users_is_known_to_erasing
}

fn visitor(request: RequestId) -> RequestInfo {
    RequestInfo { address: [192, 0, 2, 1].into(), user_agent: None, id: request }
}

fn id(number: u128) -> Uuid {
    // Version 7, so that it has the time in front.
    let mut bytes = [0; 10];
    bytes[6..].copy_from_slice(&u32::try_from(number).expect("a small number").to_be_bytes());
    let millis = u64::try_from(NOW.micros() / 1000).expect("after 1970");
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

fn sealed(store: &Store, head: &ChainHead, at: Timestamp) -> Seal {
    let request = RequestId::new(at, 1, 7).to_string();
    let event = StoredEvent { id: id(1).to_string(), at, request: Some(request), ..StoredEvent::default() };
    Seal::new(*store.instance(), head, at, vec![(event, None)], "{}\n".to_owned())
}

fn head(seal: &Seal, instance: InstanceId) -> ChainHead {
    ChainHead { number: seal.number, hash: seal.actual_hash(instance), at: seal.at }
}

/// Three seals, at three times.
async fn chain(store: &Store) -> Vec<Seal> {
    let mut seals: Vec<Seal> = Vec::new();
    for at in [NOW, LATER, MUCH_LATER] {
        let before = seals.last().map_or(ChainHead::NONE, |seal| head(seal, *store.instance()));
        let seal = sealed(store, &before, at);
        done(store, store.insert_seal(seal.clone(), None)).await;
        seals.push(seal);
    }
    seals
}

async fn the_next_seal_is_put_behind_the_newest_once(place: Place) {
    let server = server(&place).await;
    let (here, there) = (&server.here, &server.there);
    assert_eq!(here.audit_head().await.expect("no fault"), ChainHead::NONE);
    let seals = chain(here).await;
    assert_eq!(here.audit_head().await.expect("no fault"), head(&seals[2], *here.instance()));
    refused(here, here.insert_seal(seals[2].clone(), None)).await;
    assert_eq!(here.seals_after(0, 10).await.expect("no fault"), seals);
    assert_eq!(there.audit_head().await.expect("no fault"), ChainHead::NONE, "a chain is of one instance");
}

async fn what_waits_is_taken_by_one_only(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let event = AuditEvent::done(NOW, AuditKind::SignIn, &visitor(RequestId::new(NOW, 1, 1)));
    // More than one statement takes at once.
    let batch: Vec<_> = (0..300)
        .map(|number| store.insert_audit_event(event.stored(id(number)), Some(format!("code {number}"))))
        .collect();
    assert_eq!(store.commit(batch.into()).await.expect("no fault"), CommitOutcome::Committed);
    let block = WaitingBlock { id: id(999).to_string(), first_at: NOW, lines: "x\n".to_owned(), code: None };
    done(store, store.insert_audit_block(block.clone(), LATER)).await;
    let waiting = async || store.database().chains_with_unsealed_events().await.expect("no fault");
    assert_eq!(waiting().await, [store.chain_id()]);
    assert_eq!(store.unsealed_events(10).await.expect("no fault").len(), 10);
    let events = store.unsealed_events(1000).await.expect("no fault");
    assert_eq!(events.len(), 300);
    assert_eq!(events[7], (event.stored(id(7)), Some("code 7".to_owned())), "as it was written, with its code");
    let ids: Vec<&str> = events.iter().map(|(event, _)| event.id.as_str()).collect();
    assert_eq!(ids, (0..300).map(|number| id(number).to_string()).collect::<Vec<_>>(), "the oldest first");

    done(store, store.take_unsealed_events(&ids[..1]).remove(0)).await;
    let all: Batch = store.take_unsealed_events(&ids).into();
    assert!(matches!(store.commit(all).await.expect("no fault"), CommitOutcome::GuardFailed { .. }), "one is gone");
    let theirs: Batch = server.there.take_unsealed_events(&ids[1..]).into();
    assert!(
        matches!(store.commit(theirs).await.expect("no fault"), CommitOutcome::GuardFailed { .. }),
        "of another instance"
    );
    let others: Batch = store.take_unsealed_events(&ids[1..]).into();
    assert_eq!(store.commit(others).await.expect("no fault"), CommitOutcome::Committed);
    assert!(store.unsealed_events(10).await.expect("no fault").is_empty());

    let blocks = store.unsealed_blocks(10).await.expect("no fault");
    assert_eq!(blocks, [block]);
    let lines = lines_of(&blocks[0].id, blocks[0].first_at, &blocks[0].lines);
    assert_eq!(
        (lines[0].kind.as_str(), lines[0].at, lines[0].id.as_str()),
        ("unreadable", NOW, &*format!("{}.0", id(999)))
    );
    done(store, store.take_unsealed_block(&blocks[0].id)).await;
    refused(store, store.take_unsealed_block(&blocks[0].id)).await;
    assert!(waiting().await.is_empty());
}

async fn seals_are_found_by_number_time_and_request(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let seals = chain(store).await;
    let numbers = |seals: Vec<Seal>| seals.iter().map(|seal| seal.number).collect::<Vec<_>>();
    assert_eq!(numbers(store.seals_after(1, 1).await.expect("no fault")), [2]);
    assert_eq!(numbers(store.seals_before(3, 2).await.expect("no fault")), [2, 1]);
    let within = async |since, until| store.seals_within(since, until).await.expect("no fault");
    assert_eq!(within(NOW, MUCH_LATER).await, Some((1, 2)));
    assert_eq!(within(Timestamp(0), NOW).await, None);
    let of = store.seals_of(RequestId::new(LATER, 1, 7)).await.expect("no fault");
    assert_eq!(of, [seals[1].clone()]);
    assert!(store.seals_of(RequestId::new(LATER, 1, 8)).await.expect("no fault").is_empty());
    assert!(server.there.seals_of(RequestId::new(LATER, 1, 7)).await.expect("no fault").is_empty());
    assert_eq!(store.audit_trail().await.expect("no fault").len(), 3);
}

async fn what_is_remembered_is_read_with_the_chain_and_written_once(place: Place) {
    let server = server(&place).await;
    let (store, there) = (&server.here, &server.there);
    let read = async |asked| store.audit_memory(asked).await.expect("no fault");
    let nothing = read(0).await;
    assert!(nothing.row.is_none() && nothing.remembered_head.is_none() && nothing.remembered_checkpoint.is_none());
    assert_eq!((nothing.head, nothing.oldest), (ChainHead::NONE, 1));

    let seals = chain(store).await;
    done(store, store.insert_checkpoint(1, NOW, "first")).await;
    let row = |remembered| MemoryRow { secret: vec![7], version: 0, head: 2, signed: 1, remembered };
    done(store, store.insert_audit_memory(row(vec![1]))).await;
    refused(store, store.insert_audit_memory(row(vec![2]))).await;
    let kept = read(1).await;
    let hash = |number: usize| Some(seals[number].actual_hash(*store.instance()));
    assert_eq!((kept.head, kept.oldest), (head(&seals[2], *store.instance()), 1));
    assert_eq!((kept.remembered_head, kept.asked), (hash(1), hash(0)));
    assert_eq!(kept.remembered_checkpoint.as_deref(), Some("first"));
    assert_eq!(store.audit_secret().await.expect("no fault"), Some(vec![7]));
    assert_eq!(there.audit_secret().await.expect("no fault"), None, "of another instance");

    refused(store, store.update_audit_memory(1, 3, 3, vec![3], None)).await;
    refused(there, there.update_audit_memory(0, 3, 3, vec![3], None)).await;
    done(store, store.update_audit_memory(0, 3, 3, vec![3], None)).await;
    refused(store, store.update_audit_memory(0, 3, 3, vec![4], None)).await;
    let mut batch = Batch::new();
    batch.announce(Change { kind: ChangeKind::Keys, subject: store.instance().0 }, NOW);
    assert_eq!(store.commit(batch).await.expect("no fault"), CommitOutcome::Committed);
    let mark = store.newest_change().await.expect("no fault").expect("just announced");
    assert!(store.has_change(&mark).await.expect("no fault") && !there.has_change(&mark).await.expect("no fault"));
    done(store, store.update_audit_memory(1, 3, 3, vec![3], Some(&mark))).await;
    // The database went back behind that change, and another one has its number.
    let lost = format!("UPDATE changes SET id = 'another' WHERE instance = '{}'", store.instance());
    done(store, store::statement(lost, vec![])).await;
    assert!(!store.has_change(&mark).await.expect("no fault"));
    refused(store, store.update_audit_memory(2, 3, 3, vec![4], Some(&mark))).await;
    let kept = read(9).await;
    assert_eq!((kept.remembered_head, kept.remembered_checkpoint, kept.asked), (hash(2), None, None));
    let row = kept.row.expect("it is kept");
    assert_eq!((row.version, row.head, row.signed, row.remembered), (2, 3, 3, vec![3]));
    refused(store, store.delete_audit_memory(1)).await;
    done(store, store.delete_audit_memory(2)).await;
    assert!(read(0).await.row.is_none());
}

async fn a_block_is_written_once_however_often_it_is_tried(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let block = WaitingBlock { id: id(5).to_string(), first_at: NOW, lines: "x\n".to_owned(), code: None };
    let insert = async || done(store, store.insert_audit_block(block.clone(), LATER)).await;
    insert().await;
    insert().await;
    assert_eq!(store.unsealed_blocks(10).await.expect("no fault"), std::slice::from_ref(&block));

    let events = lines_of(&block.id, NOW, &block.lines).into_iter().map(|event| (event, None)).collect();
    let seal = Seal::new(*store.instance(), &ChainHead::NONE, NOW, events, String::new());
    let link = SealLink { seal: 1, hash: seal.actual_hash(*store.instance()) };
    assert!(!store.has_seal(link).await.expect("no fault"));
    let take = [store.insert_seal(seal, Some((&block.id, &block.id))), store.take_unsealed_block(&block.id)];
    assert_eq!(store.commit(Vec::from(take).into()).await.expect("no fault"), CommitOutcome::Committed);
    assert!(store.has_seal(link).await.expect("no fault") && !server.there.has_seal(link).await.expect("no fault"));
    assert!(
        !store.has_seal(SealLink { hash: SealHash::NONE, ..link }).await.expect("no fault"),
        "another in its place"
    );
    insert().await;
    assert!(store.unsealed_blocks(10).await.expect("no fault").is_empty(), "it is sealed");
    done(&server.there, server.there.insert_audit_block(block.clone(), LATER)).await;
    assert_eq!(server.there.unsealed_blocks(10).await.expect("no fault").len(), 1, "of another instance");
}

async fn what_is_sealed_is_found_by_its_id(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let event = |id: String| (StoredEvent { id, at: NOW, kind: "k".to_owned(), ..StoredEvent::default() }, None);
    let (one, three, block) = (id(1).to_string(), id(3).to_string(), id(2).to_string());
    let events =
        vec![event(one.clone()), event(format!("{block}.0")), event(format!("{block}.1")), event(three.clone())];
    let first = Seal::new(*store.instance(), &ChainHead::NONE, NOW, events, String::new());
    let before = head(&first, *store.instance());
    done(store, store.insert_seal(first, Some((&one, &three)))).await;
    // Of calls: they never waited.
    let calls = Seal::new(*store.instance(), &before, NOW, vec![event(format!("{}.0", id(4)))], String::new());
    done(store, store.insert_seal(calls, None)).await;

    let sealed = async |store: &Store, ids: &[String]| {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        BTreeSet::from_iter(store.sealed_before(&ids).await.expect("no fault"))
    };
    let ids: Vec<String> = (0..6).map(|number| id(number).to_string()).collect();
    assert_eq!(sealed(store, &ids).await, BTreeSet::from([one.clone(), block, three]));
    assert!(sealed(store, &ids[4..]).await.is_empty());
    assert!(sealed(store, &[]).await.is_empty());
    assert!(sealed(&server.there, &ids).await.is_empty(), "of another instance");
}

/// An event that is sealed after those that wait were read is found in both: the sealed one is told, once.
async fn an_event_that_is_sealed_while_the_trail_is_read_is_told_once(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let event = AuditEvent::done(NOW, AuditKind::SignIn, &visitor(RequestId::new(NOW, 1, 1))).stored(id(1));
    done(store, store.insert_audit_event(event.clone(), None)).await;
    let block = WaitingBlock { id: id(3).to_string(), first_at: NOW, lines: "x\n".to_owned(), code: None };
    done(store, store.insert_audit_block(block.clone(), NOW)).await;
    let alone = WaitingBlock { id: id(4).to_string(), lines: "y\nz\n".to_owned(), ..block.clone() };
    done(store, store.insert_audit_block(alone, NOW)).await;
    let lines = lines_of(&block.id, NOW, &block.lines).into_iter();
    let events: Vec<_> = [StoredEvent { kind: "sealed".to_owned(), ..event }]
        .into_iter()
        .chain(lines)
        .map(|event| (event, None))
        .collect();
    // As between the two reads: the rows that it takes are still seen.
    done(store, store.insert_seal(Seal::new(*store.instance(), &ChainHead::NONE, NOW, events, String::new()), None))
        .await;
    let trail = store.audit_trail().await.expect("no fault");
    let mut ids: Vec<&str> = trail.iter().map(|event| event.id.as_str()).collect();
    ids.sort_unstable();
    let expected = [(1, ""), (3, ".0"), (4, ".0"), (4, ".1")].map(|(number, line)| format!("{}{line}", id(number)));
    assert_eq!(ids, expected);
    let found = trail.iter().find(|event| event.id == expected[0]).expect("it is told");
    assert_eq!(found.kind, "sealed", "as it was sealed");
}

async fn chains_of_an_instance_are_apart(place: Place) {
    let server = server(&place).await;
    let (main, refusals) = (&server.here, server.here.with_chain(Chain::Refusals));
    chain(main).await;
    assert_eq!(refusals.audit_head().await.expect("no fault"), ChainHead::NONE);
    let block = WaitingBlock { id: id(5).to_string(), first_at: NOW, lines: "x\n".to_owned(), code: None };
    done(&refusals, refusals.insert_audit_block(block.clone(), LATER)).await;
    assert!(main.unsealed_blocks(10).await.expect("no fault").is_empty());
    let waiting = main.database().chains_with_unsealed_events().await.expect("no fault");
    assert_eq!(waiting, [refusals.chain_id()]);
    assert_ne!(refusals.chain_id(), main.chain_id());
    assert_eq!(refusals.audit_trail().await.expect("no fault").len(), 1);

    let row = |secret| MemoryRow { secret, version: 0, head: 0, signed: 0, remembered: vec![1] };
    done(main, main.insert_audit_memory(row(vec![7]))).await;
    done(&refusals, refusals.insert_audit_memory(row(vec![8]))).await;
    assert_eq!(main.audit_secret().await.expect("no fault"), Some(vec![7]));
    assert_eq!(refusals.audit_secret().await.expect("no fault"), Some(vec![8]));
    done(&refusals, refusals.insert_checkpoint(1, NOW, "theirs")).await;
    assert!(main.newest_checkpoint().await.expect("no fault").is_none());
}

async fn the_oldest_seals_go_until_the_others_fit(place: Place) {
    let server = server(&place).await;
    let store = server.here.with_chain(Chain::Refusals);
    let seals = chain(&store).await;
    let sizes: Vec<i64> = seals.iter().map(|seal| seal.bytes() + 512).collect();
    let beyond = async |bytes| {
        let old = store.seals_beyond(bytes, 10).await.expect("no fault");
        old.iter().map(|(number, ..)| *number).collect::<Vec<_>>()
    };
    assert!(beyond(sizes.iter().sum()).await.is_empty(), "they fit");
    assert_eq!(beyond(sizes[1] + sizes[2]).await, [1]);
    assert_eq!(beyond(sizes[1]).await, [1, 2]);
    assert_eq!(beyond(0).await, [1, 2], "never the newest");
}

async fn old_seals_go_and_a_checkpoint_stays_in_their_place(place: Place) {
    let server = server(&place).await;
    let (store, there) = (&server.here, &server.there);
    let seals = chain(store).await;
    chain(there).await;
    assert_eq!(store.newest_checkpoint().await.expect("no fault"), None);
    done(store, store.insert_checkpoint(1, NOW, "first")).await;
    done(store, store.insert_checkpoint(1, LATER, "second")).await;
    done(store, store.insert_checkpoint(3, LATER, "third")).await;
    let all = async || store.checkpoints(0, 9).await.expect("no fault");
    assert_eq!(all().await, [(1, "second".to_owned()), (3, "third".to_owned())], "in the place of what was there");
    assert_eq!(store.newest_checkpoint().await.expect("no fault"), Some((3, LATER, "third".to_owned())));
    assert_eq!(store.signed_from(2).await.expect("no fault"), Some(3));
    assert_eq!(store.signed_from(4).await.expect("no fault"), None);

    let old = store.old_seals(MUCH_LATER.plus(Duration::from_secs(1)), 10).await.expect("no fault");
    let sizes: Vec<_> = seals[..2].iter().map(|seal| (seal.number, seal.hash.clone(), 1, seal.bytes())).collect();
    assert_eq!(old, sizes, "never the newest of all");
    assert_eq!(store.old_seals(LATER, 10).await.expect("no fault").len(), 1);
    let pruning: Batch = store.prune_seals(2, 3, LATER, "pruned").into();
    assert!(
        matches!(store.commit(pruning).await.expect("no fault"), CommitOutcome::GuardFailed { .. }),
        "there are but two"
    );
    let pruning: Batch = store.prune_seals(2, 2, LATER, "pruned").into();
    assert_eq!(store.commit(pruning).await.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(all().await, [(2, "pruned".to_owned()), (3, "third".to_owned())]);
    assert_eq!(store.seals_after(0, 10).await.expect("no fault"), seals[2..]);
    assert_eq!(there.seals_after(0, 10).await.expect("no fault").len(), 3, "of another instance");
}

async fn a_person_has_one_key_until_it_is_erased(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let (alice, bob) = (user_id(1), user_id(2));
    done(store, store.insert_audit_person(alice, &[1; 32])).await;
    refused(store, store.insert_audit_person(alice, &[2; 32])).await;
    let keys = async || store.audit_people(&[alice, bob]).await.expect("no fault");
    assert_eq!(keys().await, [(alice, Some(vec![1; 32]))]);
    done(store, store.erase_audit_person(alice)).await;
    // Also of somebody of whom nothing was ever sealed.
    done(store, store.erase_audit_person(bob)).await;
    assert_eq!(BTreeSet::from_iter(keys().await), BTreeSet::from([(alice, None), (bob, None)]));
    refused(store, store.insert_audit_person(bob, &[3; 32])).await;
    assert!(server.there.audit_people(&[alice]).await.expect("no fault").is_empty());
}

async fn a_checkpoint_key_is_replaced_by_one_of_two(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let replace = async |old: Option<&str>, kid: &str| {
        let batch = store.replace_audit_key(old, kid, vec![7], NOW);
        store.commit(batch.into()).await.expect("no fault")
    };
    let failed = |outcome| matches!(outcome, CommitOutcome::GuardFailed { .. });
    assert_eq!(replace(None, "one").await, CommitOutcome::Committed);
    assert!(failed(replace(None, "two").await), "there is one");
    assert_eq!(replace(Some("one"), "two").await, CommitOutcome::Committed);
    assert!(failed(replace(Some("one"), "three").await), "somebody was first");
    let keys = store.audit_keys().await.expect("no fault");
    let known: BTreeSet<_> = keys.iter().map(|key| (key.kid.as_str(), key.replaced_at, key.sealed.clone())).collect();
    assert_eq!(known, BTreeSet::from([("one", Some(NOW), vec![7]), ("two", None, vec![7])]));
}

async fn an_erased_user_leaves_an_id_and_takes_the_login_along(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let eve = somebody(store, 1, "Eve").await;
    done(store, store.insert_link(&[1; 32], LinkPurpose::PasswordReset, &eve, MUCH_LATER)).await;
    done(store, store.put_picture(eve.id, 64, vec![1])).await;
    done(store, store.put_email_change(&email_change(&eve, "eve@home.example", [Some(1), Some(2)]))).await;
    done(store, store.count_new_address_letter(eve.id, NOW, 1)).await;
    done(store, store.insert_authenticator_app(eve.id, vec![1], 1, NOW)).await;
    done(store, store.insert_recovery_code(eve.id, Presented::<RecoveryCode>::new("code").digest())).await;
    let erase = async |user: &model::User| store.commit(store.erase_user(user, LATER).into()).await.expect("no fault");
    assert!(matches!(erase(&model::User { epoch: 7, ..eve.clone() }).await, CommitOutcome::GuardFailed { .. }));
    assert_eq!(erase(&eve).await, CommitOutcome::Committed);

    let left = store.user(eve.id).await.expect("no fault").expect("the row stays");
    assert_eq!(left.login.as_str(), format!("erased-{}", eve.id));
    assert_eq!((left.name.as_str(), left.email, left.locale), ("", None, None));
    assert_eq!((left.enabled, left.admin_flag, left.epoch), (false, false, eve.epoch + 1));
    for gone in ["eve", left.login.as_str()] {
        assert!(store.user_by_login(&login(gone)).await.expect("no fault").is_none(), "{gone}");
    }
    assert_eq!(store.picture(eve.id, 64).await.expect("no fault"), None);
    assert_eq!(store.email_change(eve.id).await.expect("no fault"), None);
    assert!(store.authenticator_app(eve.id).await.expect("no fault").is_none());
    assert_eq!(store.recovery_codes_left(eve.id).await.expect("no fault"), 0);
    let links = store.query("SELECT 1 FROM links WHERE kind <> ''", vec![]).await.expect("no fault");
    assert!(links.is_empty());
    assert_eq!(store.audit_people(&[eve.id]).await.expect("no fault"), [(eve.id, None)]);
    for again in ["eve", "EVE"] {
        let (login, id) = (login(again), user_id(9));
        let again = store::NewUser {
            id,
            login: &login,
            user_type: model::UserType::Internal,
            is_admin: false,
            enabled: true,
            name: "",
            email: None,
            role: None,
            password: None,
        };
        refused(store, store.insert_user(&again, NOW)).await;
    }
    // The login is another person's in another instance.
    somebody(&server.there, 2, "eve").await;
}

/// A new table with data of users has to be erased with them: this fails until it is on one of the two lists.
async fn every_table_about_users_is_known_to_erasing(place: Place) {
    /// Touched by `Store::erase_user`.
    const ERASED: [&str; 17] = [
        "api_sessions",
        "attack_letters",
        "audit_people",
        "authenticator_apps",
        "authorizations",
        "consents",
        "email_changes",
        "identity_sessions",
        "known_networks",
        "links",
        "new_address_letters",
        "passkeys",
        "pending_authorizations",
        "pictures",
        "recovery_codes",
        "reference_tokens",
        "set_up_links",
    ];
    /// Here the id stands for the person, and nothing else does: events that wait are sealed without what identifies
    /// them, uses of legacy schemes are numbers and times.
    const BY_REFERENCE: [&str; 2] = ["audit_events", "legacy_uses"];
    let Some(path) = place.path().map(std::path::Path::to_owned) else { return };
    let database = place.migrated().await;
    let tables = database
        .query(
            "SELECT DISTINCT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND c.name = 'user_id' ORDER BY m.name",
            vec![],
        )
        .await
        .expect("no fault");
    let tables: BTreeSet<String> = tables.iter().map(|row| row.text(0).expect("a name")).collect();
    let known: BTreeSet<String> = ERASED.into_iter().chain(BY_REFERENCE).map(str::to_owned).collect();
    assert_eq!(tables, known, "of {}", path.display());
}
