//! Every statement of the tables, on both databases: what is written reads back, and every guard fails when it must.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where PostgreSQL is, and wait with an end"
)]

#[path = "../common/mod.rs"]
mod common;

mod administration;
mod applications;
mod audit;
mod authorizations;
mod bounds;
mod damaged;
mod email_changes;
mod guesses;
mod instances;
mod legacy_uses;
mod links;
mod lists;
mod look;
mod pending_authorizations;
mod people;
mod sealed;
mod second_factors;
mod sessions;

use common::Place;
use model::user::PasswordHash;
use model::{InstanceId, InstanceSettings, Login, Timestamp, User, UserId, UserType};
use store::{Batch, CommitOutcome, NewUser, Statement, Store};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
const LATER: Timestamp = Timestamp(NOW.0 + 1_000_000);
const MUCH_LATER: Timestamp = Timestamp(NOW.0 + 2_000_000);

/// Two instances in one database: what one does, the other must not see.
struct TwoInstances {
    here: Store,
    there: Store,
}

async fn server(place: &Place) -> TwoInstances {
    let database = place.migrated().await;
    let instance = |number| Store::new(database.clone(), InstanceId(Uuid::from_u128(number)));
    let server = TwoInstances { here: instance(1), there: instance(2) };
    let settings = InstanceSettings::default();
    done(&server.here, server.here.insert_instance("here", &settings, vec![1, 2, 3], NOW)).await;
    done(&server.there, server.there.insert_instance("there", &settings, vec![4], NOW)).await;
    server
}

async fn commit(store: &Store, statement: Statement) -> CommitOutcome {
    store.commit(Batch::new().with(statement)).await.expect("no fault")
}

async fn done(store: &Store, statement: Statement) {
    let text = format!("{statement:?}");
    assert_eq!(commit(store, statement).await, CommitOutcome::Committed, "{text}");
}

/// The guard found another number of rows than it must, so nothing happened.
async fn refused(store: &Store, statement: Statement) {
    let text = format!("{statement:?}");
    assert_eq!(commit(store, statement).await, CommitOutcome::GuardFailed { statement: 0 }, "{text}");
}

fn login(text: &str) -> Login {
    Login::parse(text).expect("a login")
}

fn phc(text: &str) -> PasswordHash {
    PasswordHash::of_nfc(text.to_owned())
}

fn user_id(number: u128) -> UserId {
    UserId(Uuid::from_u128(number))
}

/// Somebody of whom nothing but the login matters.
async fn somebody(store: &Store, number: u128, name: &str) -> User {
    let login = login(name);
    let new = NewUser {
        id: user_id(number),
        login: &login,
        user_type: UserType::Internal,
        is_admin: false,
        enabled: true,
        name,
        email: None,
        role: None,
        password: None,
    };
    done(store, store.insert_user(&new, NOW)).await;
    user(store, number).await
}

/// The change that enables or disables a user, and ends their tokens.
async fn switched(store: &Store, number: u128, enabled: bool, now: Timestamp) -> Statement {
    let mut row = store.user_row(user_id(number)).await.expect("no fault").expect("the user is there");
    row.user.enabled = enabled;
    store.update_user(&row, true, now)
}

async fn user(store: &Store, number: u128) -> User {
    store.user(user_id(number)).await.expect("no fault").expect("the user is there")
}
