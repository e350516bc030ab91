use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{Algorithm, Jwk, KeyError};

/// Size of generated RSA keys.
const RSA_SIZE: KeySize = KeySize::Rsa2048;

enum ParsedKey {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
}

/// A private key for one algorithm, parsed once. Signing with RSA takes a quarter of a millisecond, with the others
/// about ten microseconds.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: ParsedKey,
    public: Jwk,
    kid: String,
    /// The protected header up to the value of `typ`.
    header: String,
}

impl SigningKey {
    /// Generates a key, and returns it with its PKCS #8 encoding for storage.
    pub fn generate(algorithm: Algorithm) -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let random = SystemRandom::new();
        let document = match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .map(|document| document.as_ref().to_vec()),
            Algorithm::EdDsa => Ed25519KeyPair::generate_pkcs8v1(&random).map(|document| document.as_ref().to_vec()),
            Algorithm::Rs256 | Algorithm::Ps256 => {
                rsa::KeyPair::generate(RSA_SIZE).and_then(|pair| pair.as_der()).map(|der| der.as_ref().to_vec())
            }
        };
        let pkcs8 = Zeroizing::new(document.map_err(|_| KeyError::Generate)?);
        Ok((Self::from_pkcs8(algorithm, &pkcs8)?, pkcs8))
    }

    /// RFC 5208. A key of a type that does not match the algorithm is rejected.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let rejected = |_| KeyError::Rejected;
        let (pair, public) = match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(rejected)?;
                // SEC 1 §2.3.3: 4, then both coordinates.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let public = Jwk::elliptic("EC", "P-256", x, Some(y));
                (ParsedKey::Es256(pair), public)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
                let public = Jwk::elliptic("OKP", "Ed25519", pair.public_key().as_ref(), None);
                (ParsedKey::EdDsa(pair), public)
            }
            Algorithm::Rs256 => rsa_pair(pkcs8, &RSA_PKCS1_SHA256)?,
            Algorithm::Ps256 => rsa_pair(pkcs8, &RSA_PSS_SHA256)?,
        };
        let kid = match algorithm {
            // The same RSA key may serve both paddings, but one `kid` must mean one published key.
            Algorithm::Ps256 => format!("{}-ps256", public.thumbprint()?),
            _ => public.thumbprint()?,
        };
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"#);
        let public = Jwk { kid: Some(kid.clone()), alg: Some(algorithm), use_: Some("sig".to_owned()), ..public };
        Ok(Self { algorithm, pair, public, kid, header })
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The RFC 7638 thumbprint, with a suffix for PS256.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub fn public_jwk(&self) -> Jwk {
        self.public.clone()
    }

    /// A compact JWS (RFC 7515 §7.1) over claims in JSON.
    pub fn sign(&self, typ: &str, claims: &[u8]) -> Result<String, KeyError> {
        let typ = serde_json::Value::from(typ);
        let mut jws = String::with_capacity((self.header.len() + claims.len()) * 4 / 3 + 400);
        URL_SAFE_NO_PAD.encode_string(format!("{}{typ}}}", self.header), &mut jws);
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut jws);
        let signature = self.signature(jws.as_bytes())?;
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
        Ok(jws)
    }

    fn signature(&self, input: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            ParsedKey::Es256(pair) => pair.sign(&random, input).map(|signature| signature.as_ref().to_vec()),
            ParsedKey::EdDsa(pair) => pair.try_sign(input).map(|signature| signature.as_ref().to_vec()),
            ParsedKey::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, input, &mut signature).map(|()| signature)
            }
        }
        .map_err(|_| KeyError::Sign)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm, self.kid)
    }
}

