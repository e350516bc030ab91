//! One authorization, one row for life: code, family, end.

use model::audit::RequestOrigin;
use model::authorization::{IssuedCode, RefreshFamily};
use model::claims::Epochs;
use model::{
    ApplicationId, Authorization, AuthorizationId, AuthorizationState, Generation, SessionId, Timestamp, UserId,
};
use oauth::pkce::Challenge;
use oauth::scope::Scope;
use oauth::secret::Presented;
use store::{CommitOutcome, ConsentParties, Store};
use uuid::Uuid;

use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, done, refused, server, somebody};

crate::on_both! {
    families_are_counted_while_their_newest_token_is_good
    a_code_reads_back_as_issued_with_and_without_its_options
    a_code_is_redeemed_once
    a_family_advances_only_from_the_generation_that_was_read
    a_rotation_is_remembered_with_its_address_until_the_person_is_erased
    a_repeat_is_for_a_family_that_stands
    a_generation_is_proven_until_the_next
    an_authorization_ends_once_with_its_first_reason_and_for_good
    a_sign_in_ends_all_that_descends_from_it
    what_a_user_gave_an_application_ends_together_and_is_found_by_its_reason
    a_sweep_deletes_only_what_nobody_can_use
}

const S256: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const fn id(number: u128) -> AuthorizationId {
    AuthorizationId(Uuid::from_u128(number))
}

fn by() -> RequestOrigin {
    RequestOrigin { address: [192, 0, 2, 1].into(), user_agent: Some("Firefox".into()) }
}

fn issued(options: bool) -> IssuedCode {
    let challenge = options.then(|| Challenge::parse(Some(S256), Some("S256")).expect("a challenge").expect("sent"));
    IssuedCode {
        digest: Presented::new("the code").digest(),
        redirect_uri: "https://app.example.com/cb".to_owned(),
        nonce: options.then(|| "n-1".to_owned()),
        challenge,
        expires_at: LATER,
    }
}

fn authorization(number: u128, session: u128, code: &IssuedCode) -> Authorization {
    Authorization {
        id: id(number),
        application: ApplicationId(Uuid::from_u128(20)),
        user: UserId(Uuid::from_u128(30)),
        session: SessionId(Uuid::from_u128(session)),
        scope: Scope::parse("openid read").expect("a scope"),
        auth_time: NOW,
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        epochs: Epochs(3, 4),
        state: AuthorizationState::Issued(Box::new(code.clone())),
    }
}

async fn issue(store: &Store, number: u128, session: u128) {
    let code = issued(true);
    done(store, store.insert_authorization(&authorization(number, session, &code), &code)).await;
}

async fn read(store: &Store, number: u128) -> Option<Authorization> {
    store.authorization(id(number)).await.expect("no fault").map(|(authorization, _)| authorization)
}

async fn family(store: &Store, number: u128) -> (i64, Timestamp, bool, Option<Timestamp>) {
    match read(store, number).await.expect("the row is there").state {
        AuthorizationState::Redeemed(RefreshFamily { generation, rotated_at, proven, refresh_until, .. }) => {
            (generation.0, rotated_at, proven, refresh_until)
        }
        other => panic!("{other:?}"),
    }
}

async fn has_ended(store: &Store, number: u128) -> bool {
    matches!(read(store, number).await.expect("the row is there").state, AuthorizationState::Ended(_))
}

async fn a_code_reads_back_as_issued_with_and_without_its_options(place: Place) {
    let server = server(&place).await;
    for (number, options) in [(1, true), (2, false)] {
        let code = issued(options);
        let written = authorization(number, 9, &code);
        done(&server.here, server.here.insert_authorization(&written, &code)).await;
        let (read, digest) = server.here.authorization(id(number)).await.expect("no fault").expect("there");
        assert_eq!((read.id, read.application, read.user), (written.id, written.application, written.user));
        assert_eq!((read.session, read.scope, read.auth_time), (written.session, written.scope, written.auth_time));
        assert_eq!((read.amr, read.epochs), (written.amr, written.epochs));
        assert_eq!(digest, code.digest);
        let AuthorizationState::Issued(read) = read.state else { panic!("issued, not redeemed") };
        assert_eq!((read.digest, read.redirect_uri), (code.digest, code.redirect_uri));
        assert_eq!((read.nonce, read.challenge, read.expires_at), (code.nonce, code.challenge, code.expires_at));
    }
    assert!(server.here.authorization(id(3)).await.expect("no fault").is_none());
    assert!(server.there.authorization(id(1)).await.expect("no fault").is_none(), "not of this instance");
}

