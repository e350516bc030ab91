//! API sessions in memory: found by their key, with sliding timers that are written in batches.

mod unwritten;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use model::seat::{CloseReason, Extension, FUTURE, OwnSession, SessionKey, SlidingTimer};
use model::{ApiSessionId, ApplicationId, Moment, Timestamp, UserId};
use parking_lot::{Mutex, RwLock};
use store::{ApiSessionRow, Batch, Change, ChangeKind, ClosedApiSession, CommitOutcome, SessionsToClose};
use uuid::Uuid;

use self::unwritten::UnwrittenSessions;
use crate::Fault;
use crate::audit::AuditedStore;
use crate::memory::seat_queries::SeatQueries;
use crate::memory::{InstanceMemory, Memory};
use crate::platform::meters::Meters;

/// A session in memory. Extending its sliding timer is one store into memory.
pub(crate) struct LiveSession {
    pub(crate) id: ApiSessionId,
    /// Client address that opened it.
    pub(crate) address: Option<IpAddr>,
    user: UserId,
    timer: SlidingTimer,
    applications: Mutex<CallingApplications>,
    /// Whether it is queued to be written.
    waits: AtomicBool,
}

#[derive(Default)]
struct CallingApplications {
    /// Usually one, or a few.
    known: Vec<ApplicationId>,
    unwritten: Vec<ApplicationId>,
}

impl LiveSession {
    pub(crate) fn called(&self, application: ApplicationId, now: Timestamp) {
        self.timer.called(now);
        let mut applications = self.applications.lock();
        if !applications.known.contains(&application) {
            applications.known.push(application);
            applications.unwritten.push(application);
        }
    }

    pub(crate) fn unwritten(&self, now: Timestamp) -> (Option<Extension>, Vec<ApplicationId>) {
        self.timer.mind_the_clock(now);
        (self.timer.unwritten(), self.applications.lock().unwritten.clone())
    }
}

/// Recently closed sessions. Bounded: keeps the newest, more than can close while a database answer is in flight.
#[derive(Default)]
struct RecentlyClosed {
    known: HashSet<ApiSessionId>,
    in_order: VecDeque<ApiSessionId>,
}

impl RecentlyClosed {
    const MOST: usize = 10_000;

    /// Whether the session was not known to be closed.
    fn add(&mut self, id: ApiSessionId) -> bool {
        let is_news = self.known.insert(id);
        if is_news {
            self.in_order.push_back(id);
        }
        if self.in_order.len() > Self::MOST
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        is_news
    }
}

#[derive(Default)]
pub(crate) struct ApiSessions {
    live: RwLock<HashMap<SessionKey, Arc<LiveSession>>>,
    /// Sessions closed a moment ago: a database answer in flight may still list them as live.
    closed_lately: Mutex<RecentlyClosed>,
    pub(crate) queries: SeatQueries,
    waiting: UnwrittenSessions,
    /// When the clock was last checked for having been set back.
    minded: AtomicI64,
}

impl ApiSessions {
    /// On SQLite a restart closes all sessions. On PostgreSQL they stay open, and memory loads each at its next call.
    pub(crate) async fn load(store: &AuditedStore, moment: &mut Moment<'_>) -> Result<Self, Fault> {
        let (live, counted) = store.seats_taken().await?;
        if store.database().is_embedded() && (live, counted) != (0, 0) {
            let (_, closing) = store.close_api_sessions(SessionsToClose::All, CloseReason::Restart, moment);
            let CommitOutcome::Committed = store.commit(closing.to_vec().into()).await? else {
                return Err(Fault::failed("the instance has no seats"));
            };
        }
        Ok(Self::default())
    }

    pub(crate) fn find(&self, key: &SessionKey, now: Timestamp) -> Option<Arc<LiveSession>> {
        self.live.read().get(key).filter(|live| live.timer.is_running(now)).cloned()
    }

    /// Takes in a row of the database. Calls that the database does not know of yet still extend the timer.
    pub(crate) fn learn(&self, row: ApiSessionRow) -> Arc<LiveSession> {
        let mut live = self.live.write();
        if let Some(known) = live.get(&row.key).filter(|known| known.id == row.id) {
            known.timer.learn(OwnSession { ends_at: row.ends_at, final_end: row.final_end });
            return Arc::clone(known);
        }
        let session = Arc::new(LiveSession {
            id: row.id,
            address: row.address.parse().ok(),
            user: row.user,
            timer: SlidingTimer::new(row.last_call, row.final_end),
            applications: Mutex::new(CallingApplications { known: row.applications, unwritten: Vec::new() }),
            waits: AtomicBool::new(false),
        });
        if !self.closed_lately.lock().known.contains(&row.id) {
            live.insert(row.key, Arc::clone(&session));
        }
        session
    }

    /// Sessions that admit calls now.
    pub(crate) fn running(&self, now: Timestamp) -> HashSet<(SessionKey, ApiSessionId)> {
        let live = self.live.read();
        let running = live.iter().filter(|(_, live)| live.timer.is_running(now));
        running.map(|(key, live)| (key.clone(), live.id)).collect()
    }

    pub(crate) fn forget_key(&self, key: &SessionKey) {
        self.live.write().remove(key);
    }

    pub(crate) fn forget_user(&self, user: UserId) {
        self.live.write().retain(|_, live| live.user != user);
    }

    /// Clears the lists of applications of the user's sessions, which fill again call by call: an application was
    /// removed from them.
    pub(crate) fn relist(&self, user: UserId) {
        for live in self.live.read().values().filter(|live| live.user == user) {
            *live.applications.lock() = CallingApplications::default();
        }
    }

