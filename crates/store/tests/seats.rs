//! What the statements of seats and API sessions guard and change, on both databases.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where PostgreSQL is, and wait with an end"
)]

#[macro_use]
#[expect(dead_code, reason = "this helper has more than this file needs")]
mod common;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::Place;
use model::audit::StoredEvent;
use model::seat::{CeilingUse, CloseReason, Extension, IDLE, Seat, SeatAdmission, SeatPolicy, SessionKey, ends_at};
use model::session::SessionCookie;
use model::{
    ApiSessionId, ApplicationId, AuthorizationId, IdentitySession, InstanceId, InstanceSettings, Login,
    ReferenceTokenId, SessionId, Timestamp, UserId, UserType,
};
use oauth::secret::Presented;
use store::{
    Batch, CommitOutcome, NewApiSession, NewUser, SeatRequest, SessionsToClose, Statement, Store, TokenNames,
    session_closed_code, statement, values,
};
use tokio::task::JoinSet;
use uuid::Uuid;

const T0: Timestamp = Timestamp(1_800_000_000_000_000);
const ALICE: UserId = UserId(Uuid::from_u128(0xA11CE));
const ADMIN: UserId = UserId(Uuid::from_u128(0xAD));
const APP: ApplicationId = ApplicationId(Uuid::from_u128(0xA1));
const OTHER_APP: ApplicationId = ApplicationId(Uuid::from_u128(0xA2));
const SERVICE_TOKEN: Uuid = Uuid::from_u128(0x5E);
const KEY: ReferenceTokenId = ReferenceTokenId(Uuid::from_u128(0x4E));
const NODE: Uuid = Uuid::from_u128(1);
const OTHER_NODE: Uuid = Uuid::from_u128(2);

fn login(name: &str) -> Login {
    Login::parse(name).expect("valid")
}

async fn server(place: &Place) -> Store {
    let database = place.migrated().await;
    let store = Store::new(database, InstanceId(Uuid::from_u128(7)));
    let settings = InstanceSettings { seats: Some(2), ..InstanceSettings::default() };
    let mut batch = vec![store.insert_instance("shop", &settings, vec![0; 32], T0), store.insert_seats()];
    for (id, name) in [(ALICE, "alice"), (ADMIN, "Admin")] {
        let user = NewUser {
            id,
            login: &login(name),
            user_type: UserType::Internal,
            is_admin: false,
            enabled: true,
            name,
            email: None,
            role: None,
            password: None,
        };
        batch.push(store.insert_user(&user, T0));
    }
    for app in [APP, OTHER_APP] {
        batch.push(statement(
            "INSERT INTO applications (instance, id, uri, record, epoch, version, created_at) \
             VALUES ($1, $2, $3, '{}', 4, 1, 0)",
            values![store.instance().0, app.0, app.to_string()],
        ));
    }
    done(&store, batch).await;
    store
}

async fn commit(store: &Store, batch: impl Into<Batch>) -> CommitOutcome {
    store.commit(batch.into()).await.expect("no fault")
}

async fn done(store: &Store, batch: impl Into<Batch>) {
    assert_eq!(commit(store, batch).await, CommitOutcome::Committed);
}

fn sign_in(number: u128) -> SessionKey {
    SessionKey::SignIn(SessionId(Uuid::from_u128(number)))
}

fn opening(store: &Store, user: UserId, key: &SessionKey, opened_at: Timestamp) -> (ApiSessionId, Statement) {
    let id = ApiSessionId(Uuid::now_v7());
    let final_end = key.final_end(opened_at);
    let new = NewApiSession {
        id,
        key,
        user,
        seat: Seat::Shared,
        opened_at,
        ends_at: ends_at(opened_at, final_end),
        final_end,
        node: NODE,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        application: APP,
    };
    (id, store.open_api_session(&new))
}

const fn licences(reserved: &[Login]) -> SeatPolicy<'_> {
    SeatPolicy { seats: None, per_user: None, per_application: None, reserved }
}

