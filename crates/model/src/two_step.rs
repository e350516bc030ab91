//! Second factors at sign-in: authenticator apps (RFC 6238), passkeys (WebAuthn Level 2), recovery codes.

use std::time::Duration;

use oauth::secret::Presented;
use totp_rs::{Builder, Secret, Totp};

use crate::refusal::{Refusal, RefusalDetails};
use crate::session::{IdentitySession, RECENT_SIGN_IN, SignInRefusal};
use crate::throttle::Throttled;
use crate::{Timestamp, User};

/// Number of recovery codes issued together. Each is valid once.
pub const RECOVERY_CODES: usize = 10;

/// Maximum number of passkeys per user. Users have few devices; more passkeys are a mistake.
pub const MAX_PASSKEYS: u32 = 20;

/// Maximum length of a passkey's name, in characters.
pub const MAX_PASSKEY_NAME: usize = 60;

/// Marks a recovery code: `oauth::secret::Presented<RecoveryCode>`.
pub enum RecoveryCode {}

/// The secret shared with an authenticator app: 160 bits, as RFC 4226 §4 recommends. Cannot be printed.
pub struct TotpSecret(Secret);

/// Why the code of an authenticator app was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeRefusal {
    Wrong,
    /// The code was that of its time step, but this step or a later one was already used (RFC 6238 §5.2).
    Used,
}

impl TotpSecret {
    pub fn new(bytes: [u8; 20]) -> Self {
        Self(Secret::from(bytes))
    }

    /// Reads the bytes that [`Self::as_bytes`] returns.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::new)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The form that users type into an app: Base32 (RFC 4648 §6), without padding.
    pub fn to_base32(&self) -> String {
        self.0.to_base32()
    }

    pub fn from_base32(text: &str) -> Option<Self> {
        Secret::try_from_base32(text).ok().and_then(|secret| Self::from_bytes(secret.as_bytes()))
    }

    /// The `otpauth` URI that apps read from a QR code. Colons are replaced by spaces: one would end the name of the
    /// issuer or of the account.
    pub fn uri(&self, issuer: &str, login: &str) -> String {
        let totp = Builder::new()
            .with_secret(self.0.clone())
            .with_issuer(Some(issuer.replace(':', " ")))
            .with_account_name(login.replace(':', " "))
            .build_noncompliant();
        totp.to_url().expect("an account's name has no colon and is not empty")
    }

    /// Checks with HMAC-SHA-1, 6 digits, steps of 30 seconds and one step of clock skew to each side: the parameters
    /// that every app supports. Returns the time step, which must be stored as the newest used.
    pub fn check(&self, code: &str, now: Timestamp, newest_used: Option<i64>) -> Result<i64, CodeRefusal> {
        let seconds = u64::try_from(now.seconds()).map_err(|_| CodeRefusal::Wrong)?;
        let step = self.totp().check(code, seconds).ok_or(CodeRefusal::Wrong)?;
        let step = i64::try_from(step).map_err(|_| CodeRefusal::Wrong)?;
        if newest_used.is_some_and(|used| step <= used) { Err(CodeRefusal::Used) } else { Ok(step) }
    }

    fn totp(&self) -> Totp {
        Builder::new().with_secret(self.0.clone()).build_noncompliant()
    }
}

/// Removes separators from digits as users type them: "123 456".
pub fn code_as_typed(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).take(16).collect()
}

