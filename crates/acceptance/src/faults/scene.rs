use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flows::admin::{ElevatedAdminService, UserDraft};
use flows::{Answer, Fault, FaultKind};
use http::Method;
use model::{Email, Moment, Rng, UserType};
use serde_json::Value;
use store::{Batch, CommitOutcome};

use super::{Stage, Watch};
use crate::{App, Browser, Client, TokenAnswer};

/// One run of a flow.
pub struct Scene<'s> {
    stage: &'s Stage,
    /// Number of this run, used to make unique names.
    pub number: u64,
    watch: Arc<Watch>,
}

/// The end of a flow's act.
#[derive(Debug)]
pub enum Acted<T> {
    Done(T),
    /// A 503, a command that failed, or a caller that disconnected. The database may have committed.
    Stopped,
}

impl<T> Acted<T> {
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(done) => Some(done),
            Self::Stopped => None,
        }
    }

    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

impl Deref for Scene<'_> {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        self.stage
    }
}

/// Far longer than any work takes.
const PATIENCE: Duration = Duration::from_mins(1);

const ADMIN_API: &str = "/manage/api/v1";

impl<'s> Scene<'s> {
    pub(super) fn new(stage: &'s Stage, number: u64) -> Self {
        Self { stage, number, watch: Arc::default() }
    }

