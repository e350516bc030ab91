//! Applications, their secrets, and roles.

use acceptance::{TestServer, TokenAnswer, on_both};
use http::Method;
use serde_json::{Value, json};

use super::{AdminClient, ROOT, assert_invalid, assert_ok, assert_problem};
use crate::{FIRST, SERVICE};

on_both! {
    of_two_administrators_who_change_the_same_thing_one_is_told
    a_list_is_walked_page_by_page
    several_addresses_in_one_text_are_several_that_work
    a_role_changes_on_the_next_call_and_stays_while_somebody_has_it
}

const CUSTOMERS: &str = "/api/domain/odata/Crm_Customers?$top=1";

async fn of_two_administrators_who_change_the_same_thing_one_is_told(server: TestServer) {
    let operator = AdminClient::of(&server).await;
    let (path, tag) = operator.application(FIRST).await;
    let name = |name: &str| json!({ "Name": name });
    assert_problem(&operator.patch(&path, "", &name("No version")).await, 428, "if-match-missing");
    for bad in ["\"0\"", "\"99\"", &format!("W/{tag}"), "\"0\", \"99\""] {
        assert_problem(&operator.patch(&path, bad, &name("Stale")).await, 412, "changed-meanwhile");
    }
    assert_problem(&operator.patch(&path, "1", &name("No tag")).await, 400, "malformed");
    let first = operator.patch(&path, &tag, &name("The first one's")).await;
    assert_ok(&first);
    assert_problem(&operator.patch(&path, &tag, &name("The second one's")).await, 412, "changed-meanwhile");

    // All at once with the same version: the database accepts one.
    let tag = first.header("etag").to_owned();
    assert_eq!(tag, operator.get(&path).await.header("etag"), "the answer has the new one");
    let tries = (0..8).map(|number| {
        let (operator, path, tag) = (&operator, &path, &tag);
        async move { operator.patch(path, tag, &json!({ "Name": format!("Number {number}") })).await.status.as_u16() }
    });
    let mut statuses = futures_util::future::join_all(tries).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    assert_ok(&operator.patch(&path, "*", &name("Whatever was there")).await);
    let record = assert_ok(&operator.get(&path).await)["record"].clone();
    assert_eq!(record["Name"], "Whatever was there");

    // Likewise for roles and users.
    let role = json!({"read": ["Crm_*"], "update": []});
    let tag = operator.get("/roles/Viewer").await.header("etag").to_owned();
    assert_problem(&operator.put("/roles/Viewer", "", &role).await, 428, "if-match-missing");
    assert_ok(&operator.put("/roles/Viewer", &tag, &role).await);
    assert_problem(&operator.put("/roles/Viewer", &tag, &role).await, 412, "changed-meanwhile");
    assert_problem(&operator.delete("/roles/Viewer", &tag).await, 412, "changed-meanwhile");
    let (alice, tag) = operator.user("alice").await;
    assert_problem(&operator.patch(&alice, "", &json!({"name": "A"})).await, 428, "if-match-missing");
    assert_ok(&operator.patch(&alice, &tag, &json!({"name": "A"})).await);
    assert_problem(&operator.patch(&alice, &tag, &json!({"name": "B"})).await, 412, "changed-meanwhile");
}

/// `identity.md` §2: the import form.
async fn several_addresses_in_one_text_are_several_that_work(server: TestServer) {
    let operator = AdminClient::of(&server).await;
    let record = |login: Value, logout: &str| {
        json!({
            "ApplicationUri": "imported", "Name": "Imported", "ClientType": "Public", "Scope": "read",
            "ImpersonateAsInternalUserAllowed": true, "RequireConsent": false,
            "ImpersonateLoginUrl": login, "ImpersonateLogoutUrl": logout,
        })
    };
    let bad = record(json!("https://one.example/cb,http://two.example/cb"), "https://one.example/,nowhere");
    let refusal = assert_invalid(&operator.post("/applications", &bad).await);
    assert!(refusal.contains("\"http://two.example/cb\": http is allowed only for"), "{refusal}");
    assert!(!refusal.contains("\"https://one.example/cb\""), "that one is good: {refusal}");
    let good = record(
        json!(["https://one.example/cb, https://two.example/cb?x=1,2"]),
        "https://one.example/,https://two.example/",
    );
    let made = assert_ok(&operator.post("/applications", &good).await);
    let kept = &made["application"]["record"];
    assert_eq!(kept["ImpersonateLoginUrl"], json!(["https://one.example/cb", "https://two.example/cb?x=1,2"]));
    assert_eq!(kept["ImpersonateLogoutUrl"], json!(["https://one.example/", "https://two.example/"]));
    for uri in ["https://one.example/cb", "https://two.example/cb?x=1,2"] {
        let (client, redirect_uri) = (server.client(), uri.to_owned());
        let app = acceptance::App { client, uri: "imported".to_owned(), secret: None, redirect_uri };
        let token = app.sign_in(&mut server.browser("alice"), "read").await.access;
        assert_eq!(server.client().call_api(&token).await.status, 200, "{uri}");
    }
    let (path, tag) = operator.application("imported").await;
    let changed = json!({ "AllowedCorsOrigins": "https://one.example,https://two.example" });
    let changed = assert_ok(&operator.patch(&path, &tag, &changed).await);
    assert_eq!(changed["record"]["AllowedCorsOrigins"], json!(["https://one.example", "https://two.example"]));
}

