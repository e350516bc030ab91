//! Order of password comparisons within an instance: known browsers before strangers, and strangers by network in turn.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use model::InstanceId;
use model::fair::FairQueue;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Fault;
use crate::platform::meters::QueueFill;
use crate::platform::pool::{Pool, WorkPermit};

/// Waiting passwords of known browsers, and password changes by signed-in users.
const MAX_KNOWN: usize = 128;
/// Waiting passwords of strangers, in fair shares of their networks. Each network has at least one place, up to the
/// second bound.
const MAX_STRANGERS: usize = 128;
const MAX_STRANGERS_AND_FIRSTS: usize = 384;

/// The queue that a password waits in.
#[derive(Clone, Copy, Debug)]
pub enum HashingTurn {
    Known,
    /// Identified by its network.
    Stranger(IpAddr),
}

/// Returns the pool's permit if the caller is gone, so that the next work can use it.
type LaneWork = Box<dyn FnOnce(WorkPermit) -> Option<WorkPermit> + Send>;

struct LaneQueues {
    known: VecDeque<LaneWork>,
    strangers: FairQueue<IpAddr, LaneWork>,
}

/// The pool's threads for one instance. Each turn that the pool grants goes to the next work here.
pub(super) struct HashingLanes {
    known: Pool,
    strangers: Pool,
    queues: Arc<Mutex<LaneQueues>>,
}

impl HashingLanes {
    pub(super) fn new(pool: Pool) -> Self {
        let queues = LaneQueues { known: VecDeque::new(), strangers: FairQueue::new(MAX_STRANGERS) };
        let strangers = pool.for_work("strangers");
        Self { known: pool, strangers, queues: Arc::new(Mutex::new(queues)) }
    }

    pub(super) fn of(&self, instance: InstanceId) -> Self {
        Self::new(self.known.of(instance))
    }

    pub(super) fn fill(&self) -> QueueFill {
        self.known.fill()
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        turn: HashingTurn,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let work = move |piece| {
            if reply.is_closed() {
                return Some(piece);
            }
            let done = work();
            drop(piece);
            // A caller that was cancelled just now needs no answer.
            let _ = reply.send(done);
            None
        };
        self.queues.lock().push(turn, Box::new(work)).ok_or_else(|| Fault::unavailable("too many sign-ins at once"))?;
        let pool = match turn {
            HashingTurn::Known => &self.known,
            HashingTurn::Stranger(_) => &self.strangers,
        };
        let queues = Arc::clone(&self.queues);
        pool.submit(move |mut piece| {
            while let Some(work) = next(&queues) {
                match work(piece) {
                    Some(unused) => piece = unused,
                    None => return,
                }
            }
        })?;
        answer.await.map_err(Fault::failed)
    }
}

fn next(queues: &Mutex<LaneQueues>) -> Option<LaneWork> {
    let mut queues = queues.lock();
    queues.known.pop_front().or_else(|| queues.strangers.pop().map(|(_, work)| work))
}

impl LaneQueues {
    fn push(&mut self, turn: HashingTurn, work: LaneWork) -> Option<()> {
        match turn {
            HashingTurn::Known if self.known.len() < MAX_KNOWN => {
                self.known.push_back(work);
                Some(())
            }
            HashingTurn::Stranger(network) if self.strangers.len() < MAX_STRANGERS_AND_FIRSTS => {
                self.strangers.push(network, work).ok()
            }
            HashingTurn::Known | HashingTurn::Stranger(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv4Addr;

    use uuid::Uuid;

    use super::*;
    use crate::platform::pool::tests::{fill, occupy, start};
    use crate::platform::pool::{PoolKind, Priority};

    fn stranger(number: u32) -> HashingTurn {
        HashingTurn::Stranger(Ipv4Addr::from_bits(number).into())
    }

    fn lanes() -> HashingLanes {
        let kind = PoolKind { name: "tests", threads: 1, max_waiting: 512, full: "full", priority: Priority::Normal };
        HashingLanes::new(Pool::new(kind)).of(InstanceId(Uuid::from_u128(1)))
    }

    #[tokio::test]
    async fn a_known_browser_is_next_and_strangers_take_turns_by_network() {
        let lanes = lanes();
        let busy = occupy(&lanes.known);
        let done = Arc::new(Mutex::new(Vec::new()));
        let work = |who: &'static str| {
            let done = Arc::clone(&done);
            move || done.lock().push(who)
        };
        let (storm, refused) = fill(|| lanes.run(stranger(1), work("storm")));
        assert_eq!((storm.len(), refused.kind()), (MAX_STRANGERS, store::FaultKind::Unavailable));
        let mut other = Box::pin(lanes.run(stranger(2), work("other")));
        let mut known = Box::pin(lanes.run(HashingTurn::Known, work("known")));
        assert!(start(&mut other).is_none() && start(&mut known).is_none(), "not refused");
        drop(busy);
        other.await.expect("done");
        known.await.expect("done");
        for one in storm {
            one.await.expect("done");
        }
        let order = done.lock().clone();
        assert_eq!(order[..3], ["known", "storm", "other"]);
        assert_eq!(order.len(), MAX_STRANGERS + 2, "nobody is lost");
    }

    #[tokio::test]
    async fn a_storm_from_everywhere_keeps_no_known_browser_and_no_other_instance_out() {
        let storming = lanes();
        let quiet = storming.of(InstanceId(Uuid::from_u128(2)));
        let busy = occupy(&storming.known);
        let number = Cell::new(0);
        let (storm, _refused) = fill(|| {
            number.set(number.get() + 1);
            storming.run(stranger(number.get()), || ())
        });
        assert_eq!(storm.len(), MAX_STRANGERS_AND_FIRSTS);
        let mut theirs = Box::pin(quiet.run(stranger(1), || 1));
        let mut known = Box::pin(storming.run(HashingTurn::Known, || 2));
        assert!(start(&mut theirs).is_none() && start(&mut known).is_none(), "not refused");
        let (many, _refused) = fill(|| storming.run(HashingTurn::Known, || ()));
        assert_eq!(many.len(), MAX_KNOWN - 1);
        // Cancelled callers leave nothing behind.
        drop((storm, many, busy));
        assert_eq!((theirs.await.expect("done"), known.await.expect("done")), (1, 2));
        while storming.fill().waiting > 0 {
            quiet.run(HashingTurn::Known, || ()).await.expect("it has its share");
        }
        storming.run(stranger(1), || ()).await.expect("there is room again");
    }
}
