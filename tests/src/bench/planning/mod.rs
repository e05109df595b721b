//! What it costs to plan: statements and time of a pass over many lanes, and of a check among many
//! records.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use common::freshness::Evidence as _;
use common::freshness::grid::{GridEvidence, GridPrior};
use common::freshness::{Belief as _, Notices, Observation};
use common::store;
use scheduler::Reconcile as _;
use scheduler::reconcilers::SpotChecks;
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use super::crew::Stores;
use super::figure::{Figures, Reach};
use super::ground::{self, float};
use crate::lanes::Lanes;
use crate::statements::Statements;

/// Lanes, and records of the one that has many.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Connections, each with a hundred records.
    pub lanes: usize,
    /// Records of one connection.
    pub records: u32,
}

/// Records of each of the many lanes.
const FEW: u32 = 100;
/// Passes that are counted among many records.
const PASSES: u32 = 10;
/// Postgres counts a scan at the end of its transaction, or a second later.
const COUNTED_WITHIN: Duration = Duration::from_millis(1_500);

/// # Errors
///
/// When a store fails.
pub async fn measure(
    stores: &Stores,
    size: Size,
    runs: usize,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let db =
        store::connect(&stores.database_url.clone().into(), 2, Duration::from_secs(10)).await?;
    for run in 0..runs {
        many_lanes(stores, &db, size, figures).await?;
        many_records(stores, &db, size, run == 0, figures).await?;
        figures.record(
            "planning a check, the pure part",
            "us",
            Some(Reach::AtMost(20.0)),
            pure_us(),
        );
    }
    Ok(())
}

/// Passes over lanes in which nothing is due, and in which something is.
async fn many_lanes(
    stores: &Stores,
    db: &PgPool,
    size: Size,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let namespace = format!("bench-{}-", Uuid::now_v7());
    let lanes =
        Lanes::open(&stores.redis_url, &stores.database_url, &namespace, size.lanes).await?;
    let count = float(u64::try_from(size.lanes)?);
    for (connection, _) in &lanes.connections {
        lanes.mirror(db, *connection, FEW, 0, 3_600.0).await?;
    }
    lanes.analyze(db).await?;
    let mut planner = SpotChecks::new(lanes.fleet.clone(), &lanes.config.scheduler);
    // The first pass sees to every lane.
    let first = pass(&mut planner).await?;
    figures.record("statements a lane, first pass", "", None, float(first.statements) / count);
    let idle = pass(&mut planner).await?;
    ensure!(idle.checks == 0, "{} checks where nothing is due", idle.checks);
    let name = format!("statements of a pass, {} idle lanes", size.lanes);
    figures.record(&name, "", Some(Reach::AtMost(8.0)), float(idle.statements));
    figures.record("the same: time of the pass", "ms", None, idle.seconds * 1e3);

    sqlx::query(
        "update external_integrations set next_check_at = last_verified_at
          where connection_id = any($1) and external_id <= 'P000000010'",
    )
    .bind(lanes.connections.iter().map(|(connection, _)| connection.0).collect::<Vec<_>>())
    .execute(db)
    .await?;
    let busy = pass(&mut planner).await?;
    ensure!(busy.checks > 0, "nothing was chosen");
    figures.record(
        "statements a lane and pass, something due in each",
        "",
        None,
        float(busy.statements) / count,
    );
    figures.record("the same: time a lane", "us", None, busy.seconds * 1e6 / count);
    clear(stores, db, &lanes, &namespace).await
}

