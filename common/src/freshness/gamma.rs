//! A record's change rate as a Gamma distribution: two numbers of evidence in its row.
//!
//! Right where webhooks tell the rates, or where the rates of a type are spread evenly. Where
//! looks are the only evidence and a type has two sorts of record, see [`super::grid`].

use statrs::function::gamma::checked_gamma_lr;

use super::notices::Notices;
use super::observation::{Belief, Evidence, Observation, kept_after};
use super::quadrature;
use super::solve::MAX_AGE_DAYS;
use super::special::{non_negative, phi};
use super::value::{Gain, MAX_PER_DAY};

/// The rate D is Gamma(shape, exposure): mean shape/exposure, variance shape/exposure^2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gamma {
    shape: f64,
    exposure_days: f64,
}

/// The prior of a type is worth no more than this many changes of a record's own evidence, and
/// no less than the other.
const PRIOR_SHAPE: (f64, f64) = (0.05, 20.0);
/// Bounds of any shape, and of any exposure in days.
const SHAPE: (f64, f64) = (1e-3, 1e9);
const EXPOSURE_DAYS: (f64, f64) = (1e-6, 1e9);

impl Gamma {
    /// Takes any numbers; what is out of bounds becomes the nearest bound.
    pub fn new(shape: f64, exposure_days: f64) -> Self {
        Self {
            shape: non_negative(shape, SHAPE.1).max(SHAPE.0),
            exposure_days: non_negative(exposure_days, EXPOSURE_DAYS.1).max(EXPOSURE_DAYS.0),
        }
    }

    /// The distribution of this mean and variance.
    fn of_moments(mean_per_day: f64, variance: f64) -> Self {
        Self::new(mean_per_day * mean_per_day / variance, mean_per_day / variance)
    }

    /// alpha: like a number of changes.
    pub fn shape(&self) -> f64 {
        self.shape
    }

    /// beta: like the days in which they came.
    pub fn exposure_days(&self) -> f64 {
        self.exposure_days
    }

    /// D after a change was found: the first two moments of the exact posterior, projected back.
    ///
    /// The likelihood of D is e^(-q D t) [x D + y (1 - e^(-(1 - q) D t))]: no notice in t, and
    /// then a notice of a change (x = q), or a look (y = 1) or a false notice (y = n) that finds
    /// a silent one. With x = q, y = 0 the posterior is exactly Gamma(shape + 1, exposure + q t).
    pub(super) fn after_change(&self, notices: &Notices, days: f64, by_notice: bool) -> Self {
        let recall = notices.recall();
        let (told, found) = notices.causes(by_notice);
        // Less than a tenth of a millisecond is as good as none, and none would be 0/0.
        let days = days.max(1e-9);
        let exposure = self.exposure_days + recall * days;
        let reach = ((1.0 - recall) * days / exposure).ln_1p();
        let term = |k: f64| {
            told * (self.shape + k) / exposure - found * (-(self.shape + k) * reach).exp_m1()
        };
        let evidence = term(0.0);
        let mean = self.shape / exposure * term(1.0) / evidence;
        let square = self.shape * (self.shape + 1.0) / (exposure * exposure) * term(2.0) / evidence;
        let after = Self::of_moments(mean, square - mean * mean);
        // A change adds between nothing (it had to come) and one, and its exposure likewise.
        Self::new(
            after.shape.clamp(self.shape, self.shape + 1.0),
            after.exposure_days.clamp(self.exposure_days, self.exposure_days + days),
        )
    }

    /// G(t), the mean of (1 - e^(-D t))/D: beta/(alpha - 1) (1 - (1 + t/beta)^(1 - alpha)).
    fn true_days(&self, age: f64) -> f64 {
        self.exposure_days * phi(self.shape - 1.0, (age / self.exposure_days).ln_1p())
    }

    /// The mean gain without false notices, in closed form.
    ///
    /// V = G(s) - (1 - q)/q [G(t) - G(s)] with s = (1 - q) t; for q = 0 the second term is
    /// t (1 + t/beta)^(-alpha). dV/dt = (1 - q)/q [S(s) - S(t)] with S the survival function.
    fn gain_without_false_notices(&self, recall: f64, age: f64) -> Gain {
        let silent = 1.0 - recall;
        let (shape, exposure) = (self.shape, self.exposure_days);
        let before = silent * age;
        let survived = self.still_true(before);
        let rest = exposure + before;
        // ln((beta + t)/(beta + s)); and both differences divided by q, which may be tiny.
        let reach = (recall * age / rest).ln_1p();
        let (later, fallen) = if recall > 1e-9 {
            (
                survived * rest * phi(shape - 1.0, reach) / recall,
                -survived * (-shape * reach).exp_m1() / recall,
            )
        } else {
            (age * survived, survived * shape * age / rest)
        };
        let value = if (shape + 1.0) * age / exposure < 1e-5 {
            // The series: a t^2/2 - a (2 a + c) t^3/6 with the moments of D.
            let mean = shape / exposure;
            let square = mean * (shape + 1.0) / exposure;
            silent * age * age * (mean / 2.0 - (2.0 - recall) * square * age / 6.0)
        } else {
            self.true_days(before) - silent * later
        };
        Gain { value: value.max(0.0), slope_per_day: silent * fallen }
    }

