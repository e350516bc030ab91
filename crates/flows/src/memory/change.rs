//! The one way to change what memory holds: a batch announces its changes, is committed, and is applied in the order of
//! the change feed.
//!
//! Only [`InstanceMemory::follow`] applies changes, one caller at a time. It reads this process's changes and those of
//! other processes from the same feed, so a snapshot is never replaced by an older one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::audit::AuditKind;
use model::seat::SessionKey;
use model::{ApplicationId, AuthorizationId, Moment, ReferenceTokenId, SessionId, Timestamp, UserId};
use parking_lot::Mutex;
use store::{Batch, Change, ChangeKind, CommitOutcome, FeedMark, Trouble};
use tokio::time::Instant;
use uuid::Uuid;

use crate::Fault;
use crate::audit::system_event;
use crate::memory::keys::KeyRing;
use crate::memory::{ApplicationRegister, Memory};
use crate::memory::{CONSENT_WITHDRAWN, InstanceMemory};
use crate::platform::fault_log::FaultContext;
use crate::platform::seal::RootSecret;
use model::claims::MAX_TOKEN_LIFETIME;

/// How long a caller waits for memory to catch up. One round queries the database several times, and other callers wait
/// for their turn.
const PATIENCE: Duration = Duration::from_secs(3);

/// Changes read in one query.
const PAGE: u32 = 1000;
/// Changes that one round applies.
const MAX_CHANGES: u32 = 10 * PAGE;

async fn in_time(following: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    // Boxed: the future is large, and most calls do not get here.
    let done = tokio::time::timeout(PATIENCE, Box::pin(following)).await;
    done.unwrap_or_else(|_| Err(Fault::because(Trouble::Silent, "memory does not catch up in time")))
}

/// How far this node's memory has followed the change feed of one instance.
pub(crate) struct FeedPosition {
    progress: tokio::sync::Mutex<FeedProgress>,
    /// Rounds begun. A round that began after a commit reads that commit's changes.
    rounds: AtomicU64,
    /// `missed` counts commits, certain or possible, that memory did not follow at once. `healed` counts how many of
    /// them a later round has covered.
    missed: AtomicU64,
    healed: AtomicU64,
    /// This instance saw that the database went back, and the server's other instances have not been told yet.
    rewound: AtomicBool,
    /// Another database may be answering: memory is read again even if the feed shows no difference.
    in_doubt: AtomicBool,
    /// Details for reports on the lag. No request reads them.
    lag: Mutex<Option<Lag>>,
}

struct FeedProgress {
    place: FeedState,
    /// Changes that were read and could not be applied, in feed order. Every round tries them again.
    unapplied: Vec<Change>,
    /// The last round that applied everything it read.
    completed: u64,
}

/// Memory's position in the feed.
enum FeedState {
    /// At the newest change that was read.
    At(FeedMark),
    /// Nowhere: the database may have gone back, or memory is too far behind, and memory must be read again.
    /// `is_announced` if every node that needs to know has been told.
    Lost { is_announced: bool },
}

/// Why memory is not believed.
#[derive(Clone, Debug)]
pub struct MemoryBehind {
    pub lasting: Duration,
    /// The last fault, with its causes; empty if the changes of a commit were not read in time.
    pub fault: String,
    /// Kinds of the changes that could not be applied.
    pub unapplied: Vec<&'static str>,
}

struct Lag {
    since: Instant,
    fault: String,
    unapplied: Vec<&'static str>,
}

impl FeedPosition {
    /// `mark` is a row that the feed had before memory was loaded.
    pub(crate) fn new(mark: FeedMark) -> Self {
        let progress = FeedProgress { place: FeedState::At(mark), unapplied: Vec::new(), completed: 0 };
        Self {
            progress: tokio::sync::Mutex::new(progress),
            rounds: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            healed: AtomicU64::new(0),
            rewound: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
            lag: Mutex::default(),
        }
    }

