//! Ingress, sweeper, workers, a platform and both stores as a discrete simulation over the model of
//! the queue: thousands of seeds, and anybody may die between any two steps. Time stands still but
//! for events, and all chance comes from the seed: the same seed tells the same story, byte for byte.

mod platform;
mod world;

use world::{Blows, World};

/// Blows of every kind.
const ALL: Blows = Blows {
    deaths: 0.05,
    late: 0.04,
    lost_answers: 0.05,
    lost_enqueues: 0.15,
    flushes: 2,
    replacements: 1,
};

/// Which blows a failing seed needs: each kind is left out while it goes on failing.
fn shrunk(seed: u64, blows: Blows) -> Blows {
    let mut needed = blows;
    for weaker in [
        |blows: Blows| Blows { deaths: 0.0, ..blows },
        |blows: Blows| Blows { late: 0.0, ..blows },
        |blows: Blows| Blows { lost_answers: 0.0, ..blows },
        |blows: Blows| Blows { lost_enqueues: 0.0, ..blows },
        |blows: Blows| Blows { flushes: 0, ..blows },
        |blows: Blows| Blows { replacements: 0, ..blows },
    ] {
        if World::new(seed, weaker(needed)).run().is_err() {
            needed = weaker(needed);
        }
    }
    needed
}

/// The first seed with which something does not hold, and its story.
fn broken(seeds: std::ops::Range<u64>, blows: Blows) -> Option<String> {
    for seed in seeds {
        if let Err(first) = World::new(seed, blows).run() {
            let needed = shrunk(seed, blows);
            let mut world = World::new(seed, needed);
            let broken = world.run().err().unwrap_or(first);
            return Some(format!("seed {seed} with {needed:?}: {broken}\n{}", world.story()));
        }
    }
    None
}

#[test]
fn whoever_dies_whenever_nothing_is_lost_or_done_twice_and_no_window_is_too_full() {
    let seeds = if std::env::var_os("SYNCLINE_LONG_TESTS").is_some() { 20_000 } else { 1_000 };
    if let Some(told) = broken(0..seeds, ALL) {
        panic!("{told}");
    }
}

#[test]
fn without_blows_every_change_is_looked_at_within_a_moment() {
    if let Some(told) = broken(0..100, Blows::default()) {
        panic!("{told}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in [3, 11] {
        let story = || {
            let mut world = World::new(seed, ALL);
            world.run().unwrap();
            world.story()
        };
        let first = story();
        assert!(first.lines().count() > 50);
        assert_eq!(first, story());
    }
}
