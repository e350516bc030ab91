//! Administration by the admin API, the instance manager and the command line.

use std::time::Duration;

use flows::admin::sessions::SessionSelector;
use flows::admin::{AdminRefusal, ElevatedAdminService, UserDraft};
use http::Method;
use model::entities::Permissions;
use model::{Login, Moment, UserType};
use oauth::secret::Presented;
use serde_json::{Value, json};

use super::people::good_link_to;
use super::{Acted, Scene};
use crate::{App, Browser, HttpAnswer, TokenAnswer, change_setting, switch_user};

const FIRST: &str = "my.trusted.app/first";
const NEW: &str = "lantern-otter-quill";

fn good(answer: &HttpAnswer) -> &HttpAnswer {
    assert!(answer.status.is_success(), "{} {}", answer.status, answer.text());
    answer
}

/// Sends one repeatable change by the admin API. `again` lists the statuses allowed for a repetition.
async fn changed(scene: &Scene<'_>, method: Method, path: &str, body: &Value, again: &[u16]) -> Option<HttpAnswer> {
    let api = scene.admin_api().await;
    let acted = scene.act(async || api.send(method.clone(), path, body).await).await;
    match acted {
        Acted::Done(answer) => {
            good(&answer);
            Some(answer)
        }
        Acted::Stopped => {
            // The change may have ended the token's own sign-in, so a new token is used.
            let answer = scene.admin_api().await.send(method, path, body).await;
            let status = answer.status.as_u16();
            assert!(answer.status.is_success() || again.contains(&status), "{status} {}", answer.text());
            answer.status.is_success().then_some(answer)
        }
    }
}

async fn service_token(app: &App) -> String {
    TokenAnswer::read(&app.service_token("read").await).access
}

pub(super) async fn create_application(scene: &mut Scene<'_>) {
    let uri = scene.name("made");
    let record = json!({
        "ApplicationUri": uri, "Name": "Made", "ClientType": "Confidential", "Scope": "read",
        "SystemUserAllowed": true, "SystemUser": scene.user_id("svc.reader").await,
    });
    let made = changed(scene, Method::POST, "/applications", &record, &[409]).await;
    if let Some(made) = made {
        let secret = made.json()["secret"].as_str().expect("shown once").to_owned();
        let app = App { client: scene.client(), uri: uri.clone(), secret: Some(secret), redirect_uri: String::new() };
        assert_eq!(scene.status(&service_token(&app).await).await, 200, "from the answer on");
    }
    scene.admin_api().await.application(&uri).await;
}

/// The application is disabled from the answer on, for every request.
pub(super) async fn disable_application(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let token = service_token(&app).await;
    assert_eq!(scene.status(&token).await, 200);
    let path = scene.admin_api().await.application(&app.uri).await;
    changed(scene, Method::PATCH, &path, &json!({ "IsEnabled": false }), &[]).await;
    assert_eq!(scene.status(&token).await, 401);
    assert_eq!(app.service_token("read").await.status, 401);
}

/// Changes to an algorithm whose key must be created first.
pub(super) async fn change_algorithm(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let path = scene.admin_api().await.application(&app.uri).await;
    changed(scene, Method::PATCH, &path, &json!({ "AccessTokenAlgorithm": "EdDSA" }), &[]).await;
    let token = service_token(&app).await;
    assert_eq!(crate::jwt::header(&token)["alg"], "EdDSA");
    assert_eq!(scene.status(&token).await, 200);
}

pub(super) async fn replace_application(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let api = scene.admin_api().await;
    let path = api.application(&app.uri).await;
    let mut record = api.get(&path).await.json()["record"].clone();
    record["Name"] = json!("Replaced");
    changed(scene, Method::PUT, &path, &record, &[]).await;
    assert_eq!(scene.admin_api().await.get(&path).await.json()["record"]["Name"], "Replaced");
    assert_eq!(scene.status(&service_token(&app).await).await, 200);
}

