//! Accounts on platforms.

use jiff::Timestamp;
use sqlx::PgExecutor;

use super::StoreError;
use super::credentials::Origin;
use crate::ids::{ConnectionId, Lane};

/// A connection as the configuration has it.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// Its name; the platform is the part before the slash.
    pub lane: Lane,
    /// What the platform calls the account; may be empty.
    pub account: String,
    /// SHA-256 of the secret part of its webhook path.
    pub endpoint_hash: [u8; 32],
}

/// A connection as Postgres has it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its row number.
    pub id: ConnectionId,
    /// Its name.
    pub lane: Lane,
    /// The part of the lane before the slash.
    pub platform: String,
    /// What the platform calls the account.
    pub account: String,
    /// Why nothing is sent for it, and since when; `None` while it works.
    pub parked: Option<Parked>,
    /// When its lane was opened for requests for the first time.
    pub opened_at: Option<Timestamp>,
}

/// A connection for which nothing is sent until a person acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// What [`open_lane`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneOpening {
    /// Nothing can have been sent before: its ledger may start empty instead of closed.
    pub first_time: bool,
}

/// The columns of [`Connection`] as they are selected.
struct Row {
    id: ConnectionId,
    lane: Lane,
    platform: String,
    account: String,
    parked_reason: Option<String>,
    parked_at: Option<jiff_sqlx::Timestamp>,
    opened_at: Option<jiff_sqlx::Timestamp>,
}

impl From<Row> for Connection {
    fn from(row: Row) -> Self {
        let parked = row
            .parked_reason
            .zip(row.parked_at)
            .map(|(reason, at)| Parked { reason, at: at.to_jiff() });
        Self {
            id: row.id,
            lane: row.lane,
            platform: row.platform,
            account: row.account,
            parked,
            opened_at: row.opened_at.map(jiff_sqlx::Timestamp::to_jiff),
        }
    }
}

/// Adds the connections that are new and brings the others up to date; returns all of `wanted`, by
/// lane. What is not in `wanted` stays as it is.
///
/// Every process of a fleet does this at its start, all at once perhaps. Without the lock, two that
/// add one connection could meet at its endpoint, of which `on conflict` knows nothing.
///
/// # Errors
///
/// When two connections have one webhook path, or the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn upsert(
    db: impl PgExecutor<'_>,
    wanted: &[NewConnection],
) -> Result<Vec<Connection>, StoreError> {
    let lanes: Vec<&str> = wanted.iter().map(|c| c.lane.as_str()).collect();
    let accounts: Vec<&str> = wanted.iter().map(|c| c.account.as_str()).collect();
    let hashes: Vec<&[u8]> = wanted.iter().map(|c| c.endpoint_hash.as_slice()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"with one_at_a_time as materialized (
               select pg_advisory_xact_lock(hashtext('connections'))),
           written as (
               insert into connections (lane, account, endpoint_hash)
               select wanted.*
                 from one_at_a_time, unnest($1::text[], $2::text[], $3::bytea[]) as wanted
               on conflict (lane) do update
                   set account = excluded.account, endpoint_hash = excluded.endpoint_hash
               returning *)
           select id as "id: ConnectionId", lane as "lane: Lane", platform as "platform!", account,
                  parked_reason, parked_at as "parked_at: jiff_sqlx::Timestamp",
                  opened_at as "opened_at: jiff_sqlx::Timestamp"
             from written order by lane"#,
        &lanes as &[&str],
        &accounts as &[&str],
        &hashes as &[&[u8]],
    )
    .fetch_all(db)
    .await?;
    StoreError::expect_rows("connections", wanted.len(), rows.len() as u64)?;
    Ok(rows.into_iter().map(Connection::from).collect())
}

/// Every connection, by lane.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn all(db: impl PgExecutor<'_>) -> Result<Vec<Connection>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id as "id: ConnectionId", lane as "lane: Lane", platform as "platform!", account,
                  parked_reason, parked_at as "parked_at: jiff_sqlx::Timestamp",
                  opened_at as "opened_at: jiff_sqlx::Timestamp"
             from connections order by lane"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Connection::from).collect())
}

