//! Several strata, one answer.

use super::sequence::{Interval, Outcomes};

/// The audit samples of one connection and record type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stratum {
    /// N_h: how many records it has, or what they weigh together.
    pub weight: f64,
    /// Samples drawn uniformly from it.
    pub outcomes: Outcomes,
}

/// The share of wrong records over all strata.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Combined {
    /// The sum of N_h/N times the share in h. A stratum without samples counts with the mean of
    /// the others; `None` when none has samples.
    pub share: Option<f64>,
    /// Bounds, at all times together.
    pub interval: Interval,
}

/// The bounds add with the weights N_h/N, each stratum's confidence sequence at level alpha over
/// the number of strata (Bonferroni): together they hold with probability at least 1 - alpha.
/// Strata that weigh nothing are left out; one without samples may be anything from 0 to 1.
pub fn combine(strata: &[Stratum], alpha: f64) -> Combined {
    let weighty =
        || strata.iter().filter(|stratum| stratum.weight.is_finite() && stratum.weight > 0.0);
    let total: f64 = weighty().map(|stratum| stratum.weight).sum();
    let count = weighty().fold(0.0, |count, _| count + 1.0);
    if count < 1.0 {
        return Combined { share: None, interval: Interval { lower: 0.0, upper: 1.0 } };
    }
    let (mut lower, mut upper, mut sampled, mut wrong) = (0.0, 0.0, 0.0, 0.0);
    for Stratum { weight, outcomes } in weighty() {
        let part = weight / total;
        let interval = outcomes.interval(alpha / count);
        lower += part * interval.lower;
        upper += part * interval.upper;
        if let Some(share) = outcomes.share() {
            sampled += part;
            wrong += part * share;
        }
    }
    Combined {
        share: (sampled > 0.0).then(|| wrong / sampled),
        interval: Interval { lower: lower.max(0.0), upper: upper.min(1.0) },
    }
}
