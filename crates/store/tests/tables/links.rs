//! One-time links, and addresses that they confirm.

use model::link::LinkPurpose;
use model::mail::EmailAddress;
use model::{Email, Timestamp, User, UserId};
use store::{Batch, CommitOutcome, Store};

use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, commit, done, phc, refused, server, somebody, switched, user, user_id};

crate::on_both! {
    a_link_is_good_once_and_until_it_expires
    a_link_dies_with_the_epoch_of_its_user
    the_dead_are_swept_and_the_living_are_counted
    a_link_dies_with_the_address_of_its_user
    people_are_found_by_their_address_in_any_case
    an_address_is_confirmed_on_the_epoch_and_the_address_that_were_read
}

const DIGEST: [u8; 32] = [9; 32];

/// How many there are, by the guard that counts them.
async fn live_links(store: &Store, purpose: LinkPurpose, user: UserId, now: Timestamp) -> u32 {
    for most in 0.. {
        if commit(store, store.expect_links_at_most(purpose, user, now, most)).await == CommitOutcome::Committed {
            return most;
        }
    }
    unreachable!("there are not so many")
}

async fn good(store: &Store, digest: [u8; 32], now: Timestamp) -> Option<(LinkPurpose, UserId)> {
    store.link(&digest, now).await.expect("no fault")
}

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).expect("an address")
}

async fn a_link_is_good_once_and_until_it_expires(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.insert_link(&DIGEST, LinkPurpose::PasswordReset, &alice, LATER)).await;
    assert_eq!(good(&server.here, DIGEST, NOW).await, Some((LinkPurpose::PasswordReset, alice.id)));
    assert_eq!(good(&server.here, DIGEST, LATER).await, None, "expired");
    assert_eq!(good(&server.here, [8; 32], NOW).await, None, "never made");
    assert_eq!(good(&server.there, DIGEST, NOW).await, None, "of another instance");
    refused(&server.there, server.there.use_link(&DIGEST)).await;

    // The second use fails, and takes the password it came with back out.
    let use_it = |hash: &str| {
        Batch::new().with(server.here.use_link(&DIGEST)).with(server.here.set_password(&alice, &phc(hash), LATER))
    };
    assert_eq!(server.here.commit(use_it("first")).await.expect("no fault"), CommitOutcome::Committed);
    let second = server.here.commit(use_it("second")).await.expect("no fault");
    assert_eq!(second, CommitOutcome::GuardFailed { statement: 0 });
    let (_, hash) = server.here.user_by_login(&alice.login).await.expect("no fault").expect("there");
    assert_eq!(hash.expect("set").as_phc(), "first");
    assert_eq!(good(&server.here, DIGEST, NOW).await, None, "used");
}

async fn a_link_dies_with_the_epoch_of_its_user(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.insert_link(&DIGEST, LinkPurpose::SetUp, &alice, MUCH_LATER)).await;
    done(&server.here, switched(&server.here, 1, false, NOW).await).await;
    assert_eq!(good(&server.here, DIGEST, NOW).await, None);
    done(&server.here, switched(&server.here, 1, true, NOW).await).await;
    assert_eq!(good(&server.here, DIGEST, NOW).await, None, "and does not come back");
}

async fn the_dead_are_swept_and_the_living_are_counted(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await, somebody(&server.here, 2, "bob").await);
    let reset = LinkPurpose::PasswordReset;
    for (number, user, expires_at) in [(1, &alice, LATER), (2, &alice, MUCH_LATER), (3, &bob, MUCH_LATER)] {
        done(&server.here, server.here.insert_link(&[number; 32], reset, user, expires_at)).await;
    }
    let live = async |purpose: LinkPurpose, user: &User, now| live_links(&server.here, purpose, user.id, now).await;
    assert_eq!(live(reset, &alice, NOW).await, 2);
    assert_eq!(live(reset, &alice, LATER).await, 1);
    assert_eq!(live(LinkPurpose::SetUp, &alice, NOW).await, 0);
    assert_eq!(live(reset, &user(&server.here, 2).await, NOW).await, 1);
    done(&server.there, server.there.sweep_links(MUCH_LATER)).await;
    done(&server.here, server.here.sweep_links(MUCH_LATER)).await;
    assert_eq!(live(reset, &alice, Timestamp(0)).await, 1, "one of two had expired");
    assert!(good(&server.here, [2; 32], NOW).await.is_some());
}

