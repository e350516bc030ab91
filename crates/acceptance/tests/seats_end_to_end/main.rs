//! `sessions.md` asked from outside: seats, timers, kills and bad weather, through the router, on real databases.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where PostgreSQL is, and wait with an end"
)]

mod nodes;
mod rules;
mod town;
mod weather;