/// Passes over one lane with many records.
async fn many_records(
    stores: &Stores,
    db: &PgPool,
    size: Size,
    show: bool,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let namespace = format!("bench-{}-", Uuid::now_v7());
    let lanes = Lanes::open(&stores.redis_url, &stores.database_url, &namespace, 1).await?;
    let (connection, _) = lanes.connections.first().context("no lane")?;
    lanes.mirror(db, *connection, size.records, size.records / 20, 30.0).await?;
    lanes.analyze(db).await?;
    let plan = explain(db, connection.0).await?;
    if show {
        eprintln!("bench: what comes due first is read so:\n{plan}");
    }
    let scans = f64::from(u8::from(plan.contains("Seq Scan")));
    figures.record(
        "what comes due first: sequential scans in its plan",
        "",
        Some(Reach::AtMost(0.0)),
        scans,
    );

    tokio::time::sleep(COUNTED_WITHIN).await;
    let before = sequential_scans(db).await?;
    let mut planner = SpotChecks::new(lanes.fleet.clone(), &lanes.config.scheduler);
    pass(&mut planner).await?;
    let mut sum = Pass::default();
    for _ in 0..PASSES {
        // All that was chosen is done at once: the lane has room again.
        ground::clear(&ground::connect(&stores.redis_url).await?, &namespace).await?;
        for (_, lane) in &lanes.connections {
            lanes.fleet.queue.open(lane, &[common::queue::Ledger::Empty]).await?;
        }
        let pass = pass(&mut planner).await?;
        sum.checks += pass.checks;
        sum.statements += pass.statements;
        sum.seconds += pass.seconds;
    }
    ensure!(sum.checks > 0, "nothing was chosen");
    let records = size.records;
    let checks = float(sum.checks);
    figures.record(
        &format!("time of an issued check, {records} records, all told"),
        "us",
        None,
        sum.seconds * 1e6 / checks,
    );
    figures.record("the same: checks of a pass", "", None, checks / f64::from(PASSES));
    figures.record(
        "the same: statements of a pass",
        "",
        None,
        float(sum.statements) / f64::from(PASSES),
    );
    tokio::time::sleep(COUNTED_WITHIN).await;
    let scanned = sequential_scans(db).await? - before;
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let scanned = scanned as f64;
    figures.record("the same: scans of the whole table", "", Some(Reach::AtMost(0.0)), scanned);
    clear(stores, db, &lanes, &namespace).await
}

#[derive(Debug, Default)]
struct Pass {
    checks: u64,
    statements: u64,
    seconds: f64,
}

async fn pass(planner: &mut SpotChecks) -> anyhow::Result<Pass> {
    let statements = Statements::count();
    let began = Instant::now();
    let checks = planner.activate().await?;
    Ok(Pass { checks, statements: statements.sent(), seconds: began.elapsed().as_secs_f64() })
}

/// The plan of `next_due`, as its statement is sent.
async fn explain(db: &PgPool, connection: i32) -> anyhow::Result<String> {
    let plan: Vec<String> = sqlx::query_scalar(
        "explain (analyze, buffers) select record_type, external_id, evidence, weight,
                last_verified_at, next_check_at, not_before
           from external_integrations
          where connection_id = $1 and next_check_at is not null and flags & 1 = 0
          order by next_check_at limit 4000",
    )
    .bind(connection)
    .fetch_all(db)
    .await?;
    Ok(plan.join("\n"))
}

async fn sequential_scans(db: &PgPool) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(
        "select coalesce(sum(seq_scan), 0)::bigint from pg_stat_user_tables
          where relname = 'external_integrations'",
    )
    .fetch_one(db)
    .await?)
}

/// Microseconds of working out one record at today's price: belief, value and next look.
fn pure_us() -> f64 {
    const ROUNDS: u32 = 20_000;
    let (prior, notices) = (GridPrior::default(), Notices::new(0.9, 0.02));
    let seen = Observation { exposure_days: 1.0, changed: true, noticed: false };
    let evidence = GridEvidence::default().observe(&prior, &notices, &seen);
    let began = Instant::now();
    for round in 0..ROUNDS {
        let belief = evidence.belief(&prior);
        let price = f64::from(round % 11 + 1) / 1e3;
        std::hint::black_box(belief.gain(&notices, f64::from(round % 7) / 7.0));
        std::hint::black_box(belief.planned_age_days(&notices, 1.0, price, round % 5 == 0));
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}

async fn clear(stores: &Stores, db: &PgPool, lanes: &Lanes, namespace: &str) -> anyhow::Result<()> {
    for (connection, _) in &lanes.connections {
        lanes.mirror(db, *connection, 0, 0, 1.0).await?;
        sqlx::query("delete from quality_samples where connection_id = $1")
            .bind(connection.0)
            .execute(db)
            .await?;
    }
    ground::clear(&ground::connect(&stores.redis_url).await?, namespace).await
}
