//! What the operations of the queue answer.

use std::time::Duration;

use super::keys::Shard;
use super::lease::Batch;
use crate::ids::Lane;
use crate::link::Fault;

/// Why an operation on the queue failed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Redis cannot be reached or refused. Send nothing: an unknown budget is an empty one.
    #[error("redis: {0}")]
    Redis(#[from] Fault),
    /// The lane is not in the book of this process.
    #[error("lane {0} is not known here: is its connection configured?")]
    UnknownLane(Lane),
    /// The index has fewer shards.
    #[error("there is no shard {0}")]
    UnknownShard(Shard),
}

/// What became of jobs that were enqueued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enqueued {
    /// Not waiting before.
    pub added: u64,
    /// Waiting at a lower priority, or delayed: more urgent now.
    pub raised: u64,
    /// Being worked on: will run once more.
    pub dirty: u64,
    /// Waiting already.
    pub coalesced: u64,
}

/// What a claim brought.
#[derive(Debug)]
pub struct Claimed {
    /// Work, at most as much as was asked for.
    pub batches: Vec<Batch>,
    /// Time until a lane may have something to run; `None` when nothing waits at all. Without lanes
    /// for which the caller has no room, as in `due`.
    pub next: Option<Duration>,
    /// Lanes that are due now, the longest unserved first; ask for these next.
    pub due: Vec<String>,
    /// Lanes whose ledgers wait to be rebuilt ([`super::RedisQueue::open`]).
    pub closed: Vec<Lane>,
    /// Leases that had run out.
    pub reaped: u64,
}

/// How to open a quota's ledger after a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// Nothing can have been sent: open and empty.
    Empty,
    /// Stay closed until one window has passed.
    Keep,
    /// Rebuild from the ages of the requests that may have been sent in the last window.
    Sent(Vec<Duration>),
}

/// How much waits in a lane, and what holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    /// Ready jobs by [`crate::job::Priority::number`].
    pub ready: [u64; 4],
    /// Waiting for their time.
    pub delayed: u64,
    /// Being worked on.
    pub leased: u64,
    /// Age of the oldest ready job.
    pub oldest: Duration,
    /// Time until the lane thaws; zero when it is not frozen.
    pub frozen: Duration,
    /// Held by a person.
    pub paused: bool,
    /// A ledger waits to be rebuilt.
    pub closed: bool,
}

/// What a shard says of its part of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Which part.
    pub shard: Shard,
    /// When its server met it first, in microseconds. Another one says that it was lost, or that
    /// it is on another server and may lack the last writes.
    pub generation: i64,
    /// `None` until everything has been enqueued again.
    pub name: Option<String>,
}
