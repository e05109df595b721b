//! Makes the partitions that are needed next, and drops what is too old.

use std::time::Duration;

use common::config::SchedulerConfig;
use common::fleet::Fleet;
use common::store::{
    alerts, bulk_runs, drift_events, operations, quality, schedules, sent_requests,
};

use crate::Reconcile;

const DAY: Duration = Duration::from_hours(24);
/// Longer than any quota's window.
const REQUESTS_KEPT: Duration = Duration::from_hours(72);
/// Longer than any horizon that quality is read over.
const SAMPLES_KEPT: Duration = Duration::from_hours(24 * 30);
const TICKS_KEPT: Duration = Duration::from_hours(24 * 30);

/// See the module.
#[derive(Debug)]
pub struct Retention {
    fleet: Fleet,
    history: Duration,
    drift: Duration,
}

impl Retention {
    /// Keeps `history_days` of the history of operations, `drift_days` of drift, bulk runs and alerts.
    pub fn new(fleet: Fleet, settings: &SchedulerConfig) -> Self {
        let days = |days: u16| DAY * u32::from(days);
        Self { fleet, history: days(settings.history_days), drift: days(settings.drift_days) }
    }
}

impl Reconcile for Retention {
    const NAME: &'static str = "retention";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let db = &self.fleet.db;
        let made = operations::ensure_partitions(db, operations::DAYS_AHEAD).await?;
        let dropped = operations::drop_partitions(db, self.history).await?;
        let requests = sent_requests::prune(db, REQUESTS_KEPT).await?;
        let ticks = schedules::prune_ticks(db, TICKS_KEPT).await?;
        let drift = drift_events::prune(db, self.drift).await?;
        let runs = bulk_runs::prune(db, self.drift).await?;
        let alerts = alerts::prune(db, self.drift).await?;
        let samples = quality::prune(db, SAMPLES_KEPT).await?;
        let partitions = u64::from((made + dropped).unsigned_abs());
        Ok(partitions + requests + ticks + drift + runs + alerts + samples)
    }
}
