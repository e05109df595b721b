//! From enqueueing to the start of the handler: on an idle worker, and past bulk jobs that wait.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::job::Priority;
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::crew::{ALONE, Crew, Stores};
use super::effort::Effort;
use super::figure::{Figures, Reach};
use super::ground::{checks, usual_id};
use super::handler::Watch;

/// What a bulk job takes: the request of a fast platform.
const REQUEST: Duration = Duration::from_millis(20);
/// Shorter and longer ones, as a control: a wait for a slot would grow with them, a wait for a
/// processor shrinks, since longer requests are fewer a second.
const OTHER_REQUESTS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(80)];
/// As many may wait as will: the slowest webhooks are slower by this at most.
const FLAT: f64 = 1.5;
/// Workers that bulk jobs keep busy.
const BUSY_WORKERS: usize = 2;
/// Webhooks come this far apart, in microseconds; after the longest a worker sleeps again.
const APART_US: std::ops::Range<u64> = 4_000..10_000;
/// A handler that has not begun by then never will.
const PATIENCE: Duration = Duration::from_secs(30);
/// Jobs that are made and enqueued at once, to bound memory.
const FILLED_AT_ONCE: u64 = 10_000;
/// Webhooks are numbered from here, bulk jobs from 0.
const WEBHOOKS_FROM: u64 = 1_000_000_000;

const IDLE_P50: &str = "enqueue to handler start, idle worker: p50";
const IDLE_P99: &str = "enqueue to handler start, idle worker: p99";

/// Each run with busy workers beside one with an idle worker: what they are compared with belongs to
/// the same minute of this machine. All runs of a depth are compared as one, since of a few hundred
/// webhooks the 99th percentile is that of a handful.
///
/// # Errors
///
/// When a store fails, or a handler never begins.
pub async fn measure(
    stores: &Stores,
    effort: &Effort,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mut busy = Busy::start(stores, REQUEST).await?;
    let mut behind_few = Vec::new();
    for &depth in &effort.depths {
        busy.fill(depth).await?;
        let behind = format!("webhook behind {depth} bulk jobs, busy workers");
        let (mut all_free, mut all_behind) = (Histogram::new(3)?, Histogram::new(3)?);
        for run in 0..effort.runs {
            let seed = u64::try_from(run)?;
            let latencies = busy.aside(Box::pin(idle(stores, effort, seed))).await?;
            figures.record(IDLE_P50, "ms", Some(Reach::AtMost(1.0)), ms(&latencies, 0.5));
            figures.record(IDLE_P99, "ms", Some(Reach::AtMost(5.0)), ms(&latencies, 0.99));
            all_free.add(&latencies)?;
            let latencies = busy.sample(effort, seed).await?;
            all_behind.add(&latencies)?;
            figures.record(&format!("{behind}: p50"), "ms", None, ms(&latencies, 0.5));
            let p99 = ms(&latencies, 0.99);
            figures.record(&format!("{behind}: p99"), "ms", None, p99);
            match behind_few.get(run) {
                None => behind_few.push(p99),
                Some(few) if effort.depths.last() == Some(&depth) => {
                    let name = format!("webhook p99 behind {depth} beside the fewest");
                    figures.record(&name, "x", Some(Reach::AtMost(FLAT)), p99 / few);
                }
                Some(_) => {}
            }
        }
        let beside = ms(&all_behind, 0.99) / ms(&all_free, 0.99);
        let name = format!("{behind}: p99 beside a free worker's, all runs");
        figures.record(&name, "x", Some(Reach::AtMost(2.0)), beside);
    }
    busy.crew.end().await?;

    let Some(&fewest) = effort.depths.first() else { return Ok(()) };
    for request in OTHER_REQUESTS {
        let mut busy = Busy::start(stores, request).await?;
        busy.fill(fewest).await?;
        for run in 0..effort.runs {
            let latencies = busy.sample(effort, u64::try_from(run)?).await?;
            let name = format!("webhook behind {fewest} bulk jobs of {request:?} instead of 20ms");
            figures.record(&format!("{name}: p50"), "ms", None, ms(&latencies, 0.5));
            figures.record(&format!("{name}: p99"), "ms", None, ms(&latencies, 0.99));
        }
        busy.crew.end().await?;
    }
    Ok(())
}

async fn idle(stores: &Stores, effort: &Effort, seed: u64) -> anyhow::Result<Histogram<u64>> {
    let (watch, mut began) = Watch::new(REQUEST);
    let crew = Crew::start(stores, 1, Arc::new(watch)).await?;
    let mut from = WEBHOOKS_FROM;
    let latencies = sample(&crew, &mut began, &mut from, effort, seed).await?;
    crew.end().await?;
    Ok(latencies)
}

/// Workers all of whose slots hold bulk jobs all the time.
struct Busy {
    crew: Crew,
    began: UnboundedReceiver<Instant>,
    waiting: u64,
    next_webhook: u64,
}

impl Busy {
    async fn start(stores: &Stores, request: Duration) -> anyhow::Result<Self> {
        let (watch, began) = Watch::new(request);
        let crew = Crew::start(stores, BUSY_WORKERS, Arc::new(watch)).await?;
        Ok(Self { crew, began, waiting: 0, next_webhook: WEBHOOKS_FROM })
    }

    /// Enqueues bulk jobs until as many wait.
    async fn fill(&mut self, depth: u64) -> anyhow::Result<()> {
        while self.waiting < depth {
            let end = depth.min(self.waiting + FILLED_AT_ONCE);
            let jobs = checks(&self.crew.lane, ALONE, Priority::Bulk, self.waiting..end, usual_id);
            self.crew.queue.enqueue(&jobs).await?;
            self.waiting = end;
        }
        Ok(())
    }

    /// Something else, during which no bulk job begins. Those that have begun end while it gets ready.
    async fn aside<T>(
        &self,
        something: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let Crew { queue, lane, .. } = &self.crew;
        queue.pause(lane).await?;
        let done = something.await;
        queue.resume(lane).await?;
        done
    }

    async fn sample(&mut self, effort: &Effort, seed: u64) -> anyhow::Result<Histogram<u64>> {
        sample(&self.crew, &mut self.began, &mut self.next_webhook, effort, seed).await
    }
}

/// Webhooks one after the other, each of a record of its own, in microseconds from just before the
/// call that enqueues it.
async fn sample(
    crew: &Crew,
    began: &mut UnboundedReceiver<Instant>,
    next: &mut u64,
    effort: &Effort,
    seed: u64,
) -> anyhow::Result<Histogram<u64>> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut latencies = Histogram::new(3)?;
    for nth in 0..effort.warm_up + effort.samples {
        sleep(Duration::from_micros(chance.random_range(APART_US))).await;
        let job = checks(&crew.lane, ALONE, Priority::Webhook, *next..*next + 1, usual_id);
        *next += 1;
        let asked = Instant::now();
        crew.queue.enqueue(&job).await?;
        let at = timeout(PATIENCE, began.recv()).await.context("the handler never began")?;
        let at = at.context("the workers have ended")?;
        if nth >= effort.warm_up {
            latencies.record(u64::try_from(at.duration_since(asked).as_micros())?)?;
        }
    }
    Ok(latencies)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a bench are far below 2^53")]
fn ms(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}
