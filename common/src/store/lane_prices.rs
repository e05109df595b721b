//! What a request for a spot check has to be worth, for each connection.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::PgExecutor;

use super::StoreError;
use crate::ids::ConnectionId;

/// The price of a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LanePrice {
    /// lambda, in weighted days of freshness for a request.
    pub price: f64,
    /// When it was last moved.
    pub moved_at: Timestamp,
}

/// The prices of these connections' lanes, with one statement; those that never had one are left out.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn of(
    db: impl PgExecutor<'_>,
    connections: &[ConnectionId],
) -> Result<HashMap<ConnectionId, LanePrice>, StoreError> {
    let rows = sqlx::query!(
        r#"select connection_id as "connection: ConnectionId", price,
                  moved_at as "moved_at: jiff_sqlx::Timestamp"
             from lane_prices where connection_id = any($1)"#,
        connections as &[ConnectionId],
    )
    .fetch_all(db)
    .await?;
    let price =
        |price, moved_at: jiff_sqlx::Timestamp| LanePrice { price, moved_at: moved_at.to_jiff() };
    Ok(rows.into_iter().map(|row| (row.connection, price(row.price, row.moved_at))).collect())
}

/// Moves it, unless somebody else has since `read`; `false` then.
///
/// # Errors
///
/// When the database fails, or the price is none.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %connection))]
pub async fn set(
    db: impl PgExecutor<'_>,
    connection: ConnectionId,
    read: Option<LanePrice>,
    price: f64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "insert into lane_prices as lane (connection_id, price, moved_at) values ($1, $2, $3)
             on conflict (connection_id) do update set price = $2, moved_at = $3
          where lane.moved_at is not distinct from $4",
        connection as ConnectionId,
        price,
        jiff_sqlx::Timestamp::from(now) as jiff_sqlx::Timestamp,
        read.map(|read| jiff_sqlx::Timestamp::from(read.moved_at)) as Option<jiff_sqlx::Timestamp>,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
