//! Sign-ins of browsers.

use model::audit::{RequestId, RequestInfo};
use model::session::SessionCookie;
use model::{IdentitySession, SessionId, Timestamp, User};
use oauth::secret::{Digest, Presented};
use store::Store;
use uuid::Uuid;

use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, done, phc, refused, server, somebody, user_id};

crate::on_both! {
    a_sign_in_reads_back_as_written
    a_sign_in_is_renewed_only_with_the_secret_that_was_shown
    a_sign_in_slides_forwards_only
    nothing_comes_of_a_sign_in_that_a_new_password_killed
    a_sign_in_ends_once
    a_person_has_living_sign_ins_with_where_they_were_proved_from
    a_sweep_deletes_only_sign_ins_that_are_over
}

const fn sid(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

fn secret(text: &str) -> Digest<SessionCookie> {
    Presented::<SessionCookie>::new(text).digest()
}

/// A sign-in that nothing has killed.
fn of(user: &User, number: u128) -> IdentitySession {
    IdentitySession { user_epoch: user.epoch, ..sign_in(number, "s", NOW) }
}

fn sign_in(number: u128, shown: &str, created_at: Timestamp) -> IdentitySession {
    IdentitySession {
        id: sid(number),
        secret: secret(shown),
        user: user_id(1),
        auth_time: created_at,
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        created_at,
        last_seen: created_at,
        user_epoch: 4,
    }
}

async fn read(store: &Store, number: u128) -> Option<IdentitySession> {
    store.identity_session(sid(number)).await.expect("no fault")
}

async fn a_sign_in_reads_back_as_written(place: Place) {
    let server = server(&place).await;
    somebody(&server.here, 1, "alice").await;
    let written = sign_in(1, "cookie", NOW);
    done(&server.here, server.here.insert_identity_session(&written)).await;
    let read_back = read(&server.here, 1).await.expect("there");
    assert_eq!((read_back.id, read_back.secret, read_back.user), (written.id, written.secret, written.user));
    assert_eq!((read_back.auth_time, read_back.amr, read_back.user_epoch), (NOW, written.amr, 4));
    assert_eq!((read_back.created_at, read_back.last_seen), (NOW, NOW));
    assert!(read(&server.here, 2).await.is_none() && read(&server.there, 1).await.is_none());
}

async fn a_sign_in_is_renewed_only_with_the_secret_that_was_shown(place: Place) {
    let server = server(&place).await;
    somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.insert_identity_session(&sign_in(1, "first", NOW))).await;
    let renewed = IdentitySession { user_epoch: 5, amr: vec!["pwd".to_owned()], ..sign_in(1, "second", LATER) };
    done(&server.here, server.here.renew_identity_session(&renewed, &secret("first"))).await;
    refused(&server.here, server.here.renew_identity_session(&sign_in(1, "third", NOW), &secret("first"))).await;
    let now = read(&server.here, 1).await.expect("there");
    assert_eq!((now.secret, now.auth_time, now.created_at, now.last_seen), (secret("second"), LATER, LATER, LATER));
    assert_eq!((now.user_epoch, now.amr), (5, renewed.amr.clone()));
    done(&server.here, server.here.end_identity_session(sid(1), MUCH_LATER)).await;
    refused(&server.here, server.here.renew_identity_session(&renewed, &secret("second"))).await;
}

async fn a_sign_in_slides_forwards_only(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.insert_identity_session(&of(&alice, 1))).await;
    done(&server.here, server.here.touch_identity_session(sid(1), MUCH_LATER)).await;
    done(&server.here, server.here.touch_identity_session(sid(1), LATER)).await;
    refused(&server.there, server.there.touch_identity_session(sid(1), Timestamp(MUCH_LATER.0 + 1))).await;
    assert_eq!(read(&server.here, 1).await.expect("there").last_seen, MUCH_LATER);
    done(&server.here, server.here.end_identity_session(sid(1), MUCH_LATER)).await;
    refused(&server.here, server.here.touch_identity_session(sid(1), MUCH_LATER)).await;
}

