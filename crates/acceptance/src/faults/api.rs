//! Calls of the entities' API, and its credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::{Acted, Scene};
use crate::{Browser, HttpAnswer, TokenAnswer};

const SERVICE: &str = "my.trusted.app/service";
const SCRIPTS: &str = "my.trusted.app/scripts";
const LEGACY: &str = "legacy.client";
const ODATA: &str = "/api/domain/odata";

async fn token(scene: &Scene<'_>) -> String {
    TokenAnswer::read(&scene.app(SERVICE).service_token("read update").await).access
}

async fn live(scene: &Scene<'_>) -> u64 {
    scene.server.store().await.seats_taken().await.expect("no fault").0
}

/// Opens a session, which takes exactly one seat whatever failed. No seat is left without a session.
async fn opens_one_seat(scene: &Scene<'_>, call: impl AsyncFn() -> u16) {
    let before = live(scene).await;
    if let Some(status) = scene.act(&call).await.done() {
        assert_eq!(status, 200);
    }
    assert_eq!(call().await, 200);
    assert!(scene.shares_the_server() || live(scene).await == before + 1, "one seat");
}

pub(super) async fn first_call(scene: &mut Scene<'_>) {
    let token = token(scene).await;
    opens_one_seat(scene, async || scene.status(&token).await).await;
}

pub(super) async fn later_call(scene: &mut Scene<'_>) {
    let token = token(scene).await;
    assert_eq!(scene.status(&token).await, 200);
    if let Some(status) = scene.act(async || scene.status(&token).await).await.done() {
        assert_eq!(status, 200);
    }
    assert_eq!(scene.status(&token).await, 200);
}

async fn send(scene: &Scene<'_>, token: &str, method: &Method, path: &str, body: &Value) -> HttpAnswer {
    let client = scene.client();
    let ask = client.ask(method, &format!("{ODATA}/{path}")).bearer(token);
    if body.is_null() { ask.send().await } else { ask.body("application/json", body.to_string()).send().await }
}

async fn create(scene: &Scene<'_>, token: &str) -> HttpAnswer {
    let body = json!({ "CurrencySign": format!("{:03X}", scene.number % 0x1000), "Name": scene.name("currency") });
    send(scene, token, &Method::POST, "General_Currencies", &body).await
}

async fn created(scene: &Scene<'_>, token: &str) -> String {
    let made = create(scene, token).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["@odata.id"].as_str().expect("an id").to_owned()
}

/// The entity is created once: after a fault it exists, or the repetition creates it.
pub(super) async fn create_entity(scene: &mut Scene<'_>) {
    let token = token(scene).await;
    let acted = scene.act(async || create(scene, &token).await.status.as_u16()).await;
    let again = create(scene, &token).await.status.as_u16();
    match acted {
        Acted::Done(status) => assert_eq!((status, again), (201, 409)),
        Acted::Stopped => assert!(matches!(again, 201 | 409), "{again}"),
    }
}

pub(super) async fn change_entity(scene: &mut Scene<'_>) {
    let token = token(scene).await;
    let (id, name) = (created(scene, &token).await, scene.name("changed"));
    let body = json!({ "Name": name });
    let change = async || {
        let answer = send(scene, &token, &Method::PATCH, &id, &body).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    };
    if !scene.act(change).await.is_done() {
        change().await;
    }
    let read = send(scene, &token, &Method::GET, &id, &Value::Null).await;
    assert!(read.text().contains(&name), "{}", read.text());
}

pub(super) async fn delete_entity(scene: &mut Scene<'_>) {
    let token = token(scene).await;
    let id = created(scene, &token).await;
    let delete = async || send(scene, &token, &Method::DELETE, &id, &Value::Null).await.status.as_u16();
    match scene.act(delete).await {
        Acted::Done(status) => assert_eq!(status, 204),
        Acted::Stopped => assert!(matches!(delete().await, 204 | 404)),
    }
    assert_eq!(send(scene, &token, &Method::GET, &id, &Value::Null).await.status, 404);
}

async fn call_as(scene: &Scene<'_>, authorization: &str) -> u16 {
    let client = scene.client();
    let ask = client.ask(&Method::GET, &format!("{ODATA}/Crm_Customers?$top=1"));
    ask.header("authorization", authorization).send().await.status.as_u16()
}

