//! Leases of guesses, networks that were right, and letters about attacks.

use std::time::Duration;

use model::Timestamp;
use model::throttle::{MAX_KNOWN_NETWORKS, PASSWORDS};
use store::{Batch, CommitOutcome};

use crate::common::Place;
use crate::{LATER, NOW, commit, done, house, refused, somebody};

crate::on_both! {
    blocks_are_leased_until_the_ceiling_is_used_up
    nodes_that_lease_at_once_get_no_more_than_there_is
    full_buckets_are_swept
    a_user_has_sixteen_known_networks_at_most
    an_attack_is_told_once_a_day
}

const ACCOUNT: [u8; 16] = [7; 16];

async fn blocks_are_leased_until_the_ceiling_is_used_up(place: Place) {
    let house = house(&place).await;
    let lease = |now| house.here.lease_guesses(&ACCOUNT, PASSWORDS, now);
    assert_eq!(house.here.guesses_full_at(&ACCOUNT).await.expect("no fault"), None);
    for block in 1..=4 {
        done(&house.here, lease(NOW)).await;
        let full_at = house.here.guesses_full_at(&ACCOUNT).await.expect("no fault");
        assert_eq!(full_at, Some(NOW.plus(PASSWORDS.block() * block)));
    }
    refused(&house.here, lease(NOW)).await;
    let wait = PASSWORDS.until_block(NOW, NOW.plus(PASSWORDS.block() * 4));
    assert_eq!(wait, PASSWORDS.block());
    refused(&house.here, lease(NOW.plus(wait).minus(Duration::from_micros(1)))).await;
    done(&house.here, lease(NOW.plus(wait))).await;
    refused(&house.here, lease(NOW.plus(wait))).await;
    // Other accounts and instances have their own.
    done(&house.here, house.here.lease_guesses(&[8; 16], PASSWORDS, NOW)).await;
    done(&house.there, house.there.lease_guesses(&ACCOUNT, PASSWORDS, NOW)).await;
    // A bucket holds no more than at first, however long it was left alone.
    let much_later = NOW.plus(Duration::from_hours(100));
    for _ in 0..4 {
        done(&house.here, lease(much_later)).await;
    }
    refused(&house.here, lease(much_later)).await;
}

async fn nodes_that_lease_at_once_get_no_more_than_there_is(place: Place) {
    let house = house(&place).await;
    let mut leasing = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = house.here.clone();
        leasing.spawn(async move { commit(&store, store.lease_guesses(&ACCOUNT, PASSWORDS, NOW)).await });
    }
    let outcomes = leasing.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == CommitOutcome::Committed).count(), 4);
}

async fn full_buckets_are_swept(place: Place) {
    let house = house(&place).await;
    done(&house.here, house.here.lease_guesses(&ACCOUNT, PASSWORDS, NOW)).await;
    let full_at = NOW.plus(PASSWORDS.block());
    done(&house.here, house.here.sweep_guess_leases(full_at)).await;
    assert_eq!(house.here.guesses_full_at(&ACCOUNT).await.expect("no fault"), Some(full_at));
    let later = full_at.plus(Duration::from_micros(1));
    done(&house.there, house.there.sweep_guess_leases(later)).await;
    assert!(house.here.guesses_full_at(&ACCOUNT).await.expect("no fault").is_some(), "of another instance");
    done(&house.here, house.here.sweep_guess_leases(later)).await;
    assert_eq!(house.here.guesses_full_at(&ACCOUNT).await.expect("no fault"), None);
}

async fn a_user_has_sixteen_known_networks_at_most(place: Place) {
    let house = house(&place).await;
    let (alice, bob) = (somebody(&house.here, 1, "alice").await, somebody(&house.here, 2, "bob").await);
    let put = async |user, number: u8, now| {
        let batch = Batch::from(house.here.put_known_network(user, &[number; 32], now).to_vec());
        assert_eq!(house.here.commit(batch).await.expect("no fault"), CommitOutcome::Committed);
    };
    let known = async |number: u8| house.here.known_network(&[number; 32]).await.expect("no fault");
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
    assert_eq!(house.there.known_network(&[4; 32]).await.expect("no fault"), None);
    done(&house.here, house.here.sweep_known_networks(LATER)).await;
    assert!(known(4).await.is_some() && known(20).await.is_some() && known(19).await.is_none());
    let erasing = house.here.erase_user(&alice, LATER);
    assert_eq!(house.here.commit(erasing.into()).await.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(known(4).await, None);
}

async fn an_attack_is_told_once_a_day(place: Place) {
    let house = house(&place).await;
    let (alice, bob) = (somebody(&house.here, 1, "alice").await, somebody(&house.here, 2, "bob").await);
    let tell = |user, kind, now| house.here.tell_of_attack(user, kind, now);
    done(&house.here, tell(alice.id, "account", NOW)).await;
    refused(&house.here, tell(alice.id, "account", LATER)).await;
    done(&house.here, tell(alice.id, "second-step", NOW)).await;
    done(&house.here, tell(bob.id, "account", NOW)).await;
    let tomorrow = NOW.plus(Duration::from_hours(24));
    done(&house.here, tell(alice.id, "account", tomorrow)).await;
    refused(&house.here, tell(alice.id, "account", NOW)).await;
}
