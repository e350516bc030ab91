//! How hard a password is to guess, estimated offline.
//!
//! The estimate is zxcvbn's (Wheeler, USENIX Security 2016): the number of guesses of an attacker who knows how people
//! choose passwords. Among other lists it holds the 30 000 passwords most frequent in leaks. A password from that list
//! is rejected as common, also if it is reversed or uses the usual substitutions.

use std::fmt;

use zxcvbn::Score;
use zxcvbn::matching::patterns::MatchPattern;

/// NIST SP 800-63B §5.1.1.2, in characters.
const MIN_PASSWORD_CHARACTERS: usize = 8;

/// Longer passwords are neither stored nor compared: anybody can request this work.
pub(crate) const MAX_PASSWORD_BYTES: usize = 1024;

/// Characters that are estimated: the work grows faster than the length, and further characters only add strength.
const LOOKED_AT: usize = 64;

/// Minimum score: 10⁸ guesses, for which an attacker with a stolen Argon2id hash needs weeks.
const LEAST: Score = Score::Three;

/// Why a new password is rejected. Pages have a text for each; the [`Display`](fmt::Display) is for programs and the
/// command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    Empty,
    TooShort,
    /// Longer than anybody types. Anybody can request the work of hashing it.
    TooLong,
    /// Among the passwords most frequent in leaks, or a word of the lists that attackers try with them.
    Common,
    /// Equal or similar to the user's login, name or address.
    AboutYou,
    /// Guessed within so many powers of ten of guesses.
    Guessable(u32),
}

impl Weakness {
    /// An operator may override these, but not the length limits.
    pub(crate) const fn may_be_overridden(self) -> bool {
        !matches!(self, Self::Empty | Self::TooLong)
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the password is empty; use at least {MIN_PASSWORD_CHARACTERS} characters"),
            Self::TooShort => write!(f, "the password is too short; use at least {MIN_PASSWORD_CHARACTERS} characters"),
            Self::TooLong => write!(f, "the password is too long; use at most {MAX_PASSWORD_BYTES} bytes"),
            Self::Common => f.write_str("the password is too common; choose another"),
            Self::AboutYou => f.write_str("the password is too similar to the user's login, name or e-mail address"),
            Self::Guessable(tens) => {
                write!(f, "the password can be guessed in about 10^{tens} attempts; add a word or two")
            }
        }
    }
}

/// `about` lists what others know of the user: login, name, address. All texts are in NFC.
pub(crate) fn weakness(shown: &str, about: &[&str]) -> Option<Weakness> {
    if shown.is_empty() {
        return Some(Weakness::Empty);
    }
    if shown.chars().count() < MIN_PASSWORD_CHARACTERS {
        return Some(Weakness::TooShort);
    }
    if shown.len() > MAX_PASSWORD_BYTES {
        return Some(Weakness::TooLong);
    }
    let looked_at: String = shown.chars().take(LOOKED_AT).collect();
    let parts = about.iter().flat_map(|text| text.split([' ', '@', '.'])).chain(about.iter().copied());
    let about: Vec<&str> = parts.filter(|part| part.chars().count() > 2).collect();
    let estimate = zxcvbn::zxcvbn(&looked_at, &about);
    if estimate.score() >= LEAST {
        return None;
    }
    let listed = match estimate.sequence() {
        [whole] => match &whole.pattern {
            MatchPattern::Dictionary(found) => Some(&found.matched_word),
            _ => None,
        },
        _ => None,
    };
    Some(match listed {
        Some(word) if about.iter().any(|known| known.to_lowercase() == *word) => Weakness::AboutYou,
        Some(_) => Weakness::Common,
        None => Weakness::Guessable(tens(estimate.guesses())),
    })
}

/// The decimal logarithm, rounded down.
fn tens(guesses: u64) -> u32 {
    guesses.checked_ilog10().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(password: &str) -> Option<Weakness> {
        weakness(password, &["alice", "Alice Archer", "alice@example.com"])
    }

    #[test]
    fn a_password_of_the_lists_is_refused_however_it_is_dressed_up() {
        for common in ["password", "Password", "drowssap", "p@ssw0rd", "qwertyuiop", "1qaz2wsx", "trustno1", "iloveyou"]
        {
            assert_eq!(of(common), Some(Weakness::Common), "{common}");
        }
    }

    #[test]
    fn a_password_that_others_guess_is_refused() {
        for guessable in ["aaaaaaaaaaaa", "abcdefgh", "20011224", "password1", "Summer2026"] {
            assert!(matches!(of(guessable), Some(Weakness::Guessable(_) | Weakness::Common)), "{guessable}");
        }
        assert_eq!(of("Alice Archer"), Some(Weakness::AboutYou));
        assert!(of("alicearcher").is_some());
        assert_eq!(of(""), Some(Weakness::Empty));
        assert_eq!(of("short"), Some(Weakness::TooShort));
        assert_eq!(of("äöüäöüä"), Some(Weakness::TooShort), "characters count, not bytes");
        assert_eq!(of(&"correct horse ".repeat(100)), Some(Weakness::TooLong));
    }

    #[test]
    fn a_good_password_passes_in_any_alphabet_and_length() {
        for good in
            ["lantern-otter-quill", "много дълга парола за мен", "k7$Vq2!mZp", &"correct horse battery ".repeat(20)]
        {
            assert_eq!(of(good), None, "{good}");
        }
    }
}
