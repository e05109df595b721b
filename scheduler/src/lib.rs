//! Decides what to look at. Everything it does is a reconciler: repeated, idempotent, without
//! memory, so that a restart or a second scheduler changes nothing. Of several, one leads.

pub mod leader;
pub mod reconcilers;
mod repeat;

use std::time::Duration;

use common::config::Config;
use common::fleet::{Fleet, Health, serve_health};
use common::lifecycle::Lifecycle;
use common::telemetry::Metrics;
use tokio::task::JoinSet;

use leader::{Leader, Tenure};
use reconcilers::{
    Budgets, Bulk, Depths, FlipWatch, Learning, QualityWatch, Retention, Senders, SpotChecks,
    Sweep, WebhookWatch,
};
pub use repeat::{Reconcile, repeat};

/// How often old history is dropped and new partitions are made.
const RETENTION_EVERY: Duration = Duration::from_mins(10);
/// How often it is seen whether a record type is to be fitted anew.
const LEARNING_EVERY: Duration = Duration::from_mins(1);
/// Audits and webhooks are watched once in so many ticks.
const WATCH_TICKS: u32 = 5;
/// How often fields are searched that do not settle.
const FLIPS_EVERY: Duration = Duration::from_mins(1);
/// How often the depths of the lanes are measured, and error budgets looked at.
const DEPTHS_EVERY: Duration = Duration::from_secs(5);

/// Schedules, or waits for its turn, until the lifecycle stops.
///
/// # Errors
///
/// When it cannot start: see [`Fleet::open`]; or a schedule of the configuration makes no sense.
pub async fn run(config: &Config, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let opening = Fleet::open(config);
    let Some(fleet) = lifecycle.soft().run_until_cancelled(opening).await else { return Ok(()) };
    let fleet = fleet?;
    Bulk::check(&fleet)?;
    let metrics = Metrics::default();
    let direct = config.postgres.direct().clone();
    let leader = Leader::new(direct, config.scheduler.leader_lease, metrics.clone());

    let (soft, hard) = (lifecycle.soft(), lifecycle.hard());
    let scheduling = async {
        let work = |tenure| Box::pin(reconcile(config, fleet.clone(), metrics.clone(), tenure));
        // After the hard stop nothing is waited for: a store may be out of reach.
        hard.run_until_cancelled(leader.run(soft, work)).await;
        hard.cancel();
        anyhow::Ok(())
    };
    let health = Health::until(lifecycle.leaving());
    let serving = serve_health(config.scheduler.listen, health, hard.clone());
    tokio::try_join!(scheduling, serving)?;
    Ok(())
}

/// What the leader does, until it is to stop or leads no more.
async fn reconcile(
    config: &Config,
    fleet: Fleet,
    metrics: Metrics,
    tenure: Tenure,
) -> anyhow::Result<()> {
    let settings = &config.scheduler;
    let starting = Bulk::new(fleet.clone(), settings.bulk_overlap);
    let Some(bulk) = tenure.while_it_holds(starting).await else { return Ok(()) };
    let mut tasks = JoinSet::new();
    // Partitions first: the history of the first pass goes where it belongs.
    tasks.spawn(repeat(Retention::new(fleet.clone(), settings), RETENTION_EVERY, tenure.clone()));
    tasks.spawn(repeat(
        Sweep::new(fleet.clone(), settings, &config.worker),
        settings.sweep_every,
        tenure.clone(),
    ));
    tasks.spawn(repeat(bulk?, settings.tick, tenure.clone()));
    tasks.spawn(repeat(SpotChecks::new(fleet.clone(), settings), settings.tick, tenure.clone()));
    if !settings.watch_senders_every.is_zero() {
        tasks.spawn(repeat(Senders::new(fleet.clone()), settings.tick, tenure.clone()));
    }
    #[expect(clippy::disallowed_methods, reason = "the generator of this task")]
    let chance = rand::make_rng();
    tasks.spawn(repeat(Learning::new(fleet.clone(), chance), LEARNING_EVERY, tenure.clone()));
    let watch = settings.tick * WATCH_TICKS;
    tasks.spawn(repeat(
        QualityWatch::new(fleet.clone(), settings, metrics.clone()),
        watch,
        tenure.clone(),
    ));
    tasks.spawn(repeat(WebhookWatch::new(fleet.clone()), watch, tenure.clone()));
    tasks.spawn(repeat(FlipWatch::new(fleet.clone()), FLIPS_EVERY, tenure.clone()));
    tasks.spawn(repeat(Budgets::new(fleet.clone()), DEPTHS_EVERY, tenure.clone()));
    tasks.spawn(repeat(Depths::new(fleet, metrics), DEPTHS_EVERY, tenure));
    // One that panicked begins anew with all others.
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}