    /// Whether the database may hold changes of this instance that memory lacks.
    pub(crate) fn is_behind(&self) -> bool {
        self.missed.load(Ordering::Acquire) > self.healed.load(Ordering::Acquire)
    }

    pub(crate) fn mark_behind(&self) {
        self.missed.fetch_add(1, Ordering::AcqRel);
        self.lag.lock().get_or_insert_with(Lag::begin);
    }

    /// Another database than before may be answering. The next round checks, and until then memory is not believed. The
    /// doubt is stored before the mark, so a round that sees the mark also sees the doubt.
    pub(crate) fn request_reload(&self) {
        self.in_doubt.store(true, Ordering::Release);
        self.mark_behind();
    }

    /// Whether the database was seen to have gone back since the last call of this function.
    pub(crate) fn take_rewound(&self) -> bool {
        self.rewound.load(Ordering::Acquire) && self.rewound.swap(false, Ordering::AcqRel)
    }

    /// Memory holds everything that was missed when `missed` was read.
    fn heal(&self, missed: u64) {
        self.healed.fetch_max(missed, Ordering::AcqRel);
        let mut lag = self.lag.lock();
        if !self.is_behind() {
            *lag = None;
        }
    }

    fn failed(&self, fault: &Fault, unapplied: &[Change]) {
        let mut lag = self.lag.lock();
        let lag = lag.get_or_insert_with(Lag::begin);
        lag.fault = fault.causes();
        lag.unapplied = unapplied.iter().map(|change| change.kind.as_str()).collect();
        lag.unapplied.sort_unstable();
        lag.unapplied.dedup();
    }

    /// Why memory is not believed; `None` if it is.
    pub(crate) fn behind(&self) -> Option<MemoryBehind> {
        let lag = self.lag.lock();
        let lag = lag.as_ref().filter(|_| self.is_behind())?;
        let (fault, unapplied) = (lag.fault.clone(), lag.unapplied.clone());
        Some(MemoryBehind { lasting: lag.since.elapsed(), fault, unapplied })
    }
}

impl Lag {
    fn begin() -> Self {
        Self { since: Instant::now(), fault: String::new(), unapplied: Vec::new() }
    }
}

/// A commit whose changes memory has not followed yet. If it is dropped before that (a fault, a time-out, a cancelled
/// request), it marks memory as behind: the batch may have been committed.
struct UnappliedCommit<'a>(Option<&'a FeedPosition>);

impl UnappliedCommit<'_> {
    fn followed(mut self) {
        self.0 = None;
    }
}

impl Drop for UnappliedCommit<'_> {
    fn drop(&mut self) {
        if let Some(following) = self.0 {
            following.mark_behind();
        }
    }
}

impl InstanceMemory {
    /// Commits a batch. When this returns, memory has followed the changes that the batch announces; if a guard failed,
    /// it has followed the changes of the batch that was first.
    ///
    /// A fault while following does not undo the commit: the result is the commit's, and
    /// [`InstanceMemory::catch_up_if_behind`] does not trust memory until a later round has caught up.
    pub(crate) async fn commit(&self, batch: Batch, now: Timestamp) -> Result<CommitOutcome, Fault> {
        if !batch.announces() {
            return self.store.commit(batch).await;
        }
        let unfollowed = UnappliedCommit(Some(&self.position));
        let outcome = self.store.commit(batch).await?;
        match in_time(self.catch_up(now)).await {
            Ok(()) => unfollowed.followed(),
            Err(fault) => {
                let what = "a change is committed, but memory cannot follow it; requests ask the database until it can";
                let affected = FaultContext { instance: Some(&self.name), request: None };
                self.faults.report(&fault, what, affected);
            }
        }
        Ok(outcome)
    }

    /// Whether memory may answer: it follows the feed, and holds everything that is known to be committed.
    pub(crate) fn is_current(&self) -> bool {
        self.feed.memory_holds() && !self.position.is_behind()
    }

