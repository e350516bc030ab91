use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaParameters, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Algorithm, Jwk, KeyError};

/// Maximum bytes of a compact JWS.
const MAX_JWS: usize = 16 * 1024;
/// Maximum bytes of a protected header after decoding.
const MAX_HEADER: usize = 2 * 1024;

/// A public key for one algorithm, parsed once.
#[derive(Debug)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: String,
    key: ParsedPublicKey,
}

impl VerifyingKey {
    /// The key must name its algorithm (RFC 8725 §3.1), must be for signatures and, for RSA, must have at least 2048
    /// bits (RFC 7518 §3.3). Without a `kid`, its thumbprint is used.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let algorithm = jwk.alg.ok_or(KeyError::Rejected)?;
        if jwk.use_.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Err(KeyError::Rejected);
        }
        let key = match (algorithm, jwk.kty.as_str(), jwk.crv.as_deref()) {
            (Algorithm::Es256, "EC", Some("P-256")) => {
                let point = [&[4][..], &coordinate(jwk.x.as_ref())?, &coordinate(jwk.y.as_ref())?].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| KeyError::Rejected)?
            }
            (Algorithm::EdDsa, "OKP", Some("Ed25519")) => {
                ParsedPublicKey::new(&ED25519, coordinate(jwk.x.as_ref())?).map_err(|_| KeyError::Rejected)?
            }
            (Algorithm::Rs256, "RSA", None) => rsa(jwk, &RSA_PKCS1_2048_8192_SHA256)?,
            (Algorithm::Ps256, "RSA", None) => rsa(jwk, &RSA_PSS_2048_8192_SHA256)?,
            _ => return Err(KeyError::Rejected),
        };
        let kid = jwk.kid.clone().map_or_else(|| jwk.thumbprint(), Ok)?;
        Ok(Self { algorithm, kid, key })
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether the signature over these bytes was made by this key with its algorithm.
    pub fn verify(&self, signing_input: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(signing_input, signature).is_ok()
    }
}

fn bytes(member: Option<&String>) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD.decode(member.ok_or(KeyError::Rejected)?).map_err(|_| KeyError::Rejected)
}

/// RFC 7518 §6.2.1.2: full size, including leading zeros.
fn coordinate(member: Option<&String>) -> Result<Vec<u8>, KeyError> {
    bytes(member).and_then(|bytes| if bytes.len() == 32 { Ok(bytes) } else { Err(KeyError::Rejected) })
}

fn rsa(jwk: &Jwk, parameters: &'static RsaParameters) -> Result<ParsedPublicKey, KeyError> {
    let (n, e) = (bytes(jwk.n.as_ref())?, bytes(jwk.e.as_ref())?);
    // 2048 to 8192 bits, so the top bit of 256 bytes must be set. The usual exponent has 3 bytes, no useful one over 4.
    let large_enough = n.len() > 256 || (n.len() == 256 && n[0] >= 0x80);
    if !large_enough || n.len() > 1024 || e.len() > 4 {
        return Err(KeyError::Rejected);
    }
    RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).map_err(|_| KeyError::Rejected)
}

/// Why a compact JWS is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    #[error("the token is too long")]
    TooLong,
    #[error("the token is not a compact JWS")]
    Malformed,
    #[error("the token has critical header parameters, and none is understood")]
    Critical,
    #[error("the token's algorithm is not its key's")]
    Algorithm,
    #[error("the token is of another type")]
    Type,
    #[error("the token's signature is wrong")]
    Signature,
}

/// The fields of a protected header: usable to choose a key, but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwsHeader {
    pub alg: String,
    pub kid: Option<String>,
    pub typ: Option<String>,
}

impl JwsHeader {
    fn parse(encoded: &str) -> Result<Self, JwsError> {
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| JwsError::Malformed)?;
        if json.len() > MAX_HEADER {
            return Err(JwsError::TooLong);
        }
        let members: Map<String, Value> = serde_json::from_slice(&json).map_err(|_| JwsError::Malformed)?;
        if members.contains_key("crit") {
            return Err(JwsError::Critical);
        }
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(JwsError::Malformed),
        };
        Ok(Self { alg: text("alg")?.ok_or(JwsError::Malformed)?, kid: text("kid")?, typ: text("typ")? })
    }

    /// RFC 7515 §4.1.9: a media type, possibly without `application/`.
    fn is_of(&self, types: &[&str]) -> bool {
        let Some(typ) = self.typ.as_deref() else {
            return false;
        };
        let prefix = "application/";
        let short = match typ.get(..prefix.len()) {
            Some(start) if start.eq_ignore_ascii_case(prefix) => &typ[prefix.len()..],
            _ => typ,
        };
        types.iter().any(|wanted| wanted.eq_ignore_ascii_case(short))
    }
}

