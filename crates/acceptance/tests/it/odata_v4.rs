//! OData 4.0, as visible through the API guard. The rest is tested behind the guard.

use acceptance::{Client, HttpAnswer, TestDatabase, TestServer, TokenAnswer};
use http::Method;
use serde_json::{Value, json};

use crate::{READER, SERVICE};

const ROOT: &str = "/api/domain/odata/";

async fn get(server: &TestServer, token: &str, url: &str) -> HttpAnswer {
    server.client().get_with(&format!("{ROOT}{url}"), token).await
}

#[tokio::test]
async fn a_collection_is_read_with_a_token_and_links_stay_below_the_configured_root() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.app(READER).service_token("").await).access;
    let answer = get(&server, &token, "Crm_Customers?$top=10&$count=true").await;
    assert_eq!(answer.header("odata-version"), "4.0");
    assert_eq!(answer.header("cache-control"), "no-store");
    let page = answer.json();
    assert!(page["@odata.count"].as_i64().is_some_and(|count| count >= 500), "{}", page["@odata.count"]);
    let next = page["@odata.nextLink"].as_str().expect("there are more");
    let next = next.strip_prefix("http://localhost:8080/api/domain/odata/").expect("an address of the configuration");
    let second = get(&server, &token, next).await;
    assert_eq!(second.status, 200);
    assert_ne!(second.json()["value"][0], page["value"][0]);
}

#[tokio::test]
async fn the_service_answers_in_any_case_of_its_fixed_segments() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.app(READER).service_token("").await).access;
    for path in
        ["/api/domain/odata/Crm_Customers", "/API/Domain/OData/Crm_Customers", "/Api/domain/odata/Crm_Sales_Customers"]
    {
        assert_eq!(server.client().get_with(&format!("{path}?$top=1"), &token).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_write_needs_update_and_its_author_is_the_tokens() {
    let server = TestServer::open().await;
    let writer = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    let reader = TokenAnswer::read(&server.app(SERVICE).service_token("read").await).access;
    let product = get(&server, &writer, "General_Products_Products?$top=1").await.json()["value"][0].clone();
    let id = product["@odata.id"].as_str().or(product["Id"].as_str()).expect("an entity has an id").to_owned();
    let key = id.rsplit_once('(').map_or(id.as_str(), |(_, key)| key.trim_end_matches(')')).to_owned();
    let path = format!("{ROOT}General_Products_Products({key})");
    let body = json!({ "PartNumber": "ACCEPTANCE-1" }).to_string();
    let client = server.client();
    let number_it = async |token: &str| {
        let ask = client.ask(&Method::PATCH, &path).bearer(token).body("application/json", body.clone());
        ask.send().await
    };
    let refused = number_it(&reader).await;
    assert_eq!(refused.status, 403);
    assert!(refused.header("www-authenticate").contains("insufficient_scope"));
    assert!(number_it(&writer).await.status.is_success(), "{}", number_it(&writer).await.text());
    let after: Value = client.get_with(&path, &writer).await.json();
    assert_eq!(after["PartNumber"], "ACCEPTANCE-1");
}

#[tokio::test]
async fn a_refusal_of_the_api_has_the_apis_shape_at_the_guard_too() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.app(READER).service_token("").await).access;
    let of_the_api = get(&server, &token, "Nothing_Here").await;
    let of_the_guard = get(&server, "x", "Crm_Customers").await;
    assert_eq!((of_the_api.status.as_u16(), of_the_guard.status.as_u16()), (404, 401));
    let names = |answer: &HttpAnswer| -> Vec<String> {
        answer.json()["error"].as_object().expect("an object").keys().cloned().collect()
    };
    assert_eq!(names(&of_the_api), names(&of_the_guard));
}

const LINES: &str = "/api/domain/odata/Crm_Sales_SalesOrderLines";
const OPEN_ORDER: &str = "Crm_Sales_SalesOrders(d0000000-0000-4000-8000-000000000078)";

fn line(number: usize) -> String {
    json!({
        "LineNo": number,
        "Quantity": {"Value": 1, "Unit": "pcs"},
        "UnitPrice": {"Value": 2.5, "Currency": "EUR"},
        "LineAmount": {"Value": 2.5, "Currency": "EUR"},
        "SalesOrder": {"@odata.id": OPEN_ORDER},
        "Product@odata.bind": "General_Products_Products(b0000000-0000-4000-8000-000000000001)",
    })
    .to_string()
}

/// Concurrent writers through these routers in turn: new lines, and changes of the order itself.
async fn write_together(server: &TestServer, doors: &[Client]) {
    const WRITERS: usize = 64;
    let token = TokenAnswer::read(&server.app(SERVICE).service_token("").await).access;
    let state = async || get(server, &token, &format!("{OPEN_ORDER}?$select=ObjectVersion")).await.json();
    let count = format!("Crm_Sales_SalesOrderLines/$count?$filter=SalesOrder eq '{OPEN_ORDER}'").replace(' ', "%20");
    let lines = async || get(server, &token, &count).await.text().parse::<usize>().expect("digits");
    let (before, had) = (state().await["ObjectVersion"].as_u64(), lines().await);
    let mut writers = tokio::task::JoinSet::new();
    for (number, client) in (0..WRITERS).zip(doors.iter().cycle()) {
        let (client, token) = (client.clone(), token.clone());
        writers.spawn(async move {
            let (method, path, body) = match number % 8 {
                7 => (Method::PATCH, format!("{ROOT}{OPEN_ORDER}"), json!({"DocumentNotes": "x"}).to_string()),
                _ => (Method::POST, LINES.to_owned(), line(1000 + number)),
            };
            client.ask(&method, &path).bearer(&token).body("application/json", body).send().await
        });
    }
    for answer in writers.join_all().await {
        assert!(answer.status.is_success(), "{} {}", answer.status, answer.text());
    }
    assert_eq!(lines().await, had + WRITERS - WRITERS / 8, "each of them, and once");
    let after = state().await["ObjectVersion"].as_u64();
    assert_eq!(after, before.map(|version| version + 64), "one after the other");
}

/// The writers do not contradict one another: they queue, and none is asked to retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_order_who_do_not_contradict_one_another_are_all_served() {
    let server = TestServer::open().await;
    write_together(&server, &[server.client()]).await;
    if let Some(place) = TestDatabase::postgres().await {
        let server = TestServer::on(place).await;
        let other = server.another_node().await;
        write_together(&server, &[server.client(), server.client_of(&other)]).await;
    }
}
