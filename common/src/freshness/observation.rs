//! What is learnt from, and what is believed after it.

use super::notices::Notices;
use super::solve;
use super::special::non_negative;
use super::value::Gain;

/// What remains of old evidence after a week, so that habits may change,
const KEPT_PER_WEEK: f64 = 0.98;
/// and after one exposure at least: where looks are rare, the last ten thousand are what there is. A
/// rate that is near the limit takes a thousand looks to tell, and a change of habits is found by
/// its own test.
const KEPT_AT_LEAST: f64 = 0.9999;

/// One look in so many, at a record that is worth its looks, is followed by one at an age that tells.
pub const EXPLORING: u32 = 2;
/// The standard deviation of ln D from which on a rate counts as known where it decides whether the
/// record is looked at at all,
const KNOWN_SPREAD: f64 = 0.1;
/// and where it only decides when. From `WIDE_SPREAD` on nothing is known yet.
const ROUGHLY_KNOWN_SPREAD: f64 = 0.3;
const WIDE_SPREAD: f64 = 1.0;
/// A record that is given up is tried again while its rate may be, with this probability (of Pareto
/// rates at 1 % of the change volume two good records in five were let go at 0.05),
const MAYBE_WORTH: f64 = 0.02;
/// below this part of the limit. What a record is worth beyond its looks grows from nothing at the
/// limit on, by about 0.6 w (1 - D/limit)^(3/2): closer to it there is nothing to be found.
const WELL_WORTH: f64 = 0.9;
/// A look at an age at which nothing has changed with this probability tells most, for what it costs,
/// about a rate that is known roughly. The Fisher information on ln D, x^2/(e^x - 1), is largest at
/// x = 1.59; but a later look finds more, and so costs less: near the limit most is told for its
/// price from x = 2 to x = 4.
const TELLING: f64 = 0.1;
/// Where nothing is known, one that finds a change as likely as not halves what is possible.
const HALVING: f64 = 0.5;

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
    /// by no more than a part in ten thousand.
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

    /// Probability that D is less than `per_day`.
    fn slower_than(&self, per_day: f64) -> f64;

    /// Looks per day, in the mean over D, at a record that is looked at whenever it reaches
    /// `age_days`: fewer than 1/age where notices come first.
    fn looks_per_day(&self, notices: &Notices, age_days: f64) -> f64;

    /// The age in days at which a look is worth `price`; `None`: not within a century.
    ///
    /// - `weight`: w; `price`: lambda for one look, both as in [`super::Habits`].
    fn threshold_age_days(&self, notices: &Notices, weight: f64, price: f64) -> Option<f64> {
        let weight = non_negative(weight, super::MAX_WEIGHT);
        let silent_per_day = (1.0 - notices.recall()) * self.mean_per_day();
        // With weight 0 the price per weight is infinite, and the answer never.
        solve::age_days(price / weight, silent_per_day, |age| self.gain(notices, age))
    }

    /// The age in days at which a record is looked at next: the threshold age, or one at which the
    /// look tells more.
    ///
    /// Integrating the posterior out explores by itself, but not enough. Looks at an age at which
    /// everything has changed say nothing about how fast it changes, and they are all that a record
    /// near the limit gets; and a record once believed to be too fast would never be looked at
    /// again. So a record that is given up, and whose rate may yet be well below the limit, is
    /// looked at at an age that tells, again and again, until its rate is known within a tenth or it
    /// is not worth it. One that is worth its looks, but is looked at too late to tell, gets every
    /// other look at that age, until its rate is known within a third.
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
        if threshold.is_some() && !explores {
            return threshold;
        }
        let spread = self.ln_spread();
        let known = if threshold.is_some() { ROUGHLY_KNOWN_SPREAD } else { KNOWN_SPREAD };
        if spread <= known {
            return threshold;
        }
        // A look is worth less than w/(D + n), whatever part of the changes is announced.
        let weight = non_negative(weight, super::MAX_WEIGHT);
        let limit_per_day = weight / price - notices.false_per_day();
        if threshold.is_none() && self.slower_than(WELL_WORTH * limit_per_day) < MAYBE_WORTH {
            return None;
        }
        let unchanged = if spread > WIDE_SPREAD { HALVING } else { TELLING };
        let telling = self.telling_age_days(notices, unchanged);
        Some(threshold.map_or(telling, |age| age.min(telling)))
    }

    /// The age in days at which a look finds nothing changed silently with probability
    /// `unchanged`.
    fn telling_age_days(&self, notices: &Notices, unchanged: f64) -> f64 {
        let silent = 1.0 - notices.recall();
        let (mut short, mut long) = (1e-6_f64.ln(), solve::MAX_AGE_DAYS.ln());
        for _ in 0..20 {
            let middle = f64::midpoint(short, long);
            if self.still_true(silent * middle.exp()) > unchanged {
                short = middle;
            } else {
                long = middle;
            }
        }
        long.exp().min(solve::MAX_AGE_DAYS)
    }
}

/// The share of old evidence that is left after an exposure of `days`.
pub(super) fn kept_after(days: f64) -> f64 {
    faded(days).max(KEPT_AT_LEAST)
}

/// The share that is left of what fades by time alone.
pub(super) fn faded(days: f64) -> f64 {
    (KEPT_PER_WEEK.ln() / 7.0 * non_negative(days, f64::MAX)).exp()
}
