//! The start of a request.

use std::net::IpAddr;

use model::Timestamp;
use model::audit::RequestId;

/// A request's id, its one clock reading, and the peer address of its connection.
#[derive(Clone, Copy)]
pub(crate) struct RequestStart {
    pub(crate) id: RequestId,
    pub(crate) now: Timestamp,
    pub(crate) peer: IpAddr,
    /// The answer carries `Strict-Transport-Security`.
    pub(crate) is_https_only: bool,
}
