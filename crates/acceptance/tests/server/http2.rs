//! HTTP/2 (RFC 9113) frame by frame, so that the test decides every byte on the wire.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use web::server::Limits;

use crate::{PATIENCE, Running};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_OF_STREAM: u8 = 1;
pub(crate) const END_OF_HEADERS: u8 = 4;
pub(crate) const END_OF_BOTH: u8 = 5;
/// RFC 7541 Appendix A: `:method: GET`, `:scheme: http`, `:path: /`.
pub(crate) const GET_ROOT: [u8; 3] = [0x82, 0x86, 0x84];
/// The same with `:method: POST`.
pub(crate) const POST_ROOT: [u8; 3] = [0x83, 0x86, 0x84];
/// `:status` as an indexed field, or as a literal with an indexed name and a Huffman-coded value.
pub(crate) const STATUS_200: &[u8] = &[0x88];
const STATUS_408: &[u8] = &[0x48, 0x83, 0x68, 0x0f, 0x7f];
const STATUS_431: &[u8] = &[0x48, 0x83, 0x69, 0x90, 0xff];

pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    async fn connect(server: &Running) -> Self {
        Self::over(server.connect().await, &[]).await
    }

    /// Sends the connection preface of RFC 9113 §3.4 with these settings.
    pub(crate) async fn over(stream: TcpStream, settings: &[u8]) -> Self {
        let mut client = Self(stream);
        client.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
        client.send(SETTINGS, 0, 0, settings).await;
        client
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        assert!(self.try_send_on(kind, flags, stream, payload).await, "sent");
    }

    /// Whether the connection still accepts a frame on stream 0.
    pub(crate) async fn try_send(&mut self, kind: u8, payload: &[u8]) -> bool {
        self.try_send_on(kind, 0, 0, payload).await
    }

    pub(crate) async fn try_send_on(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.0.write_all(&frame).await.is_ok()
    }

    /// Whether a frame of this kind arrives before the connection ends.
    pub(crate) async fn try_next(&mut self, kind: u8) -> bool {
        loop {
            match timeout(PATIENCE, self.read_frame()).await.expect("answered in time") {
                Ok(frame) if frame.kind == kind => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// The next frame of this kind; others are skipped.
    pub(crate) async fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = timeout(PATIENCE, self.frame()).await.expect("answered in time");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    async fn frame(&mut self) -> Frame {
        self.read_frame().await.expect("not closed")
    }

    async fn read_frame(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await?;
        Ok(Frame { kind: head[3], payload })
    }

    /// The next head of a response begins with this status.
    pub(crate) async fn status_is(&mut self, status: &[u8]) {
        let head = self.next(HEADERS).await.payload;
        assert!(head.starts_with(status), "{head:02x?}");
    }
}

fn server(limits: Limits) -> Running {
    let router = Router::new().route("/", get(async || "hello").post(async |body: Bytes| body));
    Running::plain(router, limits)
}

/// RFC 9113 §6.5.2: `SETTINGS_MAX_CONCURRENT_STREAMS`, as the server announces it.
async fn max_streams(client: &mut Client) -> u32 {
    let settings = client.next(SETTINGS).await.payload;
    let (settings, _) = settings.as_chunks::<6>();
    let found = settings.iter().find(|[high, low, ..]| u16::from_be_bytes([*high, *low]) == 3);
    let [_, _, value @ ..] = found.expect("there is a bound");
    u32::from_be_bytes(*value)
}

#[tokio::test]
async fn only_the_first_connection_of_a_network_has_all_streams() {
    let server = server(Limits::default());
    let mut first = Client::connect(&server).await;
    assert_eq!(max_streams(&mut first).await, 100);
    let mut further = Client::connect(&server).await;
    assert_eq!(max_streams(&mut further).await, 8);
    further.send(HEADERS, END_OF_BOTH, 1, &GET_ROOT).await;
    further.status_is(STATUS_200).await;
}

/// Each stream that breaks the protocol is remembered for a while.
#[tokio::test]
async fn a_further_connection_that_sends_bodies_of_refused_streams_is_closed() {
    let server = server(Limits::default());
    let _first = Client::connect(&server).await;
    let mut further = Client::connect(&server).await;
    // Eight requests are begun.
    for stream in (1..100).step_by(2) {
        let _may_be_closed_already = further.try_send_on(HEADERS, END_OF_HEADERS, stream, &POST_ROOT).await
            && further.try_send_on(DATA, 0, stream, b"x").await;
    }
    // The frame arrives, or the connection is closed already.
    let _told = further.try_next(GOAWAY).await;
}

#[tokio::test]
async fn http_2_is_understood_and_its_limits_are_announced() {
    let server = server(Limits::default());
    let mut client = Client::connect(&server).await;
    let settings = client.next(SETTINGS).await.payload;
    let announced: Vec<(u16, u32)> = settings
        .chunks_exact(6)
        .map(|setting| {
            (
                u16::from_be_bytes([setting[0], setting[1]]),
                u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]),
            )
        })
        .collect();
    assert!(announced.contains(&(3, 100)), "SETTINGS_MAX_CONCURRENT_STREAMS in {announced:?}");
    assert!(announced.contains(&(4, 65_536)), "SETTINGS_INITIAL_WINDOW_SIZE in {announced:?}");
    assert!(announced.contains(&(6, 65_535)), "SETTINGS_MAX_HEADER_LIST_SIZE in {announced:?}");

    for stream in [1, 3] {
        client.send(HEADERS, END_OF_BOTH, stream, &GET_ROOT).await;
        client.status_is(STATUS_200).await;
        assert_eq!(client.next(DATA).await.payload, b"hello");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_its_stream_and_not_the_connection() {
    let limits = Limits { request_timeout: Duration::from_millis(150), ..Limits::default() };
    let server = server(limits);
    let mut client = Client::connect(&server).await;
    client.send(HEADERS, END_OF_HEADERS, 1, &POST_ROOT).await;
    client.status_is(STATUS_408).await;
    client.send(HEADERS, END_OF_BOTH, 3, &GET_ROOT).await;
    client.status_is(STATUS_200).await;
}

#[tokio::test]
async fn a_head_over_64_kib_is_answered_431() {
    let server = server(Limits::default());
    let mut client = Client::connect(&server).await;
    // RFC 7541 §6.2.2 and §5.1: a literal field `a` with a value of 127 + 1 + 124 · 128 = 16 000 bytes.
    let field = [&[0x00, 1, b'a', 0x7f, 0x81, 0x7c][..], &[b'x'; 16_000]].concat();
    client.send(HEADERS, END_OF_STREAM, 1, &GET_ROOT).await;
    for flags in [0, 0, 0, 0, END_OF_HEADERS] {
        client.send(CONTINUATION, flags, 1, &field).await;
    }
    client.status_is(STATUS_431).await;
}
