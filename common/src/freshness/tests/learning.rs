//! What is believed of a record after what was seen of it.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::gamma::{Gamma, GammaEvidence};
use super::super::grid::{GridEvidence, GridPrior, RATES};
use super::super::{Belief, Evidence, Notices, Observation};
use super::{assert_near, integral};

const UNCHANGED: Observation = Observation { exposure_days: 2.0, changed: false, noticed: false };

/// The mean of `f` under a Gamma distribution, by numerical integration over its density.
fn mean_under(gamma: Gamma, f: impl Fn(f64) -> f64) -> f64 {
    let (shape, exposure) = (gamma.shape(), gamma.exposure_days());
    let density = |rate: f64| {
        if rate > 0.0 { rate.powf(shape - 1.0) * (-rate * exposure).exp() } else { 0.0 }
    };
    let end = (shape + 40.0) / exposure;
    integral(end, |rate| density(rate) * f(rate)) / integral(end, density)
}

#[test]
fn a_found_change_keeps_the_moments_of_the_exact_posterior() {
    let prior = Gamma::new(2.0, 10.0);
    let cases = [
        (Notices::NONE, 3.0, false),
        (Notices::new(0.8, 0.0), 3.0, false),
        (Notices::new(0.8, 0.05), 3.0, false),
        (Notices::new(0.8, 0.5), 3.0, true),
        (Notices::new(0.1, 0.5), 40.0, true),
        (Notices::new(0.8, 0.0), 3.0, true),
    ];
    for (notices, days, noticed) in cases {
        let (q, n) = (notices.recall(), notices.false_per_day());
        let likelihood = |rate: f64| {
            let found = -(-(1.0 - q) * rate * days).exp_m1();
            let what = if noticed { q * rate + n * found } else { found };
            (-q * rate * days).exp() * what
        };
        let evidence = mean_under(prior, likelihood);
        let mean = mean_under(prior, |rate| rate * likelihood(rate)) / evidence;
        let square = mean_under(prior, |rate| rate * rate * likelihood(rate)) / evidence;
        let seen = Observation { exposure_days: days, changed: true, noticed };
        let after = GammaEvidence::default().observe(&prior, &notices, &seen).belief(&prior);
        assert_near(after.mean_per_day(), mean, 1e-5);
        assert_near(after.mean_per_day() / after.exposure_days(), square - mean * mean, 1e-4);
    }
}

#[test]
fn an_announced_change_counts_one() {
    let prior = Gamma::new(2.0, 10.0);
    let notices = Notices::new(0.9, 0.0);
    let seen = Observation { exposure_days: 5.0, changed: true, noticed: true };
    let evidence = GammaEvidence::default().observe(&prior, &notices, &seen);
    assert_near(evidence.changes, 1.0, 1e-9);
    assert_near(evidence.exposure_days, 4.5, 1e-9);
}

#[test]
fn without_a_change_the_exposure_grows() {
    let evidence = GammaEvidence::default().observe(&Gamma::default(), &Notices::NONE, &UNCHANGED);
    assert_eq!(evidence, GammaEvidence { changes: 0.0, exposure_days: 2.0 });
}

#[test]
fn what_a_gamma_belief_is_worth_is_the_mean_over_its_rates() {
    for notices in [
        Notices::NONE,
        Notices::new(1e-12, 0.0),
        Notices::new(0.3, 0.0),
        Notices::new(0.99, 0.0),
        Notices::new(0.0, 0.2),
        Notices::new(0.9, 0.01),
        Notices::new(0.5, 5.0),
    ] {
        for (shape, exposure) in [(1.0, 4.0), (1.7, 3.0), (0.6, 20.0), (30.0, 10.0)] {
            let gamma = Gamma::new(shape, exposure);
            for age in [0.01, 0.5, 10.0, 300.0] {
                let gain = gamma.gain(&notices, age);
                let value = mean_under(gamma, |rate| notices.habits(rate, 1.0).gain(age).value);
                let slope =
                    mean_under(gamma, |rate| notices.habits(rate, 1.0).gain(age).slope_per_day);
                assert_near(gain.value, value, 1e-4);
                assert_near(gain.slope_per_day, slope, 1e-4);
            }
        }
    }
}

#[test]
fn a_belief_says_how_likely_a_record_is_still_true() {
    let gamma = Gamma::new(1.5, 6.0);
    assert_near(gamma.still_true(3.0), mean_under(gamma, |rate| (-3.0 * rate).exp()), 1e-5);
    let grid = GridEvidence::default().belief(&GridPrior::default());
    let rates = GridPrior::rates_per_day();
    let mean = rates.map(|rate| (-3.0 * rate).exp()).sum::<f64>() / RATES as f64;
    assert_near(grid.still_true(3.0), mean, 0.05);
}

