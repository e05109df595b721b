//! Published values, exact coverage, and coverage by simulation with fixed seeds.

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::{
    Combined, DriftAlarm, HourlyOutcomes, Interval, MAX_HOURS, Outcomes, RiseAlarm, Stratum,
    clopper_pearson, combine, confidence_score, upper_bound,
};

const fn outcomes(wrong: u64, samples: u64) -> Outcomes {
    Outcomes { samples, wrong }
}

#[track_caller]
fn assert_near(actual: f64, expected: f64, off: f64) {
    assert!((actual - expected).abs() <= off, "{actual} instead of {expected}");
}

#[test]
fn clopper_pearson_has_its_published_values() {
    // 95 % intervals as R's binom.test prints them.
    let cases = [
        (outcomes(0, 10), 0.0, 0.308_497_1),
        (outcomes(1, 10), 0.002_528_579, 0.445_016_1),
        (outcomes(10, 100), 0.049_004_69, 0.176_222_6),
        (outcomes(10, 10), 0.691_502_9, 1.0),
    ];
    for (sample, lower, upper) in cases {
        let interval = clopper_pearson(sample, 0.05);
        assert_near(interval.lower, lower, 1e-6);
        assert_near(interval.upper, upper, 1e-6);
    }
}

#[test]
fn three_hundred_right_ones_say_below_one_percent() {
    let bound = upper_bound(outcomes(0, 300), 0.05);
    assert_near(bound, 1.0 - 0.05_f64.powf(1.0 / 300.0), 1e-9);
    assert!(bound < 0.01);
    assert_near(confidence_score(outcomes(0, 300), 0.05), 1.0 - bound, 0.0);
    assert_near(confidence_score(outcomes(0, 0), 0.05), 0.0, 0.0);
}

#[test]
fn clopper_pearson_covers_whatever_the_truth() {
    // Exactly: the probability of all outcomes whose interval has the truth in it.
    let samples = 40;
    let intervals: Vec<Interval> =
        (0..=samples).map(|wrong| clopper_pearson(outcomes(wrong, samples), 0.1)).collect();
    for step in 1..100 {
        let p = f64::from(step) / 100.0;
        let mut mass = (1.0 - p).powi(40);
        let mut covered = 0.0;
        for (wrong, interval) in intervals.iter().enumerate() {
            if interval.lower <= p && p <= interval.upper {
                covered += mass;
            }
            mass *= (40 - wrong) as f64 / (wrong + 1) as f64 * p / (1.0 - p);
        }
        assert!(covered >= 0.9, "{p}: {covered}");
    }
}

#[test]
fn a_sequence_has_its_closed_form_and_its_ends() {
    // With none wrong the upper bound solves (1 - p)^t = alpha B(1/2, t + 1/2)/pi. For t = 1:
    // B(1/2, 3/2) = pi/2.
    let interval = outcomes(0, 1).interval(0.05);
    assert_near(interval.upper, 0.975, 1e-12);
    assert_near(interval.lower, 0.0, 0.0);
    assert_eq!(outcomes(0, 0).interval(0.05), Interval { lower: 0.0, upper: 1.0 });
    assert_near(outcomes(7, 7).interval(0.05).upper, 1.0, 0.0);
    for edge in [outcomes(3, 50).interval(0.05).lower, outcomes(3, 50).interval(0.05).upper] {
        assert_near(outcomes(3, 50).ln_wealth(edge), 20.0_f64.ln(), 1e-6);
    }
}

#[test]
fn looking_at_any_time_costs_little_over_looking_once() {
    let once = clopper_pearson(outcomes(20, 2000), 0.05);
    let always = outcomes(20, 2000).interval(0.05);
    assert!(always.lower <= once.lower && once.upper <= always.upper);
    assert!(always.upper - always.lower < 2.0 * (once.upper - once.lower));
}

