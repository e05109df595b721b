//! The sweeper before more open notices than it can look through at once. With
//! `cargo xtask test --long`: a million.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use common::ids::Lane;
use common::store::connections;
use scheduler::Reconcile;
use scheduler::reconcilers::Sweep;
use sqlx::PgPool;
use tests::config_file::KLAVIYO;
use tests::scene::{Scene, Setup};
use tokio::time::Instant;

/// Pages of a pass, each of `scheduler.sweep_batch` rows.
const PAGES: u64 = 50;
/// What a pass may hold of this process' memory beyond what was there before: a page, not a table.
const MEMORY_BOUND_KIB: u64 = 64 * 1024;

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn however_many_notices_are_open_a_pass_is_bounded(db: PgPool) -> anyhow::Result<()> {
    let long = std::env::var_os("SYNCLINE_LONG_TESTS").is_some();
    let rows: u64 = if long { 1_000_000 } else { 120_000 };
    let scene = Scene::new(db, Setup::default()).await?;
    let (fleet, config) = (scene.fleet().await?, scene.config());
    let lane: Lane = KLAVIYO.parse()?;
    let connection = fleet.connections.get(&lane).context("it is configured")?.id;
    sqlx::query(
        "insert into inbox
             (connection_id, record_type, external_id, priority, source, delivery, received_at, trace)
         select $1, 'profile', 'p' || n, 0, 'webhook', gen_random_uuid(),
                clock_timestamp() - interval '1 minute', ''
           from generate_series(1, $2::bigint) n",
    )
    .bind(connection.0)
    .bind(i64::try_from(rows)?)
    .execute(&scene.db)
    .await?;
    let a_pass = PAGES * u64::from(config.scheduler.sweep_batch);

    let mut sweep = Sweep::new(fleet.clone(), &config.scheduler, &config.worker);
    let before_kib = memory_kib("VmRSS:")?;
    let (mut known, mut passes) = (0, Vec::new());
    while known < rows {
        let begun = Instant::now();
        let added = sweep.activate().await?;
        passes.push(begun.elapsed());
        assert_eq!(added, a_pass.min(rows - known), "one pass after the other");
        known += added;
        assert_eq!(fleet.queue.depths(&lane).await?.ready[0], known);
    }
    // What follows finds nothing to do, and costs as much.
    let mut again = Duration::ZERO;
    for _ in 0..rows.div_ceil(a_pass) {
        let begun = Instant::now();
        assert_eq!(sweep.activate().await?, 0);
        again = again.max(begun.elapsed());
    }
    let grown_kib = memory_kib("VmHWM:")?.saturating_sub(before_kib);
    let worst = passes.iter().max().copied().unwrap_or_default();
    eprintln!(
        "{rows} rows: {} passes, the longest {worst:?}, with nothing to do {again:?}; {grown_kib} KiB",
        passes.len()
    );
    assert!(grown_kib < MEMORY_BOUND_KIB, "{grown_kib} KiB");
    Ok(())
}

/// A master died before its replica knew the last word about two lanes.
#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn which_lanes_are_paused_is_what_postgres_says(db: PgPool) -> anyhow::Result<()> {
    let scene = Scene::new(db, Setup::default()).await?;
    let (fleet, config) = (scene.fleet().await?, scene.config());
    let mut lanes = fleet.connections.iter().map(|c| (c.lane().clone(), c.id));
    let (paused, parked) = (lanes.next().context("two")?.0, lanes.next().context("two")?);
    let mut sweep = Sweep::new(fleet.clone(), &config.scheduler, &config.worker);
    sweep.activate().await?;
    fleet.queue.pause(&paused).await?;
    connections::park(&scene.db, parked.1, "by a person").await?;
    let is_paused = async |lane| fleet.queue.depths(lane).await.map(|depths| depths.paused);
    sweep.activate().await?;
    assert!(is_paused(&paused).await?, "the index is whole: it is believed");

    scene.redis_fails_over().await?;
    sweep.activate().await?;
    assert!(!is_paused(&paused).await?, "nobody could claim it");
    assert!(is_paused(&parked.0).await?);
    Ok(())
}

fn memory_kib(what: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let number = line.and_then(|line| line.split_whitespace().next()).context("Linux tells it")?;
    Ok(number.parse()?)
}
