//! A sample of fixed size, looked at once.

use super::beta::quantile;
use super::level;
use super::sequence::{Interval, Outcomes};

/// The interval in which the share of wrong records lies with probability at least 1 - alpha,
/// whatever the share: from Beta(alpha/2; k, m - k + 1) to Beta(1 - alpha/2; k + 1, m - k).
///
/// Valid when the number of samples was fixed beforehand and is looked at once. For what is
/// watched while samples come in, see [`Outcomes::interval`].
///
/// Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case
/// of the binomial", Biometrika 26, 1934.
pub fn clopper_pearson(outcomes: Outcomes, alpha: f64) -> Interval {
    let half = level(alpha) / 2.0;
    Interval { lower: lower(outcomes, half), upper: upper(outcomes, half) }
}

/// The share of wrong records is below this with probability at least 1 - alpha. With none wrong
/// among m it is 1 - alpha^(1/m): 300 right ones say "below 1 %" at alpha = 0.05.
pub fn upper_bound(outcomes: Outcomes, alpha: f64) -> f64 {
    upper(outcomes, level(alpha))
}

/// A bulk run's confidence score: the share of its records that are right, at least, with
/// probability 1 - alpha. 0 when nothing was sampled.
pub fn confidence_score(outcomes: Outcomes, alpha: f64) -> f64 {
    1.0 - upper_bound(outcomes, alpha)
}

fn lower(outcomes: Outcomes, probability: f64) -> f64 {
    let (wrong, right) = outcomes.counts();
    if wrong < 1.0 { 0.0 } else { quantile(probability, wrong, right + 1.0) }
}

fn upper(outcomes: Outcomes, probability: f64) -> f64 {
    let (wrong, right) = outcomes.counts();
    if right < 1.0 { 1.0 } else { quantile(1.0 - probability, wrong + 1.0, right) }
}
