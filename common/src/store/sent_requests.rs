//! Requests under quotas with long windows, recorded before they are sent.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgExecutor;

use super::StoreError;
use crate::ids::ConnectionId;

/// A request that may have reached its platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentRequest {
    /// The permit it was sent under.
    pub permit_id: i64,
    /// A moment before it left.
    pub sent_at: Timestamp,
}

/// Records that a request is about to be sent under each of `permits`. Commit before sending.
///
/// # Errors
///
/// When the database fails. Send nothing then.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn record(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    permits: &[i64],
) -> Result<(), StoreError> {
    let done = sqlx::query!(
        "insert into sent_requests (connection_id, permit_id) select $1, unnest($2::bigint[])",
        connection as ConnectionId,
        permits,
    )
    .execute(db)
    .await?;
    StoreError::expect_rows("sent_requests", permits.len(), done.rows_affected())
}

/// The requests of the last `window`, oldest first: what a lost ledger is rebuilt from.
///
/// No more than the quota's limit were sent in a window, so that is how many there are at most.
///
/// # Errors
///
/// When the database fails. The ledger then stays closed.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn since(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    window: Duration,
) -> Result<Vec<SentRequest>, StoreError> {
    let requests = sqlx::query_as!(
        SentRequest,
        r#"select permit_id, sent_at as "sent_at: jiff_sqlx::Timestamp" from sent_requests
            where connection_id = $1 and sent_at > clock_timestamp() - make_interval(secs => $2)
            order by sent_at, id"#,
        connection as ConnectionId,
        window.as_secs_f64(),
    )
    .fetch_all(db)
    .await?;
    Ok(requests)
}

/// Forgets the requests that are older than `age`, which must exceed the longest window; returns
/// how many.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn prune(db: impl PgExecutor<'_>, age: Duration) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from sent_requests where sent_at < clock_timestamp() - make_interval(secs => $1)",
        age.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
