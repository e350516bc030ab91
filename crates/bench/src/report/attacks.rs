//! Storms by strangers.

mod guesses;

use serde_json::json;

use super::Chapter;
use crate::attacks::Attacks;

impl Chapter {
    pub(crate) fn attacks(attacks: &Attacks) -> Self {
        Self { text: attacks.guesses.table(), json: json!({ "attacks": { "guesses": attacks.guesses.json() } }) }
    }
}
