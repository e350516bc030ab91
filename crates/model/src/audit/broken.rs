//! The remembered end of the audit chain, and where the chain continues if the database shows another end.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::audit::chain::{ChainHead, SealHash, SealLink};

/// The newest seal, and the newest checkpoint with the SHA-256 of its JWS. Written in the same commit as every seal and
/// every checkpoint, and sealed under a key that is not in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedEnd {
    pub head: SealLink,
    pub signed: SealLink,
}

impl RememberedEnd {
    /// The remembered end of a new instance.
    pub const NOTHING_YET: Self = Self { head: SealLink::NONE, signed: SealLink::NONE };
}

/// Whether an end of the chain is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainMemory {
    /// The database was written by a version that remembered nothing, or the remembered end was deleted, or replaced by
    /// data that cannot be decrypted.
    Lost,
    Kept(RememberedEnd),
}

/// The chain as the database shows it at one time.
#[derive(Clone, Copy, Debug)]
pub struct ObservedChain {
    pub head: ChainHead,
    /// Hash of the seal that has the number of the remembered head.
    pub remembered_head: Option<SealHash>,
    /// Hash of the checkpoint of the seal that is remembered as signed.
    pub remembered_checkpoint: Option<SealHash>,
    /// Hash of the seal that this process knows as the newest, if that is older than the remembered one.
    pub known_head: Option<SealHash>,
    /// Number of the oldest seal. Earlier seals were pruned and are not missing.
    pub oldest: i64,
}

/// The knowledge of this process: the newest seal that it wrote or saw, and whether the change feed reports that the
/// database went back since.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessKnowledge {
    pub known: Option<SealLink>,
    pub went_back: bool,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident => $text:literal),+ $(,)?) => {
        /// Why a chain does not continue from its known end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum BreakCause { $($(#[$doc])* #[serde(rename = $text)] $variant),+ }

        impl BreakCause {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

causes! {
    /// See [`ChainMemory::Lost`]. Expected right after the upgrade from a version that remembered nothing.
    NothingRemembered => "nothing-remembered",
    /// The remembered head is missing, or another seal has its number. A database that goes back takes its memory
    /// along, so a failover does not cause this.
    HeadReplaced => "head-replaced",
    /// The newest remembered checkpoint is missing, or another is in its place.
    CheckpointReplaced => "checkpoint-replaced",
    /// Seals were appended after the remembered head, by a version that remembers nothing or by another writer.
    UnknownSeals => "unknown-seals",
    /// The database and its remembered end are older than the knowledge of this process, and the change feed confirms
    /// it: a failover to a standby that was behind, or a backup restored under running servers.
    DatabaseWentBack => "database-went-back",
    /// As [`Self::DatabaseWentBack`], but the change feed does not confirm it.
    ChainWentBack => "chain-went-back",
}

impl BreakCause {
    /// Whether the loss of committed data explains the break. Any other break was caused by a writer.
    pub const fn is_loss(self) -> bool {
        matches!(self, Self::DatabaseWentBack | Self::ChainWentBack)
    }
}

/// The known newest seal (or the known newest checkpoint, if that was replaced), and the one found instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    pub cause: BreakCause,
    pub known: SealLink,
    pub found: SealLink,
}

impl RememberedEnd {
    fn checkpoint_is_there(&self, seen: &ObservedChain) -> bool {
        self.signed.seal < seen.oldest
            || self.signed == SealLink::NONE
            || seen.remembered_checkpoint == Some(self.signed.hash)
    }
}

/// Where the chain continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// After its newest seal, which is the remembered one.
    GoesOn(RememberedEnd),
    /// With the seal of a break, which follows this head.
    Breaks(Break, ChainHead),
}

