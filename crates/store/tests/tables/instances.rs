//! Instances, their keys, the change feed, the audit.

use std::borrow::Cow;

use model::audit::{Asker, AuditEvent, AuditKind, RequestId, RequestInfo, RequestOrigin, StoredEvent};
use model::keys::KeyTimes;
use model::{InstanceSettings, Timestamp};
use oauth::jose::Algorithm;
use store::{Batch, Change, ChangeKind, CommitOutcome, FeedMark, Store, WaitingBlock, statement};
use uuid::Uuid;

use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, done, refused, server, user_id};

crate::on_both! {
    instances_are_listed_by_name_with_what_they_were_made_of
    settings_read_back_as_written
    a_key_reads_back_sealed_and_leaves_when_its_time_has_come
    a_key_is_made_only_where_the_count_is_as_read
    changes_come_in_order_and_are_numbered_without_a_gap
    an_announcement_is_undone_with_the_batch_it_came_in
    a_sweep_of_changes_deletes_old_ones_and_never_the_newest
    a_feed_that_went_back_is_known_by_the_row_that_was_read
    a_change_of_a_later_version_is_passed_by_and_not_asked_for_again
    a_reading_anew_is_known_for_as_long_as_its_row
    audit_events_read_back_oldest_first
}

async fn instances_are_listed_by_name_with_what_they_were_made_of(place: Place) {
    let server = server(&place).await;
    let database = server.here.database();
    let listed = database.instances().await.expect("no fault");
    let listed: Vec<_> = listed.iter().map(|one| (one.name.as_str(), one.id, one.root_secret.as_slice())).collect();
    let expected =
        [("here", *server.here.instance(), [1, 2, 3].as_slice()), ("there", *server.there.instance(), [4].as_slice())];
    assert_eq!(listed, expected);
    let third = Store::new(database.clone(), model::InstanceId(Uuid::from_u128(3)));
    refused(&third, third.insert_instance("here", &InstanceSettings::default(), vec![], NOW)).await;
}

async fn settings_read_back_as_written(place: Place) {
    let server = server(&place).await;
    let written = InstanceSettings {
        access_token_seconds: 77,
        access_token_algorithm: Algorithm::EdDsa,
        seats: Some(5),
        reserved_seats: vec!["admin".to_owned()],
        ..InstanceSettings::default()
    };
    let (_, as_written) = server.here.settings_as_written().await.expect("no fault");
    done(&server.here, server.here.update_settings(&written, &as_written)).await;
    let text = |settings: &InstanceSettings| serde_json::to_value(settings).expect("settings are JSON");
    assert_eq!(text(&server.here.settings().await.expect("no fault")), text(&written));
    let other = server.there.settings().await.expect("no fault");
    assert_eq!(text(&other), text(&InstanceSettings::default()), "not of this instance");
    let gone = Store::new(server.here.database().clone(), model::InstanceId(Uuid::from_u128(3)));
    refused(&gone, gone.update_settings(&written, &as_written)).await;
    assert!(gone.settings().await.is_err());
}

fn key(kid: &str, algorithm: Algorithm, signs_from: Timestamp) -> KeyTimes {
    KeyTimes { kid: kid.to_owned(), algorithm, signs_from, retired_at: None }
}

async fn keys(store: &Store) -> Vec<(KeyTimes, Vec<u8>)> {
    let keys = store.signing_keys().await.expect("no fault");
    assert!(keys.unreadable.is_empty());
    keys.keys.into_iter().map(|key| (key.times, key.sealed)).collect()
}

async fn a_key_reads_back_sealed_and_leaves_when_its_time_has_come(place: Place) {
    let server = server(&place).await;
    let (second, first) = (key("b", Algorithm::Es256, LATER), key("a", Algorithm::Rs256, NOW));
    done(&server.here, server.here.insert_key(&second, vec![2], NOW)).await;
    done(&server.here, server.here.insert_key(&first, vec![1], NOW)).await;
    assert_eq!(keys(&server.here).await, [(first, vec![1]), (second.clone(), vec![2])], "in the order they sign");
    refused(&server.there, server.there.retire_key("a", LATER)).await;
    done(&server.here, server.here.retire_key("a", LATER)).await;
    refused(&server.here, server.here.retire_key("a", MUCH_LATER)).await;
    assert_eq!(keys(&server.here).await[0].0.retired_at, Some(LATER));
    refused(&server.there, server.there.delete_key("a")).await;
    done(&server.here, server.here.delete_key("a")).await;
    refused(&server.here, server.here.delete_key("a")).await;
    assert_eq!(keys(&server.here).await, [(second, vec![2])]);
}

