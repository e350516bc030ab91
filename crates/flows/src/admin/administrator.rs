//! The proof of being an administrator of one instance.

use model::session::SignInTooOld;
use model::user::ActiveUser;
use model::{InstanceId, Timestamp, UserId};

use crate::platform::seal::SealedSecret;
use crate::{Fault, MasterKey};

/// Proof that the caller administers this instance, and no other. There are two ways to get one: as a user of the
/// instance whose credential was checked, or with the master key, which opens the instance's root secret. No other
/// crate can name it.
#[derive(Clone, Debug)]
pub(crate) struct Administrator {
    instance: InstanceId,
    /// `None` for the operator.
    user: Option<UserId>,
    /// `auth_time` of the sign-in behind the request. `None` for machine credentials, which have no sign-in: the master
    /// key, reference tokens, client credentials.
    signed_in: Option<Timestamp>,
}

impl Administrator {
    /// The proof for a user of the instance whose credential was checked, if the user is an administrator.
    pub(crate) fn of(instance: InstanceId, user: ActiveUser<'_>, signed_in: Option<Timestamp>) -> Option<Self> {
        user.get().is_admin().then_some(Self { instance, user: Some(user.get().id), signed_in })
    }

    /// The operator at the command line. The holder of the master key may do everything, and could read everything
    /// anyway.
    pub(crate) fn operator(instance: InstanceId, root_secret: &[u8], master: &MasterKey) -> Result<Self, Fault> {
        master.open(instance, SealedSecret::RootSecret, root_secret)?;
        Ok(Self { instance, user: None, signed_in: None })
    }

    pub(crate) const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// The user that the administrator acts as. `None` for the operator.
    pub(crate) const fn user(&self) -> Option<UserId> {
        self.user
    }

    /// The actor in the audit: the user's id, because the audit stores no names.
    pub(crate) fn actor(&self) -> String {
        self.user.map_or_else(|| "operator".to_owned(), |user| user.to_string())
    }

    /// A sign-in older than [`model::session::RECENT_SIGN_IN`] is not enough for sensitive changes.
    pub(crate) fn check_recent(&self, now: Timestamp) -> Result<(), SignInTooOld> {
        self.signed_in.map_or(Ok(()), |signed_in| SignInTooOld::check(signed_in, now))
    }
}