    /// Brings memory up to date if it may not answer as it is: after the feed was lost, or a change could not be
    /// applied. [`Believed`](crate::memory::Believed) proves that this was done.
    pub(crate) async fn catch_up_if_behind(&self, now: Timestamp) -> Result<(), Fault> {
        if self.is_current() {
            return Ok(());
        }
        // Whatever the cause, it is temporary: the caller may try again.
        in_time(self.catch_up(now)).await.map_err(Fault::unavailable)
    }

    /// Applies everything that was committed before this call. Callers that wait here together share one round.
    async fn catch_up(&self, now: Timestamp) -> Result<(), Fault> {
        let begun = self.position.rounds.load(Ordering::Acquire);
        let mut progress = self.position.progress.lock().await;
        if progress.completed > begun {
            return Ok(());
        }
        self.follow_in_turn(&mut progress, now).await
    }

    /// Applies the changes of the feed that memory has not applied yet.
    pub(crate) async fn follow(&self, now: Timestamp) -> Result<(), Fault> {
        let mut progress = self.position.progress.lock().await;
        self.follow_in_turn(&mut progress, now).await
    }

    /// Checks now whether the database is the one that memory knows, before a caller writes on the basis of earlier
    /// reads. If it is another one, memory is read again. The sealer's commits are guarded by the feed row seen here.
    pub(crate) async fn expect_known_database(&self, now: Timestamp) -> Result<(), Fault> {
        let mut progress = self.position.progress.lock().await;
        let is_known = match &progress.place {
            FeedState::At(mark) => {
                !self.position.in_doubt.load(Ordering::Acquire) && self.store.has_change(mark).await?
            }
            FeedState::Lost { .. } => false,
        };
        if !is_known {
            self.follow_in_turn(&mut progress, now).await?;
        }
        if let FeedState::At(mark) = &progress.place {
            self.audit.sealers().iter().for_each(|sealer| sealer.note_change(mark));
        }
        Ok(())
    }

    /// One round. A change that cannot be applied does not stop later ones; memory stays behind until it can be
    /// applied.
    async fn follow_in_turn(&self, progress: &mut FeedProgress, now: Timestamp) -> Result<(), Fault> {
        let following = &self.position;
        let round = following.rounds.fetch_add(1, Ordering::AcqRel) + 1;
        match self.follow_round(progress, now).await {
            Ok(missed) => {
                progress.completed = round;
                following.heal(missed);
                Ok(())
            }
            Err(fault) => {
                following.failed(&fault, &progress.unapplied);
                Err(fault)
            }
        }
    }

    /// Retries and applies changes, or reads memory again. Answers the value of `missed` from before the database was
    /// read.
    async fn follow_round(&self, progress: &mut FeedProgress, now: Timestamp) -> Result<u64, Fault> {
        let missed = self.position.missed.load(Ordering::Acquire);
        let retried = self.retry(progress, now).await;
        let worst = retried.and(self.read_changes(progress, now).await?);
        if self.position.in_doubt.swap(false, Ordering::AcqRel) && matches!(progress.place, FeedState::At(_)) {
            self.position.mark_behind();
            progress.place = FeedState::Lost { is_announced: false };
        }
        match progress.place {
            FeedState::At(_) => worst.map(|()| missed),
            FeedState::Lost { is_announced } => self.reload(progress, is_announced).await,
        }
    }

    /// Tries again to apply changes that could not be applied.
    async fn retry(&self, progress: &mut FeedProgress, now: Timestamp) -> Result<(), Fault> {
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
        worst
    }

    /// Reads new changes in pages and applies them, until there are no more. If there are more than [`MAX_CHANGES`],
    /// memory is read again instead: a change may cost a query, and all of memory costs a dozen. An outer fault comes
    /// from reading, an inner one from applying.
    async fn read_changes(&self, progress: &mut FeedProgress, now: Timestamp) -> Result<Result<(), Fault>, Fault> {
        let mut worst = Ok(());
        for _ in 0..MAX_CHANGES / PAGE {
            let FeedState::At(mark) = &progress.place else { return Ok(worst) };
            let Some(news) = self.store.changes_after(mark, PAGE).await? else {
                self.reload_all(progress, now).await?;
                return Ok(worst);
            };
            let is_last = news.len() < PAGE as usize;
            if !is_last && self.is_far_behind(mark).await? {
                break;
            }
            worst = worst.and(self.apply_changes(progress, news, now).await);
            if is_last {
                return Ok(worst);
            }
        }
        self.position.mark_behind();
        progress.place = FeedState::Lost { is_announced: true };
        Ok(worst)
    }

