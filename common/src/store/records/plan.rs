//! When records are looked at next: the index of the planner.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::PgExecutor;

use crate::freshness::grid::GridEvidence;
use crate::ids::{ConnectionId, ExternalId, RecordType};
use crate::store::StoreError;

/// A record as the planner sees it.
#[derive(Clone, Debug)]
pub struct PlannedRecord {
    /// Its kind.
    pub record_type: RecordType,
    /// Its id.
    pub external_id: ExternalId,
    /// What was seen of its habits.
    pub evidence: GridEvidence,
    /// What its freshness is worth.
    pub weight: f64,
    /// The last time it was known to be true.
    pub last_verified_at: Timestamp,
    /// When its next look was planned; `None`: not at all.
    pub next_check_at: Option<Timestamp>,
    /// Not before this.
    pub not_before: Option<Timestamp>,
}

/// The columns of [`PlannedRecord`] as they are selected.
struct Row {
    record_type: RecordType,
    external_id: ExternalId,
    evidence: Option<Vec<u8>>,
    weight: f32,
    last_verified_at: jiff_sqlx::Timestamp,
    next_check_at: Option<jiff_sqlx::Timestamp>,
    not_before: Option<jiff_sqlx::Timestamp>,
}

impl From<Row> for PlannedRecord {
    fn from(row: Row) -> Self {
        Self {
            record_type: row.record_type,
            external_id: row.external_id,
            evidence: row.evidence.as_deref().map(GridEvidence::from_bytes).unwrap_or_default(),
            weight: f64::from(row.weight),
            last_verified_at: row.last_verified_at.to_jiff(),
            next_check_at: row.next_check_at.map(jiff_sqlx::Timestamp::to_jiff),
            not_before: row.not_before.map(jiff_sqlx::Timestamp::to_jiff),
        }
    }
}

/// The records of a connection whose looks are planned first, whether they are due yet or not.
///
/// Reads `limit` entries of an index, however many records there are.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn next_due(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    limit: u32,
) -> Result<Vec<PlannedRecord>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select record_type as "record_type: RecordType",
                  external_id as "external_id: ExternalId", evidence, weight,
                  last_verified_at as "last_verified_at: jiff_sqlx::Timestamp",
                  next_check_at as "next_check_at: jiff_sqlx::Timestamp",
                  not_before as "not_before: jiff_sqlx::Timestamp"
             from external_integrations
            where connection_id = $1 and next_check_at is not null and flags & 1 = 0
            order by next_check_at limit $2"#,
        connection as ConnectionId,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(PlannedRecord::from).collect())
}

/// When the first look at a record of each of these connections is planned, with one statement that
/// reads one entry of the index for each; those without any are left out.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn first_due(
    db: impl PgExecutor<'_>,
    connections: &[ConnectionId],
) -> Result<HashMap<ConnectionId, Timestamp>, StoreError> {
    let rows = sqlx::query!(
        r#"select wanted.id as "connection!: ConnectionId",
                  first.next_check_at as "next_check_at!: jiff_sqlx::Timestamp"
             from unnest($1::integer[]) as wanted (id)
             join lateral (
                  select next_check_at from external_integrations
                   where connection_id = wanted.id and next_check_at is not null
                     and flags & 1 = 0
                   order by next_check_at limit 1) as first on true"#,
        connections as &[ConnectionId],
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.connection, row.next_check_at.to_jiff())).collect())
}

/// The records of a connection after `after`, in the order of their keys; for the pass that plans
/// them anew in the background. Those that are gone or suspected are not planned.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn walk(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    after: Option<&(RecordType, ExternalId)>,
    limit: u32,
) -> Result<Vec<PlannedRecord>, StoreError> {
    // No name is empty.
    let (record_type, external_id) =
        after.map_or(("", ""), |(record_type, id)| (record_type.as_str(), id.as_str()));
    let rows = sqlx::query_as!(
        Row,
        r#"select record_type as "record_type: RecordType",
                  external_id as "external_id: ExternalId", evidence, weight,
                  last_verified_at as "last_verified_at: jiff_sqlx::Timestamp",
                  next_check_at as "next_check_at: jiff_sqlx::Timestamp",
                  not_before as "not_before: jiff_sqlx::Timestamp"
             from external_integrations
            where connection_id = $1 and (record_type, external_id) > ($2, $3)
              and flags & 3 = 0
            order by record_type, external_id limit $4"#,
        connection as ConnectionId,
        record_type,
        external_id,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(PlannedRecord::from).collect())
}

/// A look that is moved.
#[derive(Clone, Debug)]
pub struct Replanned {
    /// Which record.
    pub record_type: RecordType,
    /// Its id.
    pub external_id: ExternalId,
    /// When it was planned; where it is so no more, a look came between, and nothing is written.
    pub was: Option<Timestamp>,
    /// When it is planned now.
    pub next_check_at: Timestamp,
    /// It waits in the queue: nobody plans it anew before that time.
    pub reserved: bool,
}

/// Moves looks, with one statement; returns how many were moved. A row that is being written is
/// left out.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn replan(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    moved: &[Replanned],
) -> Result<u64, StoreError> {
    if moved.is_empty() {
        return Ok(0);
    }
    let types: Vec<&str> = moved.iter().map(|record| record.record_type.as_str()).collect();
    let ids: Vec<&str> = moved.iter().map(|record| record.external_id.as_str()).collect();
    let was: Vec<Option<jiff_sqlx::Timestamp>> =
        moved.iter().map(|record| record.was.map(jiff_sqlx::Timestamp::from)).collect();
    let next: Vec<jiff_sqlx::Timestamp> =
        moved.iter().map(|record| record.next_check_at.into()).collect();
    let reserved: Vec<bool> = moved.iter().map(|record| record.reserved).collect();
    let done = sqlx::query!(
        "with planned as (
             select record.connection_id, record.record_type, record.external_id,
                    plan.next_check_at, plan.reserved
               from unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[],
                           $6::boolean[])
                    as plan (record_type, external_id, was, next_check_at, reserved)
               join external_integrations as record
                 on record.connection_id = $1 and record.record_type = plan.record_type
                and record.external_id = plan.external_id
              where record.next_check_at is not distinct from plan.was
                for no key update of record skip locked)
         update external_integrations as record
            set next_check_at = planned.next_check_at,
                not_before = case when planned.reserved then planned.next_check_at
                                  else record.not_before end
           from planned
          where record.connection_id = planned.connection_id
            and record.record_type = planned.record_type
            and record.external_id = planned.external_id",
        connection as ConnectionId,
        &types as &[&str],
        &ids as &[&str],
        &was as &[Option<jiff_sqlx::Timestamp>],
        &next as &[jiff_sqlx::Timestamp],
        &reserved,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
