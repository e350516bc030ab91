//! Reading entities, and refused queries.

use http::{Method, StatusCode};
use model::entities::Permissions;
use serde_json::json;
use uuid::Uuid;
use web::odata::required_scope;

use crate::{Api, HAMMER, HARBOUR, K1001, ROOT, SO77, below_root, names};

/// §7.1, 7.2, 7.3; rules 1, 2, 10.
#[tokio::test]
async fn pages_of_a_set_under_its_former_name_lead_through_every_row_once() {
    let mut api = Api::new().await;
    let mut url = "Crm_Customers?%24top=100".to_owned();
    let mut ids = std::collections::HashSet::new();
    let mut sizes = Vec::new();
    loop {
        let page = api.get(&url).await;
        assert_eq!(
            page.header("content-type"),
            "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
        );
        assert_eq!(page.header("odata-version"), "4.0");
        let body = page.json();
        assert_eq!(body["@odata.context"], format!("{ROOT}$metadata#Crm_Customers"));
        for row in page.rows() {
            let id = row["@odata.id"].as_str().expect("an id").to_owned();
            let key =
                id.strip_prefix("Crm_Customers(").and_then(|rest| rest.strip_suffix(')')).expect("the short form");
            assert!(Uuid::parse_str(key).is_ok() && key.len() == 36, "{id}");
            assert!(row.get("Id").is_none());
            assert!(ids.insert(id), "each row once");
        }
        sizes.push(page.rows().len());
        match body.get("@odata.nextLink") {
            Some(next) => {
                url = below_root(next);
                assert!(url.contains("skiptoken") && url.contains("%24top=100"), "{url}");
            }
            None => break,
        }
    }
    assert_eq!((sizes, ids.len()), (vec![100, 100, 100, 100, 100, 20], 520));
    for all in ["Crm_Sales_Customers", "Crm_Sales_Customers?$top=520", "Crm_Customers?$top=600"] {
        let page = api.get(all).await;
        assert_eq!(page.rows().len(), 520);
        assert!(page.json().get("@odata.nextLink").is_none(), "{all}");
    }
    let none = api.get("Crm_Customers?$top=0").await;
    assert!(none.rows().is_empty() && none.json().get("@odata.nextLink").is_none());
}

/// §2.4: the one page size that is not the client's choice.
#[tokio::test]
async fn a_set_larger_than_the_ceiling_is_served_in_pages_even_unasked() {
    let mut api = Api::new().await;
    api.domain = api.domain.cut_at(300);
    for url in ["Crm_Customers?$select=Number", "Crm_Customers?$top=1000&$select=Number"] {
        let first = api.get(url).await;
        assert_eq!(first.rows().len(), 300);
        let second = api.get(&below_root(&first.json()["@odata.nextLink"])).await;
        assert_eq!(names(&second.rows(), "Number")[0], "K-1301");
        assert_eq!(second.rows().len(), 220);
        assert!(second.json().get("@odata.nextLink").is_none());
    }
}

/// §7.7, rules 3 and 4.
#[tokio::test]
async fn the_default_output_is_as_documented() {
    let mut api = Api::new().await;
    let url = "Crm_Sales_Customers?$top=1&$filter=Number eq 'K-1001'";
    let row = api.get(url).await.rows().remove(0);
    for (member, value) in [
        ("@odata.id", json!(K1001)),
        ("Active", json!(true)),
        ("Number", json!("K-1001")),
        ("CreditLimit", json!({"Value": 5000, "Currency": "EUR"})),
        ("GracePeriodDays", json!(7)),
        ("FromDate", json!(null)),
        ("CreationTime", json!("2027-01-15T08:00:00Z")),
        ("CreationUser", json!("admin")),
        ("Party", json!({"@odata.id": HARBOUR})),
        ("SalesPerson", json!(null)),
    ] {
        assert_eq!(row.get(member), Some(&value), "{member}");
    }
    for hidden in ["Id", "ObjectVersion", "DisplayText", "AggregateLastUpdateTimeUtc", "Products"] {
        assert!(row.get(hidden).is_none(), "{hidden}");
    }
    let lean = api.get(&format!("{url}&options=skipnulls")).await.rows().remove(0);
    assert!(lean.get("SalesPerson").is_none() && lean.get("Id").is_none() && lean.get("Number").is_some());
    let lean = api.get(&format!("{url}&options=skipnulls,includeid")).await.rows().remove(0);
    assert_eq!(lean["Id"], "c0000000-0000-4000-8000-000000001001");
}

