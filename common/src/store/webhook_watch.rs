//! Do webhooks still tell of changes? What the watch over them reads and writes.

use sqlx::PgExecutor;

use super::StoreError;
use crate::confidence::RiseAlarm;
use crate::freshness::NoticeCounts;
use crate::ids::{ConnectionId, Lane, RecordType};

/// Changes of a record type that were found since the watch looked last.
#[derive(Clone, Debug)]
pub struct Unwatched {
    /// Whose records.
    pub connection: ConnectionId,
    /// The same, by name.
    pub lane: Lane,
    /// Their kind.
    pub record_type: RecordType,
    /// Announced by a webhook, since then.
    pub told: i64,
    /// Found by looks alone, since then.
    pub silent: i64,
    /// What recall is estimated from.
    pub counts: NoticeCounts,
    /// The alarm as it was left; `None`: it begins.
    pub alarm: Option<RiseAlarm>,
    /// Webhooks seem to fail.
    pub outage: bool,
    /// Announced by a webhook since the type is known.
    pub told_ever: i64,
    /// Found by looks alone since then.
    pub silent_ever: i64,
}

/// The record types of which changes were found since the watch looked last.
///
/// # Errors
///
/// When the database fails, or an alarm was written by another version.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn unwatched(db: impl PgExecutor<'_>) -> Result<Vec<Unwatched>, StoreError> {
    let rows = sqlx::query!(
        r#"select habits.connection_id as "connection: ConnectionId",
                  connection.lane as "lane: Lane",
                  habits.record_type as "record_type: RecordType",
                  habits.told_changes, habits.silent_changes, habits.watched_told,
                  habits.watched_silent, habits.announced, habits.expected, habits.silent,
                  habits.silent_exposure, habits.false_notices, habits.exposure_days,
                  habits.watch, habits.outage_since is not null as "outage!"
             from record_habits as habits join connections as connection
               on connection.id = habits.connection_id
            where (habits.told_changes, habits.silent_changes)
                  is distinct from (habits.watched_told, habits.watched_silent)
            order by habits.connection_id, habits.record_type"#,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Unwatched {
            connection: row.connection,
            lane: row.lane,
            record_type: row.record_type,
            told: row.told_changes - row.watched_told,
            silent: row.silent_changes - row.watched_silent,
            counts: NoticeCounts {
                announced: row.announced,
                expected: row.expected,
                silent: row.silent,
                silent_exposure: row.silent_exposure,
                false_notices: row.false_notices,
                exposure_days: row.exposure_days,
            },
            // One that is not understood begins anew.
            alarm: row.watch.and_then(|watch| serde_json::from_value(watch).ok()),
            outage: row.outage,
            told_ever: row.told_changes,
            silent_ever: row.silent_changes,
        })
        .collect())
}

/// Writes down how the watch stands after what was read; `false` when another has meanwhile.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %read.connection, record.type = %read.record_type))]
pub async fn watched(
    db: impl PgExecutor<'_>,
    read: &Unwatched,
    alarm: Option<&RiseAlarm>,
    outage: bool,
) -> Result<bool, StoreError> {
    let watch = alarm
        .map(serde_json::to_value)
        .transpose()
        .map_err(|error| StoreError::Database(sqlx::Error::Encode(error.into())))?;
    let done = sqlx::query!(
        "update record_habits
            set watched_told = $3, watched_silent = $4, watch = $5,
                outage_since = case when $6 then coalesce(outage_since, clock_timestamp()) end
          where connection_id = $1 and record_type = $2
            and watched_told = $7 and watched_silent = $8",
        read.connection as ConnectionId,
        read.record_type.as_str(),
        read.told_ever,
        read.silent_ever,
        watch,
        outage,
        read.told_ever - read.told,
        read.silent_ever - read.silent,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
