//! The load: keep-alive connections, each sending its next request after the last answer. Parses as little HTTP as
//! possible, because it shares the cores with the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

pub(crate) const CONNECTIONS: usize = 32;
/// Far larger than any answer measured here.
const LARGEST: usize = 256 * 1024;

/// Amount and rate of requests.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// This many requests. Every connection sends its next request after the last answer, so that the cores are fully
    /// used.
    Full(usize),
    /// This many requests per second for this long, each sent when it is due.
    Steady(u32, Duration),
}

impl Pace {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Full(_) => "all there is".to_owned(),
            Self::Steady(per_second, _) => format!("{per_second}/s"),
        }
    }

    /// The same rate for a shorter time.
    pub(crate) fn part(self, of: u32) -> Self {
        match self {
            Self::Full(count) => Self::Full((count / of as usize).max(1)),
            Self::Steady(per_second, span) => Self::Steady(per_second, span / of),
        }
    }
}

/// Results of one run.
pub(crate) struct Run {
    pub(crate) requests: usize,
    pub(crate) elapsed: Duration,
    /// In microseconds, unsorted.
    pub(crate) latencies: Vec<u32>,
}

/// Sends requests over all connections. Connection `i` repeatedly sends every [`CONNECTIONS`]-th text, starting at the
/// `i`-th.
pub(crate) async fn at(pace: Pace, address: SocketAddr, texts: &Arc<[Arc<[u8]>]>) -> Result<Run> {
    match pace {
        Pace::Full(count) => run(address, texts, count).await,
        Pace::Steady(per_second, span) => steady(address, texts, per_second, span).await,
    }
}

/// Runs at [`Pace::Full`].
pub(crate) async fn run(address: SocketAddr, texts: &Arc<[Arc<[u8]>]>, count: usize) -> Result<Run> {
    let each = count.div_ceil(CONNECTIONS);
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        connections.push((Connection::open(address).await?, number));
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut connection, number) in connections {
        let texts = Arc::clone(texts);
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(each);
            let mut own = own(&texts, number);
            for _ in 0..each {
                let text = own.next().context("every connection has a text")?;
                let sent = Instant::now();
                connection.ask(&texts[text]).await?;
                latencies.push(u32::try_from(sent.elapsed().as_micros())?);
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::with_capacity(each * CONNECTIONS);
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    Ok(Run { requests: latencies.len(), elapsed: begun.elapsed(), latencies })
}

/// Runs at [`Pace::Steady`]. If the previous answer on the connection is late, the next latency counts from the time
/// when its request was due.
async fn steady(address: SocketAddr, texts: &Arc<[Arc<[u8]>]>, per_second: u32, span: Duration) -> Result<Run> {
    let apart = Duration::from_secs(1) / per_second;
    let between = apart * u32::try_from(CONNECTIONS)?;
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address).await?);
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut connection, number) in connections.into_iter().zip(0..) {
        let texts = Arc::clone(texts);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut due = begun + apart * number;
            let mut free = begun;
            let mut own = own(&texts, number as usize);
            while due < begun + span {
                tokio::time::sleep_until(due.into()).await;
                // A late timer of the load is not counted as the server's delay.
                let sent = if free > due { due } else { Instant::now() };
                let text = own.next().context("every connection has a text")?;
                connection.ask(&texts[text]).await?;
                free = Instant::now();
                latencies.push(u32::try_from(free.duration_since(sent).as_micros())?);
                due += between;
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    Ok(Run { requests: latencies.len(), elapsed: begun.elapsed(), latencies })
}

/// Indexes of the texts that this connection sends repeatedly.
fn own(texts: &[Arc<[u8]>], connection: usize) -> impl Iterator<Item = usize> + use<> {
    (connection % texts.len()..texts.len()).step_by(CONNECTIONS).cycle()
}

/// The body of one answer. A status other than 200 is an error.
pub(crate) async fn once(address: SocketAddr, text: &[u8]) -> Result<Vec<u8>> {
    let mut connection = Connection::open(address).await?;
    let body = connection.ask(text).await?;
    Ok(connection.buffer[body..].to_vec())
}

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Status of an answer, and the start and end of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body: usize,
    end: usize,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        Self::over(TcpStream::connect(address).await?)
    }

    pub(crate) async fn open_from(own: Ipv4Addr, address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((own, 0).into())?;
        Self::over(socket.connect(address).await?)
    }

    fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Leaves the whole answer in the buffer and returns the start of its body. A status other than 200 is an error.
    async fn ask(&mut self, text: &[u8]) -> Result<usize> {
        let head = self.answer(text).await?;
        ensure!(head.status == 200, "not 200: {}", String::from_utf8_lossy(&self.buffer));
        Ok(head.body)
    }

    pub(crate) async fn status(&mut self, text: &[u8]) -> Result<u16> {
        Ok(self.answer(text).await?.status)
    }

    /// The head of the answer, with any status.
    pub(crate) async fn head_of(&mut self, text: &[u8]) -> Result<String> {
        let head = self.answer(text).await?;
        Ok(String::from_utf8(self.buffer[..head.body].to_vec())?)
    }

    async fn answer(&mut self, text: &[u8]) -> Result<Head> {
        self.stream.write_all(text).await?;
        self.buffer.clear();
        let mut awaited = None;
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server hung up");
            ensure!(self.buffer.len() <= LARGEST, "the answer is too long");
            if awaited.is_none() {
                awaited = head(&self.buffer)?;
            }
            if let Some(head) = awaited.filter(|head| head.end <= self.buffer.len()) {
                ensure!(head.end == self.buffer.len(), "more came than was asked for");
                return Ok(head);
            }
        }
    }
}

/// Parses the head. `None` until it is complete.
fn head(answer: &[u8]) -> Result<Option<Head>> {
    const LENGTH: &[u8] = b"content-length:";
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = &answer[..end];
    let status = head.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).context("an answer has a status")?;
    let status = std::str::from_utf8(status)?.parse()?;
    let length = head
        .split(|&byte| byte == b'\n')
        .find(|line| line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH)))
        .context("every answer measured here says its length")?;
    let length: usize = std::str::from_utf8(&length[LENGTH.len()..])?.trim().parse()?;
    Ok(Some(Head { status, body: end + 4, end: end + 4 + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_where_its_body_begins_and_ends() {
        let answer = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello";
        let found = Head { status: 200, body: answer.len() - 5, end: answer.len() };
        assert_eq!(head(answer).expect("well-formed"), Some(found));
        assert_eq!(head(&answer[..30]).expect("not finished"), None);
    }

    #[test]
    fn an_answer_that_is_not_what_was_asked_for_is_not_measured() {
        assert!(head(b"SSH-2.0-OpenSSH_9\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
