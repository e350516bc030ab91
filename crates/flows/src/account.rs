//! Self-service: what users view and change in their own account.

mod attacks;
pub mod consents;
pub mod email;
pub mod links;
pub mod password;
pub(crate) mod password_reset;
pub mod pictures;
pub mod profile;
pub mod sign_ins;
pub mod tokens;
pub mod two_step;
pub mod who;

use crate::audit::{AuditedStore, InstanceAudit};
use crate::auth::Auth;
use crate::memory::Believed;
use crate::platform::InstanceInfo;
use crate::platform::outbox::InstanceMail;
use crate::platform::pool::Pool;

/// Account operations of one instance, for the account's own user.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    pub(crate) info: &'a InstanceInfo,
    pub(crate) memory: Believed<'a>,
    pub(crate) audit: &'a InstanceAudit,
    pub(crate) auth: Auth<'a>,
    pub(crate) mail: InstanceMail<'a>,
    pub(crate) image_decoder: &'a Pool,
}

/// Handles password reset requests after their HTTP requests were answered.
pub(crate) struct PasswordReset<'a> {
    pub(crate) info: &'a InstanceInfo,
    pub(crate) store: &'a AuditedStore,
    pub(crate) audit: &'a InstanceAudit,
    pub(crate) mail: InstanceMail<'a>,
}
