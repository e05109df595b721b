//! The stores of a scene, seen from beside the fleet.

use std::net::SocketAddr;

use anyhow::anyhow;
use common::queue::Keys;
use redis::AsyncCommands;
use sqlx::{ConnectOptions, PgPool};
use url::Url;

use super::Scene;

impl Scene {
    /// Everything that this fleet has in Redis is gone at one stroke, as after FLUSHALL.
    ///
    /// # Errors
    ///
    /// When Redis is away.
    pub async fn flush_redis(&self) -> anyhow::Result<()> {
        let pattern = format!("{{{}s*", self.config.redis.namespace);
        let script = redis::Script::new(
            "local keys = redis.call('KEYS', ARGV[1])
             if #keys > 0 then redis.call('DEL', unpack(keys)) end
             return #keys",
        );
        let _: u64 = script.arg(pattern).invoke_async(&mut self.redis.clone()).await?;
        Ok(())
    }

    /// What lies in Redis was made on another server, as after a fail-over.
    ///
    /// # Errors
    ///
    /// When Redis is away.
    pub async fn redis_fails_over(&self) -> anyhow::Result<()> {
        let keys = Keys::sharded(&self.config.redis.namespace, self.config.redis.shards);
        for shard in keys.shards() {
            let () = self.redis.clone().hset(keys.shard(shard), "index", "another").await?;
        }
        Ok(())
    }

    /// How many keys this fleet has in Redis.
    ///
    /// # Errors
    ///
    /// When Redis is away.
    pub async fn redis_keys(&self) -> anyhow::Result<Vec<String>> {
        let pattern = format!("{{{}s*", self.config.redis.namespace);
        Ok(self.redis.clone().keys(pattern).await?)
    }

    /// One number from the database.
    ///
    /// # Errors
    ///
    /// When the query fails.
    pub async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.db).await?)
    }
}

/// The address of the database that `db` is connected to.
pub fn database_url(db: &PgPool) -> String {
    let mut url = db.connect_options().to_url_lossy();
    url.set_query(None);
    url.into()
}

/// The same server behind another address.
pub(super) fn by_way_of(way: Option<SocketAddr>, url: &str) -> anyhow::Result<String> {
    let Some(way) = way else { return Ok(url.to_owned()) };
    let mut url = Url::parse(url)?;
    url.set_host(Some(&way.ip().to_string()))?;
    url.set_port(Some(way.port())).map_err(|()| anyhow!("{way} has a port"))?;
    Ok(url.into())
}
