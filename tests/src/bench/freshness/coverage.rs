//! Do the bounds of `common::confidence` hold? By simulation, larger than in the unit tests.

use common::confidence::{DriftAlarm, Outcomes, RiseAlarm, clopper_pearson};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::bench::figure::{Figures, Reach};

/// Of all intervals and alarms here.
const ALPHA: f64 = 0.05;
/// Samples of one life.
const SAMPLES: u64 = 5_000;

/// Records the share of lives in which a bound was ever wrong, among `lives`.
pub(super) fn measure(figures: &mut Figures, lives: u64, seed: u64) {
    let at_most = Some(Reach::AtMost(ALPHA));
    for p in [0.001, 0.01, 0.1] {
        let wrong = share(lives, seed, |chance| is_ever_missed(p, chance));
        let name = format!("confidence sequence ever wrong, drift {p}");
        figures.record(&name, "share", at_most, wrong);
        let wrong = share(lives, seed, |chance| {
            let mut sample = Outcomes::default();
            for _ in 0..300 {
                sample.add(chance.random::<f64>() < p);
            }
            let interval = clopper_pearson(sample, ALPHA);
            !(interval.lower..=interval.upper).contains(&p)
        });
        figures.record(
            &format!("Clopper-Pearson wrong, 300 samples, drift {p}"),
            "share",
            at_most,
            wrong,
        );
    }
    let alarm = DriftAlarm::new(0.01);
    let rings = share(lives, seed, |chance| {
        let mut sample = Outcomes::default();
        (0..SAMPLES).any(|_| {
            sample.add(chance.random::<f64>() < 0.01);
            alarm.rings(sample, ALPHA)
        })
    });
    figures.record("drift alarm ever false, drift at its limit", "share", at_most, rings);
    let quiet = mean_run(lives, seed, 0.01, 0);
    let least = Some(Reach::AtLeast(100.0));
    figures.record("rise alarm, samples to a false one, alpha 0.01", "samples", least, quiet);
    let after = mean_run(lives, seed, 0.05, 500);
    figures.record("rise alarm, samples after a rise from 1 % to 5 %", "samples", None, after);
}

/// The interval is looked at after every tenth sample at first, and ever more seldom.
fn is_ever_missed(p: f64, chance: &mut SmallRng) -> bool {
    let mut sample = Outcomes::default();
    let mut next = 10;
    for count in 1..=SAMPLES {
        sample.add(chance.random::<f64>() < p);
        if count == next {
            next += 10 + count / 20;
            let interval = sample.interval(ALPHA);
            if !(interval.lower..=interval.upper).contains(&p) {
                return true;
            }
        }
    }
    false
}

/// The mean number of samples until the alarm rings at alpha 0.01, counted from sample `from`, at
/// which the share rises from 1 % to `p`. Lives in which it rang before do not count.
fn mean_run(lives: u64, seed: u64, p: f64, from: u64) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for life in 0..lives {
        let mut chance = SmallRng::seed_from_u64(seed << 32 | life);
        let mut alarm = RiseAlarm::new(0.01);
        for sample in 0..from + SAMPLES {
            alarm.observe(chance.random::<f64>() < if sample < from { 0.01 } else { p });
            if alarm.rings(0.01) {
                if sample >= from {
                    sum += f64::from(u32::try_from(sample - from + 1).unwrap_or(u32::MAX));
                    count += 1.0;
                }
                break;
            }
        }
    }
    sum / f64::max(count, 1.0)
}

fn share(lives: u64, seed: u64, happens: impl Fn(&mut SmallRng) -> bool) -> f64 {
    let (mut hit, mut all) = (0.0, 0.0);
    for life in 0..lives {
        all += 1.0;
        if happens(&mut SmallRng::seed_from_u64(seed << 32 | life)) {
            hit += 1.0;
        }
    }
    hit / all
}
