//! The five invariants of `sessions.md`, and the limits per user and application, over random histories of callers,
//! nodes, clocks, crashes and revocations.
//!
//! Nodes decide with the product's own functions (`model::seat`). Their shared database is a model of the store's
//! statements, with their guards and changes. The store's tests check the statements themselves.

mod database;
mod histories;
mod laws;
mod nodes;
mod town;
