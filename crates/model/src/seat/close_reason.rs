//! Why an API session was closed, as the database, the audit and the metrics name it.

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $variant:ident => $text:literal),+ $(,)?) => {
        /// Why an API session was closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum CloseReason { $($(#[$doc])* $variant),+ }

        impl CloseReason {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// `None` for a reason of a newer version.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

close_reasons! {
    /// Idle for too long, or at the end of its lifetime.
    Timer => "timer",
    /// SQLite only: a process that starts serves none of the sessions before.
    Restart => "restart",
    SignOut => "sign_out",
    EndedByAdministrator => "ended_by_administrator",
    /// Disabled, a new password, or fewer permissions.
    UserChanged => "user_changed",
    UserErased => "user_erased",
    /// The first second factor ends what was opened without it.
    TwoStepOn => "two_step_on",
    ApplicationDisabled => "application_disabled",
    TokenRevoked => "token_revoked",
    ConsentWithdrawn => "consent_withdrawn",
    /// The application left the session by itself, and no other used it.
    Released => "released",
    LegacySwitchedOff => "legacy_switched_off",
}