fn asking(key: &SessionKey, user: UserId, application: ApplicationId) -> SeatRequest {
    SeatRequest { key: key.as_text(), user, application }
}

const fn admission(seat: Seat, version: i64, below: Option<u64>) -> SeatAdmission {
    SeatAdmission { seat, version, below, user_below: None, application_below: None }
}

async fn version(store: &Store) -> i64 {
    store.seats_seen(&[], licences(&[])).await.expect("no fault").version
}

async fn open(store: &Store, user: UserId, key: &SessionKey, at: Timestamp) -> ApiSessionId {
    let (id, insert) = opening(store, user, key, at);
    done(store, vec![store.take_seat(admission(Seat::Shared, version(store).await, None)), insert]).await;
    id
}

const KEY_OF_CODES: &str = "key";

async fn close(store: &Store, closing: SessionsToClose, at: Timestamp) -> usize {
    let close_id = Uuid::now_v7();
    let closing = store.close_api_sessions(closing, CloseReason::SignOut, close_id, at, Some(KEY_OF_CODES));
    done(store, closing.to_vec()).await;
    let (live, counted) = store.seats_taken().await.expect("no fault");
    assert_eq!(live, counted);
    store.api_sessions_closed(close_id).await.expect("no fault").len()
}

async fn a_seat_is_taken_only_as_it_was_admitted(place: Place) {
    let store = server(&place).await;
    let guarded = CommitOutcome::GuardFailed { statement: 0 };
    for seat in [Seat::Shared, Seat::Shared] {
        done(&store, vec![store.take_seat(admission(seat, 0, Some(2)))]).await;
    }
    assert_eq!(commit(&store, vec![store.take_seat(admission(Seat::Shared, 0, Some(2)))]).await, guarded, "full");
    done(&store, vec![store.take_seat(admission(Seat::Reserved, 0, Some(3)))]).await;
    let stale = store.take_seat(admission(Seat::Shared, 0, None));
    assert_eq!(commit(&store, vec![stale]).await, guarded, "a reserved account took its seat meanwhile");
    done(&store, vec![store.move_seats()]).await;
    let stale = store.take_seat(admission(Seat::Shared, 1, None));
    assert_eq!(commit(&store, vec![stale]).await, guarded, "something was killed or set meanwhile");
    done(&store, vec![store.take_seat(admission(Seat::Shared, 2, None))]).await;
}

async fn a_key_has_one_live_session(place: Place) {
    let store = server(&place).await;
    let key = sign_in(1);
    let first = open(&store, ALICE, &key, T0).await;
    let (_, second) = opening(&store, ALICE, &key, T0);
    let batch = vec![store.take_seat(admission(Seat::Shared, 0, None)), second];
    assert_eq!(commit(&store, batch).await, CommitOutcome::GuardFailed { statement: 1 });
    assert_eq!(store.seats_taken().await.expect("no fault"), (1, 1), "the seat was given back with it");
    let row = store.live_api_session(&key).await.expect("no fault").expect("live");
    assert_eq!((row.id, row.user, row.login, row.calls), (first, ALICE, login("alice"), 1));
    assert_eq!((row.ends_at, row.final_end, row.applications), (T0.plus(IDLE), None, vec![APP]));
    assert_eq!(close(&store, SessionsToClose::One(first), T0).await, 1);
    assert!(store.live_api_session(&key).await.expect("no fault").is_none());
    open(&store, ALICE, &key, T0).await;
}

async fn a_day_tells_how_many_seats_were_taken_when(place: Place) {
    let store = server(&place).await;
    let hour = Duration::from_hours(1);
    let at = |minutes: u64| T0.plus(Duration::from_mins(minutes));
    let over = async |from: Timestamp| store.seats_over(from, hour, 4).await.expect("no fault");
    assert_eq!(over(T0).await, [0, 0, 0, 0]);
    // Before the day and still live; within it and closed again; within it and live.
    open(&store, ALICE, &sign_in(1), T0).await;
    let first = open(&store, ALICE, &sign_in(2), at(10)).await;
    open(&store, ADMIN, &sign_in(3), at(70)).await;
    assert_eq!(close(&store, SessionsToClose::One(first), at(130)).await, 1);
    let last = open(&store, ALICE, &sign_in(4), at(181)).await;
    assert_eq!(over(at(1)).await, [2, 3, 2, 3]);
    assert_eq!(over(at(60)).await, [3, 2, 3, 3], "what was there before counts");
    assert_eq!(close(&store, SessionsToClose::One(last), at(900)).await, 1);
    assert_eq!(over(at(1)).await, [2, 3, 2, 2], "a clock that runs ahead tells of now");
}

