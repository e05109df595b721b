//! How often Redis is called: for each job of a batch, and by a fleet that has nothing to do.

use std::sync::Arc;
use std::time::Duration;

use common::job::Priority;
use tokio::time::sleep;

use super::commands::Toll;
use super::crew::{Crew, SHARING, Stores};
use super::effort::Effort;
use super::figure::{Figures, Reach};
use super::ground::{BATCH, checks, float, usual_id};
use super::handler::Countdown;

/// Workers of the idle fleet.
const FLEET: u64 = 10;
/// Jobs that the fleet has done before it is idle.
const DONE_BEFORE: u64 = 500;

/// Commands in batches and commands of an idle fleet.
///
/// # Errors
///
/// When a store fails.
pub async fn measure(
    stores: &Stores,
    effort: &Effort,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for _ in 0..effort.runs {
        let commands = commands_per_job(stores, effort.jobs).await?;
        let name = "Redis commands per job from outside, by 50";
        figures.record(name, "commands", Some(Reach::AtMost(0.1)), commands);
        let per_second = idle_commands(stores, effort.calms_down, effort.idle).await?;
        let name = format!("Redis commands a second of each of {FLEET} idle workers");
        figures.record(&name, "commands/s", Some(Reach::AtMost(2.0)), per_second);
    }
    Ok(())
}

/// All that producer and worker send, from the first enqueueing to the last settling.
async fn commands_per_job(stores: &Stores, jobs: u64) -> anyhow::Result<f64> {
    let toll = Toll::to(&stores.redis_url).await?;
    let stores = Stores { redis_url: toll.url().to_owned(), ..stores.clone() };
    let countdown = Arc::new(Countdown::from(jobs));
    let mut crew = Crew::start(&stores, 1, Arc::<Countdown>::clone(&countdown)).await?;
    let waiting = checks(&crew.lane, SHARING, Priority::Bulk, 0..jobs, usual_id);
    let before = toll.seen();
    for batch in waiting.chunks(BATCH) {
        crew.queue.enqueue(batch).await?;
    }
    countdown.over().await;
    crew.settled().await?;
    let commands = toll.seen() - before;
    crew.end().await?;
    Ok(float(commands) / float(jobs))
}

/// - `calms_down`: after the last settling; its permits' windows (a second) pass, and each worker
///   finds out that nothing is left.
async fn idle_commands(
    stores: &Stores,
    calms_down: Duration,
    watched: Duration,
) -> anyhow::Result<f64> {
    let toll = Toll::to(&stores.redis_url).await?;
    let stores = Stores { redis_url: toll.url().to_owned(), ..stores.clone() };
    let countdown = Arc::new(Countdown::from(DONE_BEFORE));
    let workers = usize::try_from(FLEET)?;
    let crew = Crew::start(&stores, workers, Arc::<Countdown>::clone(&countdown)).await?;
    let jobs = checks(&crew.lane, SHARING, Priority::Bulk, 0..DONE_BEFORE, usual_id);
    crew.queue.enqueue(&jobs).await?;
    countdown.over().await;
    sleep(calms_down).await;
    let before = toll.seen();
    sleep(watched).await;
    let commands = toll.seen() - before;
    crew.end().await?;
    Ok(float(commands) / float(FLEET) / watched.as_secs_f64())
}
