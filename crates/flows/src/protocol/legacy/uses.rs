//! Usage counts of the legacy schemes, in memory and written in batches, so that a call costs no durable write.

use std::collections::BTreeMap;

use model::legacy::{LegacyScheme, LegacyUse};
use model::{ApplicationId, Timestamp, UserId};
use parking_lot::Mutex;
use store::{Batch, Fault, Store};

/// Maximum rows per batch.
const FLUSHED_AT_ONCE: usize = 500;

type LegacyUseKey = (ApplicationId, LegacyScheme, UserId);

/// Ordered, so that nodes that write the same rows do not deadlock.
#[derive(Default)]
pub(crate) struct LegacyUses(Mutex<BTreeMap<LegacyUseKey, LegacyUse>>);

impl LegacyUses {
    pub(super) fn note(&self, who: LegacyUseKey, now: Timestamp) {
        let (application, scheme, user) = who;
        self.add(&LegacyUse { application, scheme, user, uses: 1, first_at: now, last_at: now });
    }

    fn add(&self, more: &LegacyUse) {
        let mut waiting = self.0.lock();
        let known = waiting.entry((more.application, more.scheme, more.user));
        let known = known.or_insert(LegacyUse { uses: 0, ..*more });
        known.uses += more.uses;
        known.first_at = known.first_at.min(more.first_at);
        known.last_at = known.last_at.max(more.last_at);
    }

    pub(crate) async fn flush(&self, store: &Store) -> Result<(), Fault> {
        let noted: Vec<LegacyUse> = std::mem::take(&mut *self.0.lock()).into_values().collect();
        let mut written = Ok(());
        for chunk in noted.chunks(FLUSHED_AT_ONCE) {
            if written.is_ok() {
                let batch: Vec<_> = chunk.iter().map(|seen| store.add_legacy_uses(seen)).collect();
                written = store.commit(Batch::from(batch)).await.map(|_| ());
            }
            if written.is_err() {
                for seen in chunk {
                    self.add(seen);
                }
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn uses_of_one_user_through_one_application_add_up() {
        let uses = LegacyUses::default();
        let who = |user| (ApplicationId(Uuid::nil()), LegacyScheme::Basic, UserId(Uuid::from_u128(user)));
        for (user, at) in [(1, 5), (2, 7), (1, 9), (1, 3)] {
            uses.note(who(user), Timestamp(at));
        }
        let waiting = uses.0.lock();
        let told = |user| waiting.get(&who(user)).map(|seen| (seen.uses, seen.first_at, seen.last_at));
        assert_eq!(told(1), Some((3, Timestamp(3), Timestamp(9))));
        assert_eq!(told(2), Some((1, Timestamp(7), Timestamp(7))));
        assert_eq!(waiting.len(), 2);
    }
}
