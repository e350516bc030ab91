use std::future::pending;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::HttpAnswer;

/// Watches the answers of one run. While faults strike, the first 503 ends the act: the caller does not receive the
/// answer.
#[derive(Default)]
pub struct Watch {
    strikes: Mutex<bool>,
    stopped: Notify,
    /// Held by every request until a handler has taken it apart, and has a reference to the instance instead.
    requests: Arc<()>,
}

/// A request that no handler has taken apart yet.
#[derive(Clone)]
pub(crate) struct BegunRequest(#[expect(dead_code, reason = "it is held, not used")] Arc<()>);

impl Watch {
    pub(crate) fn begin_request(&self) -> BegunRequest {
        BegunRequest(Arc::clone(&self.requests))
    }

    pub(crate) fn has_requests(&self) -> bool {
        Arc::strong_count(&self.requests) > 1
    }

    pub(crate) async fn see(&self, path: &str, answer: &HttpAnswer) {
        let status = answer.status.as_u16();
        assert!(status != 500 && status != 408, "{path} is answered {status}: {}", answer.text());
        if status != 503 {
            return;
        }
        assert!(!answer.header("retry-after").is_empty(), "{path}: a 503 says when to come back");
        if ["token", "revocation", "introspect"].iter().any(|end| path.starts_with(&format!("/id/connect/{end}"))) {
            assert_eq!(answer.error(), "temporarily_unavailable", "{path}");
        }
        assert!(self.strikes(), "{path} is answered 503, and nothing fails: {}", answer.text());
        self.stop::<()>().await;
    }

    /// Ends the act from inside.
    pub(crate) async fn stop<T>(&self) -> T {
        self.stopped.notify_one();
        pending().await
    }

    pub(crate) fn strikes(&self) -> bool {
        *self.strikes.lock()
    }

    pub(crate) fn strike(&self, strikes: bool) {
        *self.strikes.lock() = strikes;
    }

    pub(crate) async fn stopped(&self) {
        self.stopped.notified().await;
    }
}