    /// The mean gain with false notices, by quadrature:
    ///
    /// V = integral over x from 0 to t of e^(-n x) [S(x) - S((1 - q) t + q x)] dx.
    fn gain_with_false_notices(&self, notices: &Notices, age: f64) -> Gain {
        let (recall, false_per_day) = (notices.recall(), notices.false_per_day());
        let silent = 1.0 - recall;
        let (shape, exposure) = (self.shape, self.exposure_days);
        let fall_per_day = false_per_day + (shape + 1.0) / exposure;
        // Beyond 40/n nothing is left of the integrand.
        let end = age.min(40.0 / false_per_day);
        let (value, slope_per_day) = quadrature::over_decay(end, 1.0 / fall_per_day, |x| {
            let weight = (-false_per_day * x).exp() * self.still_true(x);
            let reach = (silent * (age - x) / (exposure + x)).ln_1p();
            let left = (-shape * reach).exp();
            let rate = shape / (exposure + silent * age + recall * x);
            (weight * -(-shape * reach).exp_m1(), weight * left * silent * rate)
        });
        Gain { value: value.max(0.0), slope_per_day }
    }
}

impl Default for Gamma {
    /// What is believed of a type of which nothing is known: a change in 30 days, or in 3, or in
    /// 300.
    fn default() -> Self {
        Self::new(0.5, 15.0)
    }
}

impl Belief for Gamma {
    fn mean_per_day(&self) -> f64 {
        self.shape / self.exposure_days
    }

    /// (1 + t/beta)^(-alpha).
    fn still_true(&self, exposure_days: f64) -> f64 {
        let days = non_negative(exposure_days, MAX_AGE_DAYS);
        (-self.shape * (days / self.exposure_days).ln_1p()).exp()
    }

    /// The root of the trigamma function of alpha: 1/alpha^2, and its asymptotic series from
    /// alpha + 1 on.
    fn ln_spread(&self) -> f64 {
        let next = 1.0 / (self.shape + 1.0);
        let tail = next * (1.0 + next * (0.5 + next / 6.0));
        (1.0 / (self.shape * self.shape) + tail).sqrt()
    }

    /// The regularised incomplete gamma function.
    fn slower_than(&self, per_day: f64) -> f64 {
        let x = self.exposure_days * non_negative(per_day, MAX_PER_DAY);
        if x > 0.0 { checked_gamma_lr(self.shape, x).unwrap_or(1.0) } else { 0.0 }
    }

    /// At the mean rate: the rates of a Gamma that webhooks tell are close to it.
    fn looks_per_day(&self, notices: &Notices, age_days: f64) -> f64 {
        notices.habits(self.mean_per_day(), 1.0).looks_per_day(Some(age_days))
    }

    fn gain(&self, notices: &Notices, age_days: f64) -> Gain {
        let age = non_negative(age_days, MAX_AGE_DAYS);
        if notices.false_per_day() * age < 1e-6 {
            self.gain_without_false_notices(notices.recall(), age)
        } else {
            self.gain_with_false_notices(notices, age)
        }
    }
}

/// What a record's own observations add to the prior of its type. Stored as two `double
/// precision`; both 0 for a new record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GammaEvidence {
    /// Added to alpha: changes found, less where one look may have covered several.
    pub changes: f64,
    /// Added to beta.
    pub exposure_days: f64,
}

impl Evidence for GammaEvidence {
    type Prior = Gamma;
    type Belief = Gamma;

    /// Unchanged after t days, whoever looked: beta grows by t, exactly. Changed: the first two
    /// moments of the posterior are kept.
    fn observe(&self, prior: &Gamma, notices: &Notices, seen: &Observation) -> Self {
        let days = non_negative(seen.exposure_days, MAX_AGE_DAYS);
        let kept = kept_after(days);
        let old = Self { changes: self.changes * kept, exposure_days: self.exposure_days * kept };
        let before = old.belief(prior);
        let after = if seen.changed {
            before.after_change(notices, days, seen.noticed)
        } else {
            Gamma::new(before.shape, before.exposure_days + days)
        };
        Self {
            changes: (after.shape - prior.shape).max(0.0),
            exposure_days: (after.exposure_days - prior.exposure_days).max(0.0),
        }
    }

    fn belief(&self, prior: &Gamma) -> Gamma {
        Gamma::new(
            prior.shape + non_negative(self.changes, SHAPE.1),
            prior.exposure_days + non_negative(self.exposure_days, EXPOSURE_DAYS.1),
        )
    }

    /// Moment matching: the mean of D over the type is the mean of the records' means, its
    /// variance the variance of these means plus the mean of the records' variances.
    fn refit(prior: &Gamma, records: impl IntoIterator<Item = Self>) -> Gamma {
        let (mut count, mut means, mut squares) = (0.0, 0.0, 0.0);
        for record in records {
            let belief = record.belief(prior);
            let mean = belief.mean_per_day();
            count += 1.0;
            means += mean;
            squares += mean * mean + mean / belief.exposure_days;
        }
        if count < 1.0 {
            return *prior;
        }
        let mean = means / count;
        let fitted = Gamma::of_moments(mean, (squares / count - mean * mean).max(0.0));
        let shape = fitted.shape.clamp(PRIOR_SHAPE.0, PRIOR_SHAPE.1);
        Gamma::new(shape, shape / mean)
    }
}