/// A compact JWS that is not verified. [`Self::verify`] is the only access to the payload.
#[derive(Debug)]
pub struct UnverifiedJws<'a> {
    pub header: JwsHeader,
    signing_input: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> UnverifiedJws<'a> {
    /// RFC 7515 §5.2, steps 1 to 7.
    pub fn parse(compact: &'a str) -> Result<Self, JwsError> {
        if compact.len() > MAX_JWS {
            return Err(JwsError::TooLong);
        }
        let (signing_input, signature) = compact.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Malformed)?;
        if payload.contains('.') {
            return Err(JwsError::Malformed);
        }
        let header = JwsHeader::parse(header)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| JwsError::Malformed)?;
        Ok(Self { header, signing_input, payload, signature })
    }

    /// Returns the payload if the signature is by this key with its own algorithm (never the one in the header,
    /// RFC 8725 §3.1) and the token has one of these types (RFC 8725 §3.11).
    pub fn verify(self, key: &VerifyingKey, typ: &[&str]) -> Result<Vec<u8>, JwsError> {
        if self.header.alg != key.algorithm().as_str() {
            return Err(JwsError::Algorithm);
        }
        if !self.header.is_of(typ) {
            return Err(JwsError::Type);
        }
        if !key.verify(self.signing_input.as_bytes(), &self.signature) {
            return Err(JwsError::Signature);
        }
        URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| JwsError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::SigningKey;

    fn signer(algorithm: Algorithm) -> SigningKey {
        SigningKey::generate(algorithm).expect("the machine has randomness").0
    }

    fn verifying(signer: &SigningKey) -> VerifyingKey {
        VerifyingKey::from_jwk(&signer.public_jwk()).expect("made here")
    }

    fn with_header(header: &str, rest: &str) -> String {
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
    }

    fn verify(token: &str, key: &VerifyingKey) -> Result<Vec<u8>, JwsError> {
        UnverifiedJws::parse(token).and_then(|jws| jws.verify(key, &["at+jwt"]))
    }

    /// RFC 7515 Appendix A.3 and RFC 8037 Appendix A.4.
    #[test]
    fn the_signatures_of_the_specifications_verify() {
        let elliptic = serde_json::json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let edwards = serde_json::json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        });
        let tokens = [
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
             .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc\
             .hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ];
        for (jwk, token) in [elliptic, edwards].into_iter().zip(tokens) {
            let jwk: Jwk = serde_json::from_value(jwk).expect("a key");
            let key = VerifyingKey::from_jwk(&jwk).expect("valid");
            assert_eq!(Ok(key.kid().to_owned()), jwk.thumbprint());
            let jws = UnverifiedJws::parse(token).expect("compact");
            assert!(key.verify(jws.signing_input.as_bytes(), &jws.signature), "{token}");
            assert_eq!(verify(token, &key), Err(JwsError::Type), "neither has a typ");
        }
    }

    #[test]
    fn any_change_and_any_other_key_fail_the_signature() {
        for algorithm in Algorithm::ALL {
            let key = signer(algorithm);
            let token = key.sign("at+jwt", br#"{"sub":"alice"}"#).expect("signs");
            assert_eq!(verify(&token, &verifying(&signer(algorithm))), Err(JwsError::Signature), "{algorithm}");

            let mut parts: Vec<&str> = token.split('.').collect();
            let forged = URL_SAFE_NO_PAD.encode(r#"{"sub":"mallory"}"#);
            parts[1] = &forged;
            assert_eq!(verify(&parts.join("."), &verifying(&key)), Err(JwsError::Signature), "{algorithm}");

            let (_, rest) = token.split_once('.').expect("compact");
            let header = format!(r#"{{"alg":"{algorithm}","typ":"at+jwt"}}"#);
            assert_eq!(verify(&with_header(&header, rest), &verifying(&key)), Err(JwsError::Signature), "{algorithm}");
        }
    }

    /// RFC 8725 §2.1, §3.1.
    #[test]
    fn the_header_never_chooses_the_algorithm() {
        for algorithm in Algorithm::ALL {
            let key = signer(algorithm);
            let token = key.sign("at+jwt", b"{}").expect("signs");
            let (_, rest) = token.split_once('.').expect("compact");
            for alg in ["none", "None", "HS256", "RS256", "ES256", "PS256", "EdDSA", "", "es256"] {
                if alg != algorithm.as_str() {
                    let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt"}}"#);
                    let found = verify(&with_header(&header, rest), &verifying(&key));
                    assert_eq!(found, Err(JwsError::Algorithm), "{alg} for {algorithm}");
                }
            }
            let unsigned = with_header(r#"{"alg":"none","typ":"at+jwt"}"#, "e30.");
            assert_eq!(verify(&unsigned, &verifying(&key)), Err(JwsError::Algorithm));
        }
    }

    #[test]
    fn a_signature_of_the_other_rsa_padding_is_wrong() {
        let (pkcs1, document) = SigningKey::generate(Algorithm::Rs256).expect("the machine has randomness");
        let pss = SigningKey::from_pkcs8(Algorithm::Ps256, &document).expect("the same key");
        for (signer, other) in [(&pkcs1, &pss), (&pss, &pkcs1)] {
            let token = signer.sign("at+jwt", b"{}").expect("signs");
            let jws = UnverifiedJws::parse(&token).expect("compact");
            let (input, signature) = (jws.signing_input.as_bytes(), &jws.signature);
            assert!(verifying(signer).verify(input, signature) && !verifying(other).verify(input, signature));
        }
    }

    /// RFC 7518 §3.4: exactly R and S, 32 bytes each, never DER.
    #[test]
    fn an_es256_signature_has_64_bytes_and_no_other_form() {
        let signer = signer(Algorithm::Es256);
        let key = verifying(&signer);
        let token = signer.sign("at+jwt", b"{}").expect("signs");
        let jws = UnverifiedJws::parse(&token).expect("compact");
        let (input, good) = (jws.signing_input.as_bytes(), jws.signature.as_slice());
        assert!(good.len() == 64 && key.verify(input, good));

        let integer = |half: &[u8]| {
            let digits = &half[half.iter().take_while(|&&byte| byte == 0).count()..];
            let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
            let length = u8::try_from(sign.len() + digits.len()).expect("at most 33");
            [&[2, length], sign, digits].concat()
        };
        let body = [integer(&good[..32]), integer(&good[32..])].concat();
        let der = [&[0x30, u8::try_from(body.len()).expect("at most 70")][..], &body].concat();
        let (short, long) = (good[..63].to_vec(), [good, &[0]].concat());
        let (padded, halves) = ([&[0], &good[..32], &[0], &good[32..]].concat(), good[..32].to_vec());
        for bad in [vec![], short, long, padded, halves, der, vec![0; 64]] {
            assert!(!key.verify(input, &bad), "{} bytes", bad.len());
        }
    }

    /// RFC 7515 §4.1.9.
    #[test]
    fn a_type_is_compared_as_a_media_type() {
        let signer = signer(Algorithm::EdDsa);
        let key = verifying(&signer);
        let found = |typ: &str, wanted: &[&str]| {
            let token = signer.sign(typ, b"{}").expect("signs");
            UnverifiedJws::parse(&token).and_then(|jws| jws.verify(&key, wanted)).map(|_| ())
        };
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
            assert_eq!(found(typ, &["at+jwt"]), Ok(()), "{typ}");
        }
        assert_eq!(found("JWT", &["logout+jwt", "jwt"]), Ok(()));
        for typ in ["", "JWT", "at+jw", "at+jwtt", "text/at+jwt", "application/", "applicatioé/at+jwt"] {
            assert_eq!(found(typ, &["at+jwt"]), Err(JwsError::Type), "{typ}");
        }
        assert_eq!(found("at+jwt", &[]), Err(JwsError::Type));
    }

    #[test]
    fn what_is_no_compact_jws_is_refused_before_any_key_is_used() {
        let header = |json: &str| with_header(json, "e30.AAAA");
        let large = format!(r#"{{"alg":"ES256","x":"{}"}}"#, "x".repeat(MAX_HEADER));
        for (token, expected) in [
            (String::new(), JwsError::Malformed),
            ("a".to_owned(), JwsError::Malformed),
            ("a.b".to_owned(), JwsError::Malformed),
            ("a.b.c".to_owned(), JwsError::Malformed),
            ("..".to_owned(), JwsError::Malformed),
            (with_header(r#"{"alg":"ES256"}"#, "e30.AAAA.AAAA"), JwsError::Malformed),
            (with_header(r#"{"alg":"ES256"}"#, "e30.AA=="), JwsError::Malformed),
            (with_header(r#"{"alg":"ES256"}"#, "e30.A+/A"), JwsError::Malformed),
            (with_header(r#"{"alg":"ES256"}"#, "e30.AAB"), JwsError::Malformed),
            (r#"{"alg":"ES256"}.e30.AAAA"#.to_owned(), JwsError::Malformed),
            (header("[]"), JwsError::Malformed),
            (header("{}"), JwsError::Malformed),
            (header(r#"{"alg":1}"#), JwsError::Malformed),
            (header(r#"{"alg":null}"#), JwsError::Malformed),
            (header(r#"{"alg":"ES256","kid":7}"#), JwsError::Malformed),
            (header(r#"{"alg":"ES256","typ":[]}"#), JwsError::Malformed),
            (header(r#"{"alg":"ES256"} x"#), JwsError::Malformed),
            (header(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#), JwsError::Critical),
            (header(r#"{"alg":"ES256","crit":null}"#), JwsError::Critical),
            (header(&large), JwsError::TooLong),
            ("x".repeat(MAX_JWS + 1), JwsError::TooLong),
            ("x".repeat(MAX_JWS), JwsError::Malformed),
        ] {
            assert_eq!(UnverifiedJws::parse(&token).map(|_| ()), Err(expected), "{token:.80}");
        }
    }

    #[test]
    fn a_key_that_is_not_wholly_fit_is_rejected() {
        let elliptic = signer(Algorithm::Es256).public_jwk();
        let edwards = signer(Algorithm::EdDsa).public_jwk();
        let rsa = signer(Algorithm::Rs256).public_jwk();
        let text = |text: &str| Some(text.to_owned());
        let encoded = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let mut small = vec![0xff; 128];
        let short_n = encoded(&small);
        small.splice(0..0, [0; 128]);
        for (name, jwk) in [
            ("no algorithm", Jwk { alg: None, ..elliptic.clone() }),
            ("another use", Jwk { use_: text("enc"), ..elliptic.clone() }),
            ("another curve", Jwk { crv: text("P-384"), ..elliptic.clone() }),
            ("no curve", Jwk { crv: None, ..edwards.clone() }),
            ("another kind", Jwk { alg: Some(Algorithm::Rs256), ..elliptic.clone() }),
            ("another kind", Jwk { alg: Some(Algorithm::Es256), ..edwards.clone() }),
            ("symmetric", Jwk { kty: "oct".to_owned(), ..rsa.clone() }),
            ("off the curve", Jwk { y: elliptic.x.clone(), ..elliptic.clone() }),
            ("half a point", Jwk { y: None, ..elliptic.clone() }),
            ("short coordinate", Jwk { x: encoded(&[1; 31]), ..edwards.clone() }),
            ("long coordinate", Jwk { x: encoded(&[1; 33]), ..edwards.clone() }),
            ("padding", Jwk { x: edwards.x.clone().map(|x| x + "="), ..edwards }),
            ("1024 bits", Jwk { n: short_n, ..rsa.clone() }),
            ("1024 bits behind zeros", Jwk { n: encoded(&small), ..rsa.clone() }),
            ("too many bits", Jwk { n: encoded(&[0xff; 1025]), ..rsa.clone() }),
            ("a huge exponent", Jwk { e: encoded(&[0xff; 5]), ..rsa.clone() }),
            ("no exponent", Jwk { e: None, ..rsa.clone() }),
            ("no modulus", Jwk { n: None, ..rsa.clone() }),
        ] {
            assert_eq!(VerifyingKey::from_jwk(&jwk).map(|_| ()), Err(KeyError::Rejected), "{name}");
        }
        assert!(VerifyingKey::from_jwk(&rsa).is_ok() && VerifyingKey::from_jwk(&elliptic).is_ok());
    }
}
