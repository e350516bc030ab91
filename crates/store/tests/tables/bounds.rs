//! What one user may have a number of stays below it, whoever was looking when.

use model::link::LinkPurpose;
use model::reference_token::{ReferenceToken, ReferenceTokenKind, draw};
use model::{ApplicationId, PasskeyId, ReferenceTokenId, Rng, Timestamp, User};
use oauth::scope::Scope;
use serde_json::json;
use store::{Batch, CommitOutcome, Statement, Store, StoredPasskey};
use uuid::Uuid;

use crate::applications::application;
use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, done, server, somebody, switched};

crate::on_both! {
    two_who_saw_room_for_one_are_not_both_let_in
    who_is_not_as_they_were_gets_nothing
}

const MOST: u32 = 3;

struct Count(u8);

impl Rng for Count {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn token(user: &User, number: u8) -> ReferenceToken {
    ReferenceToken {
        id: ReferenceTokenId(Uuid::from_u128(number.into())),
        kind: ReferenceTokenKind::Personal,
        digest: draw(&mut Count(number)).digest(),
        tail: "1234".to_owned(),
        application: ApplicationId(Uuid::from_u128(1)),
        user: user.id,
        description: String::new(),
        scope: Scope::parse("read").expect("a scope"),
        created_by: String::new(),
        created_at: NOW,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

fn passkey(user: &User, number: u8) -> StoredPasskey {
    StoredPasskey {
        id: PasskeyId(Uuid::from_u128(number.into())),
        user: user.id,
        credential: vec![number],
        name: String::new(),
        record: "{}".to_owned(),
        created_at: NOW,
        last_used_at: None,
    }
}

/// The statement that makes one more, and the guard.
fn one_more(store: &Store, what: usize, user: &User, number: u8) -> [Statement; 2] {
    let until: Timestamp = MUCH_LATER;
    match what {
        0 => [store.insert_reference_token(&token(user, number)), store.expect_personal_tokens_at_most(user.id, MOST)],
        1 => [store.insert_passkey(&passkey(user, number)), store.expect_passkeys_at_most(user.id, MOST)],
        _ => [
            store.insert_link(&[number; 32], LinkPurpose::PasswordReset, user, until),
            store.expect_links_at_most(LinkPurpose::PasswordReset, user.id, LATER, MOST),
        ],
    }
}

fn batch(store: &Store, what: usize, user: &User, number: u8) -> Batch {
    let mut batch = Batch::new().with(store.hold_user(user));
    batch.extend(one_more(store, what, user, number));
    batch
}

/// Each batch is made by who has seen that there is room, before either is committed; both wait for the user's row.
async fn two_who_saw_room_for_one_are_not_both_let_in(place: Place) {
    let server = server(&place).await;
    done(&server.here, server.here.insert_application(&application("my.app", 1, None, &json!({})), NOW)).await;
    for what in 0..3 {
        let name = format!("user-{what}");
        let user = somebody(&server.here, 10 + what as u128, &name).await;
        let base = u8::try_from(10 * what).expect("small");
        for number in 1..MOST {
            let number = base + u8::try_from(number).expect("small");
            let made = server.here.commit(batch(&server.here, what, &user, number)).await.expect("no fault");
            assert_eq!(made, CommitOutcome::Committed, "{name}");
        }
        let (one, other) = (batch(&server.here, what, &user, base + 8), batch(&server.here, what, &user, base + 9));
        let held = match place.path() {
            Some(_) => None,
            None => Some(hold(&place, &user).await),
        };
        let both = async { tokio::join!(server.here.commit(one), server.here.commit(other)) };
        let release = async {
            if let Some(client) = &held {
                until_two_wait(&place.client().await).await;
                client.batch_execute("COMMIT").await.expect("nothing was changed");
            }
        };
        let ((one, other), ()) = tokio::join!(both, release);
        let mut outcomes = [one.expect("no fault"), other.expect("no fault")];
        outcomes.sort_by_key(|outcome| *outcome != CommitOutcome::Committed);
        assert_eq!(outcomes, [CommitOutcome::Committed, CommitOutcome::GuardFailed { statement: 2 }], "{name}");
        let full = server.here.commit(batch(&server.here, what, &user, base + 7)).await.expect("no fault");
        assert_eq!(full, CommitOutcome::GuardFailed { statement: 2 }, "{name}");
    }
}

async fn hold(place: &Place, user: &User) -> tokio_postgres::Client {
    let client = place.client().await;
    let lock = format!("BEGIN; SELECT 1 FROM users WHERE id = '{}' FOR UPDATE", user.id.0);
    client.batch_execute(&lock).await.expect("nobody else has it");
    client
}

/// By a client of its own: within a transaction the server shows its activity as it was at first.
async fn until_two_wait(client: &tokio_postgres::Client) {
    let waiting = "SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                   WHERE NOT l.granted AND a.datname = current_database()";
    let waits = async {
        while client.query(waiting, &[]).await.expect("the server answers").len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), waits).await.expect("both wait for the row");
}

async fn who_is_not_as_they_were_gets_nothing(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    done(&server.here, switched(&server.here, 1, false, NOW).await).await;
    for what in 1..3 {
        let made = server.here.commit(batch(&server.here, what, &alice, 1)).await.expect("no fault");
        assert_eq!(made, CommitOutcome::GuardFailed { statement: 0 });
    }
}
