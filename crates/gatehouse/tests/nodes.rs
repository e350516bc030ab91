//! Three real processes on one PostgreSQL: the last seat, a killed node, an unreachable database.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where PostgreSQL is, and wait with an end"
)]

#[path = "../../store/tests/common/server.rs"]
mod server;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream as Std};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use store::{Batch, Database, DatabaseUrl, Store, statement};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use server::Created;

const GATEHOUSE: &str = env!("CARGO_BIN_EXE_gatehouse");
/// Time limit for an expected effect. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A database whose instance every node serves.
struct Cluster {
    /// Removed on drop.
    _database: Created,
    /// The nodes' URL of the database.
    url: String,
    folder: TempDir,
    secret: String,
}

struct Node {
    process: Child,
    address: SocketAddr,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Cluster {
    /// `None` without a PostgreSQL server for tests.
    async fn found() -> Option<Self> {
        let database = Created::new(&server::server()?, None).await;
        let folder = TempDir::new().expect("a folder for a test");
        let mut cluster = Self { url: database.url(), _database: database, folder, secret: String::new() };
        let key = cluster.folder.path().join("master.key");
        std::fs::write(&key, "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("private");
        cluster.configure("operator", free_address());
        cluster.run(&["instance", "create", "testdb", "--seats", "8"]);
        cluster.run(&["user", "create", "svc", "--kind", "system"]);
        cluster.secret = cluster.register("robot").await;
        Some(cluster)
    }

    async fn store(&self) -> Store {
        let database = Database::open(&DatabaseUrl::parse(&self.url).expect("a URL")).await.expect("it opens");
        let id = database.instances().await.expect("no fault")[0].id;
        Store::new(database, id)
    }

    fn configure(&self, name: &str, listen: SocketAddr) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.toml"));
        let text = format!(
            "listen = [\"{listen}\"]\ndatabase = \"{}\"\n[master_key]\nfile = \"master.key\"\n[log]\nformat = \"text\"\n\
             level = \"error\"\n[[instance]]\nname = \"testdb\"\nurl = \"http://localhost\"\n",
            self.url
        );
        std::fs::write(&path, text).expect("written");
        path
    }

    fn run(&self, arguments: &[&str]) -> Value {
        let config = self.folder.path().join("operator.toml");
        let output = Command::new(GATEHOUSE)
            .args(arguments)
            .arg("--json")
            .arg("--config")
            .arg(config)
            .output()
            .expect("it runs");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gatehouse {}: {problem}", arguments.join(" "));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Registers a service application that acts as the system user, and returns its secret.
    async fn register(&self, uri: &str) -> String {
        let store = self.store().await;
        let users = store.users_after("", 1000).await.expect("no fault");
        let user = users.iter().find(|row| row.user.login.as_str() == "svc").expect("it was made").user.id;
        store.database().close().await;
        let record = json!({
            "ApplicationUri": uri, "Name": uri, "ClientType": "Confidential",
            "SystemUserAllowed": true, "SystemUser": user.0, "Scope": "read update",
        });
        let path = self.folder.path().join("record.json");
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(record.to_string().as_bytes()).expect("written");
        let made = self.run(&["app", "create", &path.display().to_string()]);
        made["secret"].as_str().expect("a secret").to_owned()
    }

    fn start(&self, name: &str) -> Node {
        for _ in 0..5 {
            let address = free_address();
            let config = self.configure(name, address);
            let mut process = serve(&config);
            let deadline = Instant::now() + PATIENCE;
            // Another process may have taken the port meanwhile: then this process ends.
            while process.try_wait().expect("a child").is_none() {
                assert!(Instant::now() < deadline, "the node does not start");
                if Std::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
                    return Node { process, address };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("five addresses in a row were taken");
    }

    fn three(&self) -> [Node; 3] {
        ["a", "b", "c"].map(|name| self.start(name))
    }

    /// Live sessions, each with one seat.
    async fn live(&self) -> u64 {
        let store = self.store().await;
        let (live, counted) = store.seats_taken().await.expect("no fault");
        store.database().close().await;
        assert_eq!(live, counted, "every live session has a seat, once");
        live
    }
}

fn serve(config: &Path) -> Child {
    let mut command = Command::new(GATEHOUSE);
    command.arg("serve").arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Status, head and body of an answer.
async fn ask(address: SocketAddr, request: &str) -> std::io::Result<(u16, String, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.expect("answered in time")?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((status, head.to_owned(), body.to_owned()))
}

async fn call(address: SocketAddr, token: &str) -> std::io::Result<u16> {
    let request = format!(
        "GET /api/domain/odata/Crm_Customers?$top=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    ask(address, &request).await.map(|(status, _, _)| status)
}

/// `200` is accepted and allowed; `403` is accepted by the guard and refused by permissions. Both hold a seat.
fn is_in(status: u16) -> bool {
    status == 200 || status == 403
}

impl Node {
    async fn token(&self, secret: &str) -> String {
        let body = format!("grant_type=client_credentials&client_id=robot&client_secret={secret}");
        let request = format!(
            "POST /id/connect/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (_, _, body) = ask(self.address, &request).await.expect("answered");
        let tokens: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        tokens["access_token"].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned()
    }

    async fn call(&self, token: &str) -> u16 {
        call(self.address, token).await.expect("answered")
    }

    async fn until(&self, token: &str, wanted: impl Fn(u16) -> bool) {
        let begun = Instant::now();
        loop {
            let status = self.call(token).await;
            if wanted(status) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "still {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixty_four_racing_first_calls_on_three_nodes_one_gets_the_last_seat_ten_times() {
    let Some(cluster) = Cluster::found().await else { return };
    let nodes = cluster.three();
    cluster.run(&["instance", "set", "testdb", "seats=1"]);
    for round in 0..10 {
        let mut tokens = Vec::new();
        for n in 0..64 {
            tokens.push((nodes[n % 3].address, nodes[n % 3].token(&cluster.secret).await));
        }
        let mut racing = JoinSet::new();
        for (address, token) in tokens {
            racing.spawn(async move { call(address, &token).await.expect("answered") });
        }
        let answers = racing.join_all().await;
        let (winners, losers) = answers.iter().partition::<Vec<u16>, _>(|status| is_in(**status));
        assert_eq!(winners.len(), 1, "round {round}: {answers:?}");
        // If the database cannot answer so many in time, some are asked to retry.
        assert!(losers.iter().all(|status| matches!(status, 429 | 503)), "round {round}: {answers:?}");
        assert_eq!(cluster.live().await, 1);
        let ended = cluster.run(&["session", "end", "--app", "robot"]);
        assert_eq!(ended["ended"], 1);
        assert_eq!(cluster.live().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_under_load_keeps_its_seats_until_their_timers_and_gives_them_back_once() {
    let Some(cluster) = Cluster::found().await else { return };
    let mut nodes = cluster.three();
    let mut held = Vec::new();
    for n in 0..8 {
        let token = nodes[n % 3].token(&cluster.secret).await;
        assert!(is_in(nodes[n % 3].call(&token).await));
        held.push(token);
    }
    // Load on all nodes: known tokens and, in every fourth call, one that finds no seat.
    let extra = nodes[1].token(&cluster.secret).await;
    let mut load = JoinSet::new();
    for n in 0..12_usize {
        let (address, token) = (nodes[n % 3].address, if n % 4 == 3 { extra.clone() } else { held[n % 8].clone() });
        load.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..100 {
                answers.extend(call(address, &token).await.ok().map(|status| (n % 4 == 3, status)));
            }
            answers
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    nodes[0].process.kill().expect("it was running");
    for (is_extra, status) in load.join_all().await.into_iter().flatten() {
        assert!(if is_extra { status == 429 } else { is_in(status) }, "{is_extra}: {status}");
    }
    assert_eq!(cluster.live().await, 8, "the dead node's seats are held");
    assert_eq!(nodes[1].call(&extra).await, 429);
    assert!(is_in(nodes[2].call(&held[0]).await), "its sessions go on elsewhere");

    // Their timers expire, as after twenty minutes for sessions that only the dead node knew.
    let store = cluster.store().await;
    let made = |sql: &'static str| store.commit(Batch::new().with(statement(sql, vec![])));
    let _aged =
        made("UPDATE api_sessions SET ends_at = ends_at - 1200000000 WHERE closed_at IS NULL").await.expect("aged");
    let begun = Instant::now();
    while cluster.live().await == 8 {
        assert!(begun.elapsed() < PATIENCE, "nobody closes what the dead node left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // One statement, so one moment: the two remaining nodes go on closing.
    let accounted = "SELECT (SELECT COUNT(*) FROM api_sessions WHERE closed_at IS NULL)
        + (SELECT COUNT(*) FROM audit_events WHERE kind = 'session-closed')
        + (SELECT COALESCE(SUM(LENGTH(contents) - LENGTH(REPLACE(contents, ' session-closed ', ' session-close '))), 0)
           FROM audit_seals)";
    let accounted = store.query(accounted, vec![]).await.expect("no fault")[0].int(0).expect("a number");
    assert_eq!(accounted, 8, "each was closed once");
    nodes[1].until(&extra, is_in).await;
    store.database().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_reaches_every_node_by_itself() {
    let Some(cluster) = Cluster::found().await else { return };
    let nodes = cluster.three();
    let token = nodes[0].token(&cluster.secret).await;
    for node in &nodes {
        assert!(is_in(node.call(&token).await));
    }
    cluster.run(&["app", "disable", "robot"]);
    // The benchmark measures the delay: on a busy machine no limit would hold.
    for node in &nodes {
        node.until(&token, |status| status == 401).await;
    }
    assert_eq!(cluster.live().await, 0);
}

/// A TCP proxy to the database that can be blocked like a network.
struct Way {
    address: SocketAddr,
    open: tokio::sync::watch::Sender<bool>,
}

impl Way {
    async fn to(server: &str) -> Self {
        let url = url::Url::parse(server).expect("a URL");
        let target = (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(5432));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (open, watched) = tokio::sync::watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                let (target, mut watched) = (target.clone(), watched.clone());
                if !*watched.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut outside) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = watched.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_database_serves_what_it_knows_for_two_seconds_and_then_nothing() {
    let Some(mut cluster) = Cluster::found().await else { return };
    let server = cluster.url.clone();
    let way = Way::to(&server).await;
    let mut url = url::Url::parse(&server).expect("a URL");
    url.set_port(Some(way.address.port())).expect("a port");
    cluster.url = url.to_string();
    let cut_off = cluster.start("cut-off");
    cluster.url = server;
    let other = cluster.start("other");
    let known = cut_off.token(&cluster.secret).await;
    let new = cut_off.token(&cluster.secret).await;
    assert!(is_in(cut_off.call(&known).await));

    way.open.send_replace(false);
    let begun = Instant::now();
    assert_eq!(cut_off.call(&new).await, 503, "a new session needs the database");
    let mut last_served = Duration::ZERO;
    loop {
        let asked = begun.elapsed();
        match cut_off.call(&known).await {
            503 => break,
            status => assert!(is_in(status), "{status}"),
        }
        last_served = asked;
        assert!(begun.elapsed() < PATIENCE, "memory is believed for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(last_served > Duration::ZERO, "known sessions go on");
    assert!(last_served < Duration::from_millis(2500), "until the fuse: {last_served:?}");

    cluster.run(&["app", "disable", "robot"]);
    other.until(&known, |status| status == 401).await;
    assert_eq!(cut_off.call(&known).await, 503, "it cannot know");
    way.open.send_replace(true);
    cut_off.until(&known, |status| status == 401).await;
    assert_eq!(cluster.live().await, 0, "no seat is counted twice");
}
