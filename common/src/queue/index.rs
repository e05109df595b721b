//! The index as a whole: how old it is, whether it is complete, what nobody here can serve.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::answer::{Epoch, QueueError};
use super::call::Call;
use super::keys::Shard;
use super::redis::{RedisQueue, micros};
use super::scripts;
use crate::ids::Lane;

impl RedisQueue {
    /// What each shard says of its part of the index.
    pub async fn epochs(&self) -> Result<Vec<Epoch>, QueueError> {
        try_join_all(self.keys.shards().map(|shard| self.ask_epoch(shard, "", 0))).await
    }

    /// What the shard of `lane` says of its part of the index.
    pub async fn epoch(&self, lane: &Lane) -> Result<Epoch, QueueError> {
        self.ask_epoch(self.keys.shard_of(lane), "", 0).await
    }

    /// Says that a part of the index is complete as of the epoch `name`. Call it after everything
    /// has been enqueued again since `seen` was asked for.
    ///
    /// `false` when somebody said so before, or when that part was lost once more meanwhile.
    pub async fn begin_epoch(&self, seen: &Epoch, name: &str) -> Result<bool, QueueError> {
        let now = self.ask_epoch(seen.shard, name, seen.generation).await?;
        Ok(now.name.as_deref() == Some(name))
    }

    async fn ask_epoch(
        &self,
        shard: Shard,
        begin: &str,
        generation: i64,
    ) -> Result<Epoch, QueueError> {
        let mut call = Call::new(&scripts::EPOCH, &self.keys, shard, false);
        call.arg(begin).arg(generation);
        let (generation, name): (i64, String) = self.send(&call).await?;
        Ok(Epoch { shard, generation, name: Some(name).filter(|name| !name.is_empty()) })
    }

    /// Puts a lane that nobody here knows behind the others of its shard for a while, so that it
    /// does not stand in the way of those that are known.
    pub async fn postpone(&self, shard: Shard, lane: &str, by: Duration) -> Result<(), QueueError> {
        self.move_back(shard, lane, Some(by)).await
    }

    /// Forgets that a lane wants a claim on this shard: it lies on another one since the number of
    /// shards was changed.
    pub async fn forget(&self, shard: Shard, lane: &str) -> Result<(), QueueError> {
        self.move_back(shard, lane, None).await
    }

    async fn move_back(
        &self,
        shard: Shard,
        lane: &str,
        by: Option<Duration>,
    ) -> Result<(), QueueError> {
        let mut call =
            Call::new(&scripts::POSTPONE, &self.keys, shard, false).keys([self.keys.lanes(shard)]);
        call.arg(lane).arg(by.map(|by| micros(by).to_string()).unwrap_or_default());
        let _stood: u8 = self.send(&call).await?;
        Ok(())
    }
}
