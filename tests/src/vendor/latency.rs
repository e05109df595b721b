//! How long a request or an answer is on its way.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Nothing is faster.
const LEAST_S: f64 = 0.02;
/// Median of the log-normal part.
const MEDIAN_S: f64 = 0.03;
/// Sigma of its logarithm: one way in some 4,000 takes a second.
const SIGMA: f64 = 1.0;
/// The log-normal part is cut here.
const MOST_S: f64 = 1.0;
/// Share of one way that stalls: half of the 0.2 % of all requests.
const STALLED: f64 = 0.001;
/// How long a stall is.
const STALL_S: std::ops::Range<f64> = 1.0..5.0;

/// Latencies from a seeded generator.
#[derive(Debug)]
pub struct Latency(StdRng);

impl Latency {
    /// The latencies of this seed.
    pub fn of(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// The time of one way: 20 ms, a log-normal part of up to 1 s, and rarely a stall of 1 to 5 s.
    pub fn one_way(&mut self) -> Duration {
        // Box and Muller: two uniform numbers make a normal one. 1 - u lies in (0, 1].
        let u: f64 = self.0.random();
        let v: f64 = self.0.random();
        let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        let jitter = (MEDIAN_S * (SIGMA * normal).exp()).min(MOST_S);
        let stall = if self.0.random_bool(STALLED) { self.0.random_range(STALL_S) } else { 0.0 };
        Duration::from_secs_f64(LEAST_S + jitter + stall)
    }

    /// The mean of a way there and back. Neglects that the log-normal part is cut, which is worth
    /// less than a tenth of a millisecond.
    pub fn mean_round_trip() -> Duration {
        let stall = STALLED * f64::midpoint(STALL_S.start, STALL_S.end);
        Duration::from_secs_f64(2.0 * (LEAST_S + MEDIAN_S * (SIGMA * SIGMA / 2.0).exp() + stall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_as_described_and_the_same_for_the_same_seed() {
        let draw = |seed| {
            let mut latency = Latency::of(seed);
            (0..200_000).map(|_| latency.one_way().as_secs_f64()).collect::<Vec<f64>>()
        };
        let mut ways = draw(7);
        assert_eq!(ways, draw(7));
        let mean = 2.0 * ways.iter().sum::<f64>() / 200_000.0;
        let told = Latency::mean_round_trip().as_secs_f64();
        assert!((mean - told).abs() < 0.002, "{mean} is not {told}");
        ways.sort_by(f64::total_cmp);
        assert!(ways[0] >= 0.02 && ways[199_999] < 6.1);
        let beyond = |limit| ways.iter().filter(|&&way| way > limit).count();
        assert!((100..300).contains(&beyond(1.02)), "{} stalled", beyond(1.02));
        assert!((150..400).contains(&beyond(0.9)), "{} near a second", beyond(0.9));
    }
}
