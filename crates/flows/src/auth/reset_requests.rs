//! Requests whose answer would tell who exists: a forgotten password, a browser to be known, an account under attack.
//! They are queued, and handled after the request was answered, so neither answer nor time tells.

use std::sync::Arc;
use std::time::Duration;

use model::audit::{Asker, AuditEvent, AuditKind, RequestInfo};
use model::fair::{FairReceiver, FairSender, channel};
use model::link::ResetNotSent;
use model::{InstanceId, Login, Timestamp, User, UserId};

use crate::Fault;
use crate::audit::InstanceAudit;
use crate::auth::Auth;

/// Questions that may wait, in fair shares; more are forgotten too.
const MAX_WAITING: usize = 256;

/// A question, and who asked it or gave rise to it.
pub(crate) struct ResetRequest {
    pub(crate) kind: ResetRequestKind,
    pub(crate) request: RequestInfo,
    pub(crate) at: Timestamp,
}

pub(crate) enum ResetRequestKind {
    /// The login or address that was typed by somebody who forgot the password.
    Forgotten(String),
    /// Somebody wants a link that makes their browser known for this login.
    KnownBrowser(String),
    /// Strangers have used up their guesses at the login.
    AccountAttacked(Login),
    SecondStepAttacked(UserId),
}

/// Where questions wait.
pub(crate) type ResetQueue = Arc<FairSender<InstanceId, ResetRequest>>;

pub(crate) fn reset_queue() -> (ResetQueue, FairReceiver<InstanceId, ResetRequest>) {
    let (questions, asked) = channel(MAX_WAITING);
    (Arc::new(questions), asked)
}

impl Auth<'_> {
    /// Somebody says they forgot the password of the login or address that they typed. `Some`: asked too often, wait so
    /// long. Otherwise mail is sent to whom there is; nothing here tells whether there is anybody.
    pub fn request_password_reset(
        &self,
        request: &RequestInfo,
        typed: &str,
        now: Timestamp,
    ) -> Result<Option<Duration>, Fault> {
        let kind = ResetRequestKind::Forgotten(typed.trim().chars().take(254).collect());
        self.enqueue((request, now), typed, kind)
    }

    /// Somebody wants a link that makes their browser known for a login that strangers have spent. Answers as
    /// [`Self::request_password_reset`] does.
    pub fn request_browser_link(
        &self,
        request: &RequestInfo,
        login: &str,
        now: Timestamp,
    ) -> Result<Option<Duration>, Fault> {
        self.enqueue((request, now), login, ResetRequestKind::KnownBrowser(login.trim().chars().take(254).collect()))
    }

    fn enqueue(
        &self,
        (request, now): (&RequestInfo, Timestamp),
        typed: &str,
        kind: ResetRequestKind,
    ) -> Result<Option<Duration>, Fault> {
        let wait = self.count_reset_request(Login::typed(typed).as_ref(), request.address, now);
        if let Some(wait) = wait {
            audit_unsent(self.audit, (now, request), None, ResetNotSent::Throttled(wait))?;
            return Ok(Some(wait));
        }
        let asked = ResetRequest { kind, request: request.clone(), at: now };
        if self.state.reset_queue.send(*self.memory.store.instance(), asked).is_err() {
            audit_unsent(self.audit, (now, request), None, ResetNotSent::TooManyQuestions)?;
        }
        Ok(None)
    }
}

pub(crate) fn audit_unsent(
    audit: &InstanceAudit,
    (now, request): (Timestamp, &RequestInfo),
    user: Option<&User>,
    unsent: ResetNotSent,
) -> Result<(), Fault> {
    let mut event = AuditEvent::refused(now, AuditKind::PasswordReset, request, (Asker::Stranger, &unsent));
    event.user = user.map(|user| user.id);
    audit.put(event)
}