/// §7.8.
#[tokio::test]
async fn an_entity_is_read_by_its_key_with_what_is_selected() {
    let mut api = Api::new().await;
    let one = api.get(&format!("{K1001}?$select=Id,Number,ObjectVersion,DisplayText")).await;
    let expected = json!({
        "@odata.context": format!("{ROOT}$metadata#Crm_Sales_Customers/$entity"),
        "@odata.id": K1001,
        "Id": "c0000000-0000-4000-8000-000000001001",
        "Number": "K-1001",
        "ObjectVersion": 1,
        "DisplayText": "Harbour Tools Ltd",
    });
    assert_eq!(one.text, expected.to_string(), "the members in this order");
    let former = api.get("Crm_Customers(C0000000-0000-4000-8000-000000001001)?$select=Number").await.json();
    assert_eq!(former["@odata.id"], "Crm_Customers(c0000000-0000-4000-8000-000000001001)");
    for (url, kind) in [
        ("Crm_Customers(00000000-0000-4000-8000-000000000000)", "NotFoundException"),
        ("Crm_Nothing(00000000-0000-4000-8000-000000000000)", "NotFoundException"),
        ("Crm_Nothing", "NotFoundException"),
    ] {
        assert_eq!(api.get(url).await.refused(), (404, kind.to_owned()), "{url}");
    }
}

/// §7.10.
#[tokio::test]
async fn counts_are_digits_alone_or_beside_a_page() {
    let mut api = Api::new().await;
    let count = api.get("Crm_Sales_Customers/$count?$filter=Active eq true").await;
    assert_eq!((count.status, count.text.as_str()), (StatusCode::OK, "473"));
    assert!(count.header("content-type").starts_with("text/plain"));
    let page = api.get("Crm_Sales_Customers?$top=3&$skip=517&$count=true&$select=Number").await;
    assert_eq!((page.json()["@odata.count"].clone(), page.rows().len()), (json!(520), 3));
    assert!(page.json().get("@odata.nextLink").is_none());
    let order: Vec<_> = page.json().as_object().expect("an object").keys().cloned().collect();
    assert_eq!(order, ["@odata.context", "@odata.count", "value"]);
}

/// §7.9 (without expand), 7.11, 7.13, 7.14.
#[tokio::test]
async fn filters_find_what_they_say() {
    let mut api = Api::new().await;
    for (url, member, expected) in [
        ("General_Products_Products?$filter=PartNumber%20eq%20'P-003'", "PartNumber", vec!["P-003"]),
        (
            "General_Products_Products?$filter=contains(PartNumber,%20'00')+and+ABCClass+eq+'A'",
            "PartNumber",
            vec!["P-001", "P-004", "P-007", "P-100"],
        ),
        ("Crm_Sales_Customers?$filter=contains(Party/PartyName,'harbour%20tools')", "Number", vec!["K-1001"]),
        ("Crm_Sales_Customers?$filter=Number ge 'K-1519' and Number le 'K-1520'", "Number", vec!["K-1519", "K-1520"]),
        (
            "Crm_Sales_SalesOrders?$filter=DocumentNo eq 'SO-77' and State ge 'Planned' and Customer eq \
             'Crm_Customers(c0000000-0000-4000-8000-000000001001)'",
            "State",
            vec!["Released"],
        ),
        (
            "Crm_Sales_SalesOrders?$filter=DocumentNo eq 'SO-77' and State ge Erp.General_DocumentState'Planned'",
            "DocumentNo",
            vec!["SO-77"],
        ),
    ] {
        assert_eq!(names(&api.get(url).await.rows(), member), expected, "{url}");
    }
    let ids = "b0000000-0000-4000-8000-000000000001,b0000000-0000-4000-8000-000000000002";
    assert_eq!(api.get(&format!("General_Products_Products?$filter=Id in ({ids})")).await.rows().len(), 2);
    let lines = "Crm_Sales_SalesOrderLines?$filter=SalesOrder/DocumentNo eq 'SO-77' and \
                 SalesOrder/State eq 'Released' and QuantityValue ge 5";
    let lines = api.get(lines).await.rows();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["LineNo"], &lines[0]["Quantity"]), (&json!(20), &json!({"Value": 5, "Unit": "pcs"})));
    assert_eq!(lines[0]["SalesOrder"], json!({"@odata.id": SO77}));
}

