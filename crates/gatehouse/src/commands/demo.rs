//! `gatehouse demo`: a complete server on an embedded database, ready in under a second.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use demo::DemoInstance;
use flows::{Database, DatabaseUrl, DefaultInstance, InstanceLocation, MasterKey, Passwords, Platform as _, Server};
use model::{Moment, Rng as _, RootUrl};
use web::SystemRng;
use web::server::{Security, TrustedProxies};

use crate::cli::Demo;
use crate::commands::serve::{answer, bind};
use crate::commands::{SystemPlatform, welcome};
use crate::config::Environment;
use crate::demo::{DemoPasswords, seed};
use crate::logging;
use crate::logging::{LogFormat, LogLevel, LogSettings};
use crate::output;
use crate::watch::Watch;

pub(super) async fn run(demo: Demo, environment: Environment<'_>) -> Result<()> {
    ensure!(
        demo.listen.ip().is_loopback(),
        "{} is not a loopback address: the demo's passwords are public. Use `gatehouse serve` for a real installation.",
        demo.listen.ip()
    );
    let settings = LogSettings { format: LogFormat::Text, level: LogLevel::Warn };
    let _log = logging::start(settings, environment("RUST_LOG").as_deref())?;
    let watch = Watch::start()?;
    let listeners = bind(&[demo.listen])?;
    let port = listeners[0].local_addr()?.port();

    // Removed on drop, after all writes.
    let temporary = match demo.data {
        None => Some(tempfile::tempdir().context("cannot create a temporary folder")?),
        Some(_) => None,
    };
    let folder = demo.data.as_deref().or(temporary.as_ref().map(tempfile::TempDir::path)).expect("one or the other");
    let (database, master) = open(folder).await?;
    let sites = DemoInstance::ALL
        .map(|instance| {
            Ok(InstanceLocation { name: instance.name().to_owned(), root: root(instance, port)?, hosts: Vec::new() })
        })
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let default = DefaultInstance::OfLoopback(DemoInstance::TestDb.name());
    let server = Server::open(database, master, sites, Some(default), Arc::new(SystemPlatform)).await?;
    watch.over(&server);
    output::print(&welcome::text(port)).context("the welcome cannot be printed")?;
    answer(&server, TrustedProxies::default(), (listeners, Security::Plain), watch.stop()).await;
    Ok(())
}

/// Hosts, root URLs and issuers depend on the listener of this run and are not stored.
fn root(instance: DemoInstance, port: u16) -> Result<RootUrl> {
    let host = match instance {
        DemoInstance::TestDb => "localhost",
        DemoInstance::DemoDb => "demodb.localhost",
    };
    RootUrl::parse(&format!("http://{host}:{port}")).map_err(anyhow::Error::msg)
}

/// Opens the demo's database and fills it on first use. It is filled in a separate folder and then renamed, so that a
/// partly filled one is replaced. Files that the demo did not create are never touched.
async fn open(folder: &Path) -> Result<(Database, MasterKey)> {
    let place = folder.join("demo");
    if !place.exists() {
        let aside = folder.join("demo.half-filled");
        let _absent = fs::remove_dir_all(&aside);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&aside);
        made.with_context(|| format!("cannot create the folder {}", aside.display()))?;
        write_master_key(&aside).context("the demo's folder cannot be written")?;
        let (database, master) = open_filled(&aside).await?;
        fill(&database, &master).await?;
        database.close().await;
        fs::rename(&aside, &place).context("the demo's folder cannot be written")?;
    }
    open_filled(&place).await
}

async fn open_filled(place: &Path) -> Result<(Database, MasterKey)> {
    let master = master_key(place)?;
    let url = DatabaseUrl::parse(&format!("sqlite:{}", place.join("gatehouse.db").display()))?;
    let database = Database::open(&url).await.context("the demo's database cannot be opened")?;
    database.migrate().await.context("the demo's database migrations failed")?;
    Ok((database, master))
}

async fn fill(database: &Database, master: &MasterKey) -> Result<()> {
    let mut rng = SystemRng;
    let mut moment = Moment { now: SystemPlatform.now(), rng: &mut rng };
    let passwords = DemoPasswords::hash(&Passwords::new(), &mut moment).await?;
    for instance in DemoInstance::ALL {
        seed(database, master, instance, &passwords, &mut moment).await?;
    }
    Ok(())
}

const MASTER_KEY: &str = "master.key";

fn write_master_key(place: &Path) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(place.join(MASTER_KEY))?;
    file.write_all(STANDARD.encode(SystemRng.secret()).as_bytes())
}

fn master_key(place: &Path) -> Result<MasterKey> {
    let path = place.join(MASTER_KEY);
    let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    MasterKey::from_base64(&text).with_context(|| format!("{} is not 32 bytes in base64", path.display()))
}