async fn one_look_tells_seats_holders_and_keys(place: Place) {
    let store = server(&place).await;
    open(&store, ALICE, &sign_in(1), T0).await;
    open(&store, ADMIN, &SessionKey::Service("j".into()), Timestamp(T0.0 - 5)).await;
    let keys: Vec<_> = (0..20).map(|n| asking(&sign_in(n), ALICE, APP)).collect();
    let reserved = [login("ADMIN"), login("root")];
    let seen = store.seats_seen(&keys, licences(&reserved)).await.expect("no fault");
    assert_eq!((seen.version, seen.live, seen.settings.seats), (0, 2, Some(2)));
    assert_eq!(seen.earliest_end, Some(Timestamp(T0.plus(IDLE).0 - 5)));
    assert_eq!(seen.holders, [login("admin")]);
    let live: Vec<&str> = seen.keys.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(live, [sign_in(1).as_text()]);
    let nobody = Store::new(store.database().clone(), InstanceId(Uuid::from_u128(8)));
    assert!(nobody.seats_seen(&keys, licences(&[])).await.is_err(), "another instance has no seats here");
}

async fn one_look_tells_the_shares_of_those_who_have_a_ceiling(place: Place) {
    let store = server(&place).await;
    let first = open(&store, ALICE, &sign_in(1), T0).await;
    open(&store, ALICE, &sign_in(2), Timestamp(T0.0 - 5)).await;
    open(&store, ADMIN, &sign_in(3), Timestamp(T0.0 - 9)).await;
    // Used by another application, and no longer by the one that opened it.
    done(&store, vec![store.join_api_session(first, OTHER_APP), store.leave_api_sessions(APP)]).await;
    close(&store, SessionsToClose::OfUser(ADMIN), T0).await;
    let asked: Vec<_> =
        [(ALICE, APP), (ADMIN, OTHER_APP)].map(|(user, app)| asking(&sign_in(9), user, app)).into_iter().collect();
    let look = async |per_user, per_application| {
        let licences = SeatPolicy { per_user, per_application, ..licences(&[]) };
        let seen = store.seats_seen(&asked, licences).await.expect("no fault");
        (seen.users, seen.applications)
    };
    let share = CeilingUse { live: 2, earliest_end: Some(Timestamp(T0.plus(IDLE).0 - 5)) };
    assert_eq!(look(None, None).await, (HashMap::new(), HashMap::new()));
    assert_eq!(look(Some(1), None).await, (HashMap::from([(ALICE, share)]), HashMap::new()));
    assert_eq!(look(None, Some(9)).await, (HashMap::new(), HashMap::from([(APP, share)])));
    assert_eq!(look(Some(1), Some(9)).await, (HashMap::from([(ALICE, share)]), HashMap::from([(APP, share)])));
}

