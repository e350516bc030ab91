//! Server metadata (OIDC Discovery 1.0 §3, RFC 8414 §2).

use serde::Serialize;

/// The discovery document. "Claims with zero elements MUST be omitted" (RFC 8414 §3.2), so empty lists are not written.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a member of the document")]
pub struct ServerMetadata {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub jwks_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userinfo_endpoint: Option<String>,
    /// OIDC RP-Initiated Logout 1.0 §2.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_session_endpoint: Option<String>,
    /// RFC 7009.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// RFC 7662.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_documentation: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_types_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_modes_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grant_types_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_types_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id_token_signing_alg_values_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub code_challenge_methods_supported: Vec<&'static str>,
    /// OIDC Prompt Create 1.0 §4.1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompt_values_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ui_locales_supported: Vec<String>,
    pub claims_parameter_supported: bool,
    pub request_parameter_supported: bool,
    /// Written even if false, because its default is true.
    pub request_uri_parameter_supported: bool,
    /// RFC 9207 §3.
    pub authorization_response_iss_parameter_supported: bool,
    /// OIDC Back-Channel Logout 1.0 §2.1.
    pub backchannel_logout_supported: bool,
    pub backchannel_logout_session_supported: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8414 §3.2. A false value is written if the default is true.
    #[test]
    fn what_is_unknown_or_empty_is_left_out_and_what_is_not_supported_is_said() {
        let metadata = ServerMetadata {
            issuer: "https://erp.example.com/id".to_owned(),
            scopes_supported: vec!["openid".to_owned()],
            code_challenge_methods_supported: vec!["S256"],
            authorization_response_iss_parameter_supported: true,
            ..ServerMetadata::default()
        };
        let json = serde_json::to_value(&metadata).expect("plain");
        let members: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(
            members,
            [
                "issuer",
                "authorization_endpoint",
                "token_endpoint",
                "jwks_uri",
                "scopes_supported",
                "code_challenge_methods_supported",
                "claims_parameter_supported",
                "request_parameter_supported",
                "request_uri_parameter_supported",
                "authorization_response_iss_parameter_supported",
                "backchannel_logout_supported",
                "backchannel_logout_session_supported",
            ]
        );
        assert_eq!(json["request_uri_parameter_supported"], false);
        assert_eq!(json["code_challenge_methods_supported"], serde_json::json!(["S256"]));
    }
}