    async fn is_far_behind(&self, mark: &FeedMark) -> Result<bool, Fault> {
        let newest = self.store.newest_change().await?;
        Ok(newest.is_some_and(|newest| newest.number - mark.number > i64::from(MAX_CHANGES)))
    }

    async fn apply_changes(
        &self,
        progress: &mut FeedProgress,
        news: Vec<(FeedMark, Option<Change>)>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let mut worst = Ok(());
        for (mark, change) in news {
            match change {
                Some(Change { kind: ChangeKind::Reread, .. }) => {
                    self.position.mark_behind();
                    progress.place = FeedState::Lost { is_announced: true };
                    break;
                }
                Some(change) => {
                    if let Err(fault) = self.apply(change, now).await {
                        self.position.mark_behind();
                        worst = worst.and(Err(fault));
                        if !progress.unapplied.contains(&change) {
                            progress.unapplied.push(change);
                        }
                    }
                }
                None => {}
            }
            progress.place = FeedState::At(mark);
        }
        worst
    }

    /// The row that was read last is missing. Either it was swept, or the database went back.
    async fn reload_all(&self, progress: &mut FeedProgress, now: Timestamp) -> Result<(), Fault> {
        let FeedState::At(known) = &progress.place else { return Ok(()) };
        self.position.mark_behind();
        let is_swept = now.since(known.at) >= MAX_TOKEN_LIFETIME && self.store.is_change_swept(known).await?;
        if !is_swept {
            let found = self.store.newest_change().await?;
            self.log_rewind(known, found.as_ref(), now);
        }
        progress.place = FeedState::Lost { is_announced: is_swept };
        Ok(())
    }

    fn log_rewind(&self, known: &FeedMark, found: Option<&FeedMark>, now: Timestamp) {
        let (known, found) = (known.number, found.map_or(0, |found| found.number));
        tracing::error!(
            instance = %self.name,
            known,
            found,
            "the database went back: a change that this server knows is not in it. A standby that lacked transactions was \
             promoted, or a backup was restored; everything that was remembered is read anew"
        );
        self.meters.database_rewinds.add(1);
        self.position.rewound.store(true, Ordering::Release);
        let detail = serde_json::json!({ "known": known, "found": found });
        if let Err(fault) = self.audit.put(system_event(now, AuditKind::DatabaseRewound).detail(&detail)) {
            tracing::error!(fault = fault.causes(), instance = %self.name, "the audit does not hold that the database went back");
        }
    }

    /// Replaces memory with what the database holds now; nothing of the old memory remains. Calls and uses that it
    /// noted and did not write have happened all the same, and are written.
    async fn reload(&self, progress: &mut FeedProgress, is_announced: bool) -> Result<u64, Fault> {
        let (now, missed) = (self.platform.now(), self.position.missed.load(Ordering::Acquire));
        if !is_announced {
            let mut batch = Batch::new();
            batch.announce(Change { kind: ChangeKind::Reread, subject: self.store.instance().0 }, now);
            let CommitOutcome::Committed = self.store.commit(batch).await? else {
                return Err(Fault::failed("the instance is not in the database"));
            };
            progress.place = FeedState::Lost { is_announced: true };
        }
        let mut rng = self.platform.rng();
        let mut moment = Moment { now, rng: &mut *rng };
        // Boxed: a round is part of every change, and this is rare.
        let (memory, mark) = Box::pin(Memory::load(&self.store, &self.master, &mut moment)).await?;
        for sealer in self.audit.sealers() {
            sealer.database_went_back();
            sealer.reload_key(&self.master).await?;
        }
        let old = self.current.swap(Arc::new(memory));
        progress.unapplied.clear();
        progress.place = FeedState::At(mark);
        self.want_missing_keys();
        if let Err(fault) = self.flush_before_reload(&old, now).await {
            tracing::error!(fault = fault.causes(), instance = %self.name, "the last timers before the database went back are not written");
        }
        Ok(missed)
    }

