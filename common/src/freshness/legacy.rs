//! Evidence as rows held it first: the logarithm of the likelihood of sixteen rates.

use std::sync::LazyLock;

use super::rates::{EXPOSURES, LAST, OCTAVE, ln_likelihood, per_day};

/// Rounds of the fit, a tenth of a millisecond in all. A row is read so once, and written anew at
/// its next look.
const ROUNDS: usize = 300;
/// Rates of which rows held the likelihood.
const RATES: usize = 16;
/// What seemed less likely than this was cut off there.
const FLOOR: f32 = -19.9;
/// Parameters: a constant, the days without a change, and a count for each exposure.
const COLUMNS: usize = EXPOSURES + 2;

/// What one unit of each parameter adds at each rate.
static UNITS: LazyLock<[[f64; RATES]; COLUMNS]> = LazyLock::new(|| {
    let mut units = [[1.0; RATES]; COLUMNS];
    for (index, column) in units.iter_mut().enumerate().skip(1) {
        let mut counts = [0.0; EXPOSURES];
        if let Some(count) = index.checked_sub(2).and_then(|change| counts.get_mut(change)) {
            *count = 1.0;
        }
        for (value, point) in column.iter_mut().zip((0..=LAST).step_by(OCTAVE)) {
            *value = if index == 1 { -per_day(point) } else { ln_likelihood(point, 0.0, &counts) };
        }
    }
    units
});

/// The days without a change and the changes found that explain `ln_likelihoods`, of rates an octave
/// apart, best: least squares over what is likely, by coordinate descent, none negative.
pub(super) fn explain(ln_likelihoods: &[f32; RATES]) -> (f64, [f32; EXPOSURES]) {
    // What is a hundred times less likely hardly matters.
    let weights = ln_likelihoods
        .map(|value| if value > FLOOR { (f64::from(value) / 2.0).exp() + 1e-3 } else { 0.0 });
    let mut left = ln_likelihoods.map(f64::from);
    let mut found = [0.0_f64; COLUMNS];
    for _ in 0..ROUNDS {
        for (index, (parameter, column)) in found.iter_mut().zip(UNITS.iter()).enumerate() {
            let (mut up, mut down) = (0.0, 1e-12);
            for ((x, weight), left) in column.iter().zip(weights).zip(left) {
                up += weight * x * left;
                down += weight * x * x;
            }
            let better = *parameter + up / down;
            // The constant may be anything.
            let better = if index == 0 { better } else { better.max(0.0) };
            for (left, x) in left.iter_mut().zip(column) {
                *left -= (better - *parameter) * x;
            }
            *parameter = better;
        }
    }
    let [_, unchanged_days, counts @ ..] = found;
    #[expect(clippy::cast_possible_truncation, reason = "stored with less precision")]
    let counts = counts.map(|count| count as f32);
    (unchanged_days, counts)
}