/// The connection whose webhook path has this SHA-256; `None` when there is none on that platform.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn by_endpoint(
    db: impl PgExecutor<'_>,
    platform: &str,
    endpoint_hash: &[u8; 32],
) -> Result<Option<Connection>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"select id as "id: ConnectionId", lane as "lane: Lane", platform as "platform!", account,
                  parked_reason, parked_at as "parked_at: jiff_sqlx::Timestamp",
                  opened_at as "opened_at: jiff_sqlx::Timestamp"
             from connections where endpoint_hash = $1 and platform = $2"#,
        endpoint_hash.as_slice(),
        platform,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Connection::from))
}

/// Parks a connection; `true` when it was not parked before. The first reason stays.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %id))]
pub async fn park(
    db: impl PgExecutor<'_>,
    id: ConnectionId,
    reason: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update connections set parked_reason = $2, parked_at = clock_timestamp()
          where id = $1 and parked_at is null",
        id as ConnectionId,
        reason,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What became of parking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parking {
    /// It was not parked before.
    Parked,
    /// It was; the first reason stays.
    Already,
    /// Its token has been renewed since the one that was refused: there is nothing to park.
    Renewed,
}

/// Parks a connection because of its credentials, unless they are newer than those that were
/// refused.
///
/// - `version`: of the token that was refused; `None` where versions are not counted.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %id))]
pub async fn park_refused(
    db: impl PgExecutor<'_>,
    id: ConnectionId,
    origin: Option<Origin>,
    version: Option<i64>,
    reason: &str,
) -> Result<Parking, StoreError> {
    let found = sqlx::query!(
        r#"with newer as (
               select from connection_credentials
                where connection_id = $1 and origin = $3 and version > $4),
           parked as (
               update connections set parked_reason = $2, parked_at = clock_timestamp()
                where id = $1 and parked_at is null and not exists (select from newer)
               returning id)
           select exists (select from parked) as "parked!", exists (select from newer) as "newer!""#,
        id as ConnectionId,
        reason,
        origin as Option<Origin>,
        version,
    )
    .fetch_one(db)
    .await?;
    Ok(match (found.parked, found.newer) {
        (true, _) => Parking::Parked,
        (false, true) => Parking::Renewed,
        (false, false) => Parking::Already,
    })
}

/// Lets a parked connection work again; `true` when it was parked.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %id))]
pub async fn unpark(db: impl PgExecutor<'_>, id: ConnectionId) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update connections set parked_reason = null, parked_at = null
          where id = $1 and parked_at is not null",
        id as ConnectionId,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether nothing may be sent for a connection until a person acts.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %id))]
pub async fn is_parked(db: impl PgExecutor<'_>, id: ConnectionId) -> Result<bool, StoreError> {
    let parked = sqlx::query_scalar!(
        r#"select parked_at is not null as "parked!" from connections where id = $1"#,
        id as ConnectionId,
    )
    .fetch_optional(db)
    .await?;
    Ok(parked.unwrap_or(false))
}

/// Notes that the connection's lane is open for requests, and says whether it never was before.
///
/// Only one caller is ever told `first_time`. Call it before the lane is opened: whoever dies in
/// between leaves a lane that is closed once too often, never once too seldom.
///
/// # Errors
///
/// When there is no such connection, or the database fails.
#[tracing::instrument(skip_all, err(level = "debug"), fields(connection.id = %id))]
pub async fn open_lane(
    db: impl PgExecutor<'_>,
    id: ConnectionId,
) -> Result<LaneOpening, StoreError> {
    let opening = sqlx::query_as!(
        LaneOpening,
        r#"with opened as (
               update connections set opened_at = clock_timestamp()
                where id = $1 and opened_at is null returning id)
           select exists (select from opened) as "first_time!" from connections where id = $1"#,
        id as ConnectionId,
    )
    .fetch_one(db)
    .await?;
    Ok(opening)
}
