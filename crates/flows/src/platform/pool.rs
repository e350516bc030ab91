//! Thread pools for work that occupies a core for long, shared between instances in turn.
//!
//! Low-priority threads keep a burst of such work from slowing other requests. While requests keep all cores busy, they
//! would also starve another instance's single piece of work, hence [`Priority::FirstPiece`]. On Linux a thread can
//! lower its priority but not raise it again, so each priority has its own threads.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use model::InstanceId;
use model::fair::{FairReceiver, FairSender, SendError, channel};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Fault;
use crate::platform::meters::QueueFill;
use crate::platform::tasks::give_way;

type PoolWork = Box<dyn FnOnce() + Send>;
/// The instance (none for work outside any instance), and the kind of its work, which takes turns by itself.
type PoolTenant = (Option<InstanceId>, &'static str);

/// Name and bounds of a pool.
pub(crate) struct PoolKind {
    pub(crate) name: &'static str,
    /// Threads for each priority.
    pub(crate) threads: usize,
    /// Pieces of work that may wait, in fair shares.
    pub(crate) max_waiting: usize,
    /// Fault text for callers beyond their share.
    pub(crate) full: &'static str,
    pub(crate) priority: Priority,
}

/// The scheduling priority of a pool's threads, relative to the other threads of the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Normal,
    /// Yields to all other threads.
    Low,
    /// Normal for a tenant's first piece of work, low for pieces that the tenant adds while the first is under way.
    FirstPiece,
}

/// A few threads. Clones share them; each clone works for one tenant. The threads end when the last clone is dropped
/// and the waiting work is done.
#[derive(Clone)]
pub(crate) struct Pool {
    queues: Arc<PoolQueues>,
    kind: Arc<PoolKind>,
    tenant: PoolTenant,
}

struct PoolQueues {
    first: Arc<FairSender<PoolTenant, PoolWork>>,
    /// The same queue, unless the priority is [`Priority::FirstPiece`].
    further: Arc<FairSender<PoolTenant, PoolWork>>,
    /// Number of pieces that wait or run, per tenant.
    under_way: Arc<Mutex<HashMap<PoolTenant, usize>>>,
}

impl PoolQueues {
    fn waiting(&self) -> usize {
        let further = if Arc::ptr_eq(&self.first, &self.further) { 0 } else { self.further.waiting() };
        self.first.waiting() + further
    }
}

/// Held while a piece of work waits or runs. Dropping it ends the piece.
pub(crate) struct WorkPermit {
    under_way: Arc<Mutex<HashMap<PoolTenant, usize>>>,
    tenant: PoolTenant,
}

impl WorkPermit {
    /// Also answers whether the piece is its tenant's only one.
    fn begin(under_way: &Arc<Mutex<HashMap<PoolTenant, usize>>>, tenant: PoolTenant) -> (Self, bool) {
        let mut pieces = under_way.lock();
        let pieces = pieces.entry(tenant).or_default();
        *pieces += 1;
        (Self { under_way: Arc::clone(under_way), tenant }, *pieces == 1)
    }
}

impl Drop for WorkPermit {
    fn drop(&mut self) {
        let mut pieces = self.under_way.lock();
        let left = pieces.get_mut(&self.tenant).expect("it was counted when it began");
        *left -= 1;
        if *left == 0 {
            pieces.remove(&self.tenant);
        }
    }
}

impl Pool {
    pub(crate) fn new(kind: PoolKind) -> Self {
        let first = start_threads(&kind, if kind.priority == Priority::Low { give_way } else { || {} });
        let further = match kind.priority {
            Priority::FirstPiece => start_threads(&kind, give_way),
            Priority::Normal | Priority::Low => Arc::clone(&first),
        };
        let queues = PoolQueues { first, further, under_way: Arc::default() };
        Self { queues: Arc::new(queues), kind: Arc::new(kind), tenant: (None, "") }
    }

    /// The same threads, taking turns with other instances.
    pub(crate) fn of(&self, instance: InstanceId) -> Self {
        Self { tenant: (Some(instance), self.tenant.1), ..self.clone() }
    }

