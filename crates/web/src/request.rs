//! What every door needs of a request: its context, cookies, body and person; and how answers are rendered.

pub(crate) mod body;
pub(crate) mod context;
pub(crate) mod cors;
pub(crate) mod documents;
pub(crate) mod extract;
pub(crate) mod failures;
pub(crate) mod headers;
pub(crate) mod latencies;
pub(crate) mod malformed;
pub(crate) mod overdue;
pub(crate) mod render;
pub(crate) mod scope;
pub(crate) mod signed_in_user;
pub(crate) mod start;
pub mod traces;