/// Looks at random intervals at a record that changes `rate` times a day.
pub(super) fn looks(rate: f64, days_apart: f64, count: usize, seed: u64) -> Vec<Observation> {
    let mut chance = SmallRng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let exposure_days = days_apart * (0.2 + 1.6 * chance.random::<f64>());
            let changed = chance.random::<f64>() < -(-rate * exposure_days).exp_m1();
            Observation { exposure_days, changed, noticed: false }
        })
        .collect()
}

pub(super) fn learn<E: Evidence>(prior: &E::Prior, seen: &[Observation]) -> E {
    seen.iter().fold(E::default(), |evidence, one| evidence.observe(prior, &Notices::NONE, one))
}

#[test]
fn both_learners_find_the_rate_although_a_look_counts_several_changes_as_one() {
    // A look every two rates: the naive estimate, changes over exposure, is too low by half.
    let seen = looks(1.0, 2.0, 400, 7);
    let naive = seen.iter().filter(|one| one.changed).count() as f64
        / seen.iter().map(|one| one.exposure_days).sum::<f64>();
    assert!(naive < 0.5);
    let gamma = learn::<GammaEvidence>(&Gamma::default(), &seen).belief(&Gamma::default());
    assert!((0.75..1.3).contains(&gamma.mean_per_day()), "{gamma:?}");
    let grid = learn::<GridEvidence>(&GridPrior::default(), &seen).belief(&GridPrior::default());
    assert!((0.75..1.3).contains(&grid.mean_per_day()), "{grid:?}");
}

#[test]
fn habits_may_change() {
    let mut seen = looks(0.05, 3.0, 300, 1);
    seen.extend(looks(2.0, 1.0, 10, 2));
    let grid = learn::<GridEvidence>(&GridPrior::default(), &seen).belief(&GridPrior::default());
    assert!(grid.mean_per_day() > 0.4, "{grid:?}");
}

#[test]
fn what_stays_as_it_is_is_not_taken_for_a_change_of_habits() {
    for (seed, rate) in [(1, 0.05), (2, 0.5), (3, 4.0)] {
        let seen = looks(rate, 1.0, 400, seed);
        let learnt = learn::<GridEvidence>(&GridPrior::default(), &seen);
        let belief = learnt.belief(&GridPrior::default());
        // As well as four hundred looks can tell: 0.2 and less.
        assert!(belief.ln_spread() < 0.3, "{belief:?}");
        assert!((belief.mean_per_day() / rate).ln().abs() < 0.5, "{belief:?}");
    }
}

/// The distribution that the grid approximates, on a grid of its own, hundred points an octave,
/// from the likelihoods themselves: its mean and the standard deviation of ln D.
fn exactly(prior: &GridPrior, seen: &[Observation]) -> (f64, f64) {
    let (mut sum, mut mean, mut ln, mut square) = (0.0, 0.0, 0.0, 0.0);
    let logs: Vec<(f64, f64)> = (0..1500)
        .map(|step| {
            let octaves = f64::from(step) / 100.0;
            let density = prior.weights()[(8.0 * octaves).round() as usize];
            let rate = (octaves - 9.0).exp2();
            let likelihood = |one: &Observation| {
                let reach = -rate * one.exposure_days;
                if one.changed { (-reach.exp_m1()).ln() } else { reach }
            };
            (rate, density.ln() + seen.iter().map(likelihood).sum::<f64>())
        })
        .collect();
    let most = logs.iter().map(|(_, log)| *log).fold(f64::MIN, f64::max);
    for (rate, log) in logs {
        let weight = (log - most).exp();
        sum += weight;
        mean += weight * rate;
        ln += weight * rate.ln();
        square += weight * rate.ln() * rate.ln();
    }
    (mean / sum, (square / sum - (ln / sum) * (ln / sum)).sqrt())
}

#[test]
fn the_grid_believes_what_the_likelihoods_say_however_much_was_seen() {
    let mut weights = [1.0; RATES];
    weights[90..102].fill(9.0);
    let prior = GridPrior::new(weights);
    for (seed, (rate, apart, count)) in (0..).zip([
        (0.02, 40.0, 100),
        (0.3, 1.0, 3),
        (1.0, 2.0, 60),
        (7.0, 0.3, 150),
        (40.0, 9.0, 8),
    ]) {
        let seen = looks(rate, apart, count, seed);
        let belief = learn::<GridEvidence>(&prior, &seen).belief(&prior);
        // What is forgotten makes a few per cent.
        let (mean, spread) = exactly(&prior, &seen);
        assert_near(belief.mean_per_day(), mean, 0.1);
        assert_near(belief.ln_spread(), spread, 0.12);
    }
}

