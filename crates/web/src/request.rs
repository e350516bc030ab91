//! Reading a request (context, headers, cookies, body, signed-in user) and rendering its answer.

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
