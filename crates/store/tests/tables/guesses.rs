//! Leases of guesses, networks that were right, and letters about attacks.

use std::time::Duration;

use model::Timestamp;
use model::throttle::{MAX_KNOWN_NETWORKS, PASSWORDS};
use store::{Batch, CommitOutcome};

use crate::common::Place;
use crate::{LATER, NOW, commit, done, refused, server, somebody};

crate::on_both! {
    blocks_are_leased_until_the_ceiling_is_used_up
    nodes_that_lease_at_once_get_no_more_than_there_is
    full_buckets_are_swept
    a_user_has_sixteen_known_networks_at_most
    an_attack_is_told_once_a_day
}

const ACCOUNT: [u8; 16] = [7; 16];

async fn blocks_are_leased_until_the_ceiling_is_used_up(place: Place) {
    let server = server(&place).await;
    let lease = |now| server.here.lease_guesses(&ACCOUNT, PASSWORDS, now);
    assert_eq!(server.here.guesses_full_at(&ACCOUNT).await.expect("no fault"), None);
    for block in 1..=4 {
        done(&server.here, lease(NOW)).await;
        let full_at = server.here.guesses_full_at(&ACCOUNT).await.expect("no fault");
        assert_eq!(full_at, Some(NOW.plus(PASSWORDS.block() * block)));
    }
    refused(&server.here, lease(NOW)).await;
    let wait = PASSWORDS.until_block(NOW, NOW.plus(PASSWORDS.block() * 4));
    assert_eq!(wait, PASSWORDS.block());
    refused(&server.here, lease(NOW.plus(wait).minus(Duration::from_micros(1)))).await;
    done(&server.here, lease(NOW.plus(wait))).await;
    refused(&server.here, lease(NOW.plus(wait))).await;
    // Other accounts and instances have their own.
    done(&server.here, server.here.lease_guesses(&[8; 16], PASSWORDS, NOW)).await;
    done(&server.there, server.there.lease_guesses(&ACCOUNT, PASSWORDS, NOW)).await;
    // A bucket holds no more than at first, however long it was left alone.
    let much_later = NOW.plus(Duration::from_hours(100));
    for _ in 0..4 {
        done(&server.here, lease(much_later)).await;
    }
    refused(&server.here, lease(much_later)).await;
}

async fn nodes_that_lease_at_once_get_no_more_than_there_is(place: Place) {
    let server = server(&place).await;
    let mut leasing = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = server.here.clone();
        leasing.spawn(async move { commit(&store, store.lease_guesses(&ACCOUNT, PASSWORDS, NOW)).await });
    }
    let outcomes = leasing.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == CommitOutcome::Committed).count(), 4);
}

async fn full_buckets_are_swept(place: Place) {
    let server = server(&place).await;
    done(&server.here, server.here.lease_guesses(&ACCOUNT, PASSWORDS, NOW)).await;
    let full_at = NOW.plus(PASSWORDS.block());
    done(&server.here, server.here.sweep_guess_leases(full_at)).await;
    assert_eq!(server.here.guesses_full_at(&ACCOUNT).await.expect("no fault"), Some(full_at));
    let later = full_at.plus(Duration::from_micros(1));
    done(&server.there, server.there.sweep_guess_leases(later)).await;
    assert!(server.here.guesses_full_at(&ACCOUNT).await.expect("no fault").is_some(), "of another instance");
    done(&server.here, server.here.sweep_guess_leases(later)).await;
    assert_eq!(server.here.guesses_full_at(&ACCOUNT).await.expect("no fault"), None);
}

async fn a_user_has_sixteen_known_networks_at_most(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await, somebody(&server.here, 2, "bob").await);
    let put = async |user, number: u8, now| {
        let batch = Batch::from(server.here.put_known_network(user, &[number; 32], now).to_vec());
        assert_eq!(server.here.commit(batch).await.expect("no fault"), CommitOutcome::Committed);
    };
    let known = async |number: u8| server.here.known_network(&[number; 32]).await.expect("no fault");
    put(bob.id, 200, NOW).await;
    for number in 0..20 {
        put(alice.id, number, Timestamp(NOW.0 + i64::from(number))).await;
    }
    put(alice.id, 4, LATER).await;
    put(alice.id, 20, LATER).await;
    let mut left = Vec::new();
    for number in 0..=20 {
        left.extend(known(number).await.map(|_| number));
    }
    assert_eq!(left.len(), usize::try_from(MAX_KNOWN_NETWORKS).expect("small"));
    assert_eq!((left[0], known(4).await), (4, Some(LATER)), "the oldest went");
    assert!(!left.contains(&5) && known(200).await.is_some(), "of others none");
    assert_eq!(server.there.known_network(&[4; 32]).await.expect("no fault"), None);
    done(&server.here, server.here.sweep_known_networks(LATER)).await;
    assert!(known(4).await.is_some() && known(20).await.is_some() && known(19).await.is_none());
    let erasing = server.here.erase_user(&alice, LATER);
    assert_eq!(server.here.commit(erasing.into()).await.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(known(4).await, None);
}

async fn an_attack_is_told_once_a_day(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await, somebody(&server.here, 2, "bob").await);
    let tell = |user, kind, now| server.here.tell_of_attack(user, kind, now);
    done(&server.here, tell(alice.id, "account", NOW)).await;
    refused(&server.here, tell(alice.id, "account", LATER)).await;
    done(&server.here, tell(alice.id, "second-step", NOW)).await;
    done(&server.here, tell(bob.id, "account", NOW)).await;
    let tomorrow = NOW.plus(Duration::from_hours(24));
    done(&server.here, tell(alice.id, "account", tomorrow)).await;
    refused(&server.here, tell(alice.id, "account", NOW)).await;
}
