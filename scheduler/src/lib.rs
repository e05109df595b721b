//! Decides what to look at. Everything it does is a reconciler: repeated, idempotent, without
//! memory, so that a restart or a second scheduler changes nothing.

pub mod reconcilers;
mod repeat;

use std::time::Duration;

use common::config::Config;
use common::fleet::{Fleet, Health, serve_health};
use common::lifecycle::Lifecycle;
use common::telemetry::Metrics;
use tokio_util::task::TaskTracker;

use reconcilers::{Bulk, Depths, Retention, Senders, SpotChecks, Sweep};
pub use repeat::{Reconcile, repeat};

/// How often old history is dropped and new partitions are made.
const RETENTION_EVERY: Duration = Duration::from_mins(10);
/// How often the depths of the lanes are measured.
const DEPTHS_EVERY: Duration = Duration::from_secs(5);

/// Schedules until the lifecycle stops.
///
/// # Errors
///
/// When it cannot start: see [`Fleet::open`]; or a schedule of the configuration makes no sense.
pub async fn run(config: &Config, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let fleet = Fleet::open(config).await?;
    let settings = &config.scheduler;
    let bulk = Bulk::new(fleet.clone(), settings.bulk_overlap).await?;
    let metrics = Metrics::default();

    let health = Health::default();
    health.set_ready(true);
    let (soft, tasks) = (lifecycle.soft(), TaskTracker::new());
    // Partitions first: the history of the first pass goes where it belongs.
    tasks.spawn(repeat(Retention::new(fleet.clone(), settings), RETENTION_EVERY, soft.clone()));
    tasks.spawn(repeat(
        Sweep::new(fleet.clone(), settings, &config.worker),
        settings.sweep_every,
        soft.clone(),
    ));
    tasks.spawn(repeat(bulk, settings.tick, soft.clone()));
    tasks.spawn(repeat(SpotChecks::new(fleet.clone(), settings), settings.tick, soft.clone()));
    if !settings.watch_senders_every.is_zero() {
        tasks.spawn(repeat(Senders::new(fleet.clone()), settings.tick, soft.clone()));
    }
    tasks.spawn(repeat(Depths::new(fleet, metrics), DEPTHS_EVERY, soft.clone()));
    tasks.close();

    let stopping = async {
        soft.cancelled().await;
        health.set_ready(false);
        tasks.wait().await;
        lifecycle.hard().cancel();
        anyhow::Ok(())
    };
    let serving = serve_health(settings.listen, health.clone(), lifecycle.hard().clone());
    tokio::try_join!(stopping, serving)?;
    Ok(())
}