async fn nothing_comes_of_a_sign_in_that_a_new_password_killed(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.insert_identity_session(&of(&alice, 1))).await;
    done(&server.here, server.here.touch_identity_session(sid(1), LATER)).await;
    done(&server.here, server.here.set_password(&alice, &phc("new"), LATER)).await;
    refused(&server.here, server.here.touch_identity_session(sid(1), MUCH_LATER)).await;
    assert_eq!(read(&server.here, 1).await.expect("there").last_seen, LATER);
}

async fn a_sign_in_ends_once(place: Place) {
    let server = server(&place).await;
    somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.insert_identity_session(&sign_in(1, "s", NOW))).await;
    refused(&server.there, server.there.end_identity_session(sid(1), LATER).expect(1)).await;
    done(&server.here, server.here.end_identity_session(sid(1), LATER)).await;
    refused(&server.here, server.here.end_identity_session(sid(1), MUCH_LATER).expect(1)).await;
    assert!(read(&server.here, 1).await.is_none());
    let ended = async |store: &Store, since| store.sessions_ended_since(since).await.expect("no fault");
    assert_eq!(ended(&server.here, LATER).await, [sid(1)]);
    assert!(ended(&server.here, MUCH_LATER).await.is_empty(), "the second end did not move the first");
    assert!(ended(&server.there, NOW).await.is_empty());
}

async fn a_sweep_deletes_only_sign_ins_that_are_over(place: Place) {
    let server = server(&place).await;
    somebody(&server.here, 1, "alice").await;
    let (ended, old, live) = (1, 2, 3);
    done(&server.here, server.here.insert_identity_session(&sign_in(ended, "s", LATER))).await;
    done(&server.here, server.here.insert_identity_session(&sign_in(old, "s", NOW))).await;
    done(&server.here, server.here.insert_identity_session(&sign_in(live, "s", LATER))).await;
    done(&server.here, server.here.end_identity_session(sid(ended), LATER)).await;
    done(&server.here, server.here.sweep_identity_sessions(LATER, NOW)).await;
    assert_eq!(server.here.sessions_ended_since(NOW).await.expect("no fault"), [sid(ended)]);
    assert!(read(&server.here, old).await.is_some());
    done(&server.there, server.there.sweep_identity_sessions(MUCH_LATER, LATER)).await;
    assert!(read(&server.here, old).await.is_some(), "not of that instance");
    done(&server.here, server.here.sweep_identity_sessions(MUCH_LATER, LATER)).await;
    assert!(server.here.sessions_ended_since(NOW).await.expect("no fault").is_empty());
    assert!(read(&server.here, old).await.is_none());
    assert!(read(&server.here, live).await.is_some());
}

async fn a_person_has_living_sign_ins_with_where_they_were_proved_from(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    somebody(&server.here, 2, "bob").await;
    for number in 1..=3 {
        done(&server.here, server.here.insert_identity_session(&of(&alice, number))).await;
    }
    done(
        &server.here,
        server.here.insert_identity_session(&IdentitySession { user: user_id(2), ..sign_in(4, "s", NOW) }),
    )
    .await;
    done(&server.here, server.here.end_identity_session(sid(2), LATER)).await;
    done(&server.here, server.here.touch_identity_session(sid(3), LATER)).await;
    let visitor = RequestInfo {
        address: [192, 0, 2, 7].into(),
        user_agent: Some("Firefox".into()),
        id: RequestId::new(NOW, 1, 1),
    };
    done(&server.here, server.here.signed_in_from(sid(3), &visitor)).await;
    refused(&server.there, server.there.signed_in_from(sid(3), &visitor)).await;
    let rows = server.here.identity_sessions_of(user_id(1), 10).await.expect("no fault");
    let seen: Vec<_> = rows.iter().map(|row| (row.session.id, row.address.as_str(), row.user_agent.as_str())).collect();
    assert_eq!(seen, [(sid(3), "192.0.2.7", "Firefox"), (sid(1), "", "")], "the one used last first");
    assert_eq!(server.here.identity_sessions_of(user_id(1), 1).await.expect("no fault").len(), 1);
    assert!(server.there.identity_sessions_of(user_id(1), 10).await.expect("no fault").is_empty());
}
