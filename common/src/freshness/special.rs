//! The few functions that the formulas share.

/// `x` within 0 and `most`; what is not a number is 0.
pub(super) fn non_negative(x: f64, most: f64) -> f64 {
    if x.is_nan() { 0.0 } else { x.clamp(0.0, most) }
}

/// phi(r, t) = (1 - e^(-r t))/r, the integral of e^(-r s) for s from 0 to t; phi(0, t) = t. The
/// rate may be negative.
pub(super) fn phi(rate: f64, time: f64) -> f64 {
    let x = rate * time;
    if x.abs() < 1e-8 { time * (1.0 - 0.5 * x) } else { -(-x).exp_m1() / rate }
}
