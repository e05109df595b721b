//! Starts bulk runs when their schedules say so.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use common::config::ScanMode;
use common::fleet::Fleet;
use common::job::{Job, Priority, Task};
use common::store::bulk_runs::{self, Mode, NewRun};
use common::store::schedules::{self, NewSchedule, Schedule};
use common::{store, telemetry};
use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tracing::info;

use crate::Reconcile;

/// Ticks that were missed while no scheduler ran are not made up for one by one: the latest of
/// them is enough. None is looked for further back than this.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(48);

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
    /// When a schedule names a record type that its platform does not have, or Postgres fails.
    pub async fn new(fleet: Fleet, overlap: Duration) -> anyhow::Result<Self> {
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
        schedules::replace(&fleet.db, &wanted).await.context("writing schedules down")?;
        Ok(Self { fleet, overlap, crons: HashMap::new() })
    }

    /// The tick that is due: the latest one at or before `now` that nobody took. A schedule that
    /// never ticked is due at once, so that a new connection is mirrored without waiting.
    fn due(&mut self, schedule: &Schedule, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        let Some(last) = schedule.last_tick else { return Ok(Some(now)) };
        if !self.crons.contains_key(&schedule.cron) {
            let cron = Cron::from_str(&schedule.cron)
                .with_context(|| format!("the cron expression {:?}", schedule.cron))?;
            self.crons.insert(schedule.cron.clone(), cron);
        }
        let cron = self.crons.get(&schedule.cron).context("the expression was read above")?;
        let from = last.max(now - LOOK_BACK).to_zoned(TimeZone::UTC);
        let next = cron.find_next_occurrence(&from, false)?.timestamp();
        Ok((next <= now).then_some(next))
    }

    async fn tick(&self, schedule: &Schedule, tick: Timestamp) -> anyhow::Result<bool> {
        let mut tx = self.fleet.db.begin().await?;
        if !schedules::claim_tick(&mut *tx, schedule.id, tick).await? {
            return Ok(false);
        }
        let changed_since = match schedule.mode {
            Mode::Full => None,
            // Without a watermark there was no run yet: everything is read.
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
        // While one is running, a tick is over: the next one comes.
        let started = bulk_runs::start(&mut *tx, &new).await?;
        if let Some(run) = started {
            schedules::note_run(&mut *tx, schedule.id, tick, run).await?;
        }
        tx.commit().await?;
        if started.is_none() {
            return Ok(false);
        }
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
