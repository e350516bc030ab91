//! The text that the demo prints when it is ready. Every command works as printed, in order, in one shell.

use std::fmt::Write as _;

use demo::{password_of, people};

/// PKCE verifier of the printed sign-in. A fixed pair is fine because everything else is public too (RFC 7636 Appendix
/// B).
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) fn text(port: u16) -> String {
    let root = format!("http://localhost:{port}");
    let mut text = format!(
        "\nGatehouse is ready.\n\n\
         \x20 testdb   {root}  (also any other host name)\n\
         \x20 demodb   http://demodb.localhost:{port}\n\n\
         Sign in at {root}/id/account as\n\n"
    );
    for (login, name) in people() {
        let note = match login {
            "admin" => "administrator",
            "alice" => "reads and updates",
            "bob" => "reads",
            "carol" => "community user",
            _ => "disabled",
        };
        let _infallible = writeln!(text, "  {login:6} {:14} {name}, {note}", password_of(login));
    }
    let query = format!(
        "client_id=portal.example.com&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fportal-callback\
         &response_type=code&scope=openid%20profile%20offline_access%20read&code_challenge={CHALLENGE}\
         &code_challenge_method=S256"
    );
    let field = |name: &str| format!("sed -n 's/.*\"{name}\":\"\\([^\"]*\\)\".*/\\1/p'");
    let _infallible = write!(
        text,
        "\nTry these commands in order:\n\n\
         # Discovery documents\n\
         curl -s {root}/id/.well-known/openid-configuration\n\
         curl -s {root}/tools/auto-discovery\n\n\
         # Client credentials: a service gets a token and reads data\n\
         TOKEN=$(curl -s {root}/id/connect/token -d grant_type=client_credentials -d client_id=my.trusted.app/service \
         -d client_secret=service-secret | {access})\n\
         curl -s -H \"Authorization: Bearer $TOKEN\" '{root}/api/domain/odata/Crm_Customers?$top=10'\n\n\
         # Authorization code: a user signs in, and the code is exchanged for tokens\n\
         SIGN_IN=$(curl -s -c gatehouse-cookies.txt -o /dev/null -w '%{{redirect_url}}' \
         '{root}/id/connect/authorize?{query}')\n\
         CSRF=$(curl -s -b gatehouse-cookies.txt -c gatehouse-cookies.txt \"$SIGN_IN\" | \
         sed -n 's/.*name=\"csrf\" value=\"\\([^\"]*\\)\".*/\\1/p' | head -n 1)\n\
         CODE=$(curl -s -b gatehouse-cookies.txt -c gatehouse-cookies.txt -o /dev/null -w '%{{redirect_url}}' \
         --data-urlencode \"csrf=$CSRF\" -d login=alice -d password=ecila-Demo1 \"$SIGN_IN\" | \
         sed 's/.*[?&]code=\\([^&]*\\).*/\\1/')\n\
         TOKENS=$(curl -s {root}/id/connect/token -u portal.example.com:portal-secret -d grant_type=authorization_code \
         -d \"code=$CODE\" -d redirect_uri=http://localhost:3000/portal-callback -d code_verifier={VERIFIER})\n\
         curl -s -H \"Authorization: Bearer $(echo \"$TOKENS\" | {access})\" {root}/id/connect/userinfo\n\n\
         # Refresh the tokens\n\
         curl -s {root}/id/connect/token -u portal.example.com:portal-secret -d grant_type=refresh_token \
         -d \"refresh_token=$(echo \"$TOKENS\" | {refresh})\"\n\n\
         Press Ctrl-C to stop the demo.\n\n",
        access = field("access_token"),
        refresh = field("refresh_token"),
    );
    text
}
