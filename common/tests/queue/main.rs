//! The queue and its quotas against a real Redis: stories, laws, and the model as oracle.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails here fails as it should"
)]

mod agrees_with_model;
mod stories;

use std::env;

use common::ids::Lane;
use common::job::{Job, JobId, Priority, Task};
use common::queue::{Keys, LaneBook, QueueSettings, RedisQueue};
use common::quota::LaneLimits;
use redis::aio::ConnectionManager;
use uuid::Uuid;

/// 2026-01-01, in microseconds: tests pass their own time.
pub const START: u64 = 1_767_225_600_000_000;

/// A queue under keys that no other test uses.
pub async fn queue_of(
    lanes: &[(&str, LaneLimits)],
    settings: QueueSettings,
) -> (RedisQueue, ConnectionManager, Keys) {
    let url = env::var("REDIS_URL").expect("REDIS_URL: `cargo xtask test` sets it");
    let client = redis::Client::open(url).unwrap();
    let redis = ConnectionManager::new(client).await.unwrap();
    let keys = Keys::new(&format!("{}-", Uuid::now_v7()));
    let book =
        LaneBook::new(&keys, lanes.iter().map(|(l, limits)| (lane(l), limits.clone()))).unwrap();
    (RedisQueue::new(redis.clone(), keys.clone(), book, settings), redis, keys)
}

pub fn lane(name: &str) -> Lane {
    name.parse().unwrap()
}

pub fn job(lane_name: &str, id: &str, priority: Priority) -> Job {
    let task: Task = id.parse().unwrap();
    assert_eq!(task.job_id(), JobId::from(id));
    Job { lane: lane(lane_name), task, priority, trace: String::new() }
}
