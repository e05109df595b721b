//! A record's change rate as weights on a grid that is as fine as what is known of it.
//!
//! Takes no form for granted, so that a type may have records that never change beside records
//! that change every hour, and learns the type's mixture from all of them. What was seen of a
//! record is kept as sixteen small numbers in its row, from which the likelihood of any rate can be
//! told.

use super::legacy;
use super::notices::Notices;
use super::observation::{Belief, Evidence, Observation, kept_after};
pub use super::prior::{GridPrior, RATES};
use super::rates::{EXPOSURES, LAST, OCTAVE, ln_likelihood, per_day, spread};
use super::solve::MAX_AGE_DAYS;
use super::special::{non_negative, phi};
use super::value::Gain;

/// Numbers in a row,
const NUMBERS: usize = EXPOSURES + 2;
/// and the bytes that they take.
pub const EVIDENCE_BYTES: usize = 4 * NUMBERS;

/// A record's habits have changed when what was seen lately is so many times, in nats, more likely
/// for an ordinary record of its type than for what was believed of this one. By chance that comes
/// once in e^9 = 8,100 looks at most.
const SURPRISE: f64 = 9.0;
/// Of what was seen before that, so much is kept: the last ten thousand looks weigh no more than
/// twenty new ones.
const KEPT_AFTER_SURPRISE: f64 = 0.002;

/// Rates of a belief,
const WIDTH: usize = 24;
/// and by how much one may seem less likely than the likeliest, in nats, to be among them.
const DEPTH: f64 = 14.0;

/// What was seen of a record: 64 bytes in its row, sixteen little-endian `f32`; all 0 for a new
/// record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GridEvidence {
    /// T: the likelihood of a rate r has a factor e^(-r T).
    unchanged_days: f32,
    /// And 1 - e^(-r t) for each change that was found, counted at those of fourteen exposures t that
    /// are nearest; a change that a notice told of is one after the shortest.
    changes: [f32; EXPOSURES],
    /// By how many nats what was seen lately is more likely for an ordinary record of the type.
    surprise: f32,
}

/// How probable each rate is for one record; sums to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridBelief {
    /// Rates, changes per day, and how probable each is.
    points: [(f64, f64); WIDTH],
    /// Where they begin on the lattice of rates, how far each is from the next, and how many they
    /// are.
    first: usize,
    stride: usize,
    count: usize,
}

