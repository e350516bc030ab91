//! Requests whose response could reveal which logins exist: a password reset, a link that makes a browser known, an
//! attacked account. They are queued, and handled after the response, so that neither the response nor its time reveals
//! anything.

use std::sync::Arc;
use std::time::Duration;

use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::fair::{FairReceiver, FairSender, channel};
use model::link::ResetNotSent;
use model::{InstanceId, Login, Timestamp, User, UserId};

use crate::Fault;
use crate::audit::InstanceAudit;
use crate::auth::Auth;

/// Requests that may wait, in fair shares. More are dropped.
const MAX_WAITING: usize = 256;

/// A queued request, with the HTTP request that caused it.
pub(crate) struct ResetRequest {
    pub(crate) kind: ResetRequestKind,
    pub(crate) request: RequestInfo,
    pub(crate) at: Timestamp,
}

pub(crate) enum ResetRequestKind {
    /// A password reset, with the login or address as typed.
    Forgotten(String),
    /// A link that makes the browser known for this login.
    KnownBrowser(String),
    /// Strangers have used up their guesses at the login.
    AccountAttacked(Login),
    SecondStepAttacked(UserId),
}

/// Queue of requests.
pub(crate) type ResetQueue = Arc<FairSender<InstanceId, ResetRequest>>;

pub(crate) fn reset_queue() -> (ResetQueue, FairReceiver<InstanceId, ResetRequest>) {
    let (questions, asked) = channel(MAX_WAITING);
    (Arc::new(questions), asked)
}

impl Auth<'_> {
    /// Requests a password reset for a login or address as typed. `Some`: too many requests, wait so long. Otherwise
    /// mail is sent if the user exists; the response does not reveal whether one does.
    pub fn request_password_reset(
        &self,
        request: &RequestInfo,
        typed: &str,
        now: Timestamp,
    ) -> Result<Option<Duration>, Fault> {
        let kind = ResetRequestKind::Forgotten(typed.trim().chars().take(254).collect());
        self.enqueue(request, now, typed, kind)
    }

    /// Requests a link that makes the browser known for a login at which strangers have used up their guesses. Answers
    /// as [`Self::request_password_reset`] does.
    pub fn request_browser_link(
        &self,
        request: &RequestInfo,
        login: &str,
        now: Timestamp,
    ) -> Result<Option<Duration>, Fault> {
        self.enqueue(request, now, login, ResetRequestKind::KnownBrowser(login.trim().chars().take(254).collect()))
    }

    fn enqueue(
        &self,
        request: &RequestInfo,
        now: Timestamp,
        typed: &str,
        kind: ResetRequestKind,
    ) -> Result<Option<Duration>, Fault> {
        let wait = self.count_reset_request(Login::typed(typed).as_ref(), request.address, now);
        if let Some(wait) = wait {
            audit_unsent(self.audit, now, request, None, ResetNotSent::Throttled(wait))?;
            return Ok(Some(wait));
        }
        let asked = ResetRequest { kind, request: request.clone(), at: now };
        if self.state.reset_queue.send(*self.memory.store.instance(), asked).is_err() {
            audit_unsent(self.audit, now, request, None, ResetNotSent::TooManyQuestions)?;
        }
        Ok(None)
    }
}

pub(crate) fn audit_unsent(
    audit: &InstanceAudit,
    now: Timestamp,
    request: &RequestInfo,
    user: Option<&User>,
    unsent: ResetNotSent,
) -> Result<(), Fault> {
    let mut event = AuditEvent::refused(now, AuditKind::PasswordReset, request, Asker::Stranger, &unsent);
    event.user = user.map(|user| user.id);
    audit.put(event)
}
