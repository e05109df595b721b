//! Reaching Postgres and Redis as a person waits for it.

use std::time::Duration;

use anyhow::Context;
use common::config::Config;
use common::fleet::open_queue;
use common::queue::RedisQueue;
use common::store;
use secrecy::SecretString;
use sqlx::PgPool;
use tokio::time::sleep;

/// A command does one thing after the other.
const DB_CONNECTIONS: u32 = 2;
/// A person does not wait for a store as long as a starting process does.
const PATIENCE: Duration = Duration::from_secs(10);
/// After this it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// Reaches Postgres.
pub(crate) async fn postgres(config: &Config) -> anyhow::Result<PgPool> {
    connect(config, &config.postgres.url).await.context(
        "postgres.url: no connection; is the server running, are address and password right?",
    )
}

/// Reaches Postgres past a proxy that pools transactions.
pub(crate) async fn postgres_itself(config: &Config) -> anyhow::Result<PgPool> {
    connect(config, config.postgres.direct()).await.context(
        "postgres.direct_url, or postgres.url: no connection; is the server running, are address and password right?",
    )
}

async fn connect(config: &Config, url: &SecretString) -> anyhow::Result<PgPool> {
    let wait = PATIENCE.min(config.postgres.wait);
    Ok(patiently("Postgres", store::connect(url, DB_CONNECTIONS, wait)).await?)
}

/// Reaches Redis; no account's secrets are needed for it.
pub(crate) async fn redis(config: &Config) -> anyhow::Result<RedisQueue> {
    patiently("Redis", open_queue(config, PATIENCE.min(config.redis.wait))).await
}

async fn patiently<T>(name: &str, reaching: impl Future<Output = T>) -> T {
    tokio::pin!(reaching);
    tokio::select! {
        reached = &mut reaching => return reached,
        () = sleep(SILENCE) => eprintln!("note: waiting for {name}"),
    }
    reaching.await
}