/// Crockford's Base32 alphabet: no two of its characters look alike.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A recovery code from 80 random bits: four groups of four characters. Too many to guess, so a fast digest is enough
/// to store it.
pub fn recovery_code(bytes: [u8; 10]) -> Presented<RecoveryCode> {
    let mut bits = bytes.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let mut text = [b'-'; 19];
    for place in (0..19).rev().filter(|place| place % 5 != 4) {
        text[place] = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    Presented::new(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
}

/// Reads a recovery code as copied by a user: in any case, with or without hyphens, and with letters that look like
/// digits. Returns the form of [`recovery_code`].
pub fn recovery_code_as_typed(text: &str) -> Option<Presented<RecoveryCode>> {
    let mut bytes = [0_u8; 10];
    let mut bits = 0_u128;
    let mut count = 0;
    for character in text.chars().filter(|character| !character.is_whitespace() && *character != '-') {
        let meant = match character.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let value = ALPHABET.iter().position(|known| char::from(*known) == meant)?;
        bits = (bits << 5) | value as u128;
        count += 1;
        if count > 16 {
            return None;
        }
    }
    if count < 16 {
        return None;
    }
    for byte in bytes.iter_mut().rev() {
        *byte = (bits & 0xff) as u8;
        bits >>= 8;
    }
    Some(recovery_code(bytes))
}

/// How the user authenticated at a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationMethod {
    Password,
    /// The password and the code of an authenticator app.
    Code,
    /// The password and a recovery code.
    RecoveryCode,
    /// A passkey with user verification, which is two factors by itself.
    Passkey {
        /// The passkey can be copied between devices, so it is not bound to hardware.
        synced: bool,
        after_password: bool,
    },
    /// The password, and a passkey registered in this request. A registration does not tell where the key is stored.
    NewPasskey,
}

impl AuthenticationMethod {
    /// RFC 8176 §2. It has no value for a recovery code, which counts as a one-time password.
    pub fn amr(self) -> Vec<String> {
        let key = |synced| if synced { "swk" } else { "hwk" };
        let words: &[&str] = match self {
            Self::Password => &["pwd"],
            Self::Code | Self::RecoveryCode => &["pwd", "otp", "mfa"],
            Self::Passkey { synced, after_password: true } => &["pwd", key(synced), "user", "mfa"],
            Self::Passkey { synced, after_password: false } => &[key(synced), "user", "mfa"],
            Self::NewPasskey => &["pwd", "user", "mfa"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// For the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Code => "authenticator_app",
            Self::RecoveryCode => "recovery_code",
            Self::Passkey { .. } | Self::NewPasskey => "passkey",
        }
    }
}

/// Why a passkey's response was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasskeyRefusal {
    /// The challenge is unknown, of another browser, for another purpose, or too old.
    Stale,
    /// Another response to this challenge was accepted first.
    Answered,
    Unreadable,
    /// The passkey is not registered, or not for this user.
    Unknown,
    /// The signature counter did not rise: the passkey may have been cloned (WebAuthn §6.1.1).
    CounterRegressed,
    /// Wrong signature, origin or host, or the user was not verified.
    Wrong,
}

impl Refusal for PasskeyRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Stale => "passkey_challenge_stale",
            Self::Answered => "passkey_challenge_answered",
            Self::Unreadable => "passkey_unreadable",
            Self::Unknown => "passkey_unknown",
            Self::CounterRegressed => "passkey_counter_regressed",
            Self::Wrong => "passkey_wrong",
        }
    }

    fn details(&self) -> RefusalDetails {
        match self {
            Self::Stale => {
                RefusalDetails::new("the challenge was issued for this page and has not expired", "WebAuthn §13.4.3")
            }
            Self::Answered => RefusalDetails::new("the challenge was not answered before", "WebAuthn §13.4.3"),
            Self::Unreadable => RefusalDetails::new("the answer can be read", "WebAuthn §5.1"),
            Self::Unknown => RefusalDetails::new("the passkey belongs to this user", "WebAuthn §7.2, step 6"),
            Self::CounterRegressed => {
                RefusalDetails::new("the signature counter rises with every use", "WebAuthn §6.1.1")
            }
            Self::Wrong => RefusalDetails::new(
                "signature, origin and host are right, and the user was verified",
                "WebAuthn §7.1, §7.2",
            ),
        }
    }
}

/// Why the second step of a sign-in was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondStepRefusal {
    /// The first step was too long ago or at another browser, or the user changed meanwhile. Sign-in starts again with
    /// the password.
    FirstStepStale,
    NoApp,
    WrongCode,
    CodeUsed,
    WrongRecoveryCode,
    Passkey(PasskeyRefusal),
    /// Too many recent wrong codes. The duration is the wait.
    Throttled(Duration),
    /// A client that knows the password has used up the guesses. A new password reopens the step. Until then, only
    /// known browsers may try.
    Closed(Duration),
}

impl SecondStepRefusal {
    pub const fn held(held: Throttled) -> Self {
        if held.is_spent { Self::Closed(held.wait) } else { Self::Throttled(held.wait) }
    }
}

