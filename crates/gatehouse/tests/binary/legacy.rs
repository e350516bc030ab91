//! Legacy schemes enabled, reported and disabled by commands beside a running server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::http::Site;
use crate::support::installation::{Installation, erp};
use crate::support::{SOON, until};

const PASSWORD: &str = "correct horse battery";

fn call(site: Site, authorization: &str) -> u16 {
    let headers = [("Authorization", authorization), ("X-Application-Uri", "old/excel")];
    site.get("/api/domain/odata/Crm_Customers?$top=1", &headers).status
}

#[test]
fn an_operator_switches_the_legacy_schemes_off_with_knowledge() {
    let installation = Installation::new();
    installation.create_erp();
    installation.run_with(&["user", "set-password", "admin"], &format!("{PASSWORD}\n")).done();
    for uri in ["old/excel", "old/unused"] {
        installation.create_app(&json!({
            "ApplicationUri": uri, "Name": "An old client", "ClientType": "Public", "Scope": "read",
            "ImpersonateAsInternalUserAllowed": true, "BasicAuthenticationAllowed": true,
        }));
    }
    let server = installation.serve();
    let site = erp(&server);
    let basic = format!("Basic {}", STANDARD.encode(format!("admin:{PASSWORD}")));
    assert_eq!(call(site, &basic), 401, "off unless switched on");
    let text = installation.run(&["report", "legacy"]).done();
    assert!(text.contains("are disabled") && text.contains("They have not been used"), "{text}");

    installation.run(&["instance", "set", "erp", "legacy_schemes=true"]).done();
    until("Basic is on", SOON, || call(site, &basic) == 200);
    let login = json!({ "user": "admin", "pass": PASSWORD, "app": "old/excel" });
    let session = site.post_json("/api/domain/login", &login).member("authorization");
    assert_eq!(call(site, &session), 200);

    let report = || installation.json(&["report", "legacy"]);
    let scheme = |report: &Value, scheme: &str| {
        let all = report["applications"].as_array().expect("a list");
        all.iter().find(|one| one["scheme"] == scheme).cloned().unwrap_or_default()
    };
    until("uses are written down", SOON, || scheme(&report(), "ErpLogin")["uses"] == 2);
    let uses = report();
    assert_eq!(
        (&uses["switchedOn"], &uses["sunset"], &uses["unused"]),
        (&json!(true), &Value::Null, &json!(["old/unused"]))
    );
    let basics = scheme(&uses, "Basic");
    assert_eq!((&basics["application"], &basics["users"]), (&json!("old/excel"), &json!(1)));
    assert_eq!(basics["people"][0]["login"], "admin");
    assert!(basics["lastUsedAt"].as_i64() >= basics["firstUsedAt"].as_i64() && basics["lastUsedAt"].is_i64());
    let text = installation.run(&["report", "legacy"]).done();
    assert!(text.contains("old/excel") && text.contains("admin") && text.contains("old/unused"), "{text}");

    let said = installation.run(&["instance", "set", "erp", "legacy_sunset=soon"]).refused();
    assert!(said.contains("yyyy-mm-dd"), "{said}");
    installation.run(&["instance", "set", "erp", "legacy_sunset=2001-01-01"]).done();
    until("their day has passed", SOON, || call(site, &basic) == 401);
    assert_eq!(call(site, &session), 401);
    installation.run(&["instance", "set", "erp", "legacy_sunset=null"]).done();
    until("they are back", SOON, || call(site, &session) == 200);
    installation.run(&["instance", "set", "erp", "legacy_schemes=false"]).done();
    until("they are off", SOON, || call(site, &session) == 401);
    assert_eq!(call(site, &basic), 401);
    assert_eq!(installation.json(&["session", "list"])["used"], 0, "what they opened is closed");
}
