//! What workers and the sweeper need of the queue: of the one in Redis, or of the model of it on
//! which they are simulated.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::answer::{Claimed, Enqueued, Epoch, Ledger, QueueError};
use super::keys::Shard;
use super::lease::PermitReport;
use super::redis::RedisQueue;
use super::settings::QueueSettings;
use super::settle::Settlement;
use super::waiter::Waiter;
use crate::ids::{Fence, Lane};
use crate::job::{Job, JobId, Priority};
use crate::quota::Permit;

/// See the module. What each operation does is told where [`RedisQueue`] has it.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync {
    /// All shards.
    fn shards(&self) -> Vec<Shard>;
    /// Where a lane lies.
    fn shard_of(&self, lane: &Lane) -> Shard;
    /// How long things may take.
    fn settings(&self) -> &QueueSettings;
    /// What [`Self::claim`] is to be woken by.
    fn waiter(&self, shard: Shard) -> Result<Box<dyn Wakes>, QueueError>;
    /// What [`Self::claim_urgent`] is to be woken by.
    fn urgent_waiter(&self, shard: Shard) -> Result<Box<dyn Wakes>, QueueError>;

    /// [`RedisQueue::ensure`].
    async fn ensure(&self, jobs: &[Job]) -> Result<Enqueued, QueueError>;
    /// [`RedisQueue::claim`].
    async fn claim(&self, shard: Shard, lanes: &[Lane], most: usize)
    -> Result<Claimed, QueueError>;
    /// [`RedisQueue::claim_without`].
    async fn claim_without(
        &self,
        shard: Shard,
        lanes: &[Lane],
        most: usize,
        platforms: &[String],
    ) -> Result<Claimed, QueueError>;
    /// [`RedisQueue::claim_urgent`].
    async fn claim_urgent(
        &self,
        shard: Shard,
        lanes: &[Lane],
        most: usize,
    ) -> Result<Claimed, QueueError>;
    /// [`RedisQueue::extend`].
    async fn extend(
        &self,
        lane: &Lane,
        fence: Fence,
        ids: &[JobId],
    ) -> Result<Vec<JobId>, QueueError>;
    /// [`RedisQueue::settle_all`].
    async fn settle_all(
        &self,
        lane: &Lane,
        settlements: &[Settlement<'_>],
    ) -> Result<Vec<Vec<JobId>>, QueueError>;
    /// [`RedisQueue::observe`].
    async fn observe(&self, lane: &Lane, permits: &[PermitReport]) -> Result<(), QueueError>;
    /// [`RedisQueue::acquire`].
    async fn acquire(
        &self,
        lane: &Lane,
        kind: &str,
        priority: Priority,
    ) -> Result<Result<Permit, Duration>, QueueError>;

    /// [`RedisQueue::pause`].
    async fn pause(&self, lane: &Lane) -> Result<(), QueueError>;
    /// [`RedisQueue::resume`].
    async fn resume(&self, lane: &Lane) -> Result<(), QueueError>;
    /// [`RedisQueue::open_in`].
    async fn open_in(
        &self,
        lane: &Lane,
        generation: i64,
        ledgers: &[Ledger],
    ) -> Result<bool, QueueError>;
    /// [`RedisQueue::epoch`].
    async fn epoch(&self, lane: &Lane) -> Result<Epoch, QueueError>;
    /// [`RedisQueue::epochs`].
    async fn epochs(&self) -> Result<Vec<Epoch>, QueueError>;
    /// [`RedisQueue::begin_epoch`].
    async fn begin_epoch(&self, seen: &Epoch, name: &str) -> Result<bool, QueueError>;
    /// [`RedisQueue::postpone`].
    async fn postpone(&self, shard: Shard, lane: &str, by: Duration) -> Result<(), QueueError>;
    /// [`RedisQueue::forget`].
    async fn forget(&self, shard: Shard, lane: &str) -> Result<(), QueueError>;
}

