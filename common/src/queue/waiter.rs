//! Waiting for work without polling: a blocking pop on a connection of its own.

use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolConfig, PoolError, Runtime};
use redis::AsyncConnectionConfig;

use super::answer::QueueError;
use super::keys::{Keys, Shard};
use crate::link::{Fault, Link, Links};

/// Nobody sleeps longer than this: what a lost wake-up costs at most.
const LONGEST: Duration = Duration::from_secs(5);
/// Redis before 7.0 rounds down to milliseconds and takes 0 for ever; 0.001 can become 0.
const SHORTEST: Duration = Duration::from_millis(2);

/// Waits for wake-ups on one shard. It monopolises one connection, since a blocking command holds
/// up everything else that is sent on the same one, and in a cluster cannot name two shards.
pub struct Waiter {
    link: Link,
    connection: Option<Connection>,
    pop: &'static str,
    key: String,
}

impl Waiter {
    /// # Errors
    ///
    /// When there is no such shard.
    pub fn new(links: &Links, keys: &Keys, shard: Shard) -> Result<Self, QueueError> {
        let link = links.get(shard.0.into()).ok_or(QueueError::UnknownShard(shard))?.clone();
        Ok(Self { link, connection: None, pop: "BLPOP", key: keys.wake(shard) })
    }

    /// One that is woken by what webhooks and people wait for and by nothing else: for
    /// [`claim_urgent`](super::RedisQueue::claim_urgent). Who is not told in this way is told in the
    /// usual one, so nothing is missed when nobody waits here.
    ///
    /// # Errors
    ///
    /// When there is no such shard.
    pub fn urgent(links: &Links, keys: &Keys, shard: Shard) -> Result<Self, QueueError> {
        let waiter = Self::new(links, keys, shard)?;
        Ok(Self { pop: "BZPOPMIN", key: keys.urgent(shard), ..waiter })
    }

    /// Waits for a wake-up token (the name of a lane that has work), at most for `longest` and
    /// never longer than five seconds. `None` when the time is over.
    ///
    /// Dropping the future may swallow a token: claim once more afterwards, which puts it back.
    ///
    /// # Errors
    ///
    /// When Redis is away or refuses; the next call connects anew.
    pub async fn wait(&mut self, longest: Option<Duration>) -> Result<Option<String>, QueueError> {
        let timeout = longest.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST);
        // Taken out while in use: a connection whose answer was not read is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        // The key, the lane, and from a sorted set its score.
        let popped: Option<Vec<String>> = redis::cmd(self.pop)
            .arg(&self.key)
            .arg(timeout.as_secs_f64())
            .query_async(&mut connection)
            .await
            .map_err(Fault::from)?;
        self.connection = Some(connection);
        Ok(popped.and_then(|popped| popped.into_iter().nth(1)))
    }

    /// A connection to the server that holds the shard now.
    async fn connect(&self) -> Result<Connection, Fault> {
        let server = self.link.server().await?;
        // Longer than the command itself waits: a server that is gone without a word is noticed.
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LONGEST))
            .set_response_timeout(Some(LONGEST * 2));
        let manager = Manager::new_with_config(server.info().clone(), settings)?;
        let pool = Pool::builder(manager)
            .config(PoolConfig::new(1))
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(LONGEST))
            .build()
            .map_err(|error| Fault::Away(error.to_string()))?;
        let connected = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Fault::from(error),
            PoolError::Timeout(_) => Fault::Silent,
            other => Fault::Away(other.to_string()),
        });
        if let Err(fault) = &connected {
            self.link.failed(&server, fault);
        }
        connected
    }
}
