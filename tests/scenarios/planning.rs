//! What planning costs, however many lanes there are.

use common::store;
use scheduler::Reconcile as _;
use scheduler::reconcilers::SpotChecks;
use sqlx::PgPool;
use tests::lanes::Lanes;
use tests::scene::database_url;
use tests::statements::Statements;
use uuid::Uuid;

async fn pass(planner: &mut SpotChecks) -> anyhow::Result<(u64, u64)> {
    let statements = Statements::count();
    let added = planner.activate().await?;
    Ok((added, statements.sent()))
}

#[sqlx::test(migrations = false)]
async fn a_pass_over_idle_lanes_makes_as_many_statements_as_over_one(
    db: PgPool,
) -> anyhow::Result<()> {
    store::migrate(&db).await?;
    let redis_url = std::env::var("REDIS_URL")?;
    let namespace = format!("planning-{}-", Uuid::now_v7());
    let lanes = Lanes::open(&redis_url, &database_url(&db), &namespace, 100).await?;
    for (connection, _) in &lanes.connections {
        lanes.mirror(&db, *connection, 10, 0, 3_600.0).await?;
    }
    let mut planner = SpotChecks::new(lanes.fleet.clone(), &lanes.config.scheduler);
    // The first pass sees to every lane.
    let (added, statements) = pass(&mut planner).await?;
    assert_eq!(added, 0);
    assert!(statements > 100, "they are counted: {statements}");
    for _ in 0..3 {
        assert_eq!(pass(&mut planner).await?, (0, 4));
    }

    // Something comes due in two lanes: they alone cost more.
    for (connection, _) in &lanes.connections[..2] {
        lanes.mirror(&db, *connection, 10, 5, 3_600.0).await?;
    }
    let (added, statements) = pass(&mut planner).await?;
    assert!(added >= 10, "{added} checks");
    assert!((9..=4 + 4 + 2 * 6).contains(&statements), "{statements} statements");
    Ok(())
}
