//! How far webhooks are trusted.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::{NoticeCounts, Notices, Observation};
use super::assert_near;

/// A record's life under a policy that looks at a fixed age: one exposure after the other.
fn life(
    changes_per_day: f64,
    truth: Notices,
    look_at_days: f64,
    exposures: usize,
) -> Vec<Observation> {
    let mut chance = SmallRng::seed_from_u64(11);
    let mut until = |rate: f64| -chance.random::<f64>().ln() / rate;
    (0..exposures)
        .map(|_| {
            let habits = truth.habits(changes_per_day, 1.0);
            let silent = until(habits.silent_per_day());
            let announced = until(truth.recall() * changes_per_day);
            let mistaken = until(truth.false_per_day());
            let exposure_days = look_at_days.min(announced).min(mistaken);
            Observation {
                exposure_days,
                changed: silent <= exposure_days || announced <= exposure_days,
                noticed: exposure_days < look_at_days,
            }
        })
        .collect()
}

#[test]
fn recall_and_false_notices_are_found_although_silent_changes_hide() {
    // Looks are rare, so that most silent changes are covered by a later notice.
    for recall in [0.3, 0.9] {
        let truth = Notices::new(recall, 0.2);
        let mut counts = NoticeCounts::default();
        for seen in life(1.0, truth, 1.5, 20_000) {
            let estimate = counts.notices();
            counts = counts.observe(&estimate, 1.0, &seen);
        }
        assert_near(counts.notices().recall(), recall, 0.05);
        assert_near(counts.notices().false_per_day(), 0.2, 0.2);
    }
}

#[test]
fn nothing_known_is_half() {
    let notices = NoticeCounts::default().notices();
    assert_near(notices.recall(), 0.5, 1e-12);
    assert_near(notices.false_per_day(), 0.0, 0.0);
}

#[test]
fn old_counts_are_forgotten() {
    let counts = NoticeCounts {
        announced: 90.0,
        expected: 90.0,
        silent: 10.0,
        silent_exposure: 90.0,
        false_notices: 4.0,
        exposure_days: 8.0,
    };
    let after = counts.forget(7.0);
    assert_near(after.announced, 88.2, 1e-9);
    assert_near(after.notices().recall(), counts.notices().recall(), 0.01);
}

#[test]
fn habits_are_split_by_recall() {
    let habits = Notices::new(0.9, 0.3).habits(10.0, 2.0);
    assert_near(habits.silent_per_day(), 1.0, 1e-9);
    assert_near(habits.resets_per_day(), 9.3, 1e-9);
    assert_near(habits.weight(), 2.0, 0.0);
}