    /// Counts each closing once, however often it is reported.
    pub(crate) fn forget(&self, closed: &[ClosedApiSession], meters: &Meters) {
        let mut live = self.live.write();
        let mut closed_lately = self.closed_lately.lock();
        for ClosedApiSession { id, key, reason } in closed {
            if closed_lately.add(*id) {
                meters.closed(*reason);
            }
            if live.get(key).is_some_and(|known| known.id == *id) {
                live.remove(key);
            }
        }
    }

    /// Notes a call. A tick writes it.
    pub(crate) fn called(&self, live: &Arc<LiveSession>, application: ApplicationId, now: Timestamp) {
        live.called(application, now);
        self.waiting.add(live);
    }

    /// Goes through all sessions if the clock was set back, and only then.
    pub(crate) fn check_clock(&self, now: Timestamp) {
        if self.minded.swap(now.0, Ordering::Relaxed) <= now.0 {
            return;
        }
        for live in self.live.read().values() {
            live.timer.mind_the_clock(now);
            self.waiting.add(live);
        }
    }
}

impl InstanceMemory {
    /// Number of sessions in memory, for measurements.
    pub fn sessions_in_memory(&self) -> usize {
        self.unchecked().api_sessions.live.read().len()
    }

    /// Closes sessions whose timers have run out, whichever node opened them. Writes the calls that this node has noted
    /// first.
    pub(crate) async fn close_due_sessions(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        self.flush_sessions(moment.now).await?;
        let now = moment.now;
        let due = SessionsToClose::Due { now, idle_until: now.minus(self.feed.slack()) };
        let (close_id, [lock, close, tell, count]) = self.store.close_api_sessions(due, CloseReason::Timer, moment);
        let mut batch = Batch::from(vec![lock, self.store.expect_some_to_close(due), close, tell, count]);
        batch.announce(closing_change(close_id), now);
        // A failed guard means that another node was first.
        self.commit(batch, now).await.map(|_| ())
    }

    pub(crate) async fn forget_closed(&self, close_id: Uuid) -> Result<(), Fault> {
        let closed = self.store.api_sessions_closed(close_id).await?;
        self.unchecked().api_sessions.forget(&closed, &self.meters);
        Ok(())
    }

    /// Removes disabled applications from the lists of all sessions.
    pub(crate) fn forget_dead_applications(&self) {
        let memory = self.unchecked();
        let register = memory.applications.load();
        for live in memory.api_sessions.live.read().values() {
            let mut applications = live.applications.lock();
            let is_on = |id: &ApplicationId| register.by_id(*id).is_some_and(|application| application.enabled);
            applications.known.retain(is_on);
            applications.unwritten.retain(is_on);
        }
    }

    /// Writes every call that was answered before this one.
    pub(crate) async fn flush_sessions(&self, now: Timestamp) -> Result<(), Fault> {
        self.flush_some_sessions(&self.unchecked(), now, usize::MAX).await
    }

    /// Writes the calls and uses that a replaced memory noted and did not write: they happened all the same.
    pub(crate) async fn flush_before_reload(&self, old: &Memory, now: Timestamp) -> Result<(), Fault> {
        let sessions = self.flush_some_sessions(old, now, usize::MAX).await;
        let proven = old.used_generations.flush(&self.store).await;
        while old.token_uses.flush(&self.store, now).await? {}
        sessions.and(proven)
    }

    pub(crate) async fn flush_some_sessions(&self, memory: &Memory, now: Timestamp, most: usize) -> Result<(), Fault> {
        memory.api_sessions.check_clock(now);
        let mut taken = memory.api_sessions.waiting.take(most).await;
        while let Some(sessions) = taken.next() {
            let mut batch = Batch::new();
            let mut unwritten = Vec::with_capacity(sessions.len());
            for live in sessions {
                let (extension, joined) = live.unwritten(now);
                let slide = |extension| self.store.slide_api_session(live.id, extension, self.node, now.plus(FUTURE));
                batch.extend(extension.map(slide));
                batch.extend(joined.iter().map(|application| self.store.join_api_session(live.id, *application)));
                unwritten.push((live, extension, joined));
            }
            let _slid = self.store.commit(batch).await?;
            taken.wrote();
            for (live, extension, joined) in unwritten {
                if let Some(extension) = extension {
                    live.timer.wrote(extension);
                }
                live.applications.lock().unwritten.retain(|application| !joined.contains(application));
            }
        }
        Ok(())
    }
}

pub(crate) const fn closing_change(close_id: Uuid) -> Change {
    Change { kind: ChangeKind::ApiSessionsClosed, subject: close_id }
}

/// Closes sessions in the batch that revokes their credentials, and announces it to every node.
pub(crate) fn close_sessions(
    store: &AuditedStore,
    closing: SessionsToClose,
    reason: CloseReason,
    moment: &mut Moment<'_>,
) -> Batch {
    let (close_id, statements) = store.close_api_sessions(closing, reason, moment);
    let mut batch = Batch::from(statements.to_vec());
    batch.announce(closing_change(close_id), moment.now);
    batch
}

/// Closes the sessions of a user whose tokens end, and announces it to every node.
pub(crate) fn ending_user(store: &AuditedStore, user: UserId, moment: &mut Moment<'_>) -> Batch {
    let mut ending = close_sessions(store, SessionsToClose::OfUser(user), CloseReason::UserChanged, moment);
    ending.announce(Change { kind: ChangeKind::User, subject: user.0 }, moment.now);
    ending
}
