//! `sessions.md` tested from outside: seats, timers, revocations and failures, through the router, on real databases.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where PostgreSQL is, and wait with an end"
)]

mod disturbances;
mod nodes;
mod rules;
mod town;