async fn a_ceiling_is_guarded_by_what_is_live(place: Place) {
    let store = server(&place).await;
    let batch = |number: u128, user: UserId, user_below, application_below| {
        let admission = SeatAdmission { user_below, application_below, ..admission(Seat::Shared, 0, None) };
        let mut batch = vec![store.take_seat(admission)];
        batch.extend(store.expect_room_under_ceilings(admission, user, APP));
        batch.push(opening(&store, user, &sign_in(number), T0).1);
        batch
    };
    let full = CommitOutcome::GuardFailed { statement: 1 };
    for number in [1, 2] {
        done(&store, batch(number, ALICE, Some(2), Some(3))).await;
    }
    assert_eq!(commit(&store, batch(3, ALICE, Some(2), None)).await, full, "two of two");
    assert_eq!(store.seats_taken().await.expect("no fault"), (2, 2), "the seat was given back with it");
    done(&store, batch(3, ADMIN, Some(2), Some(3))).await;
    assert_eq!(commit(&store, batch(4, ADMIN, None, Some(3))).await, full, "three of three");
    assert_eq!(
        commit(&store, batch(4, ADMIN, Some(2), Some(3))).await,
        CommitOutcome::GuardFailed { statement: 2 },
        "each is guarded"
    );
    done(&store, batch(4, ADMIN, None, None)).await;
}

/// All were admitted when there was room for one more: the lock of the seats' row puts them in order.
async fn no_ceiling_is_oversold_by_openings_at_once(place: Place) {
    let store = server(&place).await;
    let mut openings = JoinSet::new();
    for number in 0..32_u128 {
        let store = store.clone();
        let (user_below, application_below) = if number % 2 == 0 { (Some(3), None) } else { (None, Some(5)) };
        let admission = SeatAdmission { user_below, application_below, ..admission(Seat::Shared, 0, None) };
        let user = if number % 2 == 0 { ALICE } else { ADMIN };
        openings.spawn(async move {
            let mut batch = vec![store.take_seat(admission)];
            batch.extend(store.expect_room_under_ceilings(admission, user, APP));
            batch.push(opening(&store, user, &sign_in(number), T0).1);
            (user, commit(&store, batch).await == CommitOutcome::Committed)
        });
    }
    let opened: Vec<UserId> =
        openings.join_all().await.into_iter().filter_map(|(user, done)| done.then_some(user)).collect();
    let of_alice = opened.iter().filter(|user| **user == ALICE).count();
    assert_eq!(of_alice, 3, "of sixteen");
    assert!((2..=5).contains(&(opened.len() - of_alice)), "the application had room for five, hers among them");
    let (live, counted) = store.seats_taken().await.expect("no fault");
    assert_eq!((live, counted), (opened.len() as u64, opened.len() as u64));
}

