//! Folders with an installation, created by the server's own commands.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{ServerProcess, free_address};
use crate::tenant::DEMO;

/// Subfolder in which the demo stores its database and key.
const PLACE: &str = "demo";

const INSTANCE: &str = DEMO.name();

/// The server's executable.
pub(crate) struct Binary(PathBuf);

impl Binary {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn bytes(&self) -> Result<u64> {
        Ok(fs::metadata(&self.0)?.len())
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.0);
        command.arg(name).env_remove("RUST_LOG").stderr(Stdio::null());
        command
    }

    /// Command line of `gatehouse demo` on this folder, and its address.
    pub(crate) fn demo(&self, folder: &Path) -> Result<(Command, SocketAddr)> {
        let address = free_address()?;
        let mut command = self.command("demo");
        command.arg("--data").arg(folder).args(["--listen", &address.to_string()]);
        Ok((command, address))
    }
}

/// A configuration, database and master key. Removed on drop.
pub(crate) struct Installation<'a> {
    binary: &'a Binary,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl<'a> Installation<'a> {
    /// An installation with the demo's users, applications and data.
    pub(crate) fn with_data(binary: &'a Binary) -> Result<Self> {
        let folder = TempDir::new()?;
        let (command, address) = binary.demo(folder.path())?;
        let (demo, _) = ServerProcess::that_was_told(command, address)?;
        demo.stop()?;
        Self::configured(binary, folder, "sqlite:gatehouse.db", None)
    }

    /// An installation without a database. It copies another installation's key, which has encrypted nothing here.
    pub(crate) fn empty(binary: &'a Binary, key_of: &Self) -> Result<Self> {
        let folder = TempDir::new()?;
        fs::create_dir(folder.path().join(PLACE))?;
        fs::copy(key_of.path("master.key"), folder.path().join(PLACE).join("master.key"))?;
        Self::configured(binary, folder, "sqlite:gatehouse.db", None)
    }

    /// One of several nodes that share a database. `key` is the database's master key in base64.
    pub(crate) fn node(binary: &'a Binary, database: &str, key: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        fs::create_dir(folder.path().join(PLACE))?;
        let file = folder.path().join(PLACE).join("master.key");
        fs::write(&file, key)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Self::configured(binary, folder, database, Some("http://localhost"))
    }

    fn configured(binary: &'a Binary, folder: TempDir, database: &str, root: Option<&str>) -> Result<Self> {
        let address = free_address()?;
        let root = root.map_or_else(|| format!("http://{address}"), str::to_owned);
        let configuration = format!(
            "listen = [\"{address}\"]\ndatabase = \"{database}\"\ndefault_instance = \"{INSTANCE}\"\n\
             [master_key]\nfile = \"master.key\"\n[log]\nformat = \"json\"\nlevel = \"info\"\n\
             [[instance]]\nname = \"{INSTANCE}\"\nurl = \"{root}\"\n"
        );
        let installation = Self { binary, folder, address };
        fs::write(installation.path("gatehouse.toml"), configuration)?;
        Ok(installation)
    }

    /// Trusts a proxy on the loopback interface to forward client addresses.
    pub(crate) fn behind_a_proxy(self) -> Result<Self> {
        let file = self.path("gatehouse.toml");
        let rest = fs::read_to_string(&file)?;
        fs::write(file, format!("trusted_proxies = [\"127.0.0.1/32\"]\n{rest}"))?;
        Ok(self)
    }

    /// URL of the SQLite database.
    pub(crate) fn database_url(&self) -> String {
        format!("sqlite:{}", self.path("gatehouse.db").display())
    }

    /// Size of the SQLite file. No process may have it open, so that its write-ahead log is merged.
    pub(crate) fn database_bytes(&self) -> Result<u64> {
        Ok(fs::metadata(self.path("gatehouse.db"))?.len())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(PLACE).join(file)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.binary.command(words[0]);
        command.args(&words[1..]).arg("--config").arg(self.path("gatehouse.toml"));
        command
    }

    /// Starts the server, with its log in a file.
    pub(crate) fn serve(&self) -> Result<(ServerProcess, std::time::Duration)> {
        let mut command = self.command(&["serve"]);
        command.stderr(File::create(self.path("log"))?);
        ServerProcess::that_was_told(command, self.address)
    }

    pub(crate) fn create_instance(&self) -> Result<()> {
        self.run_for_json(&["instance", "create", INSTANCE]).map(drop)
    }

    fn run_for_json(&self, words: &[&str]) -> Result<Value> {
        let mut command = self.command(words);
        let output = command.arg("--json").stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "`gatehouse {}` failed", words.join(" "));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Registers a service application whose tokens are signed with this algorithm, and returns its secret.
    pub(crate) fn service(&self, uri: &str, algorithm: &str) -> Result<String> {
        let users = self.run_for_json(&["user", "list"])?;
        let users = users.as_array().context("a list of users")?;
        let reader = users.iter().find(|user| user["login"] == "svc.reader").context("the demo has a reader")?;
        let record = json!({
            "ApplicationUri": uri, "Name": uri, "ClientType": "Confidential", "Scope": "read",
            "SystemUserAllowed": true, "SystemUser": reader["id"], "AccessTokenAlgorithm": algorithm,
        });
        let file = self.path("record.json");
        fs::write(&file, record.to_string())?;
        let made =
            self.run_for_json(&["app", "create", file.to_str().context("a temporary folder's name is UTF-8")?])?;
        Ok(made["secret"].as_str().context("a confidential application has a secret")?.to_owned())
    }
}
