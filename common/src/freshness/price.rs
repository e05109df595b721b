//! The price that a budget calls for, from what is believed of the records.

/// Prices are sought within so many e-folds of where the search begins: nine decades either way.
const REACH: f64 = 21.0;
/// The price is right within this, in nats.
const CLOSE: f64 = 1e-3;

/// The price at which what is asked for is what there is.
///
/// - `start`: a price that may be close: what was found last, or any.
/// - `budget`: looks or requests per day.
/// - `demand`: those that all records take at a price, per day; must not rise with it.
///
/// Doubles the distance from `start` until the price is between, and then halves; twenty to thirty
/// calls from far off, ten from close by. Where no price within nine decades is right, the end that
/// is closest.
pub fn fitting_price(start: f64, budget: f64, demand: impl Fn(f64) -> f64) -> f64 {
    let start = if start.is_finite() && start > 0.0 { start.ln() } else { 0.0 };
    let is_too_low = |ln_price: f64| demand(ln_price.exp()) > budget;
    let up = is_too_low(start);
    let sign = if up { 1.0 } else { -1.0 };
    let (mut near, mut far, mut step) = (start, start, 0.05);
    while is_too_low(far) == up {
        if (far - start).abs() >= REACH {
            return far.exp();
        }
        near = far;
        far = start + sign * step;
        step *= 2.0;
    }
    while (far - near).abs() > CLOSE {
        let middle = f64::midpoint(near, far);
        if is_too_low(middle) == up {
            near = middle;
        } else {
            far = middle;
        }
    }
    far.exp()
}