/// §7.12, 7.14, §2.1, §2.3.
#[tokio::test]
async fn what_is_not_served_is_refused_by_name() {
    let mut api = Api::new().await;
    for (url, status, named) in [
        ("Crm_Customers?$filter=Number eq 'K-1001' or Number eq 'K-1002'", 501, "'or'"),
        ("Crm_Customers?$filter=not contains(Number,'1')", 501, "'not'"),
        ("Crm_Customers?$filter=GracePeriodDays ne 7", 501, "'ne'"),
        ("Crm_Customers?$filter=length(Number) eq 6", 501, "'length'"),
        ("Crm_Customers?$filter=matchesPattern(Number,'x')", 501, "'matchesPattern'"),
        ("Crm_Customers?$expand=Party", 501, "'$expand'"),
        ("Crm_Customers?$search=101", 501, "'$search'"),
        ("$metadata", 501, "'$metadata'"),
        ("$batch", 501, "'$batch'"),
        ("GetVersion()", 501, "'GetVersion(…)'"),
        ("Crm_Customers(c0000000-0000-4000-8000-000000001001)/Party", 501, "'Party'"),
        ("Crm_Sales_SalesOrders?$select=Lines", 501, "Lines"),
        ("General_Products_Products?$filter=Name eq 'Hammer'", 400, "'Name'"),
        ("Crm_Customers?$filter=DefaultCurrency/CurrencySign eq 'EUR'", 400, "'DefaultCurrency'"),
        ("Crm_Customers?$filter=Nubmer eq 'x'", 400, "'Nubmer'"),
        ("Crm_Customers?$filter=Number eq", 400, "$filter, position 9"),
        ("Crm_Customers?$select=Nubmer", 400, "'Nubmer'"),
        ("Crm_Customers?$orderby=CreditLimit", 400, "'CreditLimit'"),
        ("Crm_Customers?$tpo=1", 400, "'$tpo'"),
        ("Crm_Customers?$top=1&top=2", 400, "'$top'"),
        ("Crm_Customers?$top=-1", 400, "$top"),
        ("Crm_Customers?options=a&options=b", 400, "'options'"),
        ("Crm_Customers/$count?$top=1", 400, "'$top'"),
        ("Crm_Customers(c0000000-0000-4000-8000-000000001001)?$filter=Active eq true", 400, "'$filter'"),
        ("Crm_Customers(7)", 400, "GUID"),
    ] {
        let answer = api.get(url).await;
        let (refused, kind) = answer.refused();
        assert_eq!(refused, status, "{url}: {}", answer.text);
        assert!(answer.message().contains(named), "{url}: {}", answer.message());
        assert_eq!(kind == "NotSupportedException", status == 501, "{url}");
    }
    let long = format!("Crm_Customers?x={}", "y".repeat(16 * 1024));
    assert_eq!(api.get(&long).await.refused().0, 414);
}

/// §7.16.
#[tokio::test]
async fn an_ordered_list_is_paged_by_skipping() {
    let mut api = Api::new().await;
    let first = api.get("Crm_Sales_Customers?$orderby=Number desc&$top=5").await;
    assert_eq!(names(&first.rows(), "Number"), ["K-1520", "K-1519", "K-1518", "K-1517", "K-1516"]);
    let next = below_root(&first.json()["@odata.nextLink"]);
    assert!(next.contains("skip=5") && !next.contains("skiptoken"), "{next}");
    let second = api.get(&next).await;
    assert_eq!(names(&second.rows(), "Number")[0], "K-1515");
    assert!(below_root(&second.json()["@odata.nextLink"]).contains("skip=10"));
}

