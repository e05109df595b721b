//! Takes jobs, fetches records within quota, writes the mirror. The path of a job:
//! [`pool`] claims it, [`batch`] keeps its lease, [`handlers`] do it, [`settling`] says so.

pub mod batch;
mod bell;
pub mod crew;
pub mod handlers;
mod lanes;
pub mod line;
pub mod outcome;
pub mod permits;
pub mod pool;
pub mod settling;
mod slots;
mod urgent;

use std::sync::{Arc, Mutex};

use anyhow::Context;
use common::config::Config;
use common::fleet::senders::Watch;
use common::fleet::{Fleet, Health, serve_health};
use common::lifecycle::Lifecycle;
use common::platform::{Api, ApiSettings};
use common::telemetry::Metrics;
use tokio_util::task::TaskTracker;

use crate::batch::Worker;
use crate::handlers::{Handler, Tasks};
use crate::line::Lines;
use crate::settling::Settling;

/// Works until the lifecycle stops; then finishes what it holds, or hands it back.
///
/// # Errors
///
/// When it cannot start; see [`Fleet::open`].
pub async fn run(config: &Config, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let opening = Fleet::open(config);
    let Some(fleet) = lifecycle.soft().run_until_cancelled(opening).await else { return Ok(()) };
    let fleet = fleet?;
    let worker = Arc::new(worker(config, fleet, Arc::new(Tasks))?);

    let health = Health::until(lifecycle.leaving());
    let serving = serve_health(config.worker.listen, health, lifecycle.hard().clone());
    let working = async {
        pool::run(&worker, lifecycle).await;
        worker.fleet.renewals.finish().await;
        lifecycle.hard().cancel();
        anyhow::Ok(())
    };
    tokio::try_join!(serving, working)?;
    Ok(())
}

/// What all batches of this process share.
///
/// # Errors
///
/// When there can be no HTTP client.
pub fn worker(config: &Config, fleet: Fleet, handler: Arc<dyn Handler>) -> anyhow::Result<Worker> {
    let api = Api::new(ApiSettings {
        connect: config.api.connect_timeout,
        read: config.api.read_timeout,
        whole: config.api.whole_timeout,
        max_body_bytes: config.api.max_body_bytes,
        contact: config.api.contact.clone(),
    })
    .context("the HTTP client")?;
    #[expect(clippy::disallowed_methods, reason = "the one generator of this process")]
    let chance = Mutex::new(rand::make_rng());
    Ok(Worker {
        queue: Arc::new(fleet.queue.clone()),
        store: Arc::new(fleet.db.clone()),
        crew: Arc::new(TaskTracker::new()),
        fleet,
        handler,
        api,
        settings: config.worker.clone(),
        overlap: config.scheduler.bulk_overlap,
        brake: handlers::Brake {
            share: config.scheduler.mass_delete_share,
            min: config.scheduler.mass_delete_min,
        },
        care: handlers::Care {
            min_age: config.scheduler.spot_check_min_age,
            max_age: config.scheduler.spot_check_max_age,
            run_samples: config.scheduler.run_audit_samples,
            repairs_per_hour: config.scheduler.repairs_per_hour,
        },
        watch: Watch::new(&config.scheduler),
        lines: Lines::default(),
        settling: Settling::default(),
        metrics: Metrics::default(),
        chance,
    })
}
