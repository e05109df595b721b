//! Postgres is killed, out of reach, silent, slow, and full, under load.

use std::time::Duration;

use sqlx::PgPool;
use tests::fault::Crew;

const A_WHILE: Duration = Duration::from_millis(700);
/// Longer than a lease.
const LONG: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn postgres_is_killed_and_recovers() -> anyhow::Result<()> {
    let mut crew = Crew::start_on_own_postgres("").await?;
    crew.busy(A_WHILE).await?;
    crew.kill_postgres()?;
    crew.busy(A_WHILE).await?;
    crew.start_postgres_again().await?;
    crew.recovers("Postgres is killed").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn postgres_is_out_of_reach_and_nothing_is_accepted(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.busy(A_WHILE).await?;
    crew.to_postgres.shut();
    crew.busy(LONG).await?;
    crew.to_postgres.open();
    crew.recovers("Postgres is out of reach").await?;
    let stats = crew.scene.platforms.stats();
    assert!(stats.klaviyo.webhooks.answered_5xx + stats.klaviyo.webhooks.unanswered > 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn postgres_falls_silent(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.busy(A_WHILE).await?;
    crew.to_postgres.silence();
    crew.busy(LONG).await?;
    crew.to_postgres.open();
    crew.busy(A_WHILE).await?;
    crew.recovers("Postgres falls silent").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn postgres_is_slow(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.to_postgres.slow(Duration::from_millis(40));
    crew.busy(LONG).await?;
    crew.recovers("Postgres is slow").await?;
    Ok(())
}

/// What a full disk does: reads go on, writes are refused.
#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn postgres_takes_no_writes(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start(db).await?;
    crew.busy(A_WHILE).await?;
    crew.refuse_writes(true).await?;
    crew.busy(LONG).await?;
    crew.refuse_writes(false).await?;
    crew.recovers("Postgres takes no writes").await?;
    Ok(())
}