impl GridEvidence {
    /// As it is stored.
    pub fn to_bytes(&self) -> [u8; EVIDENCE_BYTES] {
        let mut bytes = [0; EVIDENCE_BYTES];
        let values = [self.unchanged_days].into_iter().chain(self.changes).chain([self.surprise]);
        for (four, value) in bytes.chunks_exact_mut(4).zip(values) {
            four.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// From what is stored; any bytes will do, and none are a new record.
    ///
    /// The first number is positive once anything was seen. Rows that were written before counts
    /// were kept hold the logarithms of the likelihoods of sixteen rates, none of them positive; what
    /// explains these best is taken for what was seen.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut values = [0.0_f32; NUMBERS];
        for (value, four) in values.iter_mut().zip(bytes.chunks_exact(4)) {
            let number = four.try_into().map_or(0.0, f32::from_le_bytes);
            *value = if number.is_nan() { 0.0 } else { number.clamp(-1e9, 1e9) };
        }
        let [unchanged_days, changes @ .., surprise] = values;
        if unchanged_days > 0.0 {
            let evidence = Self { unchanged_days, changes, surprise: surprise.max(0.0) };
            return evidence;
        }
        if values.iter().all(|value| *value >= 0.0) {
            return Self::default();
        }
        let (unchanged_days, changes) = legacy::explain(&values);
        #[expect(clippy::cast_possible_truncation, reason = "stored with less precision")]
        let unchanged_days = unchanged_days.max(LEAST_DAYS) as f32;
        Self { unchanged_days, changes, surprise: 0.0 }
    }

    fn scaled(mut self, kept: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "stored with less precision")]
        let kept = kept as f32;
        self.unchanged_days *= kept;
        self.changes = self.changes.map(|count| count * kept);
        self
    }

    /// What [`Evidence::observe`] makes of an observation before which the record is known to have
    /// stayed as it was for `quiet_days`, the two being one: how surprising a change is within an hour
    /// depends on how long there was none before.
    #[must_use]
    pub fn observe_after(
        &self,
        prior: &GridPrior,
        notices: &Notices,
        quiet_days: f64,
        seen: &Observation,
    ) -> Self {
        let quiet = non_negative(quiet_days, MAX_AGE_DAYS);
        let days = non_negative(seen.exposure_days, MAX_AGE_DAYS).max(LEAST_DAYS);
        let recall = notices.recall();
        let believed = self.belief(prior);
        let usual = Self::default().belief(prior).likelihood(notices, quiet, seen);
        let surprise =
            f64::from(self.surprise) + (usual / believed.likelihood(notices, quiet, seen)).ln();
        let surprise = if surprise.is_nan() { 0.0 } else { surprise.max(0.0) };
        let mut after = if surprise > SURPRISE {
            Self { surprise: 0.0, ..self.scaled(KEPT_AFTER_SURPRISE) }
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "stored with less precision")]
            let surprise = surprise as f32;
            Self { surprise, ..self.scaled(kept_after(quiet + days)) }
        };
        #[expect(clippy::cast_possible_truncation, reason = "stored with less precision")]
        let mut add = |count: f64, exposure_days: f64| {
            let (first, parts) = spread(exposure_days, believed.places());
            for (sum, part) in after.changes.iter_mut().skip(first).zip(parts) {
                *sum += (count * part) as f32;
            }
        };
        let unchanged_days = if seen.changed {
            let (told, found) = notices.causes(seen.noticed);
            let rate = believed.mean_per_day();
            let silent = (1.0 - recall) * rate;
            let told = told * rate;
            let told = told / (told + found * silent * phi(silent, days));
            if told > 0.0 {
                add(told, 0.0);
            }
            if told < 1.0 {
                add(1.0 - told, (1.0 - recall) * days);
            }
            recall * days
        } else {
            days
        };
        #[expect(clippy::cast_possible_truncation, reason = "stored with less precision")]
        let unchanged_days = (quiet + unchanged_days).max(LEAST_DAYS) as f32;
        after.unchanged_days += unchanged_days;
        after
    }

    fn ln_likelihood(&self, point: usize) -> f64 {
        ln_likelihood(point, f64::from(self.unchanged_days), &self.changes)
    }
}

/// Where anything was seen, there is some time, so that a row tells that it holds something.
const LEAST_DAYS: f64 = 1e-9;

impl Evidence for GridEvidence {
    type Prior = GridPrior;
    type Belief = GridBelief;

    /// Adds to the logarithm of the likelihood of a rate r: -r t where nothing changed; -q r t +
    /// ln(1 - e^(-(1 - q) r t)) where a look found a change; and -q r t + ln r where a notice told
    /// of one. Where that notice may have been false and the change silent, it counts as either in
    /// part.
    ///
    /// When what was seen lately is far more likely for an ordinary record of the type than for
    /// what was believed of this one (Page's test), its habits have changed, and what was seen
    /// before counts little.
    fn observe(&self, prior: &GridPrior, notices: &Notices, seen: &Observation) -> Self {
        self.observe_after(prior, notices, 0.0, seen)
    }

