use serde_json::{Value, json};

use super::*;
use crate::application::tests::confidential;

fn registration(secrets: Vec<Secret>) -> Registration {
    Registration { id: ApplicationId(Uuid::nil()), secrets, epoch: 0, version: 1 }
}

fn secret() -> Vec<Secret> {
    match confidential("s", None) {
        ClientType::Confidential { secrets } => secrets,
        _ => Vec::new(),
    }
}

/// A good record with some members replaced.
fn problems(secrets: Vec<Secret>, change: &Value) -> String {
    let mut record = json!({
        "ApplicationUri": "my.app", "Name": "Mine", "ClientType": "Confidential", "Scope": "read",
        "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": ["https://app.example.com/cb"],
    });
    for (name, value) in change.as_object().expect("an object") {
        record[name] = value.clone();
    }
    let record: ApplicationRecord = serde_json::from_value(record).expect("well-formed");
    record.check(registration(secrets), None).err().unwrap_or_default().join("; ")
}

#[test]
fn bad_records_are_refused_with_the_reason() {
    assert_eq!(problems(secret(), &json!({})), "");
    for (secrets, change, reason) in [
        (vec![], json!({}), "Confidential needs a secret"),
        (secret(), json!({"ClientType": "Public"}), "Public has no secret"),
        (vec![], json!({"ClientType": "Public", "SystemUserAllowed": true}), "cannot prove itself"),
        (secret(), json!({"SystemUserAllowed": true}), "needs the user"),
        (secret(), json!({"SystemUserAllowed": true, "SystemUser": Uuid::nil()}), "no such user"),
        (secret(), json!({"ImpersonateLoginUrl": ["https://a.example/#f"]}), "ImpersonateLoginUrl"),
        (secret(), json!({"ImpersonateLoginUrl": ["http://a.example/"]}), "ImpersonateLoginUrl"),
        (secret(), json!({"Scope": "read everything"}), "everything is unknown"),
        (secret(), json!({"AllowedCorsOrigins": ["null"]}), "AllowedCorsOrigins"),
        (secret(), json!({"AllowedCorsOrigins": ["https://a.example/"]}), "AllowedCorsOrigins"),
        (secret(), json!({"PolicyUrl": "javascript:alert(1)"}), "PolicyUrl"),
        (secret(), json!({"Name": " "}), "Name"),
        (secret(), json!({"Name": "Pay\u{202e}laP"}), "Name"),
        (secret(), json!({"Name": "Two\nlines"}), "Name"),
        (secret(), json!({"Name": "x".repeat(201)}), "Name"),
        (
            secret(),
            json!({"ImpersonateLoginUrl": ["https://a.example/*"]}),
            "ImpersonateLoginUrl: \"https://a.example/*\"",
        ),
        (secret(), json!({"ImpersonateLogoutUrl": [""]}), "ImpersonateLogoutUrl: \"\""),
        (secret(), json!({"ApplicationUri": ""}), "ApplicationUri"),
        (secret(), json!({"AccessTokenSeconds": 5}), "AccessTokenSeconds"),
    ] {
        let said = problems(secrets, &change);
        assert!(said.contains(reason), "{change}: {said:?} should say {reason:?}");
    }
}

fn record(change: &Value) -> Result<ApplicationRecord, serde_json::Error> {
    let mut record = json!({ "ApplicationUri": "my.app", "Name": "Mine", "ClientType": "None" });
    for (name, value) in change.as_object().expect("an object") {
        record[name] = value.clone();
    }
    serde_json::from_value(record)
}

