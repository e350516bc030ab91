//! How a request begins.

use std::net::IpAddr;

use model::Timestamp;
use model::audit::RequestId;

/// A request's id, the one reading of the clock that it gets, and the other end of its connection.
#[derive(Clone, Copy)]
pub(crate) struct RequestStart {
    pub(crate) id: RequestId,
    pub(crate) now: Timestamp,
    pub(crate) peer: IpAddr,
    /// The browser is told to come back by https only.
    pub(crate) is_https_only: bool,
}