pub(super) async fn add_secret(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let path = scene.admin_api().await.application(&app.uri).await;
    let made = changed(scene, Method::POST, &format!("{path}/secrets"), &json!({ "label": "second" }), &[]).await;
    let secret = made.expect("as often as somebody likes").json()["secret"].as_str().expect("shown").to_owned();
    service_token(&app.with_secret(Some(&secret))).await;
    service_token(&app).await;
}

pub(super) async fn remove_secret(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let api = scene.admin_api().await;
    let path = api.application(&app.uri).await;
    let added = api.send(Method::POST, &format!("{path}/secrets"), &json!({ "label": "second" })).await;
    let second = good(&added).json()["secret"].as_str().expect("shown").to_owned();
    let secrets = api.get(&path).await.json()["secrets"].as_array().expect("two").clone();
    let old = secrets.iter().find(|secret| secret["label"] == "first").expect("the first one");
    let old = old["id"].as_str().expect("an id");
    changed(scene, Method::DELETE, &format!("{path}/secrets/{old}"), &Value::Null, &[404]).await;
    assert_eq!(app.service_token("read").await.status, 401, "from the answer on");
    service_token(&app.with_secret(Some(&second))).await;
}

pub(super) async fn create_user(scene: &mut Scene<'_>) {
    let login = scene.name("made");
    let body = json!({ "login": login, "userType": "InternalUser", "role": "Viewer" });
    changed(scene, Method::POST, "/users", &body, &[409]).await;
    let path = scene.admin_api().await.user(&login).await;
    good(&scene.admin_api().await.send(Method::PUT, &format!("{path}/password"), &json!({ "password": NEW })).await);
    let mut person = Browser { password: NEW.to_owned(), ..scene.browser(&login) };
    assert_eq!(person.sign_in().await.page(), "account");
}

/// A signed-in user with tokens.
async fn with_tokens(scene: &Scene<'_>) -> (Browser, TokenAnswer, String) {
    let (app, mut person) = (scene.app(FIRST), scene.person().await);
    let tokens = scene.tokens(&app, &mut person).await;
    assert_eq!(scene.status(&tokens.access).await, 200);
    let path = scene.admin_api().await.user(&person.login).await;
    (person, tokens, path)
}

pub(super) async fn disable_user(scene: &mut Scene<'_>) {
    let (mut person, tokens, path) = with_tokens(scene).await;
    changed(scene, Method::PATCH, &path, &json!({ "isActive": false }), &[]).await;
    assert_eq!(scene.status(&tokens.access).await, 401, "from the answer on");
    assert_eq!(person.open("/id/account").await.page(), "sign-in");
    assert_eq!(person.sign_in().await.page(), "sign-in");
}

pub(super) async fn set_password(scene: &mut Scene<'_>) {
    let (mut person, tokens, path) = with_tokens(scene).await;
    changed(scene, Method::PUT, &format!("{path}/password"), &json!({ "password": NEW }), &[]).await;
    assert_eq!(scene.status(&tokens.access).await, 401);
    assert_eq!(person.open("/id/account").await.page(), "sign-in");
    NEW.clone_into(&mut person.password);
    assert_eq!(person.sign_in().await.page(), "account");
}

pub(super) async fn invite_user(scene: &mut Scene<'_>) {
    let login = scene.name("invited");
    let api = scene.admin_api().await;
    let address = format!("{login}@example.com");
    let body = json!({ "login": login, "userType": "InternalUser", "email": address });
    good(&api.send(Method::POST, "/users", &body).await);
    let path = format!("{}/invitations", api.user(&login).await);
    changed(scene, Method::POST, &path, &Value::Null, &[]).await;
    good_link_to(scene, &address, "set-up").await;
}

pub(super) async fn administrator_withdraws_consent(scene: &mut Scene<'_>) {
    let (_, tokens, path) = with_tokens(scene).await;
    let consents = scene.admin_api().await.get(&format!("{path}/consents")).await.json();
    let application = consents["items"][0]["application"].as_str().expect("an id");
    changed(scene, Method::DELETE, &format!("{path}/consents/{application}"), &Value::Null, &[404]).await;
    assert_eq!(scene.status(&tokens.access).await, 401);
}

