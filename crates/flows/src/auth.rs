//! Authentication: passwords, second factors, throttling of guesses, credentials, and the browser session.

pub mod browser_session;
pub(crate) mod consents;
pub(crate) mod credentials;
pub mod devices;
pub mod forms;
pub mod guesses;
pub mod links;
pub mod passkeys;
pub(crate) mod passwords;
pub mod pending_authorizations;
pub(crate) mod reference_tokens;
pub(crate) mod reset_requests;
pub mod second_step;
pub mod sign_in;
pub mod strength;
pub(crate) mod throttle;

use std::sync::Arc;

use parking_lot::Mutex;

use self::passkeys::RelyingParty;
pub use self::passwords::{AcceptedPassword, HashingTurn, Passwords};
use self::pending_authorizations::PendingAuthorizations;
use self::reset_requests::ResetQueue;
use self::throttle::{FailureHistory, Throttle};
use crate::audit::InstanceAudit;
use crate::memory::Believed;
use crate::platform::InstanceInfo;
use crate::platform::outbox::InstanceMail;

/// Authentication state of one instance.
pub(crate) struct AuthState {
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) throttle: Arc<Throttle>,
    /// Password reset requests, counted as failed sign-ins are.
    pub(crate) reset_failures: Mutex<FailureHistory>,
    pub(crate) reset_queue: ResetQueue,
    pub(crate) relying_party: Option<RelyingParty>,
}

/// Authentication at one instance.
#[derive(Clone, Copy)]
pub struct Auth<'a> {
    pub(crate) info: &'a InstanceInfo,
    pub(crate) state: &'a AuthState,
    pub(crate) memory: Believed<'a>,
    pub(crate) audit: &'a InstanceAudit,
    pub(crate) mail: InstanceMail<'a>,
}

impl<'a> Auth<'a> {
    const fn pending_authorizations(&self) -> PendingAuthorizations<'a> {
        PendingAuthorizations { memory: self.memory }
    }
}
