use serde_json::{Value, json};

use crate::application::record::*;
use crate::application::tests::confidential;

fn registration(secrets: Vec<Secret>) -> Registration {
    Registration::new(ApplicationId(Uuid::nil()), secrets)
}

fn secret() -> Vec<Secret> {
    match confidential("s", None) {
        ClientType::Confidential { secrets } => secrets,
        _ => Vec::new(),
    }
}

/// The problems of a valid record with some members replaced.
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
        (vec![], json!({}), "Confidential application needs a secret"),
        (secret(), json!({"ClientType": "Public"}), "Public application has no secret"),
        (vec![], json!({"ClientType": "Public", "SystemUserAllowed": true}), "cannot authenticate"),
        (secret(), json!({"SystemUserAllowed": true}), "SystemUser: required"),
        (secret(), json!({"SystemUserAllowed": true, "SystemUser": Uuid::nil()}), "SystemUser: user not found"),
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

fn changed(change: &Value) -> Value {
    let mut record = json!({ "ApplicationUri": "my.app", "Name": "Mine", "ClientType": "None" });
    for (name, value) in change.as_object().expect("an object") {
        record[name] = value.clone();
    }
    record
}

fn record(change: &Value) -> Result<ApplicationRecord, serde_json::Error> {
    serde_json::from_value(changed(change))
}

fn restored(change: &Value) -> TrustedApplication {
    restored_text(&changed(change).to_string())
}

fn restored_text(text: &str) -> TrustedApplication {
    ApplicationRecord::restore(text, registration(vec![]), "my.app".to_owned(), None)
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
    assert!(said.contains("a list of addresses or a comma-separated string"), "{said}");
}

#[test]
fn a_refusal_among_several_addresses_says_which() {
    for (written, refused) in [
        ("https://a.example/cb,http://b.example/cb", "\"http://b.example/cb\": http is allowed only for"),
        ("https://a.example/cb,https://b.example/#f", "\"https://b.example/#f\": must not contain a fragment"),
        ("https://a.example/cb,,https://b.example/", "\"\": must be an absolute URI"),
        ("https://a.example/cb,localhost:3000/cb", "\"localhost:3000/cb\": unsupported scheme"),
        ("https://a.example/cb, javascript:alert(1)", "\"javascript:alert(1)\": unsupported scheme"),
        (
            "https://a.example/cb https://b.example/cb",
            "\"https://a.example/cb https://b.example/cb\": contains characters",
        ),
        ("https://a.example/cb,https://*.b.example/", "\"https://*.b.example/\": invalid host"),
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
    let read = restored(&old);
    assert_eq!((read.name.as_str(), read.problems()), ("PayPal", &[][..]), "as it is shown");
    assert!(read.redirect_uris.iter().any(|uri| uri.matches(star).is_some()));
    assert!(read.to_record().check(registration(vec![]), None).is_err());

    let texts = |written: &str| {
        let read = restored(&json!({"ImpersonateLoginUrl": [written]}));
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

/// A refused stored record affects that application alone, and keeps its content.
#[test]
fn a_stored_record_that_is_refused_is_off_and_keeps_what_it_says() {
    for (change, said) in [
        (json!({"ClientType": "Device"}), "ClientType: unknown variant `Device`"),
        (json!({"ClientType": "Confidential"}), "Confidential application needs a secret"),
        (json!({"AccessTokens": "Everybody"}), "AccessTokens: unknown variant"),
        (json!({"AccessTokenAlgorithm": "ES512"}), "AccessTokenAlgorithm: "),
        (json!({"ImpersonateLoginUrl": ["ftp://a.example/"]}), "ImpersonateLoginUrl: \"ftp://a.example/\""),
        (json!({"AccessTokenSeconds": 5}), "AccessTokenSeconds: must be"),
        (json!({"RequireConsent": "maybe"}), "RequireConsent: "),
    ] {
        let mut read = restored(&change);
        let problems = read.problems().join("; ");
        assert!(!read.enabled && problems.contains(said), "{change}: {problems}");
        for (name, value) in change.as_object().expect("an object") {
            assert_eq!(&read.record_as_stored()[name], value, "a patch of another attribute meets it");
        }
        assert!(read.switch(true).is_err(), "{change}");
        assert_eq!(read.switch(false), Ok(()), "{change}");
        let mut kept = changed(&change);
        kept["IsEnabled"] = false.into();
        let written: Value = serde_json::from_str(&read.to_stored()).expect("JSON");
        for (name, value) in kept.as_object().expect("an object") {
            assert_eq!(&written[name], value, "{change}: {name}");
        }
        // Replacing it with a whole valid record enables the application.
        let mended = record(&json!({})).expect("well-formed");
        let is_fixed = change["ClientType"] == "Device" || change["ClientType"] == "Confidential";
        assert_eq!(!read.fixed_in(&mended).is_empty(), is_fixed, "{change}: {:?}", read.fixed_in(&mended));
        let accepted = mended.check(read.registration(), None).expect("good").application;
        assert!(accepted.enabled && accepted.problems().is_empty());
    }
    for text in ["", "no JSON", "[]", "7"] {
        let mut read = restored_text(text);
        assert_eq!((read.enabled, read.problems().len(), read.uri.as_str()), (false, 1, "my.app"), "{text}");
        assert!(read.switch(false).is_err(), "there is nothing to write it into");
        assert_eq!(read.fixed_in(&record(&json!({"ClientType": "Public"})).expect("well-formed")), [""; 0]);
    }
}

#[test]
fn what_a_newer_version_wrote_survives_a_change_by_this_one() {
    let newer = json!({"Scope": "read export", "TokenFormat": "opaque", "Limits": {"perMinute": 7}});
    let read = restored(&newer);
    assert!(read.enabled && read.problems().is_empty(), "{:?}", read.problems());
    let mut next = read.to_record();
    next.name = "Renamed".to_owned();
    assert_eq!(read.fixed_in(&next), [""; 0]);
    let accepted = next.check(read.registration(), None).expect("a scope that was registered stays").application;
    let written: Value = serde_json::from_str(&accepted.to_stored()).expect("JSON");
    assert_eq!(written["Name"], "Renamed");
    for (name, value) in newer.as_object().expect("an object") {
        assert_eq!(&written[name], value, "{name}");
    }
    let again = restored_text(&accepted.to_stored());
    assert_eq!(again.to_stored(), accepted.to_stored());
    assert!(!serde_json::to_string(&again.to_record()).expect("JSON").contains("perMinute"), "nor is it sent");
    let mut mine = read.to_record();
    mine.scope = "read export everything".to_owned();
    let refused = mine.check(read.registration(), None).expect_err("a further one is refused");
    assert!(refused.join(" ").contains("everything is unknown"), "{refused:?}");
}
