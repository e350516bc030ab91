//! Reports of storms by unauthenticated clients.

use serde_json::{Map, json};

use super::{Chapter, table, verdict};
use crate::attacks::{Goal, Storm};

impl Chapter {
    pub(crate) fn attacks(storms: Vec<Storm>) -> Self {
        let row = |storm: &Storm, goal: &Goal| {
            let (measured, verdict) = (goal.measured.clone(), verdict(goal.is_met).to_owned());
            vec![storm.name.clone(), goal.what.to_owned(), measured, goal.bound.clone(), verdict]
        };
        let rows: Vec<_> =
            storms.iter().flat_map(|storm| storm.goals.iter().map(move |goal| row(storm, goal))).collect();
        let text = table(&["storm", "what", "measured", "goal", ""], &rows);
        let json: Map<_, _> = storms.into_iter().map(|storm| (storm.name, storm.json)).collect();
        Self { text, json: json!({ "attacks": json }) }
    }
}
