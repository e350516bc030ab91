//! Inspects tokens, and forges tokens that must be rejected.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth::jose::{Jwk, UnverifiedJws, VerifyingKey};
use serde_json::Value;

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("a JWS has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

pub fn header(token: &str) -> Value {
    part(token, 0)
}

pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The names of all claims, sorted.
pub fn claim_names(token: &str) -> Vec<String> {
    let mut names: Vec<_> = claims(token).as_object().expect("an object").keys().cloned().collect();
    names.sort();
    names
}

/// Whether the token was signed by the published key that has the token's `kid`.
pub fn is_signed_by(token: &str, jwks: &Value, typ: &str) -> bool {
    let kid = header(token)["kid"].clone();
    let found: Vec<&Value> =
        jwks["keys"].as_array().expect("a key set").iter().filter(|key| key["kid"] == kid).collect();
    let [key] = found.as_slice() else { return false };
    let key: Jwk = serde_json::from_value((*key).clone()).expect("a JWK");
    let key = VerifyingKey::from_jwk(&key).expect("a public key");
    UnverifiedJws::parse(token).expect("a JWS").verify(&key, &[typ]).is_ok()
}

/// Base64url of the left half of SHA-256 (OpenID Connect Core §3.1.3.6).
pub fn half_hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16])
}

/// `header.payload` of a forged token.
fn signing_input(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// A token with this header and these claims, and a signature that no key made.
pub fn unsigned(header: &Value, claims: &Value, signature: &[u8]) -> String {
    format!("{}.{}", signing_input(header, claims), URL_SAFE_NO_PAD.encode(signature))
}

/// A token signed with HS256 under public bytes.
pub fn under_hmac(header: &Value, claims: &Value, key: &[u8]) -> String {
    let input = signing_input(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}
