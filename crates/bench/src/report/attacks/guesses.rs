//! Guessed passwords.

use serde_json::{Value, json};

use super::super::{table, verdict};
use crate::attacks::Guesses;

const MAX_COMPARED: u32 = 100;
/// Seconds.
const MAX_KNOWN: f64 = 2.0;
const MAX_NEW: f64 = 10.0;

impl Guesses {
    pub(super) fn table(&self) -> String {
        let mut rows = Vec::new();
        for felt in &self.storms {
            let mut row = |what: &str, measured: String, goal: String, is_met: bool| {
                let storm = format!("{} ({} guesses)", felt.storm, felt.guesses);
                rows.push(vec![storm, what.to_owned(), measured, goal, verdict(is_met).to_owned()]);
            };
            if let Some(compared) = felt.compared {
                row(
                    "guesses compared",
                    compared.to_string(),
                    format!("at most {MAX_COMPARED}"),
                    compared <= MAX_COMPARED,
                );
            }
            for (what, took, most) in
                [("a known browser signs in, s", felt.known, MAX_KNOWN), ("a new browser, s", felt.new, MAX_NEW)]
            {
                let seconds = took.as_secs_f64();
                row(what, format!("{seconds:.2}"), format!("at most {most:.0}"), seconds <= most);
            }
        }
        table(&["guesses", "what", "measured", "goal", ""], &rows)
    }

    pub(super) fn json(&self) -> Value {
        let storms = self.storms.iter().map(|felt| {
            json!({
                "storm": felt.storm,
                "guesses": felt.guesses,
                "compared": felt.compared,
                "known_seconds": felt.known.as_secs_f64(),
                "new_seconds": felt.new.as_secs_f64(),
            })
        });
        json!({ "quiet_seconds": self.quiet.as_secs_f64(), "storms": storms.collect::<Vec<_>>() })
    }
}
