//! A record's change rate as weights on a fixed grid: sixteen small numbers in its row.
//!
//! Takes no form for granted, so that a type may have records that never change beside records
//! that change every hour, and learns the type's mixture from all of them.

use super::notices::Notices;
use super::observation::{Belief, Evidence, Observation, kept_after};
use super::solve::MAX_AGE_DAYS;
use super::special::{non_negative, phi};
use super::value::Gain;

/// Points of the grid.
pub const POINTS: usize = 16;

/// Changes per day at each point: octaves from one in 512 days to one in 22 minutes.
pub const PER_DAY: [f64; POINTS] = [
    1.0 / 512.0,
    1.0 / 256.0,
    1.0 / 128.0,
    1.0 / 64.0,
    1.0 / 32.0,
    1.0 / 16.0,
    1.0 / 8.0,
    1.0 / 4.0,
    1.0 / 2.0,
    1.0,
    2.0,
    4.0,
    8.0,
    16.0,
    32.0,
    64.0,
];

/// A rate that seems less likely than the likeliest by this much, in nats, is not told from one
/// that seems less likely still: a record whose habits change is soon believed.
const FLOOR: f32 = -20.0;
/// The prior gives every point at least its part of this. Where looks are rare the records' own
/// evidence cannot keep a fast minority in the prior, and without it nobody would look for one.
const SPREAD: f64 = 0.1;
const _: () = assert!(POINTS == 16, "UNIFORM is for 16 points");
const UNIFORM: f64 = 1.0 / 16.0;

/// How likely what was seen of a record is for each rate: logarithms, the largest 0. Stored as
/// 64 bytes, sixteen little-endian `f32`; all 0 for a new record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GridEvidence([f32; POINTS]);

/// How many of a type's records have which rate; sums to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridPrior([f64; POINTS]);

/// How probable each rate is for one record; sums to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridBelief([f64; POINTS]);

impl GridEvidence {
    /// As it is stored.
    pub fn to_bytes(&self) -> [u8; 4 * POINTS] {
        let mut bytes = [0; 4 * POINTS];
        for (four, value) in bytes.chunks_exact_mut(4).zip(self.0) {
            four.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// From what is stored; any bytes will do, and none are a new record.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut evidence = Self::default();
        for (value, four) in evidence.0.iter_mut().zip(bytes.chunks_exact(4)) {
            if let Ok(four) = four.try_into() {
                *value = f32::from_le_bytes(four);
            }
        }
        evidence.normalised()
    }

    fn normalised(mut self) -> Self {
        let finite = |value: f32| if value.is_nan() { 0.0 } else { value };
        let most = self.0.iter().copied().map(finite).fold(f32::MIN, f32::max).min(f32::MAX);
        for value in &mut self.0 {
            *value = (finite(*value) - most).clamp(FLOOR, 0.0);
        }
        self
    }
}

impl Evidence for GridEvidence {
    type Prior = GridPrior;
    type Belief = GridBelief;

    /// Adds the logarithm of the likelihood of each rate r: e^(-r t) where nothing changed;
    /// e^(-q r t) (1 - e^(-(1 - q) r t)) where a look found a change; and e^(-q r t) [q r +
    /// n (1 - e^(-(1 - q) r t))] where one was found after a notice.
    fn observe(&self, _: &GridPrior, notices: &Notices, seen: &Observation) -> Self {
        let days = non_negative(seen.exposure_days, MAX_AGE_DAYS).max(1e-9);
        let kept = kept_after(days);
        let recall = notices.recall();
        let (told, found) = notices.causes(seen.noticed);
        let mut after = *self;
        for (value, rate) in after.0.iter_mut().zip(PER_DAY) {
            let likelihood = if seen.changed {
                let silent = (1.0 - recall) * rate;
                (told * rate + found * silent * phi(silent, days)).ln() - recall * rate * days
            } else {
                -rate * days
            };
            #[expect(clippy::cast_possible_truncation, reason = "stored with less precision")]
            let sum = (f64::from(*value) * kept + likelihood.max(-1e30)) as f32;
            *value = sum;
        }
        after.normalised()
    }

    fn belief(&self, prior: &GridPrior) -> GridBelief {
        let mut belief = prior.0;
        for (weight, value) in belief.iter_mut().zip(self.0) {
            *weight *= f64::from(value).exp();
        }
        let sum: f64 = belief.iter().sum();
        for weight in &mut belief {
            *weight /= sum;
        }
        GridBelief(belief)
    }

    /// The mean of the records' beliefs, one step of the EM algorithm for the mixture, with 10 %
    /// spread over all rates, so that none is ruled out.
    fn refit(prior: &GridPrior, records: impl IntoIterator<Item = Self>) -> GridPrior {
        let (mut count, mut sums) = (0.0, [0.0; POINTS]);
        for record in records {
            count += 1.0;
            for (sum, weight) in sums.iter_mut().zip(record.belief(prior).0) {
                *sum += weight;
            }
        }
        if count < 1.0 {
            return *prior;
        }
        GridPrior(sums.map(|sum| (1.0 - SPREAD) * sum / count + SPREAD * UNIFORM))
    }
}

impl GridPrior {
    /// From weights as they are stored; they need not sum to 1.
    pub fn new(weights: [f64; POINTS]) -> Self {
        let weights = weights.map(|weight| non_negative(weight, 1e9));
        let sum: f64 = weights.iter().sum();
        if sum <= 0.0 {
            return Self::default();
        }
        Self(weights.map(|weight| (1.0 - SPREAD) * weight / sum + SPREAD * UNIFORM))
    }

    /// The share of records at each of [`PER_DAY`].
    pub fn weights(&self) -> &[f64; POINTS] {
        &self.0
    }
}

impl Default for GridPrior {
    /// Nothing is known: every octave is as good as any other.
    fn default() -> Self {
        Self([UNIFORM; POINTS])
    }
}

impl GridBelief {
    /// The probability of each of [`PER_DAY`].
    pub fn weights(&self) -> &[f64; POINTS] {
        &self.0
    }

    fn mean_of(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.0.iter().zip(PER_DAY).map(|(weight, rate)| weight * f(rate)).sum()
    }
}

impl Belief for GridBelief {
    fn mean_per_day(&self) -> f64 {
        self.mean_of(|rate| rate)
    }

    fn still_true(&self, exposure_days: f64) -> f64 {
        let days = non_negative(exposure_days, MAX_AGE_DAYS);
        self.mean_of(|rate| (-rate * days).exp()).min(1.0)
    }

    fn ln_spread(&self) -> f64 {
        let mean = self.mean_of(f64::ln);
        self.mean_of(|rate| (rate.ln() - mean) * (rate.ln() - mean)).sqrt()
    }

    fn gain(&self, notices: &Notices, age_days: f64) -> Gain {
        let mut sum = Gain::default();
        for (weight, rate) in self.0.iter().zip(PER_DAY) {
            // What is as improbable as this is not worth its three exponentials.
            if *weight > 1e-9 {
                let gain = notices.habits(rate, 1.0).gain(age_days);
                sum.value += weight * gain.value;
                sum.slope_per_day += weight * gain.slope_per_day;
            }
        }
        sum
    }
}
