//! What a claim costs Redis when thousands of lanes exist and few of them can run.

use std::time::Duration;

use anyhow::ensure;
use common::ids::Lane;
use common::job::Priority;
use common::queue::Shard;

use super::effort::Effort;
use super::figure::{Figures, Reach};
use super::ground::{Ground, Measured, Server, checks, float, usual_id};

/// The lanes beside which many are measured.
const FEW: usize = 10;

/// Few lanes and many in turn.
///
/// # Errors
///
/// When Redis fails, or a claim brings nothing.
pub async fn measure(
    redis: &Measured,
    effort: &Effort,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (many, runnable) = effort.lanes;
    for _ in 0..effort.runs {
        let few_us = time_per_claim(redis, FEW, FEW, effort.claims).await?;
        figures.record(&format!("Redis CPU per claim, {FEW} lanes"), "us", None, few_us);
        let many_us = time_per_claim(redis, many, runnable, effort.claims).await?;
        let name = format!("Redis CPU per claim, {many} lanes, {runnable} of them runnable");
        figures.record(&name, "us", None, many_us);
        let name = format!("claim with {many} lanes beside {FEW}");
        figures.record(&name, "x", Some(Reach::AtMost(2.0)), many_us / few_us);
    }
    Ok(())
}

/// Microseconds of Redis' processor. Each claim asks for one batch of the lanes that the last one
/// named as due, as a worker does. Jobs are not settled, so that nothing but claims is counted.
async fn time_per_claim(
    redis: &Measured,
    lanes: usize,
    runnable: usize,
    claims: u64,
) -> anyhow::Result<f64> {
    let ground = Ground::prepare(redis, lanes, 1).await?;
    let (queue, server) = (&ground.queue, Server::new(redis));
    let (running, held) = ground.lanes.split_at(runnable);

    // In the others something waits too, and may not run for an hour. Claims find that out.
    for lane in held {
        queue.freeze(lane, Duration::from_hours(1)).await?;
        queue.enqueue(&checks(lane, "profile", Priority::Bulk, 0..1, usual_id)).await?;
    }
    let mut due = due_after(queue.claim(Shard(0), &[], 1).await?.due)?;
    while !due.is_empty() {
        due = due_after(queue.claim(Shard(0), &due, 1).await?.due)?;
    }
    for lane in running {
        let share = claims.div_ceil(u64::try_from(runnable)?) + 1;
        queue.enqueue(&checks(lane, "profile", Priority::Bulk, 0..share, usual_id)).await?;
    }

    let mut due = due_after(queue.claim(Shard(0), &[], 1).await?.due)?;
    let before = server.cpu_us().await?;
    for _ in 0..claims {
        let claimed = queue.claim(Shard(0), &due, 1).await?;
        ensure!(claimed.batches.len() == 1, "a claim brought {} batches", claimed.batches.len());
        due = due_after(claimed.due)?;
        drop(claimed.batches);
    }
    let spent = server.cpu_us().await? - before;
    ground.clear().await?;
    Ok(spent / float(claims))
}

fn due_after(names: Vec<String>) -> anyhow::Result<Vec<Lane>> {
    Ok(names.into_iter().map(Lane::try_from).collect::<Result<_, _>>()?)
}