impl ChainMemory {
    /// Whether the chain continues from its newest seal.
    ///
    /// If a seal was replaced, the seal of the break names the known one, not the one found, so that the break stays
    /// visible permanently.
    pub fn check(self, seen: &ObservedChain, told: ProcessKnowledge) -> Continuation {
        let found = SealLink { seal: seen.head.number, hash: seen.head.hash };
        let broken = |cause, known| Break { cause, known, found };
        let Self::Kept(kept) = self else {
            return match told.known.filter(|known| !is_known(*known, found, seen)) {
                Some(known) => Continuation::Breaks(broken(BreakCause::HeadReplaced, known), behind(known, seen.head)),
                None => Continuation::Breaks(broken(BreakCause::NothingRemembered, SealLink::NONE), seen.head),
            };
        };
        let is_there = kept.head == SealLink::NONE || seen.remembered_head == Some(kept.head.hash);
        if !is_there {
            return Continuation::Breaks(broken(BreakCause::HeadReplaced, kept.head), behind(kept.head, seen.head));
        }
        if !kept.checkpoint_is_there(seen) {
            let hash = seen.remembered_checkpoint.unwrap_or(SealHash::NONE);
            let found = SealLink { seal: kept.signed.seal, hash };
            return Continuation::Breaks(
                Break { cause: BreakCause::CheckpointReplaced, known: kept.signed, found },
                seen.head,
            );
        }
        if found.seal > kept.head.seal {
            return Continuation::Breaks(broken(BreakCause::UnknownSeals, kept.head), seen.head);
        }
        if let Some(known) = told.known.filter(|known| !is_known(*known, kept.head, seen)) {
            let cause = if told.went_back { BreakCause::DatabaseWentBack } else { BreakCause::ChainWentBack };
            return Continuation::Breaks(broken(cause, known), seen.head);
        }
        Continuation::GoesOn(kept)
    }
}

/// Whether the seal known to a process is still in the chain.
fn is_known(known: SealLink, head: SealLink, seen: &ObservedChain) -> bool {
    match known.seal.cmp(&head.seal) {
        std::cmp::Ordering::Equal => known == head,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Less => {
            known == SealLink::NONE || known.seal < seen.oldest || seen.known_head == Some(known.hash)
        }
    }
}

