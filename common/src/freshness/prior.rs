//! How many records of a type have which change rate: what is believed of a record before anything
//! was seen of it.

use super::rates::{LAST, per_day};
use super::special::non_negative;

/// Rates of which the share among a type's records is learnt: eighths of an octave, from one change
/// in 512 days to 64 a day, each standing for those around it.
pub const RATES: usize = 121;
/// Points of the lattice of rates from one to the next.
const APART: usize = 4;
const _: () = assert!((RATES - 1) * APART == LAST, "the rates are those of the lattice");
/// Types that were fitted before have the shares of whole octaves.
const OCTAVES: usize = 16;

/// The prior gives every rate at least its part of this, so that none is ruled out.
const SPREAD: f64 = 0.02;

/// The share of a type's records around each of [`RATES`] rates; sums to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridPrior {
    weights: [f64; RATES],
    /// The sum of those before each.
    below: [f64; RATES],
}

impl GridPrior {
    /// From weights, which need not sum to 1; where all are 0, nothing is known.
    pub fn new(weights: [f64; RATES]) -> Self {
        let mut weights = weights.map(|weight| non_negative(weight, 1e9));
        let sum: f64 = weights.iter().sum();
        if sum <= 0.0 {
            return Self::default();
        }
        let mut below = [0.0; RATES];
        let mut before = 0.0;
        for (weight, below) in weights.iter_mut().zip(&mut below) {
            *weight = (1.0 - SPREAD) * *weight / sum + SPREAD * UNIFORM;
            *below = before;
            before += *weight;
        }
        Self { weights, below }
    }

    /// From weights as they are stored: one for each rate, or for each whole octave, with straight
    /// lines between; any other number of them says nothing.
    pub fn from_stored(weights: &[f64]) -> Self {
        if let Ok(weights) = weights.try_into() {
            return Self::new(weights);
        }
        let Ok(octaves) = <[f64; OCTAVES]>::try_from(weights) else { return Self::default() };
        let mut weights = [0.0; RATES];
        for (pair, eight) in octaves.windows(2).zip(weights.chunks_mut(8)) {
            for (weight, beyond) in
                eight.iter_mut().zip((0..8).map(|eighths| f64::from(eighths) / 8.0))
            {
                let [before, after] = pair else { continue };
                *weight = (1.0 - beyond) * before + beyond * after;
            }
        }
        if let (Some(last), Some(octave)) = (weights.last_mut(), octaves.last()) {
            *last = *octave;
        }
        Self::new(weights)
    }

    /// The share of records around each rate, from the slowest on.
    pub fn weights(&self) -> &[f64; RATES] {
        &self.weights
    }

    /// The rates, in changes per day.
    pub fn rates_per_day() -> impl Iterator<Item = f64> {
        (0..=LAST).step_by(APART).map(per_day)
    }

    /// The share of records whose rate lies around a point of the lattice: half of `stride` points
    /// either way.
    pub(super) fn share(&self, point: usize, stride: usize) -> f64 {
        let (from, until) = span(point, stride);
        self.before(until) - self.before(from)
    }

    /// Adds `weight`, which is believed of the rates around a point, to the sums of those, in
    /// proportion to their shares.
    pub(super) fn divide(&self, weight: f64, point: usize, stride: usize, sums: &mut [f64; RATES]) {
        let (from, until) = span(point, stride);
        let part = weight / (self.before(until) - self.before(from));
        let cells = sums.iter_mut().zip(&self.weights).zip(0..).skip(cell(from));
        for ((sum, share), at) in cells {
            let begin = f64::from(at);
            if begin >= until {
                break;
            }
            *sum += part * share * (until.min(begin + 1.0) - from.max(begin));
        }
    }

    /// The share of records below a place on the line of cells, within which all rates are alike.
    fn before(&self, place: f64) -> f64 {
        let cell = cell(place);
        let get = |of: &[f64; RATES]| of.get(cell).copied().unwrap_or_default();
        get(&self.below) + (place - index(cell)) * get(&self.weights)
    }
}

const UNIFORM: f64 = 1.0 / 121.0;

impl Default for GridPrior {
    /// Nothing is known: every octave is as good as any other.
    fn default() -> Self {
        Self::new([1.0; RATES])
    }
}

/// Where the rates around a point begin and end, on the line on which the cell of each rate is 1
/// long.
fn span(point: usize, stride: usize) -> (f64, f64) {
    let place = |half: f64| {
        let cells = (index(point) + half * index(stride)) / index(APART) + 0.5;
        cells.clamp(0.0, index(RATES))
    };
    (place(-0.5), place(0.5))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 121")]
fn cell(place: f64) -> usize {
    (place as usize).min(RATES - 1)
}

#[expect(clippy::cast_precision_loss, reason = "some hundred")]
fn index(of: usize) -> f64 {
    of as f64
}
