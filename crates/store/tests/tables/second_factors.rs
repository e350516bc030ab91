//! Authenticator apps, passkeys, recovery codes, challenges that were answered.

use model::two_step::RecoveryCode;
use model::{PasskeyId, Timestamp, UserId};
use oauth::secret::Presented;
use store::{Statement, Store, StoredPasskey};
use uuid::Uuid;

use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, done, refused, server, somebody, user, user_id};

crate::on_both! {
    a_step_of_an_app_is_used_once_and_none_before_it
    a_person_has_one_app_and_each_instance_its_own
    a_passkey_reads_back_and_a_use_counts_on_what_was_read
    a_credential_is_registered_once_in_an_instance
    a_recovery_code_is_used_once_by_whom_it_was_given
    recovery_codes_go_with_the_last_factor_and_not_before
    all_factors_of_one_person_are_taken_away_together
    a_challenge_is_spent_once_until_it_would_be_refused_anyway
    whoever_has_a_factor_is_known_by_it_and_held_by_the_epoch
}

fn passkey(number: u128, owner: UserId, credential: u8) -> StoredPasskey {
    StoredPasskey {
        id: PasskeyId(Uuid::from_u128(number)),
        user: owner,
        credential: vec![credential; 16],
        name: format!("key {number}"),
        record: "{\"counter\":0}".to_owned(),
        created_at: Timestamp(NOW.0 + i64::try_from(number).expect("small")),
        last_used_at: None,
    }
}

fn code(store: &Store, owner: UserId, text: &str) -> (Statement, Statement) {
    let digest = Presented::<RecoveryCode>::new(text).digest();
    (store.insert_recovery_code(owner, digest), store.use_recovery_code(owner, digest))
}

async fn last_step(store: &Store, owner: UserId) -> Option<i64> {
    store.authenticator_app(owner).await.expect("no fault").map(|app| app.last_step)
}

async fn codes_left(store: &Store, owner: UserId) -> usize {
    store.recovery_codes_left(owner).await.expect("no fault")
}

/// RFC 6238 §5.2.
async fn a_step_of_an_app_is_used_once_and_none_before_it(place: Place) {
    let here = server(&place).await.here;
    let alice = somebody(&here, 1, "alice").await.id;
    done(&here, here.insert_authenticator_app(alice, vec![1], 100, NOW)).await;
    for (step, fresh) in [(100, false), (99, false), (101, true), (101, false), (103, true), (102, false)] {
        let statement = here.use_authenticator_step(alice, step);
        if fresh {
            done(&here, statement).await;
        } else {
            refused(&here, statement).await;
        }
    }
    assert_eq!(last_step(&here, alice).await, Some(103));
    refused(&here, here.use_authenticator_step(user_id(9), 200)).await;
}

async fn a_person_has_one_app_and_each_instance_its_own(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await.id;
    somebody(&server.there, 1, "alice").await;
    done(&server.here, server.here.insert_authenticator_app(alice, vec![1, 2], 7, NOW)).await;
    refused(&server.here, server.here.insert_authenticator_app(alice, vec![3], 8, LATER)).await;
    let app = server.here.authenticator_app(alice).await.expect("no fault").expect("it is there");
    assert_eq!((app.sealed_secret, app.last_step, app.created_at), (vec![1, 2], 7, NOW));
    assert_eq!(last_step(&server.there, alice).await, None);
    refused(&server.there, server.there.use_authenticator_step(alice, 100)).await;
    done(&server.there, server.there.delete_authenticator_app(alice)).await;
    assert_eq!(last_step(&server.here, alice).await, Some(7), "not of that instance");
    done(&server.here, server.here.delete_authenticator_app(alice).expect(1)).await;
    refused(&server.here, server.here.delete_authenticator_app(alice).expect(1)).await;
}

