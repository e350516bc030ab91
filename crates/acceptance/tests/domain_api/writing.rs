//! Creating, changing and deleting entities, and refused writes.

use flows::entities::Actor;
use http::{HeaderMap, Method, StatusCode};
use model::Culture;
use serde_json::{Value, json};
use web::odata::{EntityRequest, handle};

use crate::{Api, Counter, HAMMER, HARBOUR, K1001, LINE_OF_SO78, ROOT, SO77, SO78};

/// §7.18, 7.19, §3.1.
#[tokio::test]
async fn a_new_customer_is_answered_whole_and_only_once() {
    let mut api = Api::new().await;
    let body = json!({
        "Number": "K-2001",
        "Party": {"@odata.id": HARBOUR},
        "SalesPerson@odata.bind": format!("{ROOT}Crm_SalesPersons(50000000-0000-4000-8000-000000000001)"),
        "CreditLimit": {"@odata.type": "Erp.Amount", "Value": "100.25", "Currency": "eur"},
    });
    let made = api.post("Crm_Sales_Customers?options=skipnulls", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let entity = made.json();
    let id = entity["@odata.id"].as_str().expect("an id").to_owned();
    assert_eq!(made.header("location"), format!("{ROOT}{id}"));
    assert_eq!(id, format!("Crm_Sales_Customers({})", entity["Id"].as_str().expect("an id")));
    for (member, value) in [
        ("@odata.context", json!(format!("{ROOT}$metadata#Crm_Sales_Customers/$entity"))),
        ("Number", json!("K-2001")),
        ("CreditLimit", json!({"Value": 100.25, "Currency": "EUR"})),
        ("Active", json!(true)),
        ("CreationUser", json!("alice")),
        ("CreationTime", json!("2027-01-15T08:00:01Z")),
        ("Party", json!({"@odata.id": HARBOUR})),
    ] {
        assert_eq!(entity.get(member), Some(&value), "{member}");
    }
    assert!(entity.get("FromDate").is_none(), "null, and nulls are skipped");
    assert_eq!(api.get(&format!("{id}?$select=Number")).await.json()["Number"], "K-2001");

    let again = api.post("Crm_Sales_Customers", &body).await;
    assert_eq!(again.refused(), (409, "DuplicateKeyException".to_owned()));
    assert_eq!(again.json()["error"]["code"], 2129);
    assert_eq!(again.json()["error"]["parameters"], json!(["Crm_Customers", "Number", "K-2001"]));
    let taken = api.patch(&id, &json!({"Number": "K-1001"})).await;
    assert_eq!(taken.refused(), (409, "DuplicateKeyException".to_owned()));
    assert_eq!(api.patch(&id, &json!({"Number": "K-2001"})).await.status, StatusCode::NO_CONTENT, "its own number");

    let headers = [("prefer", "return=minimal")];
    let currency = json!({"CurrencySign": "XTS", "Name": "Test"}).to_string();
    let made = api.send(Method::POST, "General_Currencies", &currency, &headers).await;
    assert_eq!((made.status, made.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(made.header("odata-entityid"), made.header("location"));
    assert!(made.header("location").starts_with(&format!("{ROOT}General_Currencies(")));
}

#[tokio::test]
async fn a_body_that_says_too_little_too_much_or_nonsense_stores_nothing() {
    let mut api = Api::new().await;
    let nobody = "General_Contacts_Companies(00000000-0000-4000-8000-000000000000)";
    let with = |member: &str, value: Value| {
        let mut body = json!({"Number": "K-2001", "Party": {"@odata.id": HARBOUR}});
        body[member] = value;
        body
    };
    for (body, status, named) in [
        (json!({"Number": "K-2001"}), 422, "Party"),
        (with("Number", json!("K".repeat(33))), 422, "32"),
        (with("Party", json!({"@odata.id": nobody})), 422, nobody),
        (with("CreditLimit", json!({"Value": 1, "Currency": "XXX"})), 422, "XXX"),
        (with("Nubmer", json!("x")), 400, "Nubmer"),
        (with("Active", json!("true")), 400, "Active"),
        (with("CreditLimit", json!({"Value": 0.000_000_1, "Currency": "EUR"})), 400, "at most 6 decimals"),
        (with("Party", json!({"Name": {"EN": "Quay Foods"}})), 501, "Party"),
        (json!([]), 400, "JSON object"),
    ] {
        let answer = api.post("Crm_Sales_Customers", &body).await;
        assert_eq!(answer.refused().0, status, "{body}: {}", answer.text);
        assert!(answer.message().contains(named), "{}", answer.message());
    }
    for (body, kind, status) in [
        ("{", "application/json", 400),
        ("", "application/json", 400),
        (r#"{"Number":"a","Number":"b"}"#, "application/json", 400),
        (r#"{"Number":"a\u0000"}"#, "application/json", 400),
        ("Number=K-2001", "application/x-www-form-urlencoded", 415),
        ("{}", "application/json5", 415),
    ] {
        let answer = api.send(Method::POST, "Crm_Customers", body, &[("content-type", kind)]).await;
        assert_eq!(answer.refused().0, status, "{body}");
    }
    assert_eq!(api.get("Crm_Customers/$count").await.text, "520");
}

/// §7.20, 7.21 (languages).
#[tokio::test]
async fn a_patch_changes_what_it_names_and_the_version() {
    let mut api = Api::new().await;
    let before = api.get(K1001).await.json();
    let done = api.patch(K1001, &json!({"GracePeriodDays": 14})).await;
    assert_eq!((done.status, done.text.as_str()), (StatusCode::NO_CONTENT, ""));
    let mut expected = before;
    expected["GracePeriodDays"] = json!(14);
    expected["UpdateTime"] = json!("2027-01-15T08:00:01Z");
    expected["UpdateUser"] = json!("alice");
    assert_eq!(api.get(K1001).await.json(), expected);
    let select = format!("{K1001}?$select=ObjectVersion,GracePeriodDays,AggregateLastUpdateTimeUtc");
    assert_eq!(api.get(&select).await.json()["ObjectVersion"], 2);
    assert_eq!(api.get(&select).await.json()["AggregateLastUpdateTimeUtc"], "2027-01-15T08:00:01Z");

    let stale = api.patch(K1001, &json!({"ObjectVersion": 1, "GracePeriodDays": 21})).await;
    assert_eq!(stale.refused(), (409, "ConcurrencyException".to_owned()));
    let dates = api.patch(K1001, &json!({"FromDate": "2026-05-01", "ThruDate": "2026-01-01"})).await;
    assert_eq!(dates.refused().0, 422);
    assert!(dates.message().contains("2026-05-01") && dates.message().contains("2026-01-01"), "{}", dates.message());
    assert_eq!(api.patch(K1001, &json!({})).await.status, StatusCode::NO_CONTENT);
    let now = api.get(&select).await.json();
    assert_eq!(
        (&now["GracePeriodDays"], &now["ObjectVersion"]),
        (&json!(14), &json!(2)),
        "refused or empty: unchanged"
    );
    assert_eq!(api.patch(K1001, &json!({"ObjectVersion": 2, "GracePeriodDays": 21})).await.status, 204);

    assert_eq!(api.patch(HAMMER, &json!({"Name": {"de": "Hammer"}})).await.status, 204);
    assert_eq!(api.get(HAMMER).await.json()["Name"], json!({"DE": "Hammer"}), "one value for all languages");
    let alias = "General_MeasurementUnits(20000000-0000-4000-8000-000000000002)";
    assert_eq!(api.patch(HAMMER, &json!({"MeasurementUnit@odata.bind": alias})).await.status, 204);
    let nobody = "Crm_Customers(00000000-0000-4000-8000-000000000000)";
    assert_eq!(api.patch(nobody, &json!({"Active": true})).await.refused().0, 404);
}

/// §7.22, §3.5.
#[tokio::test]
async fn a_line_follows_its_order_its_unit_and_its_currency() {
    let mut api = Api::new().await;
    let currency = format!("{LINE_OF_SO78}?$select=UnitPrice");
    assert_eq!(api.get(&currency).await.json()["UnitPrice"]["Currency"], "EUR");
    let boxes = json!({"Quantity": {"Value": 5, "Unit": "BOX"}});
    assert_eq!(api.patch(LINE_OF_SO78, &boxes).await.status, StatusCode::NO_CONTENT);
    let line = api.get(LINE_OF_SO78).await.json();
    assert_eq!(line["Quantity"], json!({"Value": 5, "Unit": "box"}));
    let unit = "General_Products_MeasurementUnits(20000000-0000-4000-8000-000000000002)";
    assert_eq!(line["QuantityUnit"], json!({"@odata.id": unit}));
    let dollars = api.patch(LINE_OF_SO78, &json!({"UnitPrice": {"Value": 9, "Currency": "USD"}})).await;
    assert_eq!(dollars.refused().0, 422);
    assert!(dollars.message().contains("USD") && dollars.message().contains("EUR"), "{}", dollars.message());
    let order = api.get(&format!("{SO78}?$select=ObjectVersion")).await.json();
    assert_eq!(order["ObjectVersion"], 2, "a line's change is its order's");

    let pieces = "General_Products_MeasurementUnits(20000000-0000-4000-8000-000000000001)";
    let inconsistent = json!({"QuantityUnit": {"@odata.id": pieces}, "Quantity": {"Value": 3, "Unit": "box"}});
    let refused = api.patch(LINE_OF_SO78, &inconsistent).await;
    assert_eq!(refused.refused(), (422, "ValidationException".to_owned()), "{}", refused.text);
    assert!(refused.message().contains("QuantityUnit"), "{}", refused.message());

    let line = |order: &str| {
        json!({
            "LineNo": 50,
            "Quantity": {"Value": 1, "Unit": "pcs"},
            "UnitPrice": {"Value": 2.5, "Currency": "EUR"},
            "LineAmount": {"Value": 2.5, "Currency": "EUR"},
            "SalesOrder": {"@odata.id": order},
            "Product@odata.bind": HAMMER,
        })
    };
    let made = api.post("Crm_Sales_SalesOrderLines", &line(SO78)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let made = made.json()["@odata.id"].as_str().expect("an id").to_owned();
    assert_eq!(api.delete(&made).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&format!("{SO78}?$select=ObjectVersion")).await.json()["ObjectVersion"], 4);

    for refused in [
        api.post("Crm_Sales_SalesOrderLines", &line(SO77)).await,
        api.patch("Crm_Sales_SalesOrderLines(e0000000-0000-4000-8000-000000007700)", &boxes).await,
        api.delete("Crm_Sales_SalesOrderLines(e0000000-0000-4000-8000-000000007700)").await,
        api.patch(SO77, &json!({"DocumentNotes": "x"})).await,
        api.delete(SO77).await,
    ] {
        assert_eq!(refused.refused(), (422, "ConstraintException".to_owned()), "a released order is closed");
    }
}

/// §7.23.
#[tokio::test]
async fn what_is_deleted_is_gone_and_what_is_needed_stays() {
    let mut api = Api::new().await;
    let body = json!({"Number": "K-2001", "Party": {"@odata.id": HARBOUR}});
    let made = api.post("Crm_Customers", &body).await.json();
    let id = made["@odata.id"].as_str().expect("an id").to_owned();
    assert_eq!(api.delete(&id).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&id).await.refused().0, 404);
    assert_eq!(api.delete(&id).await.refused().0, 404);
    let needed = api.delete(K1001).await;
    assert_eq!(needed.refused(), (409, "ReferenceException".to_owned()));
    assert!(needed.message().contains("Crm_Sales_Orders"), "{}", needed.message());
    assert_eq!(api.get(K1001).await.status, StatusCode::OK);
    assert_eq!(api.delete(SO78).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(LINE_OF_SO78).await.refused().0, 404, "what it owned went with it");
}

/// A race without sleeping: all decide on the same version, and the guards let one after the other through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_with_the_same_version_exactly_one_wins() {
    let api = std::sync::Arc::new(Api::new().await);
    let mut writers = tokio::task::JoinSet::new();
    for days in 1..=12 {
        let api = std::sync::Arc::clone(&api);
        writers.spawn(async move {
            let actor =
                Actor { permissions: &api.permissions, login: "alice", culture: Culture::ENGLISH, now: api.now };
            let body = json!({"ObjectVersion": 1, "GracePeriodDays": days}).to_string();
            let (method, headers) = (Method::PATCH, HeaderMap::new());
            let body = body.as_bytes();
            let asked =
                EntityRequest { method: &method, path: K1001, query: "", headers: &headers, body, service_root: ROOT };
            handle(&api.domain, actor, &asked, &mut Counter(0)).await.expect("no fault").status()
        });
    }
    let mut answers = writers.join_all().await;
    answers.sort();
    assert_eq!(answers[0], StatusCode::NO_CONTENT);
    assert!(answers[1..].iter().all(|status| *status == StatusCode::CONFLICT), "{answers:?}");
}

/// The loser of the race for a number gets a refusal, not a constraint violation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_new_customers_with_one_number_exactly_one_is_made() {
    let api = std::sync::Arc::new(Api::new().await);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..12 {
        let api = std::sync::Arc::clone(&api);
        writers.spawn(async move {
            let actor =
                Actor { permissions: &api.permissions, login: "alice", culture: Culture::ENGLISH, now: api.now };
            let body = json!({"Number": "K-2001", "Party": {"@odata.id": HARBOUR}}).to_string();
            let (method, headers) = (Method::POST, HeaderMap::new());
            let body = body.as_bytes();
            let asked = EntityRequest {
                method: &method,
                path: "Crm_Customers",
                query: "",
                headers: &headers,
                body,
                service_root: ROOT,
            };
            handle(&api.domain, actor, &asked, &mut Counter(writer)).await.expect("no fault").status()
        });
    }
    let mut answers = writers.join_all().await;
    answers.sort();
    assert_eq!(answers[0], StatusCode::CREATED);
    assert!(answers[1..].iter().all(|status| *status == StatusCode::CONFLICT), "{answers:?}");
}
