//! Recent failures, in bounded memory.

use std::time::Duration;

use model::Timestamp;
use model::throttle::{AccountBudget, FailureCount, GuessAdmission, KnownFailures};
use quick_cache::unsync::Cache;

use crate::auth::throttle::attempt::{
    AttemptCounters, FailureCounter, FreeFailures, GuessedAccount, KnownClient, NetworkPrefix, SignInAttempt,
};

/// Entries of each kind.
const MAX_REMEMBERED: usize = 50_000;

/// For how long the same wrong password is not a further failure.
const REPEATED_FOR: Duration = Duration::from_hours(1);

/// Failures by counter. Bounded (the oldest are evicted), so made-up logins cannot exhaust memory, and no kind of
/// counter evicts another.
pub(crate) struct FailureHistory {
    known: Cache<KnownClient, KnownFailures>,
    accounts: Cache<GuessedAccount, AccountBudget>,
    accounts_from: Cache<FailureCounter, FailureCount>,
    networks: Cache<FailureCounter, FailureCount>,
    wrong: Cache<[u8; 16], Timestamp>,
}

impl Default for FailureHistory {
    fn default() -> Self {
        Self {
            known: Cache::new(MAX_REMEMBERED),
            accounts: Cache::new(MAX_REMEMBERED),
            accounts_from: Cache::new(MAX_REMEMBERED),
            networks: Cache::new(MAX_REMEMBERED),
            wrong: Cache::new(MAX_REMEMBERED),
        }
    }
}

impl FailureHistory {
    pub(super) fn account(&self, account: GuessedAccount) -> AccountBudget {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    pub(super) fn change<T>(&mut self, account: GuessedAccount, change: impl FnOnce(&mut AccountBudget) -> T) -> T {
        let mut budget = self.account(account);
        let answer = change(&mut budget);
        self.accounts.insert(account, budget);
        answer
    }

    fn of_known(&self, known: KnownClient) -> KnownFailures {
        self.known.get(&known).copied().unwrap_or_default()
    }

    /// Failures at an account from one network, or from a network.
    fn of(&self, counter: &FailureCounter) -> FailureCount {
        self.accounts_from.get(counter).or_else(|| self.networks.get(counter)).copied().unwrap_or_default()
    }

    /// A known browser is counted by itself; a stranger by account and networks.
    pub(super) fn counters(&self, attempt: &SignInAttempt, now: Timestamp) -> AttemptCounters {
        let known = attempt.known.filter(|known| self.of_known(*known).is_known(now));
        known.map_or_else(|| attempt.counters(), AttemptCounters::of_known)
    }

    /// Recent wrong guesses at the account. Attempts at accounts with fewer go first.
    pub(super) fn failures(&self, attempt: &SignInAttempt, now: Timestamp) -> u32 {
        attempt.account.map_or(u32::MAX, |account| self.account(account).failures(now, account.ceiling()))
    }

    fn is_calm(&self, attempt: &SignInAttempt, now: Timestamp) -> bool {
        attempt.account.is_some_and(|account| self.account(account).is_calm(now, account.ceiling()))
    }

    pub(super) fn admit(
        &self,
        attempt: &SignInAttempt,
        counter: &FailureCounter,
        now: Timestamp,
        free: FreeFailures,
        under_way: u32,
    ) -> GuessAdmission {
        let free = free.by(counter);
        match counter {
            FailureCounter::Known(known) => self.of_known(*known).failures.admit(now, free, under_way),
            FailureCounter::Account(account) => self.account(*account).admit(now, account.ceiling(), under_way),
            FailureCounter::Network(network) if self.is_calm(attempt, now) => {
                self.of(counter).admit_in_turn(now, free, network.turns(), under_way)
            }
            FailureCounter::AccountFrom(..) | FailureCounter::Network(_) => {
                self.of(counter).admit(now, free, under_way)
            }
        }
    }

    /// Whether a network of the attempt has used up its free failures.
    pub(super) fn is_noisy(&self, counters: &AttemptCounters, now: Timestamp, free: FreeFailures) -> bool {
        let is_noisy = |counter: &FailureCounter| {
            matches!(counter, FailureCounter::Network(_)) && self.of(counter).is_over_budget(now, free.by(counter))
        };
        counters.iter().any(is_noisy)
    }

    /// Counts a wrong attempt. Repeating the same login and password counts once.
    pub(super) fn add(&mut self, counters: &AttemptCounters, guess: Option<[u8; 16]>, now: Timestamp) {
        if let Some(guess) = guess {
            let is_repeated = |at: &Timestamp| now.since(*at) < REPEATED_FOR && at.since(now) < REPEATED_FOR;
            if self.wrong.get(&guess).is_some_and(is_repeated) {
                return;
            }
            self.wrong.insert(guess, now);
        }
        for counter in counters.iter() {
            self.add_to(counter, now);
        }
    }

    fn add_to(&mut self, counter: &FailureCounter, now: Timestamp) {
        match counter {
            FailureCounter::Known(known) => {
                let mut failures = self.of_known(*known);
                failures.add(now);
                self.known.insert(*known, failures);
            }
            FailureCounter::Account(account) => self.change(*account, |budget| budget.add(now, account.ceiling())),
            FailureCounter::AccountFrom(..) | FailureCounter::Network(_) => {
                let mut failures = self.of(counter);
                failures.add(now);
                let is_network = matches!(counter, FailureCounter::Network(_));
                let cache = if is_network { &mut self.networks } else { &mut self.accounts_from };
                cache.insert(*counter, failures);
            }
        }
    }

    /// A right attempt resets the browser, or the account from this network. Failures from other networks stay.
    pub(super) fn forgive(&mut self, counters: &AttemptCounters) {
        for counter in counters.iter() {
            match counter {
                FailureCounter::Known(known) => {
                    self.known.remove(known);
                }
                FailureCounter::AccountFrom(..) => {
                    self.accounts_from.remove(counter);
                }
                FailureCounter::Account(_) | FailureCounter::Network(_) => {}
            }
        }
    }

    /// Counts a request that costs something whether or not it is right, or answers how long to wait.
    pub(crate) fn count(&mut self, attempt: &SignInAttempt, now: Timestamp, free: FreeFailures) -> Option<Duration> {
        let counted = |counter: &&FailureCounter| {
            matches!(counter, FailureCounter::AccountFrom(..) | FailureCounter::Network(NetworkPrefix::Narrow(_)))
        };
        let counters = attempt.counters();
        let wait = |counter: &FailureCounter| self.of(counter).wait(now, free.by(counter));
        let wait = counters.iter().filter(counted).filter_map(wait).max();
        if wait.is_none() {
            counters.iter().filter(counted).for_each(|counter| self.add_to(counter, now));
        }
        wait
    }
}