async fn a_passkey_reads_back_and_a_use_counts_on_what_was_read(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await.id;
    somebody(&server.there, 1, "alice").await;
    for number in [2, 1] {
        done(&server.here, server.here.insert_passkey(&passkey(number, alice, u8::try_from(number).expect("small"))))
            .await;
    }
    let found = server.here.passkeys(alice).await.expect("no fault");
    assert_eq!(
        found.iter().map(|passkey| passkey.name.as_str()).collect::<Vec<_>>(),
        ["key 1", "key 2"],
        "oldest first"
    );
    let read = server.here.passkey_by_credential(&[2; 16]).await.expect("no fault").expect("it is there");
    assert_eq!((read.id.0, read.user, read.credential.len()), (Uuid::from_u128(2), alice, 16));
    assert_eq!((read.created_at, read.last_used_at), (Timestamp(NOW.0 + 2), None));
    assert!(server.here.passkey_by_credential(&[3; 16]).await.expect("no fault").is_none());
    assert!(server.there.passkey_by_credential(&[2; 16]).await.expect("no fault").is_none(), "not of this instance");

    done(&server.here, server.here.use_passkey(&read, "{\"counter\":5}", LATER)).await;
    refused(&server.here, server.here.use_passkey(&read, "{\"counter\":6}", MUCH_LATER)).await;
    let used = server.here.passkey_by_credential(&[2; 16]).await.expect("no fault").expect("it is there");
    assert_eq!((used.record.as_str(), used.last_used_at), ("{\"counter\":5}", Some(LATER)));

    refused(&server.here, server.here.delete_passkey(user_id(9), used.id)).await;
    refused(&server.there, server.there.delete_passkey(alice, used.id)).await;
    done(&server.here, server.here.delete_passkey(alice, used.id)).await;
    refused(&server.here, server.here.delete_passkey(alice, used.id)).await;
    done(&server.here, server.here.delete_passkey(alice, PasskeyId(Uuid::from_u128(1)))).await;
    assert!(server.here.passkeys(alice).await.expect("no fault").is_empty());
}

async fn a_credential_is_registered_once_in_an_instance(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await.id, somebody(&server.here, 2, "bob").await.id);
    somebody(&server.there, 1, "alice").await;
    done(&server.here, server.here.insert_passkey(&passkey(1, alice, 7))).await;
    refused(&server.here, server.here.insert_passkey(&passkey(2, alice, 7))).await;
    refused(&server.here, server.here.insert_passkey(&passkey(3, bob, 7))).await;
    done(&server.there, server.there.insert_passkey(&passkey(1, alice, 7))).await;
}

async fn a_recovery_code_is_used_once_by_whom_it_was_given(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await.id, somebody(&server.here, 2, "bob").await.id);
    somebody(&server.there, 1, "alice").await;
    let (insert, spend) = code(&server.here, alice, "A");
    done(&server.here, insert).await;
    let (insert, _) = code(&server.here, alice, "B");
    done(&server.here, insert).await;
    refused(&server.here, code(&server.here, bob, "A").1).await;
    refused(&server.there, code(&server.there, alice, "A").1).await;
    refused(&server.here, code(&server.here, alice, "C").1).await;
    done(&server.here, spend.clone()).await;
    refused(&server.here, spend).await;
    assert_eq!((codes_left(&server.here, alice).await, codes_left(&server.here, bob).await), (1, 0));
    done(&server.here, server.here.delete_recovery_codes(alice)).await;
    assert_eq!(codes_left(&server.here, alice).await, 0);
}

async fn recovery_codes_go_with_the_last_factor_and_not_before(place: Place) {
    let here = server(&place).await.here;
    let alice = somebody(&here, 1, "alice").await.id;
    done(&here, here.insert_authenticator_app(alice, vec![1], 1, NOW)).await;
    done(&here, here.insert_passkey(&passkey(1, alice, 1))).await;
    done(&here, code(&here, alice, "A").0).await;
    done(&here, here.delete_needless_recovery_codes(alice)).await;
    done(&here, here.delete_authenticator_app(alice)).await;
    done(&here, here.delete_needless_recovery_codes(alice)).await;
    assert_eq!(codes_left(&here, alice).await, 1, "there is a passkey still");
    done(&here, here.delete_passkey(alice, PasskeyId(Uuid::from_u128(1)))).await;
    done(&here, here.delete_needless_recovery_codes(alice)).await;
    assert_eq!(codes_left(&here, alice).await, 0);
}