impl Refusal for SecondStepRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::FirstStepStale => "first_step_stale",
            Self::NoApp => "no_authenticator_app",
            Self::WrongCode => "wrong_code",
            Self::CodeUsed => "code_used",
            Self::WrongRecoveryCode => "wrong_recovery_code",
            Self::Passkey(refusal) => refusal.cause(),
            Self::Throttled(_) => "second_step_throttled",
            Self::Closed(_) => "second_step_closed",
        }
    }

    fn details(&self) -> RefusalDetails {
        const TWO_STEP: &str = "docs/two-step.md";
        match self {
            Self::FirstStepStale => {
                RefusalDetails::new("the password was right at this browser, less than 10 minutes ago", TWO_STEP)
            }
            Self::NoApp => RefusalDetails::new("the user has an authenticator app", TWO_STEP),
            Self::WrongCode => RefusalDetails::new(
                "the code matches the authenticator app (one step of clock skew allowed)",
                "RFC 6238 §5.2",
            ),
            Self::CodeUsed => RefusalDetails::new("neither the code nor a later one was used", "RFC 6238 §5.2"),
            Self::WrongRecoveryCode => {
                RefusalDetails::new("the recovery code belongs to the user and is unused", TWO_STEP)
            }
            Self::Passkey(refusal) => refusal.details(),
            Self::Throttled(wait) => RefusalDetails::new("there were few recent wrong codes", TWO_STEP)
                .expected("seconds to wait", wait.as_secs() + 1),
            Self::Closed(wait) => {
                RefusalDetails::new("the limit of wrong codes from unknown browsers is not reached", TWO_STEP)
                    .expected("seconds to wait, or a new password", wait.as_secs() + 1)
            }
        }
    }
}

/// Why two-step sign-in was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwoStepRefusal {
    /// The user has a second factor, but did not prove it recently.
    SecondFactorNotProved,
    Password(SignInRefusal),
    /// The offer is too old, or was made to another browser.
    OfferStale,
    WrongCode,
    Passkey(PasskeyRefusal),
    /// The passkey is already registered at this instance.
    PasskeyTaken,
    PasskeyName,
    TooManyPasskeys,
    /// Recovery codes need a second factor, and the user has none.
    NotOn,
    /// The state changed meanwhile. The page must be reloaded.
    Overtaken,
}

/// A user with a second factor may change factors only after a recent sign-in that used one. The sign-in throttles
/// codes and accepts each only once, so other pages need not ask for them. Without a second factor, each change asks
/// for the password, the only available proof.
pub fn check_factor_change(user: &User, session: &IdentitySession, now: Timestamp) -> Result<(), TwoStepRefusal> {
    let proved = !user.has_second_factor || session.is_recent_with_second_factor(now);
    if proved { Ok(()) } else { Err(TwoStepRefusal::SecondFactorNotProved) }
}