async fn closing_meets_exactly_what_it_means(place: Place) {
    let store = server(&place).await;
    let service = SessionKey::Service("j".into());
    let hour = Duration::from_hours(1);
    let due = |now: Timestamp, idle_until| SessionsToClose::Due { now, idle_until };

    open(&store, ALICE, &sign_in(1), T0).await;
    let busy = open(&store, ADMIN, &service, T0).await;
    let end = T0.plus(IDLE);
    assert_eq!(close(&store, due(end, Timestamp(end.0 - 1)), end).await, 0, "not believed yet");
    let extension = Extension { last_call: T0.plus(hour), ends_at: T0.plus(hour), calls: 9 };
    done(&store, vec![store.slide_api_session(busy, extension, NODE, T0)]).await;
    let found = store.database().instances_with_due_sessions(end).await.expect("no fault");
    assert_eq!(found, [*store.instance()]);
    assert_eq!(close(&store, due(end, end), end).await, 1);
    assert_eq!(close(&store, due(T0.plus(hour), end), end).await, 1, "a lifetime is believed at once");
    assert_eq!(
        commit(&store, vec![store.expect_some_to_close(due(end, end))]).await,
        CommitOutcome::GuardFailed { statement: 0 }
    );
    assert!(store.database().instances_with_due_sessions(T0.plus(hour)).await.expect("no fault").is_empty());

    open(&store, ALICE, &sign_in(1), T0).await;
    open(&store, ALICE, &sign_in(2), T0).await;
    let third = open(&store, ADMIN, &sign_in(3), T0).await;
    let someone = SessionsToClose::OfUser(ADMIN);
    assert_eq!(store.live_api_sessions_of(someone).await.expect("no fault").len(), 1);
    done(&store, vec![store.expect_some_to_close(someone)]).await;
    assert_eq!(close(&store, SessionsToClose::OfSignIn(SessionId(Uuid::from_u128(2))), T0).await, 1);
    assert_eq!(close(&store, SessionsToClose::OfUser(ALICE), T0).await, 1);
    done(&store, vec![store.join_api_session(third, OTHER_APP), store.join_api_session(third, OTHER_APP)]).await;
    let of = async |app| store.live_api_sessions_of(SessionsToClose::UsedBy(app)).await.expect("no fault").len();
    assert_eq!((of(APP).await, of(OTHER_APP).await), (1, 1));
    let by_hand = ReferenceTokenId(Uuid::from_u128(5));
    open(&store, ADMIN, &SessionKey::Reference(by_hand), T0).await;
    done(&store, vec![store.leave_sessions_of_user(APP, ALICE)]).await;
    assert_eq!((of(APP).await, of(OTHER_APP).await), (2, 1), "another user's stay as they are");
    done(&store, vec![store.leave_sessions_of_user(APP, ADMIN)]).await;
    assert_eq!((of(APP).await, of(OTHER_APP).await), (1, 1), "a key made by hand stays");
    assert_eq!(close(&store, SessionsToClose::OfReferenceToken(by_hand), T0).await, 1);
    done(&store, vec![store.join_api_session(third, APP), store.leave_api_sessions(APP)]).await;
    assert_eq!(close(&store, SessionsToClose::Unused, T0).await, 0, "another application uses it");
    done(&store, vec![store.leave_api_sessions(OTHER_APP)]).await;
    assert_eq!(close(&store, SessionsToClose::Unused, T0).await, 1, "none is left");
    open(&store, ADMIN, &sign_in(4), T0).await;
    assert_eq!(close(&store, SessionsToClose::All, T0).await, 1);
    let trail = store.audit_trail().await.expect("no fault");
    let early = "SELECT 1 FROM audit_events e WHERE NOT EXISTS (SELECT 1 FROM api_sessions s \
                 WHERE SUBSTR(e.id, 1, 13) = SUBSTR(s.close_id, 1, 13) AND SUBSTR(e.id, 14) = SUBSTR(s.id, 14))";
    let early = store.query(early, vec![]).await.expect("no fault");
    assert!(early.is_empty(), "an event's id tells when the session was closed, not when it was opened");
    assert_eq!(trail.iter().filter(|event| event.kind == "session-closed" && event.reason == "sign_out").count(), 7);
    // What the database writes by itself is what the sealer computes.
    for (event, code) in store.unsealed_events(100).await.expect("no fault") {
        let code = code.expect("the closing had a key");
        let (_closing, code) = code.strip_prefix("s1.").and_then(|code| code.split_once('.')).expect("its form");
        let ours = session_closed_code(*store.instance(), &event, KEY_OF_CODES);
        assert_eq!(ours.as_deref(), Some(code), "{event:?}");
        assert_eq!(session_closed_code(*store.instance(), &StoredEvent { actor: None, ..event }, KEY_OF_CODES), None);
    }

    let kept = async || store.query("SELECT id FROM api_sessions", vec![]).await.expect("no fault").len();
    open(&store, ALICE, &sign_in(5), T0).await;
    done(&store, vec![store.sweep_api_sessions(T0)]).await;
    assert_eq!(kept().await, 8);
    done(&store, vec![store.sweep_api_sessions(Timestamp(T0.0 + 1))]).await;
    assert_eq!(kept().await, 3, "what was closed later, and what lives");

    let (service, key) = (SessionKey::Service(SERVICE_TOKEN.simple().to_string()), SessionKey::Reference(KEY));
    open(&store, ADMIN, &service, T0).await;
    open(&store, ADMIN, &key, T0).await;
    assert_eq!(close(&store, SessionsToClose::OfServiceToken(SERVICE_TOKEN), T0).await, 1);
    assert_eq!(close(&store, SessionsToClose::OfReferenceToken(KEY), T0).await, 1);

    let (basic, erp) = (SessionKey::Basic(APP, ALICE), SessionKey::ErpLogin(APP, ALICE));
    for key in [&basic, &erp, &sign_in(6)] {
        open(&store, ALICE, key, T0).await;
    }
    assert_eq!(close(&store, SessionsToClose::OfLegacySchemes, T0).await, 2);
    assert!(store.live_api_session(&erp).await.expect("no fault").is_none());
    assert!(store.live_api_session(&sign_in(6)).await.expect("no fault").is_some(), "no legacy session");
}