    /// Begins with the sixteen octaves, and goes on with a finer grid over those that are likely,
    /// until it is no wider than it must be.
    fn belief(&self, prior: &GridPrior) -> GridBelief {
        let (mut first, mut stride, mut count) = (0, OCTAVE, LAST / OCTAVE + 1);
        let mut logs = [f64::NEG_INFINITY; WIDTH];
        loop {
            let points = (first..).step_by(stride).take(count);
            for (log, point) in logs.iter_mut().zip(points) {
                *log = self.ln_likelihood(point) + prior.share(point, stride).ln();
            }
            let known = logs.get(..count).unwrap_or_default();
            let most = known.iter().copied().fold(f64::MIN, f64::max);
            let likely = |log: &f64| *log > most - DEPTH;
            let from = known.iter().position(likely).unwrap_or(0).saturating_sub(1);
            let until = (known.iter().rposition(likely).unwrap_or(count) + 1).min(count - 1);
            let finer = ((until - from) * stride).div_ceil(WIDTH - 1).max(1);
            if finer >= stride {
                return GridBelief::new(first, stride, known, most);
            }
            first += from * stride;
            count = ((until - from) * stride).div_ceil(finer).min((LAST - first) / finer) + 1;
            stride = finer;
        }
    }

    /// The mean of the records' beliefs: one step of the EM algorithm for the mixture of the rates of
    /// the prior, with 2 % spread over all.
    fn refit(prior: &GridPrior, records: impl IntoIterator<Item = Self>) -> GridPrior {
        let (mut count, mut sums) = (0.0, [0.0; RATES]);
        for record in records {
            count += 1.0;
            record.belief(prior).add_to(&mut sums, prior);
        }
        if count < 1.0 {
            return *prior;
        }
        GridPrior::new(sums)
    }
}

impl GridBelief {
    fn new(first: usize, stride: usize, logs: &[f64], most: f64) -> Self {
        let mut points = [(0.0, 0.0); WIDTH];
        let mut sum = 0.0;
        for (index, (point, log)) in points.iter_mut().zip(logs).enumerate() {
            *point = (per_day(first + index * stride), (log - most).exp());
            sum += point.1;
        }
        for (_, weight) in &mut points {
            *weight /= sum;
        }
        Self { points, first, stride, count: logs.len() }
    }

    /// Rates, in changes per day, and the probability of each.
    pub fn points(&self) -> &[(f64, f64)] {
        self.points.get(..self.count).unwrap_or_default()
    }

    /// Adds the probability of each of the rates of a prior: the one under which this is believed.
    pub fn add_to(&self, sums: &mut [f64; RATES], prior: &GridPrior) {
        for (place, weight) in self.places() {
            prior.divide(weight, place, self.stride, sums);
        }
    }

    /// Points of the lattice of rates, and the probability of each.
    fn places(&self) -> impl Iterator<Item = (usize, f64)> {
        let places = (self.first..).step_by(self.stride);
        places.zip(self.points()).map(|(place, (_, weight))| (place, *weight))
    }

    fn mean_of(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.points().iter().map(|(rate, weight)| weight * f(*rate)).sum()
    }

    /// How likely an observation is, after days without a change.
    fn likelihood(&self, notices: &Notices, quiet_days: f64, seen: &Observation) -> f64 {
        let days = non_negative(seen.exposure_days, MAX_AGE_DAYS).max(LEAST_DAYS);
        let (told, found) = notices.causes(seen.noticed);
        let recall = notices.recall();
        self.mean_of(|rate| {
            let quiet = (-rate * quiet_days).exp();
            if seen.changed {
                let silent = (1.0 - recall) * rate;
                let found = found * silent * phi(silent, days);
                quiet * (told * rate + found) * (-recall * rate * days).exp()
            } else {
                quiet * (-rate * days).exp()
            }
        })
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

    fn slower_than(&self, per_day: f64) -> f64 {
        self.mean_of(|rate| if rate < per_day { 1.0 } else { 0.0 })
    }

    fn gain(&self, notices: &Notices, age_days: f64) -> Gain {
        let mut sum = Gain::default();
        for (rate, weight) in self.points() {
            // What is as improbable as this is not worth its exponentials.
            if *weight > 1e-6 {
                let gain = notices.habits(*rate, 1.0).quick_gain(age_days);
                sum.value += weight * gain.value;
                sum.slope_per_day += weight * gain.slope_per_day;
            }
        }
        sum
    }

    fn looks_per_day(&self, notices: &Notices, age_days: f64) -> f64 {
        self.mean_of(|rate| notices.habits(rate, 1.0).looks_per_day(Some(age_days)))
    }
}
