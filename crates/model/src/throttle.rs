//! Throttling of guessed passwords and codes: delays grow, a ceiling limits guesses, and no client's guesses lock out
//! the user (`identity.md` §4.1).

use std::time::Duration;

use crate::Timestamp;

/// Older failures no longer count.
pub const WINDOW: Duration = Duration::from_mins(10);

const LONGEST: Duration = Duration::from_mins(1);

/// Why an attempt is not checked now. Of two reasons, the longer wait counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Throttled {
    pub wait: Duration,
    /// The account's [`GuessCeiling`] for unauthenticated clients is used up, so no address has a shorter wait.
    pub is_spent: bool,
}

impl Throttled {
    pub const fn for_a_while(wait: Duration) -> Self {
        Self { wait, is_spent: false }
    }
}

/// Whether an attempt may be checked. Of several counters, the greatest value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuessAdmission {
    Now,
    /// After a block of the account's ceiling is leased for this node.
    Lease,
    /// Concurrent attempts hold all places. Their outcomes decide.
    AfterOthers,
    Refused(Throttled),
}

/// The maximum of distinct wrong guesses at one account by unauthenticated clients of all networks: `at_once`, and one
/// more per `every`. It is a bucket in the database. Nodes lease blocks of it, and each node has [`FREE_ON_A_NODE`]
/// guesses before its first lease. So in any [`Self::span`] at most
/// `at_once + (span + BLOCK_LIFETIME) / every + nodes * FREE_ON_A_NODE` guesses are compared: for both ceilings 79 and
/// five for each node, at most 100 with four nodes.
#[derive(Clone, Copy, Debug)]
pub struct GuessCeiling {
    pub at_once: u32,
    pub every: Duration,
    /// The time to which the ceiling applies. After a span without failures, the count of a node starts again.
    pub span: Duration,
}

/// Wrong passwords per hour.
pub const PASSWORDS: GuessCeiling =
    GuessCeiling { at_once: 40, every: Duration::from_secs(100), span: Duration::from_hours(1) };
/// Wrong second-factor codes per day.
pub const CODES: GuessCeiling =
    GuessCeiling { at_once: 40, every: Duration::from_mins(40), span: Duration::from_hours(24) };

/// Wrong guesses at an account that a node allows without a lease, so that typing errors cause no database write.
pub const FREE_ON_A_NODE: u32 = 5;
/// Guesses in a lease.
pub const BLOCK: u32 = 10;
/// Remembered networks per user.
pub const MAX_KNOWN_NETWORKS: u32 = 16;
/// A legacy client's network stays known for this long after a correct password.
pub const NETWORK_KNOWN_FOR: Duration = Duration::from_hours(30 * 24);

/// A node may use a lease for this long.
pub const BLOCK_LIFETIME: Duration = Duration::from_mins(5);

impl GuessCeiling {
    /// Time in which the bucket gains a block.
    pub fn block(self) -> Duration {
        self.every * BLOCK
    }

    /// Time in which the bucket fills completely.
    pub fn capacity(self) -> Duration {
        self.every * self.at_once
    }

    /// Time until a bucket that is full at `full_at` holds a block.
    pub fn until_block(self, now: Timestamp, full_at: Timestamp) -> Duration {
        full_at.plus(self.block()).minus(self.capacity()).since(now)
    }
}

/// One node's state of unauthenticated guesses at one account.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountBudget {
    /// Distinct failures since the last span without failures.
    failures: u32,
    last: Timestamp,
    /// Guesses left in the leased block.
    left: u32,
    leased_at: Timestamp,
    spent_until: Timestamp,
    told_at: Option<Timestamp>,
}

impl AccountBudget {
    /// Distinct failures since the last span without failures.
    pub fn failures(&self, now: Timestamp, ceiling: GuessCeiling) -> u32 {
        let is_over = now.since(self.last) >= ceiling.span || self.last.since(now) > ceiling.span;
        if is_over { 0 } else { self.failures }
    }

    /// Whether the account is not under attack. Then no network's failures delay it for long.
    pub fn is_calm(&self, now: Timestamp, ceiling: GuessCeiling) -> bool {
        self.failures(now, ceiling) < FREE_ON_A_NODE
    }

    const fn leased(&self, now: Timestamp) -> u32 {
        let age = now.0.saturating_sub(self.leased_at.0);
        if age >= 0 && age < 1_000_000 * BLOCK_LIFETIME.as_secs().cast_signed() { self.left } else { 0 }
    }

