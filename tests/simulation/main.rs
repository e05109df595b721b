//! The worker's and the sweeper's own code under paused time, over the model of the queue and models
//! of Postgres and the platforms; whoever it is may die or freeze at any await. All chance comes from
//! a seed: the same seed tells the same story, byte for byte.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails here fails as it should"
)]

mod fleet;
mod life;
mod plan;
mod postgres;
mod process;
mod redis;
mod vendor;
mod world;

use plan::{Mood, Plan};

/// Lives that are told to make a plan smaller.
const SHRINKING: usize = 400;

/// The same plan with as little in it as still breaks a law.
fn shrunk(plan: Plan) -> Plan {
    let (mut plan, mut told) = (plan, 0);
    'smaller: loop {
        for less in plan.less() {
            told += 1;
            if told > SHRINKING {
                return plan;
            }
            if life::tell(&less).1.is_some() {
                plan = less;
                continue 'smaller;
            }
        }
        return plan;
    }
}

/// Tells all these lives. The first that breaks a law is told with the least that it needs.
fn check(seeds: std::ops::Range<u64>, mood: Mood) {
    for seed in seeds {
        let plan = Plan::new(seed, mood);
        if let (_, Some(first)) = life::tell(&plan) {
            let plan = shrunk(plan);
            let (story, broken) = life::tell(&plan);
            let broken = broken.unwrap_or_default();
            panic!("seed {seed}: {first}\nshrunk: {broken}\n{plan:#?}\n{story}");
        }
    }
}

/// How many seeds: `usual`, or `long` with `--long`; or those of `SYNCLINE_SEEDS=from..to`.
fn seeds(usual: u64, long: u64) -> std::ops::Range<u64> {
    let given = std::env::var("SYNCLINE_SEEDS").ok().and_then(|given| {
        let (from, to) = given.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let long_tests = std::env::var_os("SYNCLINE_LONG_TESTS").is_some();
    given.unwrap_or(0..if long_tests { long } else { usual })
}

#[test]
fn whoever_dies_or_freezes_at_any_await_nothing_is_lost_and_no_window_is_too_full() {
    check(seeds(200, 5_000), Mood::Wild);
}

#[test]
fn a_stop_uses_no_attempt_and_ends_in_time() {
    check(seeds(60, 1_000), Mood::Stops);
}

#[test]
fn where_nothing_goes_wrong_all_is_mirrored_soon_and_no_lease_ends_by_itself() {
    check(seeds(40, 500), Mood::Calm);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in [3, 11, 12] {
        let plan = Plan::new(seed, Mood::Wild);
        let (first, broken) = life::tell(&plan);
        assert_eq!(broken, None, "{first}");
        assert!(first.lines().count() > 50, "{first}");
        assert_eq!(first, life::tell(&plan).0);
    }
}
