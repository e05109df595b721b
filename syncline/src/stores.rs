//! Reaching Postgres and Redis as a person waits for it.

use std::time::Duration;

use anyhow::Context;
use common::config::Config;
use common::fleet::open_queue;
use common::queue::RedisQueue;
use common::store;
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
    let wait = PATIENCE.min(config.postgres.wait);
    patiently("Postgres", store::connect(&config.postgres.url, DB_CONNECTIONS, wait)).await.context(
        "postgres.url: no connection; is the server running, are address and password right?",
    )
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
