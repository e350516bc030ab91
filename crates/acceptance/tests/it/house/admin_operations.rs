//! The table of administration: one act is one event, whichever door it came by.

use std::collections::{BTreeMap, BTreeSet};

use acceptance::TestServer;
use flows::admin::AuditedEvent;
use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::users::{PatchUser, UserChange};
use flows::admin::operations::{ExpectedVersion, operations};
use model::UserId;
use serde_json::{Value, json};

use crate::house::admin_api::Office;
use crate::house::manager::{administrator, found};

/// The `what` of every administrator's change so far, by the event's id.
async fn acts(server: &TestServer) -> BTreeMap<String, String> {
    server.seal().await;
    let trail = flows::audit::sealed_trail(&server.store().await).await.expect("the audit can be read");
    let told = trail.into_iter().filter(|event| event.kind == "admin-change" && event.outcome == "done");
    let what = |event: AuditedEvent| {
        let detail: Value = serde_json::from_str(event.detail.as_deref()?).ok()?;
        Some((event.id, detail["what"].as_str()?.to_owned()))
    };
    told.filter_map(what).collect()
}

/// What a step writes.
async fn written(server: &TestServer, step: impl AsyncFnOnce()) -> Vec<String> {
    let before = acts(server).await;
    step().await;
    let mut now = acts(server).await;
    now.retain(|id, _| !before.contains_key(id));
    now.into_values().collect()
}

#[tokio::test]
async fn every_operation_has_a_name_and_a_text_of_its_own() {
    let mut names = BTreeSet::new();
    for entry in operations() {
        assert!(names.insert(entry.name), "{} twice", entry.name);
        assert!(!entry.summary.is_empty() && !entry.summary.ends_with('.'), "{}", entry.summary);
    }
    let document = TestServer::open().await.client().get("/manage/api/v1/openapi.json").await.json();
    let paths = document["paths"].as_object().expect("paths");
    for told in paths.values().filter_map(Value::as_object).flat_map(|methods| methods.values()) {
        let name = told["operationId"].as_str().expect("a name");
        if let Some(entry) = operations().find(|entry| entry.name == name) {
            assert_eq!(told["summary"], entry.summary);
            assert_eq!(told["responses"].get("401").is_some(), entry.needs_recent_sign_in, "{name}");
        }
    }
}

/// Disabling is an act of its own only where nothing else changes.
#[tokio::test]
async fn disabling_a_user_is_one_event_at_every_door() {
    let server = TestServer::open().await;
    let office = Office::of(&server).await;
    let mut admin = administrator(&server).await;
    let (alice, _) = office.user("alice").await;
    let id = UserId(alice["/users/".len()..].parse().expect("an id"));
    for (is_active, what) in [(false, "disable-user"), (true, "enable-user")] {
        let changes = json!({ "isActive": is_active });
        let api = written(&server, async || {
            assert!(office.patch(&alice, "*", &changes).await.status.is_success());
        });
        assert_eq!(api.await, [what]);
        server.enable_user("alice", !is_active).await;
        let Value::Object(members) = changes.clone() else { unreachable!("it was made one") };
        let change = UserChange { id, expected: ExpectedVersion::Any, changes: MergePatch::new(members) };
        let command = written(&server, async || {
            server.run::<PatchUser>(change).await;
        });
        assert_eq!(command.await, [what]);
        server.enable_user("alice", !is_active).await;
        let page = found(&mut admin, "users", "alice").await;
        let page = written(&server, async || {
            let form = page.form_that("do", "save");
            let mut fields: Vec<(&str, &str)> =
                form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            fields.retain(|(name, _)| *name != "enabled");
            fields.extend(is_active.then_some(("enabled", "1")));
            assert_eq!(admin.post(&form.action, &fields).await.page(), "manage-user");
        });
        assert_eq!(page.await, [what]);
    }
    let more = json!({ "isActive": false, "name": "Alice" });
    let both = written(&server, async || {
        assert!(office.patch(&alice, "*", &more).await.status.is_success());
    });
    assert_eq!(both.await, ["change-user"]);
}
