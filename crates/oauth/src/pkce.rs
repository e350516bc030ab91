//! Proof Key for Code Exchange, RFC 7636, with `S256` as the only method (RFC 9700 §2.1.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::secret::Presented;

/// Marks a `code_verifier`.
pub enum CodeVerifier {}

/// `code_challenge` of method `S256`: 43 characters of base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(String);

/// `code_verifier`, RFC 7636 §4.1: 43 to 128 unreserved characters.
#[derive(Debug)]
pub struct Verifier(Presented<CodeVerifier>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PkceError {
    #[error("code_challenge_method must be S256: without it the method is plain, which is refused")]
    MethodMissing,
    #[error("code_challenge_method must be S256")]
    MethodNotS256,
    #[error("code_challenge_method was sent without code_challenge")]
    ChallengeMissing,
    #[error("code_challenge must be 43 characters of base64url: the SHA-256 of the verifier, without padding")]
    ChallengeMalformed,
    #[error("code_verifier must be 43 to 128 characters of A-Z a-z 0-9 - . _ ~")]
    VerifierMalformed,
}

impl Challenge {
    /// Parses `code_challenge` and `code_challenge_method` (RFC 7636 §4.3). `None` if both are absent: no PKCE.
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Option<Self>, PkceError> {
        match (challenge, method) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(PkceError::ChallengeMissing),
            (Some(_), None) => Err(PkceError::MethodMissing),
            (Some(text), Some("S256")) => {
                let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                if text.len() == 43 && text.bytes().all(base64url) {
                    Ok(Some(Self(text.to_owned())))
                } else {
                    Err(PkceError::ChallengeMalformed)
                }
            }
            (Some(_), Some(_)) => Err(PkceError::MethodNotS256),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Verifier {
    pub fn parse(text: &str) -> Result<Self, PkceError> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if (43..=128).contains(&text.len()) && text.bytes().all(unreserved) {
            Ok(Self(Presented::new(text)))
        } else {
            Err(PkceError::VerifierMalformed)
        }
    }

    /// RFC 7636 §4.6, in constant time.
    pub fn matches(&self, challenge: &Challenge) -> bool {
        self.challenge().0.as_bytes().ct_eq(challenge.0.as_bytes()).into()
    }

    /// The challenge of this verifier (RFC 7636 §4.2). It does not reveal the verifier.
    pub fn challenge(&self) -> Challenge {
        Challenge(URL_SAFE_NO_PAD.encode(self.0.digest().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 Appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_verifier_of_the_specification_matches_its_challenge() {
        let challenge = Challenge::parse(Some(CHALLENGE), Some("S256")).expect("valid").expect("sent");
        assert_eq!(challenge.as_str(), CHALLENGE);
        assert!(Verifier::parse(VERIFIER).expect("valid").matches(&challenge));
        assert_eq!(Verifier::parse(VERIFIER).expect("valid").challenge(), challenge);
        // The challenge itself is a well-formed verifier, and would match if the method were `plain`.
        for other in [CHALLENGE, &VERIFIER.to_lowercase(), &format!("{VERIFIER}a")] {
            assert!(!Verifier::parse(other).expect("valid").matches(&challenge), "{other}");
        }
    }

    #[test]
    fn only_s256_with_a_whole_challenge_is_accepted() {
        use PkceError::{ChallengeMalformed, ChallengeMissing, MethodMissing, MethodNotS256};
        assert_eq!(Challenge::parse(None, None), Ok(None));
        let padded = format!("{}=", &CHALLENGE[1..]);
        let standard = CHALLENGE.replace('-', "+");
        let (short, long) = (&CHALLENGE[1..], format!("{CHALLENGE}A"));
        for (challenge, method, refusal) in [
            (None, Some("S256"), ChallengeMissing),
            (Some(CHALLENGE), None, MethodMissing),
            (Some(CHALLENGE), Some("plain"), MethodNotS256),
            (Some(CHALLENGE), Some("s256"), MethodNotS256),
            (Some(CHALLENGE), Some("S512"), MethodNotS256),
            (Some(short), Some("S256"), ChallengeMalformed),
            (Some(&long), Some("S256"), ChallengeMalformed),
            (Some(&padded), Some("S256"), ChallengeMalformed),
            (Some(&standard), Some("S256"), ChallengeMalformed),
        ] {
            assert_eq!(Challenge::parse(challenge, method), Err(refusal), "{challenge:?} {method:?}");
        }
    }

    /// RFC 7636 §4.1.
    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        for text in ["a".repeat(43), "Z".repeat(128), "-._~0".repeat(10)] {
            assert!(Verifier::parse(&text).is_ok(), "{text}");
        }
        let with = |character: char| format!("{}{character}", "a".repeat(43));
        for text in
            [String::new(), "a".repeat(42), "a".repeat(129), with(' '), with('+'), with('/'), with('='), with('é')]
        {
            assert_eq!(Verifier::parse(&text).map(|_| ()), Err(PkceError::VerifierMalformed), "{text}");
        }
    }

    #[test]
    fn debugging_does_not_show_the_verifier() {
        assert_eq!(format!("{:?}", Verifier::parse(VERIFIER)), "Ok(Verifier(Presented(…)))");
    }
}
