//! What is learnt from, and what is believed after it.

use super::notices::Notices;
use super::solve;
use super::special::non_negative;
use super::value::Gain;

/// What remains of old evidence after a week, so that habits may change,
const KEPT_PER_WEEK: f64 = 0.98;
/// and after one exposure at least: where looks are rare, the last thirty are what there is.
const KEPT_AT_LEAST: f64 = 0.97;

/// One look in so many is followed by one at the age that tells most.
pub const EXPLORING: u32 = 5;
/// The standard deviation of ln D from which on a rate counts as known.
const KNOWN_SPREAD: f64 = 0.3;

/// What one look, planned or because of a notice, says about the time before it.
///
/// Exposures tile a record's life: each begins where the one before ended. What cannot be judged
/// (a webhook in flight, a record just created) is left out whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Days since the record was last known to be true.
    pub exposure_days: f64,
    /// The record was found different.
    pub changed: bool,
    /// A notice led to the look. Otherwise there was none in all this time.
    pub noticed: bool,
}

/// What a record's row keeps about its habits: small, fixed in size, updated in constant time.
///
/// Evidence is kept apart from the prior of the record type, so that a better prior reaches every
/// record at once, and a record whose evidence is forgotten becomes an ordinary one of its type.
pub trait Evidence: Copy + Default {
    /// What is believed of a record of this type before anything is known of it.
    type Prior: Clone + Default;
    /// What is believed of this record.
    type Belief: Belief;

    /// The evidence after one more observation; what is older is discounted by 2 % a week, but
    /// by no more than 3 %.
    #[must_use]
    fn observe(&self, prior: &Self::Prior, notices: &Notices, seen: &Observation) -> Self;

    /// Prior and evidence together.
    fn belief(&self, prior: &Self::Prior) -> Self::Belief;

    /// The prior that fits a type's records better than `prior` did. Refitted daily, on all
    /// records or on a uniformly random thousand of them.
    fn refit(prior: &Self::Prior, records: impl IntoIterator<Item = Self>) -> Self::Prior;
}

/// A distribution of a record's change rate D, per day.
pub trait Belief {
    /// The mean of D.
    fn mean_per_day(&self) -> f64;

    /// Probability that nothing changed during `exposure_days`: the mean of e^(-D t).
    fn still_true(&self, exposure_days: f64) -> f64;

    /// What a look at age `age_days` is worth for a weight of 1, D integrated out. An uncertain
    /// record keeps a fat tail of value, and so is explored.
    fn gain(&self, notices: &Notices, age_days: f64) -> Gain;

    /// The standard deviation of ln D: how many e-folds the rate may be off.
    fn ln_spread(&self) -> f64;

    /// The age in days at which a look is worth `price`; `None`: not within a century.
    ///
    /// - `weight`: w; `price`: lambda for one look, both as in [`super::Habits`].
    fn threshold_age_days(&self, notices: &Notices, weight: f64, price: f64) -> Option<f64> {
        let weight = non_negative(weight, super::MAX_WEIGHT);
        let silent_per_day = (1.0 - notices.recall()) * self.mean_per_day();
        // With weight 0 the price per weight is infinite, and the answer never.
        solve::age_days(price / weight, silent_per_day, |age| self.gain(notices, age))
    }

    /// The age in days at which a record is looked at next: the threshold age, or the telling age
    /// where that comes first, the record `explores` and its rate is not known within a third.
    ///
    /// Integrating the posterior out explores by itself, but not enough: looks at an age at which
    /// everything has changed say nothing about how fast it changes, and a record once believed
    /// to be too fast would never be looked at again.
    ///
    /// - `explores`: drawn when the record was last looked at, true once in [`EXPLORING`].
    fn planned_age_days(
        &self,
        notices: &Notices,
        weight: f64,
        price: f64,
        explores: bool,
    ) -> Option<f64> {
        let threshold = self.threshold_age_days(notices, weight, price);
        if !explores || self.ln_spread() <= KNOWN_SPREAD {
            return threshold;
        }
        let telling = self.telling_age_days(notices);
        Some(threshold.map_or(telling, |age| age.min(telling)))
    }

    /// The age in days at which a look tells most: it finds a change as likely as not. Each look
    /// at it halves what is possible, so that a few find a rate among many octaves.
    fn telling_age_days(&self, notices: &Notices) -> f64 {
        let silent = 1.0 - notices.recall();
        let (mut short, mut long) = (1e-6_f64.ln(), solve::MAX_AGE_DAYS.ln());
        for _ in 0..30 {
            let middle = f64::midpoint(short, long);
            if self.still_true(silent * middle.exp()) > 0.5 {
                short = middle;
            } else {
                long = middle;
            }
        }
        long.exp().min(solve::MAX_AGE_DAYS)
    }
}

/// The share of old evidence that is left after an exposure of `elapsed_days`.
pub(super) fn kept_after(elapsed_days: f64) -> f64 {
    (KEPT_PER_WEEK.ln() / 7.0 * non_negative(elapsed_days, f64::MAX)).exp().max(KEPT_AT_LEAST)
}
