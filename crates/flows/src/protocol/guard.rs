//! The API guard: checks credential, audience, scope and seat, in this order. Only the last check opens a session.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use model::audit::{AnsweredCall, Asker, AuditEvent, AuditKind, AuditOutcome, RequestInfo};
use model::claims::user_info;
use model::entities::Permissions;
pub use model::guard::{GuardRefusal, TokenRefusal};
use model::refusal::{Refusal, RefusalDetails};
use model::{ApiSessionId, Ctx, Timestamp, TrustedApplication, User, UserType};
use oauth::secret::{self, Presented};
use serde::Serialize;

use crate::memory::InstanceMemory;
use crate::protocol::Protocol;
use crate::seats::SessionRequest;
use crate::{Answer, Fault};

/// An authorized caller.
pub struct Caller {
    pub user: Arc<User>,
    pub application: Arc<TrustedApplication>,
    pub session: ApiSessionId,
    /// The address that opened the session, if the session is older than this call.
    pub(crate) opened_from: Option<IpAddr>,
}

impl Caller {
    /// The user's permissions. An administrator has all of them.
    pub fn permissions(&self) -> Cow<'_, Permissions> {
        if self.user.is_admin() {
            Cow::Owned(Permissions::new(&["*"], &["*"]))
        } else {
            Cow::Borrowed(&self.user.permissions)
        }
    }
}

/// Audits one answered call. The path excludes the query, which may contain anything.
pub(crate) fn audit_call(
    memory: &InstanceMemory,
    now: Timestamp,
    request: &RequestInfo,
    call: &ApiCallReport<'_>,
) -> Result<(), Fault> {
    // A path is ASCII (RFC 3986 §3.3), so the cut cannot split a character.
    let path = call.path.get(..512).unwrap_or(call.path);
    if let (None, Some(caller)) = (call.refused, call.caller)
        && caller.opened_from == Some(request.address)
    {
        return memory.audit.put_call(&AnsweredCall {
            at: now,
            application: caller.application.uri.as_str(),
            user: caller.user.id,
            session: caller.session,
            request: request.id,
            method: call.method,
            path,
            status: call.status,
        });
    }
    let mut event = AuditEvent::done(now, AuditKind::ApiCall, request);
    if let Some((asker, refusal)) = call.refused {
        memory.meters.calls_refused.add(refusal.cause());
        (event.outcome, event.reason) = (AuditOutcome::Refused, refusal.cause());
        event.asker = asker;
    }
    if let Some(caller) = call.caller {
        event = event.application(caller.application.uri.as_str()).user(caller.user.id).session(caller.session);
    }
    let detail = CallDetail { method: call.method, path, status: call.status };
    let detail = match call.refused {
        None => serde_json::to_string(&detail),
        Some((_, refusal)) => serde_json::to_string(&RefusedCallDetail { call: detail, why: refusal.details() }),
    };
    event.detail = Some(detail.expect("a call is strings and a number"));
    memory.audit.put(event)
}

/// Audit details of API calls.
#[derive(Serialize)]
struct CallDetail<'a> {
    method: &'a str,
    path: &'a str,
    status: u16,
}

#[derive(Serialize)]
struct RefusedCallDetail<'a> {
    #[serde(flatten)]
    call: CallDetail<'a>,
    #[serde(flatten)]
    why: RefusalDetails,
}

/// An answered API call, for the audit.
pub struct ApiCallReport<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub caller: Option<&'a Caller>,
    pub refused: Option<(Asker, &'a dyn Refusal)>,
}

impl Protocol<'_> {
    /// Authorizes a call or refuses it. Audits only refusals here; an authorized call is audited when it is answered.
    pub async fn authorize_call(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &Presented<secret::AccessToken>,
        audience: &str,
        scope: &'static str,
    ) -> Answer<Caller, GuardRefusal> {
        let standing = match self.auth.validate_credential(shown, ctx.now).await? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(GuardRefusal::Token(refusal))),
        };
        if standing.user.user_type == UserType::ExternalCommunity {
            return Ok(Err(GuardRefusal::NotForCommunityUsers));
        }
        if !standing.is_for(audience) {
            let (sent, expected) = (standing.audience(), audience.to_owned());
            return Ok(Err(GuardRefusal::WrongAudience { sent, expected }));
        }
        if !standing.has(scope) {
            return Ok(Err(standing.lacks(scope)));
        }
        let key = standing.session_key();
        let known = self.seats.known_session(&key, None, standing.application.id, ctx.now);
        let (session, opened_from) = if let Some(known) = known {
            (known.id, known.address)
        } else {
            let calling = SessionRequest {
                key,
                token: self.auth.names(&standing),
                user: &standing.user,
                application: standing.application.id,
                application_uri: standing.application.uri.as_str(),
                continues: None,
            };
            // Boxed, like all large and rare futures on the path of a call.
            match Box::pin(self.seats.session_for(&calling, ctx)).await? {
                Ok(session) => (session, None),
                Err(refusal) => return Ok(Err(refusal)),
            }
        };
        self.auth.note_use(&standing, ctx.now);
        Ok(Ok(Caller { user: standing.user, application: standing.application, session, opened_from }))
    }

    /// UserInfo (OpenID Connect Core §5.3). Opens no session and takes no seat.
    pub async fn user_info(
        &self,
        ctx: &mut Ctx<'_>,
        shown: &Presented<secret::AccessToken>,
    ) -> Answer<serde_json::Value, GuardRefusal> {
        let answer = match self.auth.validate_credential(shown, ctx.now).await? {
            Err(refusal) => Err(GuardRefusal::Token(refusal)),
            Ok(standing) if !standing.has("openid") => Err(standing.lacks("openid")),
            Ok(standing) => Ok(standing),
        };
        match answer {
            Err(refusal) => {
                let asker = refusal.asker();
                let event = AuditEvent::refused(ctx.now, AuditKind::UserInfo, ctx.request, asker, &refusal);
                self.audit.put(event)?;
                Ok(Err(refusal))
            }
            Ok(standing) => {
                self.auth.note_use(&standing, ctx.now);
                Ok(Ok(user_info(&standing.user, &standing.scope())))
            }
        }
    }
}
