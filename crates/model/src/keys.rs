//! The lifecycle of a signing key: published, then used, then kept until the last token it signed has expired.

use std::time::Duration;

use oauth::jose::Algorithm;
use oauth::secret::sha256;

use crate::Timestamp;

/// Maximum time that a key signs before its successor takes over.
pub const SIGNING_PERIOD: Duration = Duration::from_hours(24 * 90);

/// Successors are made up to this long before the deadline, so that instances created on the same day do not all rotate
/// on the same day.
const SPREAD: Duration = Duration::from_hours(24 * 7);

/// A key is published this long before it signs, so that every cached copy of the key set contains it.
pub const PUBLISHED_BEFORE_USE: Duration = Duration::from_hours(24);

/// A key stays published this long after its last signature. Longer than the lifetime of any token.
pub const KEPT_AFTER_USE: Duration = Duration::from_hours(48);

/// When a key starts to sign, and when it was retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTimes {
    pub kid: String,
    pub algorithm: Algorithm,
    pub signs_from: Timestamp,
    pub retired_at: Option<Timestamp>,
}

impl KeyTimes {
    /// When the successor begins to sign, if it is created on time: up to [`SPREAD`] before the end of
    /// [`SIGNING_PERIOD`], by a hash of `kid`.
    pub fn successor_from(&self) -> Timestamp {
        let digest = sha256(self.kid.as_bytes());
        let drawn = u64::from_be_bytes(*digest.first_chunk().expect("8 of 32 bytes"));
        let earlier = Duration::from_secs(drawn % SPREAD.as_secs());
        self.signs_from.plus(SIGNING_PERIOD).minus(earlier)
    }
}

/// An action due now for one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyDuty {
    /// Create a key that signs from this time.
    Create { signs_from: Timestamp },
    /// A successor signs now: this key only verifies.
    Retire { kid: String },
    /// All tokens that it signed have expired.
    Delete { kid: String },
}

/// The current signing key: the newest whose time has come.
pub fn signing<'a>(
    keys: impl IntoIterator<Item = &'a KeyTimes>,
    algorithm: Algorithm,
    now: Timestamp,
) -> Option<&'a KeyTimes> {
    keys.into_iter()
        .filter(|key| key.algorithm == algorithm && key.signs_from <= now && key.retired_at.is_none())
        .max_by_key(|key| key.signs_from)
}

/// Actions of automatic rotation for one algorithm; empty if none is due.
pub fn duties(keys: &[KeyTimes], algorithm: Algorithm, now: Timestamp) -> Vec<KeyDuty> {
    let mine = || keys.iter().filter(|key| key.algorithm == algorithm);
    let mut duties = Vec::new();
    match signing(mine(), algorithm, now) {
        None => duties.push(KeyDuty::Create { signs_from: now }),
        Some(current) => {
            let successor_waits = mine().any(|key| key.signs_from > now && key.retired_at.is_none());
            let due = current.successor_from().minus(PUBLISHED_BEFORE_USE) <= now;
            if due && !successor_waits {
                duties.push(KeyDuty::Create { signs_from: now.plus(PUBLISHED_BEFORE_USE) });
            }
            duties.extend(
                mine()
                    .filter(|key| key.signs_from < current.signs_from && key.retired_at.is_none())
                    .map(|key| KeyDuty::Retire { kid: key.kid.clone() }),
            );
        }
    }
    let dead = |key: &&KeyTimes| key.retired_at.is_some_and(|at| at.plus(KEPT_AFTER_USE) <= now);
    duties.extend(mine().filter(dead).map(|key| KeyDuty::Delete { kid: key.kid.clone() }));
    duties
}

/// Why a manual rotation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationRefusal {
    #[error("nothing is signed with this algorithm")]
    NotUsed,
    #[error("a successor is published already and takes over by itself")]
    SuccessorWaits,
}

/// When the successor signs in a manual rotation. As in automatic rotation, only after every cached copy of the key set
/// contains it.
pub fn rotation(keys: &[KeyTimes], algorithm: Algorithm, now: Timestamp) -> Result<Timestamp, RotationRefusal> {
    let mut mine = keys.iter().filter(|key| key.algorithm == algorithm && key.retired_at.is_none()).peekable();
    if mine.peek().is_none() {
        return Err(RotationRefusal::NotUsed);
    }
    if mine.any(|key| key.signs_from > now) {
        return Err(RotationRefusal::SuccessorWaits);
    }
    Ok(now.plus(PUBLISHED_BEFORE_USE))
}