#[test]
fn looks_at_one_age_however_many_do_not_add_up_to_another_rate() {
    // Half way between two of the exposures that are counted, interpolation is off the most.
    let prior = GridPrior::default();
    for rate in [0.3, 0.4, 0.5] {
        let mut seen = looks(rate, 1e-9, 600, 11);
        let mut chance = SmallRng::seed_from_u64(3);
        for one in &mut seen {
            one.exposure_days = 10.9;
            one.changed = chance.random::<f64>() < -(-rate * 10.9_f64).exp_m1();
        }
        let belief = learn::<GridEvidence>(&prior, &seen).belief(&prior);
        let (mean, spread) = exactly(&prior, &seen);
        assert!((belief.mean_per_day() / mean).ln().abs() < 0.5 * spread, "{mean} {belief:?}");
    }
}

#[test]
fn a_prior_is_read_as_it_is_stored_or_was() {
    let mut octaves = [0.0; 16];
    octaves[5] = 3.0;
    octaves[6] = 1.0;
    let read = GridPrior::from_stored(&octaves);
    let weight = |index: usize| read.weights()[index];
    // Straight lines from octave to octave, with 2 % over all.
    assert_near(weight(40) / weight(48), 3.0, 0.03);
    assert_near(weight(44), f64::midpoint(weight(40), weight(48)), 1e-9);
    assert!(weight(31) < weight(33) && weight(57) < weight(55), "{read:?}");
    // What was written is read again, but for the 2 %.
    let again = GridPrior::from_stored(read.weights());
    assert_near(again.weights()[40], weight(40), 0.03);
    for nonsense in [&[][..], &[1.0; 7], &[f64::NAN; RATES]] {
        assert_eq!(GridPrior::from_stored(nonsense), GridPrior::default());
    }
}

#[test]
fn a_prior_sees_where_rates_begin() {
    // Nothing below 0.25, half of the records within a half more.
    let mut prior = GridPrior::default();
    let records: Vec<GridEvidence> = (0..300)
        .map(|seed| {
            let rate = 0.25 / (0.02 + 0.98 * (seed as f64) / 300.0);
            learn(&prior, &looks(rate, 1.6 / rate, 60, seed))
        })
        .collect();
    for _ in 0..100 {
        prior = GridEvidence::refit(&prior, records.iter().copied());
    }
    let share = |from: f64, until: f64| -> f64 {
        let of = GridPrior::rates_per_day().zip(prior.weights());
        of.filter(|(rate, _)| (from..until).contains(rate)).map(|(_, weight)| weight).sum()
    };
    assert!(share(0.0, 0.21) < 0.04, "{prior:?}");
    assert!(share(0.21, 0.39) > 0.3, "{prior:?}");
}

#[test]
fn a_notice_that_may_have_been_false_counts_as_either() {
    let notices = Notices::new(0.5, 0.0);
    let seen = Observation { exposure_days: 2.0, changed: true, noticed: true };
    let prior = GridPrior::default();
    let after = GridEvidence::default().observe(&prior, &notices, &seen).belief(&prior);
    // Exactly: e^(-q r t) q r, over the prior.
    let mean = |power: i32| -> f64 {
        (0..=1500)
            .map(|step| (f64::from(step) / 100.0 - 9.0).exp2())
            .map(|rate| rate.powi(power) * (-rate).exp())
            .sum()
    };
    assert_near(after.mean_per_day(), mean(2) / mean(1), 0.05);
    let false_ones = Notices::new(0.5, 1e6);
    let accidental = GridEvidence::default().observe(&prior, &false_ones, &seen).belief(&prior);
    let silent = Observation { noticed: false, ..seen };
    let found = GridEvidence::default().observe(&prior, &notices, &silent).belief(&prior);
    assert_near(accidental.mean_per_day(), found.mean_per_day(), 1e-3);
}

#[test]
fn old_evidence_is_forgotten_by_elapsed_time() {
    let prior = Gamma::new(1.0, 10.0);
    let old = GammaEvidence { changes: 100.0, exposure_days: 100.0 };
    let minutes = Observation { exposure_days: 0.01, ..UNCHANGED };
    let week = (0..700).fold(old, |before, _| before.observe(&prior, &Notices::NONE, &minutes));
    assert_near(week.changes, 98.0, 1e-9);
    // But no more than a part in ten thousand an exposure.
    let long = Observation { exposure_days: 100.0, ..UNCHANGED };
    assert_near(old.observe(&prior, &Notices::NONE, &long).changes, 99.99, 1e-9);
}

#[test]
fn a_notice_outage_makes_every_record_worth_more_at_once() {
    let gamma = Gamma::new(5.0, 10.0);
    let before = gamma.threshold_age_days(&Notices::new(0.95, 0.0), 1.0, 0.01).unwrap();
    let after = gamma.threshold_age_days(&Notices::NONE, 1.0, 0.01).unwrap();
    assert!(after < before / 3.0, "{after} {before}");
}

