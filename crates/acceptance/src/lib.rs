//! A house for tests: the real product on a real database, with a clock that stands still and dice that repeat.
//!
//! Personas ask from outside, as browsers and applications do: [`Browser`] and [`App`].

#![allow(clippy::disallowed_methods, reason = "tests are told by the environment where PostgreSQL is")]

mod answer;
mod app;
mod browser;
mod client;
mod device;
pub mod faults;
mod fixture;
mod house;
pub mod jwt;
pub mod notices;
mod place;
mod world;

pub use answer::{Answer, Form};
pub use app::{App, Asked, Tokens, VERIFIER};
pub use browser::Browser;
pub use client::{Ask, Client};
pub use device::{Device, app_code};
pub use fixture::Fixture;
pub use house::{AuditRow, TestHouse};
pub use place::{Backup, Created, Held, MASTER_KEY, Place, server};
pub use world::{BEGINNING, TestWorld};

/// Makes of each `async fn(TestHouse)` a test on SQLite and a test on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($promise:ident)*) => {
        mod on_sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise($crate::TestHouse::open().await).await;
            }
        )*}
        mod on_postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                if let Some(place) = $crate::Place::postgres().await {
                    super::$promise($crate::TestHouse::on(place).await).await;
                }
            }
        )*}
    };
}