pub(super) async fn create_role(scene: &mut Scene<'_>) {
    let body = json!({ "name": scene.name("role"), "permissions": { "read": ["Crm_*"], "update": [] } });
    changed(scene, Method::POST, "/roles", &body, &[409]).await;
    good(&scene.admin_api().await.get(&format!("/roles/{}", scene.name("role"))).await);
}

/// Users' permissions change with the answer.
pub(super) async fn change_role(scene: &mut Scene<'_>) {
    let (role, login, api) = (scene.name("role"), scene.name("holder"), scene.admin_api().await);
    let body = json!({ "name": role, "permissions": { "read": ["Crm_*"], "update": [] } });
    good(&api.send(Method::POST, "/roles", &body).await);
    scene.add_person(&login, Some(&role), false).await;
    let mut person = Browser { password: scene.alice.password.clone(), ..scene.browser(&login) };
    let token = scene.tokens(&scene.app(FIRST), &mut person).await.access;
    assert_eq!(scene.status(&token).await, 200);
    let none = json!({ "read": [], "update": [] });
    changed(scene, Method::PUT, &format!("/roles/{role}"), &none, &[]).await;
    assert_eq!(scene.status(&token).await, 403, "on the next call");
}

pub(super) async fn delete_role(scene: &mut Scene<'_>) {
    let role = scene.name("role");
    let body = json!({ "name": role, "permissions": { "read": [], "update": [] } });
    good(&scene.admin_api().await.send(Method::POST, "/roles", &body).await);
    changed(scene, Method::DELETE, &format!("/roles/{role}"), &Value::Null, &[404]).await;
    assert_eq!(scene.admin_api().await.get(&format!("/roles/{role}")).await.status, 404);
}

pub(super) async fn change_settings(scene: &mut Scene<'_>) {
    let name = scene.number + 1000;
    let body = json!({ "seatsPerUser": name });
    changed(scene, Method::PATCH, "/settings", &body, &[]).await;
    let settings = scene.admin_api().await.get("/settings").await.json();
    assert!(scene.shares_the_server() || settings["seatsPerUser"] == name, "{settings}");
}

pub(super) async fn rotate_key(scene: &mut Scene<'_>) {
    // The successor of the previous rotation signs now.
    scene.server.advance(Duration::from_hours(25));
    changed(scene, Method::POST, "/keys/rotation", &json!({ "algorithm": "ES256" }), &[422]).await;
    let token = service_token(&scene.app("my.trusted.app/service")).await;
    assert_eq!(scene.status(&token).await, 200, "nothing breaks");
}

/// Every token is revoked, including the administrator's.
pub(super) async fn replace_keys(scene: &mut Scene<'_>) {
    let token = service_token(&scene.app("my.trusted.app/service")).await;
    assert_eq!(scene.status(&token).await, 200);
    changed(scene, Method::POST, "/keys/replacement", &json!({ "algorithm": "ES256" }), &[]).await;
    assert_eq!(scene.status(&token).await, 401, "from the answer on");
    let token = service_token(&scene.app("my.trusted.app/service")).await;
    assert_eq!(scene.status(&token).await, 200);
}

pub(super) async fn end_one_session(scene: &mut Scene<'_>) {
    let (person, tokens, _) = with_tokens(scene).await;
    let list = scene.admin_api().await.get(&format!("/sessions?user={}", person.login)).await.json();
    let path = format!("/sessions/{}", list["items"][0]["id"].as_str().expect("hers"));
    changed(scene, Method::DELETE, &path, &Value::Null, &[404]).await;
    assert_eq!(scene.status(&tokens.access).await, 401, "on the next call");
}

