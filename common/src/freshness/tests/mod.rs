//! Each formula against numerical integration or brute force; no number out that is none.

mod controller;
mod exploring;
mod learning;
mod notices;
mod population;
mod request;
mod safety;
mod value;

/// The integral of `f` over 0 to `end` by Simpson's rule, fine near 0.
fn integral(end: f64, f: impl Fn(f64) -> f64) -> f64 {
    // x = end * u^3 spends points where the integrands bend.
    let steps = 2_000_u32;
    let g = |u: f64| 3.0 * end * u * u * f(end * u * u * u);
    let h = 1.0 / f64::from(steps);
    let inner: f64 =
        (1..steps).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * g(f64::from(i) * h)).sum();
    h / 3.0 * (g(0.0) + inner + g(1.0))
}

#[track_caller]
fn assert_near(actual: f64, expected: f64, relative: f64) {
    let off = (actual - expected).abs();
    assert!(off <= relative * expected.abs(), "{actual} instead of {expected}");
}
