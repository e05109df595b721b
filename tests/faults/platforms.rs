//! A platform that misbehaves under load, while the other goes on.

use std::time::Duration;

use simulator::{Fault, Hits, Platform};
use sqlx::PgPool;
use tests::fault::Crew;

const A_WHILE: Duration = Duration::from_millis(700);

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_platform_fails_in_every_way_in_turn(db: PgPool) -> anyhow::Result<()> {
    let mut crew = Crew::start_with(db, "[worker]\nmax_attempts = 100\n").await?;
    let nowhere = "http://127.0.0.1:1/".to_owned();
    for fault in [
        Fault::Status { status: 500, retry_after: None },
        Fault::Status { status: 503, retry_after: Some(1) },
        Fault::Status { status: 429, retry_after: Some(1) },
        Fault::Slow { ms: 1500 },
        Fault::Garbage,
        Fault::Redirect { location: nowhere },
        Fault::Cut,
        Fault::Huge { bytes: 20_000_000 },
    ] {
        crew.scene.platforms.fault(Platform::Klaviyo, fault, Hits::Share(0.6));
        crew.busy(A_WHILE).await?;
        crew.scene.platforms.clear_faults(Platform::Klaviyo);
    }
    crew.recovers("a platform fails").await?;
    Ok(())
}
