//! Counts for people: the console, the demo, the operator's command line.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;

use super::StoreError;
use super::records::{Outcome, Trigger};
use crate::ids::{Lane, RecordType};

/// How the mirror stands.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// By lane and record type.
    pub records: Vec<RecordCounts>,
    /// What was done in the period, by lane, trigger and outcome.
    pub operations: Vec<OperationCount>,
    /// By lane.
    pub backlog: Vec<Backlog>,
}

/// The mirror of one record type.
#[derive(Clone, Debug)]
pub struct RecordCounts {
    /// Whose records.
    pub lane: Lane,
    /// Their kind.
    pub record_type: RecordType,
    /// Mirrored and there.
    pub present: i64,
    /// Missing at the last look, not confirmed; part of `present`.
    pub suspected: i64,
    /// Marked as deleted, or only known as missing.
    pub deleted: i64,
    /// When the one that was not verified for longest was verified.
    pub oldest_verified_at: Option<Timestamp>,
}

/// How many operations came to one outcome.
#[derive(Clone, Debug)]
pub struct OperationCount {
    /// Whose records.
    pub lane: Lane,
    /// Why somebody looked.
    pub trigger: Trigger,
    /// What became of the record. Records of a page that were as mirrored are not counted.
    pub outcome: Outcome,
    /// How many.
    pub count: i64,
}

/// What waits in Postgres for one lane.
#[derive(Clone, Debug)]
pub struct Backlog {
    /// The lane.
    pub lane: Lane,
    /// Notices that no write has answered.
    pub open_notices: i64,
    /// Jobs that were given up.
    pub dead_letters: i64,
    /// Differences that nothing had told us of, found in the period.
    pub drift_found: i64,
    /// How many of those are repaired.
    pub drift_repaired: i64,
}

/// Counts everything; operations and drift over the last `period`.
///
/// Reads whole tables: for people, not for loops.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn overview(pool: &PgPool, period: Duration) -> Result<Overview, StoreError> {
    Ok(Overview {
        records: records(pool).await?,
        operations: operations(pool, period).await?,
        backlog: backlog(pool, period).await?,
    })
}

async fn records(pool: &PgPool) -> Result<Vec<RecordCounts>, StoreError> {
    let rows = sqlx::query!(
        r#"select connection.lane as "lane: Lane", record.record_type as "record_type: RecordType",
                  count(*) filter (where record.flags & 1 = 0) as "present!",
                  count(*) filter (where record.flags & 2 <> 0) as "suspected!",
                  count(*) filter (where record.flags & 1 <> 0) as "deleted!",
                  min(record.last_verified_at) filter (where record.flags & 1 = 0)
                      as "oldest_verified_at: jiff_sqlx::Timestamp"
             from external_integrations as record join connections as connection
               on connection.id = record.connection_id
            group by connection.lane, record.record_type
            order by connection.lane, record.record_type"#
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| RecordCounts {
            lane: row.lane,
            record_type: row.record_type,
            present: row.present,
            suspected: row.suspected,
            deleted: row.deleted,
            oldest_verified_at: row.oldest_verified_at.map(jiff_sqlx::Timestamp::to_jiff),
        })
        .collect())
}

async fn operations(pool: &PgPool, period: Duration) -> Result<Vec<OperationCount>, StoreError> {
    let counts = sqlx::query_as!(
        OperationCount,
        r#"select connection.lane as "lane: Lane", operation.trigger as "trigger: Trigger",
                  operation.outcome as "outcome!: Outcome", count(*) as "count!"
             from sync_operations as operation join connections as connection
               on connection.id = operation.connection_id
            where operation.kind = 'record'
              and operation.at > clock_timestamp() - make_interval(secs => $1)
            group by connection.lane, operation.trigger, operation.outcome
            order by connection.lane, operation.trigger, operation.outcome"#,
        period.as_secs_f64(),
    )
    .fetch_all(pool)
    .await?;
    Ok(counts)
}

async fn backlog(pool: &PgPool, period: Duration) -> Result<Vec<Backlog>, StoreError> {
    let rows = sqlx::query_as!(
        Backlog,
        r#"select connection.lane as "lane: Lane",
                  (select count(*) from inbox where connection_id = connection.id)
                      as "open_notices!",
                  (select count(*) from dead_letters where connection_id = connection.id)
                      as "dead_letters!",
                  drift.found as "drift_found!", drift.repaired as "drift_repaired!"
             from connections as connection
            cross join lateral (
                  select count(*) as found, count(repaired_at) as repaired from drift_events
                   where connection_id = connection.id
                     and found_at > clock_timestamp() - make_interval(secs => $1)) as drift
            order by connection.lane"#,
        period.as_secs_f64(),
    )
    .fetch_all(pool)
    .await?;
    Ok(rows)
}
