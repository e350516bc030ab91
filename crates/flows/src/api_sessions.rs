//! API sessions: opened by a token's first use, each with a seat. The database decides who holds one; memory serves the
//! sessions it knows, and their timers are written down in batches.

mod looks;
mod waiting;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::guard::{RevocationSource, TokenEnd};
use model::legacy::LegacyRefusal;
use model::seat::{
    CloseReason, Extension, FUTURE, NoSeat, Occupancy, OpeningStep, OwnSession, SeatAdmission, SeatSnapshot,
    SessionKey, SessionOpening, SlidingTimer, ends_at,
};
use model::why::Refusal as _;
use model::{ApiSessionId, ApplicationId, Ctx, Moment, Timestamp, User, UserId};
use parking_lot::{Mutex, RwLock};
use store::{
    ApiSessionRow, Batch, Change, ChangeKind, ClosedApiSession, CommitOutcome, NewApiSession, SeatReading, SeatRequest,
    SessionsToClose, TokenNames,
};
use uuid::Uuid;

use self::looks::SeatQueries;
use self::waiting::UnwrittenSessions;
use crate::audit::{AuditWriter, AuditedStore};
use crate::guard::{GuardRefusal, TokenRefusal};
use crate::instance::{BelievedInstance, Instance};
use crate::memory::Memory;
use crate::meters::Meters;
use crate::{Answer, Fault};

/// Timers that a beat writes down where nobody else goes by them: a crowd of sessions is written down in turns. Nodes
/// that share a database write all of them at every beat.
const FLUSHED_ALONE: usize = 100;

/// A session as calls see it: its sliding timer is one store into memory.
pub(crate) struct LiveSession {
    pub(crate) id: ApiSessionId,
    /// From where it was opened.
    pub(crate) address: Option<IpAddr>,
    user: UserId,
    timer: SlidingTimer,
    applications: Mutex<CallingApplications>,
    /// Among those that wait to be written down.
    waits: AtomicBool,
}

#[derive(Default)]
struct CallingApplications {
    /// One, or a few.
    known: Vec<ApplicationId>,
    unwritten: Vec<ApplicationId>,
}

impl LiveSession {
    fn called(&self, application: ApplicationId, now: Timestamp) {
        self.timer.called(now);
        let mut applications = self.applications.lock();
        if !applications.known.contains(&application) {
            applications.known.push(application);
            applications.unwritten.push(application);
        }
    }

    fn unwritten(&self, now: Timestamp) -> (Option<Extension>, Vec<ApplicationId>) {
        self.timer.mind_the_clock(now);
        (self.timer.unwritten(), self.applications.lock().unwritten.clone())
    }
}

/// The newest of them, so many that no answer is on its way for as long.
#[derive(Default)]
struct RecentlyClosed {
    known: HashSet<ApiSessionId>,
    in_order: VecDeque<ApiSessionId>,
}

impl RecentlyClosed {
    const MOST: usize = 10_000;

    /// Whether it is news.
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
    /// Sessions that were closed a moment ago: an answer that is on its way may still say that they live.
    closed_lately: Mutex<RecentlyClosed>,
    looks: SeatQueries,
    waiting: UnwrittenSessions,
    /// When somebody last looked whether the clock was set back.
    minded: AtomicI64,
}

impl ApiSessions {
    /// On SQLite a restart closes all sessions; on PostgreSQL they live on, and are taken in when they are called with.
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

    fn find(&self, key: &SessionKey, now: Timestamp) -> Option<Arc<LiveSession>> {
        self.live.read().get(key).filter(|live| live.timer.is_running(now)).cloned()
    }

    /// Takes in what the database knows. Calls that it does not know of yet count on.
    fn learn(&self, row: ApiSessionRow) -> Arc<LiveSession> {
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

    /// Sessions that calls are let in by.
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

    /// Who uses the user's sessions is written down anew, call by call: an application was taken off their lists.
    pub(crate) fn relist(&self, user: UserId) {
        for live in self.live.read().values().filter(|live| live.user == user) {
            *live.applications.lock() = CallingApplications::default();
        }
    }

    /// Each closing is counted once, however often it is heard of.
    fn forget(&self, closed: &[ClosedApiSession], meters: &Meters) {
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

    /// The call is noted, and is written down at a beat.
    fn called(&self, live: &Arc<LiveSession>, application: ApplicationId, now: Timestamp) {
        live.called(application, now);
        self.waiting.add(live);
    }

    /// Looks through all sessions where the clock was set back, and only there.
    fn check_clock(&self, now: Timestamp) {
        if self.minded.swap(now.0, Ordering::Relaxed) <= now.0 {
            return;
        }
        for live in self.live.read().values() {
            live.timer.mind_the_clock(now);
            self.waiting.add(live);
        }
    }
}

/// Who calls, and through which application.
pub(crate) struct SessionRequest<'a> {
    pub(crate) key: SessionKey,
    pub(crate) user: &'a User,
    pub(crate) application: ApplicationId,
    pub(crate) application_uri: &'a str,
    pub(crate) token: TokenNames,
    /// The one session that the credential is good for; with any other, or none, it opens nothing.
    pub(crate) continues: Option<ApiSessionId>,
}

impl SessionRequest<'_> {
    fn asking(&self) -> SeatRequest {
        SeatRequest { key: self.key.as_text(), user: self.user.id, application: self.application }
    }

