//! What is tried: which limiter, against which quotas, under which demand, counted how.

use std::time::Duration;

use common::ids::Lane;
use common::quota::{LaneLimits, Quota};
use serde::{Deserialize, Serialize};

use super::counter::Rule;

/// Processes that clients are spread over.
pub const PROCESSES: u64 = 4;
/// Clients of one trial in each process.
pub const CLIENTS: u64 = 16;

/// What grants permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// The ledger with its pacing bucket.
    Ours,
    /// A bucket of capacity L, refilled at L/T, full at first.
    TokenBucket,
    /// At most L grants in any window of length T.
    GrantLog,
}

impl Scheme {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ledger + bucket (ours)",
            Self::TokenBucket => "plain token bucket",
            Self::GrantLog => "plain sliding log",
        }
    }
}

/// When clients want to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// All the time.
    Backlog,
    /// All at once for half a window, then nobody for a quarter of one, and again.
    OnOff,
}

impl Demand {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::OnOff => "on/off",
        }
    }

    /// How long nobody wants anything, at `elapsed` since the beginning. Zero is now.
    ///
    /// - `window`: the longest of the quotas.
    pub fn pause(self, elapsed: Duration, window: Duration) -> Duration {
        let period_us = (window * 3 / 4).as_micros().max(1);
        let into_us = elapsed.as_micros() % period_us;
        if self == Self::Backlog || into_us < (window / 2).as_micros() {
            return Duration::ZERO;
        }
        Duration::from_micros(u64::try_from(period_us - into_us).unwrap_or(u64::MAX))
    }
}

/// One limiter in front of one vendor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// The platform's name, and how its windows were scaled.
    pub platform: String,
    /// What the vendor allows, and what the limiter is told.
    pub quotas: Vec<Quota>,
    /// What grants permits.
    pub scheme: Scheme,
    /// When clients want to send.
    pub demand: Demand,
    /// By which rule the vendor refuses. It counts by both.
    pub rule: Rule,
    /// The vendor's answers say what remains, and the limiter is told.
    pub tells: bool,
    /// Utilisation is measured from here, counted from the beginning,
    pub measured_from: Duration,
    /// to here, where the trial ends.
    pub length: Duration,
    /// Of all latencies.
    pub seed: u64,
}

impl Trial {
    /// The longest window.
    pub fn window(&self) -> Duration {
        self.quotas.iter().map(|quota| quota.window).max().unwrap_or_default()
    }

    /// What a lane of these quotas looks like: every request costs one of each.
    pub fn limits(&self) -> LaneLimits {
        LaneLimits { quotas: self.quotas.clone(), kinds: std::collections::BTreeMap::new() }
    }
}

/// A trial as a client process gets it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Posted {
    /// What is tried.
    pub trial: Trial,
    /// Where its permits come from.
    pub lane: Lane,
    /// Where its vendor listens.
    pub vendor: String,
}

/// What all client processes of a run get.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Of the keys in Redis.
    pub namespace: String,
    /// When everything begins, by Redis' clock: microseconds since the Unix epoch.
    pub begin_us: u64,
    /// All at the same time.
    pub trials: Vec<Posted>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_and_off_follow_each_other() {
        let pause = |ms| {
            let pause = Demand::OnOff.pause(Duration::from_millis(ms), Duration::from_secs(4));
            u64::try_from(pause.as_millis()).unwrap()
        };
        assert_eq!([0, 1999, 2000, 2900, 3000, 5500].map(pause), [0, 0, 1000, 100, 0, 500]);
        let never = Demand::Backlog.pause(Duration::from_secs(2), Duration::from_secs(4));
        assert_eq!(never, Duration::ZERO);
    }
}