pub(super) async fn end_sessions_of_user(scene: &mut Scene<'_>) {
    let (person, tokens, _) = with_tokens(scene).await;
    changed(scene, Method::POST, "/sessions/end", &json!({ "user": person.login }), &[]).await;
    assert_eq!(scene.status(&tokens.access).await, 401, "on the next call");
}

pub(super) async fn issue_service_token(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let wish = json!({ "application": app.uri, "description": "nightly", "scope": "read" });
    let made = changed(scene, Method::POST, "/tokens", &wish, &[]).await.expect("as often as somebody likes");
    let value = made.json()["value"].as_str().expect("shown once").to_owned();
    assert_eq!(scene.status(&value).await, 200);
}

pub(super) async fn administrator_revokes_token(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let wish = json!({ "application": app.uri, "description": "nightly", "scope": "read" });
    let made = scene.admin_api().await.send(Method::POST, "/tokens", &wish).await;
    let issued = good(&made).json();
    let value = issued["value"].as_str().expect("shown once").to_owned();
    assert_eq!(scene.status(&value).await, 200);
    let path = format!("/tokens/{}", issued["token"]["id"].as_str().expect("an id"));
    changed(scene, Method::DELETE, &path, &Value::Null, &[]).await;
    assert_eq!(scene.status(&value).await, 401);
}

/// Installs an application in the instance manager, by an install link.
pub(super) async fn install_application(scene: &mut Scene<'_>) {
    let (login, uri) = (scene.name("admin"), scene.name("vendor"));
    scene.add_person(&login, None, true).await;
    let mut admin = Browser { password: scene.alice.password.clone(), ..scene.browser(&login) };
    let link = format!(
        "/manage/apps/install?applicationUri={uri}&applicationName=Vendor&clientType=Confidential\
         &redirectUri=https%3A%2F%2Fvendor.example%2Fcb&impersonate=internal&requestSecret=true\
         &serviceAccess=clientCredentials&scope=read"
    );
    let page = admin.open(&link).await;
    let page = admin.enter(&page).await;
    assert_eq!(page.page(), "manage-install", "{}", page.text());
    let install = async |admin: &mut Browser| admin.submit(&page, "link", &[("system_user", "svc.reader")]).await;
    let done = scene.act(async || install(&mut admin).await.page()).await;
    if done.done().is_none() {
        install(&mut admin).await;
    }
    assert_eq!(admin.open(&link).await.page(), "manage-install-known");
}

/// Runs one command of the command line. A command that failed, or that another flow overtook, is repeated, and may find
/// its work already done.
async fn commanded(scene: &Scene<'_>, command: impl AsyncFn() -> Result<(), AdminRefusal>) {
    match scene.act(&command).await {
        Acted::Done(Err(AdminRefusal::Overtaken)) | Acted::Stopped => {
            while command().await == Err(AdminRefusal::Overtaken) {}
        }
        Acted::Done(done) => done.expect("it is done"),
    }
    scene.server.catch_up().await;
}

pub(super) async fn disable_application_by_command(scene: &mut Scene<'_>) {
    let app = scene.application().await;
    let token = service_token(&app).await;
    assert_eq!(scene.status(&token).await, 200);
    let disable = async || {
        let done =
            scene.command(async |operator, moment| operator.set_application_enabled(&app.uri, false, moment).await);
        done.await.map(drop)
    };
    commanded(scene, disable).await;
    assert_eq!(scene.status(&token).await, 401);
    assert_eq!(app.service_token("read").await.status, 401);
}

pub(super) async fn disable_user_by_command(scene: &mut Scene<'_>) {
    let (mut person, tokens, _) = with_tokens(scene).await;
    let login = person.login.clone();
    let disable =
        async || scene.command(async |operator, moment| switch_user(operator, &login, false, moment).await).await;
    commanded(scene, disable).await;
    assert_eq!(scene.status(&tokens.access).await, 401);
    assert_eq!(person.open("/id/account").await.page(), "sign-in");
}