async fn erp_login(scene: &Scene<'_>, person: &Browser) -> String {
    let body = json!({ "user": person.login, "pass": person.password, "app": LEGACY }).to_string();
    let client = scene.client();
    let answer = client.ask(&Method::POST, "/api/domain/login").body("application/json", body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["authorization"].as_str().expect("a text").to_owned()
}

pub(super) async fn log_in_by_erp_login(scene: &mut Scene<'_>) {
    let (person, before) = (scene.person().await, live(scene).await);
    let acted = scene.act(async || erp_login(scene, &person).await).await;
    let session = erp_login(scene, &person).await;
    if let Acted::Done(first) = acted {
        assert_eq!(first, session, "the same while it lives");
    }
    assert_eq!(call_as(scene, &session).await, 200);
    assert!(scene.shares_the_server() || live(scene).await == before + 1, "one seat");
}

pub(super) async fn call_by_erp_session(scene: &mut Scene<'_>) {
    let person = scene.person().await;
    let session = erp_login(scene, &person).await;
    scene.act(async || assert_eq!(call_as(scene, &session).await, 200)).await;
    assert_eq!(call_as(scene, &session).await, 200);
}

pub(super) async fn call_by_basic(scene: &mut Scene<'_>) {
    let person = scene.person().await;
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", person.login, person.password)));
    opens_one_seat(scene, async || call_as(scene, &basic).await).await;
}

/// A service token issued by the command line, which the server's memory does not know yet.
pub(super) async fn service_key(scene: &Scene<'_>, application: &str) -> String {
    let operator = scene.server.operator().await;
    let mut rng = scene.server.rng();
    let scope = oauth::scope::Scope::parse("read").expect("a scope");
    let kind = model::reference_token::ReferenceTokenKind::Service;
    let wish =
        model::reference_token::NewTokenRequest { kind, description: "a script", scope: &scope, expires_at: None };
    let draft = flows::admin::tokens::TokenDraft { application, login: None, wish };
    let issued = operator.issue_token(&draft, &mut scene.server.moment(&mut rng)).await;
    issued.expect("no fault").expect("it may have one").value.expose().to_owned()
}

pub(super) async fn first_call_by_reference_token(scene: &mut Scene<'_>) {
    let value = service_key(scene, SERVICE).await;
    opens_one_seat(scene, async || scene.status(&value).await).await;
}

async fn make_token(browser: &mut Browser) -> HttpAnswer {
    let page = browser.open("/profile/tokens").await;
    let link = page.attributes(".sites a", "href").into_iter().find(|link| !link.is_empty()).expect("one is offered");
    let page = browser.open(&link).await;
    browser.submit(&page, "description", &[("description", SCRIPTS), ("scope", "read"), ("expires", "30")]).await
}

fn value(made: &HttpAnswer) -> String {
    assert_eq!(made.status, 201, "{}", made.text());
    made.words("#value").expect("the value")
}

/// A token whose value was never shown cannot be used. Its owner sees it in the list and creates another.
pub(super) async fn make_personal_token(scene: &mut Scene<'_>) {
    let mut person = scene.signed_in().await;
    let made = match scene.act(async || value(&make_token(&mut person).await)).await {
        Acted::Done(value) => value,
        Acted::Stopped => value(&make_token(&mut person).await),
    };
    assert_eq!(scene.status(&made).await, 200);
}

pub(super) async fn revoke_personal_token(scene: &mut Scene<'_>) {
    let mut person = scene.signed_in().await;
    let made = value(&make_token(&mut person).await);
    assert_eq!(scene.status(&made).await, 200);
    let revoke = async |person: &mut Browser| {
        let list = person.open("/profile/tokens").await;
        let Some(id) = list.attributes("[name=revoke]", "value").into_iter().next() else { return };
        person.submit(&list, "revoke", &[("revoke", &id)]).await;
    };
    if !scene.act(async || revoke(&mut person).await).await.is_done() {
        revoke(&mut person).await;
    }
    assert_eq!(scene.status(&made).await, 401, "on the next call");
}