async fn a_list_is_walked_page_by_page(server: TestServer) {
    let operator = AdminClient::of(&server).await;
    for (path, of, count) in
        [("/applications", "/record/ApplicationUri", 10), ("/users", "/login", 7), ("/roles", "/name", 2)]
    {
        let key = |item: &Value| item.pointer(of).and_then(Value::as_str).expect("a name").to_owned();
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = assert_ok(&operator.get(&format!("{path}?limit=3{cursor}")).await);
            let items = page["items"].as_array().expect("items");
            assert!(!items.is_empty() && items.len() <= 3, "no page is empty");
            found.extend(items.iter().map(key));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut once = found.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!((once.len(), found.len()), (count, count), "each once: {found:?}");
    }
}

#[tokio::test]
async fn an_application_is_registered_changed_and_switched_off() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let system_user = operator.get("/users?login=svc.reader").await.json()["items"][0]["id"].clone();
    let (admin, _) = operator.user("admin").await;
    let record = json!({
        "ApplicationUri": "new.app/\u{e9}", "Name": "<script>alert(1)</script>", "ClientType": "Confidential",
        "SystemUserAllowed": true, "SystemUser": system_user, "Scope": "read",
    });
    assert_invalid(&operator.post("/applications", &record).await);
    let mut record = record;
    record["ApplicationUri"] = json!("new.app");
    let made = operator.post("/applications", &record).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!((made.header("content-type"), made.header("x-content-type-options")), ("application/json", "nosniff"));
    let secret = made.json()["secret"].as_str().expect("shown once").to_owned();
    let path = made.location().strip_prefix(ROOT).expect("below the root").to_owned();
    assert_eq!(operator.get(&path).await.json()["record"]["Name"], "<script>alert(1)</script>", "as it was written");
    assert!(!operator.get(&path).await.text().contains(&secret), "never again");
    assert_problem(&operator.post("/applications", &record).await, 409, "taken");

    // The secret works at once, and stops at once.
    let app = acceptance::App {
        client: server.client(),
        uri: "new.app".into(),
        secret: Some(secret.clone()),
        redirect_uri: String::new(),
    };
    let token = TokenAnswer::read(&app.service_token("read").await).access;
    assert_eq!(server.client().get_with(CUSTOMERS, &token).await.status, 200);
    for bad in [
        json!({"ApplicationUri": "other"}),
        json!({"ClientType": "Public"}),
        json!({"Scope": "nonsense"}),
        json!({"Name": null, "Scope": "read"}),
    ] {
        assert_invalid(&operator.patch(&path, "*", &bad).await);
    }
    let changed = operator.patch(&path, "*", &json!({"Scope": "", "ImpersonateAsCommunityUserAllowed": true})).await;
    assert_eq!(assert_ok(&changed)["warnings"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.client().get_with(CUSTOMERS, &token).await.status, 403, "narrowed on the next call");
    assert_ok(&operator.patch(&path, "*", &json!({"Scope": "read", "IsEnabled": false})).await);
    assert_eq!(server.client().get_with(CUSTOMERS, &token).await.status, 401, "dead on the next call");
    assert_eq!(app.service_token("read").await.refusal(), (401, "invalid_client".to_owned()));

    // Replaced: omitted attributes are reset to their defaults.
    record["IsEnabled"] = json!(true);
    let replaced = operator.put(&path, "*", &record).await;
    assert_eq!(assert_ok(&replaced)["record"]["ImpersonateAsCommunityUserAllowed"], false);
    assert_eq!(server.client().get_with(CUSTOMERS, &token).await.status, 401, "what is dead stays dead");
    assert_eq!(app.service_token("read").await.status, 200);

    let trail = server.audit().await;
    let events: Vec<String> =
        trail.iter().filter(|row| row.kind == "admin-change").map(|row| row.columns.join(" ")).collect();
    let narrowed = events.iter().find(|text| text.contains(r#""Scope":"read""#) && text.contains(r#""Scope":"""#));
    assert!(
        narrowed.is_some_and(|text| text.contains("192.0.2.1") && text.contains(&admin["/users/".len()..])),
        "{events:#?}"
    );
    assert!(trail.iter().all(|row| !row.columns.join(" ").contains(&secret)), "no secret in the audit");
}

#[tokio::test]
async fn an_application_that_acts_as_somebody_else_ends_its_tokens() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("read").await).access;
    assert_eq!(server.client().get_with(CUSTOMERS, &token).await.status, 200);
    let (path, tag) = operator.application(SERVICE).await;
    assert_ok(&operator.patch(&path, &tag, &json!({"SystemUserAllowed": false, "SystemUser": null})).await);
    assert_eq!(server.client().get_with(CUSTOMERS, &token).await.status, 401);
    let (seats, _) = server.operator().await.seats().await.expect("sessions can be read");
    assert_eq!(seats.used, 0, "its seat is free");
}

