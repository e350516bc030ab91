//! Every flow, with each of its commits and reads failing in turn, on both databases: the invariants of
//! `acceptance::faults` hold.

use acceptance::TestDatabase;
use acceptance::faults::{Group, run_group};

macro_rules! groups {
    ($($promise:ident: $group:ident;)*) => {
        mod on_sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::run_group(super::Group::$group, super::TestDatabase::sqlite).await;
            }
        )*}
        mod on_postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                // The template database exists as long as this value.
                if let Some(_kept) = super::TestDatabase::postgres().await {
                    let place = async || super::TestDatabase::postgres().await.expect("there is a server");
                    super::run_group(super::Group::$group, place).await;
                }
            }
        )*}
    };
}

groups! {
    signing_in_holds_whatever_fails: SignIn;
    tokens_hold_whatever_fails: Tokens;
    calls_and_seats_hold_whatever_fails: Api;
    accounts_hold_whatever_fails: People;
    the_register_holds_whatever_fails: Register;
    background_turns_hold_whatever_fails: Background;
}