/// §7.26, the service document.
#[tokio::test]
async fn the_service_document_lists_every_set() {
    let mut api = Api::new().await;
    let document = api.get("").await.json();
    assert_eq!(document["@odata.context"], format!("{ROOT}$metadata"));
    let sets = document["value"].as_array().expect("a list");
    let customers = json!({"name": "Crm_Sales_Customers", "kind": "EntitySet", "url": "Crm_Sales_Customers"});
    assert!(sets.contains(&customers));
    for set in names(sets, "url") {
        assert_eq!(api.get(&format!("{set}?$top=1")).await.rows().len(), 1, "{set}");
    }
}

/// §4.2: permissions beside scopes; §10: nothing leaks through a reference.
#[tokio::test]
async fn roles_are_asked_for_every_set_a_request_touches() {
    let mut api = Api::new().await;
    api.permissions = Permissions::new(&["Crm_*"], &[]);
    assert_eq!(api.get("Crm_Customers?$top=1").await.status, StatusCode::OK);
    let number = json!({"Number": "K-2001"});
    for refused in [
        api.get("General_Products_Products").await,
        api.get("General_Products_Products/$count").await,
        api.get(HAMMER).await,
        api.get("Crm_Customers?$filter=contains(Party/PartyName,'h')").await,
        api.get("Crm_Customers?$select=DisplayText").await,
        api.get("Crm_Customers?$orderby=Party/PartyCode").await,
        api.post("Crm_Customers", &number).await,
        api.patch(K1001, &number).await,
        api.delete(K1001).await,
    ] {
        assert_eq!(refused.refused(), (403, "AccessDeniedException".to_owned()), "{}", refused.text);
    }
    api.permissions = Permissions::new(&["Crm_*"], &["Crm_*"]);
    let bound = json!({"Number": "K-2001", "Party": {"@odata.id": HARBOUR}});
    assert_eq!(api.post("Crm_Customers", &bound).await.refused().0, 403, "an id in a body is a reading too");
    assert_eq!(api.get("Crm_Customers/$count").await.text, "520");
}

#[tokio::test]
async fn methods_a_resource_has_not_are_answered_with_those_it_has() {
    let mut api = Api::new().await;
    for (method, url, allowed) in [
        (Method::PUT, K1001, "GET, HEAD, PATCH, DELETE"),
        (Method::POST, K1001, "GET, HEAD, PATCH, DELETE"),
        (Method::PATCH, "Crm_Customers", "GET, HEAD, POST"),
        (Method::DELETE, "Crm_Customers", "GET, HEAD, POST"),
        (Method::POST, "Crm_Customers/$count", "GET, HEAD"),
        (Method::POST, "", "GET, HEAD"),
    ] {
        let answer = api.send(method.clone(), url, "{}", &[]).await;
        assert_eq!(answer.refused().0, 405, "{method} {url}");
        assert_eq!(answer.header("allow"), allowed);
    }
    assert_eq!(api.send(Method::HEAD, K1001, "", &[]).await.status, StatusCode::OK);
    for (method, scope) in [(Method::GET, "read"), (Method::HEAD, "read"), (Method::POST, "update")] {
        assert_eq!(required_scope(&method), scope);
    }
    assert_eq!(required_scope(&Method::DELETE), "update");
}

/// §2.2, §8.1.
#[tokio::test]
async fn accept_decides_how_much_metadata_there_is() {
    let mut api = Api::new().await;
    let url = "Crm_Customers?$top=1&$select=Number,Party";
    let plain = api.get(url).await.text;
    for accept in
        ["*/*", "application/json", "text/html, application/json;odata.metadata=minimal", "application/*;q=0.5"]
    {
        assert_eq!(api.send(Method::GET, url, "", &[("accept", accept)]).await.text, plain, "{accept}");
    }
    let none = api.send(Method::GET, url, "", &[("accept", "application/json;odata.metadata=none")]).await;
    assert!(none.header("content-type").contains("odata.metadata=none"));
    assert_eq!(none.rows(), [json!({"Number": "K-1001"})]);
    assert!(none.json().get("@odata.context").is_none() && none.json().get("@odata.nextLink").is_some());
    for (accept, named) in [
        ("text/html", "application/json"),
        ("application/xml", "application/json"),
        ("application/json;odata.metadata=full", "Full metadata is not offered"),
        ("text/html, application/json;odata.metadata=full", "Full metadata is not offered"),
        ("application/json;odata.metadata=some", "odata.metadata=minimal or odata.metadata=none"),
    ] {
        let answer = api.send(Method::GET, url, "", &[("accept", accept)]).await;
        assert_eq!(answer.refused().0, 406, "{accept}");
        assert!(answer.message().contains(named), "{}", answer.message());
    }
    let second = "application/json;odata.metadata=full, application/json";
    assert_eq!(api.send(Method::GET, url, "", &[("accept", second)]).await.text, plain);
    for (version, status) in [("4.0", 200), ("4.01", 200), ("3.0", 400)] {
        let answer = api.send(Method::GET, url, "", &[("odata-maxversion", version)]).await;
        assert_eq!(answer.status, status, "{version}");
    }
}