async fn a_key_is_made_only_where_the_count_is_as_read(place: Place) {
    let server = server(&place).await;
    let make = |kid: &str, count| {
        let mut batch = Batch::from(server.here.expect_key_count("ES256", count).to_vec());
        batch.push(server.here.insert_key(&key(kid, Algorithm::Es256, NOW), vec![0], NOW));
        batch
    };
    done(&server.here, server.here.insert_key(&key("rsa", Algorithm::Rs256, NOW), vec![0], NOW)).await;
    done(&server.there, server.there.insert_key(&key("es", Algorithm::Es256, NOW), vec![0], NOW)).await;
    let (one, two) = tokio::join!(server.here.commit(make("a", 0)), server.here.commit(make("b", 0)));
    let outcomes = [one.expect("no fault"), two.expect("no fault")];
    assert!(outcomes.contains(&CommitOutcome::Committed), "{outcomes:?}");
    assert!(
        outcomes.contains(&CommitOutcome::GuardFailed { statement: 1 }),
        "two nodes on duty make one key: {outcomes:?}"
    );
    assert_eq!(keys(&server.here).await.len(), 2);
}

fn announce(kind: ChangeKind, subject: u128, at: Timestamp) -> Batch {
    let mut batch = Batch::new();
    batch.announce(Change { kind, subject: Uuid::from_u128(subject) }, at);
    batch
}

async fn newest(store: &Store) -> FeedMark {
    store.newest_change().await.expect("no fault").expect("there is one")
}

/// Behind a row that was read.
async fn news(store: &Store, mark: &FeedMark) -> Option<Vec<(i64, ChangeKind, u128)>> {
    let as_numbers = |(mark, change): (FeedMark, Option<Change>)| {
        let change = change.expect("a kind of this version");
        (mark.number, change.kind, change.subject.as_u128())
    };
    let news = store.changes_after(mark, 1000).await.expect("no fault");
    news.map(|news| news.into_iter().map(as_numbers).collect())
}

async fn changes_come_in_order_and_are_numbered_without_a_gap(place: Place) {
    let server = server(&place).await;
    let kinds = [
        ChangeKind::Register,
        ChangeKind::User,
        ChangeKind::Keys,
        ChangeKind::Settings,
        ChangeKind::AuthorizationEnded,
        ChangeKind::SessionEnded,
    ];
    let mut marks = Vec::new();
    for (subject, kind) in (1..).zip(kinds) {
        let outcome = server.here.commit(announce(kind, subject, NOW)).await.expect("no fault");
        assert_eq!(outcome, CommitOutcome::Committed);
        marks.push(newest(&server.here).await);
    }
    let expected: Vec<_> = (1..).zip(1..).zip(kinds).map(|((number, subject), kind)| (number, kind, subject)).collect();
    for (read, mark) in (1..).zip(&marks) {
        assert_eq!(news(&server.here, mark).await.expect("it is there"), expected[read..]);
    }
    assert_eq!(news(&server.there, &marks[5]).await, None, "the feed of another instance");
    let feeds = server.here.database().feeds().await.expect("no fault");
    assert_eq!(feeds.len(), 2);
    assert!(feeds.iter().all(|(id, _)| [server.here.instance(), server.there.instance()].contains(&id)), "{feeds:?}");

    // Many at once: every change gets a number of its own, and a reader sees all of them.
    let racing = (10..26).map(|subject| {
        let here = server.here.clone();
        tokio::spawn(async move { here.commit(announce(ChangeKind::User, subject, NOW)).await })
    });
    for racer in racing.collect::<Vec<_>>() {
        assert_eq!(racer.await.expect("no panic").expect("no fault"), CommitOutcome::Committed);
    }
    let raced = news(&server.here, &marks[5]).await.expect("it is there");
    assert_eq!(raced.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), (7..23).collect::<Vec<_>>());
}

async fn an_announcement_is_undone_with_the_batch_it_came_in(place: Place) {
    let server = server(&place).await;
    let batch = announce(ChangeKind::User, 1, NOW).with(server.here.delete_key("nobody's"));
    let outcome = server.here.commit(batch).await.expect("no fault");
    assert_eq!(outcome, CommitOutcome::GuardFailed { statement: 0 });
    assert_eq!(server.here.newest_change().await.expect("no fault"), None);
    let gone = Store::new(server.here.database().clone(), model::InstanceId(Uuid::from_u128(3)));
    let outcome = gone.commit(announce(ChangeKind::User, 1, NOW)).await.expect("no fault");
    assert_eq!(outcome, CommitOutcome::GuardFailed { statement: 0 }, "an instance that is gone has no feed");
    assert_eq!(gone.newest_change().await.expect("no fault"), None);
}

