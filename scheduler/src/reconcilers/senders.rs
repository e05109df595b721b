//! Has somebody look, every so often, at what sends the platforms' webhooks to us.

use std::collections::HashSet;

use common::fleet::{Fleet, senders::is_watched};
use common::job::{Job, Priority, Task};
use common::store::senders;

use crate::Reconcile;

/// See the module.
#[derive(Debug)]
pub struct Senders {
    fleet: Fleet,
}

impl Senders {
    /// Asks for each look once it is due. When that is, whoever looked last has written down.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

impl Reconcile for Senders {
    const NAME: &'static str = "senders";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let resting: HashSet<_> = senders::not_due(&self.fleet.db).await?.into_iter().collect();
        let due = self
            .fleet
            .connections
            .iter()
            .filter(|connection| is_watched(connection) && !resting.contains(&connection.id));
        // Above spot checks, below what somebody waits for. A look that waits already is not asked
        // for twice, and one in a lane that is held waits there.
        let jobs: Vec<Job> = due
            .map(|connection| Job {
                lane: connection.lane().clone(),
                task: Task::Probe,
                priority: Priority::Bulk,
                trace: String::new(),
            })
            .collect();
        Ok(self.fleet.queue.ensure(&jobs).await?.added)
    }
}
