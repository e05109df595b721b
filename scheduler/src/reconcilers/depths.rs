//! Measures how much waits in each lane.

use common::fleet::Fleet;
use common::job::Priority;
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
        for connection in self.fleet.connections.iter() {
            let lane = connection.lane();
            let depths = self.fleet.queue.depths(lane).await?;
            for (priority, ready) in Priority::ALL.into_iter().zip(depths.ready) {
                let name = priority.name();
                self.metrics.queue_depth(lane.platform(), name, ready, depths.oldest);
            }
        }
        Ok(0)
    }
}
