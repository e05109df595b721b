//! The age at which a look is worth its price: Newton's method, kept inside a bracket.

use super::value::Gain;

/// An age that is not reached: what would be due later is never due.
pub(super) const MAX_AGE_DAYS: f64 = 36_500.0;

/// Steps at most. Newton takes four to eight; sixty halvings of the logarithm also suffice.
const MAX_STEPS: usize = 100;

/// The age in days at which `gain` reaches `price`; `None` when that is never or in a century.
///
/// - `price`: in the unit of [`Gain::value`]; 0, less, or not a number: due at once.
/// - `silent_per_day`: weight times the expected rate of silent changes. V(t) is at most half of
///   it times t^2, so the root is no smaller than where that reaches the price.
///
/// Newton's steps are taken on log V over log t, which is concave there: from the left they do
/// not pass the root. What leaves the bracket is replaced by its geometric middle.
pub(super) fn age_days(price: f64, silent_per_day: f64, gain: impl Fn(f64) -> Gain) -> Option<f64> {
    if price.is_nan() || price <= 0.0 {
        return Some(0.0);
    }
    let start = (2.0 * price / silent_per_day).sqrt();
    // Also false where the start is not a number.
    let reachable = start < MAX_AGE_DAYS && gain(MAX_AGE_DAYS).value >= price;
    if !reachable {
        return None;
    }
    let (mut low, mut high) = (start * (1.0 - 1e-6), MAX_AGE_DAYS);
    let mut age = start;
    for _ in 0..MAX_STEPS {
        let Gain { value, slope_per_day } = gain(age);
        if value < price {
            low = age;
        } else {
            high = age;
        }
        let step = (price / value).ln() * value / (age * slope_per_day);
        let mut next = age * step.exp();
        let inside = low < next && next < high;
        if !inside {
            next = (low * high).sqrt();
        }
        // Newton's steps square their error: after one so small, the next would change nothing.
        let close = (next - age).abs() <= 1e-5 * age && inside || high - low <= 1e-9 * high;
        age = next;
        if close {
            break;
        }
    }
    Some(age)
}
