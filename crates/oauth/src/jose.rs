//! Signing and verifying compact JWS with keys that are parsed once (RFC 7515, RFC 7517, RFC 7518, RFC 7638, RFC 8037).

mod jwk;
mod sign;
mod verify;

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

pub use jwk::Jwk;
pub use sign::SigningKey;
pub use verify::{JwsError, JwsHeader, UnverifiedJws, VerifyingKey};

/// `alg`, RFC 7518 §3.1 and RFC 8037 §3.1. `EdDSA` means Ed25519; all RSA keys have at least 2048 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "PS256")]
    Ps256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the algorithm is one of ES256, RS256, EdDSA, PS256")]
pub struct UnknownAlgorithm;

impl Algorithm {
    pub const ALL: [Self; 4] = [Self::Es256, Self::Rs256, Self::EdDsa, Self::Ps256];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text).ok_or(UnknownAlgorithm)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key is not a well-formed key of this algorithm")]
    Rejected,
    #[error("the key could not be made")]
    Generate,
    #[error("the key could not sign")]
    Sign,
}

/// `at_hash` of an access token and `c_hash` of a code (OIDC Core §3.1.3.6, §3.3.2.11): the left half of the hash that
/// belongs to the ID token's algorithm.
pub fn half_hash(algorithm: Algorithm, value: &str) -> String {
    let hash = match algorithm {
        Algorithm::Es256 | Algorithm::Rs256 | Algorithm::Ps256 => digest(&SHA256, value.as_bytes()),
        Algorithm::EdDsa => digest(&SHA512, value.as_bytes()),
    };
    let hash = hash.as_ref();
    URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_written_as_registered_and_no_other_is_known() {
        for (algorithm, text) in Algorithm::ALL.into_iter().zip(["ES256", "RS256", "EdDSA", "PS256"]) {
            assert_eq!(algorithm.to_string(), text);
            assert_eq!(text.parse(), Ok(algorithm));
            let json = serde_json::Value::from(text);
            assert_eq!(serde_json::to_value(algorithm).expect("plain"), json);
            assert_eq!(serde_json::from_value::<Algorithm>(json).expect("known"), algorithm);
        }
        for text in ["", "none", "None", "HS256", "es256", "RS512", "ES256 "] {
            assert_eq!(text.parse::<Algorithm>(), Err(UnknownAlgorithm), "{text}");
        }
    }

    /// The first is OIDC Core Appendix A.3; SHA-512 halves are 32 bytes.
    #[test]
    fn an_access_token_hash_is_the_left_half_of_the_algorithms_own_hash() {
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Ps256] {
            assert_eq!(half_hash(algorithm, token), "77QmUPtjPfzWtF2AnpK9RQ");
        }
        // FIPS 180-4: SHA-512 of "abc" begins with ddaf35a1 93617aba and its left half ends with 0a9eeee6 4b55d39a.
        assert_eq!(half_hash(Algorithm::EdDsa, "abc"), "3a81oZNherrMQXNJriBBMRLm-k6JqX6iCp7u5ktV05o");
    }
}
