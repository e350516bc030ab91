//! The table of administration: one act is one event, whichever door it came by.

use std::collections::{BTreeMap, BTreeSet};

use acceptance::{TestServer, TokenAnswer};
use flows::admin::merge_patch::MergePatch;
use flows::admin::operations::applications::*;
use flows::admin::operations::audit::{EXPORT_EVENTS, EventQuery, GetRefusal, ListEvents, VerifyAudit};
use flows::admin::operations::consents::{ConsentOf, ListConsents, WithdrawConsent};
use flows::admin::operations::keys::{ListKeys, PreviewReplacement, ReplaceKeys, RotateKey};
use flows::admin::operations::roles::*;
use flows::admin::operations::sessions::*;
use flows::admin::operations::settings::{GetSettings, PatchSettings, SettingsChange};
use flows::admin::operations::tokens::*;
use flows::admin::operations::users::*;
use flows::admin::operations::{AdminOperation, ExpectedVersion, operations};
use flows::admin::{AuditedEvent, TokensOf};
use flows::audit::EventFilter;
use model::application::record::ApplicationRecord;
use model::entities::Permissions;
use model::{ApiSessionId, ApplicationId, ReferenceTokenId, UserId};
use oauth::jose::Algorithm;
use oauth::scope::Scope;
use oauth::secret::Presented;
use serde_json::{Value, json};

use crate::gatehouse::admin_api::AdminClient;
use crate::gatehouse::manager::{administrator, found};
use crate::gatehouse::two_step::set_up_app;
use crate::{FIRST, SERVICE};

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

/// Runs an operation, and compares what it writes with what it declares.
async fn declared<O: AdminOperation>(
    server: &TestServer,
    run: &mut BTreeSet<&'static str>,
    input: O::Input,
) -> O::Output {
    let mut output = None;
    let written = written(server, async || output = Some(server.run::<O>(input).await)).await;
    let acts: BTreeSet<&str> = O::ACTS.iter().map(|act| act.as_str()).collect();
    assert!(written.iter().all(|what| acts.contains(what.as_str())), "{}: {written:?}", O::NAME);
    assert_eq!(written.is_empty(), acts.is_empty(), "{}: {written:?}", O::NAME);
    run.insert(O::NAME);
    output.expect("it was run")
}

fn patch<T>(members: Value) -> MergePatch<T> {
    let Value::Object(members) = members else { unreachable!("the callers make objects") };
    MergePatch::new(members)
}