/// The share of `runs` in which `happens` is true after one of `length` samples.
fn share_of_runs(runs: u64, length: u64, p: f64, happens: impl Fn(Outcomes) -> bool) -> f64 {
    let hit = (0..runs).filter(|seed| {
        let mut chance = SmallRng::seed_from_u64(*seed);
        let mut sample = Outcomes::default();
        (0..length).any(|_| {
            sample.add(chance.random::<f64>() < p);
            happens(sample)
        })
    });
    hit.count() as f64 / runs as f64
}

#[test]
fn a_sequence_that_is_watched_all_the_time_covers() {
    for p in [0.005, 0.3] {
        let refuted = |sample: Outcomes| sample.ln_wealth(p) >= 10.0_f64.ln();
        let missed = share_of_runs(300, 500, p, refuted);
        // One in ten is the promise; by chance it may look like 0.14.
        assert!(missed <= 0.14, "{p}: {missed}");
    }
    // The interval that holds for one look fails when it is watched.
    let stale = |sample: Outcomes| {
        sample.samples.is_multiple_of(50) && {
            let interval = clopper_pearson(sample, 0.1);
            !(interval.lower..=interval.upper).contains(&0.05)
        }
    };
    assert!(share_of_runs(100, 1000, 0.05, stale) > 0.2);
}

#[test]
fn the_drift_alarm_is_seldom_false_and_soon_right() {
    let alarm = DriftAlarm::new(0.02);
    let rings = |sample| alarm.rings(sample, 0.05);
    assert!(share_of_runs(200, 800, 0.02, rings) <= 0.075);
    assert!(share_of_runs(100, 500, 0.01, rings) <= 0.02);
    assert!(share_of_runs(100, 300, 0.1, rings) > 0.95);
}

/// Samples until the alarm rings, up to `most`, when the share is `p` from sample `from` on.
fn run_length(seed: u64, p0: f64, p: f64, from: u32, most: u32) -> u32 {
    let mut chance = SmallRng::seed_from_u64(seed);
    let mut alarm = RiseAlarm::new(p0);
    for sample in 0..most {
        alarm.observe(chance.random::<f64>() < if sample < from { p0 } else { p });
        if alarm.rings(0.005) {
            return sample + 1;
        }
    }
    most
}

#[test]
fn the_rise_alarm_rings_soon_after_a_rise_and_seldom_before() {
    let mean = |f: &dyn Fn(u64) -> u32| (0..60).map(|s| f64::from(f(s))).sum::<f64>() / 60.0;
    // 1/alpha is 200 samples.
    let quiet = mean(&|seed| run_length(seed, 0.02, 0.02, 0, 4000));
    assert!(quiet >= 200.0, "{quiet}");
    // A long quiet time is no ballast: as soon after 500 samples as after none.
    let after = mean(&|seed| {
        let length = run_length(seed, 0.02, 0.3, 500, 1000);
        length.max(500) - 500
    });
    assert!(after < 30.0, "{after}");
}

#[test]
fn a_rise_alarm_survives_its_text() {
    let mut alarm = RiseAlarm::new(0.01);
    alarm.observe(true);
    let text = serde_json::to_string(&alarm).unwrap();
    assert_eq!(serde_json::from_str::<RiseAlarm>(&text).unwrap(), alarm);
}

#[test]
fn a_horizon_forgets_what_came_before_it() {
    let mut hourly = HourlyOutcomes::default();
    hourly.add(100, outcomes(50, 50));
    for hour in (101..=124).rev() {
        hourly.add(hour, outcomes(0, 10));
        hourly.add(hour, outcomes(0, 2));
    }
    let day = hourly.reading(124, 23, 0.05);
    assert_eq!(day.outcomes, outcomes(0, 288));
    assert_eq!(day.since_hour, 101);
    assert!(day.interval.upper < 0.03);
    assert_eq!(hourly.reading(124, 24, 0.05).outcomes, outcomes(50, 338));
    assert_eq!(hourly.reading(300, 23, 0.05).outcomes, outcomes(0, 0));
    for hour in 0..672 {
        hourly.add(1000 + hour, outcomes(0, 1));
    }
    assert_eq!(hourly.reading(1_000_000, u16::MAX, 0.05).outcomes.samples, 0);
    // Hours 1000 to 1671 were added; the last 336 of them are kept.
    assert_eq!(hourly.reading(1671, 1000, 0.05).outcomes.samples, MAX_HOURS as u64);
}

