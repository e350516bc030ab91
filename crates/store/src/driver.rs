//! Shared by both drivers: the tenant of a piece of work, and its deadline.

use std::time::Duration;

use model::InstanceId;
use tokio::time::{Instant, timeout_at};

use crate::{Fault, Trouble};

/// Maximum time for a commit or query. Shorter than the deadline of a request, so that the caller still gets an answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// The tenant of work in the fair queues: an instance, or `None` for all work that belongs to no instance.
pub(crate) type Tenant = Option<InstanceId>;

/// Fails with [`Trouble::Silent`] if there is no answer until the deadline.
pub(crate) async fn in_time<T>(until: Instant, asking: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let answer = timeout_at(until, asking).await;
    answer.unwrap_or_else(|_| Err(Fault::because(Trouble::Silent, "the database does not answer in time")))
}
