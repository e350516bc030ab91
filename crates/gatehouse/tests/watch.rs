//! Health, metrics and shutdown do not depend on the worker threads.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use flows::{Database, DatabaseUrl, MasterKey, Platform, Server};
use gatehouse::watch::{Watch, WatchSettings};
use model::{Rng, Timestamp};
use tokio::time::{Instant, timeout};
use web::AppState;
use web::server::TrustedProxies;

const PATIENCE: Duration = Duration::from_secs(30);
const PROMPT: Duration = Duration::from_secs(2);

struct Still;

impl Platform for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000_000)
    }

    fn rng(&self) -> Box<dyn Rng> {
        Box::new(web::SystemRng)
    }
}

async fn server(folder: &std::path::Path) -> Arc<Server> {
    let url = DatabaseUrl::parse(&format!("sqlite:{}", folder.join("house.db").display())).expect("a URL");
    let database = Database::open(&url).await.expect("the database opens");
    database.migrate().await.expect("the database migrates");
    let server = Server::open(database, MasterKey::new(&[7; 32]), Vec::new(), None, Arc::new(Still));
    server.await.expect("the server opens")
}

/// Status line and body, within the promised time.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(begun.elapsed() < 2 * PROMPT, "{path} took {:?}", begun.elapsed());
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn health_and_the_signal_to_stop_are_answered_while_every_worker_is_blocked() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let server = runtime.block_on(server(folder.path()));
    let mut watch = Watch::start().expect("the watch starts");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("bound");
    let gate = runtime.block_on(async { AppState::new(Arc::clone(&server), TrustedProxies::default()) });
    watch.show(WatchSettings { listeners: vec![listener], gate, hosts: Vec::new() });
    until("ready", || get(address, "/readyz").0 == "HTTP/1.1 200 OK");

    // As in a bug: the only worker waits for a message that never comes.
    let ((begun, begins), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
    runtime.spawn(async move {
        begun.send(()).expect("the test waits");
        let _released = released.recv();
    });
    begins.recv().expect("the worker is blocked");
    for _ in 0..5 {
        assert_eq!(get(address, "/healthz").0, "HTTP/1.1 200 OK");
        assert!(get(address, "/metrics").1.contains("gatehouse_ready"));
    }
    until("not ready", || get(address, "/readyz").0.starts_with("HTTP/1.1 503"));
    let listed = |line: &str| get(address, "/readyz?verbose").1.contains(line);
    until("the tasks stand still", || listed("[-]task:follow failed: no turn for "));
    assert!(listed("[-]database-reads failed: no answer for "));
    drop(release);
    until("ready again", || get(address, "/readyz").0 == "HTTP/1.1 200 OK");

    let ((begun, begins), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
    runtime.spawn(async move {
        begun.send(()).expect("the test waits");
        let _released = released.recv();
    });
    begins.recv().expect("the worker is blocked");
    let kill = format!("kill -TERM {}", std::process::id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    let told = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    told.block_on(async { timeout(PROMPT, watch.stop()).await }).expect("told to stop");
    drop(release);
    runtime.block_on(server.close());
    assert_eq!(get(address, "/healthz").0, "HTTP/1.1 200 OK", "to the end");
    assert!(get(address, "/readyz").1.contains("shutdown failed: the server stops"));
    runtime.block_on(watch.hide());
    assert!(TcpStream::connect(address).is_err());
}
