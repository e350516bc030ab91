//! Connections that make the server keep memory before anybody has signed in: HTTP/2 streams whose answers are not taken,
//! bodies that do not come to their end, and a PING now and then.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::Honest;
use crate::Effort;
use crate::process::Server;

const NETWORKS: u8 = 50;
const CONNECTIONS_EACH: u32 = 20;
/// Of each connection, in turn with a body that is not finished.
const STREAMS: u32 = 100;
const PING_EVERY: Duration = Duration::from_secs(5);
/// After the idle limit of 60 s a connection is looked at within 10 s, and then has 10 s to leave.
const LONGEST_LIFE: Duration = Duration::from_secs(85);

/// RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What was felt.
pub(crate) struct Pinned {
    pub(crate) connections: u32,
    /// KiB resident at rest, and the most during the attack.
    pub(crate) idle: u32,
    pub(crate) most: u32,
    /// Microseconds.
    pub(crate) quiet_p99: f64,
    pub(crate) storm_p99: f64,
    /// Connections that were still open after [`LONGEST_LIFE`].
    pub(crate) left: u32,
}

pub(super) async fn measure(server: &Server, effort: Effort) -> Result<Pinned> {
    let honest = Honest::at(server.address);
    let span = Duration::from_secs(if effort.quick { 2 } else { 20 });
    honest.p99(span / 4).await?;
    let quiet_p99 = honest.p99(span).await?;
    let (idle, _) = server.resident()?;
    let mut attackers = JoinSet::new();
    for network in 1..=NETWORKS {
        for _ in 0..CONNECTIONS_EACH {
            let from = Ipv4Addr::new(127, 1, network, 1);
            attackers.spawn(pin(server.address, from));
        }
    }
    let begun = Instant::now();
    let storm_p99 = honest.p99(span).await?;
    let mut left = attackers.len();
    while left > 0 && begun.elapsed() < LONGEST_LIFE {
        eprint!("\rconnections that pin memory: {left} after {} s   ", begun.elapsed().as_secs());
        tokio::time::sleep(Duration::from_secs(1)).await;
        while attackers.try_join_next().is_some() {}
        left = attackers.len();
    }
    eprintln!();
    let (_, most) = server.resident()?;
    let connections = u32::from(NETWORKS) * CONNECTIONS_EACH;
    Ok(Pinned { connections, idle, most, quiet_p99, storm_p99, left: u32::try_from(left)? })
}

/// Until the server closes the connection.
async fn pin(server: SocketAddr, from: Ipv4Addr) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(server).await?;
    let mut begun = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0: no byte of any answer is taken.
    frame(&mut begun, SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    for number in 0..STREAMS {
        let stream = 2 * number + 1;
        if number % 2 == 0 {
            frame(&mut begun, HEADERS, END_STREAM | END_HEADERS, stream, &head(0x82, "/id/account/login", server));
        } else {
            frame(&mut begun, HEADERS, END_HEADERS, stream, &head(0x83, "/id/connect/token", server));
            frame(&mut begun, DATA, 0, stream, &[b'x'; 1024]);
        }
    }
    stream.write_all(&begun).await?;
    let mut ping = Vec::new();
    frame(&mut ping, PING, 0, 0, &[0; 8]);
    loop {
        let ended = tokio::time::timeout(PING_EVERY, drain(&mut stream)).await;
        if ended.is_ok() || stream.write_all(&ping).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads what comes, until nothing more does.
async fn drain(stream: &mut TcpStream) -> Result<()> {
    let mut bytes = vec![0; 4096];
    loop {
        ensure!(stream.read(&mut bytes).await? > 0, "closed");
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// RFC 7541 §6: an indexed `:method` and `:scheme`, then `:path` and `:authority` as literals that are not indexed.
fn head(method: u8, path: &str, server: SocketAddr) -> Vec<u8> {
    let mut head = vec![method, 0x86];
    for (name, value) in [(0x04, path.to_owned()), (0x01, server.to_string())] {
        head.push(name);
        head.push(u8::try_from(value.len()).expect("shorter than 127 bytes"));
        head.extend_from_slice(value.as_bytes());
    }
    head
}
