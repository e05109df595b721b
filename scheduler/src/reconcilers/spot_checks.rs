//! Spends the quota that nobody else wants on the records that were not looked at for longest.

use std::time::Duration;

use common::config::SchedulerConfig;
use common::fleet::{Connection, Fleet};
use common::job::{Job, Priority, Task};
use common::queue::Depths;
use common::store::records;

use crate::Reconcile;

/// Spot checks of one record type that wait at the most.
const MOST_WAITING: u32 = 2_000;

/// See the module.
#[derive(Debug)]
pub struct SpotChecks {
    fleet: Fleet,
    horizon: Duration,
    /// A record that was verified less than this ago is left alone: the quota is the customer's
    /// too.
    min_age: Duration,
}

impl SpotChecks {
    /// Keeps as many waiting as the quotas allow within the horizon.
    pub fn new(fleet: Fleet, settings: &SchedulerConfig) -> Self {
        Self { fleet, horizon: settings.spot_check_horizon, min_age: settings.spot_check_min_age }
    }

    async fn lane(&self, connection: &Connection) -> anyhow::Result<u64> {
        let lane = connection.lane();
        let depths = self.fleet.queue.depths(lane).await?;
        if depths.paused || depths.closed || !depths.frozen.is_zero() {
            return Ok(0);
        }
        let mut added = 0;
        let kinds = || connection.platform.records().iter().filter(|kind| kind.mirrored);
        let share = u32::try_from(kinds().count()).unwrap_or(u32::MAX);
        for kind in kinds() {
            let wanted =
                spare_looks(connection, kind.name, kind.batch, self.horizon, &depths) / share;
            let record_type = kind.name.into();
            let ids = records::longest_unchecked(
                &self.fleet.db,
                connection.id,
                &record_type,
                self.min_age,
                wanted.min(MOST_WAITING),
            )
            .await?;
            // The longest unchecked of the last pass are still the longest unchecked: those that
            // wait already are not enqueued again, and the number that waits does not grow.
            let jobs: Vec<Job> = ids
                .into_iter()
                .map(|external_id| Job {
                    lane: lane.clone(),
                    task: Task::Check { record_type: record_type.clone(), external_id },
                    priority: Priority::SpotCheck,
                    trace: String::new(),
                })
                .collect();
            added += self.fleet.queue.ensure(&jobs).await?.added;
        }
        Ok(added)
    }
}

/// How many records of a kind the lane can look at within the horizon, after all that is more
/// urgent: requests left, times what one of them can carry.
fn spare_looks(
    connection: &Connection,
    kind: &str,
    batch: u32,
    horizon: Duration,
    depths: &Depths,
) -> u32 {
    let [webhook, manual, bulk, _] = depths.ready;
    let requests = connection
        .limits
        .drawn_on(kind)
        .map(|quota| {
            let windows = horizon.as_secs_f64() / quota.window.as_secs_f64();
            f64::from(quota.limit) * windows
        })
        .fold(f64::INFINITY, f64::min);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rough number, clamped"
    )]
    let spare =
        (requests - (webhook + manual + bulk) as f64).clamp(0.0, f64::from(MOST_WAITING)) as u32;
    spare.saturating_mul(batch)
}

impl Reconcile for SpotChecks {
    const NAME: &'static str = "spot checks";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let mut added = 0;
        for connection in self.fleet.connections.iter() {
            added += self.lane(connection).await?;
        }
        Ok(added)
    }
}
