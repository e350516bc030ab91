//! An installation with a configuration, a master key and a database of its own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::audit::chain::Chain;
use serde_json::{Value, json};
use store::{Database, DatabaseUrl, Store};
use tempfile::TempDir;
use uuid::Uuid;

use super::browser::{App, Browser};
use super::http::Site;
use super::process::{Ran, ServerProcess, gatehouse, run};

pub(crate) const ERP: &str = "[[instance]]\nname = \"erp\"\nurl = \"http://erp.localhost:8080\"\n";
pub(crate) const SHOP: &str =
    "[[instance]]\nname = \"shop\"\nurl = \"https://shop.example.com\"\nhosts = [\"www.example.com\"]\n";

pub(crate) struct Installation {
    folder: TempDir,
    /// The database URL that the configuration takes from the environment.
    database: Option<String>,
}

impl Installation {
    /// One configured instance, `erp`, which is not created yet.
    pub(crate) fn new() -> Self {
        Self::with("sqlite:house.db", "", ERP)
    }

    pub(crate) fn with(database: &str, top: &str, instances: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let installation = Self { folder, database: None };
        installation.write_master_key();
        installation.configure(database, top, instances);
        installation
    }

    /// One configured instance, `erp`, on this database.
    pub(crate) fn on(url: &str) -> Self {
        let installation = Self::with("env:GATEHOUSE_TEST_DATABASE", "", ERP);
        Self { database: Some(url.to_owned()), ..installation }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder can be written");
    }

    pub(crate) fn configure(&self, database: &str, top: &str, instances: &str) {
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\ndatabase = \"{database}\"\n{top}\n[master_key]\nfile = \"master.key\"\n{instances}"
        );
        self.write("gatehouse.toml", &text);
    }

    /// Writes a new key over the old one.
    pub(crate) fn write_master_key(&self) {
        let path = self.path("master.key");
        let _absent = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a file");
        let bytes = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        file.write_all(STANDARD.encode(bytes).as_bytes()).expect("the file can be written");
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = gatehouse();
        command.args(arguments).arg("--config").arg(self.path("gatehouse.toml"));
        command.envs(self.database.iter().map(|url| ("GATEHOUSE_TEST_DATABASE", url)));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// Runs a command with input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        run(&mut self.command(arguments), input)
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json"]].concat()).json()
    }

    /// Creates the instance `erp` and returns its administrator's set-up link.
    pub(crate) fn create_erp(&self) -> String {
        text(&self.json(&["instance", "create", "erp"])["set_up_link"])
    }

    pub(crate) fn serve(&self) -> ServerProcess {
        ServerProcess::serve(&mut self.command(&["serve"]))
    }

    /// Registers an application of `erp` and returns the command's answer.
    pub(crate) fn create_app(&self, record: &Value) -> Value {
        let arguments = ["app", "create", "-", "--instance", "erp", "--json"];
        self.run_with(&arguments, &record.to_string()).json()
    }

    /// Registers an application with its own service user, and returns its secret.
    pub(crate) fn create_service(&self, uri: &str) -> String {
        let login = format!("svc.{}", uri.replace('/', "."));
        let user = self.json(&["user", "create", &login, "--kind", "system", "--instance", "erp"]);
        let record = json!({
            "ApplicationUri": uri, "Name": "A service", "ClientType": "Confidential", "Scope": "read",
            "SystemUserAllowed": true, "SystemUser": user["id"],
        });
        text(&self.create_app(&record)["secret"])
    }

    /// An application that signs in users of `erp`.
    pub(crate) fn create_portal(&self) -> App {
        let callback = "http://localhost:3000/callback";
        let record = json!({
            "ApplicationUri": "portal", "Name": "Portal", "ClientType": "Confidential", "RequireConsent": false,
            "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": [callback], "Scope": "read",
        });
        App { id: "portal", secret: text(&self.create_app(&record)["secret"]), callback }
    }

    /// Creates a user of `erp`, whose password is set through the server's pages.
    pub(crate) fn create_person(&self, site: Site, login: &str, password: &str) {
        let made = self.json(&["user", "create", login, "--instance", "erp"]);
        let answer = Browser::at(site).set_up(&text(&made["set_up_link"]), password);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Kind and reason of every audit event of every instance.
    pub(crate) fn audit(&self) -> Vec<(String, String)> {
        audit(&self.path("house.db"))
    }
}

/// The site of `erp`.
pub(crate) fn erp(server: &ServerProcess) -> Site {
    Site { port: server.port, host: "erp.localhost" }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}

/// Opens a database as the product does.
pub(crate) fn look<T>(url: &str, look: impl AsyncFnOnce(Database) -> T) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let database = Database::open(&DatabaseUrl::parse(url).expect("a URL")).await.expect("the database opens");
        let found = look(database.clone()).await;
        database.close().await;
        found
    })
}

pub(crate) fn audit(path: &Path) -> Vec<(String, String)> {
    look(&format!("sqlite:{}", path.display()), async |database| {
        let mut trail = Vec::new();
        for instance in database.instances().await.expect("no fault") {
            for chain in Chain::ALL {
                let store = Store::new(database.clone(), instance.id).with_chain(chain);
                let events = store.audit_trail().await.expect("no fault");
                trail.extend(events.into_iter().map(|event| (event.kind, event.reason)));
            }
        }
        trail
    })
}
