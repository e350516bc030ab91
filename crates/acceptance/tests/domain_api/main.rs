//! `domain-api.md` §7 tested through the Domain API's router, on the demo's rows in a real database. Tokens, scopes and
//! seats are checked before this router and are tested with the guard.

mod languages;
mod reading;
mod writing;
mod written_back;

use flows::entities::{Actor, Entities};
use gatehouse::demo::seed_entities;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use model::entities::Permissions;
use model::{Culture, InstanceId, Rng, Timestamp};
use serde_json::Value;
use store::{Batch, CommitOutcome, Database, DatabaseUrl, Store, statement, values};
use tempfile::TempDir;
use uuid::Uuid;
use web::odata::{EntityRequest, handle};

const ROOT: &str = "https://shop.example.test/api/domain/odata/";
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
const K1001: &str = "Crm_Sales_Customers(c0000000-0000-4000-8000-000000001001)";
const HARBOUR: &str = "General_Contacts_Companies(a0000000-0000-4000-8000-000000000001)";
const SO77: &str = "Crm_Sales_SalesOrders(d0000000-0000-4000-8000-000000000077)";
const SO78: &str = "Crm_Sales_SalesOrders(d0000000-0000-4000-8000-000000000078)";
const LINE_OF_SO78: &str = "Crm_Sales_SalesOrderLines(e0000000-0000-4000-8000-000000007800)";
const HAMMER: &str = "General_Products_Products(b0000000-0000-4000-8000-000000000001)";

/// A counter as randomness: each draw differs, and every run is the same.
struct Counter(u8);

impl Rng for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(41);
            *byte = self.0;
        }
    }
}

struct Api {
    domain: Entities,
    store: Store,
    permissions: Permissions,
    rng: Counter,
    now: Timestamp,
    _directory: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()["value"].as_array().expect("a collection").clone()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// The refusal's status and type. Also checks its shape.
    fn refused(&self) -> (u16, String) {
        let body = self.json();
        let error = body["error"].as_object().unwrap_or_else(|| panic!("{}", self.text));
        let names: Vec<_> = error.keys().map(String::as_str).collect();
        assert_eq!(names, ["message", "code", "type", "info", "messageFormat", "parameters"]);
        assert!(error["code"].as_i64().is_some_and(|code| code != 0), "a number: {}", self.text);
        assert!(error["info"].is_null());
        assert_eq!(self.header("odata-version"), "4.0");
        (self.status.as_u16(), error["type"].as_str().expect("a name").to_owned())
    }

    fn message(&self) -> String {
        self.json()["error"]["message"].as_str().expect("a text").to_owned()
    }
}

impl Api {
    async fn new() -> Self {
        let directory = TempDir::new().expect("a directory for a test");
        let url = format!("sqlite:{}", directory.path().join("house.db").display());
        let database = Database::open(&DatabaseUrl::parse(&url).expect("a URL")).await.expect("it opens");
        database.migrate().await.expect("it migrates");
        let store = Store::new(database, InstanceId(Uuid::from_u128(1)));
        let made = statement(
            "INSERT INTO instances (id, name, settings, root_secret, feed, created_at) \
             VALUES ($1, 'shop', '{}', $2, 0, 0)",
            values![store.instance().0, [0; 32]],
        );
        assert_eq!(store.commit(Batch::new().with(made)).await.expect("no fault"), CommitOutcome::Committed);
        seed_entities(&store, NOW).await.expect("the demo's rows");
        Self {
            domain: Entities::new(store.clone()),
            store,
            permissions: Permissions::new(&["Crm_*", "General_*"], &["Crm_*", "General_*"]),
            rng: Counter(0),
            now: Timestamp(NOW.0 + 1_000_000),
            _directory: directory,
        }
    }

    async fn get(&mut self, url: &str) -> Answer {
        self.send(Method::GET, url, "", &[]).await
    }

    async fn post(&mut self, url: &str, body: &Value) -> Answer {
        self.send(Method::POST, url, &body.to_string(), &[("content-type", "application/json; charset=utf-8")]).await
    }

    async fn patch(&mut self, url: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, url, &body.to_string(), &[("content-type", "application/json")]).await
    }

    async fn delete(&mut self, url: &str) -> Answer {
        self.send(Method::DELETE, url, "", &[]).await
    }

    async fn send(
        &mut self,
        method: Method,
        url: &str,
        body: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Answer {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let headers: HeaderMap = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let actor =
            Actor { permissions: &self.permissions, login: "alice", culture: accepted(&headers), now: self.now };
        let body = body.as_bytes();
        let asked = EntityRequest { method: &method, path, query, headers: &headers, body, service_root: ROOT };
        let response = handle(&self.domain, actor, &asked, &mut self.rng).await.expect("no fault");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body in memory").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }
}

/// As the API guard reads it.
fn accepted(headers: &HeaderMap) -> Culture {
    let accepted = headers.get("accept-language").and_then(|value| value.to_str().ok());
    accepted.and_then(Culture::of_accept_language).unwrap_or_default()
}

/// The part of a next link that a client sends back to this router.
fn below_root(link: &Value) -> String {
    let link = link.as_str().expect("a link");
    link.strip_prefix(ROOT).unwrap_or_else(|| panic!("{link} begins with the configured root")).to_owned()
}

fn names(rows: &[Value], member: &str) -> Vec<String> {
    rows.iter().map(|row| row[member].as_str().unwrap_or_else(|| panic!("{row}")).to_owned()).collect()
}
