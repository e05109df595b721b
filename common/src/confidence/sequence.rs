//! A confidence sequence: an interval that may be looked at after every sample.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use super::beta::bisect;
use super::level;

/// How many samples there were, and how many of them were wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// All samples that could be judged.
    pub samples: u64,
    /// Those where the platform's record and ours differed.
    pub wrong: u64,
}

/// Bounds of a share, both from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

impl Outcomes {
    /// Adds one sample.
    pub fn add(&mut self, wrong: bool) {
        self.samples += 1;
        self.wrong += u64::from(wrong);
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { samples: self.samples + other.samples, wrong: self.wrong + other.wrong }
    }

    /// The share of wrong ones; `None` without samples.
    pub fn share(self) -> Option<f64> {
        let (wrong, right) = self.counts();
        (wrong + right > 0.0).then(|| wrong / (wrong + right))
    }

    /// Wrong and right ones as numbers to calculate with.
    pub(super) fn counts(self) -> (f64, f64) {
        #[expect(clippy::cast_precision_loss, reason = "nobody takes 2^53 samples")]
        let of = |count: u64| count as f64;
        (of(self.wrong), of(self.samples.saturating_sub(self.wrong)))
    }

    /// The interval in which the share of wrong records lies **at all times together** with
    /// probability at least 1 - alpha, however often one looks and whenever one stops.
    ///
    /// It holds all p that a bet against them has not refuted: those whose wealth
    ///
    /// W(p) = B(k + 1/2, t - k + 1/2)/B(1/2, 1/2) / (p^k (1 - p)^(t - k))
    ///
    /// after t samples with k wrong ones is below 1/alpha. W(p) is a martingale when p is the
    /// truth, so it ever passes 1/alpha with probability alpha at most (Ville 1939). W is convex
    /// in p and at most 1 at k/t: two bisections.
    ///
    /// Assumes one share throughout; where it moves, start anew ([`super::HourlyOutcomes`]).
    ///
    /// Sources: Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
    /// nonasymptotic confidence sequences", Annals of Statistics 49, 2021; Waudby-Smith and
    /// Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024.
    pub fn interval(self, alpha: f64) -> Interval {
        let Some(share) = self.share() else { return Interval { lower: 0.0, upper: 1.0 } };
        let refuted = |p: f64| self.ln_wealth(p) >= -level(alpha).ln();
        let (wrong, right) = self.counts();
        Interval {
            lower: if wrong < 1.0 { 0.0 } else { bisect(refuted, 0.0, share) },
            upper: if right < 1.0 { 1.0 } else { bisect(|p| !refuted(p), share, 1.0) },
        }
    }

    /// ln W(p): how much a bet against the share `p` has won.
    pub(super) fn ln_wealth(self, p: f64) -> f64 {
        let (wrong, right) = self.counts();
        let mixture = ln_gamma(wrong + 0.5) + ln_gamma(right + 0.5) - ln_gamma(wrong + right + 1.0);
        mixture - PI.ln() - times_ln(wrong, p) - times_ln(right, 1.0 - p)
    }
}

/// n ln x, which is 0 for n = 0 also where x is 0.
pub(super) fn times_ln(n: f64, x: f64) -> f64 {
    if n > 0.0 { n * x.ln() } else { 0.0 }
}
