//! Fields that do not settle: they change back and forth, and every look finds drift.

use jiff::Timestamp;
use sqlx::PgExecutor;

use super::StoreError;
use crate::ids::{ConnectionId, ExternalId, Lane, RecordType};

/// A field that changes back and forth.
#[derive(Clone, Debug)]
pub struct FlippingField {
    /// Whose records.
    pub connection: ConnectionId,
    /// The same, by name.
    pub lane: Lane,
    /// Their kind.
    pub record_type: RecordType,
    /// Where in a record, as a JSON Pointer.
    pub pointer: String,
    /// Records in which it went back and forth within a day,
    pub records: i64,
    /// and how often.
    pub flips: i64,
    /// One of them.
    pub external_id: ExternalId,
    /// Since when.
    pub first_seen_at: Timestamp,
}

/// A drift event of a record that has many, for whoever looks for a pattern in them.
#[derive(Clone, Debug)]
pub struct RestlessEvent {
    /// Whose record.
    pub connection: ConnectionId,
    /// Its kind.
    pub record_type: RecordType,
    /// Its id.
    pub external_id: ExternalId,
    /// The difference, as JSON.
    pub diff: String,
}

/// What a pass found out about a field.
#[derive(Clone, Debug)]
pub struct Flips {
    /// Whose records.
    pub connection: ConnectionId,
    /// Their kind.
    pub record_type: RecordType,
    /// Where in a record.
    pub pointer: String,
    /// In how many records,
    pub records: i64,
    /// and how often.
    pub flips: i64,
    /// One of them.
    pub external_id: ExternalId,
}

/// The drift of the last day in the records that have most of it, at least three times: by record,
/// in the order in which it was found. At most 20,000 events of 500 records.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn restless(db: impl PgExecutor<'_>) -> Result<Vec<RestlessEvent>, StoreError> {
    let rows = sqlx::query_as!(
        RestlessEvent,
        r#"with restless as materialized (
               select connection_id, record_type, external_id from drift_events
                where found_at > clock_timestamp() - interval '1 day' and kind = 'changed'
                group by connection_id, record_type, external_id
               having count(*) >= 3
                order by count(*) desc limit 500)
           select event.connection_id as "connection: ConnectionId",
                  event.record_type as "record_type: RecordType",
                  event.external_id as "external_id: ExternalId", event.diff::text as "diff!"
             from restless join drift_events as event
               on event.connection_id = restless.connection_id
              and event.record_type = restless.record_type
              and event.external_id = restless.external_id
            where event.found_at > clock_timestamp() - interval '1 day'
              and event.kind = 'changed' and event.diff is not null
            order by event.connection_id, event.record_type, event.external_id, event.id
            limit 20000"#,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Writes down what was found, and forgets what was not seen for a day; what is forgotten. Fields
/// that a person has excluded are left out.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn replace(
    db: &sqlx::PgPool,
    found: &[Flips],
) -> Result<Vec<(ConnectionId, RecordType, String)>, StoreError> {
    let connections: Vec<i32> = found.iter().map(|flips| flips.connection.0).collect();
    let types: Vec<&str> = found.iter().map(|flips| flips.record_type.as_str()).collect();
    let pointers: Vec<&str> = found.iter().map(|flips| flips.pointer.as_str()).collect();
    let records: Vec<i64> = found.iter().map(|flips| flips.records).collect();
    let flips: Vec<i64> = found.iter().map(|flips| flips.flips).collect();
    let ids: Vec<&str> = found.iter().map(|flips| flips.external_id.as_str()).collect();
    let mut tx = db.begin().await?;
    sqlx::query!(
        "insert into flipping_fields
                (connection_id, record_type, pointer, records, flips, external_id)
         select field.connection_id, field.record_type, field.pointer, field.records, field.flips,
                field.external_id
           from unnest($1::integer[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
                       $6::text[])
                as field (connection_id, record_type, pointer, records, flips, external_id)
          where not exists (
                select from excluded_fields as excluded
                 where excluded.connection_id = field.connection_id
                   and excluded.record_type = field.record_type
                   and excluded.pointer = field.pointer)
             on conflict (connection_id, record_type, pointer) do update
            set records = excluded.records, flips = excluded.flips,
                external_id = excluded.external_id, last_seen_at = clock_timestamp()",
        &connections,
        &types as &[&str],
        &pointers as &[&str],
        &records,
        &flips,
        &ids as &[&str],
    )
    .execute(&mut *tx)
    .await?;
    let gone = sqlx::query!(
        r#"delete from flipping_fields as field
            where field.last_seen_at < clock_timestamp() - interval '1 day'
               or exists (
                  select from excluded_fields as excluded
                   where excluded.connection_id = field.connection_id
                     and excluded.record_type = field.record_type
                     and excluded.pointer = field.pointer)
           returning field.connection_id as "connection: ConnectionId",
                     field.record_type as "record_type: RecordType", field.pointer"#,
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(gone.into_iter().map(|row| (row.connection, row.record_type, row.pointer)).collect())
}

/// All of them, those with most flips first; `limit` at most.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn all(db: impl PgExecutor<'_>, limit: u32) -> Result<Vec<FlippingField>, StoreError> {
    let rows = sqlx::query!(
        r#"select field.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane", field.record_type as "record_type: RecordType",
                  field.pointer, field.records, field.flips,
                  field.external_id as "external_id: ExternalId",
                  field.first_seen_at as "first_seen_at: jiff_sqlx::Timestamp"
             from flipping_fields as field join connections as connection
               on connection.id = field.connection_id
            order by field.flips desc, field.pointer limit $1"#,
        i64::from(limit),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| FlippingField {
            connection: row.connection,
            lane: row.lane,
            record_type: row.record_type,
            pointer: row.pointer,
            records: row.records,
            flips: row.flips,
            external_id: row.external_id,
            first_seen_at: row.first_seen_at.to_jiff(),
        })
        .collect())
}
