//! The lanes a process knows, with everything about them that goes into scripts.

use std::collections::HashMap;
use std::sync::Arc;

use super::keys::{Keys, Shard};
use super::wire;
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
    pub(super) packed: Vec<u8>,
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
                packed: wire::limits(&limits),
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