async fn a_timer_slides_to_the_latest_call_and_back_only_on_its_own_node(place: Place) {
    let store = server(&place).await;
    let key = sign_in(1);
    let id = open(&store, ALICE, &key, T0).await;
    let at = |seconds: u64| T0.plus(Duration::from_secs(seconds));
    let slide = async |seconds: u64, node, future| {
        let extension = Extension { last_call: at(seconds), ends_at: at(seconds).plus(IDLE), calls: 2 };
        done(&store, vec![store.slide_api_session(id, extension, node, future)]).await;
        store.live_api_session(&key).await.expect("no fault").expect("live").last_call
    };
    assert_eq!(slide(60, NODE, at(61)).await, at(60));
    assert_eq!(slide(30, OTHER_NODE, at(31)).await, at(60), "an earlier call changes nothing");
    assert_eq!(slide(90, OTHER_NODE, at(91)).await, at(90));
    assert_eq!(slide(10, NODE, at(11)).await, at(90), "not what another node wrote");
    assert_eq!(slide(10, OTHER_NODE, at(11)).await, at(10), "its clock was set back");
    let row = store.live_api_session(&key).await.expect("no fault").expect("live");
    assert_eq!((row.calls, row.ends_at), (7, at(10).plus(IDLE)));
    done(&store, vec![store.prolong_api_session(&key, at(95), at(95).plus(IDLE))]).await;
    assert_eq!(store.live_api_sessions(10).await.expect("no fault")[0].last_call, at(95));
    close(&store, SessionsToClose::One(id), T0).await;
    let prolonged = commit(&store, vec![store.prolong_api_session(&key, at(96), at(97))]).await;
    assert_eq!(prolonged, CommitOutcome::GuardFailed { statement: 0 }, "it is closed");
}

async fn a_token_stands_until_anything_it_names_has_ended(place: Place) {
    let store = server(&place).await;
    let (sid, family) = (SessionId(Uuid::from_u128(5)), AuthorizationId(Uuid::from_u128(6)));
    let token = TokenNames {
        user: (ALICE, Some(0)),
        application: (APP, 4),
        authorization: Some(family),
        sign_in: Some(sid),
        service_token: Some(SERVICE_TOKEN),
        reference_token: Some(KEY),
    };
    let reactivating = TokenNames { sign_in: None, ..token };
    let stands = async |token: &TokenNames| {
        commit(&store, vec![store.expect_token_stands(token)]).await == CommitOutcome::Committed
    };
    assert!(stands(&token).await, "a sign-in that was swept long ago did not end");
    assert!(!stands(&TokenNames { user: (ALICE, Some(1)), ..token }).await);
    assert!(!stands(&TokenNames { application: (APP, 3), ..token }).await);
    let instance = store.instance().0;
    let ended = |reason| {
        statement(
            "INSERT INTO authorizations (instance, id, state, application, user_id, session, scope, auth_time, amr, \
             application_epoch, user_epoch, code_digest, code_expires_at, redirect_uri, generation, rotated_at, \
             proven, ended_at, end_reason) VALUES ($1, $2, 'ended', $3, $4, $5, '', 0, '', 4, 0, $6, 0, '', 0, 0, 0, 9, $7)",
            values![instance, family.0, APP.0, ALICE.0, sid.0, [0; 32], reason],
        )
    };
    done(&store, vec![ended("sign_out")]).await;
    assert!(!stands(&token).await);
    assert!(stands(&reactivating).await, "the end of the sign-in is not the end of the token");
    done(&store, vec![statement("UPDATE authorizations SET end_reason = 'code_reused'", vec![])]).await;
    assert!(!stands(&reactivating).await);
    done(&store, vec![statement("DELETE FROM authorizations", vec![]), signed_in(&store, sid)]).await;
    assert!(stands(&token).await);
    done(&store, vec![store.end_identity_session(sid, T0).expect(1)]).await;
    assert!(!stands(&token).await);
    assert!(stands(&reactivating).await);
    done(&store, vec![statement("DELETE FROM identity_sessions", vec![])]).await;
    assert!(stands(&TokenNames { user: (ALICE, None), ..token }).await, "whatever the password");
    done(&store, vec![store.revoke_access_token(SERVICE_TOKEN, T0)]).await;
    assert!(!stands(&token).await);
    let token = TokenNames { service_token: None, ..token };
    done(&store, vec![a_key(&store)]).await;
    assert!(stands(&token).await);
    done(&store, vec![store.revoke_reference_token(KEY, "test", T0)]).await;
    assert!(!stands(&token).await);
    let token = TokenNames { reference_token: None, ..token };
    assert!(stands(&token).await);
    done(&store, vec![statement("UPDATE users SET enabled = 0", vec![])]).await;
    assert!(!stands(&token).await);
}