#[tokio::test]
async fn every_operation_writes_the_acts_that_it_declares() {
    let server = TestServer::open().await;
    let run = &mut BTreeSet::new();
    let any = || ExpectedVersion::Any;
    // Sessions to list and end: of a token, and of a user.
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read offline_access").await;
    let service = TokenAnswer::read(&server.app(SERVICE).service_token("read").await);
    for token in [&tokens.access, &service.access] {
        assert_eq!(server.client().call_api(token).await.status, 200);
    }

    let new = json!({ "login": "erin", "userType": "InternalUser", "email": "erin@example.com" });
    let erin = declared::<CreateUser>(&server, run, serde_json::from_value(new).expect("a user")).await;
    let id = UserId(erin.id);
    declared::<ListUsers>(&server, run, UserQuery { login: None, after: String::new(), limit: 9 }).await;
    declared::<GetUser>(&server, run, id).await;
    let changes = patch(json!({ "name": "Erin" }));
    declared::<PatchUser>(&server, run, UserChange { id, expected: any(), changes }).await;
    declared::<InviteUser>(&server, run, id).await;
    declared::<CreateSetUpLink>(&server, run, id).await;
    declared::<SetPassword>(&server, run, PasswordOf { id, password: Presented::new("lantern-otter-quill") }).await;
    declared::<ResetPassword>(&server, run, id).await;
    declared::<EraseUser>(&server, run, id).await;
    set_up_app(&server, &mut server.browser("bob")).await;
    let bob = server.operator().await.user_by_name("bob").await.expect("no fault").expect("there").user.id;
    declared::<ResetSecondFactor>(&server, run, bob).await;

    let record = json!({ "ApplicationUri": "new.app", "Name": "New", "ClientType": "Confidential" });
    let record: ApplicationRecord = serde_json::from_value(record).expect("a record");
    let made = declared::<CreateApplication>(&server, run, record.clone()).await.application;
    let application = ApplicationId(made.id);
    let query = ApplicationQuery { uri: None, after: String::new(), limit: 9 };
    declared::<ListApplications>(&server, run, query).await;
    declared::<GetApplication>(&server, run, application).await;
    let change = ApplicationChange { id: application, expected: any(), changes: patch(json!({ "Name": "Newer" })) };
    declared::<PatchApplication>(&server, run, change).await;
    let replacement = ApplicationReplacement { id: application, expected: any(), record };
    declared::<ReplaceApplication>(&server, run, replacement).await;
    let wish = SecretWish { label: "second".to_owned(), expires_at: None };
    let secret = declared::<AddSecret>(&server, run, SecretFor { application, wish }).await.id;
    declared::<RemoveSecret>(&server, run, SecretOf { application, secret }).await;

    let role = json!({ "name": "Clerk", "permissions": { "read": ["*"], "update": [] } });
    declared::<CreateRole>(&server, run, serde_json::from_value(role).expect("a role")).await;
    declared::<ListRoles>(&server, run, RoleQuery { after: String::new(), limit: 9 }).await;
    let clerk = declared::<GetRole>(&server, run, "Clerk".to_owned()).await;
    let permissions = Permissions { read: vec![], ..clerk.permissions };
    declared::<ReplaceRole>(&server, run, RoleChange { name: clerk.name.clone(), expected: any(), permissions }).await;
    declared::<DeleteRole>(&server, run, RoleDeletion { name: clerk.name, expected: any() }).await;

    let alice = server.operator().await.user_by_name("alice").await.expect("no fault").expect("there").user.id;
    let consent = declared::<ListConsents>(&server, run, alice).await.items.remove(0);
    let consent = ConsentOf { user: alice, application: ApplicationId(consent.application) };
    declared::<WithdrawConsent>(&server, run, consent).await;

    server.register(keyed(&server).await, Some("keyed-secret")).await;
    let wish = TokenWish {
        application: "keyed".to_owned(),
        login: None,
        description: "export".to_owned(),
        scope: Scope::parse("read").expect("a scope"),
        expires_at: None,
    };
    let token = ReferenceTokenId(declared::<IssueToken>(&server, run, wish).await.token.id);
    let query = TokenQuery { of: TokensOf::Everybody, after: None, limit: 9 };
    declared::<ListTokens>(&server, run, query).await;
    declared::<GetToken>(&server, run, token).await;
    declared::<RevokeToken>(&server, run, token).await;

    let query = SessionQuery { login: None, after: None, limit: 9 };
    let session = declared::<ListSessions>(&server, run, query).await.items.remove(0);
    declared::<GetSeats>(&server, run, ()).await;
    declared::<GetSeatHistory>(&server, run, ()).await;
    declared::<EndSession>(&server, run, ApiSessionId(session.id)).await;
    assert_eq!(server.client().call_api(&service.access).await.status, 200, "a new session");
    declared::<EndSessions>(&server, run, SessionsOf::Application(SERVICE.to_owned())).await;

    declared::<ListKeys>(&server, run, ()).await;
    declared::<RotateKey>(&server, run, Algorithm::Es256).await;
    declared::<PreviewReplacement>(&server, run, Algorithm::Es256).await;
    declared::<ReplaceKeys>(&server, run, Algorithm::Es256).await;

    declared::<GetSettings>(&server, run, ()).await;
    let changes = patch(json!({ "seatsPerUser": 2 }));
    let after = declared::<PatchSettings>(&server, run, SettingsChange { expected: any(), changes }).await;
    assert_eq!(after.settings.seats_per_user, Some(2));

    let query = EventQuery { filter: EventFilter::default(), from: None, limit: 9 };
    let events = declared::<ListEvents>(&server, run, query).await.items;
    declared::<VerifyAudit>(&server, run, ()).await;
    let request = events.into_iter().find_map(|event| event.request).expect("a request");
    declared::<GetRefusal>(&server, run, request).await;

    let all: BTreeSet<&str> = operations().map(|entry| entry.name).filter(|name| *name != EXPORT_EVENTS.name).collect();
    assert_eq!(*run, all);
}

