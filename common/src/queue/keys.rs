//! The names of all keys in Redis, and which shard a lane lies on. The shard stands in braces, so
//! that all keys of a shard lie on one slot of a cluster.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::Lane;
use crate::job::Priority;
use crate::link::MOST_SHARDS;

/// The form of what lies under the keys; another one with every release that reads or writes it in another
/// way. It is part of every key but that of the shard, which names it: so releases of two forms do not
/// misread each other, and take turns in making the index new, in which no lane opens.
pub(super) const FORM: u8 = 2;

/// A part of the index that lies on one server; counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u16);

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// The keys of all shards. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys {
    namespace: Arc<str>,
    shards: u16,
}

impl Keys {
    /// The keys of an index with one shard.
    ///
    /// - `namespace`: empty in production, where a Redis (or a database of it) is ours alone.
    pub fn new(namespace: &str) -> Self {
        Self::sharded(namespace, 1)
    }

    /// The keys of an index with 1 to [`MOST_SHARDS`] shards.
    pub fn sharded(namespace: &str, shards: u16) -> Self {
        Self { namespace: namespace.into(), shards: shards.clamp(1, MOST_SHARDS) }
    }

    /// All shards.
    pub fn shards(&self) -> impl Iterator<Item = Shard> + use<> {
        (0..self.shards).map(Shard)
    }

    /// How many shards there are.
    pub fn count(&self) -> u16 {
        self.shards
    }

    /// The shard of a lane: rendezvous hashing, the shard whose hash together with the lane's name
    /// is greatest. With one shard more, only the lanes that go to it move.
    pub fn shard_of(&self, lane: &Lane) -> Shard {
        let weight = |shard: &Shard| xxh3_64_with_seed(lane.as_str().as_bytes(), shard.0.into());
        self.shards().max_by_key(weight).unwrap_or(Shard(0))
    }

    /// What the keys of a shard begin with.
    pub fn prefix(&self, shard: Shard) -> String {
        format!("{{{}{shard}}}", self.namespace)
    }

    /// One of the keys whose content has a form.
    fn formed(&self, shard: Shard, name: &str) -> String {
        format!("{}:{FORM}:{name}", self.prefix(shard))
    }

    /// hash: `clock`, `fence`, `index`, `generation`, `epoch`. Of the same form for all releases.
    pub fn shard(&self, shard: Shard) -> String {
        format!("{}:shard", self.prefix(shard))
    }

    /// zset: lane -> earliest time at which it may have something to run, us.
    pub fn lanes(&self, shard: Shard) -> String {
        self.formed(shard, "lanes")
    }

    /// list: at most one wake-up token, the name of a lane.
    pub fn wake(&self, shard: Shard) -> String {
        self.formed(shard, "wake")
    }

    /// zset: lane in which a webhook or a person waits -> since when, us. For workers that have slots
    /// left for nothing else.
    pub fn urgent(&self, shard: Shard) -> String {
        self.formed(shard, "urgent")
    }

    /// The keys of a lane in the order in which `lane.lua` expects them.
    pub fn lane(&self, lane: &Lane) -> Vec<String> {
        let shard = self.shard_of(lane);
        let mut keys = Vec::with_capacity(16);
        keys.push(self.formed(shard, &format!("state:{lane}")));
        for priority in Priority::ALL {
            keys.push(self.formed(shard, &format!("ready:{lane}:{}", priority.number())));
        }
        for part in ["delayed", "leases", "jobs", "batches"] {
            keys.push(self.formed(shard, &format!("{part}:{lane}")));
        }
        keys
    }

    /// zset: permit -> when it was answered, or its deadline, us.
    pub fn ledger(&self, lane: &Lane, quota: &str) -> String {
        self.formed(self.shard_of(lane), &format!("ledger:{lane}:{quota}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn lanes() -> impl Iterator<Item = Lane> {
        (0..10_000).map(|n| format!("klaviyo/account-{n}").parse().unwrap())
    }

    #[test]
    fn lanes_spread_evenly_over_the_shards() {
        let keys = Keys::sharded("", 8);
        let mut lanes_of: HashMap<Shard, u32> = HashMap::new();
        for lane in lanes() {
            *lanes_of.entry(keys.shard_of(&lane)).or_default() += 1;
        }
        assert_eq!(lanes_of.len(), 8);
        assert!(lanes_of.values().all(|n| (1_100..1_400).contains(n)), "{lanes_of:?}");
    }

    #[test]
    fn one_shard_more_moves_only_the_lanes_that_go_there() {
        let (few, more) = (Keys::sharded("", 4), Keys::sharded("", 5));
        let mut moved = 0;
        for lane in lanes() {
            let (from, to) = (few.shard_of(&lane), more.shard_of(&lane));
            assert!(from == to || to == Shard(4));
            moved += u32::from(from != to);
        }
        assert!((1_800..2_200).contains(&moved), "{moved} of 10,000");
    }

    /// Two releases side by side must agree: these places never change.
    #[test]
    fn a_lane_stays_where_it_is() {
        let keys = Keys::sharded("", 4);
        let places = ["klaviyo/main", "eventbrite/main", "patreon/main", "discord/main"]
            .map(|name| keys.shard_of(&name.parse().unwrap()).0);
        assert_eq!(places, [0, 1, 1, 2]);
        assert_eq!(
            keys.ledger(&"klaviyo/main".parse().unwrap(), "steady"),
            "{s0}:2:ledger:klaviyo/main:steady"
        );
    }

    #[test]
    fn all_keys_of_a_lane_carry_the_tag_of_its_shard() {
        let keys = Keys::sharded("test-", 64);
        for lane in lanes().take(100) {
            let tag = keys.prefix(keys.shard_of(&lane));
            assert!(keys.lane(&lane).iter().all(|key| key.starts_with(&tag)));
        }
    }
}
