//! Whether the application and the user named by a token, a code or a refresh family are still valid.

use std::borrow::Borrow;

use crate::claims::Epochs;
use crate::refusal::{RefusalDetails, when};
use crate::{Timestamp, TrustedApplication, User, UserType};

/// Why the application or the user is not valid any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidityReason {
    ApplicationUnknown,
    ApplicationDisabled,
    /// It was disabled since, and enabled again.
    ApplicationChanged,
    UserUnknown,
    UserDisabled {
        since: Timestamp,
    },
    /// The password was changed since, or the user was disabled and enabled again.
    UserChanged {
        at: Timestamp,
    },
    /// The application no longer signs in users of this type, or no longer issues reference tokens for them.
    UserNotAdmitted(UserType),
}

impl InvalidityReason {
    pub const fn cause(self) -> &'static str {
        match self {
            Self::ApplicationUnknown => "application_unknown",
            Self::ApplicationDisabled => "application_disabled",
            Self::ApplicationChanged => "application_changed",
            Self::UserUnknown => "user_unknown",
            Self::UserDisabled { .. } => "user_disabled",
            Self::UserChanged { .. } => "user_changed",
            Self::UserNotAdmitted(_) => "user_not_admitted",
        }
    }

    pub fn details(self) -> RefusalDetails {
        const EPOCH: &str = "docs/tokens.md, What revokes tokens";
        match self {
            Self::ApplicationUnknown => RefusalDetails::new("the application is registered", "RFC 6749 §2.2"),
            Self::ApplicationDisabled => {
                RefusalDetails::new("the application is enabled", "IsEnabled of the application")
            }
            Self::ApplicationChanged => RefusalDetails::new("the application was not disabled since", EPOCH),
            Self::UserUnknown => RefusalDetails::new("the user is there", EPOCH),
            Self::UserDisabled { since } => {
                RefusalDetails::new("the user is enabled", EPOCH).expected("user last disabled or changed", when(since))
            }
            Self::UserChanged { at } => {
                RefusalDetails::new("the user's password was not changed, and the user was not disabled", EPOCH)
                    .expected("user last changed", when(at))
            }
            Self::UserNotAdmitted(user_type) => {
                RefusalDetails::new("the application allows users of this type", "ImpersonateAs…Allowed, AccessTokens")
                    .sent("user type", user_type.as_str())
            }
        }
    }
}

/// Returns the application if it is enabled and, if `epoch` is given, has this epoch.
pub fn application<A: Borrow<TrustedApplication>>(known: Option<A>, epoch: Option<i64>) -> Result<A, InvalidityReason> {
    let known = known.ok_or(InvalidityReason::ApplicationUnknown)?;
    let application: &TrustedApplication = known.borrow();
    match application {
        _ if !application.enabled => Err(InvalidityReason::ApplicationDisabled),
        _ if epoch.is_some_and(|epoch| epoch != application.epoch) => Err(InvalidityReason::ApplicationChanged),
        _ => Ok(known),
    }
}

/// Returns the user if enabled and, if `epoch` is given, of this epoch.
pub fn user<U: Borrow<User>>(known: Option<U>, epoch: Option<i64>) -> Result<U, InvalidityReason> {
    let known = known.ok_or(InvalidityReason::UserUnknown)?;
    let user: &User = known.borrow();
    match user {
        _ if !user.is_on() => Err(InvalidityReason::UserDisabled { since: user.updated_at }),
        _ if epoch.is_some_and(|epoch| epoch != user.epoch) => {
            Err(InvalidityReason::UserChanged { at: user.updated_at })
        }
        _ => Ok(known),
    }
}

/// Returns the user of an authorization if the application still admits users of this type and both epochs are
/// unchanged.
pub fn signed_in<U: Borrow<User>>(
    known: Option<U>,
    application: &TrustedApplication,
    epochs: Epochs,
) -> Result<U, InvalidityReason> {
    self::application(Some(application), Some(epochs.0))?;
    let known = user(known, Some(epochs.1))?;
    let person: &User = known.borrow();
    if application.admits(person) { Ok(known) } else { Err(InvalidityReason::UserNotAdmitted(person.user_type)) }
}

#[cfg(test)]
mod tests {
    use crate::application::tests::{PUBLIC, application as registered};
    use crate::authorize::tests::user as somebody;

    use super::*;

    #[test]
    fn whatever_happened_since_is_told_apart() {
        let (mut app, mut alice) = (registered(PUBLIC, "read"), somebody(UserType::Internal));
        let fall = |app: &TrustedApplication, user: Option<&User>| signed_in(user, app, Epochs(0, 0)).err();
        assert_eq!(fall(&app, Some(&alice)), None);
        assert_eq!(fall(&app, None), Some(InvalidityReason::UserUnknown));
        assert_eq!(
            fall(&app, Some(&somebody(UserType::ExternalCommunity))),
            Some(InvalidityReason::UserNotAdmitted(UserType::ExternalCommunity))
        );
        alice.epoch = 1;
        alice.updated_at = Timestamp(7);
        assert_eq!(fall(&app, Some(&alice)), Some(InvalidityReason::UserChanged { at: Timestamp(7) }));
        alice.enabled = false;
        assert_eq!(fall(&app, Some(&alice)), Some(InvalidityReason::UserDisabled { since: Timestamp(7) }));
        app.epoch = 1;
        assert_eq!(fall(&app, Some(&alice)), Some(InvalidityReason::ApplicationChanged));
        app.enabled = false;
        assert_eq!(fall(&app, Some(&alice)), Some(InvalidityReason::ApplicationDisabled));
        assert_eq!(application(None::<&TrustedApplication>, None).err(), Some(InvalidityReason::ApplicationUnknown));
        assert_eq!(user(Some(&somebody(UserType::Internal)), None).err(), None, "no epoch, none to differ");
    }
}
