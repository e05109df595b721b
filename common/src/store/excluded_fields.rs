//! Fields that a person excluded from the comparison.

use jiff::Timestamp;
use sqlx::PgExecutor;

use super::StoreError;
use crate::drift::{Excluded, MAX_EXCLUDED};
use crate::ids::{ConnectionId, Lane, RecordType};

/// A field that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludedField {
    /// Whose records.
    pub lane: Lane,
    /// Their kind.
    pub record_type: RecordType,
    /// Where in a record, as a JSON Pointer.
    pub pointer: String,
    /// Since when.
    pub since: Timestamp,
}

/// What does not count of a record type.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn of(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
) -> Result<Excluded, StoreError> {
    let pointers = sqlx::query_scalar!(
        "select pointer from excluded_fields where connection_id = $1 and record_type = $2
          order by pointer limit $3",
        connection as ConnectionId,
        record_type.as_str(),
        i64::try_from(MAX_EXCLUDED).unwrap_or(i64::MAX),
    )
    .fetch_all(db)
    .await?;
    Excluded::new(pointers)
        .map_err(|error| StoreError::Database(sqlx::Error::Decode(error.to_string().into())))
}

/// All of them, by connection, record type and pointer.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn all(db: impl PgExecutor<'_>) -> Result<Vec<ExcludedField>, StoreError> {
    let rows = sqlx::query!(
        r#"select connection.lane as "lane: Lane", field.record_type as "record_type: RecordType",
                  field.pointer, field.excluded_at as "excluded_at: jiff_sqlx::Timestamp"
             from excluded_fields as field join connections as connection
               on connection.id = field.connection_id
            order by connection.lane, field.record_type, field.pointer"#,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ExcludedField {
            lane: row.lane,
            record_type: row.record_type,
            pointer: row.pointer,
            since: row.excluded_at.to_jiff(),
        })
        .collect())
}

/// From now on the field does not count; `false` when it did not before.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn exclude(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    pointer: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "insert into excluded_fields (connection_id, record_type, pointer) values ($1, $2, $3)
             on conflict do nothing",
        connection as ConnectionId,
        record_type.as_str(),
        pointer,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// From now on the field counts again; `false` when it did.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection, record.type = %record_type))]
pub async fn include(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    record_type: &RecordType,
    pointer: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "delete from excluded_fields
          where connection_id = $1 and record_type = $2 and pointer = $3",
        connection as ConnectionId,
        record_type.as_str(),
        pointer,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
