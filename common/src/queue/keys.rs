//! The names of all keys in Redis. The shard stands in braces, so that all keys of a shard lie on
//! one slot of a cluster.

use crate::ids::Lane;
use crate::job::Priority;

/// The keys of one shard.
#[derive(Clone, Debug)]
pub struct Keys {
    shard: String,
}

impl Keys {
    /// `namespace` is empty in production, where a Redis (or a database of it) is ours alone.
    pub fn new(namespace: &str) -> Self {
        Self { shard: format!("{{{namespace}s0}}") }
    }

    /// hash: `clock`, `fence`, `epoch`.
    pub fn shard(&self) -> String {
        format!("{}:shard", self.shard)
    }

    /// zset: lane -> earliest time at which it may have something to run, us.
    pub fn lanes(&self) -> String {
        format!("{}:lanes", self.shard)
    }

    /// list: at most one wake-up token, the name of a lane.
    pub fn wake(&self) -> String {
        format!("{}:wake", self.shard)
    }

    /// The keys of a lane in the order in which `lane.lua` expects them.
    pub fn lane(&self, lane: &Lane) -> Vec<String> {
        let shard = &self.shard;
        let mut keys = Vec::with_capacity(12);
        keys.push(format!("{shard}:state:{lane}"));
        for priority in Priority::ALL {
            keys.push(format!("{shard}:ready:{lane}:{}", priority.number()));
        }
        for part in ["delayed", "leases", "jobs"] {
            keys.push(format!("{shard}:{part}:{lane}"));
        }
        keys
    }

    /// zset: permit -> when it was answered, or its deadline, us.
    pub fn ledger(&self, lane: &Lane, quota: &str) -> String {
        format!("{}:ledger:{lane}:{quota}", self.shard)
    }
}