async fn all_factors_of_one_person_are_taken_away_together(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await.id, somebody(&server.here, 2, "bob").await.id);
    for (number, owner) in [(1, alice), (2, bob)] {
        done(&server.here, server.here.insert_authenticator_app(owner, vec![1], 1, NOW)).await;
        done(&server.here, server.here.insert_passkey(&passkey(number.into(), owner, number))).await;
        done(&server.here, code(&server.here, owner, "A").0).await;
    }
    let left = async |owner| {
        let apps = usize::from(last_step(&server.here, owner).await.is_some());
        (apps, server.here.passkeys(owner).await.expect("no fault").len(), codes_left(&server.here, owner).await)
    };
    for elsewhere in server.there.delete_second_factors(alice) {
        done(&server.there, elsewhere).await;
    }
    assert_eq!(left(alice).await, (1, 1, 1));
    for gone in server.here.delete_second_factors(alice) {
        done(&server.here, gone).await;
    }
    assert_eq!((left(alice).await, left(bob).await), ((0, 0, 0), (1, 1, 1)));
}

async fn a_challenge_is_spent_once_until_it_would_be_refused_anyway(place: Place) {
    let server = server(&place).await;
    done(&server.here, server.here.spend_challenge(&[1; 32], LATER)).await;
    refused(&server.here, server.here.spend_challenge(&[1; 32], LATER)).await;
    done(&server.here, server.here.spend_challenge(&[2; 32], MUCH_LATER)).await;
    done(&server.there, server.there.spend_challenge(&[1; 32], LATER)).await;
    done(&server.here, server.here.sweep_spent_challenges(LATER)).await;
    refused(&server.here, server.here.spend_challenge(&[1; 32], LATER)).await;
    done(&server.here, server.here.sweep_spent_challenges(MUCH_LATER)).await;
    refused(&server.here, server.here.spend_challenge(&[2; 32], MUCH_LATER)).await;
    done(&server.here, server.here.spend_challenge(&[1; 32], LATER)).await;
    refused(&server.there, server.there.spend_challenge(&[1; 32], LATER)).await;
}

async fn whoever_has_a_factor_is_known_by_it_and_held_by_the_epoch(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    somebody(&server.there, 1, "alice").await;
    assert!(!alice.has_second_factor);
    done(&server.here, server.here.insert_authenticator_app(alice.id, vec![1], 1, NOW)).await;
    assert!(user(&server.here, 1).await.has_second_factor, "by an app");
    assert!(!user(&server.there, 1).await.has_second_factor, "not in that instance");
    done(&server.here, server.here.delete_authenticator_app(alice.id)).await;
    done(&server.here, server.here.insert_passkey(&passkey(1, alice.id, 1))).await;
    assert!(user(&server.here, 1).await.has_second_factor, "by a passkey");
    done(&server.here, code(&server.here, alice.id, "A").0).await;
    done(&server.here, server.here.delete_passkey(alice.id, PasskeyId(Uuid::from_u128(1)))).await;
    assert!(!user(&server.here, 1).await.has_second_factor, "recovery codes are none");

    done(&server.here, server.here.hold_user(&alice)).await;
    assert_eq!(user(&server.here, 1).await.epoch, alice.epoch);
    done(&server.here, server.here.raise_user_epoch(&alice)).await;
    assert_eq!(user(&server.here, 1).await.epoch, alice.epoch + 1);
    refused(&server.here, server.here.hold_user(&alice)).await;
    refused(&server.here, server.here.raise_user_epoch(&alice)).await;
    done(&server.here, server.here.hold_user(&user(&server.here, 1).await)).await;
}
