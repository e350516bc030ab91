//! The demo's instance inside this process: only here can commits be counted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use flows::demo::{DemoInstance, DemoPasswords, password_of, seed};
use flows::sign_in::{Browser, SignIn};
use flows::{Database, DatabaseUrl, DefaultInstance, House, Instance, MasterKey, Passwords, Site, World};
use model::audit::{RequestId, Visitor};
use model::{Dice, Moment, RootUrl, Timestamp};
use oauth::client::ClientCredentials;
use oauth::params::Params;
use oauth::secret::Presented;
use oauth::token::{TokenRequest, TokenResponse};
use web::SystemDice;

/// The instance of the demo that has no limit on seats.
pub(crate) const DEMO: DemoInstance = DemoInstance::DemoDb;

/// The real clock and the operating system's randomness.
pub(crate) struct RealWorld;

impl World for RealWorld {
    fn now(&self) -> Timestamp {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
    }

    fn dice(&self) -> Box<dyn Dice> {
        Box::new(SystemDice)
    }
}

/// Fills an empty database with the demo's instance.
pub(crate) async fn plant(url: &str, master: &MasterKey) -> Result<Database> {
    let database = Database::open(&DatabaseUrl::parse(url)?).await?;
    database.migrate().await?;
    let mut dice = SystemDice;
    let mut moment = Moment { now: RealWorld.now(), dice: &mut dice };
    let passwords = DemoPasswords::hash(&Passwords::new(), &mut moment).await?;
    seed((&database, master), DEMO, &passwords, &mut moment).await?;
    Ok(database)
}

/// The demo's instance, with somebody signed in.
pub(crate) struct Tenant {
    pub(crate) house: Arc<House>,
    pub(crate) instance: Arc<Instance>,
    pub(crate) database: Database,
    pub(crate) browser: Browser,
}

pub(crate) fn visitor() -> Visitor {
    Visitor {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: Some("bench".into()),
        request: RequestId::new(Timestamp(0), 1, 1),
    }
}

impl Tenant {
    pub(crate) async fn open(url: &str) -> Result<Arc<Self>> {
        let master = MasterKey::new(&SystemDice.secret());
        let database = plant(url, &master).await?;
        let mut dice = SystemDice;
        let mut moment = Moment { now: RealWorld.now(), dice: &mut dice };
        let root = RootUrl::parse("http://localhost").map_err(anyhow::Error::msg)?;
        let site = Site { name: DEMO.name().to_owned(), root, hosts: Vec::new() };
        let default = DefaultInstance::OfEveryHost(DEMO.name());
        let house = House::open(database.clone(), master, vec![site], Some(default), Arc::new(RealWorld)).await?;
        let instance = Arc::clone(house.instances().first().context("one was opened")?);
        let password = Presented::new(password_of("alice"));
        let signed_in = instance.sign_in(&mut moment, &visitor(), ("alice", &password), ("", None)).await?;
        let SignIn::Done(browser, _) = signed_in.map_err(|refusal| anyhow!("{refusal:?}"))? else {
            bail!("alice of the demo has no second factor");
        };
        Ok(Arc::new(Self { house, instance, database, browser }))
    }

    /// As `POST /id/connect/token` does it.
    pub(crate) async fn exchange(&self, form: &str) -> Result<TokenResponse> {
        let params = Params::parse(form.as_bytes()).map_err(|error| anyhow!("{error:?}"))?;
        let credentials = ClientCredentials::parse(None, &params).map_err(|error| anyhow!("{error:?}"))?;
        let request = TokenRequest::parse(&params).map_err(|error| anyhow!("{error:?}"))?;
        let mut dice = SystemDice;
        let mut moment = Moment { now: RealWorld.now(), dice: &mut dice };
        let answer = self.instance.exchange(&mut moment, &visitor(), &credentials, &request).await?;
        answer.map_err(|refusal| anyhow!("{refusal:?}"))
    }
}
