//! Postgres: what is true, what was done, what must not be forgotten. One file for each table.
//!
//! Times are those of the Postgres server, never of this process. Writes are set-based, so that a
//! batch is a handful of statements however large it is. Nothing relies on the state of a session,
//! but for the leader's lock, which has a session of its own.

pub mod alerts;
pub mod bulk_runs;
pub mod connections;
pub mod credentials;
pub mod dead_letters;
pub mod drift_events;
mod error;
pub mod excluded_fields;
pub mod flipping_fields;
pub mod habits;
pub mod inbox;
pub mod lane_prices;
pub mod leadership;
pub mod operations;
pub mod overview;
mod port;
pub mod quality;
pub mod records;
pub mod schedules;
pub mod senders;
pub mod sent_requests;
mod text_enum;
pub mod webhook_watch;

pub use error::StoreError;
pub use port::Store;

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgExecutor, PgPool};
use text_enum::text_enum;

use crate::job::Priority;

/// Every migration, embedded in the binary.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// No statement of ours takes this long unless something is wrong.
const STATEMENT_TIMEOUT: &str = "30s";
/// Longer than any write holds its rows.
const LOCK_TIMEOUT: &str = "10s";
/// A worker that froze between two statements must not hold its rows for ever.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "30s";
/// How long a caller waits for a free connection before it gives up.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest delay between two attempts.
const CONNECT_DELAY_MAX: Duration = Duration::from_secs(3);

/// Opens a pool of up to `max_connections`.
///
/// - `url`: `postgres://user:password@host:port/database`.
/// - `wait`: how long it keeps trying to reach a server that is away or starting.
///
/// The time-outs travel as start-up `options`. PgBouncer must be told to let them pass
/// (`ignore_startup_parameters = options`), and `ALTER ROLE ... SET` must then set them; it has to
/// be 1.21 or newer with `max_prepared_statements` above 0. [`migrate`] and
/// [`leadership`] need a direct connection.
///
/// # Errors
///
/// When the address is not one, the server refuses us, or it is away for too long.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn connect(
    url: &SecretString,
    max_connections: u32,
    wait: Duration,
) -> Result<PgPool, StoreError> {
    let options = address(url)?.options([
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("lock_timeout", LOCK_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
    ]);
    let pool =
        PgPoolOptions::new().max_connections(max_connections).acquire_timeout(ACQUIRE_TIMEOUT);

    let backoff = ExponentialBuilder::default()
        .with_jitter()
        .with_max_delay(CONNECT_DELAY_MAX)
        .without_max_times();
    let connecting = (|| pool.clone().connect_with(options.clone()))
        .retry(backoff)
        .when(may_pass)
        .notify(|error, delay| tracing::warn!(%error, ?delay, "cannot reach Postgres yet"));
    let connected = tokio::time::timeout(wait, connecting).await;
    Ok(connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))?)
}

/// Where the server is and who asks.
fn address(url: &SecretString) -> Result<PgConnectOptions, StoreError> {
    let options: PgConnectOptions = url.expose_secret().parse().map_err(|_| StoreError::Address)?;
    Ok(options.application_name("syncline"))
}

/// Whether the same attempt may succeed in a moment: the server is away or starting, as opposed to
/// refusing us.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        // 57P03 cannot_connect_now (starting up), 53300 too_many_connections.
        sqlx::Error::Database(error) => {
            matches!(error.code().as_deref(), Some("57P03" | "53300"))
        }
        _ => false,
    }
}

/// The server's clock: the only one that counts.
///
/// # Errors
///
/// When the database fails.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn now(db: impl PgExecutor<'_>) -> Result<Timestamp, StoreError> {
    let now = sqlx::query_scalar!(r#"select clock_timestamp() as "now!: jiff_sqlx::Timestamp""#)
        .fetch_one(db)
        .await?;
    Ok(now.to_jiff())
}

/// The priority with this number, as a `smallint` column holds it.
fn priority(number: i16) -> Result<Priority, StoreError> {
    u8::try_from(number).ok().and_then(Priority::from_number).ok_or_else(|| {
        StoreError::Database(sqlx::Error::Decode(format!("{number} is no priority").into()))
    })
}

/// Brings the schema up to date, and makes the partitions of the next days: before anything is
/// written, since a write that meets their making fails. Several processes may do so at once.
///
/// # Errors
///
/// When a migration fails, or one that was applied has been edited since.
#[tracing::instrument(skip_all, err(level = "debug"))]
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    MIGRATIONS.run(pool).await?;
    operations::ensure_partitions(pool, operations::DAYS_AHEAD).await?;
    Ok(())
}
