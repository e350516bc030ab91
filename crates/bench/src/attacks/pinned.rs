//! Connections that make the server hold memory before any sign-in. A closed connection is opened again, so that the
//! storm lasts as long as honest requests are measured.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Goal, Honest, Storm};
use crate::Effort;
use crate::installation::{Binary, Installation};
use crate::stats::Spread;

const NETWORKS: u8 = 50;
const CONNECTIONS_EACH: u32 = 20;
/// Streams on each HTTP/2 connection; every second one has an unfinished body.
const STREAMS: u32 = 100;
const DRIP_EVERY: Duration = Duration::from_secs(5);
/// Pause before a closed connection is opened again. Each network adds its own pause, so that connections do not return
/// all at once.
const MIN_PAUSE: Duration = Duration::from_secs(10);
const PAUSE_BY_NETWORK: Duration = Duration::from_secs(1);
/// The server checks a connection within 10 s after its idle limit of 60 s, and then gives it 7 s to close.
const MAX_LIFETIME: Duration = Duration::from_secs(85);

/// A round takes two minutes.
const MAX_ROUNDS: u32 = 5;

/// Maximum memory of the connections: MiB above idle.
const MAX_MEMORY: f64 = 96.0;
/// Maximum ratio of an honest request's p99 during the storm to the p99 without it.
const MAX_TIMES: f64 = 2.0;

/// RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// HTTP/2 with zero windows: answers that are not read, bodies that never end, and an occasional PING.
    Windows,
    /// Alternating: HTTP/1 bodies that drip, pipelined requests whose answers are not read, and HTTP/1 and HTTP/2 heads
    /// that never end.
    Mixed,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Windows => "1000 connections, HTTP/2 that takes nothing",
            Self::Mixed => "1000 connections, half requests and unread answers",
        }
    }
}

/// Results of one round.
struct Round {
    /// Peak resident memory in MiB above idle.
    memory: f64,
    /// In microseconds.
    quiet_p99: f64,
    storm_p99: f64,
    /// Connections that are still open at the server after [`MAX_LIFETIME`].
    left: usize,
}

pub(super) async fn measure(binary: &Binary, effort: Effort, shape: Shape) -> Result<Storm> {
    let mut rounds = Vec::new();
    let last = effort.rounds.min(MAX_ROUNDS);
    for number in 1..=last {
        eprint!("\rround {number} of {last}: {}   ", shape.name());
        rounds.push(round(binary, effort, shape).await?);
    }
    eprintln!();
    let of = |value: fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
    let (memory, times) = (of(|round| round.memory), of(|round| round.storm_p99 / round.quiet_p99));
    let left = rounds.iter().map(|round| round.left).max().unwrap_or_default();
    let text = |spread: Spread| format!("{:.1} ({:.1}–{:.1})", spread.median, spread.low, spread.high);
    let goal = |what, measured, bound, is_met| Goal { what, measured, bound, is_met };
    Ok(Storm {
        name: shape.name().to_owned(),
        goals: vec![
            goal(
                "memory above idle, MiB",
                text(memory),
                format!("at most {MAX_MEMORY:.0}"),
                memory.median <= MAX_MEMORY,
            ),
            goal(
                "p99 of a token by that without",
                text(times),
                format!("at most {MAX_TIMES:.1}"),
                times.median <= MAX_TIMES,
            ),
            goal("open after the idle limit", left.to_string(), "0".to_owned(), left == 0),
        ],
        json: json!({
            "above_idle_mib": memory.json(),
            "p99_us_quiet": of(|round| round.quiet_p99).json(),
            "p99_us_storm": of(|round| round.storm_p99).json(),
            "left_open": left,
        }),
    })
}

/// Runs on a new server, because its peak memory is measured.
async fn round(binary: &Binary, effort: Effort, shape: Shape) -> Result<Round> {
    let installation = Installation::with_data(binary)?;
    let (server, _) = installation.serve()?;
    let honest = Honest::at(server.address);
    let span = Duration::from_secs(if effort.quick { 4 } else { 20 });
    honest.p99(span / 4).await?;
    let quiet_p99 = honest.p99(span).await?;
    let ((idle, _), idle_files) = (server.resident()?, server.open_files()?);
    let over = Arc::new(AtomicBool::new(false));
    let mut attackers = JoinSet::new();
    for network in 1..=NETWORKS {
        for number in 0..CONNECTIONS_EACH {
            let attacker = Attacker {
                server: server.address,
                from: Ipv4Addr::new(127, 1, network, 1),
                kind: Kind::of(shape, number),
                pause: MIN_PAUSE + PAUSE_BY_NETWORK * u32::from(network),
            };
            attackers.spawn(attacker.storm(Arc::clone(&over)));
        }
    }
    // Waits until all connections are open.
    sleep(span / 4).await;
    let storm_p99 = honest.p99(span).await?;
    over.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let mut left = usize::MAX;
    while left > 0 && begun.elapsed() < MAX_LIFETIME {
        sleep(Duration::from_secs(1)).await;
        left = server.open_files()?.saturating_sub(idle_files);
    }
    attackers.abort_all();
    let (_, most) = server.resident()?;
    server.stop()?;
    Ok(Round { memory: f64::from(most.saturating_sub(idle)) / 1024.0, quiet_p99, storm_p99, left })
}

