//! The quotas of a lane.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `limit` requests in any window of length `window`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Its name inside the lane, part of Redis keys: `steady`, `hour`.
    pub name: String,
    /// Requests per window, at least 1.
    pub limit: u32,
    /// Length of the window, at least a millisecond.
    pub window: Duration,
    /// Capacity of the bucket in front of the ledger, from 1 to `limit`. Usually a tenth of it.
    pub burst: u32,
    /// Tokens that bulk work and spot checks leave to webhooks and people; below `burst`.
    pub headroom: u32,
}

/// A quota that cannot be enforced as written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("quota {name}: {what}")]
pub struct InvalidQuota {
    /// The quota's name.
    pub name: String,
    /// What is wrong, and the remedy.
    pub what: &'static str,
}

impl Quota {
    /// A quota with the usual pacing: a burst of a tenth of the limit, a fifth of that kept for
    /// webhooks and people.
    pub fn new(name: &str, limit: u32, window: Duration) -> Self {
        let burst = (limit / 10).max(1);
        Self { name: name.to_owned(), limit, window, burst, headroom: burst / 5 }
    }

    /// # Errors
    ///
    /// When limit, window, burst or head-room contradict each other.
    pub fn check(&self) -> Result<(), InvalidQuota> {
        let what = if self.limit == 0 {
            "limit must be at least 1"
        } else if self.window < Duration::from_millis(1) || self.window > Duration::from_hours(48) {
            "window must be between 1 ms and 48 h"
        } else if self.burst == 0 || self.burst > self.limit {
            "burst must be between 1 and limit"
        } else if self.headroom >= self.burst {
            "headroom must be below burst, or bulk work and spot checks could never run"
        } else if !self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            || !(1..=LONGEST_NAME).contains(&self.name.len())
        {
            "name must be made of letters, digits, - and _, 64 at the most"
        } else {
            return Ok(());
        };
        Err(InvalidQuota { name: self.name.clone(), what })
    }
}

/// Bytes in the name of a quota or of a kind of job.
const LONGEST_NAME: usize = 64;
/// Quotas of a lane.
const MOST_QUOTAS: usize = 64;

/// What one request of a kind of job may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindLimits {
    /// Records that one request can fetch, at least 1.
    pub batch: u32,
    /// What one request costs in each quota, at least 1.
    pub cost: u32,
    /// Indexes into [`LaneLimits::quotas`]: what a request of this kind draws on.
    pub quotas: Vec<usize>,
}

/// All quotas of a lane, and which kinds of job draw on which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneLimits {
    /// At least one: a lane without a quota cannot be kept within it.
    pub quotas: Vec<Quota>,
    /// By [`crate::job::JobId::kind`]; a kind that is missing here has batch 1, cost 1 and draws
    /// on every quota.
    pub kinds: BTreeMap<String, KindLimits>,
}

impl LaneLimits {
    /// # Errors
    ///
    /// When a quota contradicts itself, or a kind of job could never get a permit.
    pub fn check(&self) -> Result<(), InvalidQuota> {
        let invalid = |name: &str, what| Err(InvalidQuota { name: name.to_owned(), what });
        if self.quotas.is_empty() {
            return invalid("", "a lane needs at least one quota");
        }
        if self.quotas.len() > MOST_QUOTAS {
            return invalid("", "a lane has 64 quotas at the most");
        }
        for quota in &self.quotas {
            quota.check()?;
        }
        for (kind, limits) in &self.kinds {
            if !(1..=1000).contains(&limits.batch) {
                return invalid(kind, "batch must be between 1 and 1000");
            }
            if !(1..=LONGEST_NAME).contains(&kind.len()) {
                return invalid(kind, "the name of a kind has 1 to 64 bytes");
            }
            if limits.cost == 0 {
                return invalid(kind, "cost must be at least 1");
            }
            if limits.quotas.is_empty() || limits.quotas.len() > MOST_QUOTAS {
                return invalid(kind, "a kind of job must draw on 1 to 64 quotas");
            }
            for &index in &limits.quotas {
                let Some(quota) = self.quotas.get(index) else {
                    return invalid(kind, "draws on a quota that the lane does not have");
                };
                if limits.cost > quota.burst - quota.headroom {
                    return invalid(
                        &quota.name,
                        "burst less head-room must be at least the cost of a request",
                    );
                }
            }
        }
        Ok(())
    }
}

/// Ledgers of larger limits count in steps of time, which bounds their memory and work.
const COUNTED_ONE_BY_ONE: u32 = 2_000;
/// Such steps in a window: minutes of a day.
const STEPS: u128 = 1_440;

/// Requests under windows longer than this are recorded in Postgres before they are sent.
const RECORDED_ABOVE: Duration = Duration::from_mins(2);

impl Quota {
    /// Whether its requests are recorded before they are sent, so that its ledger can be rebuilt
    /// after a loss. For a shorter window it is simpler to wait until it has passed.
    pub fn is_recorded(&self) -> bool {
        self.window > RECORDED_ABOVE
    }

    /// The step of time in which its ledger counts, in whole microseconds; `None` when it counts
    /// every request for itself. A slot is held for up to a step too long.
    pub fn step(&self) -> Option<Duration> {
        let step_us = self.window.as_micros().div_ceil(STEPS);
        (self.limit > COUNTED_ONE_BY_ONE)
            .then(|| Duration::from_micros(u64::try_from(step_us).unwrap_or(u64::MAX)))
    }
}

impl LaneLimits {
    /// The quotas that a request of this kind draws on.
    pub fn drawn_on(&self, kind: &str) -> impl Iterator<Item = &Quota> {
        let some = self.kinds.get(kind).map(|limits| limits.quotas.as_slice());
        self.quotas
            .iter()
            .enumerate()
            .filter(move |(index, _)| some.is_none_or(|some| some.contains(index)))
            .map(|(_, quota)| quota)
    }

    /// The shortest time between two requests of this kind that their quotas allow in the long run.
    pub fn pace(&self, kind: &str) -> Duration {
        let cost = self.kinds.get(kind).map_or(1, |limits| limits.cost);
        let between = |quota: &Quota| quota.window.saturating_mul(cost) / quota.limit.max(1);
        self.drawn_on(kind).map(between).max().unwrap_or_default()
    }
}
