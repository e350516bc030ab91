//! Fair sharing of resources that all instances of a process use: queue places and turns.

mod channel;

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

pub use channel::{FairReceiver, FairSender, SendError, channel};

/// Limits how many places each key may take.
///
/// A key alone may take all places. Among `n` keys that hold places, each may take its first place always, and another
/// while it holds less than 1/`n` of the places. Places taken before other keys arrived are kept until they are given
/// back, so `n` keys together hold at most `max · (1 + 1/2 + … + 1/n) + n`.
pub struct Shares<K> {
    max: usize,
    held: HashMap<K, usize>,
}

impl<K> Shares<K> {
    pub fn new(max: usize) -> Self {
        Self { max, held: HashMap::new() }
    }
}

impl<K: Eq + Hash> Shares<K> {
    /// Takes a place. Fails if the key already has its share.
    #[must_use]
    pub fn take(&mut self, key: K) -> bool {
        let held = self.held.get(&key).copied().unwrap_or_default();
        let keys = self.held.len() + usize::from(held == 0);
        let is_free = held < (self.max / keys).max(1);
        if is_free {
            self.held.insert(key, held + 1);
        }
        is_free
    }

    pub fn give_back(&mut self, key: &K) {
        let held = self.held.get_mut(key).expect("only who took a place gives one back");
        *held -= 1;
        if *held == 0 {
            self.held.remove(key);
        }
    }

    /// Places held by all keys.
    pub fn held(&self) -> usize {
        self.held.values().sum()
    }
}

/// A queue per key, with [`Shares`] of the places. Keys are served in turn, one item each. A served key moves behind
/// all keys that arrived since, so a new key waits for at most one item of each other key.
pub struct FairQueue<K, T> {
    shares: Shares<K>,
    waiting: HashMap<K, VecDeque<T>>,
    /// Keys with waiting items, the next one first. Excludes the key that was served last.
    turns: VecDeque<K>,
    last: Option<K>,
    len: usize,
}

