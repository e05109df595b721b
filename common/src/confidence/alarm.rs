//! Alarms with a promise about how often they are false.

use serde::{Deserialize, Serialize};

use super::level;
use super::sequence::{Outcomes, times_ln};

/// The alternatives that a limit is tested against: its odds times these.
const ODDS: [f64; 12] = [1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0, 256.0];

/// "The share of wrong records is above `limit`": a mixture of likelihood ratios against it, an
/// e-process.
///
/// While the share is at most the limit, the alarm rings with probability at most alpha over all
/// time (Ville, "Etude critique de la notion de collectif", 1939). Once it rang it has made its
/// point; begin a new one with new outcomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriftAlarm {
    limit: f64,
}

impl DriftAlarm {
    /// `limit`: p0, between 0 and 1, both excluded.
    pub fn new(limit: f64) -> Self {
        Self { limit: level(limit) }
    }

    /// ln E: the mean over the alternatives p > p0 of (p/p0)^k ((1 - p)/(1 - p0))^(t - k).
    pub fn ln_evidence(&self, outcomes: Outcomes) -> f64 {
        let (wrong, right) = outcomes.counts();
        ln_mean_exp(ODDS.map(|odds| {
            let ratio = ratios(self.limit, odds);
            times_ln(wrong, ratio.wrong) + times_ln(right, ratio.right)
        }))
    }

    /// Whether the evidence has passed 1/alpha.
    pub fn rings(&self, outcomes: Outcomes, alpha: f64) -> bool {
        self.ln_evidence(outcomes) >= -level(alpha).ln()
    }
}

/// "The share of wrong records *rose* above `usual`": the same wealths in their CUSUM form, each
/// restarted at max(1, .), so that a long quiet time does not have to be outweighed first.
///
/// While nothing rose, the mean number of samples until it rings is at least 1/alpha: the mean of
/// the restarted wealths stays below a sum whose expectation grows by one a sample.
///
/// Source: Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential
/// change detection", NEJSDS 2, 2024.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiseAlarm {
    usual: f64,
    ln_wealth: [f64; 12],
}

impl RiseAlarm {
    /// `usual`: p0, between 0 and 1, both excluded.
    pub fn new(usual: f64) -> Self {
        Self { usual: level(usual), ln_wealth: [f64::NEG_INFINITY; 12] }
    }

    /// Takes one sample in.
    pub fn observe(&mut self, wrong: bool) {
        for (ln_wealth, odds) in self.ln_wealth.iter_mut().zip(ODDS) {
            let ratio = ratios(self.usual, odds);
            let won = if wrong { ratio.wrong } else { ratio.right };
            *ln_wealth = ln_wealth.max(0.0) + won.ln();
        }
    }

    /// ln of the mean of the restarted wealths.
    pub fn ln_evidence(&self) -> f64 {
        ln_mean_exp(self.ln_wealth)
    }

    /// Whether the evidence has passed 1/alpha.
    pub fn rings(&self, alpha: f64) -> bool {
        self.ln_evidence() >= -level(alpha).ln()
    }
}

/// What one wrong and one right sample multiply the wealth by.
struct Ratios {
    wrong: f64,
    right: f64,
}

/// p/p0 and (1 - p)/(1 - p0) where the odds of p are `odds` times those of p0.
fn ratios(limit: f64, odds: f64) -> Ratios {
    let right = 1.0 / (1.0 - limit + odds * limit);
    Ratios { wrong: odds * right, right }
}

fn ln_mean_exp<const N: usize>(values: [f64; N]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += (value - most).exp();
        count += 1.0;
    }
    most + (sum / count).ln()
}
