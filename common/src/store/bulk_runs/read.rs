//! Reading where bulk runs stand.

use jiff::Timestamp;
use sqlx::PgExecutor;

use super::{BulkRun, Mode, RunAudit, RunId, State};
use crate::ids::{ConnectionId, Lane, RecordType};
use crate::store::StoreError;

/// The columns of [`BulkRun`] as they are selected.
struct Row {
    id: RunId,
    connection: ConnectionId,
    lane: Lane,
    record_type: RecordType,
    mode: Mode,
    state: State,
    changed_since: Option<jiff_sqlx::Timestamp>,
    cursor: Option<String>,
    pages: i32,
    records_seen: i64,
    records_changed: i64,
    watermark: Option<jiff_sqlx::Timestamp>,
    started_at: jiff_sqlx::Timestamp,
    moved_at: jiff_sqlx::Timestamp,
    finished_at: Option<jiff_sqlx::Timestamp>,
    reason: Option<String>,
    expected_pages: Option<i32>,
    audit_samples: Option<i32>,
    audit_wrong: Option<i32>,
    audit_set_aside: Option<i32>,
    confidence: Option<f64>,
    planned: bool,
}

impl From<Row> for BulkRun {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            connection: row.connection,
            lane: row.lane,
            record_type: row.record_type,
            mode: row.mode,
            state: row.state,
            changed_since: row.changed_since.map(jiff_sqlx::Timestamp::to_jiff),
            cursor: row.cursor,
            pages: row.pages,
            records_seen: row.records_seen,
            records_changed: row.records_changed,
            watermark: row.watermark.map(jiff_sqlx::Timestamp::to_jiff),
            started_at: row.started_at.to_jiff(),
            moved_at: row.moved_at.to_jiff(),
            finished_at: row.finished_at.map(jiff_sqlx::Timestamp::to_jiff),
            reason: row.reason,
            expected_pages: row.expected_pages,
            planned: row.planned,
            audit: row.confidence.map(|confidence| RunAudit {
                samples: row.audit_samples.unwrap_or(0),
                wrong: row.audit_wrong.unwrap_or(0),
                set_aside: row.audit_set_aside.unwrap_or(0),
                confidence,
            }),
        }
    }
}

/// The run of a record type that is running.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn running(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
) -> Result<Option<BulkRun>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"select run.id as "id: RunId", run.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane", run.record_type as "record_type: RecordType",
                  run.mode as "mode: Mode", run.state as "state: State",
                  run.changed_since as "changed_since: jiff_sqlx::Timestamp", run.cursor, run.pages,
                  run.records_seen, run.records_changed,
                  run.watermark as "watermark: jiff_sqlx::Timestamp",
                  run.started_at as "started_at: jiff_sqlx::Timestamp",
                  run.moved_at as "moved_at: jiff_sqlx::Timestamp",
                  run.finished_at as "finished_at: jiff_sqlx::Timestamp", run.reason,
                  run.audit_samples, run.audit_wrong, run.audit_set_aside, run.confidence,
                  run.planned,
                  (select before.pages from bulk_runs as before
                    where before.connection_id = run.connection_id
                      and before.record_type = run.record_type and before.mode = run.mode
                      and before.state = 'done' and before.id < run.id
                    order by before.id desc limit 1) as expected_pages
             from bulk_runs as run join connections as connection on connection.id = run.connection_id
            where run.connection_id = $1 and run.record_type = $2 and run.state = 'running'"#,
        connection as ConnectionId,
        record_type.as_str(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(BulkRun::from))
}

/// Every run that is running, oldest first: at most one for each record type of a connection.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn all_running(db: impl PgExecutor<'_>) -> Result<Vec<BulkRun>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select run.id as "id: RunId", run.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane", run.record_type as "record_type: RecordType",
                  run.mode as "mode: Mode", run.state as "state: State",
                  run.changed_since as "changed_since: jiff_sqlx::Timestamp", run.cursor, run.pages,
                  run.records_seen, run.records_changed,
                  run.watermark as "watermark: jiff_sqlx::Timestamp",
                  run.started_at as "started_at: jiff_sqlx::Timestamp",
                  run.moved_at as "moved_at: jiff_sqlx::Timestamp",
                  run.finished_at as "finished_at: jiff_sqlx::Timestamp", run.reason,
                  run.audit_samples, run.audit_wrong, run.audit_set_aside, run.confidence,
                  run.planned,
                  (select before.pages from bulk_runs as before
                    where before.connection_id = run.connection_id
                      and before.record_type = run.record_type and before.mode = run.mode
                      and before.state = 'done' and before.id < run.id
                    order by before.id desc limit 1) as expected_pages
             from bulk_runs as run join connections as connection on connection.id = run.connection_id
            where run.state = 'running'
            order by run.id"#,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(BulkRun::from).collect())
}

/// The latest runs whatever their state, latest first; without those lists of changes that the
/// planner began and that named nothing new.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn latest(db: impl PgExecutor<'_>, limit: u32) -> Result<Vec<BulkRun>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select run.id as "id: RunId", run.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane", run.record_type as "record_type: RecordType",
                  run.mode as "mode: Mode", run.state as "state: State",
                  run.changed_since as "changed_since: jiff_sqlx::Timestamp", run.cursor, run.pages,
                  run.records_seen, run.records_changed,
                  run.watermark as "watermark: jiff_sqlx::Timestamp",
                  run.started_at as "started_at: jiff_sqlx::Timestamp",
                  run.moved_at as "moved_at: jiff_sqlx::Timestamp",
                  run.finished_at as "finished_at: jiff_sqlx::Timestamp", run.reason,
                  run.audit_samples, run.audit_wrong, run.audit_set_aside, run.confidence,
                  run.planned,
                  (select before.pages from bulk_runs as before
                    where before.connection_id = run.connection_id
                      and before.record_type = run.record_type and before.mode = run.mode
                      and before.state = 'done' and before.id < run.id
                    order by before.id desc limit 1) as expected_pages
             from bulk_runs as run join connections as connection on connection.id = run.connection_id
            where not (run.planned and run.state = 'done' and run.records_changed = 0)
            order by run.id desc limit $1"#,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(BulkRun::from).collect())
}

/// From where the next run of changes starts: the watermark of the last run that was done; `None`
/// when there was none, and everything must be read.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn watermark(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
) -> Result<Option<Timestamp>, StoreError> {
    let watermark = sqlx::query_scalar!(
        r#"select watermark as "watermark!: jiff_sqlx::Timestamp" from bulk_runs
            where connection_id = $1 and record_type = $2 and state = 'done'
            order by id desc limit 1"#,
        connection as ConnectionId,
        record_type.as_str(),
    )
    .fetch_optional(db)
    .await?;
    Ok(watermark.map(jiff_sqlx::Timestamp::to_jiff))
}
