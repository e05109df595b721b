//! Jobs a second through one worker, beside a peer in the same run.

use std::sync::Arc;

use common::job::Priority;
use tokio::time::Instant;

use super::crew::{ALONE, Crew, SHARING, Stores};
use super::effort::Effort;
use super::figure::{Figures, Reach};
use super::ground::{BATCH, checks, float, long_id};
use super::handler::Countdown;
use super::peer::Peer;

const OURS: &str = "jobs/s: enqueue + run + ack, one worker, by 50, 200 bytes each";

/// Ours and the peer in turn.
///
/// # Errors
///
/// When a store fails, or the peer's driver does.
pub async fn measure(
    stores: &Stores,
    effort: &Effort,
    peer: Option<&Peer>,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for _ in 0..effort.runs {
        let ours = jobs_per_second(stores, effort.worked, SHARING).await?;
        figures.record(OURS, "jobs/s", None, ours);
        let alone = jobs_per_second(stores, effort.worked / 5, ALONE).await?;
        let name = "the same, each job a request of its own";
        figures.record(name, "jobs/s", None, alone);
        let Some(peer) = peer else { continue };
        let theirs = peer.run(effort.worked, effort.patience).await?;
        let name = theirs.name.as_deref().unwrap_or("the peer");
        figures.record(&format!("{name}: jobs/s"), "jobs/s", None, theirs.jobs_per_s);
        let ratio = format!("ours beside {name}: jobs/s, by 50");
        figures.record(&ratio, "x", Some(Reach::AtLeast(5.0)), ours / theirs.jobs_per_s);
        let ratio = format!("ours beside {name}: jobs/s, each a request of its own");
        figures.record(&ratio, "x", None, alone / theirs.jobs_per_s);
        if let Some(us) = theirs.redis_cpu_us_per_job {
            figures.record(&format!("{name}: Redis CPU per job"), "us", None, us);
        }
        if let Some(bytes) = theirs.bytes_per_job {
            figures.record(&format!("{name}: Redis memory per waiting job"), "bytes", None, bytes);
        }
    }
    Ok(())
}

/// From the first enqueueing to the end of the last settling. Enqueued by 50 while the worker runs.
async fn jobs_per_second(stores: &Stores, jobs: u64, kind: &str) -> anyhow::Result<f64> {
    let countdown = Arc::new(Countdown::from(jobs));
    let mut crew = Crew::start(stores, 1, Arc::<Countdown>::clone(&countdown)).await?;
    let waiting = checks(&crew.lane, kind, Priority::Bulk, 0..jobs, long_id);
    let began = Instant::now();
    for batch in waiting.chunks(BATCH) {
        crew.queue.enqueue(batch).await?;
    }
    countdown.over().await;
    crew.settled().await?;
    let took = began.elapsed();
    let depths = crew.queue.depths(&crew.lane).await?;
    let left = depths.ready.iter().sum::<u64>() + depths.delayed + depths.leased;
    anyhow::ensure!(left == 0, "{left} jobs were not settled");
    crew.end().await?;
    Ok(float(jobs) / took.as_secs_f64())
}