async fn a_link_dies_with_the_address_of_its_user(place: Place) {
    let server = server(&place).await;
    let nowhere = somebody(&server.here, 1, "alice").await;
    let (reset, set_up) = (LinkPurpose::PasswordReset, LinkPurpose::SetUp);
    let insert = async |number: u8, purpose: LinkPurpose, user: &User| {
        done(&server.here, server.here.insert_link(&[number; 32], purpose, user, LATER)).await;
    };
    let change = async |user: &User, text: &str| {
        done(&server.here, server.here.set_email(user, &address(text), NOW)).await;
        self::user(&server.here, 1).await
    };
    let good = async |number: u8| good(&server.here, [number; 32], NOW).await.is_some();
    insert(1, reset, &nowhere).await;
    insert(2, set_up, &nowhere).await;
    let there = change(&nowhere, "alice@example.com").await;
    assert!(!good(1).await, "it lay where no address was");
    assert!(good(2).await, "handed over, to nobody's mailbox");
    insert(3, reset, &there).await;
    insert(4, set_up, &there).await;
    assert!(good(3).await && good(4).await);
    assert_eq!(live_links(&server.here, reset, there.id, NOW).await, 1);
    let elsewhere = change(&there, "alice@home.example").await;
    assert!(!good(3).await && !good(4).await);
    assert_eq!(live_links(&server.here, reset, there.id, NOW).await, 0, "room for new ones");
    // Whoever read the link before the address changed is too late.
    let hash = phc("of a thief");
    let batch =
        Batch::new().with(server.here.set_password(&elsewhere, &hash, LATER)).with(server.here.use_link(&[3; 32]));
    assert_eq!(server.here.commit(batch).await.expect("no fault"), CommitOutcome::GuardFailed { statement: 1 });
    let (_, kept) = server.here.user_by_login(&elsewhere.login).await.expect("no fault").expect("there");
    assert!(kept.is_none_or(|kept| kept.as_phc() != hash.as_phc()));
}

async fn people_are_found_by_their_address_in_any_case(place: Place) {
    let server = server(&place).await;
    for (number, name) in [(1, "alice"), (2, "bob"), (3, "carol")] {
        let somebody = somebody(&server.here, number, name).await;
        let kept = if name == "bob" { "Bob@Example.com" } else { "us@example.com" };
        done(&server.here, server.here.set_email(&somebody, &address(kept), NOW)).await;
    }
    let found = async |store: &Store, text: &str, most| -> Vec<UserId> {
        let users = store.users_by_email(&address(text), most).await.expect("no fault");
        users.into_iter().map(|user| user.id).collect()
    };
    assert_eq!(found(&server.here, "bOb@exAmple.com", 5).await, [user_id(2)]);
    assert_eq!(found(&server.here, "us@example.com", 5).await, [user_id(1), user_id(3)]);
    assert_eq!(found(&server.here, "us@example.com", 1).await, [user_id(1)], "so many at most");
    assert_eq!(found(&server.here, "nobody@example.com", 5).await, []);
    assert_eq!(found(&server.there, "bob@example.com", 5).await, [], "of another instance");
}

async fn an_address_is_confirmed_on_the_epoch_and_the_address_that_were_read(place: Place) {
    let server = server(&place).await;
    let before = somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.set_email(&before, &address("alice@example.com"), LATER)).await;
    let after = user(&server.here, 1).await;
    assert_eq!(after.email, Some(Email { address: "alice@example.com".to_owned(), verified: true }));
    assert_eq!((after.epoch, after.updated_at), (before.epoch, LATER), "nothing ends");
    refused(&server.here, server.here.set_email(&before, &address("eve@example.com"), LATER)).await;
    done(&server.here, server.here.set_email(&after, &address("alice@home.example"), LATER)).await;
    refused(&server.here, server.here.set_email(&after, &address("eve@example.com"), LATER)).await;
    let newest = user(&server.here, 1).await;
    done(&server.here, switched(&server.here, 1, false, LATER).await).await;
    refused(&server.here, server.here.set_email(&newest, &address("eve@example.com"), LATER)).await;
}