    pub fn admit(&self, now: Timestamp, ceiling: GuessCeiling, under_way: u32) -> GuessAdmission {
        let free = FREE_ON_A_NODE.saturating_sub(self.failures(now, ceiling));
        let left = free + self.leased(now);
        if under_way < left {
            return GuessAdmission::Now;
        }
        let wait = self.spent_until.since(now);
        // After the clock stepped back, the wait must not last longer than the ceiling.
        let is_spent = !wait.is_zero() && wait <= ceiling.capacity();
        match () {
            () if left > 0 || (is_spent && under_way > 0) => GuessAdmission::AfterOthers,
            () if is_spent => GuessAdmission::Refused(Throttled { wait, is_spent: true }),
            () => GuessAdmission::Lease,
        }
    }

    pub fn add(&mut self, now: Timestamp, ceiling: GuessCeiling) {
        let failures = self.failures(now, ceiling);
        if failures >= FREE_ON_A_NODE {
            self.left = self.leased(now).saturating_sub(1);
        }
        self.failures = failures.saturating_add(1);
        // Attempts end in a different order from their start. The latest time counts.
        self.last = if failures == 0 { now } else { self.last.max(now) };
    }

    pub const fn lease(&mut self, now: Timestamp) {
        (self.left, self.leased_at) = (BLOCK, now);
    }

    pub const fn spent(&mut self, until: Timestamp) {
        self.spent_until = until;
    }

    /// Whether to send a notification of the attack now: once a day.
    pub fn tell(&mut self, now: Timestamp) -> bool {
        const DAY: Duration = Duration::from_hours(24);
        let is_due = self.told_at.is_none_or(|told| now.since(told) >= DAY || told.since(now) >= DAY);
        if is_due {
            self.told_at = Some(now);
        }
        is_due
    }
}

/// Failures of a known browser or network: one with an earlier correct password. Other clients cannot use them up.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownFailures {
    pub failures: FailureCount,
    stranger_until: Timestamp,
}

impl KnownFailures {
    /// After this many failures within [`WINDOW`], the browser or network is not known for an hour: a browser may be
    /// stolen.
    const MAX: u32 = 10;
    const STRANGER_FOR: Duration = Duration::from_hours(1);

    pub fn is_known(&self, now: Timestamp) -> bool {
        let left = self.stranger_until.since(now);
        left.is_zero() || left > Self::STRANGER_FOR
    }

    pub fn add(&mut self, now: Timestamp) {
        self.failures.add(now);
        if self.failures.count >= Self::MAX {
            *self = Self { failures: FailureCount::default(), stranger_until: now.plus(Self::STRANGER_FOR) };
        }
    }
}

/// Failures of one account or one address.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailureCount {
    count: u32,
    last: Timestamp,
}

impl FailureCount {
    /// The wait before the next attempt is checked; `None` if it may be checked at once. The delay starts at one second
    /// and doubles up to one minute.
    pub fn wait(&self, now: Timestamp, free: u32) -> Option<Duration> {
        if self.is_over(now) {
            return None;
        }
        let paid = self.count.checked_sub(free.max(1))?;
        let delay = Duration::from_secs(1 << paid.min(10)).min(LONGEST);
        delay.checked_sub(now.since(self.last)).filter(|wait| !wait.is_zero())
    }

    /// Whether one more attempt may be checked beside the concurrent ones. Each may turn out wrong, so together with
    /// the failures they never exceed `free`. After that, one at a time.
    pub fn admit(&self, now: Timestamp, free: u32, under_way: u32) -> GuessAdmission {
        match self.wait(now, free) {
            Some(wait) if under_way == 0 => GuessAdmission::Refused(Throttled::for_a_while(wait)),
            Some(_) => GuessAdmission::AfterOthers,
            None => self.admit_in_turn(now, free, 1, under_way),
        }
    }

    /// As [`Self::admit`], but failures, which may be of other clients, cause no wait: after the free attempts,
    /// `turns` at a time.
    pub fn admit_in_turn(&self, now: Timestamp, free: u32, turns: u32, under_way: u32) -> GuessAdmission {
        let failures = if self.is_over(now) { 0 } else { self.count };
        let places = free.saturating_sub(failures).max(turns);
        if under_way < places { GuessAdmission::Now } else { GuessAdmission::AfterOthers }
    }

    /// Whether the free attempts are used up.
    pub fn is_over_budget(&self, now: Timestamp, free: u32) -> bool {
        !self.is_over(now) && self.count >= free.max(1)
    }

    /// Attempts end in a different order from their start. The latest time counts.
    pub fn add(&mut self, now: Timestamp) {
        if self.is_over(now) {
            *self = Self { count: 0, last: now };
        }
        self.count = self.count.saturating_add(1);
        self.last = self.last.max(now);
    }

