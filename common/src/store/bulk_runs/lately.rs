//! What reading the list of a record type cost lately: from what the planner estimates the next time.

use jiff::Timestamp;
use sqlx::PgExecutor;

use super::State;
use crate::ids::{ConnectionId, RecordType};
use crate::store::StoreError;

/// How a record type was read lately.
#[derive(Clone, Debug, PartialEq)]
pub struct Lately {
    /// Whose records.
    pub connection: ConnectionId,
    /// Their kind.
    pub record_type: RecordType,
    /// When its last run began, of whatever mode,
    pub began_at: Timestamp,
    /// and how it went.
    pub state: State,
    /// From where the next run of changes starts, before the overlap; `None` where no run was done.
    pub watermark: Option<Timestamp>,
    /// When the last run that was done began.
    pub done_began_at: Option<Timestamp>,
    /// The last full run that was done.
    pub full: Option<Extent>,
    /// The last run of changes that was done,
    pub changes: Option<Extent>,
    /// and for how many seconds before its start it asked.
    pub changes_seconds: f64,
}

/// How much a run read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Pages that it had.
    pub pages: i32,
    /// Records on them.
    pub records: i64,
}

/// How these record types were read lately, with one statement however many they are. Those that
/// never were are left out.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn lately(
    db: impl PgExecutor<'_>,
    types: &[(ConnectionId, RecordType)],
) -> Result<Vec<Lately>, StoreError> {
    if types.is_empty() {
        return Ok(Vec::new());
    }
    let connections: Vec<i32> = types.iter().map(|(connection, _)| connection.0).collect();
    let names: Vec<&str> = types.iter().map(|(_, name)| name.as_str()).collect();
    let rows = sqlx::query!(
        r#"select wanted.connection_id as "connection!: ConnectionId",
                  wanted.record_type as "record_type!: RecordType",
                  last.state as "state: State",
                  last.started_at as "began_at: jiff_sqlx::Timestamp",
                  done.watermark as "watermark?: jiff_sqlx::Timestamp",
                  done.started_at as "done_began_at?: jiff_sqlx::Timestamp",
                  whole.pages as "full_pages?", whole.records_seen as "full_records?",
                  listing.pages as "changes_pages?", listing.records_seen as "changes_records?",
                  extract(epoch from listing.started_at - listing.changed_since)::float8
                      as changes_seconds
             from unnest($1::integer[], $2::text[]) as wanted (connection_id, record_type)
             join lateral (
                  select run.state, run.started_at from bulk_runs as run
                   where run.connection_id = wanted.connection_id
                     and run.record_type = wanted.record_type
                   order by run.id desc limit 1) as last on true
             left join lateral (
                  select run.id, run.pages, run.records_seen, run.watermark, run.started_at
                    from bulk_runs as run
                   where run.connection_id = wanted.connection_id
                     and run.record_type = wanted.record_type
                     and run.mode = 'full' and run.state = 'done'
                   order by run.id desc limit 1) as whole on true
             left join lateral (
                  select run.id, run.pages, run.records_seen, run.watermark, run.started_at,
                         run.changed_since
                    from bulk_runs as run
                   where run.connection_id = wanted.connection_id
                     and run.record_type = wanted.record_type
                     and run.mode = 'changes' and run.state = 'done'
                   order by run.id desc limit 1) as listing on true
             left join lateral (
                  select either.watermark, either.started_at
                    from (values (whole.id, whole.watermark, whole.started_at),
                                 (listing.id, listing.watermark, listing.started_at))
                         as either (id, watermark, started_at)
                   where either.id is not null
                   order by either.id desc limit 1) as done on true"#,
        &connections,
        &names as &[&str],
    )
    .fetch_all(db)
    .await?;
    let extent = |pages: Option<i32>, records: Option<i64>| {
        pages.map(|pages| Extent { pages, records: records.unwrap_or(0) })
    };
    Ok(rows
        .into_iter()
        .map(|row| Lately {
            connection: row.connection,
            record_type: row.record_type,
            began_at: row.began_at.to_jiff(),
            state: row.state,
            watermark: row.watermark.map(jiff_sqlx::Timestamp::to_jiff),
            done_began_at: row.done_began_at.map(jiff_sqlx::Timestamp::to_jiff),
            full: extent(row.full_pages, row.full_records),
            changes: extent(row.changes_pages, row.changes_records),
            changes_seconds: row.changes_seconds.unwrap_or(0.0),
        })
        .collect())
}