    /// Applies one change to memory. May be called again for the same change.
    async fn apply(&self, change: Change, now: Timestamp) -> Result<(), Fault> {
        let memory = self.unchecked();
        match change.kind {
            ChangeKind::Register => self.reload_application(change.subject).await?,
            ChangeKind::Keys => {
                memory.keys.store(Arc::new(KeyRing::load(&self.store, &self.master).await?));
                for sealer in self.audit.sealers() {
                    sealer.reload_key(&self.master).await?;
                }
            }
            ChangeKind::RootSecret => {
                memory.secret.store(Arc::new(RootSecret::load(&self.store, &self.master).await?));
            }
            ChangeKind::Settings => {
                memory.settings.store(Arc::new(self.store.settings().await?));
                self.want_missing_keys();
            }
            ChangeKind::User => {
                let user = UserId(change.subject);
                memory.users.forget(user);
                memory.known_passwords.forget(user);
                memory.api_sessions.forget_user(user);
            }
            ChangeKind::Person => memory.users.forget(UserId(change.subject)),
            ChangeKind::Roles => memory.users.forget_where(|_| true),
            ChangeKind::AuthorizationEnded => memory.revocations.authorization(AuthorizationId(change.subject), now),
            ChangeKind::ReferenceTokenRevoked => {
                let id = ReferenceTokenId(change.subject);
                memory.reference_tokens.forget_where(|token| token.id == id);
                memory.api_sessions.forget_key(&SessionKey::Reference(id));
            }
            ChangeKind::AccessTokenRevoked => {
                memory.revocations.token(change.subject, now);
                memory.api_sessions.forget_key(&SessionKey::Service(change.subject.simple().to_string()));
            }
            ChangeKind::SessionEnded => {
                let session = SessionId(change.subject);
                memory.revocations.session(session, now);
                memory.api_sessions.forget_key(&SessionKey::SignIn(session));
            }
            ChangeKind::ConsentWithdrawn => self.apply_withdrawal(UserId(change.subject), now).await?,
            ChangeKind::ApiSessionsClosed => self.forget_closed(change.subject).await?,
            // No single part changed: `follow_round` replaces all of memory.
            ChangeKind::Reread => {}
        }
        Ok(())
    }

    /// Reads one application again. Older nodes announced the whole register, by the id of the instance.
    async fn reload_application(&self, subject: Uuid) -> Result<(), Fault> {
        if subject == self.store.instance().0 {
            self.unchecked().applications.store(Arc::new(ApplicationRegister::new(self.store.applications().await?)));
            self.forget_dead_applications();
        } else {
            let id = ApplicationId(subject);
            let application = self.store.application(id).await?;
            let is_on = application.as_ref().is_some_and(|application| application.enabled);
            let memory = self.unchecked();
            let next = memory.applications.load().with(id, application);
            memory.applications.store(Arc::new(next));
            if !is_on {
                self.forget_dead_applications();
            }
        }
        self.want_missing_keys();
        Ok(())
    }

    /// Records the ended authorizations as revocations in memory. The user's sessions list their applications again.
    async fn apply_withdrawal(&self, user: UserId, now: Timestamp) -> Result<(), Fault> {
        // Twice the token lifetime: a feed that is read late, or a clock that is behind, still finds them.
        let since = now.minus(2 * MAX_TOKEN_LIFETIME);
        let ended = self.store.authorizations_of_user_ended_since(user, CONSENT_WITHDRAWN, since).await?;
        let memory = self.unchecked();
        for authorization in ended {
            memory.revocations.authorization(authorization, now);
        }
        memory.api_sessions.relist(user);
        Ok(())
    }
}