async fn a_code_is_redeemed_once(place: Place) {
    let server = server(&place).await;
    issue(&server.here, 1, 9).await;
    refused(&server.there, server.there.redeem_code(id(1), None, LATER)).await;
    done(&server.here, server.here.redeem_code(id(1), Some(MUCH_LATER), LATER)).await;
    refused(&server.here, server.here.redeem_code(id(1), None, MUCH_LATER)).await;
    assert_eq!(family(&server.here, 1).await, (1, LATER, false, Some(MUCH_LATER)));
    issue(&server.here, 2, 9).await;
    done(&server.here, server.here.redeem_code(id(2), None, LATER)).await;
    assert_eq!(family(&server.here, 2).await, (1, LATER, false, None), "no offline_access, no refresh");
    let (_, digest) = server.here.authorization(id(1)).await.expect("no fault").expect("there");
    assert_eq!(digest, issued(true).digest, "a spent code is still known: its reuse is an attack");
    refused(&server.here, server.here.redeem_code(id(3), None, LATER)).await;
}

async fn a_family_advances_only_from_the_generation_that_was_read(place: Place) {
    let server = server(&place).await;
    issue(&server.here, 1, 9).await;
    refused(&server.here, server.here.advance_family(id(1), Generation(0), &by(), LATER)).await;
    done(&server.here, server.here.redeem_code(id(1), Some(MUCH_LATER), NOW)).await;
    done(&server.here, server.here.advance_family(id(1), Generation(1), &by(), LATER)).await;
    refused(&server.here, server.here.advance_family(id(1), Generation(1), &by(), MUCH_LATER)).await;
    refused(&server.here, server.here.advance_family(id(1), Generation(3), &by(), MUCH_LATER)).await;
    refused(&server.there, server.there.advance_family(id(1), Generation(2), &by(), MUCH_LATER)).await;
    assert_eq!(family(&server.here, 1).await, (2, LATER, false, Some(MUCH_LATER)));
}

async fn a_rotation_is_remembered_with_its_address_until_the_person_is_erased(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let eve = somebody(store, 1, "eve").await;
    let code = issued(true);
    let hers = Authorization { user: eve.id, ..authorization(1, 9, &code) };
    done(store, store.insert_authorization(&hers, &code)).await;
    issue(store, 2, 9).await;
    let rotated_by = async |number| read(store, number).await.expect("there").rotated_by().cloned();
    for number in [1, 2] {
        done(store, store.redeem_code(id(number), Some(MUCH_LATER), NOW)).await;
        assert_eq!(rotated_by(number).await, None, "a code is no rotation");
        done(store, store.advance_family(id(number), Generation(1), &by(), LATER)).await;
        assert_eq!(rotated_by(number).await, Some(by()));
    }
    let unnamed = RequestOrigin { address: [203, 0, 113, 9].into(), user_agent: None };
    done(store, store.advance_family(id(2), Generation(2), &unnamed, LATER)).await;
    assert_eq!(rotated_by(2).await, Some(unnamed.clone()));
    assert_eq!(store.commit(store.erase_user(&eve, LATER).into()).await.expect("no fault"), CommitOutcome::Committed);
    let sql = "SELECT id FROM authorizations WHERE rotated_address IS NOT NULL OR rotated_user_agent IS NOT NULL";
    let left = store.query(sql, vec![]).await.expect("no fault");
    let left: Vec<String> = left.iter().map(|row| row.text(0).expect("an id")).collect();
    assert_eq!(left, [id(2).to_string()], "of somebody else");
}

