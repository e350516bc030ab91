//! A PostgreSQL server and its standby, both owned by the test, and an address that moves from one to the other.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::{PATIENCE, until};

/// The folder of PostgreSQL's programs, newest version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let found = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("pg_basebackup").exists());
    found.max()
}

/// A server that listens only on a socket in its folder. On drop it is stopped as by a crash.
pub(crate) struct PrivateServer {
    programs: PathBuf,
    folder: TempDir,
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        // It may be stopped already.
        let _ = self.control(&["-m", "immediate", "stop"]).status();
    }
}

impl PrivateServer {
    /// `None` if PostgreSQL is not installed; then the tests do nothing.
    pub(crate) fn new() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var("CI").is_ok_and(|ci| ci != "true"),
                "PostgreSQL is installed where tests must not be left out"
            );
            println!("skipped: PostgreSQL is not installed");
            return None;
        };
        let server = Self::in_a_folder(programs);
        let data = server.data();
        server.run("initdb", &["-D", &data, "-U", "gatehouse", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]);
        server.start();
        Some(server)
    }

    fn in_a_folder(programs: PathBuf) -> Self {
        let folder = TempDir::new().expect("a folder");
        // PostgreSQL refuses to run as root.
        if is_of_root(folder.path()) {
            let given = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(given.expect("chown").success());
        }
        Self { programs, folder }
    }

    /// A standby that follows this server.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::in_a_folder(self.programs.clone());
        let (data, from) = (standby.data(), self.path().display().to_string());
        standby.run(
            "pg_basebackup",
            &["-D", &data, "-h", &from, "-U", "gatehouse", "-R", "-X", "stream", "-c", "fast", "-N"],
        );
        standby.start();
        standby
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> String {
        self.path().join("data").display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_of_root(Path::new("/proc/self")) {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let done = self.command(program).args(arguments).stderr(Stdio::piped()).output().expect("it runs");
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("pg_ctl");
        command.args(["-D", &self.data(), "-w"]).args(arguments);
        command
    }

    fn start(&self) {
        let options = format!("-c listen_addresses= -k {} -c fsync=off -c max_connections=200", self.path().display());
        let log = self.path().join("log").display().to_string();
        let started = self.control(&["-l", &log, "-o", &options, "start"]).status().expect("it runs");
        assert!(started.success(), "{}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// Stops as in a crash.
    pub(crate) fn kill(&self) {
        assert!(self.control(&["-m", "immediate", "stop"]).status().expect("it runs").success());
    }

    /// Clean stop: the standby is sent everything before the server ends (PostgreSQL, "Streaming Replication").
    pub(crate) fn stop(&self) {
        assert!(self.control(&["-m", "fast", "stop"]).status().expect("it runs").success());
    }

    pub(crate) fn promote(&self) {
        assert!(self.control(&["promote"]).status().expect("it runs").success());
    }

    /// The first column of the first row, as text.
    fn ask(&self, sql: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut config = tokio_postgres::Config::new();
            config.host_path(self.path()).user("gatehouse").dbname("postgres");
            let (client, connection) = config.connect(NoTls).await.expect("the server answers");
            tokio::spawn(connection);
            client.query_one(sql, &[]).await.expect("a row").get::<_, Option<String>>(0).unwrap_or_default()
        })
    }

    /// Waits until the standby has everything of its primary, then disconnects it.
    pub(crate) fn cut_off_from(&self, primary: &Self) {
        let newest = primary.ask("SELECT pg_current_wal_lsn()::TEXT");
        let has_it = format!("SELECT (pg_last_wal_replay_lsn() >= '{newest}'::pg_lsn)::TEXT");
        until("the standby has caught up", PATIENCE, || self.ask(&has_it) == "true");
        std::fs::write(self.path().join("data/postgresql.auto.conf"), "").expect("its settings can be written");
        self.ask("SELECT pg_reload_conf()::TEXT");
        until("the standby receives nothing", PATIENCE, || {
            self.ask("SELECT COUNT(*)::TEXT FROM pg_stat_wal_receiver") == "0"
        });
    }
}

fn is_of_root(path: &Path) -> bool {
    std::fs::metadata(path).expect("it is there").uid() == 0
}

/// The address of a database, like a proxy or a floating IP address.
pub(crate) struct MovingAddress {
    port: u16,
    target: Arc<Mutex<Target>>,
}

struct Target {
    folder: PathBuf,
    open: Vec<TcpStream>,
}

impl MovingAddress {
    pub(crate) fn of(server: &PrivateServer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let target = Arc::new(Mutex::new(Target { folder: server.path().to_owned(), open: Vec::new() }));
        let shared = Arc::clone(&target);
        thread::spawn(move || {
            for inside in listener.incoming().filter_map(Result::ok) {
                // The server does not answer, so the connection is closed.
                let _ = shared.lock().expect("not poisoned").join(inside);
            }
        });
        Self { port, target }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://gatehouse@127.0.0.1:{}/postgres", self.port)
    }

    /// Cuts the connections to the previous server.
    pub(crate) fn move_to(&self, server: &PrivateServer) {
        let mut target = self.target.lock().expect("not poisoned");
        server.path().clone_into(&mut target.folder);
        for connection in target.open.drain(..) {
            // It may be closed already.
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Target {
    fn join(&mut self, inside: TcpStream) -> io::Result<()> {
        let outside = UnixStream::connect(self.folder.join(".s.PGSQL.5432"))?;
        self.open.push(inside.try_clone()?);
        let (mut from_inside, mut to_outside) = (inside.try_clone()?, outside.try_clone()?);
        let (mut from_outside, mut to_inside) = (outside, inside);
        thread::spawn(move || {
            let _ended = io::copy(&mut from_inside, &mut to_outside);
            let _ = to_outside.shutdown(std::net::Shutdown::Both);
        });
        thread::spawn(move || {
            let _ended = io::copy(&mut from_outside, &mut to_inside);
            let _ = to_inside.shutdown(std::net::Shutdown::Both);
        });
        Ok(())
    }
}
