//! Follows the change feeds of all instances concurrently. A slow or broken one does not delay the others.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::InstanceId;
use store::{FeedEnd, Trouble};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;

use crate::Fault;
use crate::server::Server;
use crate::server::instance::Instance;

/// Maximum instances that one round starts concurrently. Twice the number of read connections, so that none idles.
const MAX_AT_ONCE: usize = 8;

/// Maximum time that a round waits for an instance, so that the other instances learn of their next changes within a
/// second. The slow instance continues in the background; its memory is not trusted meanwhile.
const ROUND_WAIT: Duration = Duration::from_millis(500);

/// How far memory has followed the change feeds.
pub(super) struct FeedFollower {
    seen: HashMap<InstanceId, FeedEnd>,
    /// There may be changes that were not read.
    is_behind: bool,
    running: JoinSet<Result<(), Fault>>,
    /// The followed instance of each task.
    names: HashMap<task::Id, FollowTask>,
}

/// An instance to follow, and the end of its feed at the start. `None`: it is not in the database.
struct FollowedInstance {
    instance: Arc<Instance>,
    newest: Option<FeedEnd>,
}

/// A running task. Weak: the task itself keeps the instance alive while it runs.
struct FollowTask {
    id: InstanceId,
    instance: Weak<Instance>,
    newest: Option<FeedEnd>,
}

impl FollowTask {
    fn mark_behind(&self) {
        if let Some(instance) = self.instance.upgrade() {
            instance.memory.position.mark_behind();
        }
    }
}

impl FeedFollower {
    /// Starts as behind: changes between loading and now have not been read.
    pub(super) fn new() -> Self {
        Self { seen: HashMap::new(), is_behind: true, running: JoinSet::new(), names: HashMap::new() }
    }

    fn is_running(&self, id: InstanceId) -> bool {
        self.names.values().any(|running| running.id == id)
    }

    /// Records the result of a task. A panic affects only its own instance.
    fn settle(
        &mut self,
        server: &Server,
        ended: Result<(task::Id, Result<(), Fault>), JoinError>,
    ) -> Result<(), Fault> {
        let (id, done) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                if error.is_panic() {
                    server.panics.add("follow");
                }
                (error.id(), Err(Fault::failed(error)))
            }
        };
        let Some(running) = self.names.remove(&id) else { return done };
        match (&done, &running.newest) {
            (Ok(()), Some(newest)) => {
                self.seen.insert(running.id, newest.clone());
            }
            (Ok(()), None) => {}
            (Err(_), _) => running.mark_behind(),
        }
        done
    }

    /// Runs until every due instance has been followed, or until `until`.
    async fn run(
        &mut self,
        server: &Server,
        mut due: Vec<FollowedInstance>,
        until: Option<Instant>,
    ) -> Result<(), Fault> {
        let mut worst = Ok(());
        // Tasks still running from the previous round do not count against the limit of this one.
        let places = self.names.len() + MAX_AT_ONCE;
        // `pop` takes from the end; this starts the first instance first.
        due.reverse();
        loop {
            while self.names.len() < places
                && let Some(FollowedInstance { instance, newest }) = due.pop()
            {
                let (id, weak) = (instance.id(), Arc::downgrade(&instance));
                let follow = async move { instance.memory.follow(instance.memory.platform.now()).await };
                let task = self.running.spawn_on(follow, &server.runtime);
                self.names.insert(task.id(), FollowTask { id, instance: weak, newest });
            }
            let ending = self.running.join_next_with_id();
            let ended = match until {
                Some(until) => tokio::time::timeout_at(until, ending).await,
                None => Ok(ending.await),
            };
            match ended {
                Ok(Some(ended)) => worst = worst.and(self.settle(server, ended)),
                Ok(None) => return worst,
                Err(_elapsed) => break,
            }
        }
        self.names.values().for_each(FollowTask::mark_behind);
        for followed in &due {
            followed.instance.memory.position.mark_behind();
        }
        worst.and(Err(Fault::because(Trouble::Silent, "an instance does not follow its changes in time")))
    }
}

impl Server {
    /// Brings memory up to date with the changes that other processes committed before this call, and with its own
    /// unapplied changes.
    pub async fn catch_up(&self) -> Result<(), Fault> {
        let mut follower = self.follower.lock().await;
        // A task started before this call may have read too early.
        let before = follower.run(self, Vec::new(), None).await;
        self.follow_changes(&mut follower, None).await.and(before)
    }

    /// One turn of the background task: as [`Self::catch_up`], but waits no longer than [`ROUND_WAIT`].
    pub async fn follow_in_time(&self) -> Result<(), Fault> {
        self.follow_changes(&mut *self.follower.lock().await, Some(ROUND_WAIT)).await
    }

    /// A fault of one instance makes only that instance's memory untrusted.
    async fn follow_changes(&self, follower: &mut FeedFollower, wait: Option<Duration>) -> Result<(), Fault> {
        let begun = Instant::now();
        self.check_database_identity().await?;
        // The database reports a change once: a lost answer must count as a yes.
        let was_behind = std::mem::replace(&mut follower.is_behind, true);
        let changed = self.database.changed_elsewhere().await;
        if matches!(&changed, Err(fault) if fault.trouble() == Trouble::Replaced) {
            // The changes of other processes are in the file at the path, not in the one that is open.
            self.instances.iter().for_each(|instance| instance.memory.position.mark_behind());
        }
        follower.is_behind = changed? || was_behind;
        if !follower.is_behind && !self.instances.iter().any(|instance| instance.memory.position.is_behind()) {
            return Ok(());
        }
        let mut feeds: HashMap<InstanceId, _> = self.database.feeds().await?.into_iter().collect();
        let mut due = Vec::new();
        for instance in &self.instances {
            let id = instance.id();
            // Without a row in the database, the instance has nothing that memory could know.
            let newest = feeds.remove(&id);
            if newest.is_some() && follower.seen.get(&id) == newest.as_ref() && !instance.memory.position.is_behind() {
                continue;
            }
            if !follower.is_running(id) {
                due.push(FollowedInstance { instance: Arc::clone(instance), newest });
            }
        }
        let done = follower.run(self, due, wait.map(|wait| begun + wait)).await;
        follower.is_behind = done.is_err();
        self.feed.followed(begun);
        done
    }
}
