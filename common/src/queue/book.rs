//! The lanes a process knows, with everything about them that goes into scripts.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::keys::{Keys, Shard};
use crate::ids::Lane;
use crate::quota::{InvalidQuota, LaneLimits};

/// One lane as scripts take it: keys and limits, made once.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) limits: LaneLimits,
    pub(super) shard: Shard,
    /// In the order of `lane.lua`.
    pub(super) keys: Vec<String>,
    pub(super) ledgers: Vec<String>,
    /// The limits as `quota.lua` reads them.
    pub(super) json: String,
}

/// The lanes a process knows. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LaneBook {
    entries: Arc<HashMap<Lane, Arc<Entry>>>,
}

impl LaneBook {
    /// # Errors
    ///
    /// [`InvalidQuota`] for the first lane whose limits contradict themselves.
    pub fn new(
        keys: &Keys,
        lanes: impl IntoIterator<Item = (Lane, LaneLimits)>,
    ) -> Result<Self, InvalidQuota> {
        let mut entries = HashMap::new();
        for (lane, limits) in lanes {
            limits.check()?;
            let entry = Entry {
                shard: keys.shard_of(&lane),
                keys: keys.lane(&lane),
                ledgers: limits.quotas.iter().map(|q| keys.ledger(&lane, &q.name)).collect(),
                json: encode(&limits).to_string(),
                limits,
            };
            entries.insert(lane, Arc::new(entry));
        }
        Ok(Self { entries: Arc::new(entries) })
    }

    /// The limits of a lane, if it is known here.
    pub fn limits(&self, lane: &Lane) -> Option<&LaneLimits> {
        self.entries.get(lane).map(|entry| &entry.limits)
    }

    /// All lanes, in no order.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.entries.keys()
    }

    pub(super) fn entry(&self, lane: &Lane) -> Option<&Arc<Entry>> {
        self.entries.get(lane)
    }
}

/// Whole numbers throughout. The interval between tokens is rounded up: a little slower is safe.
fn encode(limits: &LaneLimits) -> Value {
    let quotas: Vec<Value> = limits
        .quotas
        .iter()
        .map(|quota| {
            let window_us = quota.window.as_micros();
            let interval_us = window_us.div_ceil(u128::from(quota.limit));
            json!([
                quota.name,
                quota.limit,
                u64::try_from(window_us).unwrap_or(u64::MAX),
                u64::try_from(interval_us).unwrap_or(u64::MAX),
                quota.burst,
                quota.headroom,
                quota.step().map_or(0, |step| u64::try_from(step.as_micros()).unwrap_or(u64::MAX))
            ])
        })
        .collect();
    let kinds: serde_json::Map<String, Value> = limits
        .kinds
        .iter()
        .map(|(kind, limits)| {
            let draws_on: Vec<usize> = limits.quotas.iter().map(|index| index + 1).collect();
            (kind.clone(), json!([limits.batch, limits.cost, draws_on]))
        })
        .collect();
    json!({ "quotas": quotas, "kinds": kinds })
}
