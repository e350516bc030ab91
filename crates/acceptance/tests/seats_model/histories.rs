//! Random histories: short ones that shrink to the steps that break an invariant, and one of a million steps.

use proptest::prelude::*;

use crate::town::{Broken, Event, Town};

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (1..120_u16).prop_map(|millis| Event::Pass { millis }),
        2 => (1..1300_u16).prop_map(|seconds| Event::PassLong { seconds }),
        30 => any::<(u8, u8, u8)>().prop_map(|(node, account, device)| Event::Call { node, account, device }),
        60 => any::<(u8, u8)>().prop_map(|(node, which)| Event::Work { node, which }),
        3 => any::<(u8, u8, u8)>().prop_map(|(node, account, device)| Event::Kill { node, account, device }),
        1 => any::<u8>().prop_map(|node| Event::Crash { node }),
        3 => any::<(u8, i8)>().prop_map(|(node, offset)| Event::Start { node, offset }),
        1 => Just(Event::DatabaseAway),
        2 => Just(Event::DatabaseBack),
        2 => any::<(u8, u8, u8)>().prop_map(|(seats, reserved, ceilings)| Event::Seats { seats, reserved, ceilings }),
    ]
}

fn run(events: &[Event]) -> Result<(), Broken> {
    let mut town = Town::new();
    for event in events {
        town.happen(*event)?;
        town.renew_killed_keys();
    }
    Ok(())
}

/// Whether the history breaks the invariant.
fn keeps(law: u8, events: &[Event]) -> Result<(), TestCaseError> {
    match run(events) {
        Err(Broken(broken, how)) if broken == law => Err(TestCaseError::fail(how)),
        _ => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn law_1_live_sessions_hold_the_seats_that_are_taken_and_never_more_than_there_are(
        events in proptest::collection::vec(event(), 0..600)
    ) {
        keeps(1, &events)?;
    }

    #[test]
    fn law_2_a_reserved_account_without_a_session_can_open_one(events in proptest::collection::vec(event(), 0..600)) {
        keeps(2, &events)?;
    }

    #[test]
    fn law_3_a_key_has_one_live_session(events in proptest::collection::vec(event(), 0..600)) {
        keeps(3, &events)?;
    }

    #[test]
    fn law_4_a_session_ends_with_its_timers_not_a_second_later_and_not_before(
        events in proptest::collection::vec(event(), 0..600)
    ) {
        keeps(4, &events)?;
    }

    #[test]
    fn law_5_a_kill_is_felt_at_once_on_its_node_and_within_a_second_on_every_other(
        events in proptest::collection::vec(event(), 0..600)
    ) {
        keeps(5, &events)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Beyond `sessions.md`: `seats_per_user` and `seats_per_application`.
    #[test]
    fn law_6_no_user_and_no_application_has_more_seats_than_one_may_have(
        events in proptest::collection::vec(event(), 0..600)
    ) {
        keeps(6, &events)?;
    }
}

/// The same numbers in every run.
struct Numbers(u64);

impl Numbers {
    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn event(&mut self) -> Event {
        let drawn = self.next();
        let [node, account, device, which, ..] = drawn.to_le_bytes();
        match (drawn >> 32) % 1000 {
            0..200 => Event::Pass { millis: u16::from(which) % 60 },
            200..202 => Event::PassLong { seconds: u16::from(which) * 6 },
            202..480 => Event::Call { node, account, device },
            480..970 => Event::Work { node, which },
            970..980 => Event::Kill { node, account, device },
            980..982 => Event::Crash { node },
            982..990 => Event::Start { node, offset: i8::from_le_bytes([which]) },
            990 => Event::DatabaseAway,
            991..994 => Event::DatabaseBack,
            _ => Event::Seats { seats: node, reserved: account, ceilings: device },
        }
    }
}

#[test]
fn a_million_steps_of_callers_nodes_clocks_and_crashes_keep_every_law() {
    const STEPS: u64 = 1_000_000;
    let mut numbers = Numbers(20_260_101);
    let mut town = Town::new();
    for step in 0..STEPS {
        let event = numbers.event();
        if let Err(Broken(law, how)) = town.happen(event) {
            panic!("step {step}, {event:?}: law {law}: {how}");
        }
        town.renew_killed_keys();
    }
    println!("{:?}", town.seen);
    let seen = &town.seen;
    for (what, count, least) in [
        ("opened", seen.opened, 4_000),
        ("joined", seen.joined, 5_000),
        ("served from memory", seen.from_memory, 20_000),
        ("refused", seen.refused, 10_000),
        ("refused by a ceiling", seen.refused_by_ceiling, 1_000),
        ("overtaken", seen.overtaken, 500),
        ("timed out", seen.timed_out, 1_000),
        ("killed", seen.killed, 2_000),
        ("crashed", seen.crashed, 300),
        ("without a database", seen.away, 300),
    ] {
        assert!(count >= least, "a tame history: {what} {count} times");
    }
}