async fn a_sweep_of_changes_deletes_old_ones_and_never_the_newest(place: Place) {
    let server = server(&place).await;
    let mut marks = Vec::new();
    for (store, at) in [(&server.here, NOW), (&server.here, LATER), (&server.here, LATER), (&server.there, NOW)] {
        let outcome = store.commit(announce(ChangeKind::User, 1, at)).await.expect("no fault");
        assert_eq!(outcome, CommitOutcome::Committed);
        marks.push(newest(store).await);
    }
    done(&server.here, server.here.sweep_changes(LATER)).await;
    assert_eq!(news(&server.here, &marks[0]).await, None);
    assert!(server.here.is_change_swept(&marks[0]).await.expect("no fault"));
    assert_eq!(news(&server.here, &marks[1]).await.expect("it is there"), [(3, ChangeKind::User, 1)]);
    done(&server.here, server.here.sweep_changes(MUCH_LATER)).await;
    assert_eq!(news(&server.here, &marks[1]).await, None);
    assert_eq!(news(&server.here, &marks[2]).await.expect("the newest is there"), []);
    done(&server.there, server.there.sweep_changes(MUCH_LATER)).await;
    assert_eq!(news(&server.there, &marks[3]).await.expect("the newest is there"), []);
}

async fn a_feed_that_went_back_is_known_by_the_row_that_was_read(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let id = store.instance().0;
    let write = async |sql: &'static str| {
        let done = store.database().commit(Batch::new().with(statement(sql, vec![id.into()]))).await;
        assert_eq!(done.expect("no fault"), CommitOutcome::Committed);
    };
    let change = async || {
        let done = store.commit(announce(ChangeKind::User, 1, NOW)).await.expect("no fault");
        assert_eq!(done, CommitOutcome::Committed);
        newest(store).await
    };
    let end = async || {
        let feeds = store.database().feeds().await.expect("no fault");
        feeds.into_iter().find(|(id, _)| id == store.instance()).expect("it is there").1
    };
    let first = change().await;
    let end_at_first = end().await;
    let second = change().await;
    let end_at_second = end().await;
    assert_ne!(end_at_first, end_at_second);
    // As a standby without the last transaction: first without a row under that number, then with another one.
    write("DELETE FROM changes WHERE instance = $1 AND number = 2").await;
    write("UPDATE instances SET feed = 1 WHERE id = $1").await;
    assert_eq!(news(store, &second).await, None);
    assert!(!store.is_change_swept(&second).await.expect("no fault"), "the feed did not come that far");
    assert_ne!(end().await, end_at_second);
    let another = change().await;
    assert_eq!((another.number, another.at), (second.number, second.at));
    assert_ne!(another, second, "the same change at the same time is another row");
    assert_ne!(end().await, end_at_second, "and another end");
    assert_eq!(news(store, &second).await, None);
    assert!(!store.is_change_swept(&second).await.expect("no fault"), "a row of that number is there");
    assert_eq!(news(store, &first).await.expect("it is there"), [(2, ChangeKind::User, 1)]);

    // A node of an older version writes rows without an id, and sweeps the newest.
    write(
        "INSERT INTO changes (instance, number, kind, subject, at) \
         VALUES ($1, 3, 'user', '00000000-0000-0000-0000-000000000001', 7)",
    )
    .await;
    let end_at_another = end().await;
    write("UPDATE instances SET feed = 3 WHERE id = $1").await;
    assert_ne!(end().await, end_at_another);
    let of_older = newest(store).await;
    assert_eq!(news(store, &another).await.expect("it is there"), [(3, ChangeKind::User, 1)]);
    assert_eq!(news(store, &of_older).await.expect("it is there"), []);
    write("UPDATE changes SET kind = 'keys' WHERE instance = $1 AND number = 3").await;
    assert_eq!(news(store, &of_older).await, None, "its content is its id");
    write("DELETE FROM changes WHERE instance = $1").await;
    assert!(store.is_change_swept(&of_older).await.expect("no fault"));
}

async fn a_change_of_a_later_version_is_passed_by_and_not_asked_for_again(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let done = store.commit(announce(ChangeKind::User, 1, NOW)).await.expect("no fault");
    assert_eq!(done, CommitOutcome::Committed);
    let mark = newest(store).await;
    let sql = "INSERT INTO changes (instance, number, kind, subject, at) VALUES ($1, 2, 'weather', 'rain', 7)";
    let later = Batch::new().with(statement(sql, vec![store.instance().0.into()]));
    assert_eq!(store.database().commit(later).await.expect("no fault"), CommitOutcome::Committed);
    let news = store.changes_after(&mark, 1000).await.expect("no fault").expect("it is there");
    let (passed, change) = news.first().expect("one");
    assert_eq!((passed.number, change), (2, &None));
    assert!(store.changes_after(passed, 1000).await.expect("no fault").expect("it is there").is_empty());
}

