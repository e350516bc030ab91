//! The real binary, as an operator uses it: started, requested, stopped, killed.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where PostgreSQL is, and wait with an end"
)]

#[expect(dead_code, reason = "this helper has more than this file needs")]
#[path = "../../../store/tests/common/mod.rs"]
mod common;
mod support;

mod accounts;
mod administration;
mod applications;
mod audit;
mod demo;
mod faults;
mod hosts;
mod killed;
mod legacy;
mod postgres;
mod readiness;
mod refusals;
mod rotation;
mod secrets;
mod standby;
mod stopping;
mod terminal;
mod upgrading;
