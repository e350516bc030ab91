//! Following the change feeds of all instances, side by side: a slow or broken one keeps no other waiting.

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

/// Instances that begin to follow at once, of one round. Twice the connections that read, so that none idles.
const MAX_AT_ONCE: usize = 8;

/// A round waits no longer for an instance, so that the others' next changes are heard within a second. It goes on by
/// itself, and is not believed meanwhile.
const ROUND_WAIT: Duration = Duration::from_millis(500);

/// How far memory has followed the change feeds.
pub(super) struct FeedFollower {
    seen: HashMap<InstanceId, FeedEnd>,
    /// Something may have changed that nobody looked at.
    is_behind: bool,
    running: JoinSet<Result<(), Fault>>,
    /// Who follows, by the task.
    names: HashMap<task::Id, FollowTask>,
}

/// An instance that follows, and the end of its feed when it began. Without one, it is not in the database.
struct FollowedInstance {
    instance: Arc<Instance>,
    newest: Option<FeedEnd>,
}

/// An instance whose task runs. Weak: the task holds it as long as it works for it.
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
    /// Behind from the start: what changed between loading and now was nobody's to tell.
    pub(super) fn new() -> Self {
        Self { seen: HashMap::new(), is_behind: true, running: JoinSet::new(), names: HashMap::new() }
    }

    fn is_running(&self, id: InstanceId) -> bool {
        self.names.values().any(|running| running.id == id)
    }

    /// Takes in how a task ended. A panic is one of its own instance alone.
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

    /// Runs until everything that is due has ended, or `until`.
    async fn run(
        &mut self,
        server: &Server,
        mut due: Vec<FollowedInstance>,
        until: Option<Instant>,
    ) -> Result<(), Fault> {
        let mut worst = Ok(());
        // What still runs from the round before takes no place from this one.
        let places = self.names.len() + MAX_AT_ONCE;
        // The first is started first.
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
    /// Memory follows what other processes changed before this call, and what it missed of its own changes.
    pub async fn catch_up(&self) -> Result<(), Fault> {
        let mut follower = self.follower.lock().await;
        // What began before this call may have read before it.
        let before = follower.run(self, Vec::new(), None).await;
        self.follow_changes(&mut follower, None).await.and(before)
    }

    /// A turn of the background task: as [`Self::catch_up`], and nobody is waited for longer than [`ROUND_WAIT`].
    pub async fn follow_in_time(&self) -> Result<(), Fault> {
        self.follow_changes(&mut *self.follower.lock().await, Some(ROUND_WAIT)).await
    }

    /// A fault of one instance takes the trust in memory from that instance alone.
    async fn follow_changes(&self, follower: &mut FeedFollower, wait: Option<Duration>) -> Result<(), Fault> {
        let begun = Instant::now();
        self.check_database_identity().await?;
        // The database tells of a change once: an answer that is lost counts as a yes.
        let was_behind = std::mem::replace(&mut follower.is_behind, true);
        let changed = self.database.changed_elsewhere().await;
        if matches!(&changed, Err(fault) if fault.trouble() == Trouble::Replaced) {
            // What others change is somewhere else.
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
            // An instance that is not in the database has nothing in it that memory knows.
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
