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
    /// SQLite only: a starting process does not continue earlier sessions.
    Restart => "restart",
    SignOut => "sign_out",
    EndedByAdministrator => "ended_by_administrator",
    /// The user was disabled, got a new password, or lost permissions.
    UserChanged => "user_changed",
    UserErased => "user_erased",
    /// Enabling two-step sign-in ends the sessions opened without it.
    TwoStepOn => "two_step_on",
    ApplicationDisabled => "application_disabled",
    TokenRevoked => "token_revoked",
    ConsentWithdrawn => "consent_withdrawn",
    /// The application released the session, and no other application used it.
    Released => "released",
    LegacySwitchedOff => "legacy_switched_off",
}
