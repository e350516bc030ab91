//! The load: connections kept alive, each sending its next request when the last one is answered. Reads as little of
//! HTTP as it can, because it shares the cores with the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) const CONNECTIONS: usize = 32;
/// No answer that is measured here comes near it.
const LARGEST: usize = 256 * 1024;

/// What one run of requests took.
pub(crate) struct Run {
    pub(crate) requests: usize,
    pub(crate) elapsed: Duration,
    /// Microseconds, unsorted.
    pub(crate) latencies: Vec<u32>,
}

/// Sends `count` requests over all connections; connection `i` sends the `i`-th text, over and over.
pub(crate) async fn run(address: SocketAddr, texts: &[Arc<[u8]>], count: usize) -> Result<Run> {
    let each = count.div_ceil(texts.len());
    let mut connections = Vec::with_capacity(texts.len());
    for text in texts {
        connections.push((Connection::open(address).await?, Arc::clone(text)));
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut connection, text) in connections {
        tasks.spawn(async move {
            let mut latencies = Vec::with_capacity(each);
            for _ in 0..each {
                let sent = Instant::now();
                connection.ask(&text).await?;
                latencies.push(u32::try_from(sent.elapsed().as_micros())?);
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::with_capacity(each * texts.len());
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    Ok(Run { requests: latencies.len(), elapsed: begun.elapsed(), latencies })
}

/// One answer's body; anything but 200 is an error.
pub(crate) async fn once(address: SocketAddr, text: &[u8]) -> Result<Vec<u8>> {
    let mut connection = Connection::open(address).await?;
    let body = connection.ask(text).await?;
    Ok(connection.buffer[body..].to_vec())
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Leaves the whole answer in the buffer and returns where its body begins.
    async fn ask(&mut self, text: &[u8]) -> Result<usize> {
        self.stream.write_all(text).await?;
        self.buffer.clear();
        let mut awaited = None;
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server hung up");
            ensure!(self.buffer.len() <= LARGEST, "the answer is too long");
            if awaited.is_none() {
                awaited = head(&self.buffer)?;
            }
            if let Some((body, end)) = awaited.filter(|(_, end)| *end <= self.buffer.len()) {
                ensure!(end == self.buffer.len(), "more came than was asked for");
                return Ok(body);
            }
        }
    }
}

/// Where the body begins and ends, once the whole head is there.
fn head(answer: &[u8]) -> Result<Option<(usize, usize)>> {
    const LENGTH: &[u8] = b"content-length:";
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = &answer[..end];
    ensure!(head.starts_with(b"HTTP/1.1 200 "), "not 200: {}", String::from_utf8_lossy(answer));
    let length = head
        .split(|&byte| byte == b'\n')
        .find(|line| line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH)))
        .context("every answer measured here says its length")?;
    let length: usize = std::str::from_utf8(&length[LENGTH.len()..])?.trim().parse()?;
    Ok(Some((end + 4, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_where_its_body_begins_and_ends() {
        let answer = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(head(answer).expect("well-formed"), Some((answer.len() - 5, answer.len())));
        assert_eq!(head(&answer[..30]).expect("not finished"), None);
    }

    #[test]
    fn an_answer_that_is_not_what_was_asked_for_is_not_measured() {
        assert!(head(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
