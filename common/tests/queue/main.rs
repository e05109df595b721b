//! The queue and its quotas against a real Redis: stories, laws, and the model as oracle.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails here fails as it should"
)]

mod agrees_with_model;
mod place;
mod processes;
mod shares;
mod stories;

use std::collections::VecDeque;
use std::env;

use common::ids::Lane;
use common::job::{Job, JobId, Priority, Task};
use common::queue::{Claimed, Keys, LaneBook, QueueSettings, RedisQueue, Shard};
use common::quota::LaneLimits;
use proptest::prelude::*;
use redis::aio::MultiplexedConnection;
use uuid::Uuid;

use place::Place;

/// 2026-01-01, in microseconds: tests pass their own time.
pub const START: u64 = 1_767_225_600_000_000;

/// A queue under keys that no other test uses, at the place where this test runs. The connection
/// leads to the server of the first lane.
pub(crate) async fn queue_of(
    lanes: &[(&str, LaneLimits)],
    settings: QueueSettings,
) -> (RedisQueue, MultiplexedConnection, Keys) {
    let place = Place::current();
    let keys = Keys::sharded(&format!("{}-", Uuid::now_v7()), place.shards);
    let book =
        LaneBook::new(&keys, lanes.iter().map(|(l, limits)| (lane(l), limits.clone()))).unwrap();
    let shard = lanes.first().map_or(Shard(0), |(name, _)| keys.shard_of(&lane(name)));
    let redis = place.connection(&keys, shard).await;
    (RedisQueue::new(place.links(&keys), keys.clone(), book, settings), redis, keys)
}

/// Claims from all shards in turn, a batch at a time, until nothing is left or `wanted` are there.
pub(crate) async fn claim_from_all(queue: &RedisQueue, lanes: &[Lane], wanted: usize) -> Claimed {
    let mut all =
        Claimed { batches: Vec::new(), next: None, due: Vec::new(), closed: Vec::new(), reaped: 0 };
    let mut shards: VecDeque<Shard> = queue.keys().shards().collect();
    let most = if shards.len() == 1 { wanted } else { 1 };
    while let Some(shard) = shards.pop_front() {
        let claimed = queue.claim(shard, lanes, most).await.unwrap();
        all.reaped += claimed.reaped;
        if !claimed.batches.is_empty() && all.batches.len() + claimed.batches.len() < wanted {
            shards.push_back(shard);
        } else {
            all.next = all.next.into_iter().chain(claimed.next).min();
        }
        all.due.extend(claimed.due);
        for lane in claimed.closed {
            if !all.closed.contains(&lane) {
                all.closed.push(lane);
            }
        }
        all.batches.extend(claimed.batches);
        if all.batches.len() >= wanted {
            break;
        }
    }
    all
}

pub fn lane(name: &str) -> Lane {
    name.parse().unwrap()
}

pub fn job(lane_name: &str, id: &str, priority: Priority) -> Job {
    let task: Task = id.parse().unwrap();
    assert_eq!(task.job_id(), JobId::from(id));
    Job { lane: lane(lane_name), task, priority, trace: String::new() }
}

/// How many cases a property is tried with: `usual`, ten times that with `--long`, or what
/// `PROPTEST_CASES` says.
pub fn cases(usual: u32) -> ProptestConfig {
    let usual = if env::var_os("SYNCLINE_LONG_TESTS").is_some() { usual * 10 } else { usual };
    let given = env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: given.unwrap_or(usual),
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Runs one case to its end.
pub fn block_on(
    case: impl Future<Output = Result<(), TestCaseError>>,
) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(case)
}
