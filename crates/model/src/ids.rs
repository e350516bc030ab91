//! Names of things that live in the register. None of them is a secret.

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
    /// A [`crate::User`]; stable for the user's life, the `id` claim.
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
    /// A [`crate::reference_token::ReferenceToken`]; what the audit and the session's key say instead of its value.
    ReferenceTokenId
);
id!(
    /// A passkey that a person registered; not the credential id that the authenticator chose.
    PasskeyId
);