#[tokio::test]
async fn a_secret_is_replaced_without_a_gap_and_the_last_one_stays() {
    let server = TestServer::open().await;
    let operator = AdminClient::of(&server).await;
    let (path, tag) = operator.application(SERVICE).await;
    let old = operator.get(&path).await.json()["secrets"][0]["id"].as_str().expect("an id").to_owned();
    assert_invalid(&operator.delete(&format!("{path}/secrets/{old}"), "").await);
    let late = json!({"label": "too late", "expiresAt": "2001-01-01T00:00:00Z"});
    assert_invalid(&operator.post(&format!("{path}/secrets"), &late).await);
    assert_invalid(&operator.post(&format!("{path}/secrets"), &json!({"label": " \n"})).await);
    let no_time = json!({"label": "a", "expiresAt": "tomorrow"});
    assert_invalid(&operator.post(&format!("{path}/secrets"), &no_time).await);
    let added = operator.post(&format!("{path}/secrets"), &json!({"label": "second"})).await;
    let second = assert_ok(&added)["secret"].as_str().expect("shown once").to_owned();
    assert_problem(&operator.patch(&path, &tag, &json!({"Name": "S"})).await, 412, "changed-meanwhile");

    let app = server.app(SERVICE);
    let renewed = app.with_secret(Some(&second));
    assert_eq!(
        (app.service_token("").await.status.as_u16(), renewed.service_token("").await.status.as_u16()),
        (200, 200)
    );
    assert_eq!(operator.delete(&format!("{path}/secrets/{old}"), "").await.status, 204);
    assert_problem(&operator.delete(&format!("{path}/secrets/{old}"), "").await, 404, "not-found");
    assert_eq!(
        (app.service_token("").await.status.as_u16(), renewed.service_token("").await.status.as_u16()),
        (401, 200)
    );
    let (public, _) = operator.application("my.trusted.app/spa").await;
    assert_invalid(&operator.post(&format!("{public}/secrets"), &json!({"label": "a"})).await);
}

async fn a_role_changes_on_the_next_call_and_stays_while_somebody_has_it(server: TestServer) {
    let operator = AdminClient::of(&server).await;
    let permissions = json!({"read": ["Crm_*"], "update": []});
    let made = operator.post("/roles", &json!({"name": "Büro & Co", "permissions": permissions})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let role = made.location().strip_prefix(ROOT).expect("below the root").to_owned();
    assert_eq!(operator.get(&role).await.json()["name"], "Büro & Co");
    let (bob, tag) = operator.user("bob").await;
    assert_invalid(&operator.patch(&bob, &tag, &json!({"role": "Nobody's"})).await);
    assert_ok(&operator.patch(&bob, &tag, &json!({"role": "Büro & Co"})).await);
    let token = server.app(FIRST).sign_in(&mut server.browser("bob"), "openid read").await.access;
    assert_eq!(server.client().get_with(CUSTOMERS, &token).await.status, 200);
    assert_ok(&operator.put(&role, "*", &json!({"read": [], "update": []})).await);
    assert_eq!(server.client().get_with(CUSTOMERS, &token).await.status, 403, "on the next call");
    assert!(assert_invalid(&operator.delete(&role, "*").await).contains("another role"));
    assert_ok(&operator.patch(&bob, "*", &json!({"role": null})).await);
    assert_eq!(operator.delete(&role, "*").await.status, 204);
    assert_problem(&operator.get(&role).await, 404, "not-found");
    assert_problem(&operator.send(&Method::DELETE, &role, "*", &Value::Null).await, 404, "not-found");
}
