//! A client may send back the entity that it read, with one member changed (`OData` Protocol 4.01 §11.4.3), under a
//! condition (RFC 9110 §13.1).

use std::sync::Arc;

use flows::entities::{Actor, Entities};
use http::header::IF_MATCH;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::Culture;
use model::entities::{AttributeKind, Member, Permissions, SETS};
use serde_json::{Map, Value, json};
use web::odata::{EntityRequest, handle};

use crate::{Answer, Api, Counter, HARBOUR, K1001, LINE_OF_SO78, ROOT, SO77, SO78};

/// One entity of each set that can be changed. The first order is released.
fn one_of(set: &str, first: &Value) -> String {
    match set {
        "Crm_Sales_SalesOrders" => SO78.to_owned(),
        "Crm_Sales_SalesOrderLines" => LINE_OF_SO78.to_owned(),
        _ => first["@odata.id"].as_str().expect("an id").to_owned(),
    }
}

/// A member to change, and its next value.
fn change(set: &str, entity: &Map<String, Value>) -> (&'static str, Value) {
    let members = SETS.iter().find(|known| known.set == set).expect("a set").attributes();
    let mut writable = members.filter(|attribute| attribute.writable() && !attribute.unique);
    let changed = writable.find_map(|attribute| {
        let now = entity.get(attribute.name)?;
        match attribute.kind {
            AttributeKind::Boolean => Some((attribute.name, json!(!now.as_bool()?))),
            AttributeKind::Integer => Some((attribute.name, json!(now.as_i64()? + 1))),
            AttributeKind::Text(_) => Some((attribute.name, json!(format!("{} again", now.as_str()?)))),
            _ => None,
        }
    });
    changed.unwrap_or_else(|| panic!("{set} has nothing to change"))
}

#[tokio::test]
async fn what_was_read_of_any_set_is_written_back_with_one_member_changed() {
    let mut api = Api::new().await;
    for known in SETS {
        let set = known.set;
        let first = api.get(&format!("{set}?$top=1")).await.rows().remove(0);
        let id = one_of(set, &first);
        for query in [
            "",
            "?options=includeid",
            "?$select=*,Id,ObjectVersion,DisplayText",
            "?$format=application/json;odata.metadata=none",
        ] {
            let url = format!("{id}{query}");
            let read = api.get(&url).await.json();
            let mut body = read.as_object().expect("an entity").clone();
            let (member, value) = change(set, &body);
            body.insert(member.to_owned(), value);
            body.insert("@odata.etag".to_owned(), json!("W/\"1\""));
            for reference in known.members.iter().filter(|member| matches!(member, Member::Reference(_))) {
                body.insert(format!("{}@odata.navigationLink", reference.name()), json!(format!("{id}/x")));
            }
            let done = api.patch(&id, &Value::Object(body.clone())).await;
            assert_eq!((done.status, done.text.as_str()), (StatusCode::NO_CONTENT, ""), "{url}: {}", done.text);
            let after = api.get(&url).await.json();
            for (name, value) in after.as_object().expect("an entity") {
                let stamped = matches!(name.as_str(), "UpdateTime" | "UpdateUser" | "ObjectVersion");
                assert!(stamped || body.get(name) == Some(value), "{url} {name}");
            }
        }
    }
}