    /// The same threads, taking turns with other work of the instance.
    pub(crate) fn for_work(&self, work: &'static str) -> Self {
        Self { tenant: (self.tenant.0, work), ..self.clone() }
    }

    /// The number of waiting pieces, and their bound.
    pub(crate) fn fill(&self) -> QueueFill {
        QueueFill { waiting: self.queues.waiting(), most: self.kind.max_waiting }
    }

    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        self.submit(move |piece| {
            // Skips the work if the caller has gone away.
            if !reply.is_closed() {
                let done = work();
                drop(piece);
                let _ = reply.send(done);
            }
        })?;
        answer.await.map_err(Fault::failed)
    }

    /// Submits work that sends its own answer. The work drops its permit before it answers, so that the caller's next
    /// piece counts as a first one again.
    pub(crate) fn submit(&self, work: impl FnOnce(WorkPermit) + Send + 'static) -> Result<(), Fault> {
        let (piece, is_first) = WorkPermit::begin(&self.queues.under_way, self.tenant);
        let queue = if is_first { &self.queues.first } else { &self.queues.further };
        queue.send(self.tenant, Box::new(move || work(piece))).map_err(|refused| match refused {
            SendError::Full => Fault::unavailable(self.kind.full),
            SendError::Closed => Fault::unavailable(format!("no thread works on {}", self.kind.name)),
        })
    }
}

fn start_threads(kind: &PoolKind, begin: fn()) -> Arc<FairSender<PoolTenant, PoolWork>> {
    let (queue, work) = channel(kind.max_waiting);
    for _ in 0..kind.threads {
        let work = work.clone();
        let spawned = thread::Builder::new().name(kind.name.into()).spawn(move || {
            begin();
            serve(&work);
        });
        // One thread is enough to continue. Without any, the queue is closed, and every caller is told to try again.
        if let Err(error) = spawned {
            tracing::error!(%error, pool = kind.name, "a thread does not start");
        }
    }
    Arc::new(queue)
}

