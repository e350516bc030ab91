//! Storms by strangers, and what everybody else feels of them.

mod guesses;

use anyhow::Result;

use crate::Effort;
use crate::installation::Binary;

pub(crate) use guesses::Guesses;

pub(crate) struct Attacks {
    pub(crate) guesses: Guesses,
}

pub(crate) async fn measure(binary: &Binary, effort: Effort) -> Result<Attacks> {
    Ok(Attacks { guesses: guesses::measure(binary, effort).await? })
}
