//! Seeded chance: every random decision comes from a stream named after its purpose.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

/// One stream of random numbers.
///
/// Purposes have streams of their own, so that a change made by hand does not alter which
/// spontaneous changes follow.
#[derive(Debug)]
pub(crate) struct Chance(StdRng);

impl Chance {
    /// The stream of `purpose` in the universe of `seed`.
    pub(crate) fn of(seed: u64, purpose: &str) -> Self {
        // FNV-1a: only to tell purposes apart.
        let salt = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(StdRng::seed_from_u64(seed ^ salt))
    }

    /// A stream of its own: however much is drawn from it, this one goes on the same.
    pub(crate) fn branch(&mut self) -> Self {
        Self(StdRng::seed_from_u64(self.0.random()))
    }

    /// True with probability `share`, which is cut to 0..=1.
    pub(crate) fn happens(&mut self, share: f64) -> bool {
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.0.random_bool(share)
    }

    /// A waiting time of a Poisson process with this mean; zero for a mean of zero.
    pub(crate) fn exponential(&mut self, mean: Duration) -> Duration {
        let uniform: f64 = self.0.random();
        // 1 - uniform lies in (0, 1], so the logarithm is finite.
        Duration::try_from_secs_f64(-(1.0 - uniform).ln() * mean.as_secs_f64())
            .unwrap_or(Duration::MAX)
    }

    /// Log-normal by Box-Muller: half the draws are above `median`, `sigma` spreads the logarithm.
    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let (first, second): (f64, f64) = (self.0.random(), self.0.random());
        let normal = (-2.0 * (1.0 - first).ln()).sqrt() * (std::f64::consts::TAU * second).cos();
        median * (sigma * normal).exp()
    }

    /// A duration between the two, both included.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        if high <= low { low } else { self.0.random_range(low..=high) }
    }

    /// A whole number in `low..high`; `low` when the range is empty.
    pub(crate) fn number(&mut self, low: u64, high: u64) -> u64 {
        if high <= low { low } else { self.0.random_range(low..high) }
    }

    /// Uniform in 0..1.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.0.random()
    }

    /// One of them; `None` when there is none.
    pub(crate) fn pick<'a, T>(&mut self, options: &'a [T]) -> Option<&'a T> {
        options.choose(&mut self.0)
    }

    /// One of the words.
    pub(crate) fn word(&mut self, words: &[&'static str]) -> &'static str {
        self.pick(words).copied().unwrap_or_default()
    }

    /// One of the words, but not the one that stands there now.
    pub(crate) fn other(&mut self, words: &[&'static str], current: Option<&str>) -> &'static str {
        let others: Vec<&'static str> =
            words.iter().copied().filter(|word| Some(*word) != current).collect();
        self.word(&others)
    }

    /// Puts them in random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        items.shuffle(&mut self.0);
    }

    /// `length` characters of `alphabet`.
    pub(crate) fn text(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).filter_map(|_| self.pick(&letters)).collect()
    }
}