#[test]
fn strata_count_by_their_size() {
    let strata = [
        Stratum { weight: 900.0, outcomes: outcomes(0, 500) },
        Stratum { weight: 100.0, outcomes: outcomes(50, 100) },
        Stratum { weight: 0.0, outcomes: outcomes(9, 9) },
    ];
    let Combined { share, interval } = combine(&strata, 0.05);
    assert_near(share.unwrap(), 0.05, 1e-12);
    let (first, second) = (outcomes(0, 500).interval(0.025), outcomes(50, 100).interval(0.025));
    assert_near(interval.lower, 0.1 * second.lower, 1e-12);
    assert_near(interval.upper, 0.9 * first.upper + 0.1 * second.upper, 1e-12);
    let unknown = combine(&[Stratum { weight: 1.0, outcomes: outcomes(0, 0) }], 0.05);
    assert_eq!(unknown, combine(&[], 0.05));
}

#[test]
fn strata_cover_together() {
    // Two strata, sampled in turn: 0.8 of the records at 2 %, 0.2 at 20 %: 5.6 % in all.
    let missed = (0..100).filter(|seed| {
        let mut chance = SmallRng::seed_from_u64(*seed);
        let mut strata = [0.8, 0.2].map(|weight| Stratum { weight, outcomes: outcomes(0, 0) });
        (0..200).any(|turn| {
            for (stratum, p) in strata.iter_mut().zip([0.02, 0.2]) {
                stratum.outcomes.add(chance.random::<f64>() < p);
            }
            turn % 40 == 39 && {
                let interval = combine(&strata, 0.1).interval;
                !(interval.lower..=interval.upper).contains(&0.056)
            }
        })
    });
    assert!(missed.count() <= 15);
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(f64::NAN), Just(0.0), Just(1.0), 0.0..1.0_f64]
}

proptest! {
    #[test]
    fn whatever_goes_in_bounds_come_out(
        samples in prop_oneof![0..100_u64, any::<u32>().prop_map(u64::from)], wrong in any::<u64>(),
        alpha in any_number(), weight in any_number(),
    ) {
        let sample = outcomes(wrong % (samples + 1), samples);
        let strata = [Stratum { weight, outcomes: sample }, Stratum { weight: 1.0, outcomes: sample }];
        for Interval { lower, upper } in [
            sample.interval(alpha), clopper_pearson(sample, alpha), combine(&strata, alpha).interval,
        ] {
            prop_assert!(0.0 <= lower && lower <= upper && upper <= 1.0, "{lower} {upper}");
        }
        prop_assert!((0.0..=1.0).contains(&confidence_score(sample, alpha)));
        prop_assert!(!DriftAlarm::new(alpha).ln_evidence(sample).is_nan());
        let mut alarm = RiseAlarm::new(alpha);
        alarm.observe(wrong % 2 == 0);
        prop_assert!(alarm.ln_evidence().is_finite());
    }

    #[test]
    fn an_interval_holds_what_was_seen_and_narrows_with_alpha(
        samples in 1..5000_u64, part in 0.0..1.0_f64,
    ) {
        let sample = outcomes((part * samples as f64) as u64, samples);
        let share = sample.share().unwrap();
        let (wide, narrow) = (sample.interval(0.01), sample.interval(0.2));
        prop_assert!(wide.lower <= narrow.lower && narrow.lower <= share + 1e-12);
        prop_assert!(share - 1e-12 <= narrow.upper && narrow.upper <= wide.upper);
    }
}