    /// Runs the part of the flow in which faults strike. It ends when it is done, at the first 503, or when an answer
    /// never comes. When this returns, the server has finished its work for a caller that disconnected.
    pub async fn act<T>(&self, act: impl AsyncFnOnce() -> T) -> Acted<T> {
        let barrier = Arc::clone(&*self.barrier.lock());
        let instance = &self.server.server.instances()[0];
        let is_leader = barrier.wait().await.is_leader();
        let references = Arc::strong_count(instance);
        let at_rest = self.references_at_rest.fetch_min(references, Ordering::Relaxed).min(references);
        if is_leader {
            self.injector.arm(&**self.plan.lock());
        }
        barrier.wait().await;
        self.watch.strike(true);
        let acted = tokio::select! {
            biased;
            () = self.watch.stopped() => Acted::Stopped,
            () = self.injector.withholds() => Acted::Stopped,
            done = act() => Acted::Done(done),
        };
        self.watch.strike(false);
        if barrier.wait().await.is_leader() {
            *self.counted.lock() = self.injector.disarm();
        }
        barrier.wait().await;
        let at_rest = async {
            while self.watch.has_requests() || Arc::strong_count(instance) > at_rest {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, at_rest).await.expect("work for a caller who went away comes to an end");
        barrier.wait().await;
        acted
    }

    /// The answer of a command or a background task. A fault ends the act like a 503.
    pub async fn or_stop<T>(&self, answer: Result<T, Fault>) -> T {
        match answer {
            Ok(done) => done,
            Err(fault) => {
                assert_eq!(fault.kind(), FaultKind::Unavailable, "a passing fault passes: {fault:?}");
                assert!(self.watch.strikes(), "nothing fails on purpose: {fault:?}");
                self.watch.stop().await
            }
        }
    }

    /// A client in a network of this run alone, so that other runs' wrong passwords do not count.
    pub fn client(&self) -> Client {
        let [.., a, b] = self.number.to_be_bytes();
        Client { watch: Some(Arc::clone(&self.watch)), peer: ([10, a, b, 1], 50_000).into(), ..self.server.client() }
    }

    pub fn browser(&self, login: &str) -> Browser {
        Browser { client: self.client(), ..self.server.browser(login) }
    }

    /// Alice's browser, already signed in.
    pub fn alice(&self) -> Browser {
        Browser { client: self.client(), ..self.alice.clone() }
    }

    pub fn app(&self, uri: &str) -> App {
        App { client: self.client(), ..self.server.app(uri) }
    }

    /// A name that is unique to this run.
    pub fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.number)
    }

    /// Creates a user with Alice's password and permissions.
    pub async fn person(&self) -> Browser {
        let login = self.name("person");
        self.add_person(&login, Some("Sales"), false).await;
        Browser { password: self.alice.password.clone(), ..self.browser(&login) }
    }

    pub(super) async fn add_person(&self, login: &str, role: Option<&str>, is_admin: bool) {
        let mut rng = self.server.rng();
        let mut moment = self.server.moment(&mut rng);
        let draft = UserDraft {
            login,
            user_type: UserType::Internal,
            is_admin,
            name: login,
            email: Some(Email { address: format!("{login}@example.com"), verified: true }),
            role,
            enabled: true,
        };
        let made = self.server.operator().await.create_user(draft, &mut moment).await;
        made.expect("no fault").expect("a new login");
        let store = self.server.store().await;
        let (user, _) = store
            .user_by_login(&model::Login::parse(login).expect("a login"))
            .await
            .expect("no fault")
            .expect("just made");
        let set = Batch::new().with(store.set_password(&user, &self.password, self.server.now()));
        assert_eq!(store.commit(set).await.expect("no fault"), CommitOutcome::Committed);
    }

    pub async fn signed_in(&self) -> Browser {
        let mut person = self.person().await;
        assert_eq!(person.sign_in().await.page(), "account");
        person
    }

    /// Registers an application like one of the demo's.
    pub async fn application(&self) -> App {
        let uri = self.name("app");
        let redirect_uri = "http://localhost:3000/signin-callback";
        let record = serde_json::json!({
            "ApplicationUri": uri, "Name": uri, "ClientType": "Confidential", "Scope": "read update",
            "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": [redirect_uri],
            "SystemUserAllowed": true, "SystemUser": self.user_id("svc.integration").await,
            "AccessTokens": "AuthenticatedUsers", "BasicAuthenticationAllowed": true,
        });
        let app = self.server.register(record, Some("secret")).await;
        App { client: self.client(), ..app }
    }

    pub async fn user_id(&self, login: &str) -> uuid::Uuid {
        let found = self.server.operator().await.user_by_name(login).await;
        found.expect("no fault").expect("there").user.id.0
    }

    /// Signs the same user in at another browser.
    pub async fn signed_in_as(&self, person: &Browser) -> Browser {
        let mut browser = Browser { password: person.password.clone(), ..self.browser(&person.login) };
        assert_eq!(browser.sign_in().await.page(), "account");
        browser
    }

    /// Whether other flows run on the same server now.
    pub fn shares_the_server(&self) -> bool {
        self.parties.load(Ordering::Relaxed) > 1
    }

    /// Tokens of an application for a signed-in user.
    pub async fn tokens(&self, app: &App, person: &mut Browser) -> TokenAnswer {
        app.sign_in(person, "openid read update offline_access").await
    }

    pub async fn status(&self, token: &str) -> u16 {
        self.client().call_api(token).await.status.as_u16()
    }

    /// The admin API with an access token of an administrator.
    pub async fn admin_api(&self) -> AdminApi {
        let manager = self.server.manager().await;
        let token = TokenAnswer::read(&manager.service_token("manage").await).access;
        AdminApi { client: self.client(), token }
    }

    /// Runs one command of the command line. A fault ends the act. Also used outside of acts, where nothing fails.
    pub async fn command<T, R: std::fmt::Debug>(
        &self,
        command: impl AsyncFnOnce(&ElevatedAdminService<'_>, &mut Moment<'_>) -> Answer<T, R>,
    ) -> Result<T, R> {
        let opened = ElevatedAdminService::open(&self.command_line, &self.stage.master, "testdb").await;
        let operator = self.or_stop(opened).await.expect("the demo has it");
        let mut rng: Box<dyn Rng> = self.server.rng();
        let done = command(&operator, &mut self.server.moment(&mut rng)).await;
        self.or_stop(done).await
    }
}

/// A client of the admin API.
#[derive(Clone)]
pub struct AdminApi {
    client: Client,
    token: String,
}

impl AdminApi {
    pub async fn get(&self, path: &str) -> crate::HttpAnswer {
        self.client.get_with(&format!("{ADMIN_API}{path}"), &self.token).await
    }

    /// Sends a change that matches any version. A null body is omitted.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> crate::HttpAnswer {
        let mut ask = self.client.ask(&method, &format!("{ADMIN_API}{path}")).bearer(&self.token);
        if method != Method::POST {
            ask = ask.header("if-match", "*");
        }
        if !body.is_null() {
            ask = ask.body("application/json", body.to_string());
        }
        ask.send().await
    }

    pub async fn application(&self, uri: &str) -> String {
        let list = self.get(&format!("/applications?uri={}", uri.replace('/', "%2F"))).await;
        format!("/applications/{}", list.json()["items"][0]["id"].as_str().expect("it is there"))
    }

    pub async fn user(&self, login: &str) -> String {
        let list = self.get(&format!("/users?login={login}")).await;
        format!("/users/{}", list.json()["items"][0]["id"].as_str().expect("it is there"))
    }
}
