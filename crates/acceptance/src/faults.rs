//! Fault injection: every [`Flow`] runs with each of its commits and reads failing in turn. After each run memory
//! equals the database, every event is sealed exactly once, no seat is lost, and every change answered with success
//! exists. After all runs of a server its audit verifies.
//!
//! A flow prepares, acts once in [`Scene::act`] while faults strike, and then checks without faults: after a success
//! its effect, after a 503 that it can be repeated. `CONTRIBUTING.md` describes how to add a flow and how to repeat a
//! case.

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
