//! What an installation remembers of its chain, and where the chain goes on if the database shows another.

use serde::{Deserialize, Serialize};

use super::chain::{Hash, Head, Link};
use crate::Timestamp;

/// The newest seal, and the newest checkpoint with SHA-256 of its JWS. Written with every seal and every checkpoint, in the
/// same commit, and sealed under a key that is not in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub head: Link,
    pub signed: Link,
}

impl Remembered {
    /// Of a new instance.
    pub const NOTHING_YET: Self = Self { head: Link::NONE, signed: Link::NONE };
}

/// Whether something is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Of a database that a version wrote which remembered nothing; or it was deleted, or replaced by what does not open.
    Lost,
    Kept(Remembered),
}

/// The chain as the database shows it, at one time.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub head: Head,
    /// Of the seal whose number is that of the remembered head.
    pub remembered_head: Option<Hash>,
    /// Of the checkpoint of the seal whose number is remembered as signed.
    pub remembered_checkpoint: Option<Hash>,
    /// Of the seal that this process knows as the newest, where that is older than the remembered one.
    pub known_head: Option<Hash>,
    /// The number of the oldest seal: what is before it was pruned, and is not missed.
    pub oldest: i64,
}

/// What this process itself knows: the newest seal that it made or saw, and whether the change feed says that the
/// database went back since.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub known: Option<Link>,
    pub went_back: bool,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident => $text:literal),+ $(,)?) => {
        /// Why a chain does not go on from what was known of it.
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
    /// See [`Memory::Lost`]. Right after the upgrade from a version that remembered nothing this is as it has to be.
    NothingRemembered => "nothing-remembered",
    /// The remembered head is not there, or another seal has its number. A database that goes back takes its memory along,
    /// so this is nobody's failover.
    HeadReplaced => "head-replaced",
    /// As before, of the newest checkpoint.
    CheckpointReplaced => "checkpoint-replaced",
    /// Seals were put behind the remembered head by a version that remembers nothing, or by somebody else.
    UnknownSeals => "unknown-seals",
    /// The database and what it remembers are of an earlier time than this process knows, and the change feed says so too:
    /// a failover to a standby that was behind, or a backup that was restored under running servers.
    DatabaseWentBack => "database-went-back",
    /// As before, and the change feed says nothing of it.
    ChainWentBack => "chain-went-back",
}

impl BreakCause {
    /// Whether losing what was committed explains it. What no loss explains was done by somebody.
    pub const fn is_loss(self) -> bool {
        matches!(self, Self::DatabaseWentBack | Self::ChainWentBack)
    }
}

/// What was known of the newest seal (of the newest checkpoint, if that was replaced), and what is found instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    pub cause: BreakCause,
    pub known: Link,
    pub found: Link,
}

impl Remembered {
    fn checkpoint_is_there(&self, seen: &Seen) -> bool {
        self.signed.seal < seen.oldest
            || self.signed == Link::NONE
            || seen.remembered_checkpoint == Some(self.signed.hash)
    }
}

impl Memory {
    /// Whether the chain goes on from its newest seal; if not, the break, and what its seal follows.
    ///
    /// Where something was replaced, the seal of the break names what was known, not what is found: the seam stays to be
    /// seen for good.
    pub fn check(self, seen: &Seen, told: Told) -> Result<Remembered, (Break, Head)> {
        let found = Link { seal: seen.head.number, hash: seen.head.hash };
        let broken = |cause, known| Break { cause, known, found };
        let Self::Kept(kept) = self else {
            return Err(match told.known.filter(|known| !is_known(*known, found, seen)) {
                Some(known) => (broken(BreakCause::HeadReplaced, known), behind(known, seen.head)),
                None => (broken(BreakCause::NothingRemembered, Link::NONE), seen.head),
            });
        };
        let is_there = kept.head == Link::NONE || seen.remembered_head == Some(kept.head.hash);
        if !is_there {
            return Err((broken(BreakCause::HeadReplaced, kept.head), behind(kept.head, seen.head)));
        }
        if !kept.checkpoint_is_there(seen) {
            let hash = seen.remembered_checkpoint.unwrap_or(Hash::NONE);
            let found = Link { seal: kept.signed.seal, hash };
            return Err((Break { cause: BreakCause::CheckpointReplaced, known: kept.signed, found }, seen.head));
        }
        if found.seal > kept.head.seal {
            return Err((broken(BreakCause::UnknownSeals, kept.head), seen.head));
        }
        if let Some(known) = told.known.filter(|known| !is_known(*known, kept.head, seen)) {
            let cause = if told.went_back { BreakCause::DatabaseWentBack } else { BreakCause::ChainWentBack };
            return Err((broken(cause, known), seen.head));
        }
        Ok(kept)
    }
}

/// Whether what a process knows is still in the chain.
fn is_known(known: Link, head: Link, seen: &Seen) -> bool {
    match known.seal.cmp(&head.seal) {
        std::cmp::Ordering::Equal => known == head,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Less => {
            known == Link::NONE || known.seal < seen.oldest || seen.known_head == Some(known.hash)
        }
    }
}

