//! Measures how much waits in each lane, and in the inbox for it.

use common::fleet::Fleet;
use common::ids::Lane;
use common::job::Priority;
use common::store::inbox;
use common::telemetry::Metrics;

use crate::Reconcile;

/// See the module.
#[derive(Debug)]
pub struct Depths {
    fleet: Fleet,
    metrics: Metrics,
}

impl Depths {
    /// Tells `metrics`.
    pub fn new(fleet: Fleet, metrics: Metrics) -> Self {
        Self { fleet, metrics }
    }
}

impl Reconcile for Depths {
    const NAME: &'static str = "depths";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let lanes: Vec<Lane> = self.fleet.connections.iter().map(|c| c.lane().clone()).collect();
        let all = self.fleet.queue.depths_of(&lanes).await?;
        for (connection, depths) in self.fleet.connections.iter().zip(all) {
            let lane = connection.lane();
            for (priority, ready) in Priority::ALL.into_iter().zip(depths.ready) {
                self.metrics.queue_depth(lane.as_str(), priority.name(), ready);
            }
            self.metrics.queue_lag(lane.as_str(), depths.oldest);
            let open = inbox::count_open(&self.fleet.db, connection.id).await?;
            self.metrics.inbox_open(lane.as_str(), u64::try_from(open).unwrap_or(0));
        }
        Ok(0)
    }
}
