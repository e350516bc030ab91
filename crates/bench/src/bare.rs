//! The bare handler for comparison: the server's own listener and framework with a constant answer.

use std::io::Write as _;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use tokio::net::TcpListener;
use web::server::{Limits, ListenerSettings};

/// Serves until the process is killed. Prints its address on the first line of standard output.
pub(crate) async fn serve(path: &str, bytes: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    let answer = Bytes::from(vec![b'x'; bytes]);
    let same = answer.clone();
    let handlers = get(async move || answer).post(async move |_body: Bytes| same);
    let router = Router::new().route(path, handlers);
    web::server::serve(vec![listener], router, ListenerSettings::plain(Limits::default()), std::future::pending())
        .await;
    Ok(())
}