async fn a_reading_anew_is_known_for_as_long_as_its_row(place: Place) {
    let server = server(&place).await;
    let at = async || server.here.reread_at().await.expect("no fault");
    assert_eq!(at().await, None);
    for time in [NOW, LATER] {
        let done = server.here.commit(announce(ChangeKind::Reread, 1, time)).await.expect("no fault");
        assert_eq!(done, CommitOutcome::Committed);
        assert_eq!(at().await, Some(time));
    }
    assert_eq!(server.there.reread_at().await.expect("no fault"), None);
}

async fn audit_events_read_back_oldest_first(place: Place) {
    let server = server(&place).await;
    let request = RequestId::new(NOW, 1, 255);
    let visitor = RequestInfo {
        address: "2001:db8::1".parse().expect("an address"),
        user_agent: Some("Mozilla/5.0".into()),
        id: request,
    };
    let id = |number: u8| {
        let millis = u64::try_from(NOW.micros() / 1000).expect("after 1970");
        uuid::Builder::from_unix_timestamp_millis(millis, &[number; 10]).into_uuid()
    };
    let refusal = model::application::ClientRefusal::WrongSecret { method: "client_secret_post", live: 2 };
    let mut full = AuditEvent::refused(LATER, AuditKind::TokenRefused, &visitor, Asker::Authenticated, &refusal)
        .application("my.app")
        .user(user_id(1))
        .token("jti")
        .session(Uuid::from_u128(2))
        .detail(&serde_json::json!({ "a": 1 }));
    full.actor = Some(Cow::Borrowed("operator"));
    full.login = Some("eve".to_owned());
    full.earlier = Some(RequestOrigin { address: [192, 0, 2, 7].into(), user_agent: Some("curl".into()) });
    let bare = AuditEvent { request: None, ..AuditEvent::done(NOW, AuditKind::KeyRotated, &visitor) };
    done(&server.here, server.here.insert_audit_event(full.stored(id(1)), None)).await;
    done(&server.here, server.here.insert_audit_event(bare.stored(id(2)), None)).await;
    let mut lines = Vec::new();
    for event in [&bare, &full] {
        event.write_line(&mut lines);
        lines.push(b'\n');
    }
    let lines = String::from_utf8(lines).expect("JSON");
    let block = WaitingBlock { id: id(3).to_string(), first_at: NOW, lines, code: None };
    done(&server.here, server.here.insert_audit_block(block, LATER)).await;

    let trail = server.here.audit_trail().await.expect("no fault");
    let kinds: Vec<_> = trail.iter().map(|event| (event.kind.as_str(), event.reason.as_str())).collect();
    let (rotated, refused) = (("key-rotated", ""), ("token-refused", "wrong_secret"));
    assert_eq!(kinds, [rotated, rotated, refused, refused]);
    let without_id = |event: &StoredEvent| StoredEvent { id: String::new(), ..event.clone() };
    assert_eq!(without_id(&trail[0]), without_id(&trail[1]), "a line tells what a row tells");
    assert_eq!(without_id(&trail[2]), without_id(&trail[3]), "a line tells what a row tells");
    let line_id = |number: u8| format!("{}.{number}", id(3));
    assert_eq!([&trail[0].id, &trail[1].id, &trail[3].id], [&id(2).to_string(), &line_id(0), &line_id(1)]);
    let known = [&trail[2].actor, &trail[2].application, &trail[2].user, &trail[2].token, &trail[2].session];
    let (user, session) = (user_id(1).to_string(), Uuid::from_u128(2).to_string());
    assert_eq!(known.map(|text| text.as_deref()), ["operator", "my.app", &user, "jti", &session].map(Some));
    let known = [&trail[2].login, &trail[2].address, &trail[2].user_agent, &trail[2].request, &trail[2].detail];
    let earlier = [&trail[2].earlier_address, &trail[2].earlier_user_agent];
    assert_eq!(earlier.map(|text| text.as_deref()), ["192.0.2.7", "curl"].map(Some));
    let request = request.to_string();
    let expected = ["eve", "2001:db8::1", "Mozilla/5.0", &request, r#"{"a":1}"#].map(Some);
    assert_eq!(known.map(|text| text.as_deref()), expected);
    assert!(server.there.audit_trail().await.expect("no fault").is_empty());

    let of_request = server.here.audit_events_of(RequestId::new(NOW, 1, 255)).await.expect("no fault");
    assert_eq!(of_request, trail[2..]);
    assert!(server.here.audit_events_of(RequestId::new(NOW, 1, 256)).await.expect("no fault").is_empty());
    let again = server.here.commit(Batch::new().with(server.here.insert_audit_event(full.stored(id(1)), None))).await;
    assert!(again.is_err(), "an event is written once");
}
