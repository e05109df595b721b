//! Slots that are kept for webhooks and people: they need not wait until a scan's page is done.

use common::ids::Lane;
use common::queue::{QueueError, Shard};
use tokio::select;
use tokio::time::sleep;
use tracing::warn;

use crate::bell::Bell;
use crate::pool::{Pool, REDIS_PAUSE};
use crate::slots::{Free, Offer};

/// A lane in which a webhook or a person waits, and slots to work in.
type Found = (Offer, Free);

impl Pool {
    /// While all other slots are busy, or a platform has its share of them, claims from one shard
    /// what webhooks and people wait for, until the soft stop.
    pub(crate) async fn serve_urgent(&self, shard: Shard) {
        let (queue, soft) = (&self.worker.queue, self.lifecycle.soft());
        let mut bell = match queue.urgent_waiter(shard) {
            Ok(waiter) => Bell::new(waiter),
            Err(error) => return warn!(%shard, %error, "no slots for urgent work"),
        };
        if self.worker.settings.urgent_slots == 0 {
            return;
        }
        let mut aside = None;
        while let Some(found) = soft.run_until_cancelled(self.urgent(&mut bell, &mut aside)).await {
            let done = match found {
                Ok(Some((offer, slots))) => self.claim_urgent(shard, &offer, slots).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                warn!(%shard, %error, "cannot wait for urgent work");
                soft.run_until_cancelled(sleep(REDIS_PAUSE)).await;
            }
        }
    }

    /// One wait: a lane in which somebody waits, and slots. Whom this loop does not find, because it
    /// is cut short or its claim fails, the other loop does.
    ///
    /// - `aside`: a lane that was told of and whose platform has its share of these slots too.
    async fn urgent(
        &self,
        bell: &mut Bell,
        aside: &mut Option<Lane>,
    ) -> Result<Option<Found>, QueueError> {
        let full = self.full.notified();
        if !self.slots.are_crowded() {
            full.await;
        }
        // Not held while waiting: the loops of all shards share them.
        drop(self.urgent_slots.free().await);
        let loosened = self.urgent_slots.loosened();
        let again = aside.take_if(|lane| self.urgent_slots.has_room(lane.platform()));
        let lane = if let Some(lane) = again {
            lane
        } else {
            let rung = select! {
                biased;
                rung = bell.rung(None) => rung?,
                () = loosened, if aside.is_some() => return Ok(None),
            };
            let Some(Ok(lane)) = rung.map(|name| name.parse::<Lane>()) else { return Ok(None) };
            lane
        };
        let Some(slots) = self.urgent_slots.free().await else { return Ok(None) };
        let offer = slots.offer(vec![lane.clone()]);
        if offer.lanes.is_empty() {
            *aside = Some(lane);
            return Ok(None);
        }
        Ok(Some((offer, slots)))
    }

    /// Not cut short by a stop: what is leased and not begun would wait for the end of its lease,
    /// with an attempt used.
    async fn claim_urgent(
        &self,
        shard: Shard,
        offer: &Offer,
        slots: Free,
    ) -> Result<(), QueueError> {
        let claimed = self.worker.queue.claim_urgent(shard, &offer.lanes, offer.wanted).await?;
        self.worker.metrics.leases_reaped(claimed.reaped);
        self.begin(claimed.batches, slots);
        Ok(())
    }
}
