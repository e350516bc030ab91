use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Timestamp;
use serde_json::{Value, json};

/// An authenticator with one passkey, and the browser that speaks for it (WebAuthn Level 2, §6). Tests can falsify its
/// answers to check that they are refused.
pub struct TestDevice {
    key: EcdsaKeyPair,
    /// PKCS #8, so that a test can save the device.
    pub private: Vec<u8>,
    pub credential: [u8; 16],
    pub user_handle: String,
    /// The signature counter that the device reports; 0 if it does not count.
    pub count: u32,
    /// The key may be synced to other devices.
    pub synced: bool,
    /// The device verified its user by fingerprint, face or PIN.
    pub verifies: bool,
    /// The origin that the browser reports.
    pub origin: String,
}

const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const HAS_CREDENTIAL: u8 = 0x40;

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn options(written: &str) -> Value {
    let options: Value = serde_json::from_str(written).expect("options are JSON");
    options["publicKey"].clone()
}

impl TestDevice {
    pub fn new(origin: &str) -> Self {
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let private = key.expect("a key can be made").as_ref().to_vec();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &private).expect("it was just made");
        let mut credential = [0; 16];
        aws_lc_rs::rand::fill(&mut credential).expect("there is randomness");
        let user_handle = String::new();
        Self {
            key,
            private,
            credential,
            user_handle,
            count: 0,
            synced: false,
            verifies: true,
            origin: origin.to_owned(),
        }
    }

    /// A saved device.
    pub fn kept(origin: &str, private: &[u8], credential: [u8; 16], user_handle: &str) -> Self {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private).expect("a key that was kept");
        let (private, user_handle) = (private.to_vec(), user_handle.to_owned());
        Self {
            key,
            private,
            credential,
            user_handle,
            count: 0,
            synced: false,
            verifies: true,
            origin: origin.to_owned(),
        }
    }

    /// Creates the passkey that a page requests. Returns the JSON that the page's script would send.
    pub fn create(&mut self, asked: &str) -> String {
        let options = options(asked);
        options["user"]["id"].as_str().expect("a user handle").clone_into(&mut self.user_handle);
        let client_data = self.client_data("webauthn.create", &options);
        let mut data = self.authenticator_data(&options["rp"]["id"], HAS_CREDENTIAL);
        data.extend([0; 16]);
        data.extend([0, 16]);
        data.extend(self.credential);
        let point = self.key.public_key().as_ref();
        // COSE (RFC 9052 §7): {1: 2, 3: -7, -1: 1, -2: x, -3: y}.
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(&point[1..33]);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(&point[33..]);
        let length = u8::try_from(data.len()).expect("short enough for one byte of length");
        // {"fmt": "none", "attStmt": {}, "authData": …}.
        let mut attestation = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        attestation.push(length);
        attestation.extend(data);
        let response = json!({ "clientDataJSON": text(client_data), "attestationObject": text(attestation) });
        self.said(&response)
    }

    /// Signs a page's challenge. Returns the JSON that the page's script would send.
    pub fn sign(&mut self, asked: &str) -> String {
        let options = options(asked);
        if self.count > 0 {
            self.count += 1;
        }
        let client_data = self.client_data("webauthn.get", &options);
        let data = self.authenticator_data(&options["rpId"], 0);
        let signed = [data.as_slice(), digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).expect("signs");
        let response = json!({
            "clientDataJSON": text(client_data), "authenticatorData": text(data), "signature": text(signature),
            "userHandle": self.user_handle,
        });
        self.said(&response)
    }

    fn said(&self, response: &Value) -> String {
        let id = text(self.credential);
        json!({ "id": id, "rawId": id, "type": "public-key", "response": response }).to_string()
    }

    fn client_data(&self, kind: &str, options: &Value) -> String {
        json!({ "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false })
            .to_string()
    }

    fn authenticator_data(&self, host: &Value, more: u8) -> Vec<u8> {
        let host = host.as_str().expect("the options name a host");
        let mut flags = PRESENT | more;
        if self.verifies {
            flags |= VERIFIED;
        }
        if self.synced {
            flags |= BACKUP_ELIGIBLE;
        }
        let mut data = digest(&SHA256, host.as_bytes()).as_ref().to_vec();
        data.push(flags);
        data.extend(self.count.to_be_bytes());
        data
    }
}

/// The code that an authenticator app shows for this key (RFC 6238), computed independently of Gatehouse.
pub fn app_code(key: &str, now: Timestamp) -> String {
    let (mut secret, mut bits, mut count) = (Vec::new(), 0_usize, 0);
    for letter in key.chars().filter(|letter| *letter != ' ') {
        let value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(letter).expect("base 32");
        (bits, count) = (((bits << 5) | value) & 0xfff, count + 5);
        if count >= 8 {
            count -= 8;
            secret.push(u8::try_from((bits >> count) & 0xff).expect("eight bits"));
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret);
    let tag = hmac::sign(&key, &(now.seconds() / 30).to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[19] & 15);
    let number: [u8; 4] = tag[offset..offset + 4].try_into().expect("four bytes");
    format!("{:06}", (u32::from_be_bytes(number) & 0x7fff_ffff) % 1_000_000)
}