/// `OData` Protocol 4.01 §11.2.12: the option goes before the header, by the same rule.
#[tokio::test]
async fn a_format_in_the_url_decides_as_accept_does_and_before_it() {
    let mut api = Api::new().await;
    let url = "Crm_Customers?$top=1&$select=Number,Party";
    let body = |text: &str| text.replace("%24format=json&", "");
    let plain = api.get(url).await.text;
    let json = api.send(Method::GET, &format!("{url}&$format=json"), "", &[("accept", "text/html")]).await;
    assert!(json.text.contains("%24format=json&"), "the next page too: {}", json.text);
    assert_eq!(body(&json.text), plain);
    for format in
        ["JSON", "application/json", "application/json;odata.metadata=minimal", "application/json%3Bmetadata=minimal"]
    {
        assert_eq!(api.get(&format!("{url}&$format={format}")).await.rows(), json.rows(), "{format}");
    }
    let none = api.get(&format!("{K1001}?$select=Number&$format=application/json;odata.metadata=none")).await;
    assert_eq!(none.text, r#"{"Number":"K-1001"}"#);
    assert!(none.header("content-type").contains("odata.metadata=none"));
    for (format, named) in [
        ("xml", "application/json"),
        ("atom", "application/json"),
        ("", "application/json"),
        ("application/json;odata.metadata=full", "Full metadata is not offered"),
    ] {
        let answer =
            api.send(Method::GET, &format!("{url}&$format={format}"), "", &[("accept", "application/json")]).await;
        assert_eq!(answer.refused().0, 406, "{format}");
        assert!(answer.message().contains(named), "{}", answer.message());
    }
    assert_eq!(api.get("?$format=json").await.status, StatusCode::OK, "the service document");
    assert_eq!(api.get("Crm_Customers/$count?$format=json").await.text, "520");
    let currency = json!({"CurrencySign": "XTS", "Name": "Test"});
    let made = api.post("General_Currencies?$format=application/json;odata.metadata=none", &currency).await;
    assert_eq!((made.status, made.json().get("@odata.id")), (StatusCode::CREATED, None));
}

/// A `+` in a query is a blank, and offsets have one.
#[tokio::test]
async fn an_offset_is_read_with_its_plus_as_it_arrives() {
    let mut api = Api::new().await;
    let moment = "AggregateLastUpdateTimeUtc";
    for (literal, rows) in [
        ("2027-01-15T11:00:00%2B03:00", "520"),
        ("2027-01-15T11:00:00+03:00", "520"),
        ("2027-01-15T11:00:00%2003:00", "520"),
        ("2027-01-15T11:00:01+03:00", "0"),
        ("2027-01-15T08:00:00Z", "520"),
        ("2027-01-15T05:00:01-03:00", "0"),
    ] {
        let count = api.get(&format!("Crm_Customers/$count?$filter={moment}+ge+{literal}")).await;
        assert_eq!((count.status, count.text.as_str()), (StatusCode::OK, rows), "{literal}");
    }
    let page = api.get(&format!("Crm_Customers?$top=1&$filter={moment} ge 2027-01-15T11:00:00+03:00")).await;
    assert_eq!(api.get(&below_root(&page.json()["@odata.nextLink"])).await.rows().len(), 1, "a link leads on with it");
    assert_eq!(api.get("Crm_Customers/$count?$filter=CreditLimitValue ge 1e+3").await.text, "520");
    for wrong in ["2027-01-15+03:00", "2027-01-15T08:00:00Z+03:00", "5+5"] {
        assert_eq!(api.get(&format!("Crm_Customers?$filter={moment} ge {wrong}")).await.refused().0, 400, "{wrong}");
    }
}