fn serve(queue: &FairReceiver<PoolTenant, PoolWork>) {
    while let Some((_, work)) = queue.recv() {
        // A bug in one piece of work is a fault for that caller. The thread survives: others wait for it.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::pin::Pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use model::InstanceId;
    use parking_lot::Mutex;
    use store::FaultKind;
    use uuid::Uuid;

    use super::*;

    type Held = Pin<Box<dyn Future<Output = Result<(), Fault>>>>;

    /// Keeps every thread of the pool busy until the answer is dropped. The pool's own tenant then has a piece under
    /// way.
    pub(crate) fn occupy(pool: &Pool) -> (Vec<mpsc::Sender<()>>, Vec<Held>) {
        let others = |number| pool.of(InstanceId(Uuid::from_u128(u128::MAX - number)));
        let tenants: Vec<Pool> = [pool.clone()].into_iter().chain((1..).map(others)).take(pool.kind.threads).collect();
        let pieces = if pool.kind.priority == Priority::FirstPiece { 2 } else { 1 };
        let hold = |pool: &Pool| {
            let ((end, ended), (signal, begun)) = (mpsc::channel::<()>(), mpsc::channel());
            let pool = pool.clone();
            let work = move || {
                signal.send(()).expect("the test waits");
                assert!(ended.recv().is_err(), "nobody sends");
            };
            let mut held: Held = Box::pin(async move { pool.run(work).await });
            assert!(start(&mut held).is_none());
            begun.recv().expect("a thread begins");
            (end, held)
        };
        (0..pieces).flat_map(|_| &tenants).map(hold).unzip()
    }

    /// Starts work until a piece is refused. Answers the accepted pieces and that fault.
    pub(crate) fn fill<T, F: Future<Output = Result<T, Fault>>>(work: impl Fn() -> F) -> (Vec<Pin<Box<F>>>, Fault) {
        let mut waiting = Vec::new();
        loop {
            let mut one = Box::pin(work());
            match start(&mut one) {
                None => waiting.push(one),
                Some(Err(refused)) => return (waiting, refused),
                Some(Ok(_)) => panic!("done although all threads are at work"),
            }
        }
    }

    /// Polls the work once: `None` while it is under way.
    pub(crate) fn start<T>(
        running: &mut Pin<Box<impl Future<Output = Result<T, Fault>> + ?Sized>>,
    ) -> Option<Result<T, Fault>> {
        match running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(answer) => Some(answer),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn after_one_piece_of_a_storms_work_comes_anothers() {
        let pool = Pool::new(PoolKind {
            name: "tests",
            threads: 2,
            max_waiting: 1000,
            full: "too much at once",
            priority: Priority::Normal,
        });
        let [storming, other] = [1, 2].map(|id| pool.of(InstanceId(Uuid::from_u128(id))));
        let done = Arc::new(Mutex::new(Vec::new()));
        let work = |who: &'static str| {
            let done = Arc::clone(&done);
            move || done.lock().push(who)
        };
        let busy = occupy(&storming);
        let (storm, refused) = fill(|| storming.run(work("storm")));
        assert_eq!((storm.len(), refused.kind()), (1000, FaultKind::Unavailable), "alone, it has everything");
        let mut theirs = Box::pin(other.run(work("other")));
        assert!(start(&mut theirs).is_none(), "not refused");
        assert_eq!((pool.fill().waiting, pool.fill().most), (1001, 1000));
        let mut again = Box::pin(storming.run(work("storm")));
        assert!(start(&mut again).is_some_and(|answer| answer.is_err()), "it has more than its share");
        drop(busy);
        theirs.await.expect("done");
        let before = done.lock().iter().position(|who| *who == "other").expect("done");
        assert!(before <= pool.kind.threads, "after {before} pieces of the storm's work");
    }

    #[tokio::test]
    async fn the_first_piece_of_another_waits_for_no_piece_of_a_storm() {
        let (threads, max_waiting, full) = (1, 1000, "too much at once");
        let pool = Pool::new(PoolKind { name: "tests", threads, max_waiting, full, priority: Priority::FirstPiece });
        let [storming, other] = [1, 2].map(|id| pool.of(InstanceId(Uuid::from_u128(id))));
        let (end, ended) = mpsc::channel::<()>();
        // The storm's first piece is done. Its second occupies the low-priority thread.
        let mut first = Box::pin(storming.run(move || ended.recv().is_err()));
        assert!(start(&mut first).is_none());
        let (release, released) = mpsc::channel::<()>();
        let mut second = Box::pin(storming.run(move || released.recv().is_err()));
        assert!(start(&mut second).is_none());
        drop(end);
        assert!(first.await.expect("done"));
        let (storm, refused) = fill(|| storming.run(|| ()));
        // One less if the thread has not yet taken the second piece.
        assert!((999..=1000).contains(&storm.len()), "{}", storm.len());
        assert_eq!(refused.kind(), FaultKind::Unavailable);
        for number in 0..3 {
            assert_eq!(other.run(move || number).await.expect("done"), number, "while the storm holds its thread");
        }
        drop(release);
        assert!(second.await.expect("done"));
        drop(storm);
        assert_eq!(
            pool.queues.under_way.lock().get(&other.tenant),
            None,
            "nothing is kept of who has nothing under way"
        );
    }

    #[tokio::test]
    async fn a_panic_is_a_fault_of_that_work_alone_and_without_threads_there_is_none() {
        let kind = |threads| PoolKind {
            name: "tests",
            threads,
            max_waiting: 10,
            full: "too much at once",
            priority: Priority::Normal,
        };
        let pool = Pool::new(kind(1));
        assert!(pool.run(|| panic!("a bug")).await.is_err_and(|fault| fault.kind() == FaultKind::Failed));
        assert_eq!(pool.run(|| 7).await.expect("the thread lives"), 7);
        let refused = Pool::new(kind(0)).run(|| 7).await.expect_err("nobody works");
        assert_eq!(refused.kind(), FaultKind::Unavailable);
    }
}
