//! A connection's byte stream, observed: the protocol, and whether the peer takes our bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::connections::connection::Connection;
use crate::server::frames::Framing;

/// A stream that reports real transfers to its connection. If the peer does not take our bytes, nothing is read from
/// it: otherwise responses without a body, which no window limits, would pile up behind the waiting ones.
pub(super) struct WatchedStream<S> {
    stream: S,
    connection: Arc<Connection>,
    framing: Framing,
    /// The task waiting to read on.
    reader: Option<Waker>,
}

impl<S> WatchedStream<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, framing: Framing::new(), reader: None }
    }

    fn wrote(&mut self, outcome: &Poll<io::Result<usize>>) {
        let was_blocked = self.connection.set_blocked(outcome.is_pending());
        if was_blocked
            && outcome.is_ready()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        if matches!(outcome, Poll::Ready(Ok(count)) if *count > 0) {
            self.connection.bytes_went();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_blocked() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        let came = buf.filled().get(before..).unwrap_or_default();
        if !came.is_empty() {
            self.framing.pass(came);
            self.connection.bytes_came(came.len(), self.framing.is_http2(), self.framing.open_block());
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