/// `identity.md` §2: a list, comma-separated on import.
#[test]
fn a_text_of_several_addresses_is_several_addresses() {
    let (a, b) = ("https://a.example/cb", "com.example.b:/cb");
    for (written, meant) in [
        (json!([a, b]), vec![a, b]),
        (json!(format!("{a},{b}")), vec![a, b]),
        (json!(format!(" {a} ,\t{b}, ")), vec![a, b]),
        (json!([format!("{a}, {b}"), "https://c.example/"]), vec![a, b, "https://c.example/"]),
        (json!(a), vec![a]),
        (json!(""), vec![]),
        (json!([]), vec![]),
        (json!("https://a.example/x,y?z=1,2"), vec!["https://a.example/x,y?z=1,2"]),
        (json!("https://a.example/x,/y"), vec!["https://a.example/x,/y"]),
    ] {
        for name in ["ImpersonateLoginUrl", "ImpersonateLogoutUrl"] {
            let record = record(&json!({ name: written })).expect("well-formed");
            let accepted = record.check(registration(vec![]), None).expect("good").application;
            let uris = if name == "ImpersonateLoginUrl" { accepted.redirect_uris } else { accepted.post_logout_uris };
            let texts: Vec<&str> = uris.iter().map(RedirectUri::as_str).collect();
            assert_eq!(texts, meant, "{name}: {written}");
        }
    }
    let origins = record(&json!({"AllowedCorsOrigins": "https://a.example, https://b.example"})).expect("well-formed");
    let accepted = origins.check(registration(vec![]), None).expect("good").application;
    assert_eq!(accepted.cors_origins, ["https://a.example", "https://b.example"]);
    let said = record(&json!({"ImpersonateLoginUrl": 7})).expect_err("no address").to_string();
    assert!(said.contains("one text of them separated by commas"), "{said}");
}

#[test]
fn a_refusal_among_several_addresses_says_which() {
    for (written, refused) in [
        ("https://a.example/cb,http://b.example/cb", "\"http://b.example/cb\": http is only for"),
        ("https://a.example/cb,https://b.example/#f", "\"https://b.example/#f\": remove the fragment"),
        ("https://a.example/cb,,https://b.example/", "\"\": write the whole URI"),
        ("https://a.example/cb,localhost:3000/cb", "\"localhost:3000/cb\": use https"),
        ("https://a.example/cb, javascript:alert(1)", "\"javascript:alert(1)\": use https"),
        ("https://a.example/cb https://b.example/cb", "\"https://a.example/cb https://b.example/cb\": only the"),
        ("https://a.example/cb,https://*.b.example/", "\"https://*.b.example/\": name one host"),
    ] {
        let said = problems(secret(), &json!({"ImpersonateLoginUrl": [written]}));
        assert!(said.contains(&format!("ImpersonateLoginUrl: {refused}")), "{written}: {said}");
        assert!(!said.contains("\"https://a.example/cb\""), "{written}: {said}");
    }
    let said = problems(secret(), &json!({"AllowedCorsOrigins": "https://a.example,https://B.example"}));
    assert!(said.contains("AllowedCorsOrigins: \"https://B.example\""), "{said}");
    assert!(!said.contains("\"https://a.example\""), "{said}");
}

#[test]
fn a_stored_record_is_read_although_it_would_be_refused_today() {
    let star = "https://a.example/*";
    let old = json!({"Name": "Pay\u{202e}Pal\u{7}", "ImpersonateLoginUrl": [star]});
    let read = record(&old).expect("well-formed").restore(registration(vec![]), None).expect("as it was accepted");
    assert_eq!(read.application.name, "PayPal", "as it is shown");
    assert!(read.application.redirect_uris.iter().any(|uri| uri.matches(star).is_some()));
    assert!(read.application.to_record().check(registration(vec![]), None).is_err());

    let texts = |written: &str| {
        let read = record(&json!({"ImpersonateLoginUrl": [written]})).expect("well-formed");
        let read = read.restore(registration(vec![]), None).expect("as it was accepted").application;
        read.redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts("https://a.example/cb,https://b.example/cb"), ["https://a.example/cb", "https://b.example/cb"]);
    let half_good = "https://a.example/cb,http://b.example/cb";
    assert_eq!(texts(half_good), [half_good], "nothing is guessed");
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let text = json!({
        "ApplicationUri": "my.app", "Name": "Mine", "ClientType": "Public", "Scope": "read DomainApi",
        "ImpersonateAsInternalUserAllowed": true, "PublicRefreshAllowed": true, "RequireConsent": false,
        "RequirePkce": true,
        "ImpersonateLoginUrl": ["http://127.0.0.1/callback"], "AccessTokens": "AuthenticatedUsers",
    });
    let record: ApplicationRecord = serde_json::from_value(text).expect("well-formed");
    let before = serde_json::to_value(&record).expect("writes");
    let accepted = record.check(registration(vec![]), None).expect("good");
    assert_eq!(serde_json::to_value(accepted.application.to_record()).expect("writes"), before);
    assert_eq!(accepted.warnings.len(), 1);
}
