//! Threads for work that takes a core for long, shared between instances in turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use model::InstanceId;
use model::fair::{Receiver, Refused, Sender, channel};
use tokio::sync::oneshot;

use crate::Fault;
use crate::meters::Fill;
use crate::tasks::give_way;

type Work = Box<dyn FnOnce() + Send>;
/// An instance, or nothing for work that is no instance's; and, of its work, what takes turns by itself.
type Tenant = (Option<InstanceId>, &'static str);

/// What a pool is for, and its bounds.
pub(crate) struct PoolKind {
    pub(crate) name: &'static str,
    pub(crate) threads: usize,
    /// Work that may wait, in fair shares.
    pub(crate) max_waiting: usize,
    /// What callers beyond their share are told.
    pub(crate) full: &'static str,
    /// To everything else in this process. A storm of such work is then not felt by those who want none.
    pub(crate) gives_way: bool,
}

/// A few threads. Clones share them; each works for one tenant. They end when the last clone is dropped and what waits is
/// done.
#[derive(Clone)]
pub(crate) struct Pool {
    queue: Arc<Sender<Tenant, Work>>,
    kind: Arc<PoolKind>,
    tenant: Tenant,
}

impl Pool {
    pub(crate) fn new(kind: PoolKind) -> Self {
        let (queue, work) = channel(kind.max_waiting);
        for _ in 0..kind.threads {
            let (work, gives_way) = (work.clone(), kind.gives_way);
            let spawned = thread::Builder::new().name(kind.name.into()).spawn(move || {
                if gives_way {
                    give_way();
                }
                serve(&work);
            });
            // One is enough to go on with; without any the queue is closed, and everybody is told to come back.
            if let Err(error) = spawned {
                tracing::error!(%error, pool = kind.name, "a thread does not start");
            }
        }
        Self { queue: Arc::new(queue), kind: Arc::new(kind), tenant: (None, "") }
    }

    /// The same threads, by turns with other instances.
    pub(crate) fn of(&self, instance: InstanceId) -> Self {
        Self { tenant: (Some(instance), self.tenant.1), ..self.clone() }
    }

    /// The same threads, by turns with other work of the instance.
    pub(crate) fn apart(&self, work: &'static str) -> Self {
        Self { tenant: (self.tenant.0, work), ..self.clone() }
    }

    /// What waits.
    pub(crate) fn fill(&self) -> Fill {
        Fill { waiting: self.queue.waiting(), most: self.kind.max_waiting }
    }

    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let work = move || {
            // Whoever has gone away meanwhile needs no answer.
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        };
        self.submit(work)?;
        answer.await.map_err(Fault::failed)
    }

    /// Work that is done whether or not anybody waits for it.
    pub(crate) fn submit(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        self.queue.send(self.tenant, Box::new(work)).map_err(|refused| match refused {
            Refused::Full => Fault::unavailable(self.kind.full),
            Refused::Closed => Fault::unavailable(format!("no thread works on {}", self.kind.name)),
        })
    }
}

fn serve(queue: &Receiver<Tenant, Work>) {
    while let Some((_, work)) = queue.recv() {
        // A bug in one piece of work is that caller's fault, not the end of the thread that others wait for.
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

    /// Every thread of the pool is at work until the answer is dropped.
    pub(crate) fn occupy(pool: &Pool) -> (Vec<mpsc::Sender<()>>, Vec<Held>) {
        let hold = |_| {
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
        (0..pool.kind.threads).map(hold).unzip()
    }

    /// Starts as much as is taken, and answers what was said to the first that was not.
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

    /// Starts work, and waits for nothing: `None` while it is under way.
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
            gives_way: false,
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
    async fn a_panic_is_a_fault_of_that_work_alone_and_without_threads_there_is_none() {
        let kind =
            |threads| PoolKind { name: "tests", threads, max_waiting: 10, full: "too much at once", gives_way: false };
        let pool = Pool::new(kind(1));
        assert!(pool.run(|| panic!("a bug")).await.is_err_and(|fault| fault.kind() == FaultKind::Failed));
        assert_eq!(pool.run(|| 7).await.expect("the thread lives"), 7);
        let refused = Pool::new(kind(0)).run(|| 7).await.expect_err("nobody works");
        assert_eq!(refused.kind(), FaultKind::Unavailable);
    }
}
