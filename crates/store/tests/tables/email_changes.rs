//! Wishes to be known by another address, while the addresses are asked.

use model::email_change::{AddressSide, EmailChange};
use model::link::LinkCode;
use model::mail::EmailAddress;
use model::{Timestamp, User};
use oauth::secret::Digest;
use store::{Batch, CommitOutcome, Store};

use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, done, refused, server, somebody, user};

crate::on_both! {
    a_change_reads_back_by_its_person_and_by_either_code
    whoever_asks_again_has_changed_their_mind
    an_answer_counts_on_the_answers_that_were_read
    of_two_answers_at_once_one_looks_again
    changes_that_have_expired_are_swept
    letters_to_new_addresses_have_a_ceiling_a_day
}

fn code(number: u8) -> Digest<LinkCode> {
    Digest::from_bytes([number; 32])
}

/// With the codes of the old and of the new address.
pub(crate) fn email_change(user: &User, new: &str, [old_code, new_code]: [Option<u8>; 2]) -> EmailChange {
    EmailChange {
        user: user.id,
        user_epoch: user.epoch,
        old: user.email.as_ref().map(|email| email.address.clone()),
        new: EmailAddress::parse(new).expect("an address"),
        old_code: old_code.map(code),
        new_code: new_code.map(code),
        expires_at: LATER,
    }
}

async fn by_code(store: &Store, number: u8) -> Option<EmailChange> {
    store.email_change_by_code(&code(number)).await.expect("no fault")
}

async fn of(store: &Store, user: &User) -> Option<EmailChange> {
    store.email_change(user.id).await.expect("no fault")
}

async fn a_change_reads_back_by_its_person_and_by_either_code(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await, somebody(&server.here, 2, "bob").await);
    somebody(&server.there, 1, "alice").await;
    let change = email_change(&alice, "alice@home.example", [Some(1), Some(2)]);
    done(&server.here, server.here.put_email_change(&change)).await;
    let bare = EmailChange { old: None, ..email_change(&bob, "bob@home.example", [None, Some(3)]) };
    done(&server.here, server.here.put_email_change(&bare)).await;
    assert_eq!(
        (of(&server.here, &alice).await, of(&server.here, &bob).await),
        (Some(change.clone()), Some(bare.clone()))
    );
    assert_eq!((by_code(&server.here, 1).await, by_code(&server.here, 2).await), (Some(change.clone()), Some(change)));
    assert_eq!((by_code(&server.here, 3).await, by_code(&server.here, 4).await), (Some(bare), None));
    assert_eq!((of(&server.there, &alice).await, by_code(&server.there, 1).await), (None, None), "of another instance");
}

async fn whoever_asks_again_has_changed_their_mind(place: Place) {
    let here = server(&place).await.here;
    let alice = somebody(&here, 1, "alice").await;
    let first = email_change(&alice, "alice@home.example", [Some(1), Some(2)]);
    done(&here, here.put_email_change(&first)).await;
    let second = email_change(&alice, "alice@work.example", [Some(3), Some(4)]);
    done(&here, here.put_email_change(&second)).await;
    assert_eq!(of(&here, &alice).await, Some(second.clone()));
    assert_eq!((by_code(&here, 1).await, by_code(&here, 2).await), (None, None), "the links of before are dead");
    refused(&here, here.end_email_change(&first)).await;
    done(&here, here.end_email_change(&second)).await;
    assert_eq!(of(&here, &alice).await, None);
}

