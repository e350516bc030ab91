//! Storms by strangers.

use serde_json::json;

use super::{Chapter, table, verdict};
use crate::attacks::{Attacks, Pinned};

/// MiB above idle that pinned connections may cost.
const MOST_PINNED: f64 = 96.0;
/// An honest request's p99 in a storm, by that without.
const MOST_TIMES: f64 = 2.0;

impl Chapter {
    pub(crate) fn attacks(attacks: &Attacks) -> Self {
        let pinned = &attacks.pinned;
        let head = ["storm", "what", "measured", "goal", ""];
        let text = table(&head, &pinned.rows());
        let json = json!({
            "pinned": {
                "connections": pinned.connections,
                "above_idle_mib": pinned.above_idle(),
                "p99_us_quiet": pinned.quiet_p99,
                "p99_us_storm": pinned.storm_p99,
                "left_open": pinned.left,
            },
        });
        Self { text, json: json!({ "attacks": json }) }
    }
}

impl Pinned {
    fn above_idle(&self) -> f64 {
        f64::from(self.most.saturating_sub(self.idle)) / 1024.0
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let storm = format!("{} connections that take no answer", self.connections);
        let (memory, times) = (self.above_idle(), self.storm_p99 / self.quiet_p99);
        let row = |what: &str, measured: String, goal: String, is_met: bool| {
            vec![storm.clone(), what.to_owned(), measured, goal, verdict(is_met).to_owned()]
        };
        vec![
            row(
                "memory above idle, MiB",
                format!("{memory:.1}"),
                format!("at most {MOST_PINNED:.0}"),
                memory <= MOST_PINNED,
            ),
            row(
                "p99 of a token by that without",
                format!("{times:.2} ({:.0} µs)", self.storm_p99),
                format!("at most {MOST_TIMES:.1}"),
                times <= MOST_TIMES,
            ),
            row("still open after the idle limit", self.left.to_string(), "0".to_owned(), self.left == 0),
        ]
    }
}
