//! Consents of users to applications, and their withdrawal by the user or an administrator.

use model::seat::CloseReason;
use model::{ApplicationId, Moment, UserId};
use store::{Batch, Change, ChangeKind, ConnectedApplication, Fault, SessionsToClose, Store};

use crate::audit::AuditedStore;
use crate::memory::CONSENT_WITHDRAWN;
use crate::memory::live_sessions::close_sessions;
use model::claims::MAX_TOKEN_LIFETIME;

pub(crate) async fn connections(
    store: &Store,
    user: UserId,
    moment: &Moment<'_>,
) -> Result<Vec<ConnectedApplication>, Fault> {
    store.connections(user, moment.now, moment.now.minus(MAX_TOKEN_LIFETIME)).await
}

pub(crate) async fn is_connected(
    store: &Store,
    (user, application): (UserId, ApplicationId),
    moment: &Moment<'_>,
) -> Result<bool, Fault> {
    Ok(connections(store, user, moment).await?.iter().any(|known| known.application == application))
}

/// Locks the seats' row first, as all batches do; then the consent, because a request that issues a code relies on the
/// consent before the code's row exists.
pub(crate) fn withdrawal_batch(store: &AuditedStore, who: (UserId, ApplicationId), moment: &mut Moment<'_>) -> Batch {
    let (user, application) = who;
    let mut batch = Batch::from(vec![
        store.move_seats(),
        store.forget_consent(who),
        store.end_authorizations_between(who, CONSENT_WITHDRAWN, moment.now),
        store.leave_sessions_of_user(application, user),
    ]);
    batch.append(close_sessions(store, SessionsToClose::Unused, CloseReason::ConsentWithdrawn, moment));
    let change = Change { kind: ChangeKind::ConsentWithdrawn, subject: user.0 };
    batch.announce(change, moment.now);
    batch
}