pub(super) async fn set_password_by_command(scene: &mut Scene<'_>) {
    let (mut person, tokens, _) = with_tokens(scene).await;
    let (login, password) = (person.login.clone(), Presented::new(NEW));
    let set = async || {
        let done = scene
            .command(async |operator, moment| operator.set_password(&scene.passwords, &login, &password, moment).await);
        done.await.map(drop)
    };
    commanded(scene, set).await;
    assert_eq!(scene.status(&tokens.access).await, 401);
    NEW.clone_into(&mut person.password);
    assert_eq!(person.sign_in().await.page(), "account");
}

/// The user's own keys are erased too, and the audit still verifies.
pub(super) async fn erase_user(scene: &mut Scene<'_>) {
    let (mut person, tokens, _) = with_tokens(scene).await;
    scene.server.seal().await;
    let login = person.login.clone();
    let erase = async || {
        let done = scene.command(async |operator, moment| operator.erase_user(&login, moment).await).await;
        done.map(drop)
    };
    commanded(scene, erase).await;
    assert_eq!(scene.status(&tokens.access).await, 401);
    assert_eq!(person.sign_in().await.page(), "sign-in");
    let store = scene.server.store().await;
    assert!(store.user_by_login(&Login::parse(&login).expect("a login")).await.expect("no fault").is_none());
}

pub(super) async fn create_user_by_command(scene: &mut Scene<'_>) {
    let login = scene.name("made");
    let create = async || {
        let done = scene.command(async |operator, moment| {
            let draft = UserDraft {
                login: &login,
                user_type: UserType::Internal,
                is_admin: false,
                name: "Made",
                email: None,
                role: Some("Viewer"),
                enabled: true,
            };
            operator.create_user(draft, moment).await
        });
        done.await.map(drop)
    };
    commanded(scene, create).await;
    scene.user_id(&login).await;
}

pub(super) async fn create_role_by_command(scene: &mut Scene<'_>) {
    let (role, permissions) = (scene.name("role"), Permissions::new(&["Crm_*"], &[]));
    let create =
        async || scene.command(async |operator, moment| operator.create_role(&role, &permissions, moment).await).await;
    commanded(scene, create).await;
    good(&scene.admin_api().await.get(&format!("/roles/{role}")).await);
}

pub(super) async fn end_sessions_by_command(scene: &mut Scene<'_>) {
    let (person, tokens, _) = with_tokens(scene).await;
    let end = async || {
        let ending = SessionSelector::OfUser(&person.login);
        scene.command(async |operator, moment| operator.end_sessions(ending, moment).await).await.map(drop)
    };
    commanded(scene, end).await;
    assert_eq!(scene.status(&tokens.access).await, 401);
}

pub(super) async fn change_setting_by_command(scene: &mut Scene<'_>) {
    let number = (scene.number + 1000).to_string();
    let change = async || {
        let change = async |operator: &ElevatedAdminService<'_>, moment: &mut Moment<'_>| {
            change_setting(operator, "seats_per_application", &number, moment).await
        };
        scene.command(change).await
    };
    commanded(scene, change).await;
    let settings = scene.admin_api().await.get("/settings").await.json();
    assert!(scene.shares_the_server() || settings["seatsPerApplication"] == scene.number + 1000, "{settings}");
}

pub(super) async fn rotate_key_by_command(scene: &mut Scene<'_>) {
    let rotate = async || {
        let done = scene.command(async |operator, moment| {
            operator.rotate_key(&scene.master, oauth::jose::Algorithm::Es256, moment).await
        });
        done.await.map(drop)
    };
    // If every key already has a successor, none is rotated.
    let _acted = scene.act(&rotate).await;
    scene.server.catch_up().await;
    assert_eq!(scene.status(&service_token(&scene.app("my.trusted.app/service")).await).await, 200);
}

pub(super) async fn renew_audit_key(scene: &mut Scene<'_>) {
    let renew = async || {
        let renewed =
            scene.command(async |operator, moment| operator.audit_reader(&scene.master).renew_key(moment).await);
        renewed.await.map_err(AdminRefusal::from)
    };
    commanded(scene, renew).await;
}
