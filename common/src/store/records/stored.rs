//! Reading the mirror.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgExecutor;

use super::Flags;
use crate::drift::ContentHash;
use crate::ids::{ConnectionId, ExternalId, RecordType};
use crate::store::StoreError;

/// A record as it is mirrored.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// Hash of its canonical form; `None` for a record known only as missing.
    pub hash: Option<ContentHash>,
    /// The version of the rules that the hash was made by.
    pub schema_version: i32,
    /// The record as JSON, in Postgres' spelling (order of keys, white space).
    pub payload: Option<String>,
    /// Deleted, suspected.
    pub flags: Flags,
}

/// The hash in a `bytea` column that has a check on its length.
pub(super) fn content_hash(bytes: Option<Vec<u8>>) -> Result<Option<ContentHash>, StoreError> {
    bytes
        .map(|bytes| {
            <[u8; 16]>::try_from(bytes).map(ContentHash).map_err(|bytes| {
                let what = format!("a content hash of {} bytes", bytes.len());
                StoreError::Database(sqlx::Error::Decode(what.into()))
            })
        })
        .transpose()
}

/// What the mirror holds of these records; those that it does not know are left out.
///
/// Reads without locks: for differences to show, not to decide by.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn stored(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    external_ids: &[ExternalId],
) -> Result<HashMap<ExternalId, StoredRecord>, StoreError> {
    let rows = sqlx::query!(
        r#"select external_id as "external_id: ExternalId", content_hash, schema_version,
                  payload::text as "payload", flags
             from external_integrations
            where connection_id = $1 and record_type = $2 and external_id = any($3)"#,
        connection as ConnectionId,
        record_type.as_str(),
        external_ids as &[ExternalId],
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let record = StoredRecord {
                hash: content_hash(row.content_hash)?,
                schema_version: row.schema_version,
                payload: row.payload,
                flags: Flags(row.flags),
            };
            Ok((row.external_id, record))
        })
        .collect()
}

/// How a record's row stands, for people.
#[derive(Clone, Debug)]
pub struct RowStanding {
    /// Deleted, suspected.
    pub flags: Flags,
    /// The last time it was known to be true.
    pub last_verified_at: Timestamp,
    /// When the look began that last found it different.
    pub changed_at: Timestamp,
    /// Not before this is a spot check worth its request; `None`: any time.
    pub next_check_at: Option<Timestamp>,
}

/// How a record's row stands; `None` when the mirror does not know it.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn row_standing(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    external_id: &ExternalId,
) -> Result<Option<RowStanding>, StoreError> {
    let row = sqlx::query!(
        r#"select flags, last_verified_at as "last_verified_at: jiff_sqlx::Timestamp",
                  changed_at as "changed_at: jiff_sqlx::Timestamp",
                  next_check_at as "next_check_at: jiff_sqlx::Timestamp"
             from external_integrations
            where connection_id = $1 and record_type = $2 and external_id = $3"#,
        connection as ConnectionId,
        record_type.as_str(),
        external_id as &ExternalId,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| RowStanding {
        flags: Flags(row.flags),
        last_verified_at: row.last_verified_at.to_jiff(),
        changed_at: row.changed_at.to_jiff(),
        next_check_at: row.next_check_at.map(jiff_sqlx::Timestamp::to_jiff),
    }))
}

/// The records of a type that were missing at their last look, longer than `min_age` ago, and wait
/// for another, longest first: what a lost confirming job leaves behind.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn suspected(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    min_age: Duration,
    limit: u32,
) -> Result<Vec<ExternalId>, StoreError> {
    let ids = sqlx::query_scalar!(
        r#"select external_id as "external_id: ExternalId" from external_integrations
            where connection_id = $1 and record_type = $2 and flags & 2 <> 0
              and missing_since <= clock_timestamp() - make_interval(secs => $4)
            order by missing_since limit $3"#,
        connection as ConnectionId,
        record_type.as_str(),
        i64::from(limit),
        min_age.as_secs_f64(),
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}
