//! What both drivers go by: whose work it is, and how long it may take.

use std::time::Duration;

use model::InstanceId;
use tokio::time::{Instant, timeout_at};

use crate::{Fault, Trouble};

/// No commit and no question takes longer. Below the time that a request has, so that who waits is answered.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Who shares the queues with others: an instance; or, all together, work that is no instance's.
pub(crate) type Tenant = Option<InstanceId>;

/// A database that has not answered by then does not.
pub(crate) async fn in_time<T>(until: Instant, asking: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let answer = timeout_at(until, asking).await;
    answer.unwrap_or_else(|_| Err(Fault::because(Trouble::Silent, "the database does not answer in time")))
}