/// A head after all existing seals that carries the hash of the known one.
fn behind(known: SealLink, found: ChainHead) -> ChainHead {
    ChainHead { number: known.seal.max(found.number), hash: known.hash, at: found.at.max(Timestamp(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(seal: i64, text: &str) -> SealLink {
        SealLink { seal, hash: SealHash::of(text.as_bytes()) }
    }

    fn head(link: SealLink) -> ChainHead {
        ChainHead { number: link.seal, hash: link.hash, at: Timestamp(7) }
    }

    /// A chain whose head and checkpoint are the remembered ones.
    fn seen(kept: RememberedEnd) -> ObservedChain {
        ObservedChain {
            head: head(kept.head),
            remembered_head: Some(kept.head.hash),
            remembered_checkpoint: Some(kept.signed.hash),
            known_head: None,
            oldest: 1,
        }
    }

    /// The cause, the known seal, and the head that the break's seal follows.
    fn broken(
        memory: ChainMemory,
        seen: &ObservedChain,
        told: ProcessKnowledge,
    ) -> Option<(BreakCause, SealLink, i64, SealHash)> {
        match memory.check(seen, told) {
            Continuation::GoesOn(_) => None,
            Continuation::Breaks(broken, base) => Some((broken.cause, broken.known, base.number, base.hash)),
        }
    }

    fn kept() -> RememberedEnd {
        RememberedEnd { head: link(9, "nine"), signed: link(7, "signed") }
    }

    fn knows(known: SealLink, went_back: bool) -> ProcessKnowledge {
        ProcessKnowledge { known: Some(known), went_back }
    }

    #[test]
    fn a_chain_that_ends_as_it_is_remembered_goes_on() {
        let kept = kept();
        let another_went_on = ObservedChain { known_head: Some(SealHash::of(b"eight")), ..seen(kept) };
        for (name, memory, seen, told) in [
            ("nothing else is known", kept, seen(kept), ProcessKnowledge::default()),
            ("as this process knows it", kept, seen(kept), knows(kept.head, false)),
            ("another node went on", kept, another_went_on, knows(link(8, "eight"), true)),
            (
                "a new instance",
                RememberedEnd::NOTHING_YET,
                seen(RememberedEnd::NOTHING_YET),
                ProcessKnowledge::default(),
            ),
        ] {
            assert_eq!(ChainMemory::Kept(memory).check(&seen, told), Continuation::GoesOn(memory), "{name}");
        }
    }

    #[test]
    fn a_head_that_is_not_the_remembered_one_is_never_followed() {
        let (kept, here) = (kept(), seen(kept()));
        let other =
            ObservedChain { head: head(link(9, "other")), remembered_head: Some(SealHash::of(b"other")), ..here };
        let cut = ObservedChain { head: head(link(6, "six")), remembered_head: None, ..here };
        let longer =
            ObservedChain { head: head(link(12, "new")), remembered_head: Some(SealHash::of(b"new nine")), ..here };
        for (name, seen, told, number) in [
            ("another in its place", other, ProcessKnowledge::default(), 9),
            ("the end cut off", cut, ProcessKnowledge::default(), 9),
            ("the end written anew, and longer", longer, ProcessKnowledge::default(), 12),
            ("that the feed went back explains nothing", other, knows(kept.head, true), 9),
        ] {
            let expected = Some((BreakCause::HeadReplaced, kept.head, number, kept.head.hash));
            assert_eq!(broken(ChainMemory::Kept(kept), &seen, told), expected, "{name}");
        }
        let expected = Some((BreakCause::HeadReplaced, kept.head, 9, kept.head.hash));
        assert_eq!(broken(ChainMemory::Lost, &cut, knows(kept.head, false)), expected, "the process still knows it");
    }

    #[test]
    fn what_else_is_not_as_it_was_is_told_of_behind_the_newest_seal() {
        use BreakCause::{ChainWentBack, CheckpointReplaced, DatabaseWentBack, NothingRemembered, UnknownSeals};
        let (kept, here) = (kept(), seen(kept()));
        let unsigned = |remembered_checkpoint| ObservedChain { remembered_checkpoint, ..here };
        let longer = ObservedChain { head: head(link(11, "eleven")), ..here };
        let another = ObservedChain { known_head: Some(SealHash::of(b"another")), ..here };
        let (lost, eight) = (link(12, "lost"), link(8, "eight"));
        for (memory, seen, told, cause, known) in [
            (ChainMemory::Kept(kept), unsigned(None), ProcessKnowledge::default(), CheckpointReplaced, kept.signed),
            (
                ChainMemory::Kept(kept),
                unsigned(Some(SealHash::of(b"x"))),
                ProcessKnowledge::default(),
                CheckpointReplaced,
                kept.signed,
            ),
            (ChainMemory::Kept(kept), longer, knows(kept.head, false), UnknownSeals, kept.head),
            (ChainMemory::Lost, here, ProcessKnowledge::default(), NothingRemembered, SealLink::NONE),
            (ChainMemory::Lost, here, knows(kept.head, false), NothingRemembered, SealLink::NONE),
            (ChainMemory::Kept(kept), here, knows(lost, true), DatabaseWentBack, lost),
            (ChainMemory::Kept(kept), here, knows(lost, false), ChainWentBack, lost),
            (ChainMemory::Kept(kept), another, knows(eight, true), DatabaseWentBack, eight),
        ] {
            let expected = Some((cause, known, seen.head.number, seen.head.hash));
            assert_eq!(broken(memory, &seen, told), expected, "{memory:?} {told:?}");
        }
    }

    #[test]
    fn what_was_pruned_is_not_missed() {
        let kept = RememberedEnd { head: link(9, "nine"), signed: link(3, "signed") };
        let pruned = ObservedChain { remembered_checkpoint: None, oldest: 6, ..seen(kept) };
        assert_eq!(ChainMemory::Kept(kept).check(&pruned, ProcessKnowledge::default()), Continuation::GoesOn(kept));
        let told = ProcessKnowledge { known: Some(link(2, "two")), went_back: false };
        assert_eq!(
            ChainMemory::Kept(kept).check(&pruned, told),
            Continuation::GoesOn(kept),
            "a process that was away for long"
        );
    }
}
