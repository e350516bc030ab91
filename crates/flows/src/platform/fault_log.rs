//! Faults in the log: one line a minute for each kind, with the number of lines left out.

use std::collections::HashMap;
use std::time::Duration;

use model::audit::RequestId;
use model::meter::NamedCounters;
use parking_lot::Mutex;
use store::{Fault, Trouble};
use tokio::time::Instant;

/// Each kind of fault gets one log line in this time.
const EVERY: Duration = Duration::from_mins(1);
/// Kinds that are counted separately. Only bugs have more than one kind for each trouble.
const MAX_KINDS: usize = 64;

/// The instance and the request that met a fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultContext<'a> {
    pub instance: Option<&'a str>,
    pub request: Option<RequestId>,
}

#[derive(Default)]
pub struct FaultLog {
    kinds: Mutex<HashMap<FaultKey, ReportedFault>>,
    counts: NamedCounters,
}

/// A bug is keyed by its causes too. For everything else the trouble is enough.
type FaultKey = (Trouble, String);

struct ReportedFault {
    at: Instant,
    left_out: u64,
}

impl FaultLog {
    /// Counts a fault, and logs it unless its kind had a line within the last minute.
    pub fn report(&self, fault: &Fault, what: &str, affected: FaultContext<'_>) {
        let (trouble, causes) = (fault.trouble(), fault.causes());
        self.counts.add(trouble.name());
        let FaultContext { instance, request } = affected;
        let request = request.map(tracing::field::display);
        if self.is_due(trouble, &causes, Instant::now()) {
            tracing::error!(kind = trouble.name(), request, instance, "{what}: {fault}: {causes}; {}", trouble.mend());
        } else {
            tracing::debug!(kind = trouble.name(), request, instance, "{what}: {fault}: {causes}");
        }
    }

    /// Logs how many faults were left out, once their minute is over.
    pub(crate) fn sum_up(&self) {
        for (trouble, left_out) in self.over(Instant::now()) {
            tracing::error!(kind = trouble.name(), left_out, "and {left_out} more like this within a minute");
        }
    }

    /// Numbers of faults since the start, by trouble.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.counts.read()
    }

    fn is_due(&self, trouble: Trouble, causes: &str, now: Instant) -> bool {
        let mut kinds = self.kinds.lock();
        let mut kind = (trouble, if trouble == Trouble::Defect { causes.to_owned() } else { String::new() });
        if kinds.len() >= MAX_KINDS && !kinds.contains_key(&kind) {
            kind.1.clear();
        }
        if let Some(told) = kinds.get_mut(&kind) {
            told.left_out += 1;
            return false;
        }
        kinds.insert(kind, ReportedFault { at: now, left_out: 0 });
        true
    }

    /// Ends the minutes that are over. A minute that left faults out begins another one, because its sum is that
    /// minute's line.
    fn over(&self, now: Instant) -> Vec<(Trouble, u64)> {
        let mut sums = Vec::new();
        self.kinds.lock().retain(|(trouble, _), told| {
            if now.duration_since(told.at) < EVERY {
                return true;
            }
            let left_out = std::mem::take(&mut told.left_out);
            told.at = now;
            if left_out > 0 {
                sums.push((*trouble, left_out));
            }
            left_out > 0
        });
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_line_a_minute_and_the_others_are_counted() {
        let (log, begun) = (FaultLog::default(), Instant::now());
        assert!(log.is_due(Trouble::Full, "page 7", begun));
        assert!(!log.is_due(Trouble::Full, "page 8", begun), "the same kind");
        assert!(log.is_due(Trouble::Locked, "", begun), "another kind");
        assert!(log.is_due(Trouble::Defect, "page 7 is torn", begun));
        assert!(log.is_due(Trouble::Defect, "a bug", begun), "bugs differ by their causes");
        assert!(log.over(begun + EVERY / 2).is_empty());
        assert_eq!(log.over(begun + EVERY), [(Trouble::Full, 1)]);
        assert!(!log.is_due(Trouble::Full, "", begun + EVERY), "the sum was this minute's line");
        assert!(log.is_due(Trouble::Locked, "", begun + EVERY), "nothing for a minute");
        assert_eq!(log.over(begun + 2 * EVERY), [(Trouble::Full, 1)]);
        assert!(log.over(begun + 3 * EVERY).is_empty());
        assert!(log.kinds.lock().is_empty(), "what is over is forgotten");
    }

    #[test]
    fn the_kinds_have_a_bound() {
        let (log, now) = (FaultLog::default(), Instant::now());
        let told = (0..1000).filter(|number: &u32| log.is_due(Trouble::Defect, &number.to_string(), now)).count();
        assert_eq!(told, MAX_KINDS + 1, "those beyond share a kind");
    }
}
