//! Audit events of administration: each is made from its [`AdminAct`].

use model::audit::{AuditEvent, AuditKind};
use model::{Login, Moment, UserId};
use serde_json::{Value, json};
use store::Statement;

use crate::admin::AdminService;
use crate::admin::act::AdminAct;
use crate::audit::{AuditWriter, system_event};

/// Writes the events of one administrator and request.
pub(crate) struct AdminEvents<'a>(pub(crate) &'a AdminService<'a>);

impl AdminEvents<'_> {
    /// An event about a user. The id stays for good, the login until the user is erased.
    pub(crate) fn about(&self, act: AdminAct, user: UserId, login: &Login, moment: &mut Moment<'_>) -> Statement {
        self.statement(&user_event(act, user, Some(login), moment), moment)
    }

    /// An event about a user, without the login.
    pub(crate) fn of(&self, act: AdminAct, user: UserId, moment: &mut Moment<'_>) -> Statement {
        self.statement(&user_event(act, user, None, moment), moment)
    }

    /// An event about anything but a user. The subject must not identify a person.
    pub(crate) fn plain(&self, act: AdminAct, subject: &str, moment: &mut Moment<'_>) -> Statement {
        self.with(act, &json!({ "subject": subject }), moment)
    }

    /// An event with the attributes that differ, before and after. Neither value may contain a secret or identify a
    /// person.
    pub(crate) fn change<T: serde::Serialize>(
        &self,
        act: AdminAct,
        subject: &str,
        before: &T,
        after: &T,
        moment: &mut Moment<'_>,
    ) -> Statement {
        let value = |of: &T| serde_json::to_value(of).expect("what administrators write is JSON");
        let (before, after) = model::audit::differing(value(before), value(after));
        self.with(act, &json!({ "subject": subject, "before": before, "after": after }), moment)
    }

    /// An event with the members of `detail`.
    pub(crate) fn with(&self, act: AdminAct, detail: &Value, moment: &mut Moment<'_>) -> Statement {
        self.statement(&admin_event(act, detail, moment), moment)
    }

    /// Adds the administrator and the request to the event.
    pub(crate) fn statement(&self, event: &AuditEvent, moment: &mut Moment<'_>) -> Statement {
        let actor = Some(self.0.administrator.actor().into());
        let event = AuditEvent { actor, request: self.0.request.cloned(), ..event.clone() };
        AuditWriter::new(&self.0.store, moment.rng, moment.now).event(&event)
    }
}

/// An event about a user, without its actor.
pub(crate) fn user_event(act: AdminAct, user: UserId, login: Option<&Login>, moment: &Moment<'_>) -> AuditEvent {
    let mut event = admin_event(act, &json!({ "subject": user.to_string() }), moment).user(user);
    event.login = login.map(|login| login.as_str().to_owned());
    event
}

/// An event without its actor.
pub(crate) fn admin_event(act: AdminAct, detail: &Value, moment: &Moment<'_>) -> AuditEvent {
    let mut told = json!({ "what": act.as_str() });
    let members = detail.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
    told.as_object_mut().expect("it was just made one").extend(members);
    system_event(moment.now, AuditKind::AdminChange).detail(&told)
}