/// Behind everything that is there, and naming what was known.
fn behind(known: Link, found: Head) -> Head {
    Head { number: known.seal.max(found.number), hash: known.hash, at: found.at.max(Timestamp(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(seal: i64, text: &str) -> Link {
        Link { seal, hash: Hash::of(text.as_bytes()) }
    }

    fn head(link: Link) -> Head {
        Head { number: link.seal, hash: link.hash, at: Timestamp(7) }
    }

    /// A chain whose head and checkpoint are as they are remembered.
    fn seen(kept: Remembered) -> Seen {
        Seen {
            head: head(kept.head),
            remembered_head: Some(kept.head.hash),
            remembered_checkpoint: Some(kept.signed.hash),
            known_head: None,
            oldest: 1,
        }
    }

    #[test]
    fn the_chain_goes_on_or_breaks_by_what_is_remembered_and_what_is_there() {
        use BreakCause::{
            ChainWentBack, CheckpointReplaced, DatabaseWentBack, HeadReplaced, NothingRemembered, UnknownSeals,
        };
        let kept = Remembered { head: link(9, "nine"), signed: link(7, "signed") };
        let here = seen(kept);
        let knows = |known, went_back| Told { known: Some(known), went_back };
        let other = Seen { head: head(link(9, "other")), remembered_head: Some(Hash::of(b"other")), ..here };
        let cut = Seen { head: head(link(6, "six")), remembered_head: None, ..here };
        let longer = Seen { head: head(link(11, "eleven")), ..here };
        let cases: [(&str, Memory, Seen, Told, Option<(BreakCause, Link, i64, Hash)>); 17] = [
            ("as it is remembered", Memory::Kept(kept), here, Told::default(), None),
            ("as this process knows it", Memory::Kept(kept), here, knows(kept.head, false), None),
            (
                "a new instance",
                Memory::Kept(Remembered::NOTHING_YET),
                seen(Remembered::NOTHING_YET),
                Told::default(),
                None,
            ),
            (
                "another seal in the head's place",
                Memory::Kept(kept),
                other,
                Told::default(),
                Some((HeadReplaced, kept.head, 9, kept.head.hash)),
            ),
            (
                "the end cut off",
                Memory::Kept(kept),
                cut,
                Told::default(),
                Some((HeadReplaced, kept.head, 9, kept.head.hash)),
            ),
            (
                "the end written anew, and longer",
                Memory::Kept(kept),
                Seen { head: head(link(12, "new")), remembered_head: Some(Hash::of(b"new nine")), ..here },
                Told::default(),
                Some((HeadReplaced, kept.head, 12, kept.head.hash)),
            ),
            (
                "that the feed went back explains no replaced head",
                Memory::Kept(kept),
                other,
                knows(kept.head, true),
                Some((HeadReplaced, kept.head, 9, kept.head.hash)),
            ),
            (
                "no checkpoint",
                Memory::Kept(kept),
                Seen { remembered_checkpoint: None, ..here },
                Told::default(),
                Some((CheckpointReplaced, kept.signed, 9, kept.head.hash)),
            ),
            (
                "another checkpoint",
                Memory::Kept(kept),
                Seen { remembered_checkpoint: Some(Hash::of(b"x")), ..here },
                Told::default(),
                Some((CheckpointReplaced, kept.signed, 9, kept.head.hash)),
            ),
            (
                "seals of an older version",
                Memory::Kept(kept),
                longer,
                knows(kept.head, false),
                Some((UnknownSeals, kept.head, 11, Hash::of(b"eleven"))),
            ),
            (
                "nothing remembered",
                Memory::Lost,
                here,
                Told::default(),
                Some((NothingRemembered, Link::NONE, 9, kept.head.hash)),
            ),
            (
                "nothing remembered, but this process knows the head",
                Memory::Lost,
                here,
                knows(kept.head, false),
                Some((NothingRemembered, Link::NONE, 9, kept.head.hash)),
            ),
            (
                "nothing remembered, and another head than this process knows",
                Memory::Lost,
                cut,
                knows(kept.head, false),
                Some((HeadReplaced, kept.head, 9, kept.head.hash)),
            ),
            (
                "the database went back with its memory",
                Memory::Kept(kept),
                here,
                knows(link(12, "lost"), true),
                Some((DatabaseWentBack, link(12, "lost"), 9, kept.head.hash)),
            ),
            (
                "the same, and no feed says so",
                Memory::Kept(kept),
                here,
                knows(link(12, "lost"), false),
                Some((ChainWentBack, link(12, "lost"), 9, kept.head.hash)),
            ),
            (
                "it went back, and another node went on",
                Memory::Kept(kept),
                Seen { known_head: Some(Hash::of(b"another")), ..here },
                knows(link(8, "eight"), true),
                Some((DatabaseWentBack, link(8, "eight"), 9, kept.head.hash)),
            ),
            (
                "another node went on",
                Memory::Kept(kept),
                Seen { known_head: Some(Hash::of(b"eight")), ..here },
                knows(link(8, "eight"), true),
                None,
            ),
        ];
        for (name, memory, seen, told, expected) in cases {
            let broken = memory.check(&seen, told).err();
            let shown = broken.map(|(broken, base)| (broken.cause, broken.known, base.number, base.hash));
            assert_eq!(shown, expected, "{name}");
        }
    }

    #[test]
    fn what_was_pruned_is_not_missed() {
        let kept = Remembered { head: link(9, "nine"), signed: link(3, "signed") };
        let pruned = Seen { remembered_checkpoint: None, oldest: 6, ..seen(kept) };
        assert_eq!(Memory::Kept(kept).check(&pruned, Told::default()), Ok(kept));
        let told = Told { known: Some(link(2, "two")), went_back: false };
        assert_eq!(Memory::Kept(kept).check(&pruned, told), Ok(kept), "a process that was away for long");
    }
}
