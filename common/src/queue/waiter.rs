//! Waiting for work without polling: a blocking pop on a connection of its own.

use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use redis::{AsyncConnectionConfig, RedisError};
use secrecy::{ExposeSecret, SecretString};

use super::keys::Keys;

/// Nobody sleeps longer than this: what a lost wake-up costs at most.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits for wake-ups. It monopolises one connection, since a blocking command holds up everything
/// else that is sent on the same one.
pub struct Waiter {
    pool: Pool,
    connection: Option<Connection>,
    key: String,
}

/// Why waiting failed.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// No connection.
    #[error("redis: {0}")]
    Pool(#[from] PoolError),
    /// The connection broke.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
}

impl Waiter {
    /// # Errors
    ///
    /// When `url` is no address of a Redis.
    pub fn new(url: &SecretString, keys: &Keys) -> Result<Self, RedisError> {
        // Longer than the command itself waits: a server that is gone without a word is noticed.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(LONGEST * 2));
        let manager = Manager::new_with_config(url.expose_secret(), config)?;
        let pool = Pool::builder(manager)
            .config(deadpool_redis::PoolConfig::new(1))
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(LONGEST))
            .build()
            .map_err(|error| RedisError::from(std::io::Error::other(error.to_string())))?;
        Ok(Self { pool, connection: None, key: keys.wake() })
    }

    /// Waits for a wake-up token (the name of a lane that has work), at most for `longest` and
    /// never longer than five seconds. `None` when the time is over.
    ///
    /// Dropping the future may swallow a token: claim once more afterwards, which puts it back.
    pub async fn wait(&mut self, longest: Option<Duration>) -> Result<Option<String>, WaitError> {
        let timeout = longest.unwrap_or(LONGEST).clamp(Duration::from_millis(1), LONGEST);
        // Taken out while in use: a connection whose answer was not read is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.get().await?,
        };
        let popped: Option<(String, String)> = redis::cmd("BLPOP")
            .arg(&self.key)
            .arg(timeout.as_secs_f64())
            .query_async(&mut connection)
            .await?;
        self.connection = Some(connection);
        Ok(popped.map(|(_, lane)| lane))
    }
}