async fn an_answer_counts_on_the_answers_that_were_read(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    somebody(&server.there, 1, "alice").await;
    let asked = email_change(&alice, "alice@home.example", [Some(1), Some(2)]);
    done(&server.here, server.here.put_email_change(&asked)).await;
    let waiting = asked.agreed(AddressSide::Old).expect("the new one has not answered");
    refused(&server.there, server.there.advance_email_change(&asked, &waiting)).await;
    done(&server.here, server.here.advance_email_change(&asked, &waiting)).await;
    assert_eq!(of(&server.here, &alice).await, Some(waiting.clone()));
    assert_eq!(by_code(&server.here, 1).await, None, "each link is good once");
    refused(&server.here, server.here.advance_email_change(&asked, &waiting)).await;
    refused(&server.here, server.here.end_email_change(&asked)).await;
    refused(&server.there, server.there.end_email_change(&waiting)).await;
    done(&server.here, server.here.end_email_change(&waiting)).await;
    refused(&server.here, server.here.end_email_change(&waiting)).await;
}

/// Both have read that nobody has agreed. The second must not wait for an answer that was given.
async fn of_two_answers_at_once_one_looks_again(place: Place) {
    let here = server(&place).await.here;
    let alice = somebody(&here, 1, "alice").await;
    let asked = email_change(&alice, "alice@home.example", [Some(1), Some(2)]);
    done(&here, here.put_email_change(&asked)).await;
    let [old, new] = [AddressSide::Old, AddressSide::New].map(|side| asked.agreed(side).expect("one is left"));
    done(&here, here.advance_email_change(&asked, &old)).await;
    refused(&here, here.advance_email_change(&asked, &new)).await;
    let read = by_code(&here, 2).await.expect("it waits for this one");
    assert_eq!(read.agreed(AddressSide::New), None);
    let last = || Batch::new().with(here.set_email(&alice, &read.new, NOW)).with(here.end_email_change(&read));
    assert_eq!(here.commit(last()).await.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(here.commit(last()).await.expect("no fault"), CommitOutcome::GuardFailed { statement: 0 });
    assert_eq!(user(&here, 1).await.email.map(|email| email.address).as_deref(), Some("alice@home.example"));
}

async fn changes_that_have_expired_are_swept(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await, somebody(&server.here, 2, "bob").await);
    let late = EmailChange { expires_at: MUCH_LATER, ..email_change(&bob, "bob@home.example", [Some(3), Some(4)]) };
    done(&server.here, server.here.put_email_change(&email_change(&alice, "a@home.example", [Some(1), Some(2)]))).await;
    done(&server.here, server.here.put_email_change(&late)).await;
    done(&server.there, server.there.sweep_email_changes(MUCH_LATER)).await;
    assert!(of(&server.here, &alice).await.is_some());
    done(&server.here, server.here.sweep_email_changes(MUCH_LATER)).await;
    assert_eq!((of(&server.here, &alice).await, of(&server.here, &bob).await), (None, Some(late)));
}

async fn letters_to_new_addresses_have_a_ceiling_a_day(place: Place) {
    let server = server(&place).await;
    let (alice, bob) = (somebody(&server.here, 1, "alice").await, somebody(&server.here, 2, "bob").await);
    let (midnight, other) = (Timestamp::from_seconds(20_000 * 86_400), place.open().await);
    let other = Store::new(other, *server.here.instance());
    let at = |seconds| Timestamp::from_seconds(midnight.seconds() + seconds);
    // Ten at once on two nodes, of which four may.
    let tries = (0..10).map(|number| {
        let store = if number % 2 == 0 { server.here.clone() } else { other.clone() };
        let batch = Batch::new().with(store.count_new_address_letter(alice.id, at(number), 4));
        tokio::spawn(async move { store.commit(batch).await.expect("no fault") })
    });
    let mut counted = 0;
    for one in tries.collect::<Vec<_>>() {
        counted += u32::from(one.await.expect("no panic") == CommitOutcome::Committed);
    }
    assert_eq!(counted, 4);
    refused(&server.here, server.here.count_new_address_letter(alice.id, at(86_399), 4)).await;
    done(&server.here, server.here.count_new_address_letter(bob.id, at(1), 4)).await;
    done(&server.here, server.here.count_new_address_letter(alice.id, at(86_400), 4)).await;
}
