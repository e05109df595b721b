//! Slots that are kept for webhooks and people: they need not wait until a scan's page is done.

use common::ids::Lane;
use common::queue::{QueueError, Shard, Waiter};
use tokio::time::sleep;
use tracing::warn;

use crate::pool::{Pool, REDIS_PAUSE, free};

impl Pool {
    /// While all other slots are busy, claims from one shard what webhooks and people wait for,
    /// until the soft stop.
    pub(crate) async fn serve_urgent(&self, shard: Shard) {
        let (queue, soft) = (&self.worker.fleet.queue, self.lifecycle.soft());
        let mut waiter = match Waiter::urgent(queue.links(), queue.keys(), shard) {
            Ok(waiter) => waiter,
            Err(error) => return warn!(%shard, %error, "no slots for urgent work"),
        };
        if self.worker.settings.urgent_slots == 0 {
            return;
        }
        while let Some(done) = soft.run_until_cancelled(self.urgent(shard, &mut waiter)).await {
            if let Err(error) = done {
                warn!(%shard, %error, "cannot wait for urgent work");
                soft.run_until_cancelled(sleep(REDIS_PAUSE)).await;
            }
        }
    }

    /// One wait. Whom this loop does not find, because it is cut short or its claim fails, the other
    /// loop does.
    async fn urgent(&self, shard: Shard, waiter: &mut Waiter) -> Result<(), QueueError> {
        let full = self.full.notified();
        if self.slots.available_permits() > 0 {
            full.await;
        }
        // Not held while waiting: the loops of all shards share them.
        drop(free(&self.urgent_slots).await);
        let Some(name) = waiter.wait(None).await? else { return Ok(()) };
        let Ok(lane) = name.parse::<Lane>() else { return Ok(()) };
        let Some(slots) = free(&self.urgent_slots).await else { return Ok(()) };
        let claimed =
            self.worker.fleet.queue.claim_urgent(shard, &[lane], slots.num_permits()).await?;
        self.worker.metrics.leases_reaped(claimed.reaped);
        self.begin(claimed.batches, slots);
        Ok(())
    }
}
