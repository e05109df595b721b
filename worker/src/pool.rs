//! The loop: a free slot, a claim, a task for each batch.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::ids::Lane;
use common::lifecycle::Lifecycle;
use common::queue::{Claimed, QueueError, Waiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::batch::Worker;
use crate::opening;

/// Lanes that one claim asks for.
const LANES_PER_CLAIM: usize = 8;
/// How long a lane that this process does not know is left to those that do.
const STRANGER_WAITS: Duration = Duration::from_secs(5);
/// After a claim failed.
const REDIS_PAUSE: Duration = Duration::from_millis(500);

/// Claims and runs batches until the soft stop, then gives the running ones until the hard stop.
pub async fn run(worker: &Arc<Worker>, mut waiter: Waiter, lifecycle: &Lifecycle) {
    let slots = Arc::new(Semaphore::new(worker.settings.concurrency));
    let running = TaskTracker::new();
    let mut lanes = Lanes::default();
    let opening = Opening::default();
    let soft = lifecycle.soft();

    // A slot first, then a job: no lease runs out while its job waits for a slot.
    while let Some(Ok(slot)) = soft.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
        let wanted = 1 + slots.available_permits();
        let asked = lanes.next();
        match worker.fleet.queue.claim(&asked, wanted).await {
            Ok(claimed) => {
                worker.metrics.leases_reaped(claimed.reaped);
                for lane in &claimed.closed {
                    opening.begin(worker, lane, &running);
                }
                let next = claimed.next;
                let left_over = lanes.learn(&asked, &claimed);
                postpone_strangers(worker, &claimed).await;
                if claimed.batches.is_empty() {
                    if !left_over {
                        wait(&mut waiter, &mut lanes, next, soft).await;
                    }
                    continue;
                }
                let mut slot = Some(slot);
                for batch in claimed.batches {
                    // One slot is in hand; the others were free when the claim was made, and only
                    // this loop takes any.
                    let slot = slot.take().or_else(|| Arc::clone(&slots).try_acquire_owned().ok());
                    let (worker, hard) = (Arc::clone(worker), lifecycle.hard().clone());
                    running.spawn(work(worker, batch, hard, slot));
                }
            }
            Err(error) => {
                // An unknown budget is an empty one: nothing is sent while Redis is away.
                warn!(%error, "claim failed");
                soft.run_until_cancelled(sleep(REDIS_PAUSE)).await;
            }
        }
    }

    // A wake-up that was taken and not used: a claim without lanes puts it back.
    if let Err(error) = worker.fleet.queue.claim(&[], 1).await {
        warn!(%error, "could not pass on the wake-up");
    }
    running.close();
    running.wait().await;
}

async fn work(
    worker: Arc<Worker>,
    batch: common::queue::Batch,
    hard: CancellationToken,
    slot: Option<OwnedSemaphorePermit>,
) {
    worker.run_batch(batch, hard).await;
    drop(slot);
}

/// Waits for a wake-up, or until a lane may have something to run.
async fn wait(
    waiter: &mut Waiter,
    lanes: &mut Lanes,
    next: Option<Duration>,
    soft: &CancellationToken,
) {
    match soft.run_until_cancelled(waiter.wait(next)).await {
        Some(Ok(Some(lane))) => lanes.woken(&lane),
        Some(Ok(None)) | None => {}
        Some(Err(error)) => {
            warn!(%error, "cannot wait for wake-ups");
            soft.run_until_cancelled(sleep(REDIS_PAUSE)).await;
        }
    }
}

/// Lanes in the queue that no connection here belongs to would otherwise be offered for ever.
async fn postpone_strangers(worker: &Worker, claimed: &Claimed) {
    for name in &claimed.due {
        let known = name.parse().is_ok_and(|lane| worker.fleet.connections.get(&lane).is_some());
        if known {
            continue;
        }
        warn!(lane = name, "work waits for a connection that is not configured here");
        let postponed: Result<(), QueueError> =
            worker.fleet.queue.postpone(name, STRANGER_WAITS).await;
        if let Err(error) = postponed {
            warn!(%error, "could not postpone it");
        }
    }
}

/// Which lanes the next claim asks for: those that are due as far as we know, then those that
/// lately had something.
#[derive(Debug, Default)]
struct Lanes {
    due: Vec<Lane>,
    lately: Vec<Lane>,
}

impl Lanes {
    fn next(&mut self) -> Vec<Lane> {
        let mut lanes = std::mem::take(&mut self.due);
        for lane in &self.lately {
            if lanes.len() < LANES_PER_CLAIM && !lanes.contains(lane) {
                lanes.push(lane.clone());
            }
        }
        lanes
    }

    /// `true` when lanes are due that were not asked for.
    fn learn(&mut self, asked: &[Lane], claimed: &Claimed) -> bool {
        self.due = claimed.due.iter().filter_map(|name| name.parse().ok()).collect();
        for batch in &claimed.batches {
            self.remember(batch.lane.clone());
        }
        for lane in &self.due.clone() {
            self.remember(lane.clone());
        }
        self.due.iter().any(|lane| !asked.contains(lane))
    }

    fn woken(&mut self, lane: &str) {
        if let Ok(lane) = lane.parse() {
            self.due = vec![lane];
        }
    }

    fn remember(&mut self, lane: Lane) {
        self.lately.retain(|known| *known != lane);
        self.lately.insert(0, lane);
        self.lately.truncate(LANES_PER_CLAIM);
    }
}

/// The lanes that are being opened by this process.
#[derive(Clone, Debug, Default)]
struct Opening(Arc<Mutex<HashSet<Lane>>>);

impl Opening {
    fn begin(&self, worker: &Arc<Worker>, lane: &Lane, tasks: &TaskTracker) {
        if !self.lock().insert(lane.clone()) {
            return;
        }
        let (this, worker, lane) = (self.clone(), Arc::clone(worker), lane.clone());
        tasks.spawn(async move {
            if let Err(error) = opening::open_lane(&worker.fleet, &lane).await {
                warn!(%lane, error = format!("{error:#}"), "the lane stays closed");
                // The next claim asks for it again.
                sleep(REDIS_PAUSE).await;
            }
            this.lock().remove(&lane);
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
