//! The one way to change what memory holds: a batch announces its changes, is committed, and is applied in the order of
//! the change feed.
//!
//! Only [`Instance::follow`] applies changes, one caller at a time. It reads own changes and those of other processes
//! from the same feed, so a snapshot is never replaced by one that was read earlier.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::seat::SessionKey;
use model::{ApplicationId, AuthorizationId, ReferenceTokenId, SessionId, Timestamp, UserId};
use store::{Batch, Change, ChangeKind, Outcome, Trouble};
use uuid::Uuid;

use crate::Fault;
use crate::fault_log::Affected;
use crate::instance::Instance;
use crate::keys::KeyRing;
use crate::memory::Register;
use crate::seal::RootSecret;

/// Who needs memory to catch up waits no longer: a round asks the database several times, and others wait for their turn.
const PATIENCE: Duration = Duration::from_secs(3);

async fn in_time(following: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    // Boxed: it is large, and most calls never come here.
    let done = tokio::time::timeout(PATIENCE, Box::pin(following)).await;
    done.unwrap_or_else(|_| Err(Fault::because(Trouble::Silent, "memory does not catch up in time")))
}

/// How far this node's memory has followed the change feed of one instance.
pub(crate) struct Following {
    progress: tokio::sync::Mutex<Progress>,
    /// Rounds of following that have begun. A round that began after a commit reads its changes.
    rounds: AtomicU64,
    /// How often something was committed, or may have been, that memory did not follow at once; and how many of these
    /// cases a later round has healed.
    missed: AtomicU64,
    healed: AtomicU64,
}

struct Progress {
    /// The number of the newest change that was read.
    seen: i64,
    /// Changes that were read and could not be applied, in their order. Every round tries them again.
    unapplied: Vec<Change>,
    /// The last round that applied everything it read.
    completed: u64,
}

impl Following {
    /// `seen` is a number that the feed had before memory was loaded.
    pub(crate) fn new(seen: i64) -> Self {
        Self {
            progress: tokio::sync::Mutex::new(Progress { seen, unapplied: Vec::new(), completed: 0 }),
            rounds: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            healed: AtomicU64::new(0),
        }
    }

    /// Whether the database may hold changes of this instance that memory lacks.
    pub(crate) fn is_behind(&self) -> bool {
        self.missed.load(Ordering::Acquire) > self.healed.load(Ordering::Acquire)
    }

    pub(crate) fn mark_behind(&self) {
        self.missed.fetch_add(1, Ordering::AcqRel);
    }
}

/// A commit whose changes memory has not followed yet. Dropped before that (a fault, a time-out, a caller who went
/// away), it marks memory as behind: the batch may have been committed.
struct Unfollowed<'a>(Option<&'a Following>);

impl Unfollowed<'_> {
    fn followed(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfollowed<'_> {
    fn drop(&mut self) {
        if let Some(following) = self.0 {
            following.mark_behind();
        }
    }
}

impl Instance {
    /// Commits a batch. Memory has followed the changes that it announces when this returns; if a guard failed, those of
    /// who was first.
    ///
    /// A fault of following does not undo the commit: the answer is the commit's, and [`Instance::believe`] does not
    /// trust memory until a later round has caught up.
    pub(crate) async fn commit(&self, batch: Batch, now: Timestamp) -> Result<Outcome, Fault> {
        if !batch.announces() {
            return self.store.commit(batch).await;
        }
        let unfollowed = Unfollowed(Some(&self.following));
        let outcome = self.store.commit(batch).await?;
        match in_time(self.catch_up(now)).await {
            Ok(()) => unfollowed.followed(),
            Err(fault) => {
                let what = "a change is committed, but memory cannot follow it; requests ask the database until it can";
                let affected = Affected { instance: Some(&self.name), request: None };
                self.faults.report(&fault, what, affected);
            }
        }
        Ok(outcome)
    }

    /// Whether memory may answer: it follows the feed, and holds everything that is known to be committed.
    pub(crate) fn memory_holds(&self) -> bool {
        self.feed.memory_holds() && !self.following.is_behind()
    }

    /// Memory as of now, where it may not answer as it is: after the feed was lost, or a change could not be applied.
    pub(crate) async fn believe(&self, now: Timestamp) -> Result<(), Fault> {
        if self.memory_holds() {
            return Ok(());
        }
        // Whatever the cause, it is a state that passes: the caller may come back.
        in_time(self.catch_up(now)).await.map_err(Fault::unavailable)
    }