#[tokio::test]
async fn read_only_members_and_the_key_are_passed_over_whatever_they_say() {
    let mut api = Api::new().await;
    let before = api.get(&format!("{K1001}?options=includeid")).await.json();
    let body = json!({
        "Id": "c0000000-0000-4000-8000-000000001002",
        "@odata.id": "Crm_Sales_Customers(c0000000-0000-4000-8000-000000001002)",
        "CreationUser": "mallory",
        "CreationTime": "1970-01-01",
        "DisplayText": 7,
        "GracePeriodDays": 8,
    });
    assert_eq!(api.patch(K1001, &body).await.status, StatusCode::NO_CONTENT);
    let after = api.get(&format!("{K1001}?options=includeid")).await.json();
    assert_eq!(after["GracePeriodDays"], 8);
    for member in ["Id", "CreationUser", "CreationTime", "Number"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    let euro = "General_Currencies(10000000-0000-4000-8000-000000000002)";
    for (id, body, member) in [
        (SO78, json!({"State": "Released", "Void": true, "DocumentCurrency": {"@odata.id": euro}}), "State"),
        (LINE_OF_SO78, json!({"SalesOrder@odata.bind": SO77}), "SalesOrder"),
    ] {
        let before = api.get(id).await.json();
        let version = api.get(&format!("{id}?$select=ObjectVersion")).await.text;
        assert_eq!(api.patch(id, &body).await.status, StatusCode::NO_CONTENT, "{member}");
        assert_eq!(api.get(id).await.json(), before, "{member}");
        assert_eq!(api.get(&format!("{id}?$select=ObjectVersion")).await.text, version, "nothing was written");
    }
    let body = json!({"Number": "K-2001", "Party": {"@odata.id": HARBOUR}, "Id": "x", "CreationUser": "mallory"});
    let made = api.post("Crm_Customers", &body).await;
    assert_eq!((made.status, &made.json()["CreationUser"]), (StatusCode::CREATED, &json!("alice")), "{}", made.text);
    let misspelt = api.patch(K1001, &json!({"Id": "x", "Nubmer": "x"})).await;
    assert_eq!(misspelt.refused().0, 400, "what no entity has is still a mistake");
    let stale = api.patch(K1001, &json!({"ObjectVersion": 1, "GracePeriodDays": 9})).await;
    assert_eq!(stale.refused().0, 409, "a version is a condition, not a value");
    let released = api.get(SO77).await.json();
    assert_eq!(api.patch(SO77, &released).await.refused().0, 422, "a released document changes by operations");
}

/// A user who may change customers but not read companies can still send back the reference to a company.
#[tokio::test]
async fn sending_back_a_reference_asks_for_no_right_to_read_what_it_leads_to() {
    let mut api = Api::new().await;
    api.permissions = Permissions::new(&["Crm_*"], &["Crm_*"]);
    let mut body = api.get(K1001).await.json();
    body["GracePeriodDays"] = json!(8);
    assert_eq!(api.patch(K1001, &body).await.status, StatusCode::NO_CONTENT);
    body["Party"] = json!({"@odata.id": "General_Contacts_Companies(a0000000-0000-4000-8000-000000000002)"});
    assert_eq!(api.patch(K1001, &body).await.refused().0, 403);
}

async fn send(api: &mut Api, method: Method, id: &str, headers: &[(&'static str, &'static str)]) -> Answer {
    let body = if method == Method::PATCH { r#"{"GracePeriodDays":9}"# } else { "" };
    api.send(method, id, body, headers).await
}

#[tokio::test]
async fn a_write_that_counts_on_another_tag_is_refused_and_changes_nothing() {
    let mut api = Api::new().await;
    let first = api.get(K1001).await;
    assert_eq!(first.header("etag"), "W/\"1\"");
    assert_eq!(api.get(&format!("{K1001}?$select=Number")).await.header("etag"), "W/\"1\"");
    assert_eq!(api.get("Crm_Customers?$top=1").await.header("etag"), "", "a collection has none");
    for stale in ["W/\"2\"", "\"0\"", "\"\"", "\"x\", W/\"7\""] {
        for method in [Method::PATCH, Method::DELETE, Method::GET] {
            let answer = send(&mut api, method.clone(), K1001, &[("if-match", stale)]).await;
            assert_eq!(answer.refused(), (412, "ConcurrencyException".to_owned()), "{method} {stale}");
            assert!(answer.message().contains("W/\"1\""), "{}", answer.message());
        }
    }
    assert_eq!(api.get(K1001).await.text, first.text);
    for (good, tag) in [("W/\"1\"", "W/\"2\""), ("\"2\"", "W/\"3\""), ("*", "W/\"4\""), ("W/\"9\", W/\"4\"", "W/\"5\"")]
    {
        let answer = send(&mut api, Method::PATCH, K1001, &[("if-match", good)]).await;
        assert_eq!((answer.status, answer.header("etag")), (StatusCode::NO_CONTENT, tag), "{good}: {}", answer.text);
    }
    assert_eq!(send(&mut api, Method::PATCH, K1001, &[("if-none-match", "*")]).await.refused().0, 412);
    for malformed in ["5", "W/5", ""] {
        assert_eq!(send(&mut api, Method::PATCH, K1001, &[("if-match", malformed)]).await.refused().0, 400);
    }
    let nobody = "Crm_Customers(00000000-0000-4000-8000-000000000000)";
    for method in [Method::PATCH, Method::DELETE] {
        assert_eq!(send(&mut api, method, nobody, &[("if-match", "*")]).await.refused().0, 404);
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let mut api = Api::new().await;
    let same = send(&mut api, Method::GET, K1001, &[("if-none-match", "W/\"1\"")]).await;
    assert_eq!((same.status, same.text.as_str(), same.header("etag")), (StatusCode::NOT_MODIFIED, "", "W/\"1\""));
    assert_eq!(send(&mut api, Method::GET, K1001, &[("if-none-match", "W/\"0\"")]).await.status, StatusCode::OK);
}

/// A line's tag is its order's: a change of either is a change of both.
#[tokio::test]
async fn a_part_has_the_tag_of_its_whole() {
    let mut api = Api::new().await;
    let notes = json!({"Notes": "x"}).to_string();
    let done = api.send(Method::PATCH, LINE_OF_SO78, &notes, &[("if-match", "W/\"1\"")]).await;
    assert_eq!((done.status, done.header("etag")), (StatusCode::NO_CONTENT, "W/\"2\""));
    assert_eq!(api.get(SO78).await.header("etag"), "W/\"2\"");
    for id in [LINE_OF_SO78, SO78] {
        assert_eq!(send(&mut api, Method::DELETE, id, &[("if-match", "W/\"1\"")]).await.refused().0, 412, "{id}");
    }
    assert_eq!(send(&mut api, Method::DELETE, LINE_OF_SO78, &[("if-match", "W/\"2\"")]).await.status, 204);
    assert_eq!(send(&mut api, Method::DELETE, SO78, &[("if-match", "W/\"3\"")]).await.status, 204);
}

/// The guard of the batch decides, not a read before it. Each writer is a node of its own, so they share no queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_nodes_writers_with_the_same_tag_exactly_one_wins() {
    let api = Arc::new(Api::new().await);
    let mut writers = tokio::task::JoinSet::new();
    for days in 1..=12 {
        let (api, node) = (Arc::clone(&api), Entities::new(api.store.clone()));
        writers.spawn(async move {
            let actor =
                Actor { permissions: &api.permissions, login: "alice", culture: Culture::ENGLISH, now: api.now };
            let body = json!({"GracePeriodDays": days}).to_string();
            let headers = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static("W/\"1\""))]);
            let (method, body) = (Method::PATCH, body.as_bytes());
            let asked =
                EntityRequest { method: &method, path: K1001, query: "", headers: &headers, body, service_root: ROOT };
            handle(&node, actor, &asked, &mut Counter(0)).await.expect("no fault").status()
        });
    }
    let mut answers = writers.join_all().await;
    answers.sort();
    assert_eq!(answers[0], StatusCode::NO_CONTENT);
    assert!(answers[1..].iter().all(|status| *status == StatusCode::PRECONDITION_FAILED), "{answers:?}");
}
