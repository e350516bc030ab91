//! Discovery document and key set: rendered once per key ring, served as bytes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use flows::Instance;
use flows::memory::KeyRing;
use oauth::authorize::{ResponseMode, ResponseType};
use oauth::metadata::ServerMetadata;
use parking_lot::RwLock;

use crate::request::headers::entity_tag;

pub(crate) struct PreparedDocument {
    keys: Arc<KeyRing>,
    pub(crate) discovery: Document,
    pub(crate) jwks: Document,
}

#[derive(Clone)]
pub(crate) struct Document {
    pub(crate) bytes: Bytes,
    pub(crate) tag: http::HeaderValue,
}

impl Document {
    fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let tag = http::HeaderValue::try_from(entity_tag(&bytes)).expect("a tag is base64url in quotes");
        Self { bytes, tag }
    }
}

#[derive(Default)]
pub(crate) struct Documents(RwLock<HashMap<String, Arc<PreparedDocument>>>);

impl Documents {
    pub(crate) fn of(&self, instance: &Instance) -> Arc<PreparedDocument> {
        let keys = instance.published_keys();
        if let Some(known) = self.0.read().get(&instance.info.name).filter(|known| Arc::ptr_eq(&known.keys, &keys)) {
            return Arc::clone(known);
        }
        let discovery = serde_json::to_vec(&metadata(instance, &keys)).expect("metadata is strings and flags");
        let jwks = Document::new(Bytes::copy_from_slice(&keys.jwks()));
        let prepared =
            Arc::new(PreparedDocument { discovery: Document::new(discovery), jwks, keys: Arc::clone(&keys) });
        self.0.write().insert(instance.info.name.clone(), Arc::clone(&prepared));
        prepared
    }
}

/// The discovery document. It lists only implemented features (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).
fn metadata(instance: &Instance, keys: &KeyRing) -> ServerMetadata {
    let at = |path: &str| format!("{}{path}", instance.info.issuer);
    ServerMetadata {
        issuer: instance.info.issuer.clone(),
        authorization_endpoint: at("/connect/authorize"),
        token_endpoint: at("/connect/token"),
        jwks_uri: at("/.well-known/openid-configuration/jwks"),
        userinfo_endpoint: Some(at("/connect/userinfo")),
        revocation_endpoint: Some(at("/connect/revocation")),
        introspection_endpoint: Some(at("/connect/introspect")),
        end_session_endpoint: Some(at("/connect/endsession")),
        scopes_supported: [
            "openid",
            "profile",
            "email",
            "offline_access",
            "read",
            "update",
            "sec",
            "manage",
            "DomainApi",
        ]
        .map(str::to_owned)
        .to_vec(),
        response_types_supported: ResponseType::ALL.map(ResponseType::as_str).to_vec(),
        response_modes_supported: ResponseMode::ALL.map(ResponseMode::as_str).to_vec(),
        grant_types_supported: vec!["authorization_code", "client_credentials", "refresh_token"],
        subject_types_supported: vec!["public"],
        id_token_signing_alg_values_supported: keys
            .algorithms()
            .into_iter()
            .map(oauth::jose::Algorithm::as_str)
            .collect(),
        token_endpoint_auth_methods_supported: vec!["client_secret_basic", "client_secret_post", "none"],
        revocation_endpoint_auth_methods_supported: vec!["client_secret_basic", "client_secret_post", "none"],
        introspection_endpoint_auth_methods_supported: vec!["client_secret_basic", "client_secret_post"],
        code_challenge_methods_supported: vec!["S256"],
        prompt_values_supported: vec!["none", "login", "consent", "select_account"],
        claims_supported: vec![
            "sub",
            "iss",
            "aud",
            "exp",
            "iat",
            "auth_time",
            "nonce",
            "sid",
            "amr",
            "at_hash",
            "name",
            "preferred_username",
            "locale",
            "updated_at",
            "email",
            "email_verified",
        ],
        authorization_response_iss_parameter_supported: true,
        ..ServerMetadata::default()
    }
}
