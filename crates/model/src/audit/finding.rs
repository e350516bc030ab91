//! Findings of a chain verification, each as a sentence and as JSON.

use std::fmt;

use serde::Serialize;

use crate::Timestamp;
use crate::audit::{Break, BreakCause};

/// The known data of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventName {
    pub seal: i64,
    pub id: String,
    pub kind: String,
    /// Microseconds since 1970.
    pub at: i64,
}

/// A deviation from the data originally written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum AuditFinding {
    EventEdited(EventName),
    EventRemoved(EventName),
    EventInserted(EventName),
    EventMoved(EventName),
    /// The personal data of the event was changed.
    PersonEdited(EventName),
    /// The personal data of the event is missing, although the person was not erased.
    PersonRemoved(EventName),
    /// The seal's own data was changed: number, time, list of contents or hash.
    SealEdited {
        seal: i64,
    },
    /// The seal does not name the seal before it: one of the two was replaced.
    SealUnlinked {
        seal: i64,
    },
    SealsMissing {
        from: i64,
        to: i64,
    },
    /// A signature covers another seal of this number: all seals up to here may have been rewritten.
    NotAsSigned {
        seal: i64,
    },
    /// The checkpoint's signature is not by a key of this instance, or its claims differ from the row that stores it.
    CheckpointForged {
        seal: i64,
    },
    /// The checkpoint names a previous one that is missing: it was removed or replaced.
    CheckpointMissing {
        seal: i64,
        named_by: i64,
    },
    /// Gatehouse signs every minute; these seals were not signed for much longer.
    Unsigned {
        from: i64,
        to: i64,
    },
    /// The row that the event was sealed from had a wrong authentication code: another writer created or changed it.
    EventForged(EventName),
    /// The event was sealed before; its row was inserted again.
    EventRepeated(EventName),
    /// The seal remembered as the newest is missing, or another has its number.
    HeadReplaced {
        seal: i64,
    },
    /// The newest remembered checkpoint is missing, or another is in its place.
    CheckpointReplaced {
        seal: i64,
    },
    /// No end of the chain is remembered, although checkpoints show that one was.
    MemoryLost,
    /// Gatehouse signed that the chain did not continue from its known end.
    Broken {
        seal: i64,
        #[serde(flatten)]
        broken: Break,
    },
    /// A seal of a kept checkpoint that was lost when the database went back, as a break records.
    LostInBreak {
        seal: i64,
    },
}

impl AuditFinding {
    /// Whether a database that lost committed data explains the finding. Every other finding was caused
    /// by a writer.
    pub const fn is_loss(&self) -> bool {
        match self {
            Self::Broken { broken, .. } => broken.cause.is_loss(),
            Self::LostInBreak { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, event) = match self {
            Self::EventEdited(event) => ("event edited", event),
            Self::EventRemoved(event) => ("event removed", event),
            Self::EventInserted(event) => ("event inserted", event),
            Self::EventMoved(event) => ("event moved", event),
            Self::PersonEdited(event) => ("personal data edited, of event", event),
            Self::PersonRemoved(event) => ("personal data removed without an erasure, of event", event),
            Self::SealEdited { seal } => return write!(f, "seal {seal} edited: its number, time, contents or hash"),
            Self::SealUnlinked { seal } => {
                return write!(f, "seal {seal} does not follow seal {}: one of the two was replaced", seal - 1);
            }
            Self::SealsMissing { from, to } if from == to => return write!(f, "seal {from} is missing"),
            Self::SealsMissing { from, to } => return write!(f, "seals {from} to {to} are missing"),
            Self::NotAsSigned { seal } => {
                return write!(f, "seal {seal} is not the one that was signed: the chain up to it was written anew");
            }
            Self::CheckpointForged { seal } => return write!(f, "the checkpoint of seal {seal} is forged"),
            Self::CheckpointMissing { seal, named_by } => {
                return write!(f, "the checkpoint of seal {seal}, which that of seal {named_by} names, is missing");
            }
            Self::Unsigned { from, to } => return write!(f, "seals {from} to {to} were not signed in time"),
            Self::EventForged(event) => ("event forged before it was sealed", event),
            Self::EventRepeated(event) => ("event put in a second time", event),
            Self::HeadReplaced { seal } => return write!(f, "seal {seal} is not the newest one that is remembered"),
            Self::CheckpointReplaced { seal } => {
                return write!(f, "the checkpoint of seal {seal} is not the newest one that is remembered");
            }
            Self::MemoryLost => return f.write_str("what was remembered of the chain's end was deleted"),
            Self::Broken { seal, broken } => return write_break(f, *seal, broken),
            Self::LostInBreak { seal } => {
                return write!(
                    f,
                    "seal {seal}, which a kept checkpoint tells of, was lost when the database went back"
                );
            }
        };
        write!(f, "{what}: {} ({}, at {}) in seal {}", event.id, event.kind, Timestamp(event.at).rfc3339(), event.seal)
    }
}

fn write_break(f: &mut fmt::Formatter<'_>, seal: i64, broken: &Break) -> fmt::Result {
    let Break { cause, known, found } = broken;
    let told = match cause {
        BreakCause::NothingRemembered => "nothing was remembered of the chain",
        BreakCause::HeadReplaced => "the newest seal had been replaced or removed",
        BreakCause::CheckpointReplaced => "the newest checkpoint had been replaced or removed",
        BreakCause::UnknownSeals => "seals had been put in that are not known",
        BreakCause::DatabaseWentBack => "the database had gone back to an earlier state",
        BreakCause::ChainWentBack => "the chain had gone back to an earlier state, and the change feed had not",
    };
    write!(
        f,
        "break at seal {seal}: {told} (known: {} {}, found: {} {})",
        known.seal, known.hash, found.seal, found.hash
    )
}
