//! Identifiers of stored records. None of them is a secret.

use std::fmt;

use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }
    };
}

id!(
    /// One issuer with its users, applications, keys and seats.
    InstanceId
);
id!(
    /// A [`crate::User`]: the `id` claim. Never changes.
    UserId
);
id!(
    /// A [`crate::TrustedApplication`]; survives a change of its `ApplicationUri`.
    ApplicationId
);
id!(
    /// One authorization of an application by a user: its code, and all refresh tokens descended from it.
    AuthorizationId
);
id!(
    /// A browser's sign-in at `/id`. Public (the `sid` claim), never a credential.
    SessionId
);
id!(
    /// An API session, opened by a token's first use.
    ApiSessionId
);
id!(
    /// A [`crate::reference_token::ReferenceToken`]. The audit and the session key name the token by this id, never by
    /// its value.
    ReferenceTokenId
);
id!(
    /// A passkey that a user registered. Not the credential id, which the authenticator chooses.
    PasskeyId
);
