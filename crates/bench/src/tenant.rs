//! The demo's instance inside this process, where commits can be counted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, bail};
use demo::{DemoInstance, password_of};
use flows::BelievedInstance;
use flows::auth::browser_session::SignedIn;
use flows::auth::sign_in::{SignInCookies, SignInOutcome};
use flows::{Database, DatabaseUrl, DefaultInstance, InstanceLocation, MasterKey, Passwords, Platform, Server};
use gatehouse::demo::{DemoPasswords, seed};
use model::audit::{RequestId, RequestInfo};
use model::user::PasswordCredentials;
use model::{Ctx, Moment, Rng, RootUrl, Timestamp};
use oauth::client::ClientCredentials;
use oauth::params::Params;
use oauth::secret::Presented;
use oauth::token::{TokenRequest, TokenResponse};
use web::SystemRng;

/// The demo's instance without a limit on seats.
pub(crate) const DEMO: DemoInstance = DemoInstance::DemoDb;

/// The real clock and the operating system's randomness.
pub(crate) struct RealWorld;

impl Platform for RealWorld {
    fn now(&self) -> Timestamp {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
    }

    fn rng(&self) -> Box<dyn Rng> {
        Box::new(SystemRng)
    }
}

/// Fills an empty database with the demo's instance.
pub(crate) async fn plant(url: &str, master: &MasterKey) -> Result<Database> {
    let database = Database::open(&DatabaseUrl::parse(url)?).await?;
    database.migrate().await?;
    let mut rng = SystemRng;
    let mut moment = Moment { now: RealWorld.now(), rng: &mut rng };
    let passwords = DemoPasswords::hash(&Passwords::new(), &mut moment).await?;
    seed(&database, master, DEMO, &passwords, &mut moment).await?;
    Ok(database)
}

/// One of the demo's instances, with a signed-in user.
pub(crate) struct Tenant {
    pub(crate) server: Arc<Server>,
    pub(crate) instance: BelievedInstance,
    pub(crate) database: Database,
    pub(crate) browser: SignedIn,
    /// The client id of the application that redeems codes and refreshes tokens.
    pub(crate) client: String,
}

pub(crate) fn request() -> RequestInfo {
    request_from(Ipv4Addr::LOCALHOST)
}

pub(crate) fn request_from(address: Ipv4Addr) -> RequestInfo {
    RequestInfo {
        address: IpAddr::V4(address),
        user_agent: Some("bench".into()),
        id: RequestId::new(Timestamp(0), 1, 1),
    }
}

impl Tenant {
    pub(crate) async fn open(url: &str) -> Result<Arc<Self>> {
        let master = MasterKey::new(&SystemRng.secret());
        let database = plant(url, &master).await?;
        let [tenant] = Self::of_server(database, master, [DEMO]).await?;
        Ok(tenant)
    }

    /// Opens both instances of the demo in one server.
    pub(crate) async fn open_both(url: &str) -> Result<[Arc<Self>; 2]> {
        let master = MasterKey::new(&SystemRng.secret());
        let database = plant(url, &master).await?;
        let mut rng = SystemRng;
        let mut moment = Moment { now: RealWorld.now(), rng: &mut rng };
        let passwords = DemoPasswords::hash(&Passwords::new(), &mut moment).await?;
        seed(&database, &master, DemoInstance::TestDb, &passwords, &mut moment).await?;
        Self::of_server(database, master, [DemoInstance::TestDb, DEMO]).await
    }

    async fn of_server<const N: usize>(
        database: Database,
        master: MasterKey,
        instances: [DemoInstance; N],
    ) -> Result<[Arc<Self>; N]> {
        let site = |instance: &DemoInstance| {
            let root = RootUrl::parse(&format!("http://{}.localhost", instance.name())).map_err(anyhow::Error::msg)?;
            anyhow::Ok(InstanceLocation { name: instance.name().to_owned(), root, hosts: Vec::new() })
        };
        let sites = instances.iter().map(site).collect::<Result<Vec<_>>>()?;
        let default = DefaultInstance::OfEveryHost(DEMO.name());
        let server = Server::open(database.clone(), master, sites, Some(default), Arc::new(RealWorld)).await?;
        let mut tenants = Vec::new();
        for (instance, demo) in server.instances().iter().zip(instances) {
            let believed = BelievedInstance::of(Arc::clone(instance), RealWorld.now()).await;
            let instance = believed.map_err(|(_, fault)| fault)?;
            let browser = sign_in(&instance, request(), "alice").await?;
            let suffix = if demo == DemoInstance::DemoDb { "-demodb" } else { "" };
            let client = format!("client_id=portal.example.com&client_secret=portal-secret{suffix}");
            let (server, database) = (Arc::clone(&server), database.clone());
            tenants.push(Arc::new(Self { server, instance, database, browser, client }));
        }
        tenants.try_into().map_err(|_| anyhow!("one tenant for each instance"))
    }

    /// Exchanges like `POST /id/connect/token`.
    pub(crate) async fn exchange(&self, form: &str) -> Result<TokenResponse> {
        let params = Params::parse(form.as_bytes()).map_err(|error| anyhow!("{error:?}"))?;
        let credentials = ClientCredentials::parse(None, &params).map_err(|error| anyhow!("{error:?}"))?;
        let parsed = TokenRequest::parse(&params).map_err(|error| anyhow!("{error:?}"))?;
        let mut rng = SystemRng;
        let from = request();
        let mut ctx = Ctx { now: RealWorld.now(), rng: &mut rng, request: &from };
        let answer = self.instance.protocol().exchange(&mut ctx, &credentials, &parsed).await?;
        answer.map_err(|refusal| anyhow!("{refusal:?}"))
    }
}

/// Signs in like the sign-in page.
pub(crate) async fn sign_in(instance: &BelievedInstance, request: RequestInfo, login: &str) -> Result<SignedIn> {
    let mut rng = SystemRng;
    let mut ctx = Ctx { now: RealWorld.now(), rng: &mut rng, request: &request };
    let password = Presented::new(password_of(login));
    let credentials = PasswordCredentials { login, password: &password };
    let signed_in = instance.auth().sign_in(&mut ctx, credentials, SignInCookies::default(), None).await?;
    match signed_in.map_err(|refusal| anyhow!("{refusal:?}"))? {
        SignInOutcome::Done(browser, _) => Ok(browser),
        SignInOutcome::SecondStep { .. } => bail!("{login} of the demo has no second factor"),
    }
}
