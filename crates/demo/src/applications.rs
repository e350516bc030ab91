//! The Trusted Applications (`demo.md` §4).

use serde_json::{Value, json};

/// Records with the documented attribute names, each with its secret in the instance `testdb`. `integration` and
/// `reader` are the ids of the system users.
pub fn applications(integration: &Value, reader: &Value) -> [(Value, Option<&'static str>); 9] {
    [
        (
            json!({
                "ApplicationUri": "my.trusted.app/first", "Name": "First Trusted App", "ClientType": "Confidential",
                "ImpersonateAsInternalUserAllowed": true, "Scope": "read update DomainApi offline_access",
                "ImpersonateLoginUrl":
                    ["https://your-app.example.com/signin-callback", "http://localhost:3000/signin-callback"],
                "ImpersonateLogoutUrl": ["http://localhost:3000/signed-out"],
            }),
            Some("first-secret"),
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/spa", "Name": "Single-page App", "ClientType": "Public",
                "ImpersonateAsInternalUserAllowed": true, "Scope": "read",
                "ImpersonateLoginUrl":
                    ["https://your-spa.example.com/index.html", "http://localhost:3000/index.html"],
                "ImpersonateLogoutUrl": ["http://localhost:3000/"],
            }),
            None,
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/native", "Name": "Field App", "ClientType": "Public",
                "ImpersonateAsInternalUserAllowed": true, "Scope": "read update", "PublicRefreshAllowed": true,
                "ImpersonateLoginUrl": ["http://127.0.0.1/callback", "com.example.fieldapp:/callback"],
            }),
            None,
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/service", "Name": "Integration", "ClientType": "Confidential",
                "SystemUserAllowed": true, "SystemUser": integration, "Scope": "read update",
                "AccessTokens": "AdministratorsOnly",
            }),
            Some("service-secret"),
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/reader", "Name": "Reader", "ClientType": "Confidential",
                "SystemUserAllowed": true, "SystemUser": reader, "Scope": "read",
            }),
            Some("reader-secret"),
        ),
        (
            json!({
                "ApplicationUri": "portal.example.com", "Name": "Customer Portal", "ClientType": "Confidential",
                "ImpersonateAsInternalUserAllowed": true, "ImpersonateAsCommunityUserAllowed": true,
                "SystemUserAllowed": true, "SystemUser": integration, "Scope": "read update", "RequireConsent": false,
                "ImpersonateLoginUrl":
                    ["https://portal.example.com/signin-callback", "http://localhost:3000/portal-callback"],
                "ImpersonateLogoutUrl": ["http://localhost:3000/portal-out"],
            }),
            Some("portal-secret"),
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/scripts", "Name": "Scripts", "ClientType": "Public",
                "Scope": "read update", "AccessTokens": "AuthenticatedUsers",
            }),
            None,
        ),
        (
            json!({
                "ApplicationUri": "legacy.client", "Name": "Legacy Client", "ClientType": "Confidential",
                "ImpersonateAsInternalUserAllowed": true, "BasicAuthenticationAllowed": true, "Scope": "read update",
            }),
            Some("legacy-secret"),
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/off", "Name": "Switched Off", "ClientType": "Confidential",
                "SystemUserAllowed": true, "SystemUser": integration, "Scope": "read update",
                "AccessTokens": "AdministratorsOnly", "IsEnabled": false,
            }),
            Some("off-secret"),
        ),
    ]
}
