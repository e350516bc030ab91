//! Consents of users to applications, and their withdrawal by the user or an administrator.

use model::seat::CloseReason;
use model::{Moment, UserId};
use store::{Batch, Change, ChangeKind, ConnectedApplication, ConsentParties, Fault, SessionsToClose, Store};

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

pub(crate) async fn is_connected(store: &Store, of: ConsentParties, moment: &Moment<'_>) -> Result<bool, Fault> {
    Ok(connections(store, of.user, moment).await?.iter().any(|known| known.application == of.application))
}

/// Locks the seats' row first, as all batches do; then the consent, because a request that issues a code relies on the
/// consent before the code's row exists.
pub(crate) fn withdrawal_batch(store: &AuditedStore, of: ConsentParties, moment: &mut Moment<'_>) -> Batch {
    let mut batch = Batch::from(vec![
        store.move_seats(),
        store.forget_consent(of),
        store.end_authorizations_between(of, CONSENT_WITHDRAWN, moment.now),
        store.leave_sessions_of_user(of.application, of.user),
    ]);
    batch.append(close_sessions(store, SessionsToClose::Unused, CloseReason::ConsentWithdrawn, moment));
    let change = Change { kind: ChangeKind::ConsentWithdrawn, subject: of.user.0 };
    batch.announce(change, moment.now);
    batch
}