fn rsa_pair(pkcs8: &[u8], padding: &'static dyn RsaEncoding) -> Result<(ParsedKey, Jwk), KeyError> {
    let pair = rsa::KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Rejected)?;
    let public = pair.public_key();
    let jwk = Jwk::rsa(
        public.modulus().big_endian_without_leading_zero(),
        public.exponent().big_endian_without_leading_zero(),
    );
    Ok((ParsedKey::Rsa(pair, padding), jwk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{UnverifiedJws, VerifyingKey};

    const CLAIMS: &[u8] = br#"{"sub":"alice"}"#;

    fn generate(algorithm: Algorithm) -> (SigningKey, Zeroizing<Vec<u8>>) {
        SigningKey::generate(algorithm).expect("the machine has randomness")
    }

    #[test]
    fn what_a_key_signs_its_published_key_verifies() {
        for algorithm in Algorithm::ALL {
            let (key, pkcs8) = generate(algorithm);
            let kept = SigningKey::from_pkcs8(algorithm, &pkcs8).expect("made here");
            assert_eq!((kept.kid(), kept.algorithm()), (key.kid(), algorithm));

            let published = kept.public_jwk();
            assert_eq!(published.kid.as_deref(), Some(key.kid()));
            assert_eq!((published.alg, published.use_.as_deref()), (Some(algorithm), Some("sig")));
            let verifying = VerifyingKey::from_jwk(&published).expect("made here");
            assert_eq!((verifying.kid(), verifying.algorithm()), (key.kid(), algorithm));

            let token = key.sign("at+jwt", CLAIMS).expect("signs");
            let jws = UnverifiedJws::parse(&token).expect("compact");
            assert_eq!(jws.header.alg, algorithm.as_str());
            assert_eq!(jws.header.kid.as_deref(), Some(key.kid()));
            assert_eq!(jws.header.typ.as_deref(), Some("at+jwt"));
            assert_eq!(jws.verify(&verifying, &["at+jwt"]).as_deref(), Ok(CLAIMS), "{algorithm}");
        }
    }

    #[test]
    fn rsa_keys_have_2048_bits() {
        let n = generate(Algorithm::Rs256).0.public_jwk().n.expect("RSA");
        let n = URL_SAFE_NO_PAD.decode(n).expect("made here");
        assert!(n.len() == 256 && n[0] >= 0x80);
    }

    /// One `kid` is one published key, even if one RSA key serves two algorithms.
    #[test]
    fn an_rsa_key_has_another_kid_under_each_algorithm() {
        let (pkcs1, document) = generate(Algorithm::Rs256);
        let pss = SigningKey::from_pkcs8(Algorithm::Ps256, &document).expect("the same key");
        assert_eq!(pss.public_jwk().n, pkcs1.public_jwk().n);
        assert_ne!(pss.kid(), pkcs1.kid());
        assert_eq!(pss.kid(), format!("{}-ps256", pkcs1.kid()));
    }

    #[test]
    fn a_document_of_another_kind_of_key_is_rejected() {
        let (_, elliptic) = generate(Algorithm::Es256);
        let (_, edwards) = generate(Algorithm::EdDsa);
        for algorithm in Algorithm::ALL {
            let others = [(Algorithm::Es256, &elliptic), (Algorithm::EdDsa, &edwards)];
            for (_, document) in others.into_iter().filter(|(of, _)| *of != algorithm) {
                assert!(SigningKey::from_pkcs8(algorithm, document).is_err(), "{algorithm}");
            }
            for document in [&b""[..], b"not DER", &elliptic[..elliptic.len() - 1]] {
                let refused = SigningKey::from_pkcs8(algorithm, document).map(|_| ());
                assert_eq!(refused, Err(KeyError::Rejected), "{algorithm}");
            }
        }
    }

    #[test]
    fn a_type_cannot_break_out_of_the_header() {
        let (key, _) = generate(Algorithm::EdDsa);
        let token = key.sign(r#"x","alg":"none"#, CLAIMS).expect("signs");
        let jws = UnverifiedJws::parse(&token).expect("compact");
        assert_eq!(jws.header.alg, "EdDSA");
        assert_eq!(jws.header.typ.as_deref(), Some(r#"x","alg":"none"#));
    }

    #[test]
    fn debugging_shows_algorithm_and_kid_only() {
        let (key, _) = generate(Algorithm::EdDsa);
        assert_eq!(format!("{key:?}"), format!("SigningKey(EdDSA {})", key.kid()));
    }
}
