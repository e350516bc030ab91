//! Protocol endpoints: OAuth 2.0, OpenID Connect, the API guard and the legacy schemes.

pub mod authorize;
mod codes;
pub mod exchange;
pub mod guard;
pub mod legacy;
pub mod revocation;
pub mod sign_out;

use crate::audit::InstanceAudit;
use crate::auth::Auth;
use crate::memory::Believed;
use crate::platform::InstanceInfo;
use crate::seats::Seats;

/// The protocol endpoints of one instance.
#[derive(Clone, Copy)]
pub struct Protocol<'a> {
    pub(crate) info: &'a InstanceInfo,
    pub(crate) memory: Believed<'a>,
    pub(crate) audit: &'a InstanceAudit,
    pub(crate) auth: Auth<'a>,
    pub(crate) seats: Seats<'a>,
}
