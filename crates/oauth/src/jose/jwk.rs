use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Algorithm, KeyError};
use crate::secret::sha256;

/// A public key as JSON (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). It has no members for private key data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    pub kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<Algorithm>,
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub use_: Option<String>,
}

impl Jwk {
    /// RFC 7638 §3: SHA-256 over the required members of the key, in lexical order, in base64url.
    pub fn thumbprint(&self) -> Result<String, KeyError> {
        let value = |member: &Option<String>| member.clone().ok_or(KeyError::Rejected);
        let members = match self.kty.as_str() {
            "EC" => vec![
                ("crv", value(&self.crv)?),
                ("kty", self.kty.clone()),
                ("x", value(&self.x)?),
                ("y", value(&self.y)?),
            ],
            "OKP" => vec![("crv", value(&self.crv)?), ("kty", self.kty.clone()), ("x", value(&self.x)?)],
            "RSA" => vec![("e", value(&self.e)?), ("kty", self.kty.clone()), ("n", value(&self.n)?)],
            _ => return Err(KeyError::Rejected),
        };
        // Valid members need no JSON escapes. A key with other characters in a member is refused.
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !members.iter().all(|(_, value)| plain(value)) {
            return Err(KeyError::Rejected);
        }
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        Ok(URL_SAFE_NO_PAD.encode(sha256(format!("{{{}}}", members.join(",")).as_bytes())))
    }

    pub(super) fn elliptic(kty: &str, crv: &str, x: &[u8], y: Option<&[u8]>) -> Self {
        Self {
            crv: Some(crv.to_owned()),
            x: Some(URL_SAFE_NO_PAD.encode(x)),
            y: y.map(|y| URL_SAFE_NO_PAD.encode(y)),
            ..Self::bare(kty)
        }
    }

    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Self {
        Self { n: Some(URL_SAFE_NO_PAD.encode(n)), e: Some(URL_SAFE_NO_PAD.encode(e)), ..Self::bare("RSA") }
    }

    fn bare(kty: &str) -> Self {
        Self { kty: kty.to_owned(), crv: None, x: None, y: None, n: None, e: None, kid: None, alg: None, use_: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwk(json: serde_json::Value) -> Jwk {
        serde_json::from_value(json).expect("a key")
    }

    /// RFC 7638 §3.1 and RFC 8037 Appendix A.3.
    #[test]
    fn thumbprints_are_those_of_the_specifications() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3\
                 oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA\
                 ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-\
                 kEgU8awapJzKnqDKgw";
        let rsa = jwk(serde_json::json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}));
        assert_eq!(rsa.thumbprint().as_deref(), Ok("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
        let edwards = jwk(serde_json::json!(
            {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
        ));
        assert_eq!(edwards.thumbprint().as_deref(), Ok("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    }

    #[test]
    fn a_key_that_lacks_what_makes_it_has_no_thumbprint() {
        for json in [
            serde_json::json!({"kty": "RSA", "n": "AQAB"}),
            serde_json::json!({"kty": "EC", "crv": "P-256", "x": "AQAB"}),
            serde_json::json!({"kty": "OKP", "x": "AQAB"}),
            serde_json::json!({"kty": "oct"}),
            serde_json::json!({"kty": "RSA", "n": "A\"B", "e": "AQAB"}),
        ] {
            assert_eq!(jwk(json.clone()).thumbprint(), Err(KeyError::Rejected), "{json}");
        }
    }

    #[test]
    fn private_members_are_neither_kept_nor_written() {
        let key = jwk(serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAB", "d": "secret", "use": "sig"}));
        let json = serde_json::to_string(&key).expect("plain");
        assert_eq!(json, r#"{"kty":"OKP","crv":"Ed25519","x":"AQAB","use":"sig"}"#);
    }
}
