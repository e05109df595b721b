//! Makes the partitions that are needed next, and drops what is too old.

use std::time::Duration;

use common::fleet::Fleet;
use common::store::{operations, schedules, sent_requests};

use crate::Reconcile;

const DAY: Duration = Duration::from_hours(24);
/// Longer than any quota's window.
const REQUESTS_KEPT: Duration = Duration::from_hours(72);
const TICKS_KEPT: Duration = Duration::from_hours(24 * 30);

/// See the module.
#[derive(Debug)]
pub struct Retention {
    fleet: Fleet,
    history: Duration,
}

impl Retention {
    /// Keeps `history_days` of the history of operations.
    pub fn new(fleet: Fleet, history_days: u16) -> Self {
        Self { fleet, history: DAY * u32::from(history_days) }
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
        let partitions = u64::from((made + dropped).unsigned_abs());
        Ok(partitions + requests + ticks)
    }
}