/// The bytes that a connection sends at first, and then repeatedly.
#[derive(Clone, Copy)]
enum Kind {
    Windows,
    Body,
    Ahead,
    Head,
    Block,
}

impl Kind {
    const fn of(shape: Shape, number: u32) -> Self {
        match (shape, number % 4) {
            (Shape::Windows, _) => Self::Windows,
            (Shape::Mixed, 0) => Self::Body,
            (Shape::Mixed, 1) => Self::Ahead,
            (Shape::Mixed, 2) => Self::Head,
            (Shape::Mixed, _) => Self::Block,
        }
    }

    fn begins(self, server: SocketAddr) -> Vec<u8> {
        let page = format!("GET /id/account/login HTTP/1.1\r\nhost: {server}\r\n\r\n");
        match self {
            Self::Windows => windows(server),
            Self::Body => {
                let head = "content-type: application/x-www-form-urlencoded\r\ncontent-length: 1000000";
                let head = format!("POST /id/connect/token HTTP/1.1\r\nhost: {server}\r\n{head}\r\n\r\n");
                [head.as_bytes(), &vec![b'x'; 990_000]].concat()
            }
            Self::Ahead => page.repeat(2000).into_bytes(),
            Self::Head => format!("GET / HTTP/1.1\r\nhost: {server}\r\nx: {}", "y".repeat(60_000)).into_bytes(),
            Self::Block => block(server),
        }
    }

    fn drips(self) -> Vec<u8> {
        match self {
            Self::Windows => {
                let mut ping = Vec::new();
                frame(&mut ping, PING, 0, 0, &[0; 8]);
                ping
            }
            Self::Body | Self::Head => b"x".to_vec(),
            // The rest of an unfinished frame, or nothing.
            Self::Ahead | Self::Block => Vec::new(),
        }
    }

    /// Connections with unread answers do not read.
    const fn reads(self) -> bool {
        !matches!(self, Self::Ahead)
    }
}

/// A connection of the storm, opened again whenever it is closed.
struct Attacker {
    server: SocketAddr,
    from: Ipv4Addr,
    kind: Kind,
    pause: Duration,
}

impl Attacker {
    /// Runs until the storm is over and the server has closed the connection.
    async fn storm(self, over: Arc<AtomicBool>) {
        while !over.load(Ordering::Relaxed) {
            // The result does not matter: a failed connection is no attack.
            let _ended = pin(self.server, self.from, self.kind).await;
            if !over.load(Ordering::Relaxed) {
                sleep(self.pause).await;
            }
        }
    }
}

/// Sends until the server closes the connection.
async fn pin(server: SocketAddr, from: Ipv4Addr, kind: Kind) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    if !kind.reads() {
        socket.set_recv_buffer_size(4096)?;
    }
    let (mut reader, mut writer) = socket.connect(server).await?.into_split();
    let writing = async {
        writer.write_all(&kind.begins(server)).await?;
        loop {
            sleep(DRIP_EVERY).await;
            writer.write_all(&kind.drips()).await?;
            // This detects a reset without reading.
            let is_reset = writer.as_ref().take_error().is_ok_and(|error| error.is_some());
            ensure!(kind.reads() || !is_reset, "closed");
        }
    };
    let reading = async {
        let mut bytes = vec![0; 4096];
        while kind.reads() {
            ensure!(reader.read(&mut bytes).await? > 0, "closed");
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
    }
}

fn windows(server: SocketAddr) -> Vec<u8> {
    let mut begun = preface();
    for number in 0..STREAMS {
        let stream = 2 * number + 1;
        if number % 2 == 0 {
            frame(&mut begun, HEADERS, END_STREAM | END_HEADERS, stream, &head(0x82, "/id/account/login", server));
        } else {
            frame(&mut begun, HEADERS, END_HEADERS, stream, &head(0x83, "/id/connect/token", server));
            frame(&mut begun, DATA, 0, stream, &[b'x'; 1024]);
        }
    }
    begun
}

/// An answered request, and the first 60 KB of a head that never ends.
fn block(server: SocketAddr) -> Vec<u8> {
    let mut begun = preface();
    frame(&mut begun, HEADERS, END_STREAM | END_HEADERS, 1, &head(0x82, "/healthz", server));
    frame(&mut begun, HEADERS, END_STREAM, 3, &head(0x82, "/healthz", server));
    // RFC 7541 §6.2.2 and §5.1: a literal field `a` with a value of 127 + 1 + 116 · 128 = 14 976 bytes.
    let field = [&[0x00, 1, b'a', 0x7f, 0x81, 0x74][..], &[b'x'; 14_976]].concat();
    for _ in 0..4 {
        frame(&mut begun, CONTINUATION, 0, 3, &field);
    }
    begun
}

/// `SETTINGS_INITIAL_WINDOW_SIZE` = 0: no byte of any answer can be sent.
fn preface() -> Vec<u8> {
    let mut begun = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut begun, SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    begun
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// RFC 7541 §6: an indexed `:method` and `:scheme`, then `:path` and `:authority` as literals without indexing.
fn head(method: u8, path: &str, server: SocketAddr) -> Vec<u8> {
    let mut head = vec![method, 0x86];
    for (name, value) in [(0x04, path.to_owned()), (0x01, server.to_string())] {
        head.push(name);
        head.push(u8::try_from(value.len()).expect("shorter than 127 bytes"));
        head.extend_from_slice(value.as_bytes());
    }
    head
}