    /// Applies everything that was committed before this call. Callers who wait here together share one round.
    async fn catch_up(&self, now: Timestamp) -> Result<(), Fault> {
        let begun = self.following.rounds.load(Ordering::Acquire);
        let mut progress = self.following.progress.lock().await;
        if progress.completed > begun {
            return Ok(());
        }
        self.follow_in_turn(&mut progress, now).await
    }

    /// Applies what the feed has that memory has not.
    pub(crate) async fn follow(&self, now: Timestamp) -> Result<(), Fault> {
        let mut progress = self.following.progress.lock().await;
        self.follow_in_turn(&mut progress, now).await
    }

    /// One round. A change that cannot be applied stops no later one; it leaves memory behind until it can be.
    async fn follow_in_turn(&self, progress: &mut Progress, now: Timestamp) -> Result<(), Fault> {
        let following = &self.following;
        let round = following.rounds.fetch_add(1, Ordering::AcqRel) + 1;
        let missed = following.missed.load(Ordering::Acquire);
        let mut worst = Ok(());
        let mut tried = 0;
        while let Some(change) = progress.unapplied.get(tried).copied() {
            match self.apply(change, now).await {
                Ok(()) => {
                    progress.unapplied.remove(tried);
                }
                Err(fault) => {
                    worst = worst.and(Err(fault));
                    tried += 1;
                }
            }
        }
        for (number, change) in self.store.changes_after(progress.seen).await? {
            if let Err(fault) = self.apply(change, now).await {
                following.mark_behind();
                worst = worst.and(Err(fault));
                if !progress.unapplied.contains(&change) {
                    progress.unapplied.push(change);
                }
            }
            progress.seen = number;
        }
        worst?;
        progress.completed = round;
        following.healed.fetch_max(missed, Ordering::AcqRel);
        Ok(())
    }

    /// Brings memory up to one change. May be called for the same change again.
    async fn apply(&self, change: Change, now: Timestamp) -> Result<(), Fault> {
        match change.kind {
            ChangeKind::Register => self.reload_application(change.subject).await?,
            ChangeKind::Keys => {
                self.keys.store(Arc::new(KeyRing::load(&self.store, &self.master).await?));
                self.sealer.reload_key(&self.master).await?;
            }
            ChangeKind::RootSecret => {
                self.secret.store(Arc::new(RootSecret::load(&self.store, &self.master).await?));
            }
            ChangeKind::Settings => {
                self.settings.store(Arc::new(self.store.settings().await?));
                self.want_missing_keys();
            }
            ChangeKind::User => {
                let user = UserId(change.subject);
                self.users.forget(user);
                self.known_passwords.forget(user);
                self.api_sessions.forget_user(user);
            }
            ChangeKind::Person => self.users.forget(UserId(change.subject)),
            ChangeKind::Roles => self.users.forget_where(|_| true),
            ChangeKind::AuthorizationEnded => self.kills.authorization(AuthorizationId(change.subject), now),
            ChangeKind::ReferenceTokenRevoked => {
                let id = ReferenceTokenId(change.subject);
                self.reference_tokens.forget_where(|token| token.id == id);
                self.api_sessions.forget_key(&SessionKey::Reference(id));
            }
            ChangeKind::AccessTokenRevoked => {
                self.kills.token(change.subject, now);
                self.api_sessions.forget_key(&SessionKey::Service(change.subject.simple().to_string()));
            }
            ChangeKind::SessionEnded => {
                let session = SessionId(change.subject);
                self.kills.session(session, now);
                self.api_sessions.forget_key(&SessionKey::SignIn(session));
            }
            ChangeKind::ConsentWithdrawn => self.apply_withdrawal(UserId(change.subject), now).await?,
            ChangeKind::ApiSessionsClosed => self.forget_closed(change.subject).await?,
        }
        Ok(())
    }

    /// Reads one application anew. Older nodes announced the whole register, by the id of the instance.
    async fn reload_application(&self, subject: Uuid) -> Result<(), Fault> {
        if subject == self.store.instance().0 {
            self.register.store(Arc::new(Register::new(self.store.applications().await?)));
            self.forget_dead_applications();
        } else {
            let id = ApplicationId(subject);
            let application = self.store.application(id).await?;
            let is_on = application.as_ref().is_some_and(|application| application.enabled);
            self.register.store(Arc::new(self.register().with(id, application)));
            if !is_on {
                self.forget_dead_applications();
            }
        }
        self.want_missing_keys();
        Ok(())
    }
}