async fn a_repeat_is_for_a_family_that_stands(place: Place) {
    let server = server(&place).await;
    issue(&server.here, 1, 9).await;
    refused(&server.here, server.here.expect_family_stands(id(1))).await;
    done(&server.here, server.here.redeem_code(id(1), Some(MUCH_LATER), NOW)).await;
    refused(&server.there, server.there.expect_family_stands(id(1))).await;
    done(&server.here, server.here.advance_family(id(1), Generation(1), &by(), LATER)).await;
    done(&server.here, server.here.expect_family_stands(id(1))).await;
    done(&server.here, server.here.end_authorization(id(1), "sign_out", LATER)).await;
    refused(&server.here, server.here.expect_family_stands(id(1))).await;
}

async fn a_generation_is_proven_until_the_next(place: Place) {
    let server = server(&place).await;
    issue(&server.here, 1, 9).await;
    done(&server.here, server.here.redeem_code(id(1), None, NOW)).await;
    done(&server.here, server.here.prove_generation(id(1), Generation(2))).await;
    assert!(!family(&server.here, 1).await.2, "another generation proves nothing of this one");
    done(&server.here, server.here.prove_generation(id(1), Generation(1))).await;
    assert!(family(&server.here, 1).await.2);
    done(&server.here, server.here.advance_family(id(1), Generation(1), &by(), LATER)).await;
    assert!(!family(&server.here, 1).await.2, "the next one has proven nothing yet");
    done(&server.here, server.here.prove_generation(id(1), Generation(1))).await;
    assert!(!family(&server.here, 1).await.2, "an old token's use comes too late");
}

async fn an_authorization_ends_once_with_its_first_reason_and_for_good(place: Place) {
    let server = server(&place).await;
    for number in [1, 2, 3] {
        issue(&server.here, number, 9).await;
    }
    done(&server.here, server.here.redeem_code(id(2), None, NOW)).await;
    done(&server.here, server.here.end_authorization(id(1), "code_reused", NOW)).await;
    done(&server.here, server.here.end_authorization(id(2), "code_reused", LATER)).await;
    done(&server.here, server.here.end_authorization(id(1), "later", MUCH_LATER)).await;
    done(&server.there, server.there.end_authorization(id(3), "elsewhere", LATER)).await;
    assert!(has_ended(&server.here, 1).await && has_ended(&server.here, 2).await && !has_ended(&server.here, 3).await);
    refused(&server.here, server.here.redeem_code(id(1), None, LATER)).await;
    refused(&server.here, server.here.advance_family(id(2), Generation(1), &by(), LATER)).await;
    let ended = async |store: &Store, since| store.authorizations_ended_since(since).await.expect("no fault");
    assert_eq!(ended(&server.here, LATER).await, [id(2)], "the second end did not move the first");
    assert_eq!(ended(&server.here, NOW).await.len(), 2);
    assert!(ended(&server.there, NOW).await.is_empty());
}

async fn a_sign_in_ends_all_that_descends_from_it(place: Place) {
    let server = server(&place).await;
    for (number, session) in [(1, 9), (2, 9), (3, 8)] {
        issue(&server.here, number, session).await;
    }
    done(&server.here, server.here.redeem_code(id(2), None, NOW)).await;
    let session = SessionId(Uuid::from_u128(9));
    done(&server.there, server.there.end_authorizations_of(session, "signed_out", LATER)).await;
    assert!(!has_ended(&server.here, 1).await, "not of that instance");
    done(&server.here, server.here.end_authorizations_of(session, "signed_out", LATER)).await;
    assert!(has_ended(&server.here, 1).await && has_ended(&server.here, 2).await && !has_ended(&server.here, 3).await);
}