    /// Whether all failures have lapsed. They also lapse if the clock stepped back, because a wait must not outlast
    /// that.
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.last) >= WINDOW || self.last.since(now) > LONGEST || self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(failures: u32, free: u32, seconds: i64) -> Option<u64> {
        let mut history = FailureCount::default();
        for _ in 0..failures {
            history.add(Timestamp::from_seconds(1000));
        }
        history.wait(Timestamp::from_seconds(1000 + seconds), free).map(|wait| wait.as_secs())
    }

    #[test]
    fn the_first_failures_are_free_and_then_the_delay_doubles_to_a_minute() {
        assert_eq!(after(0, 5, 0), None);
        assert_eq!(after(4, 5, 0), None);
        assert_eq!(after(5, 5, 0), Some(1));
        assert_eq!(after(6, 5, 0), Some(2));
        assert_eq!(after(10, 5, 0), Some(32));
        assert_eq!(after(11, 5, 0), Some(60));
        assert_eq!(after(4_000_000, 5, 0), Some(60), "never a lock-out");
    }

    #[test]
    fn tries_under_way_and_failures_are_never_more_than_are_free() {
        let now = Timestamp::from_seconds(1000);
        for failures in 0..12 {
            let mut history = FailureCount::default();
            for _ in 0..failures {
                history.add(now);
            }
            let free = 5_u32.saturating_sub(failures);
            for under_way in 0..8 {
                let expected = match history.wait(now, 5) {
                    None if under_way < free => GuessAdmission::Now,
                    Some(wait) if under_way == 0 => GuessAdmission::Refused(Throttled::for_a_while(wait)),
                    _ => GuessAdmission::AfterOthers,
                };
                assert_eq!(history.admit(now, 5, under_way), expected, "{failures} {under_way}");
            }
            let later = now.plus(LONGEST);
            assert_eq!(history.admit(later, 5, free.max(1)), GuessAdmission::AfterOthers, "then one at a time");
            assert_eq!(history.admit(later, 5, free.max(1) - 1), GuessAdmission::Now);
            assert_eq!(history.admit(now.plus(WINDOW), 5, 4), GuessAdmission::Now, "ten minutes forgive");
        }
    }

    #[test]
    fn of_two_counters_the_stricter_decides() {
        let wait = |seconds| GuessAdmission::Refused(Throttled::for_a_while(Duration::from_secs(seconds)));
        assert!(GuessAdmission::Now < GuessAdmission::Lease && GuessAdmission::Lease < GuessAdmission::AfterOthers);
        assert!(GuessAdmission::AfterOthers < wait(0) && wait(1) < wait(2));
    }

    #[test]
    fn a_failure_that_is_told_late_shortens_no_wait() {
        let mut history = FailureCount::default();
        for seconds in [1000, 1000, 1000, 1000, 1009, 1000] {
            history.add(Timestamp::from_seconds(seconds));
        }
        assert_eq!(history.wait(Timestamp::from_seconds(1009), 5), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_clock_that_stepped_back_holds_nobody() {
        let mut history = FailureCount::default();
        for _ in 0..5 {
            history.add(Timestamp::from_seconds(1000));
        }
        assert!(history.wait(Timestamp::from_seconds(1000), 5).is_some());
        assert!(history.wait(Timestamp::from_seconds(900), 5).is_none());
    }

    #[test]
    fn waiting_pays_and_ten_quiet_minutes_forgive() {
        assert_eq!(after(8, 5, 7), Some(1));
        assert_eq!(after(8, 5, 8), None);
        assert_eq!(after(100, 5, 600), None);
    }

    /// Guesses without a pause, as fast as blocks are leased. Returns the seconds at which guesses were compared.
    fn storm(ceiling: GuessCeiling, nodes: usize, spans: i64) -> Vec<i64> {
        let (mut budgets, mut full_at, mut compared) =
            (vec![AccountBudget::default(); nodes], Timestamp(0), Vec::new());
        let step = i64::try_from(ceiling.span.as_secs()).expect("small") / 360;
        let begin = 1_000_000;
        for second in (begin..begin + spans * 360 * step).step_by(usize::try_from(step).expect("small")) {
            let now = Timestamp::from_seconds(second);
            for budget in &mut budgets {
                loop {
                    match budget.admit(now, ceiling, 0) {
                        GuessAdmission::Now => {
                            budget.add(now, ceiling);
                            compared.push(second);
                        }
                        GuessAdmission::Lease => {
                            let wait = ceiling.until_block(now, full_at.max(now));
                            if wait.is_zero() {
                                full_at = full_at.max(now).plus(ceiling.block());
                                budget.lease(now);
                            } else {
                                budget.spent(now.plus(wait));
                            }
                        }
                        GuessAdmission::Refused(held) => {
                            assert!(held.is_spent && held.wait <= ceiling.block());
                            break;
                        }
                        GuessAdmission::AfterOthers => panic!("none is under way"),
                    }
                }
            }
        }
        compared
    }

    #[test]
    fn in_any_hour_or_day_strangers_have_at_most_a_hundred_guesses() {
        for ceiling in [PASSWORDS, CODES] {
            let span = i64::try_from(ceiling.span.as_secs()).expect("small");
            for nodes in 1..=4 {
                let compared = storm(ceiling, nodes, 5);
                let most =
                    compared.iter().map(|from| compared.iter().filter(|at| (0..span).contains(&(*at - from))).count());
                let most = most.max().expect("some");
                assert!((75..=79 + 5 * nodes).contains(&most) && most <= 100, "{most} in a span, {nodes} nodes");
            }
        }
    }

    #[test]
    fn a_lease_is_wanted_after_five_failures_and_ends() {
        let now = Timestamp::from_seconds(1_000_000);
        let mut budget = AccountBudget::default();
        for failures in 0..5 {
            assert_eq!(budget.admit(now, PASSWORDS, 4 - failures), GuessAdmission::Now);
            assert_eq!(
                budget.admit(now, PASSWORDS, 5 - failures),
                GuessAdmission::AfterOthers,
                "each may turn out wrong"
            );
            assert!(budget.is_calm(now, PASSWORDS));
            budget.add(now, PASSWORDS);
        }
        assert!(!budget.is_calm(now, PASSWORDS) && budget.is_calm(now.plus(PASSWORDS.span), PASSWORDS));
        assert_eq!(budget.admit(now, PASSWORDS, 0), GuessAdmission::Lease);
        budget.lease(now);
        assert_eq!(budget.admit(now, PASSWORDS, 9), GuessAdmission::Now);
        assert_eq!(budget.admit(now, PASSWORDS, 10), GuessAdmission::AfterOthers);
        assert_eq!(budget.admit(now.plus(BLOCK_LIFETIME), PASSWORDS, 0), GuessAdmission::Lease, "it was not used");
        for _ in 0..10 {
            budget.add(now, PASSWORDS);
        }
        assert_eq!(budget.admit(now, PASSWORDS, 0), GuessAdmission::Lease);
        budget.spent(now.plus(Duration::from_secs(100)));
        let held = Throttled { wait: Duration::from_secs(100), is_spent: true };
        assert_eq!(budget.admit(now, PASSWORDS, 0), GuessAdmission::Refused(held));
        assert_eq!(budget.admit(now, PASSWORDS, 1), GuessAdmission::AfterOthers);
        assert_eq!(
            budget.admit(now.minus(Duration::from_hours(3)), PASSWORDS, 0),
            GuessAdmission::Now,
            "another clock"
        );
    }

    #[test]
    fn an_attack_is_told_once_a_day() {
        let now = Timestamp::from_seconds(1_000_000);
        let mut budget = AccountBudget::default();
        let mut told = |hours| budget.tell(now.plus(Duration::from_hours(hours)));
        assert_eq!([told(0), told(1), told(23), told(24), told(25)], [true, false, false, true, false]);
    }

    #[test]
    fn a_known_browser_is_a_stranger_for_an_hour_after_ten_failures() {
        let now = Timestamp::from_seconds(1_000_000);
        let mut known = KnownFailures::default();
        for _ in 0..9 {
            known.add(now);
        }
        assert!(known.is_known(now) && known.failures.wait(now, 5).is_some());
        known.add(now);
        assert!(!known.is_known(now) && !known.is_known(now.plus(Duration::from_mins(59))));
        assert!(known.is_known(now.plus(Duration::from_hours(1))));
        let mut slow = KnownFailures::default();
        for minutes in 0..30 {
            slow.add(now.plus(Duration::from_mins(11 * minutes)));
        }
        assert!(slow.is_known(now.plus(Duration::from_mins(11 * 30))), "ten minutes forgive");
    }

    #[test]
    fn behind_a_noisy_network_tries_take_turns() {
        let now = Timestamp::from_seconds(1000);
        let mut history = FailureCount::default();
        for _ in 0..25 {
            history.add(now);
        }
        assert!(history.is_over_budget(now, 20) && !history.is_over_budget(now, 26));
        assert!(!history.is_over_budget(now.plus(WINDOW), 20));
        assert_eq!(history.admit_in_turn(now, 20, 1, 0), GuessAdmission::Now);
        assert_eq!(history.admit_in_turn(now, 20, 1, 1), GuessAdmission::AfterOthers);
        assert_eq!(history.admit_in_turn(now, 20, 4, 3), GuessAdmission::Now);
    }
}