/// The keys to remove at once when one key of an algorithm may be compromised: all of that algorithm, because they were
/// stored together.
pub fn compromised(keys: &[KeyTimes], algorithm: Algorithm) -> Result<Vec<&KeyTimes>, RotationRefusal> {
    let mine: Vec<&KeyTimes> = keys.iter().filter(|key| key.algorithm == algorithm).collect();
    if mine.is_empty() { Err(RotationRefusal::NotUsed) } else { Ok(mine) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn key(kid: &str, from_day: i64, retired_day: Option<i64>) -> KeyTimes {
        KeyTimes {
            kid: kid.into(),
            algorithm: Algorithm::Es256,
            signs_from: Timestamp::from_seconds(from_day * DAY),
            retired_at: retired_day.map(|day| Timestamp::from_seconds(day * DAY)),
        }
    }

    fn on_day(keys: &[KeyTimes], day: i64) -> Vec<KeyDuty> {
        duties(keys, Algorithm::Es256, Timestamp::from_seconds(day * DAY))
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_kept_after() {
        let at = |day: i64| Timestamp::from_seconds(day * DAY);
        assert_eq!(on_day(&[], 0), [KeyDuty::Create { signs_from: at(0) }]);
        let first = key("a", 0, None);
        let (latest, over) = (at(90), first.successor_from());
        assert!(at(83) < over && over <= latest, "{over:?}");
        let due = over.minus(PUBLISHED_BEFORE_USE);
        let moment_before = due.minus(Duration::from_secs(1));
        assert_eq!(duties(std::slice::from_ref(&first), Algorithm::Es256, moment_before), []);
        assert_eq!(duties(&[first], Algorithm::Es256, due), [KeyDuty::Create { signs_from: over }]);
        let two = [key("a", 0, None), key("b", 90, None)];
        assert_eq!(on_day(&two, 89), []);
        assert_eq!(signing(&two, Algorithm::Es256, at(89)).map(|k| k.kid.as_str()), Some("a"));
        assert_eq!(signing(&two, Algorithm::Es256, at(90)).map(|k| k.kid.as_str()), Some("b"));
        assert_eq!(on_day(&two, 90), [KeyDuty::Retire { kid: "a".into() }]);
        let retired = [key("a", 0, Some(90)), key("b", 90, None)];
        assert_eq!(on_day(&retired, 91), []);
        assert_eq!(on_day(&retired, 92), [KeyDuty::Delete { kid: "a".into() }]);
    }

    #[test]
    fn keys_that_were_made_on_one_day_are_not_replaced_on_one_day() {
        let day = |kid: String| (key(&kid, 0, None).successor_from().seconds() - 1) / DAY;
        let mut days = [0; 90];
        for number in 0..1000 {
            days[usize::try_from(day(number.to_string())).expect("within 90 days")] += 1;
        }
        assert!(days[83..].iter().all(|keys| (100..200).contains(keys)), "{days:?}");
    }

    #[test]
    fn a_key_is_made_by_hand_where_none_waits() {
        let at = |day: i64| Timestamp::from_seconds(day * DAY);
        let rotated = |keys: &[KeyTimes], algorithm| rotation(keys, algorithm, at(10));
        let one = [key("a", 0, None)];
        assert_eq!(rotated(&one, Algorithm::Es256), Ok(at(11)));
        assert_eq!(rotated(&one, Algorithm::Rs256), Err(RotationRefusal::NotUsed));
        let waits = [key("a", 0, None), key("b", 11, None)];
        assert_eq!(rotated(&waits, Algorithm::Es256), Err(RotationRefusal::SuccessorWaits));
        let all = [key("a", 0, Some(5)), key("b", 5, None), key("c", 11, None)];
        assert_eq!(compromised(&all, Algorithm::Es256).map(|keys| keys.len()), Ok(3));
        assert_eq!(compromised(&all, Algorithm::Rs256), Err(RotationRefusal::NotUsed));
    }

    #[test]
    fn a_server_that_slept_through_a_rotation_goes_on() {
        assert_eq!(on_day(&[key("a", 0, None)], 400).len(), 1, "the old key signs until its successor is published");
        assert!(signing(&[key("a", 0, None)], Algorithm::Es256, Timestamp::from_seconds(400 * DAY)).is_some());
        assert_eq!(on_day(&[key("a", 0, None)], 0).len(), 0);
        assert!(signing(&[key("a", 0, None)], Algorithm::Rs256, Timestamp(0)).is_none());
    }
}