/// The record of an application with service tokens.
async fn keyed(server: &TestServer) -> Value {
    let user = server.operator().await.user_by_name("svc.reader").await.expect("no fault").expect("there").user.id;
    json!({
        "ApplicationUri": "keyed", "Name": "Keyed", "ClientType": "Confidential", "Scope": "read",
        "SystemUserAllowed": true, "SystemUser": user.0, "AccessTokens": "AuthenticatedUsers",
    })
}

/// Disabling is an act of its own only where nothing else changes.
#[tokio::test]
async fn disabling_a_user_is_one_event_at_every_door() {
    let server = TestServer::open().await;
    let admin_api = AdminClient::of(&server).await;
    let mut admin = administrator(&server).await;
    let (alice, _) = admin_api.user("alice").await;
    let id = UserId(alice["/users/".len()..].parse().expect("an id"));
    for (is_active, what) in [(false, "disable-user"), (true, "enable-user")] {
        let changes = json!({ "isActive": is_active });
        let api = written(&server, async || {
            assert!(admin_api.patch(&alice, "*", &changes).await.status.is_success());
        });
        assert_eq!(api.await, [what]);
        server.enable_user("alice", !is_active).await;
        let change = UserChange { id, expected: ExpectedVersion::Any, changes: patch(changes) };
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
        assert!(admin_api.patch(&alice, "*", &more).await.status.is_success());
    });
    assert_eq!(both.await, ["change-user"]);
}

#[tokio::test]
async fn disabling_an_application_is_one_event_at_every_door() {
    let server = TestServer::open().await;
    let admin_api = AdminClient::of(&server).await;
    let mut admin = administrator(&server).await;
    let (first, _) = admin_api.application(FIRST).await;
    let id = ApplicationId(first["/applications/".len()..].parse().expect("an id"));
    for (is_enabled, what) in [(false, "disable-application"), (true, "enable-application")] {
        let changes = json!({ "IsEnabled": is_enabled });
        let api = written(&server, async || {
            assert!(admin_api.patch(&first, "*", &changes).await.status.is_success());
        });
        assert_eq!(api.await, [what]);
        server.enable_app(FIRST, !is_enabled).await;
        let record = admin_api.get(&first).await.json()["record"].clone();
        let mut replacement = record;
        replacement["IsEnabled"] = is_enabled.into();
        let put = written(&server, async || {
            assert!(admin_api.put(&first, "*", &replacement).await.status.is_success());
        });
        assert_eq!(put.await, [what]);
        server.enable_app(FIRST, !is_enabled).await;
        let change = ApplicationChange { id, expected: ExpectedVersion::Any, changes: patch(changes) };
        let command = written(&server, async || {
            server.run::<PatchApplication>(change).await;
        });
        assert_eq!(command.await, [what]);
        server.enable_app(FIRST, !is_enabled).await;
        let page = found(&mut admin, "apps", "my.trusted.app/first").await;
        let page = written(&server, async || {
            let form = page.form_that("do", "save");
            let mut fields: Vec<(&str, &str)> =
                form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            fields.retain(|(name, _)| *name != "enabled");
            fields.extend(is_enabled.then_some(("enabled", "1")));
            assert_eq!(admin.post(&form.action, &fields).await.page(), "manage-app");
        });
        assert_eq!(page.await, [what]);
    }
}
