//! Jobs that were given up.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{PgExecutor, PgPool};

use super::{StoreError, bulk_runs};
use crate::ids::{ConnectionId, Lane};
use crate::job::{JobId, Priority, Task};

/// A job that is given up.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// Whose job it is.
    pub connection: ConnectionId,
    /// What it looks at.
    pub job_id: JobId,
    /// How urgent it was.
    pub priority: Priority,
    /// How often it was tried.
    pub attempts: u32,
    /// The last failure, without bodies or secrets.
    pub last_error: String,
    /// When it was enqueued first, by the queue's clock.
    pub first_seen: Timestamp,
    /// The `traceparent` of the last attempt, or empty.
    pub trace: String,
}

/// A dead letter as Postgres has it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// Whose job it is.
    pub connection: ConnectionId,
    /// The same, by name.
    pub lane: Lane,
    /// What it looks at.
    pub job_id: JobId,
    /// How urgent it was.
    pub priority: Priority,
    /// How often it was tried.
    pub attempts: i32,
    /// The last failure.
    pub last_error: String,
    /// When it was enqueued first, by the queue's clock.
    pub first_seen: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
    /// The `traceparent` of the last attempt, or empty.
    pub trace: String,
}

/// The columns of [`DeadLetter`] as they are selected.
struct Row {
    id: i64,
    connection: ConnectionId,
    lane: Lane,
    job_id: String,
    priority: i16,
    attempts: i32,
    last_error: String,
    first_seen: jiff_sqlx::Timestamp,
    died_at: jiff_sqlx::Timestamp,
    trace: String,
}

impl TryFrom<Row> for DeadLetter {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            connection: row.connection,
            lane: row.lane,
            job_id: row.job_id.into(),
            priority: super::priority(row.priority)?,
            attempts: row.attempts,
            last_error: row.last_error,
            first_seen: row.first_seen.to_jiff(),
            died_at: row.died_at.to_jiff(),
            trace: row.trace,
        })
    }
}

/// Keeps a job that is given up; returns its number. A job that died before has one row still.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %letter.connection, job.id = %letter.job_id))]
pub async fn insert(db: impl PgExecutor<'_>, letter: &NewDeadLetter) -> Result<i64, StoreError> {
    let id = sqlx::query_scalar!(
        "insert into dead_letters
                (connection_id, job_id, priority, attempts, last_error, first_seen, trace)
         values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (connection_id, job_id) do update
                set priority = excluded.priority, attempts = excluded.attempts,
                    last_error = excluded.last_error, died_at = excluded.died_at,
                    trace = excluded.trace
         returning id",
        letter.connection as ConnectionId,
        letter.job_id.as_str(),
        i16::from(letter.priority.number()),
        i32::try_from(letter.attempts).unwrap_or(i32::MAX),
        letter.last_error,
        jiff_sqlx::Timestamp::from(letter.first_seen) as jiff_sqlx::Timestamp,
        letter.trace,
    )
    .fetch_one(db)
    .await?;
    Ok(id)
}

/// Keeps a job that is given up and ends what led to it, in one transaction: the dead letter takes
/// the place of the open notices of its record, or of its running bulk run.
///
/// - `tried_for`: how long the last attempt took. Notices that came meanwhile were not tried: they
///   stay open, and the sweeper finds them.
///
/// # Errors
///
/// When the database fails; then nothing was done.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %letter.connection, job.id = %letter.job_id))]
pub async fn bury(
    pool: &PgPool,
    letter: &NewDeadLetter,
    tried_for: Duration,
) -> Result<(), StoreError> {
    let mut tx = pool.begin().await?;
    insert(&mut *tx, letter).await?;
    match Task::try_from(&letter.job_id) {
        Ok(Task::Check { record_type, external_id }) => {
            sqlx::query!(
                "delete from inbox
                  where connection_id = $1 and record_type = $2 and external_id = $3
                    and received_at <= clock_timestamp() - make_interval(secs => $4)",
                letter.connection as ConnectionId,
                record_type.as_str(),
                external_id.as_str(),
                tried_for.as_secs_f64(),
            )
            .execute(&mut *tx)
            .await?;
        }
        Ok(Task::Scan { record_type }) => {
            // Otherwise the sweeper would find a run without a job, for ever.
            let run = bulk_runs::running(&mut *tx, letter.connection, &record_type).await?;
            if let Some(run) = run {
                bulk_runs::fail(&mut *tx, run.id, &letter.last_error).await?;
            }
        }
        // The next look is asked for in any case; or nobody understands this id.
        Ok(Task::Probe) | Err(_) => {}
    }
    tx.commit().await?;
    Ok(())
}

/// The dead letters after the number `after`, oldest first.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn list(
    db: impl PgExecutor<'_>,
    after: i64,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select letter.id, letter.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane", letter.job_id, letter.priority, letter.attempts,
                  letter.last_error, letter.first_seen as "first_seen: jiff_sqlx::Timestamp",
                  letter.died_at as "died_at: jiff_sqlx::Timestamp", letter.trace
             from dead_letters as letter join connections as connection
               on connection.id = letter.connection_id
            where letter.id > $1 order by letter.id limit $2"#,
        after,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// How many dead letters there are.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn count(db: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from dead_letters"#)
        .fetch_one(db)
        .await?;
    Ok(count)
}

/// Takes dead letters out, to be enqueued again or thrown away; those that are there no more are
/// left out. Enqueue before the commit: twice is harmless, never is not.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn take(db: impl PgExecutor<'_>, ids: &[i64]) -> Result<Vec<DeadLetter>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"with taken as (delete from dead_letters where id = any($1) returning *)
           select taken.id, taken.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane", taken.job_id, taken.priority, taken.attempts,
                  taken.last_error, taken.first_seen as "first_seen: jiff_sqlx::Timestamp",
                  taken.died_at as "died_at: jiff_sqlx::Timestamp", taken.trace
             from taken join connections as connection on connection.id = taken.connection_id
            order by taken.id"#,
        ids,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// What is kept of a job that was given up.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, job.id = %job))]
pub async fn of_job(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    job: &JobId,
) -> Result<Option<DeadLetter>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"select letter.id, letter.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane", letter.job_id, letter.priority, letter.attempts,
                  letter.last_error, letter.first_seen as "first_seen: jiff_sqlx::Timestamp",
                  letter.died_at as "died_at: jiff_sqlx::Timestamp", letter.trace
             from dead_letters as letter join connections as connection
               on connection.id = letter.connection_id
            where letter.connection_id = $1 and letter.job_id = $2"#,
        connection as ConnectionId,
        job.as_str(),
    )
    .fetch_optional(db)
    .await?;
    row.map(DeadLetter::try_from).transpose()
}
