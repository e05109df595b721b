//! What planning costs, however many lanes there are.

use std::time::Duration;

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

/// One lane with a mirror, for a planner.
async fn one_lane(db: &PgPool, records: u32, due: u32) -> anyhow::Result<(Lanes, SpotChecks)> {
    store::migrate(db).await?;
    let redis_url = std::env::var("REDIS_URL")?;
    let namespace = format!("planning-{}-", Uuid::now_v7());
    let lanes = Lanes::open(&redis_url, &database_url(db), &namespace, 1).await?;
    lanes.mirror(db, lanes.connections[0].0, records, due, 3_600.0).await?;
    lanes.analyze(db).await?;
    let planner = SpotChecks::new(lanes.fleet.clone(), &lanes.config.scheduler);
    Ok((lanes, planner))
}

#[sqlx::test(migrations = false)]
async fn a_frozen_lane_gets_no_checks_and_after_it_thawed_no_herd(
    db: PgPool,
) -> anyhow::Result<()> {
    let (lanes, mut planner) = one_lane(&db, 20_000, 20_000).await?;
    let (queue, lane) = (&lanes.fleet.queue, &lanes.connections[0].1);
    let price = "select count(*) from lane_prices";
    for _ in 0..3 {
        queue.freeze(lane, Duration::from_hours(1)).await?;
        assert_eq!(planner.activate().await?, 0, "it is frozen");
    }
    assert_eq!(sqlx::query_scalar::<_, i64>(price).fetch_one(&db).await?, 0, "its price rests");

    queue.thaw(lane).await?;
    let mut waiting = 0;
    for _ in 0..5 {
        waiting += planner.activate().await?;
    }
    // All 20,000 have been due for a day. 2,000 are to wait at the most; the first pass, which does
    // not know yet how many share a request, may take twice as many, and some random samples.
    assert!((500..=4_600).contains(&waiting), "{waiting} wait");
    let [.., spot_checks] = queue.depths(lane).await?.ready;
    assert_eq!(spot_checks, waiting);
    Ok(())
}

#[sqlx::test(migrations = false)]
async fn a_lane_whose_webhooks_fail_gets_more_checks_with_the_next_pass(
    db: PgPool,
) -> anyhow::Result<()> {
    let (lanes, mut planner) = one_lane(&db, 500, 0).await?;
    let connection = lanes.connections[0].0.0;
    sqlx::query("insert into lane_prices (connection_id, price) values ($1, 3)")
        .bind(connection)
        .execute(&db)
        .await?;
    // Webhooks told of 990 changes in 1,000: a look at a record a day ago is not worth its price.
    sqlx::query(
        "insert into record_habits (connection_id, record_type, announced, expected, silent,
                                    silent_exposure, exposure_days)
         values ($1, 'profile', 990, 990, 10, 990, 10000)",
    )
    .bind(connection)
    .execute(&db)
    .await?;
    for _ in 0..3 {
        assert_eq!(planner.activate().await?, 0);
    }
    sqlx::query("update record_habits set outage_since = now()").execute(&db).await?;
    // The first pass goes round the records, however long it is until any of them would be due.
    planner.activate().await?;
    let added = planner.activate().await?;
    assert!(added > 100, "{added} checks");
    Ok(())
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
    lanes.analyze(&db).await?;
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