#[test]
fn a_gamma_belief_says_how_likely_a_rate_is_below_another() {
    let gamma = Gamma::new(2.0, 4.0);
    let below = mean_under(gamma, |rate| if rate < 0.5 { 1.0 } else { 0.0 });
    assert_near(gamma.slower_than(0.5), below, 5e-3);
    assert_near(gamma.slower_than(1e9), 1.0, 1e-12);
    assert_near(gamma.slower_than(-1.0), 0.0, 1e-12);
}

#[test]
fn a_belief_says_how_far_off_its_rate_may_be() {
    // The trigamma function at 1 is pi^2/6, at 10 it is 0.105166.
    assert_near(
        Gamma::new(1.0, 3.0).ln_spread(),
        (std::f64::consts::PI.powi(2) / 6.0).sqrt(),
        0.01,
    );
    assert_near(Gamma::new(10.0, 3.0).ln_spread(), 0.105_166_f64.sqrt(), 0.01);
    // A uniform distribution over fifteen octaves.
    let octaves = 15.0 / 12.0_f64.sqrt();
    let grid = GridEvidence::default().belief(&GridPrior::default());
    assert_near(grid.ln_spread(), octaves * std::f64::consts::LN_2, 0.1);
}

#[test]
fn the_gamma_prior_is_that_of_the_type() {
    // Rates that are Gamma(2, 4): mean 0.5, sums of two exponential variables.
    let mut chance = SmallRng::seed_from_u64(3);
    let mut prior = Gamma::default();
    let records: Vec<GammaEvidence> = (0..400)
        .map(|seed| {
            let rate = -(chance.random::<f64>() * chance.random::<f64>()).ln() / 4.0;
            learn(&prior, &looks(rate, 1.0, 100, seed))
        })
        .collect();
    for _ in 0..5 {
        prior = GammaEvidence::refit(&prior, records.iter().copied());
    }
    assert_near(prior.mean_per_day(), 0.5, 0.1);
    assert!((1.4..2.8).contains(&prior.shape()), "{prior:?}");
}

#[test]
fn the_grid_prior_finds_two_sorts_of_record() {
    let mut prior = GridPrior::default();
    let records: Vec<GridEvidence> = (0..200)
        .map(|seed| {
            let rate = if seed % 5 == 0 { 4.0 } else { 1.0 / 64.0 };
            learn(&prior, &looks(rate, 2.0, 20, seed))
        })
        .collect();
    for _ in 0..30 {
        prior = GridEvidence::refit(&prior, records.iter().copied());
    }
    let slow: f64 = prior.weights()[..45].iter().sum();
    let fast: f64 = prior.weights()[70..].iter().sum();
    assert_near(slow, 0.8, 0.1);
    assert_near(fast, 0.2, 0.3);
}

#[test]
fn grid_evidence_survives_its_bytes() {
    let evidence = learn::<GridEvidence>(&GridPrior::default(), &looks(0.3, 2.0, 9, 5));
    assert_eq!(GridEvidence::from_bytes(&evidence.to_bytes()), evidence);
    assert_eq!(GridEvidence::from_bytes(&[]), GridEvidence::default());
    assert_eq!(GridEvidence::from_bytes(&[0; 64]), GridEvidence::default());
}

#[test]
fn evidence_as_rows_held_it_first_says_the_same() {
    let prior = GridPrior::default();
    for (seed, (rate, apart, count)) in
        (0..).zip([(0.01, 5.0, 40), (0.5, 2.0, 3), (0.5, 1.0, 30), (5.0, 9.0, 20), (20.0, 0.1, 30)])
    {
        let seen = looks(rate, apart, count, seed);
        // The logarithms of the likelihoods of sixteen rates, the largest 0, none below -20.
        let octaves = GridPrior::rates_per_day().step_by(8);
        let logs = octaves.map(|rate| -> f64 {
            let one = |one: &Observation| {
                let reach = -rate * one.exposure_days;
                if one.changed { (-reach.exp_m1()).ln() } else { reach }
            };
            seen.iter().map(one).sum()
        });
        let logs: Vec<f64> = logs.collect();
        let most = logs.iter().copied().fold(f64::MIN, f64::max);
        let bytes: Vec<u8> =
            logs.iter().flat_map(|log| ((log - most).max(-20.0) as f32).to_le_bytes()).collect();
        let then = GridEvidence::from_bytes(&bytes).belief(&prior);
        let now = learn::<GridEvidence>(&prior, &seen).belief(&prior);
        for days in [0.03, 1.0, 30.0] {
            let off = (then.still_true(days) - now.still_true(days)).abs();
            assert!(
                off < 0.05,
                "{rate} {days}: {} {}",
                then.still_true(days),
                now.still_true(days)
            );
        }
        let (then, now) = (then.ln_spread(), now.ln_spread());
        assert!((then / now).ln().abs() < 0.5, "{rate}: {then} {now}");
    }
}
