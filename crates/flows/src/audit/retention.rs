//! Retention of the audit, by age or size. Deletes whole seals, the oldest first. A signed checkpoint takes their
//! place, so that the remaining chain can still be verified from its beginning.

use std::time::Duration;

use model::audit::AuditKind;
use model::audit::chain::{Checkpoint, SealHash};
use model::{Moment, Timestamp};
use store::{Batch, CommitOutcome};

use crate::Fault;
use crate::audit::sealer::Sealer;
use crate::audit::{AuditWriter, system_event};

const DAY: Duration = Duration::from_hours(24);

/// Bounds of one batch: it holds the database's writer for some tens of milliseconds at most.
const MAX_SEALS: u32 = 500;
const MAX_BYTES: i64 = 8 * 1024 * 1024;
/// Batches in one round. Other instances wait meanwhile; the next round is a minute later.
const MAX_BATCHES: usize = 8;

/// Number, hash, events and bytes of an old seal.
type OldSeal = (i64, String, i64, i64);

/// Retention of a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Retention {
    Days(u32),
    Bytes(i64),
}

impl Sealer {
    /// Deletes the seals beyond the retention.
    pub(crate) async fn prune(&self, keeping: Retention, moment: &mut Moment<'_>) -> Result<(), Fault> {
        for _ in 0..MAX_BATCHES {
            let old = match keeping {
                // In whole days (UTC), so that the event about it is written once a day.
                Retention::Days(days) => {
                    self.store().old_seals(midnight(moment.now).minus(DAY * days), MAX_SEALS).await?
                }
                Retention::Bytes(bytes) => self.store().seals_beyond(bytes, MAX_SEALS).await?,
            };
            let mut bytes = 0;
            let batch: Vec<OldSeal> = old
                .into_iter()
                .take_while(|(_, _, _, size)| {
                    let fits = bytes < MAX_BYTES;
                    bytes += size;
                    fits
                })
                .collect();
            if batch.is_empty() || !self.delete(&batch, keeping, moment).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `false` if another node was first.
    async fn delete(&self, batch: &[OldSeal], keeping: Retention, moment: &mut Moment<'_>) -> Result<bool, Fault> {
        let store = self.store();
        let Some((number, hash, _, _)) = batch.last() else { return Ok(false) };
        let checkpoint = Checkpoint {
            instance: store.instance().to_string(),
            chain: store.chain(),
            seal: *number,
            hash: SealHash::parse(hash).ok_or_else(|| Fault::failed("the hash of a seal does not read back"))?,
            iat: moment.now.seconds(),
            // The seals before it are deleted with it, and the seals after it are already signed.
            prev: None,
            pruned: true,
            broken: None,
        };
        let events: i64 = batch.iter().map(|(_, _, events, _)| events).sum();
        let mut event = system_event(moment.now, AuditKind::AuditPruned);
        event.reason = "retention";
        let mut detail = serde_json::json!({ "through": number, "hash": hash, "events": events });
        match keeping {
            Retention::Days(days) => detail["days"] = days.into(),
            Retention::Bytes(bytes) => detail["bytes"] = bytes.into(),
        }
        let event = event.detail(&detail);
        let jws = self.key().sign(&checkpoint)?;
        let mut pruning = Batch::from(store.prune_seals(*number, batch.len() as u64, moment.now, &jws));
        pruning.push(AuditWriter::new(store, moment.rng, moment.now).event(&event));
        Ok(store.commit(pruning).await? == CommitOutcome::Committed)
    }
}

fn midnight(now: Timestamp) -> Timestamp {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    Timestamp(now.0 - now.0.rem_euclid(day))
}
