//! Workers as the fleet runs them, with handlers that do nothing.

use std::sync::Arc;

use anyhow::Context;
use common::config::Config;
use common::fleet::Fleet;
use common::ids::Lane;
use common::lifecycle::Lifecycle;
use common::queue::{Ledger, RedisQueue};
use redis::aio::ConnectionManager;
use simulator::Platform;
use tokio::task::JoinSet;
use uuid::Uuid;
use worker::handlers::Handler;
use worker::pool;

use super::ground;
use crate::config_file::{Addresses, ConfigFolder, EVENTBRITE};

/// Jobs of this kind share a request by fifty,
pub const SHARING: &str = "event";
/// and these do not.
pub const ALONE: &str = "order";

/// Where the stores are.
#[derive(Clone, Debug)]
pub struct Stores {
    /// The server whose time and memory count.
    pub redis_url: String,
    /// Workers know their connections from there. No figure touches it.
    pub database_url: String,
}

/// Worker pools in one process, each with connections of its own.
pub struct Crew {
    /// For whoever enqueues.
    pub queue: RedisQueue,
    /// What they serve.
    pub lane: Lane,
    lifecycle: Lifecycle,
    pools: JoinSet<()>,
    redis: ConnectionManager,
    namespace: String,
    _folder: ConfigFolder,
}

impl Crew {
    /// Starts `workers` of the usual settings with more quota than they ever use.
    ///
    /// # Errors
    ///
    /// When a store cannot be reached.
    pub async fn start(
        stores: &Stores,
        workers: usize,
        handler: Arc<dyn Handler>,
    ) -> anyhow::Result<Self> {
        let namespace = format!("bench-{}-", Uuid::now_v7());
        let (folder, config) = configuration(stores, &namespace)?;
        let lane: Lane = EVENTBRITE.parse()?;
        let fleet = Fleet::open(&config).await?;
        fleet.queue.open(&lane, &[Ledger::Empty]).await?;
        let lifecycle = Lifecycle::manual(config.worker.drain);
        let mut pools = JoinSet::new();
        for _ in 0..workers {
            let fleet = Fleet::open(&config).await?;
            let worker = Arc::new(worker::worker(&config, fleet, Arc::clone(&handler))?);
            let lifecycle = lifecycle.clone();
            pools.spawn(async move { pool::run(&worker, &lifecycle).await });
        }
        let redis = ground::connect(&stores.redis_url).await?;
        let queue = fleet.queue.clone();
        Ok(Self { queue, lane, lifecycle, pools, redis, namespace, _folder: folder })
    }

    /// Returns when all that was handled is settled.
    ///
    /// # Errors
    ///
    /// When a pool has failed.
    pub async fn settled(&mut self) -> anyhow::Result<()> {
        if !self.pools.is_empty() {
            self.lifecycle.stop();
        }
        while let Some(ended) = self.pools.join_next().await {
            ended.context("a worker")?;
        }
        Ok(())
    }

    /// Stops them and deletes what they left.
    ///
    /// # Errors
    ///
    /// When a pool has failed, or Redis does.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.settled().await?;
        ground::clear(&self.redis, &self.namespace).await
    }
}

fn configuration(stores: &Stores, namespace: &str) -> anyhow::Result<(ConfigFolder, Config)> {
    let ample = r#"quotas.hour = { limit = 1000000, window = "1s", burst = 1000, headroom = 5 }"#;
    let folder = ConfigFolder::write(
        &simulator::Config::default(),
        &Addresses::nowhere(),
        "",
        &[(Platform::Eventbrite, ample)],
    )?;
    let config = folder.config(&[
        ("SYNCLINE__REDIS__URL", &stores.redis_url),
        ("SYNCLINE__REDIS__NAMESPACE", namespace),
        ("SYNCLINE__POSTGRES__URL", &stores.database_url),
        ("SYNCLINE__POSTGRES__MAX_CONNECTIONS", "2"),
    ])?;
    Ok((folder, config))
}