/// Where the wake-ups of one shard come from.
#[async_trait]
pub trait Wakes: Send {
    /// [`Waiter::wait`].
    async fn wait(&mut self, longest: Option<Duration>) -> Result<Option<String>, QueueError>;
}

#[async_trait]
impl Wakes for Waiter {
    async fn wait(&mut self, longest: Option<Duration>) -> Result<Option<String>, QueueError> {
        Self::wait(self, longest).await
    }
}

#[async_trait]
impl Queue for RedisQueue {
    fn shards(&self) -> Vec<Shard> {
        self.keys().shards().collect()
    }

    fn shard_of(&self, lane: &Lane) -> Shard {
        self.keys().shard_of(lane)
    }

    fn settings(&self) -> &QueueSettings {
        Self::settings(self)
    }

    fn waiter(&self, shard: Shard) -> Result<Box<dyn Wakes>, QueueError> {
        Ok(Box::new(Waiter::new(self.links(), self.keys(), shard)?))
    }

    fn urgent_waiter(&self, shard: Shard) -> Result<Box<dyn Wakes>, QueueError> {
        Ok(Box::new(Waiter::urgent(self.links(), self.keys(), shard)?))
    }

    async fn ensure(&self, jobs: &[Job]) -> Result<Enqueued, QueueError> {
        Self::ensure(self, jobs).await
    }

    async fn claim(
        &self,
        shard: Shard,
        lanes: &[Lane],
        most: usize,
    ) -> Result<Claimed, QueueError> {
        Self::claim(self, shard, lanes, most).await
    }

    async fn claim_without(
        &self,
        shard: Shard,
        lanes: &[Lane],
        most: usize,
        platforms: &[String],
    ) -> Result<Claimed, QueueError> {
        Self::claim_without(self, shard, lanes, most, platforms).await
    }

    async fn claim_urgent(
        &self,
        shard: Shard,
        lanes: &[Lane],
        most: usize,
    ) -> Result<Claimed, QueueError> {
        Self::claim_urgent(self, shard, lanes, most).await
    }

    async fn extend(
        &self,
        lane: &Lane,
        fence: Fence,
        ids: &[JobId],
    ) -> Result<Vec<JobId>, QueueError> {
        Self::extend(self, lane, fence, ids).await
    }

    async fn settle_all(
        &self,
        lane: &Lane,
        settlements: &[Settlement<'_>],
    ) -> Result<Vec<Vec<JobId>>, QueueError> {
        Self::settle_all(self, lane, settlements).await
    }

    async fn observe(&self, lane: &Lane, permits: &[PermitReport]) -> Result<(), QueueError> {
        Self::observe(self, lane, permits).await
    }

    async fn acquire(
        &self,
        lane: &Lane,
        kind: &str,
        priority: Priority,
    ) -> Result<Result<Permit, Duration>, QueueError> {
        Self::acquire(self, lane, kind, priority).await
    }

    async fn pause(&self, lane: &Lane) -> Result<(), QueueError> {
        Self::pause(self, lane).await
    }

    async fn resume(&self, lane: &Lane) -> Result<(), QueueError> {
        Self::resume(self, lane).await
    }

    async fn open_in(
        &self,
        lane: &Lane,
        generation: i64,
        ledgers: &[Ledger],
    ) -> Result<bool, QueueError> {
        Self::open_in(self, lane, generation, ledgers).await
    }

    async fn epoch(&self, lane: &Lane) -> Result<Epoch, QueueError> {
        Self::epoch(self, lane).await
    }

    async fn epochs(&self) -> Result<Vec<Epoch>, QueueError> {
        Self::epochs(self).await
    }

    async fn begin_epoch(&self, seen: &Epoch, name: &str) -> Result<bool, QueueError> {
        Self::begin_epoch(self, seen, name).await
    }

    async fn postpone(&self, shard: Shard, lane: &str, by: Duration) -> Result<(), QueueError> {
        Self::postpone(self, shard, lane, by).await
    }

    async fn forget(&self, shard: Shard, lane: &str) -> Result<(), QueueError> {
        Self::forget(self, shard, lane).await
    }
}