async fn a_persons_own_tokens_are_theirs_and_not_revoked(place: Place) {
    let store = server(&place).await;
    done(&store, vec![a_key(&store)]).await;
    let of = async |user| store.personal_tokens(user, 10).await.expect("no fault").len();
    assert_eq!((of(ALICE).await, of(UserId(Uuid::from_u128(99))).await), (1, 0));
    done(&store, vec![statement("UPDATE reference_tokens SET kind = 'service'", vec![])]).await;
    assert_eq!(of(ALICE).await, 0, "a service's is nobody's own");
    done(&store, vec![statement("UPDATE reference_tokens SET kind = 'personal'", vec![])]).await;
    done(&store, vec![store.revoke_reference_token(KEY, "test", T0)]).await;
    assert_eq!(of(ALICE).await, 0, "revoked");
}

fn a_key(store: &Store) -> Statement {
    statement(
        "INSERT INTO reference_tokens (instance, id, digest, kind, application, user_id, tail, description, scope, \
         created_by, created_at) VALUES ($1, $2, $3, 'personal', $4, $5, '', '', '', '', 0)",
        values![store.instance().0, KEY.0, [0; 32], APP.0, ALICE.0],
    )
}

fn signed_in(store: &Store, id: SessionId) -> Statement {
    store.insert_identity_session(&IdentitySession {
        id,
        secret: Presented::<SessionCookie>::new("x").digest(),
        user: ALICE,
        auth_time: T0,
        amr: vec!["pwd".to_owned()],
        created_at: T0,
        last_seen: T0,
        user_epoch: 0,
    })
}

async fn settings_are_changed_by_who_read_them_last(place: Place) {
    let store = server(&place).await;
    let (settings, as_written) = store.settings_as_written().await.expect("no fault");
    let five = settings.with("seats", "5").expect("a number");
    done(&store, vec![store.update_settings(&five, &as_written)]).await;
    let overtaken = commit(&store, vec![store.update_settings(&settings, &as_written)]).await;
    assert_eq!(overtaken, CommitOutcome::GuardFailed { statement: 0 });
    assert_eq!(store.settings().await.expect("no fault").seats, Some(5));
}

on_both! {
    a_seat_is_taken_only_as_it_was_admitted
    a_key_has_one_live_session
    a_day_tells_how_many_seats_were_taken_when
    one_look_tells_seats_holders_and_keys
    one_look_tells_the_shares_of_those_who_have_a_ceiling
    a_ceiling_is_guarded_by_what_is_live
    no_ceiling_is_oversold_by_openings_at_once
    closing_meets_exactly_what_it_means
    a_timer_slides_to_the_latest_call_and_back_only_on_its_own_node
    a_token_stands_until_anything_it_names_has_ended
    settings_are_changed_by_who_read_them_last
    a_persons_own_tokens_are_theirs_and_not_revoked
}
