//! When bulk runs start by themselves, and which ticks were taken.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgExecutor;

use super::StoreError;
use super::bulk_runs::{Mode, RunId};
use crate::ids::{ConnectionId, Lane, RecordType};

/// The row number of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct ScheduleId(pub i32);

/// A schedule as the configuration has it.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// Whose records.
    pub connection: ConnectionId,
    /// Their kind.
    pub record_type: RecordType,
    /// What its runs read.
    pub mode: Mode,
    /// When, as a cron expression.
    pub cron: String,
}

/// A schedule as Postgres has it.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Its row number.
    pub id: ScheduleId,
    /// Whose records.
    pub connection: ConnectionId,
    /// The same, by name.
    pub lane: Lane,
    /// Their kind.
    pub record_type: RecordType,
    /// What its runs read.
    pub mode: Mode,
    /// When, as a cron expression.
    pub cron: String,
    /// The last tick that somebody took.
    pub last_tick: Option<Timestamp>,
}

/// Makes exactly `wanted` the schedules that are enabled; others stay with their ticks, disabled.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn replace(db: impl PgExecutor<'_>, wanted: &[NewSchedule]) -> Result<(), StoreError> {
    let connections: Vec<i32> = wanted.iter().map(|s| s.connection.0).collect();
    let record_types: Vec<&str> = wanted.iter().map(|s| s.record_type.as_str()).collect();
    let modes: Vec<&str> = wanted.iter().map(|s| s.mode.as_str()).collect();
    let crons: Vec<&str> = wanted.iter().map(|s| s.cron.as_str()).collect();
    let done = sqlx::query!(
        "with wanted as (
             select * from unnest($1::integer[], $2::text[], $3::text[], $4::text[])
                           as wanted (connection_id, record_type, mode, cron)),
         disabled as (
             update schedules set enabled = false
              where enabled and (connection_id, record_type, mode) not in (
                    select connection_id, record_type, mode from wanted))
         insert into schedules (connection_id, record_type, mode, cron)
         select * from wanted
             on conflict (connection_id, record_type, mode) do update
                set cron = excluded.cron, enabled = true",
        &connections,
        &record_types as &[&str],
        &modes as &[&str],
        &crons as &[&str],
    )
    .execute(db)
    .await?;
    StoreError::expect_rows("schedules", wanted.len(), done.rows_affected())
}

/// The schedules that are enabled, each with its last tick.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn enabled(db: impl PgExecutor<'_>) -> Result<Vec<Schedule>, StoreError> {
    let rows = sqlx::query!(
        r#"select schedule.id as "id: ScheduleId",
                  schedule.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane", schedule.record_type as "record_type: RecordType",
                  schedule.mode as "mode: Mode", schedule.cron,
                  (select max(tick) from schedule_ticks where schedule_id = schedule.id)
                      as "last_tick: jiff_sqlx::Timestamp"
             from schedules as schedule join connections as connection
               on connection.id = schedule.connection_id
            where schedule.enabled
            order by schedule.id"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Schedule {
            id: row.id,
            connection: row.connection,
            lane: row.lane,
            record_type: row.record_type,
            mode: row.mode,
            cron: row.cron,
            last_tick: row.last_tick.map(jiff_sqlx::Timestamp::to_jiff),
        })
        .collect())
}

/// The last tick of a schedule that somebody took.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn last_tick(
    db: impl PgExecutor<'_>,
    schedule: ScheduleId,
) -> Result<Option<Timestamp>, StoreError> {
    let tick = sqlx::query_scalar!(
        r#"select max(tick) as "tick: jiff_sqlx::Timestamp" from schedule_ticks
            where schedule_id = $1"#,
        schedule as ScheduleId,
    )
    .fetch_one(db)
    .await?;
    Ok(tick.map(jiff_sqlx::Timestamp::to_jiff))
}

/// Takes a tick; `false` when somebody else has it. Start the run in the same transaction, or a
/// crash in between loses the tick.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn claim_tick(
    db: impl PgExecutor<'_>,
    schedule: ScheduleId,
    tick: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "insert into schedule_ticks (schedule_id, tick) values ($1, $2) on conflict do nothing",
        schedule as ScheduleId,
        jiff_sqlx::Timestamp::from(tick) as jiff_sqlx::Timestamp,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes the run that a tick started.
///
/// # Errors
///
/// When nobody has taken the tick, or the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn note_run(
    db: impl PgExecutor<'_>,
    schedule: ScheduleId,
    tick: Timestamp,
    run: RunId,
) -> Result<(), StoreError> {
    let done = sqlx::query!(
        "update schedule_ticks set run_id = $3 where schedule_id = $1 and tick = $2",
        schedule as ScheduleId,
        jiff_sqlx::Timestamp::from(tick) as jiff_sqlx::Timestamp,
        run as RunId,
    )
    .execute(db)
    .await?;
    StoreError::expect_rows("schedule_ticks", 1, done.rows_affected())
}

/// Forgets the ticks older than `age`, except the last of each schedule; returns how many.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn prune_ticks(db: impl PgExecutor<'_>, age: Duration) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from schedule_ticks as old
          where tick < clock_timestamp() - make_interval(secs => $1)
            and exists (select from schedule_ticks as newer
                         where newer.schedule_id = old.schedule_id and newer.tick > old.tick)",
        age.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
