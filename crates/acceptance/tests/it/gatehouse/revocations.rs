//! Revocation: disabling an application or a user, a new password, or a withdrawn consent. Every kind of token is
//! tested at every endpoint (`sessions.md`, `identity.md` §3.2).

use acceptance::{App, Browser, TestServer, TokenAnswer, on_both};
use flows::admin::tokens::TokenDraft;
use http::Method;
use model::Ctx;
use model::reference_token::{NewTokenRequest, ReferenceTokenKind};
use oauth::scope::Scope;
use serde_json::json;

use crate::PORTAL;

on_both! {
    an_application_that_is_switched_off_takes_all_its_tokens_along
    a_user_who_is_disabled_takes_all_tokens_along
    a_new_password_ends_every_sign_in_and_leaves_keys_alone
    a_withdrawn_consent_ends_what_came_of_it_and_nothing_else
    a_withdrawn_consent_frees_the_seat_that_no_other_application_uses
}

const SHOP: &str = "shop.example/app";
const SECRET: &str = "the-secret-of-the-shop";

/// An application with every kind of token, and a user with one of each.
struct Everything {
    app: App,
    alice: Browser,
    tokens: TokenAnswer,
    /// Tokens of another application in the same sign-in.
    beside: TokenAnswer,
    service: String,
    personal_key: String,
    service_key: String,
}

impl Everything {
    async fn of(server: &TestServer) -> Self {
        let users = server.users().await;
        let system_user = users.iter().find(|user| user.login.as_str() == "svc.integration").expect("it is there");
        let record = json!({
            "ApplicationUri": SHOP, "Name": "Shop", "ClientType": "Confidential", "Scope": "read update",
            "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": ["http://localhost:3000/shop"],
            "SystemUserAllowed": true, "SystemUser": system_user.id.0, "AccessTokens": "AuthenticatedUsers",
        });
        let app = server.register(record, Some(SECRET)).await;
        let mut alice = server.browser("alice");
        let tokens = app.sign_in(&mut alice, "openid read offline_access").await;
        let beside = server.app(PORTAL).sign_in(&mut alice, "openid read offline_access").await;
        let service = TokenAnswer::read(&app.service_token("read").await).access;
        let personal_key = key(server, Some("alice")).await;
        let service_key = key(server, None).await;
        let all = Self { app, alice, tokens, beside, service, personal_key, service_key };
        assert_eq!(all.doors().await, ALIVE);
        // The tick writes which applications use a session.
        server.tick().await;
        all
    }

    async fn introspected(&self, token: &str) -> bool {
        let fields = [("client_id", SHOP), ("client_secret", SECRET), ("token", token)];
        let answer = self.app.client.post("/id/connect/introspect", &fields).await;
        answer.status == 200 && answer.json()["active"] == json!(true)
    }

