//! A test server: the real product on a real database, with a clock that only tests move and seeded randomness.
//!
//! Personas send requests from outside, as browsers and applications do: [`Browser`] and [`App`].

#![allow(clippy::disallowed_methods, reason = "tests are told by the environment where PostgreSQL is")]

mod answer;
mod app;
mod browser;
mod client;
mod device;
pub mod faults;
mod fixture;
pub mod jwt;
pub mod notices;
pub mod sources;
mod test_database;
mod test_platform;
mod test_server;

pub use answer::{Form, HttpAnswer};
pub use app::{App, AuthorizationParams, TokenAnswer, VERIFIER};
pub use browser::Browser;
pub use client::{Ask, Client};
pub use device::{TestDevice, app_code};
pub use fixture::Fixture;
pub use test_database::{Backup, Created, HeldWriter, MASTER_KEY, TestDatabase, server};
pub use test_platform::{BEGINNING, TestPlatform};
pub use test_server::{AuditRow, TestServer, change_setting, switch_user};

/// Expands each `async fn(TestServer)` into a test on SQLite and a test on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($promise:ident)*) => {
        mod on_sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise($crate::TestServer::open().await).await;
            }
        )*}
        mod on_postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                if let Some(place) = $crate::TestDatabase::postgres().await {
                    super::$promise($crate::TestServer::on(place).await).await;
                }
            }
        )*}
    };
}
