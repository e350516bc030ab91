//! Faults on purpose: every [`Flow`] is run with each of its commits and reads failing in turn, and after each run memory
//! is what the database is, everything is sealed once, no seat is lost, and what was answered with success is there. After
//! all runs of a house its audit verifies.
//!
//! A flow prepares, acts once by [`Scene::act`] while faults strike, and then looks, without faults, at what holds: after a
//! success its effect, after a 503 that the same can be done again. `CONTRIBUTING.md` says how to add one and how to repeat
//! a case.

mod api;
mod background;
mod flow;
mod matrix;
mod people;
mod register;
mod scene;
mod sign_in;
mod stage;
mod tokens;
mod watch;

pub use flow::{Flow, Group, all};
pub use matrix::{run_group, shown};
pub use scene::{Acted, Scene};
pub use stage::Stage;
pub use watch::Watch;