async fn a_sweep_deletes_only_what_nobody_can_use(place: Place) {
    let server = server(&place).await;
    let (rotated, refreshable, ended) = (2, 3, 4);
    for number in [1, rotated, refreshable, ended] {
        issue(&server.here, number, 9).await; // every code is good until LATER
    }
    issue(&server.there, 5, 9).await;
    done(&server.here, server.here.redeem_code(id(rotated), None, MUCH_LATER)).await;
    done(&server.here, server.here.redeem_code(id(refreshable), Some(MUCH_LATER), NOW)).await;
    done(&server.here, server.here.end_authorization(id(ended), "x", NOW)).await;
    let left = async || {
        let mut left = Vec::new();
        for number in 1..=4 {
            left.extend(read(&server.here, number).await.map(|_| number));
        }
        left
    };
    done(&server.here, server.here.sweep_authorizations(LATER)).await;
    assert_eq!(left().await, [1, 2, 3, 4], "a code is not dead at the moment it expires");
    done(&server.here, server.here.sweep_authorizations(MUCH_LATER)).await;
    assert_eq!(left().await, [2, 3], "its access token, its refresh token may live");
    done(&server.here, server.here.sweep_authorizations(Timestamp(MUCH_LATER.0 + 1))).await;
    assert!(left().await.is_empty());
    assert!(read(&server.there, 5).await.is_some(), "not of this instance");
}

async fn what_a_user_gave_an_application_ends_together_and_is_found_by_its_reason(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let (user, application) = (UserId(Uuid::from_u128(30)), ApplicationId(Uuid::from_u128(20)));
    let parties = ConsentParties { user, application };
    for number in [1, 2, 3] {
        issue(store, number, 40 + number).await;
    }
    let code = issued(true);
    let of_another = Authorization { user: UserId(Uuid::from_u128(31)), ..authorization(4, 44, &code) };
    let elsewhere = Authorization { application: ApplicationId(Uuid::from_u128(21)), ..authorization(5, 45, &code) };
    for other in [&of_another, &elsewhere] {
        done(store, store.insert_authorization(other, &code)).await;
    }
    done(store, store.redeem_code(id(2), Some(MUCH_LATER), NOW)).await;
    done(store, store.end_authorization(id(3), "reused", NOW)).await;
    let holds = async |now, since| {
        let known = store.connections(user, now, since).await.expect("no fault");
        known.iter().map(|one| (one.application, one.consent.is_some(), one.holds_tokens)).collect::<Vec<_>>()
    };
    assert_eq!(holds(NOW, NOW).await, [(application, false, true), (elsewhere.application, false, true)]);
    assert_eq!(holds(LATER, LATER).await, [(application, false, true)], "the family outlives the codes");
    assert_eq!(holds(MUCH_LATER, LATER).await, []);

    done(&server.there, server.there.end_authorizations_between(parties, "withdrawn", LATER)).await;
    assert!(!matches!(read(store, 1).await.expect("there").state, AuthorizationState::Ended(_)));
    done(store, store.end_authorizations_between(parties, "withdrawn", LATER)).await;
    for (number, is_ended) in [(1, true), (2, true), (3, true), (4, false), (5, false)] {
        let state = read(store, number).await.expect("there").state;
        assert_eq!(matches!(state, AuthorizationState::Ended(_)), is_ended, "{number}");
    }
    let ended = async |store: &Store, reason, since| {
        let mut ended = store.authorizations_of_user_ended_since(user, reason, since).await.expect("no fault");
        ended.sort();
        ended
    };
    assert_eq!(ended(store, "withdrawn", LATER).await, [id(1), id(2)]);
    assert_eq!(ended(store, "withdrawn", MUCH_LATER).await, []);
    assert_eq!(ended(store, "reused", NOW).await, [id(3)], "the first reason stays");
    assert_eq!(ended(&server.there, "withdrawn", NOW).await, []);
}

async fn families_are_counted_while_their_newest_token_is_good(place: Place) {
    let server = server(&place).await;
    let count = async |now| server.here.live_families(now).await.expect("no fault");
    for number in 1..=4 {
        issue(&server.here, number, 40).await;
    }
    assert_eq!(count(NOW).await, 0, "a code is no refresh token");
    done(&server.here, server.here.redeem_code(id(1), Some(LATER), NOW)).await;
    done(&server.here, server.here.redeem_code(id(2), Some(MUCH_LATER), NOW)).await;
    done(&server.here, server.here.redeem_code(id(3), None, NOW)).await;
    assert_eq!((count(NOW).await, count(LATER).await, count(MUCH_LATER).await), (2, 1, 0));
    done(&server.here, server.here.end_authorization(id(1), "test", NOW)).await;
    assert_eq!(count(NOW).await, 1);
    assert_eq!(server.there.live_families(NOW).await.expect("no fault"), 0);
}