impl<K, T> FairQueue<K, T> {
    pub fn new(max: usize) -> Self {
        Self { shares: Shares::new(max), waiting: HashMap::new(), turns: VecDeque::new(), last: None, len: 0 }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<K: Clone + Eq + Hash, T> FairQueue<K, T> {
    /// Appends an item to its key's queue. Returns the item if the key already has its share.
    pub fn push(&mut self, key: K, item: T) -> Result<(), T> {
        if !self.shares.take(key.clone()) {
            return Err(item);
        }
        if let Some(items) = self.waiting.get_mut(&key) {
            items.push_back(item);
        } else {
            if self.last.as_ref() != Some(&key) {
                self.turns.push_back(key.clone());
            }
            self.waiting.insert(key, VecDeque::from([item]));
        }
        self.len += 1;
        Ok(())
    }

    /// The next item and its key.
    pub fn pop(&mut self) -> Option<(K, T)> {
        self.turns.extend(self.last.take().filter(|last| self.waiting.contains_key(last)));
        let key = self.turns.pop_front()?;
        let items = self.waiting.get_mut(&key).expect("something waits for every key that has a turn");
        let item = items.pop_front().expect("something waits for every key that has a turn");
        self.shares.give_back(&key);
        self.len -= 1;
        if items.is_empty() {
            self.waiting.remove(&key);
        }
        self.last = Some(key.clone());
        Some((key, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes items of `key` until the queue refuses one. Returns the number accepted.
    fn fill(queue: &mut FairQueue<char, usize>, key: char) -> usize {
        (0..9999).take_while(|number| queue.push(key, *number).is_ok()).count()
    }

    #[test]
    fn a_key_alone_has_everything_and_another_gets_its_share_at_once() {
        for (max, shares) in [(12, [12, 6, 4, 3]), (7, [7, 3, 2, 1]), (1, [1, 1, 1, 1]), (0, [1, 1, 1, 1])] {
            let mut queue = FairQueue::new(max);
            for (key, share) in "abcd".chars().zip(shares) {
                assert_eq!(fill(&mut queue, key), share, "{key} of {max}");
            }
            assert_eq!(queue.len(), shares.iter().sum::<usize>());
        }
    }

    #[test]
    fn keys_are_served_in_turn_and_each_in_its_order() {
        let mut queue = FairQueue::new(100);
        for (key, item) in [('a', 1), ('a', 2), ('a', 3), ('b', 4), ('a', 5), ('c', 6), ('b', 7)] {
            queue.push(key, item).expect("there is room");
        }
        let served: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(served, [('a', 1), ('b', 4), ('c', 6), ('a', 2), ('b', 7), ('a', 3), ('a', 5)]);
        assert!(queue.is_empty() && queue.waiting.is_empty() && queue.shares.held.is_empty(), "nothing stays behind");
    }

    #[test]
    fn a_newcomer_comes_before_another_item_of_who_was_served_last() {
        let mut queue = FairQueue::new(100);
        fill(&mut queue, 'a');
        let mut served = |come: &[char]| {
            for key in come {
                queue.push(*key, 0).expect("there is room");
            }
            queue.pop().expect("something waits").0
        };
        let order = [served(&[]), served(&['b']), served(&['b']), served(&[]), served(&['c', 'd']), served(&['b'])];
        assert_eq!(order, ['a', 'b', 'a', 'b', 'a', 'c']);
        assert_eq!([served(&[]), served(&[]), served(&[]), served(&[])], ['d', 'b', 'a', 'a']);
    }

    #[test]
    fn a_share_grows_when_the_others_are_done() {
        let mut queue = FairQueue::new(10);
        assert_eq!((fill(&mut queue, 'a'), fill(&mut queue, 'b')), (10, 5));
        assert_eq!(queue.push('a', 0), Err(0), "twice its share");
        while queue.pop().is_some_and(|(key, _)| key == 'a' || queue.waiting.contains_key(&'b')) {}
        assert_eq!(fill(&mut queue, 'a'), 5, "the other half of the places");
    }

    /// Compares random sequences of pushes and pops with the rules.
    #[test]
    fn whatever_comes_nobody_waits_for_more_than_one_item_of_each_other_key() {
        const MAX: usize = 24;
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).expect("31 bits") % below
        };
        for keys in 1..=7 {
            let mut queue = FairQueue::new(MAX);
            let mut waiting = vec![VecDeque::new(); keys];
            // For each waiting key: the other keys served since it was last served, or since it arrived.
            let mut passed: Vec<Vec<usize>> = vec![Vec::new(); keys];
            for number in 0..5000 {
                // Alternates phases of filling and draining.
                if next(10) < if number % 500 < 350 { 7 } else { 2 } {
                    let key = next(keys).min(next(keys));
                    let others = waiting.iter().enumerate().filter(|(other, items)| *other != key && !items.is_empty());
                    let share = (MAX / (others.count() + 1)).max(1);
                    let is_taken = queue.push(key, number).is_ok();
                    assert_eq!(is_taken, waiting[key].len() < share);
                    if is_taken {
                        waiting[key].push_back(number);
                    }
                } else if let Some((key, item)) = queue.pop() {
                    assert_eq!(waiting[key].pop_front(), Some(item), "first come, first served");
                    passed[key].clear();
                    for other in (0..keys).filter(|other| *other != key && !waiting[*other].is_empty()) {
                        assert!(!passed[other].contains(&key), "{key} was served twice while {other} waited");
                        passed[other].push(key);
                    }
                } else {
                    assert!(waiting.iter().all(VecDeque::is_empty));
                }
                let held: Vec<usize> = waiting.iter().map(VecDeque::len).collect();
                assert_eq!(queue.len(), held.iter().sum::<usize>());
                let bound: usize = (1..=keys).map(|n| MAX / n).sum();
                assert!(queue.len() <= bound + keys, "{held:?}");
            }
        }
    }
}
