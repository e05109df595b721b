//! Starts bulk runs when their schedules say so.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use common::config::ScanMode;
use common::fleet::Fleet;
use common::job::{Job, Priority, Task};
use common::store::bulk_runs::{self, Mode, NewRun};
use common::store::schedules::{self, NewSchedule, Schedule};
use common::{store, telemetry};
use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::info;

use crate::Reconcile;

/// See the module.
#[derive(Debug)]
pub struct Bulk {
    fleet: Fleet,
    overlap: Duration,
    crons: HashMap<String, Cron>,
}

impl Bulk {
    /// Writes the schedules of the configuration down.
    ///
    /// # Errors
    ///
    /// When [`Self::check`] would fail, or Postgres fails.
    pub async fn new(fleet: Fleet, overlap: Duration) -> anyhow::Result<Self> {
        let wanted = configured(&fleet)?;
        schedules::replace(&fleet.db, &wanted).await.context("writing schedules down")?;
        Ok(Self { fleet, overlap, crons: HashMap::new() })
    }

    /// Whether the schedules of the configuration make sense.
    ///
    /// # Errors
    ///
    /// When a schedule names a record type that its platform does not have, or cannot scan so.
    pub fn check(fleet: &Fleet) -> anyhow::Result<()> {
        configured(fleet).map(drop)
    }

    /// The tick that is due: the latest one at or before `now`, when nobody took it. Those before it
    /// that were missed are not made up for. A schedule that never ticked is due at once, so that a
    /// new connection is mirrored without waiting.
    fn due(&mut self, schedule: &Schedule, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        let Some(last) = schedule.last_tick else { return Ok(Some(now)) };
        if !self.crons.contains_key(&schedule.cron) {
            let cron = Cron::from_str(&schedule.cron)
                .with_context(|| format!("the cron expression {:?}", schedule.cron))?;
            self.crons.insert(schedule.cron.clone(), cron);
        }
        let cron = self.crons.get(&schedule.cron).context("the expression was read above")?;
        let at = now.to_zoned(TimeZone::UTC);
        let latest = cron.find_previous_occurrence(&at, true)?.timestamp();
        Ok((latest > last).then_some(latest))
    }

    /// Takes the tick and starts its run. While another run of the record type is running, the tick
    /// waits: `false`.
    async fn tick(&self, schedule: &Schedule, tick: Timestamp) -> anyhow::Result<bool> {
        let mut tx = self.fleet.db.begin().await?;
        if !schedules::claim_tick(&mut *tx, schedule.id, tick).await? {
            return Ok(false);
        }
        let changed_since = match schedule.mode {
            Mode::Full => None,
            // Without a watermark there was no run yet: everything is read, or nothing where only
            // hints are read.
            Mode::Changes => {
                bulk_runs::watermark(&mut *tx, schedule.connection, &schedule.record_type)
                    .await?
                    .map(|watermark| watermark - self.overlap)
            }
        };
        let new = NewRun {
            connection: schedule.connection,
            record_type: schedule.record_type.clone(),
            changed_since,
        };
        let Some(run) = bulk_runs::start(&mut *tx, &new).await? else {
            return Ok(false);
        };
        schedules::note_run(&mut *tx, schedule.id, tick, run).await?;
        tx.commit().await?;
        info!(lane = %schedule.lane, record_type = %schedule.record_type, mode = %schedule.mode, "scan started");
        let job = Job {
            lane: schedule.lane.clone(),
            task: Task::Scan { record_type: schedule.record_type.clone() },
            priority: Priority::Bulk,
            trace: telemetry::current_traceparent(),
        };
        // When Redis is away, the sweeper enqueues it.
        self.fleet.queue.enqueue(&[job]).await?;
        Ok(true)
    }
}

impl Reconcile for Bulk {
    const NAME: &'static str = "bulk";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let now = store::now(&self.fleet.db).await?;
        let mut started = 0;
        for schedule in schedules::enabled(&self.fleet.db).await? {
            if let Some(tick) = self.due(&schedule, now)? {
                started += u64::from(self.tick(&schedule, tick).await?);
            }
        }
        Ok(started)
    }
}

/// The schedules of the configuration.
fn configured(fleet: &Fleet) -> anyhow::Result<Vec<NewSchedule>> {
    let mut wanted = Vec::new();
    for connection in fleet.connections.iter() {
        for (n, schedule) in connection.config.schedules.iter().enumerate() {
            let record_type = schedule.record_type.as_str();
            let kind = connection.record_kind(record_type).ok_or_else(|| {
                let known: Vec<&str> =
                    connection.platform.records().iter().map(|kind| kind.name).collect();
                anyhow!(
                    "connections.{}.schedules[{n}].record_type: {record_type:?} is none of {}",
                    connection.lane(),
                    known.join(", ")
                )
            })?;
            if !kind.mirrored && schedule.mode == ScanMode::Full {
                bail!(
                    "connections.{}.schedules[{n}].mode: {record_type} is not mirrored, only read for hints: write changes",
                    connection.lane()
                );
            }
            let mode = match schedule.mode {
                // Where a platform cannot say what changed, everything is read.
                ScanMode::Changes if kind.changed_since => Mode::Changes,
                ScanMode::Changes | ScanMode::Full => Mode::Full,
            };
            wanted.push(NewSchedule {
                connection: connection.id,
                record_type: schedule.record_type.clone(),
                mode,
                cron: schedule.cron.clone(),
            });
        }
    }
    Ok(wanted)
}