    /// The answer of each endpoint. The refresh token comes last, because its use changes it.
    async fn doors(&self) -> Doors {
        let client = &self.app.client;
        let api = async |token: &str| client.call_api(token).await.status.as_u16();
        Doors {
            api: api(&self.tokens.access).await,
            user_info: client.user_info(&self.tokens.access).await.status.as_u16(),
            introspection: [
                self.introspected(&self.tokens.access).await,
                self.introspected(self.tokens.refresh()).await,
                self.introspected(&self.personal_key).await,
                self.introspected(&self.service).await,
            ],
            beside: api(&self.beside.access).await,
            keys: [api(&self.personal_key).await, api(&self.service_key).await],
            service: api(&self.service).await,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Doors {
    api: u16,
    user_info: u16,
    /// For the access token, the refresh token, the personal token and the service token.
    introspection: [bool; 4],
    beside: u16,
    /// For the personal token and the service token.
    keys: [u16; 2],
    service: u16,
}

const ALIVE: Doors = Doors {
    api: 200,
    user_info: 200,
    introspection: [true; 4],
    beside: 200,
    // Five seats, one of them the administrator's: all four of these have one.
    keys: [200, 200],
    service: 200,
};

async fn key(server: &TestServer, login: Option<&str>) -> String {
    let mut rng = server.rng();
    let scope = Scope::parse("read").expect("a scope");
    let kind = if login.is_some() { ReferenceTokenKind::Personal } else { ReferenceTokenKind::Service };
    let wish = NewTokenRequest { kind, description: "a script", scope: &scope, expires_at: None };
    let draft = TokenDraft { application: SHOP, login, wish };
    let issued = server.operator().await.issue_token(&draft, &mut server.moment(&mut rng)).await.expect("no fault");
    issued.expect("the policy allows it").value.expose().to_owned()
}

async fn seats_taken(server: &TestServer) -> u64 {
    server.operator().await.seats().await.expect("seats can be read").0.used
}

async fn an_application_that_is_switched_off_takes_all_its_tokens_along(server: TestServer) {
    let all = Everything::of(&server).await;
    let code = all.app.code(&mut all.alice.clone(), "openid read").await;
    server.enable_app(SHOP, false).await;
    assert_eq!(seats_taken(&server).await, 1, "of the sign-in, which another application uses");
    let dead =
        Doors { api: 401, user_info: 401, introspection: [false; 4], beside: 200, keys: [401, 401], service: 401 };
    assert_eq!(all.doors().await, dead);
    assert_eq!(all.app.refresh(all.tokens.refresh()).await.refusal(), (401, "invalid_client".to_owned()));
    assert_eq!(all.app.redeem(&code).await.refusal(), (401, "invalid_client".to_owned()));

    server.enable_app(SHOP, true).await;
    assert_eq!(all.app.refresh(all.tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(all.app.redeem(&code).await.refusal(), (400, "invalid_grant".to_owned()), "what died stays dead");
    // Reference tokens were issued deliberately: they are valid as long as their application.
    assert_eq!(all.doors().await, Doors { keys: [200, 200], introspection: [false, false, true, false], ..dead });
}

async fn a_user_who_is_disabled_takes_all_tokens_along(server: TestServer) {
    let mut all = Everything::of(&server).await;
    let code = all.app.code(&mut all.alice, "openid read").await;
    server.enable_user("alice", false).await;
    assert_eq!(seats_taken(&server).await, 2, "of the service and its key");
    let dead = Doors {
        api: 401,
        user_info: 401,
        introspection: [false, false, false, true],
        beside: 401,
        keys: [401, 200],
        service: 200,
    };
    assert_eq!(all.doors().await, dead);
    assert_eq!(all.app.refresh(all.tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(all.app.redeem(&code).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(all.alice.open("/id/account").await.page(), "sign-in");
}

async fn a_new_password_ends_every_sign_in_and_leaves_keys_alone(server: TestServer) {
    let mut all = Everything::of(&server).await;
    let code = all.app.code(&mut all.alice, "openid read").await;
    server.set_password("alice", "a new password of alice").await;
    assert_eq!(seats_taken(&server).await, 2, "of the service and its key");
    let dead = Doors {
        api: 401,
        user_info: 401,
        introspection: [false, false, true, true],
        beside: 401,
        keys: [200, 200],
        service: 200,
    };
    assert_eq!(all.doors().await, dead);
    assert_eq!(all.app.refresh(all.tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(all.app.redeem(&code).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(all.alice.open("/id/account").await.page(), "sign-in");
}

/// An operator withdraws the consent beside the running server.
async fn withdraw(server: &TestServer, login: &str, uri: &str) -> Result<(), String> {
    let mut rng = server.rng();
    let done = server.operator().await.withdraw_consent(login, uri, &mut server.moment(&mut rng)).await;
    server.catch_up().await;
    done.expect("the database answers").map_err(|refusal| refusal.to_string())
}

async fn a_withdrawn_consent_ends_what_came_of_it_and_nothing_else(server: TestServer) {
    let mut all = Everything::of(&server).await;
    let code = all.app.code(&mut all.alice, "openid read").await;
    let of_bob = all.app.sign_in(&mut server.browser("bob"), "openid read").await;
    assert_eq!(withdraw(&server, "alice", SHOP).await, Ok(()));
    let dead = Doors {
        api: 401,
        user_info: 401,
        introspection: [false, false, true, true],
        beside: 200,
        keys: [200, 200],
        service: 200,
    };
    assert_eq!(all.doors().await, dead);
    assert_eq!(seats_taken(&server).await, 4, "nobody lost a seat that somebody still uses");
    assert_eq!(all.app.refresh(all.tokens.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(all.app.redeem(&code).await.refusal(), (400, "invalid_grant".to_owned()), "a code that waited");
    assert_eq!(all.app.client.user_info(&of_bob.access).await.status, 200, "another person's");
    assert_eq!(all.alice.open("/id/account").await.page(), "account", "the sign-in goes on");

    let again = all.app.asks("openid read");
    let silent = all.alice.open(&again.clone().with("prompt", "none").path()).await;
    assert_eq!(silent.callback_error(), "consent_required");
    let page = all.alice.open(&again.path()).await;
    assert_eq!(page.page(), "consent", "it has to ask again");
    let code = all.alice.allow(&page).await.callback().remove("code").expect("a code");
    let anew = TokenAnswer::read(&all.app.redeem(&code).await);
    assert_eq!(all.app.client.call_api(&anew.access).await.status, 200);
    assert_eq!(all.doors().await, dead, "what died stays dead");

    assert_eq!(withdraw(&server, "alice", SHOP).await, Ok(()));
    let twice = withdraw(&server, "alice", SHOP).await.expect_err("nothing is left");
    assert!(twice.contains("consent of alice"), "{twice}");
    assert!(withdraw(&server, "nobody", SHOP).await.is_err());
    assert!(withdraw(&server, "alice", "nothing").await.is_err());
    assert_eq!(server.client().call_api(&anew.access).await.status, 401);
    // A restart loads the revocations from the database.
    let server = server.restarted().await;
    assert_eq!(server.client().user_info(&all.tokens.access).await.status, 401);
    assert_eq!(server.client().user_info(&anew.access).await.status, 401);
}

/// The user withdraws the consent; the answer is sent when everything is done.
async fn a_withdrawn_consent_frees_the_seat_that_no_other_application_uses(server: TestServer) {
    let record = json!({
        "ApplicationUri": SHOP, "Name": "Shop", "ClientType": "Confidential", "Scope": "read",
        "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": ["http://localhost:3000/shop"],
    });
    let app = server.register(record, Some(SECRET)).await;
    let mut alice = server.browser("alice");
    let tokens = app.sign_in(&mut alice, "openid read").await;
    let portal = server.app(PORTAL).sign_in(&mut alice, "openid read").await;
    let instance = server.believed("testdb").await;
    let person = server.users().await;
    let person = person.into_iter().find(|user| user.login.as_str() == "alice").expect("alice").id;
    let registered = server.operator().await.application(SHOP).await.expect("no fault").expect("registered");
    let request = model::audit::RequestInfo {
        address: [192, 0, 2, 1].into(),
        user_agent: None,
        id: model::audit::RequestId::new(server.now(), 1, 1),
    };
    let withdraw = async || {
        let mut rng = server.rng();
        let mut ctx = Ctx { now: server.now(), rng: &mut *rng, request: &request };
        instance.account().withdraw_consent(&mut ctx, person, &registered).await.expect("no fault")
    };
    for token in [&tokens.access, &portal.access] {
        assert_eq!(app.client.call_api(token).await.status, 200);
    }
    assert_eq!(withdraw().await, Ok(()));
    assert_eq!(app.client.call_api(&tokens.access).await.status, 401, "dead before the answer");
    assert_eq!(seats_taken(&server).await, 1, "another application uses the session");
    assert_eq!(app.client.call_api(&portal.access).await.status, 200);
    assert!(withdraw().await.is_err(), "once");

    let page = alice.open(&app.asks("openid read").path()).await;
    let code = alice.allow(&page).await.callback().remove("code").expect("a code");
    let anew = TokenAnswer::read(&app.redeem(&code).await);
    assert_eq!(app.client.call_api(&anew.access).await.status, 200);
    server.tick().await;
    server.enable_app(PORTAL, false).await;
    assert_eq!(seats_taken(&server).await, 1, "the session lists the application anew");
    assert_eq!(withdraw().await, Ok(()));
    assert_eq!(seats_taken(&server).await, 0, "none uses it any more");
    assert_eq!(app.client.ask(&Method::GET, "/id/connect/userinfo").bearer(&anew.access).send().await.status, 401);
    let trail = server.audit().await;
    let count = |kind: &str, reason: &str| trail.iter().filter(|row| row.kind == kind && row.reason == reason).count();
    assert_eq!((count("consent-withdrawn", ""), count("session-closed", "consent_withdrawn")), (2, 1));
}
