//! Redis is flushed, killed, out of reach, silent and slow, under load.

use std::time::Duration;

use sqlx::PgPool;
use tests::fault::Crew;

const A_WHILE: Duration = Duration::from_millis(700);
/// Longer than a lease.
const LONG: Duration = Duration::from_millis(2500);

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn redis_is_flushed(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    for _ in ["once", "twice"] {
        crew.busy(A_WHILE).await?;
        crew.redis.flush_all().await?;
    }
    crew.busy(A_WHILE).await?;
    crew.recovers("FLUSHALL").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn redis_is_killed_and_comes_back_empty(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.busy(A_WHILE).await?;
    crew.redis.kill().await?;
    crew.busy(A_WHILE).await?;
    crew.redis.start_again().await?;
    crew.busy(A_WHILE).await?;
    crew.recovers("Redis is killed and comes back empty").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn redis_is_out_of_reach_and_webhooks_are_taken_all_the_same(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.busy(A_WHILE).await?;
    crew.to_redis.shut();
    let before = crew.scene.count("select count(*) from inbox").await?;
    crew.busy(LONG).await?;
    let accepted = crew.scene.count("select count(*) from inbox").await?;
    assert!(accepted > before + 20, "{before} before, {accepted} after");
    crew.to_redis.open();
    crew.recovers("Redis is out of reach").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn redis_falls_silent(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.busy(A_WHILE).await?;
    crew.to_redis.silence();
    crew.busy(LONG).await?;
    crew.to_redis.open();
    crew.busy(A_WHILE).await?;
    crew.recovers("Redis falls silent").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn redis_is_slow(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.to_redis.slow(Duration::from_millis(60));
    crew.busy(LONG).await?;
    crew.recovers("Redis is slow").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn connections_to_both_stores_break_again_and_again(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    for _ in 0..5 {
        crew.busy(Duration::from_millis(250)).await?;
        crew.to_redis.shut();
        crew.to_postgres.shut();
        crew.busy(Duration::from_millis(60)).await?;
        crew.to_postgres.open();
        crew.to_redis.open();
    }
    crew.recovers("connections break").await?;
    Ok(())
}
