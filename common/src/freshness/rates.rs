//! The rates that are told apart, and what a found change says about each.
//!
//! Rates lie on a lattice of 1/32 octave, from one change in 512 days to 64 a day. What a look that
//! found a change after t days says about a rate r is ln(1 - e^(-r t)), a function of r t alone, so
//! one table holds it for all rates and all exposures.

use std::sync::LazyLock;

/// Points in an octave.
const FINE: i32 = 32;
/// The slowest rate, in octaves around one change a day, and the fastest.
const OCTAVES: (i32, i32) = (-9, 6);
/// The last point of the lattice; the first is 0.
pub(super) const LAST: usize = 480;
const _: () = assert!(FINE * (OCTAVES.1 - OCTAVES.0) == 480, "LAST is the number of steps");
/// Points from one whole octave to the next.
pub(super) const OCTAVE: usize = 32;

/// Exposures that are told apart: so many,
pub(super) const EXPOSURES: usize = 14;
/// this many points of the lattice from one to the next,
const APART: usize = 52;
/// the first of them in octaves around a day (21 s; the last is 560 days).
const FIRST: i32 = -12;

/// What is worked out once.
struct Tables {
    /// Changes per day at each point.
    per_day: Vec<f64>,
    /// ln(1 - e^(-x)), at x = 2^(-21), and on by 1/32 octave.
    found: Vec<f64>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let octaves = |from: i32, point: i32| f64::from(from) + f64::from(point) / f64::from(FINE);
    let per_day = (0..=480).map(|point| octaves(OCTAVES.0, point).exp2());
    let found = (0..=480 + 13 * 52).map(|point| {
        let x = octaves(OCTAVES.0 + FIRST, point).exp2();
        (-(-x).exp_m1()).ln()
    });
    Tables { per_day: per_day.collect(), found: found.collect() }
});

/// Changes per day at a point of the lattice.
pub(super) fn per_day(point: usize) -> f64 {
    TABLES.per_day.get(point).copied().unwrap_or(f64::NAN)
}

/// The logarithm of the likelihood of the rate at a point: e^(-r T) for `unchanged_days` T, and
/// (1 - e^(-r t)) for each of the changes found after the exposures t that [`spread`] names.
pub(super) fn ln_likelihood(point: usize, unchanged_days: f64, changes: &[f32; EXPOSURES]) -> f64 {
    let table = TABLES.found.get(point..).unwrap_or_default();
    let found: f64 =
        table.iter().step_by(APART).zip(changes).map(|(one, count)| one * f64::from(*count)).sum();
    found - per_day(point) * unchanged_days
}

/// A change found after `days` as counts at four of the exposures, the first of which has the index
/// that is returned.
///
/// Cubic interpolation is right within half a percent of what one look says, but where a record is
/// looked at hundreds of times at much the same age these half percents have one sign, and add up to
/// a rate that is not its own. So the counts are moved by as little as makes them right where it
/// matters: least squares over the rates that are believed, which are held to the interpolation by
/// [`HELD`].
///
/// - `believed`: points of the lattice, and how probable each is.
pub(super) fn spread(days: f64, believed: impl Iterator<Item = (usize, f64)>) -> (usize, [f64; 4]) {
    let (first, mut counts) = interpolated(days);
    // The equations for what is to be added: coefficients, and behind them the right side.
    let mut equations = [[0.0; 5]; 4];
    for (index, row) in equations.iter_mut().enumerate() {
        if let Some(diagonal) = row.get_mut(index) {
            *diagonal = HELD;
        }
    }
    for (point, probability) in believed {
        let table = TABLES.found.get(point + first * APART..).unwrap_or_default();
        let mut terms = [0.0; 5];
        let mut off = found_after(point, days);
        for ((term, one), count) in terms.iter_mut().zip(table.iter().step_by(APART)).zip(counts) {
            *term = *one;
            off -= count * one;
        }
        terms[4] = off;
        for (row, one) in equations.iter_mut().zip(terms) {
            for (sum, other) in row.iter_mut().zip(terms) {
                *sum += probability * one * other;
            }
        }
    }
    for (count, more) in counts.iter_mut().zip(solved(equations)) {
        *count += more;
    }
    (first, counts)
}

/// How much the counts are held to what cubic interpolation says.
const HELD: f64 = 1e-6;

/// The counts that cubic interpolation over ln t makes of a change found after `days`.
fn interpolated(days: f64) -> (usize, [f64; 4]) {
    let steps = f64::from(FINE) / 52.0;
    let at = ((days.log2() - f64::from(FIRST)) * steps).clamp(0.0, 13.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 11")]
    let before = at.floor().clamp(1.0, 11.0) as usize;
    let x = at - f64::from(u32::try_from(before).unwrap_or(1));
    let counts = [
        -x * (x - 1.0) * (x - 2.0) / 6.0,
        (x + 1.0) * (x - 1.0) * (x - 2.0) / 2.0,
        -(x + 1.0) * x * (x - 2.0) / 2.0,
        (x + 1.0) * x * (x - 1.0) / 6.0,
    ];
    (before - 1, counts)
}

/// ln(1 - e^(-r t)) of the rate at a point, by straight lines in the table.
fn found_after(point: usize, days: f64) -> f64 {
    let at = f64::from(FINE) * (days.log2() - f64::from(FIRST));
    let at = at.clamp(0.0, f64::from(13 * 52 - 1));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 675")]
    let before = at as usize;
    match TABLES.found.get(point + before..) {
        Some([one, other, ..]) => one + at.fract() * (other - one),
        _ => 0.0,
    }
}

/// The solution of four equations whose matrix is symmetric and positive, by elimination.
fn solved(mut equations: [[f64; 5]; 4]) -> [f64; 4] {
    for pivot in 0..4 {
        let used = equations.get(pivot).copied().unwrap_or_default();
        let at_pivot = |row: &[f64; 5]| row.get(pivot).copied().unwrap_or_default();
        for (index, row) in equations.iter_mut().enumerate() {
            if index != pivot {
                let times = at_pivot(row) / at_pivot(&used);
                for (value, of_used) in row.iter_mut().zip(used) {
                    *value -= times * of_used;
                }
            }
        }
    }
    let [a, b, c, d] = equations;
    [a[4] / a[0], b[4] / b[1], c[4] / c[2], d[4] / d[3]]
}