    fn is_for(&self, session: ApiSessionId) -> bool {
        self.continues.is_none_or(|only| only == session)
    }
}

/// What became of an attempt to open.
enum OpenAttempt {
    Opened(ApiSessionId),
    Overtaken,
    /// The token's user, application, sign-in or family has ended; this node had not heard yet.
    TokenEnded,
}

impl BelievedInstance {
    /// The live session of a key, called with once more; with `only`, if it is that one.
    pub(crate) fn known_session(
        &self,
        key: &SessionKey,
        only: Option<ApiSessionId>,
        application: ApplicationId,
        now: Timestamp,
    ) -> Option<Arc<LiveSession>> {
        let memory = self.memory();
        let live = memory.api_sessions.find(key, now).filter(|_| self.is_current())?;
        if only.is_some_and(|only| only != live.id) {
            return None;
        }
        memory.api_sessions.called(&live, application, now);
        Some(live)
    }

    /// As [`Self::session_for`], for a credential that is good for one session only.
    pub(crate) async fn continue_session(
        &self,
        calling: &SessionRequest<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Answer<ApiSessionId, GuardRefusal> {
        const OVER: GuardRefusal = GuardRefusal::Legacy(LegacyRefusal::SessionOver);
        let row = self.store.live_api_session(&calling.key).await?;
        if row.is_none_or(|row| !calling.is_for(row.id)) {
            return Ok(Err(OVER));
        }
        match self.session_for(calling, ctx).await? {
            // Another one of the same key began just now.
            Ok(id) if !calling.is_for(id) => Ok(Err(OVER)),
            answer => Ok(answer),
        }
    }

    /// The session of a call whose key is not known: the live one, or a new one if a seat is free. The database decides.
    pub(crate) async fn session_for(
        &self,
        calling: &SessionRequest<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Answer<ApiSessionId, GuardRefusal> {
        let asking = calling.asking();
        let mut opening = SessionOpening::new(ctx.now, &calling.user.login, self.feed.slack());
        loop {
            let memory = self.memory_kept();
            let seen = memory.api_sessions.looks.query(&self.store, &asking, || Arc::clone(&self.settings())).await?;
            match opening.step(&seat_snapshot(&seen, &seen.settings.reserved_accounts(), &asking)) {
                OpeningStep::Join => {
                    if let Some(id) = self.join_session(calling, ctx.now).await? {
                        return Ok(Ok(id));
                    }
                }
                OpeningStep::Prolong(end) => {
                    let call = self.store.prolong_api_session(&calling.key, ctx.now, end);
                    let written = self.store.commit(Batch::new().with(call)).await?;
                    if written == CommitOutcome::Committed
                        && let Some(id) = self.join_session(calling, ctx.now).await?
                    {
                        return Ok(Ok(id));
                    }
                }
                OpeningStep::Open(_) | OpeningStep::Refuse(_) if calling.continues.is_some() => {
                    return Ok(Err(GuardRefusal::Legacy(LegacyRefusal::SessionOver)));
                }
                OpeningStep::Open(admission) => match self.open_session(calling, admission, ctx).await? {
                    OpenAttempt::Opened(id) => return Ok(Ok(id)),
                    OpenAttempt::TokenEnded => {
                        let end = TokenEnd::Killed { what: RevocationSource::Something, at: None };
                        let fallen = TokenRefusal::fallen(calling.key.as_text(), calling.application_uri, end);
                        return Ok(Err(GuardRefusal::Token(fallen)));
                    }
                    OpenAttempt::Overtaken => {}
                },
                OpeningStep::CloseDue => self.close_due_sessions(&mut ctx.moment()).await?,
                OpeningStep::Refuse(no_seat) => {
                    self.audit_no_seat(calling, no_seat, (ctx.now, ctx.request))?;
                    return Ok(Err(GuardRefusal::NoSeat(no_seat)));
                }
                OpeningStep::GiveUp => {
                    return Err(Fault::unavailable("too many others open sessions at this &mut ctx.moment()"));
                }
            }
        }
    }

    /// `None` if it is gone meanwhile.
    async fn join_session(&self, calling: &SessionRequest<'_>, now: Timestamp) -> Result<Option<ApiSessionId>, Fault> {
        let memory = self.memory_kept();
        let Some(row) = self.store.live_api_session(&calling.key).await? else { return Ok(None) };
        let live = memory.api_sessions.learn(row);
        memory.api_sessions.called(&live, calling.application, now);
        Ok(Some(live.id))
    }

    async fn open_session(
        &self,
        calling: &SessionRequest<'_>,
        admission: SeatAdmission,
        ctx: &mut Ctx<'_>,
    ) -> Result<OpenAttempt, Fault> {
        const TOKEN_GUARD: usize = 1;
        let now = ctx.now;
        let final_end = calling.key.final_end(now);
        let new = NewApiSession {
            id: ApiSessionId(ctx.id()),
            key: &calling.key,
            user: calling.user.id,
            seat: admission.seat,
            opened_at: now,
            ends_at: ends_at(now, final_end),
            final_end,
            node: self.node,
            address: ctx.request.address,
            application: calling.application,
        };
        let event = AuditEvent::done(now, AuditKind::SessionOpened, ctx.request)
            .user(calling.user.id)
            .application(calling.application_uri)
            .session(new.id);
        let mut batch = vec![self.store.take_seat(admission), self.store.expect_token_stands(&calling.token)];
        batch.extend(self.store.expect_room_under_ceilings(admission, new.user, new.application));
        batch.push(self.store.open_api_session(&new));
        batch.push(AuditWriter::new(&self.store, ctx.rng, now).event(&event));
        let memory = self.memory_kept();
        match self.store.commit(batch.into()).await? {
            CommitOutcome::GuardFailed { statement: TOKEN_GUARD } => Ok(OpenAttempt::TokenEnded),
            CommitOutcome::GuardFailed { .. } => Ok(OpenAttempt::Overtaken),
            CommitOutcome::Committed => {
                self.meters.sessions_opened.add(1);
                memory.api_sessions.learn(opened_row(&new, calling));
                Ok(OpenAttempt::Opened(new.id))
            }
        }
    }

    fn audit_no_seat(
        &self,
        calling: &SessionRequest<'_>,
        no_seat: NoSeat,
        (now, request): (Timestamp, &RequestInfo),
    ) -> Result<(), Fault> {
        self.meters.sessions_refused.add(no_seat.cause());
        let event = AuditEvent::refused(now, AuditKind::SessionRefused, request, (Asker::Authenticated, &no_seat))
            .user(calling.user.id)
            .application(calling.application_uri);
        self.audit.put(event)
    }
}

impl Instance {
    /// How many sessions memory serves: for those who measure.
    pub fn sessions_in_memory(&self) -> usize {
        self.unchecked_memory().api_sessions.live.read().len()
    }

    /// Sessions whose timers are over, whichever node opened them. What this node knows of calls is written down first.
    pub(crate) async fn close_due_sessions(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        self.flush_sessions(moment.now).await?;
        let now = moment.now;
        let due = SessionsToClose::Due { now, idle_until: now.minus(self.feed.slack()) };
        let (close_id, [lock, close, tell, count]) = self.store.close_api_sessions(due, CloseReason::Timer, moment);
        let mut batch = Batch::from(vec![lock, self.store.expect_some_to_close(due), close, tell, count]);
        batch.announce(closing_change(close_id), now);
        // A failed guard: another node was first.
        self.commit(batch, now).await.map(|_| ())
    }

    pub(crate) async fn forget_closed(&self, close_id: Uuid) -> Result<(), Fault> {
        let closed = self.store.api_sessions_closed(close_id).await?;
        self.unchecked_memory().api_sessions.forget(&closed, &self.meters);
        Ok(())
    }

    /// Applications that were switched off are on no list any more.
    pub(crate) fn forget_dead_applications(&self) {
        let memory = self.unchecked_memory();
        let register = memory.applications.load();
        for live in memory.api_sessions.live.read().values() {
            let mut applications = live.applications.lock();
            let is_on = |id: &ApplicationId| register.by_id(*id).is_some_and(|application| application.enabled);
            applications.known.retain(is_on);
            applications.unwritten.retain(is_on);
        }
    }

    /// Writes down what memory learnt. Where crowds call, sliding timers that are left wait for the next beat. No part
    /// waits for another; the first fault is answered.
    pub(crate) async fn flush(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        let _turn = self.flushing.lock().await;
        let most = if self.store.database().is_embedded() { FLUSHED_ALONE } else { usize::MAX };
        let now = moment.now;
        let memory = self.unchecked_memory();
        let (sessions, events, calls, proven, used, legacy) = tokio::join!(
            self.flush_some_sessions(&memory, now, most),
            async {
                let main = self.audit.write_down(&self.store, moment).await;
                main.and(self.audit.refusals.write_down(self.refusals.store(), false, moment).await)
            },
            self.seal_calls(now),
            memory.used_generations.flush(&self.store),
            memory.token_uses.flush(&self.store, now),
            self.legacy_uses.flush(&self.store),
        );
        sessions.and(events).and(calls).and(proven).and(used.map(drop)).and(legacy)
    }

    /// A seal rests on the one before, so the database must be the one that it was read from.
    async fn seal_calls(&self, now: Timestamp) -> Result<(), Fault> {
        if !self.audit.has_calls() {
            return Ok(());
        }
        self.expect_known_database(now).await?;
        self.audit.seal_calls(&self.sealer, now).await
    }

    /// The same, and nothing is left.
    pub(crate) async fn flush_all(&self, moment: &mut Moment<'_>) -> Result<(), Fault> {
        self.flush_sessions(moment.now).await?;
        self.flush(moment).await?;
        self.audit.refusals.write_down(self.refusals.store(), true, moment).await?;
        let memory = self.unchecked_memory();
        while memory.token_uses.flush(&self.store, moment.now).await? {}
        Ok(())
    }

    /// Every call that was answered before this one is written down.
    pub(crate) async fn flush_sessions(&self, now: Timestamp) -> Result<(), Fault> {
        self.flush_some_sessions(&self.unchecked_memory(), now, usize::MAX).await
    }

    /// What an older memory has noted and not written, after it was replaced: calls and uses happened all the same.
    pub(crate) async fn flush_before_reload(&self, old: &Memory, now: Timestamp) -> Result<(), Fault> {
        let sessions = self.flush_some_sessions(old, now, usize::MAX).await;
        let proven = old.used_generations.flush(&self.store).await;
        while old.token_uses.flush(&self.store, now).await? {}
        sessions.and(proven)
    }

    async fn flush_some_sessions(&self, memory: &Memory, now: Timestamp, most: usize) -> Result<(), Fault> {
        memory.api_sessions.check_clock(now);
        let mut taken = memory.api_sessions.waiting.take(most).await;
        while let Some(sessions) = taken.next() {
            let mut batch = Batch::new();
            let mut unwritten = Vec::with_capacity(sessions.len());
            for live in sessions {
                let (extension, joined) = live.unwritten(now);
                let slide = |extension| self.store.slide_api_session(live.id, extension, (self.node, now.plus(FUTURE)));
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

/// What the database knows of a session that was just opened.
fn opened_row(new: &NewApiSession<'_>, calling: &SessionRequest<'_>) -> ApiSessionRow {
    ApiSessionRow {
        id: new.id,
        key: calling.key.clone(),
        user: new.user,
        login: calling.user.login.clone(),
        seat: new.seat,
        opened_at: new.opened_at,
        last_call: new.opened_at,
        ends_at: new.ends_at,
        final_end: new.final_end,
        calls: 1,
        address: new.address.to_string(),
        applications: vec![new.application],
    }
}

fn seat_snapshot<'a>(seen: &'a SeatReading, reserved: &'a [model::Login], asking: &SeatRequest) -> SeatSnapshot<'a> {
    SeatSnapshot {
        licences: seen.settings.licences(reserved),
        occupancy: Occupancy {
            version: seen.version,
            live: seen.live,
            holders: &seen.holders,
            earliest_end: seen.earliest_end,
            of_user: seen.users.get(&asking.user).copied().unwrap_or_default(),
            of_application: seen.applications.get(&asking.application).copied().unwrap_or_default(),
        },
        own: seen.keys.iter().find(|(live, _)| *live == asking.key).map(|(_, row)| *row),
    }
}

pub(crate) const fn closing_change(close_id: Uuid) -> Change {
    Change { kind: ChangeKind::ApiSessionsClosed, subject: close_id }
}

/// Closes sessions with the kill that ends them, and tells every node.
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