impl Refusal for TwoStepRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::SecondFactorNotProved => "second_factor_not_proved",
            Self::Password(refusal) => refusal.cause(),
            Self::OfferStale => "offer_stale",
            Self::WrongCode => "wrong_code",
            Self::Passkey(refusal) => refusal.cause(),
            Self::PasskeyTaken => "passkey_taken",
            Self::PasskeyName => "passkey_name",
            Self::TooManyPasskeys => "too_many_passkeys",
            Self::NotOn => "two_step_is_off",
            Self::Overtaken => "overtaken",
        }
    }

    fn details(&self) -> RefusalDetails {
        const TWO_STEP: &str = "docs/two-step.md";
        match self {
            Self::SecondFactorNotProved => {
                RefusalDetails::new("the user recently signed in with the second factor", TWO_STEP)
                    .expected("seconds, at most", RECENT_SIGN_IN.as_secs())
            }
            Self::Password(refusal) => refusal.details(),
            Self::OfferStale => {
                RefusalDetails::new("the key was offered at this sign-in, less than 30 minutes ago", TWO_STEP)
            }
            Self::WrongCode => RefusalDetails::new("the code is one of the offered key", "RFC 6238 §5.2"),
            Self::Passkey(refusal) => refusal.details(),
            Self::PasskeyTaken => RefusalDetails::new("the passkey is not registered yet", "WebAuthn §7.1, step 22"),
            Self::PasskeyName => RefusalDetails::new("the name has 1 to 60 printable characters", TWO_STEP)
                .expected("most", MAX_PASSKEY_NAME),
            Self::TooManyPasskeys => {
                RefusalDetails::new("the user has fewer than the maximum number of passkeys", TWO_STEP)
                    .expected("most", MAX_PASSKEYS)
            }
            Self::NotOn => RefusalDetails::new("the user has a second factor", TWO_STEP),
            Self::Overtaken => RefusalDetails::new("the resource was not changed in the meantime", TWO_STEP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// RFC 6238 Appendix B, SHA-1: the last six of the eight digits.
    #[test]
    fn codes_are_those_of_the_specification() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.check(code, at(seconds), None), Ok(seconds / 30), "{seconds}");
            assert_eq!(secret.check(code, at(seconds + 90), None), Err(CodeRefusal::Wrong), "{seconds}");
        }
    }

    #[test]
    fn a_clock_may_be_wrong_by_one_step_to_either_side() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        let (code, step) = ("050471", 1_111_111_111 / 30);
        let starts = step * 30;
        for (seconds, accepted) in
            [(starts - 31, false), (starts - 30, true), (starts, true), (starts + 59, true), (starts + 60, false)]
        {
            assert_eq!(secret.check(code, at(seconds), None).is_ok(), accepted, "{}", seconds - starts);
        }
        assert_eq!(secret.check(code, Timestamp(-1), None), Err(CodeRefusal::Wrong), "before 1970");
    }

    #[test]
    fn a_step_is_used_once_and_none_before_it() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        let (code, step) = ("050471", 1_111_111_111 / 30);
        let check = |newest| secret.check(code, at(1_111_111_111), Some(newest));
        assert_eq!(check(step - 1), Ok(step));
        assert_eq!(check(step), Err(CodeRefusal::Used));
        assert_eq!(check(step + 1), Err(CodeRefusal::Used));
    }

    #[test]
    fn what_is_no_code_is_wrong() {
        let secret = TotpSecret::new([7; 20]);
        for text in ["", "12345", "1234567", "+12345", "12a456", "١٢٣٤٥٦"] {
            assert_eq!(secret.check(text, at(59), None), Err(CodeRefusal::Wrong), "{text:?}");
        }
        assert_eq!(code_as_typed(" 123 456\n"), "123456");
    }

    #[test]
    fn an_app_reads_the_secret_by_picture_or_by_hand() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        assert_eq!(secret.to_base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let read = TotpSecret::from_base32(&secret.to_base32()).expect("reads back");
        assert_eq!(read.as_bytes(), secret.as_bytes());
        assert!(TotpSecret::from_base32("GEZDG").is_none() && TotpSecret::from_base32("1!").is_none());
        assert_eq!(
            secret.uri("test db", "DOMAIN:bob"),
            "otpauth://totp/test%20db:DOMAIN%20bob?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=test%20db"
        );
    }

    #[test]
    fn a_recovery_code_is_read_as_people_copy_it() {
        let code = recovery_code([0, 1, 2, 3, 4, 5, 6, 7, 8, 255]);
        assert_eq!(code.expose(), "000G-40R4-0M30-E27Z");
        for typed in ["000G-40R4-0M30-E27Z", " 000g40r40m30e27z ", "OOOG 4OR4 oM3o E27Z"] {
            let read = recovery_code_as_typed(typed).unwrap_or_else(|| panic!("{typed:?}"));
            assert_eq!(read.expose(), code.expose());
        }
        for bad in ["", "000G-40R4-0M30-E27", "000G-40R4-0M30-E27ZZ", "000G-40R4-0M30-E27U", "000G_40R4_0M30_E27Z"] {
            assert!(recovery_code_as_typed(bad).is_none(), "{bad:?}");
        }
        assert_eq!(recovery_code([255; 10]).expose(), "ZZZZ-ZZZZ-ZZZZ-ZZZZ");
    }

    #[test]
    fn what_was_proved_is_told_in_the_words_of_rfc_8176() {
        let amr = |proof: AuthenticationMethod| proof.amr().join(" ");
        assert_eq!(amr(AuthenticationMethod::Password), "pwd");
        assert_eq!(amr(AuthenticationMethod::Code), "pwd otp mfa");
        assert_eq!(amr(AuthenticationMethod::RecoveryCode), "pwd otp mfa");
        assert_eq!(amr(AuthenticationMethod::Passkey { synced: false, after_password: true }), "pwd hwk user mfa");
        assert_eq!(amr(AuthenticationMethod::Passkey { synced: false, after_password: false }), "hwk user mfa");
        assert_eq!(amr(AuthenticationMethod::Passkey { synced: true, after_password: false }), "swk user mfa");
    }
}
