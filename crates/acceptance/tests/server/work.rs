//! Requests that end when a test says so.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::stream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::PATIENCE;

#[derive(Clone)]
pub(crate) struct Work {
    begun: Arc<Semaphore>,
    end: Arc<Semaphore>,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self { begun: Arc::new(Semaphore::new(0)), end: Arc::new(Semaphore::new(0)) }
    }

    /// A page that is answered once it is released.
    pub(crate) fn router(&self) -> Router {
        let work = self.clone();
        Router::new().route("/work", get(async move || work.go_on().await))
    }

    pub(crate) async fn go_on(&self) -> &'static str {
        self.begun.add_permits(1);
        self.end.acquire().await.expect("never closed").forget();
        "done"
    }

    /// Waits until this many more requests have begun.
    pub(crate) async fn has_begun(&self, count: u32) {
        let begun = timeout(PATIENCE, self.begun.acquire_many(count)).await.expect("begun in time");
        begun.expect("never closed").forget();
    }

    pub(crate) fn let_go(&self, count: usize) {
        self.end.add_permits(count);
    }
}

/// A page that streams the items that a test sends.
pub(crate) fn news() -> (mpsc::UnboundedSender<&'static str>, Router) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let follow = async move || {
        Body::from_stream(stream::unfold(receiver, async |receiver| {
            let news: &str = receiver.lock().await.recv().await?;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(news.as_bytes())), receiver))
        }))
    };
    (sender, Router::new().route("/news", get(follow)))
}
