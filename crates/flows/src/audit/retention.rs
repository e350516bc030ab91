//! The audit's age: where an instance keeps it for so many days, older seals go, whole ones only, the oldest first. A
//! signed checkpoint stays in their place, so that what is left can still be checked from its beginning.

use std::time::Duration;

use model::audit::AuditKind;
use model::audit::chain::{Checkpoint, Hash};
use model::{Moment, Timestamp};
use store::{Batch, Outcome};

use super::sealer::Sealer;
use super::{Trail, house_event};
use crate::Fault;

const DAY: Duration = Duration::from_hours(24);

/// What one batch deletes: the writer is held for some tens of milliseconds at most.
const MOST_SEALS: u32 = 500;
const MOST_BYTES: i64 = 8 * 1024 * 1024;
/// Batches in one round, during which other instances wait for their round; the next one is a minute later.
const MOST_BATCHES: usize = 8;

impl Sealer {
    /// Deletes what is older. In whole days (UTC), so that the event that tells of it is one a day.
    pub(crate) async fn prune(&self, days: u32, moment: &mut Moment<'_>) -> Result<(), Fault> {
        let store = self.store();
        let before = midnight(moment.now).minus(DAY * days);
        for _ in 0..MOST_BATCHES {
            let old = store.old_seals(before, MOST_SEALS).await?;
            let mut bytes = 0;
            let batch: Vec<_> = old
                .iter()
                .take_while(|(_, _, _, size)| {
                    let fits = bytes < MOST_BYTES;
                    bytes += size;
                    fits
                })
                .collect();
            let Some((number, hash, _, _)) = batch.last() else { return Ok(()) };
            let checkpoint = Checkpoint {
                instance: store.instance().to_string(),
                seal: *number,
                hash: Hash::parse(hash).ok_or_else(|| Fault::failed("the hash of a seal does not read back"))?,
                iat: moment.now.seconds(),
                // What was before it went with it, and what comes after it is signed already.
                prev: None,
                pruned: true,
                broken: None,
            };
            let events: i64 = batch.iter().map(|(_, _, events, _)| events).sum();
            let mut event = house_event(moment.now, AuditKind::AuditPruned);
            event.reason = "retention";
            let detail = serde_json::json!({ "through": number, "hash": hash, "events": events, "days": days });
            let event = event.detail(&detail);
            let jws = self.key().sign(&checkpoint)?;
            let mut pruning = Batch::from(store.prune_seals((*number, batch.len() as u64), (moment.now, &jws)));
            pruning.push(Trail::new(store, moment.dice, moment.now).event(&event));
            match store.commit(pruning).await? {
                Outcome::Committed => {}
                // Another node was first.
                Outcome::GuardFailed { .. } => return Ok(()),
            }
        }
        Ok(())
    }
}

fn midnight(now: Timestamp) -> Timestamp {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    Timestamp(now.0 - now.0.rem_euclid(day))
}
