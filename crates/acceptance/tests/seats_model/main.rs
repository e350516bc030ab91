//! The five invariants of `sessions.md`, and the ceilings of users and applications, over random histories of callers, nodes, clocks, crashes and kills.
//!
//! Nodes decide with what the product decides with (`model::seat`); the database they share is modelled: what the
//! statements of the store guard and change. That the statements do so is tested with the store.

mod database;
mod histories;
mod laws;
mod nodes;
mod town;
