//! API sessions: opened by a token's first use, each with a seat. The database decides which sessions have one.

use std::sync::Arc;

use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::guard::{GuardRefusal, RevocationSource, TokenEnd, TokenRefusal};
use model::legacy::LegacyRefusal;
use model::refusal::Refusal as _;
use model::seat::{NoSeat, Occupancy, OpeningStep, SeatAdmission, SeatSnapshot, SessionKey, SessionOpening, ends_at};
use model::{ApiSessionId, ApplicationId, Ctx, Timestamp, User};
use store::{ApiSessionRow, Batch, CommitOutcome, NewApiSession, SeatReading, SeatRequest, TokenNames};

use crate::audit::{AuditWriter, InstanceAudit};
use crate::memory::Believed;
use crate::memory::live_sessions::LiveSession;
use crate::{Answer, Fault};

/// The API sessions of one instance: calls open and continue them.
#[derive(Clone, Copy)]
pub(crate) struct Seats<'a> {
    pub(crate) memory: Believed<'a>,
    pub(crate) audit: &'a InstanceAudit,
}

/// Inputs of a call that needs a session: its key, its user, and the application that calls.
pub(crate) struct SessionRequest<'a> {
    pub(crate) key: SessionKey,
    pub(crate) user: &'a User,
    pub(crate) application: ApplicationId,
    pub(crate) application_uri: &'a str,
    pub(crate) token: TokenNames,
    /// The only session that the credential is valid for. With another session, or without one, it gives no access.
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

/// Outcome of an attempt to open a session.
enum OpenAttempt {
    Opened(ApiSessionId),
    Overtaken,
    /// The token's user, application, sign-in or family has ended; this node had not read of it yet.
    TokenEnded,
}

impl Seats<'_> {
    /// The live session of a key, with this call noted. With `only`, no other session matches.
    pub(crate) fn known_session(
        &self,
        key: &SessionKey,
        only: Option<ApiSessionId>,
        application: ApplicationId,
        now: Timestamp,
    ) -> Option<Arc<LiveSession>> {
        let memory = self.memory.current();
        let live = memory.api_sessions.find(key, now).filter(|_| self.memory.is_current())?;
        if only.is_some_and(|only| only != live.id) {
            return None;
        }
        memory.api_sessions.called(&live, application, now);
        Some(live)
    }

    /// As [`Self::session_for`], for a credential that is valid for one session only.
    pub(crate) async fn continue_session(
        &self,
        calling: &SessionRequest<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Answer<ApiSessionId, GuardRefusal> {
        const OVER: GuardRefusal = GuardRefusal::Legacy(LegacyRefusal::SessionOver);
        let row = self.memory.store.live_api_session(&calling.key).await?;
        if row.is_none_or(|row| !calling.is_for(row.id)) {
            return Ok(Err(OVER));
        }
        match self.session_for(calling, ctx).await? {
            // Another session of the same key has just begun.
            Ok(id) if !calling.is_for(id) => Ok(Err(OVER)),
            answer => Ok(answer),
        }
    }

    /// The session of a call whose key memory does not know: the live one, or a new one if a seat is free. The database
    /// decides.
    pub(crate) async fn session_for(
        &self,
        calling: &SessionRequest<'_>,
        ctx: &mut Ctx<'_>,
    ) -> Answer<ApiSessionId, GuardRefusal> {
        let asking = calling.asking();
        let mut opening = SessionOpening::new(ctx.now, &calling.user.login, self.memory.feed.slack());
        loop {
            let memory = self.memory.kept();
            let seen = memory
                .api_sessions
                .queries
                .query(&self.memory.store, &asking, || Arc::clone(&self.memory.settings()))
                .await?;
            match opening.step(&seat_snapshot(&seen, &seen.settings.reserved_accounts(), &asking)) {
                OpeningStep::Join => {
                    if let Some(id) = self.join_session(calling, ctx.now).await? {
                        return Ok(Ok(id));
                    }
                }
                OpeningStep::Prolong(end) => {
                    let call = self.memory.store.prolong_api_session(&calling.key, ctx.now, end);
                    let written = self.memory.store.commit(Batch::new().with(call)).await?;
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
                OpeningStep::CloseDue => self.memory.close_due_sessions(&mut ctx.moment()).await?,
                OpeningStep::Refuse(no_seat) => {
                    self.audit_no_seat(calling, no_seat, ctx.now, ctx.request)?;
                    return Ok(Err(GuardRefusal::NoSeat(no_seat)));
                }
                OpeningStep::GiveUp => {
                    return Err(Fault::unavailable("too many others open sessions at this moment"));
                }
            }
        }
    }

    /// `None` if the session has ended meanwhile.
    async fn join_session(&self, calling: &SessionRequest<'_>, now: Timestamp) -> Result<Option<ApiSessionId>, Fault> {
        let memory = self.memory.kept();
        let Some(row) = self.memory.store.live_api_session(&calling.key).await? else { return Ok(None) };
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
            node: self.memory.node,
            address: ctx.request.address,
            application: calling.application,
        };
        let event = AuditEvent::done(now, AuditKind::SessionOpened, ctx.request)
            .user(calling.user.id)
            .application(calling.application_uri)
            .session(new.id);
        let mut batch =
            vec![self.memory.store.take_seat(admission), self.memory.store.expect_token_stands(&calling.token)];
        batch.extend(self.memory.store.expect_room_under_ceilings(admission, new.user, new.application));
        batch.push(self.memory.store.open_api_session(&new));
        batch.push(AuditWriter::new(&self.memory.store, ctx.rng, now).event(&event));
        let memory = self.memory.kept();
        match self.memory.store.commit(batch.into()).await? {
            CommitOutcome::GuardFailed { statement: TOKEN_GUARD } => Ok(OpenAttempt::TokenEnded),
            CommitOutcome::GuardFailed { .. } => Ok(OpenAttempt::Overtaken),
            CommitOutcome::Committed => {
                self.memory.meters.sessions_opened.add(1);
                memory.api_sessions.learn(opened_row(&new, calling));
                Ok(OpenAttempt::Opened(new.id))
            }
        }
    }

    fn audit_no_seat(
        &self,
        calling: &SessionRequest<'_>,
        no_seat: NoSeat,
        now: Timestamp,
        request: &RequestInfo,
    ) -> Result<(), Fault> {
        self.memory.meters.sessions_refused.add(no_seat.cause());
        let event = AuditEvent::refused(now, AuditKind::SessionRefused, request, Asker::Authenticated, &no_seat)
            .user(calling.user.id)
            .application(calling.application_uri);
        self.audit.put(event)
    }
}

/// The database row of a session that was just opened.
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
