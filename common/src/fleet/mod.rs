//! What every process needs at its start: from the configuration to stores and connections.

mod budget;
mod clients;
mod connection;
mod health;
mod opening;
mod process;
pub mod senders;
mod tokens;

pub use budget::{ErrorBudgets, Payer, SPENT, Standing};
pub use clients::{OfClient, overbooked_clients};
pub use connection::{
    Connection, Connections, configured_limits, endpoint_hash, limits, no_endpoint, page_pace,
};
pub use health::{Health, serve_health};
pub use opening::{open_connection, open_lane};
pub use process::process_main;
pub use tokens::Renewals;

use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;

use crate::config::Config;
use crate::link::Links;
use crate::platform;
use crate::queue::{Keys, LaneBook, QueueSettings, RedisQueue};
use crate::store;

/// A request that the client has given up may still be on the wire; this much later it has arrived
/// or never will.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// The stores, and the accounts that are mirrored.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The truth.
    pub db: PgPool,
    /// What waits, who holds it, how much quota is left.
    pub queue: RedisQueue,
    /// The accounts: those that the configuration names, and those that were added.
    pub connections: Connections,
    /// What platforms count towards a block of our address.
    pub budgets: ErrorBudgets,
    /// Tokens that are being renewed by this process; to be finished when it stops.
    pub renewals: Renewals,
}

impl Fleet {
    /// Reaches Postgres and Redis, waiting for both as configured, and writes the configured
    /// connections down.
    ///
    /// # Errors
    ///
    /// When a store cannot be reached in time, a secret cannot be read or opened, a platform is unknown, or
    /// the quotas of a connection contradict themselves. Each names the key and the remedy.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let db = store::connect(
            &config.postgres.url,
            config.postgres.max_connections,
            config.postgres.wait,
        )
        .await
        .context("postgres.url: the server cannot be reached")?;
        let (links, keys) = reach(config, config.redis.wait).await?;
        let renewals = Renewals::default();
        let connections = Connections::open(config, &db, &renewals).await?;
        let lanes = connections.iter().map(|c| (c.account.lane.clone(), c.limits.clone()));
        let book = LaneBook::new(&keys, lanes)?;
        let budgets = ErrorBudgets::new(
            links.clone(),
            keys.clone(),
            &config.worker.outgoing_address,
            config.worker.error_budget_share,
        );
        let queue = RedisQueue::new(links, keys, book, queue_settings(config));
        Ok(Self { db, queue, connections, budgets, renewals })
    }
}

fn queue_settings(config: &Config) -> QueueSettings {
    QueueSettings {
        lease: config.worker.lease,
        permit_use_by: config.worker.permit_use_by,
        request_timeout: config.api.whole_timeout + STRAGGLERS,
        floors: config.worker.floors(),
    }
}

/// The queue for a process that claims nothing: it can enqueue, hold lanes and count what waits, and
/// needs no account's secrets for that. Of the configured connections it knows the quotas.
///
/// - `wait`: how long it keeps trying to reach Redis.
///
/// # Errors
///
/// When Redis cannot be reached in time, or the quotas of a connection contradict themselves.
pub async fn open_queue(config: &Config, wait: Duration) -> anyhow::Result<RedisQueue> {
    let (links, keys) = reach(config, wait).await?;
    let mut lanes = Vec::new();
    for (lane, connection) in &config.connections {
        // One of a platform that this program does not know is refused where it is used.
        if let Some(platform) = platform::named(lane.platform()) {
            let limits = limits(platform, connection)
                .with_context(|| format!("connections.{lane}.quotas"))?;
            lanes.push((lane.clone(), limits));
        }
    }
    let book = LaneBook::new(&keys, lanes)?;
    Ok(RedisQueue::new(links, keys, book, queue_settings(config)))
}

/// The ways to all shards, once each leads to a fit server.
async fn reach(config: &Config, wait: Duration) -> anyhow::Result<(Links, Keys)> {
    let keys = Keys::sharded(&config.redis.namespace, config.redis.shards);
    let tags = keys.shards().map(|shard| keys.shard(shard));
    let links = Links::new(&config.redis.address()?, tags).context("redis.url")?;
    links.ready(wait).await.context("redis.url")?;
    Ok((links, keys))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::quota::Floors;

    #[test]
    fn the_queue_is_used_as_it_is_configured() {
        let file = "[worker]\nlease = \"90s\"\nbulk_floor_percent = 20\nspot_check_floor_percent = 0\n\
                    [api]\nwhole_timeout = \"40s\"\n";
        let environment = BTreeMap::from(
            [("REDIS_URL", "redis://localhost"), ("DATABASE_URL", "postgres://localhost/none")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let config = Config::from_parts(Some(("syncline.toml", file)), &environment).unwrap();
        let settings = queue_settings(&config);
        assert_eq!(settings.lease, Duration::from_secs(90));
        assert_eq!(settings.floors, Floors { bulk: 20, spot_checks: 0 });
        assert_eq!(settings.request_timeout, Duration::from_secs(42));
        let usual = queue_settings(&Config::from_parts(None, &environment).unwrap());
        assert_eq!(usual.floors, Floors::default());
    }
}
