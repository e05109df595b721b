//! Quantiles of the Beta distribution.

use statrs::function::beta::checked_beta_reg;

/// Halvings: to 1e-18.
const STEPS: usize = 60;

/// The `x` below which Beta(a, b) lies with probability `probability`, by bisection on the
/// regularised incomplete beta function, which is monotone.
///
/// - `a`, `b`: above 0, up to a million. The error is below 1e-9 of a standard deviation up to
///   1e5, below 1e-2 of one up to 1e6.
pub(super) fn quantile(probability: f64, a: f64, b: f64) -> f64 {
    bisect(|x| checked_beta_reg(a, b, x).is_ok_and(|below| below < probability), 0.0, 1.0)
}

/// Where `still_low` turns from true to false between `low` and `high`.
pub(super) fn bisect(still_low: impl Fn(f64) -> bool, low: f64, high: f64) -> f64 {
    let (mut low, mut high) = (low, high);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if still_low(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}
