//! The loop of each shard: a free slot, a claim, a task for each batch.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::fleet::open_connection;
use common::ids::Lane;
use common::lifecycle::Lifecycle;
use common::queue::{Batch, Claimed, Shard};
use futures_util::future::join_all;
use tokio::select;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::batch::Worker;
use crate::bell::Bell;
use crate::lanes::Lanes;
use crate::slots::{Free, Slot, Slots};

/// How long a lane that this process does not know is left to those that do.
const STRANGER_WAITS: Duration = Duration::from_secs(5);
/// After a claim failed.
pub(crate) const REDIS_PAUSE: Duration = Duration::from_millis(500);

/// Claims and runs batches until the soft stop, then gives the running ones until the hard stop.
pub async fn run(worker: &Arc<Worker>, lifecycle: &Lifecycle) {
    let share = share(worker);
    let pool = Pool {
        worker: Arc::clone(worker),
        slots: Slots::new(worker.settings.concurrency, share),
        full: Notify::new(),
        urgent_slots: Slots::new(worker.settings.urgent_slots, share),
        running: TaskTracker::new(),
        opening: Opening::default(),
        lifecycle: lifecycle.clone(),
    };
    let pool = &pool;
    let serving = worker.queue.shards().into_iter().map(async |shard| {
        tokio::join!(pool.serve(shard), pool.serve_urgent(shard));
    });
    join_all(serving).await;
    pool.running.close();
    pool.running.wait().await;
}

/// What the loops of all shards share. They stand in one line for slots, so that no shard's work
/// keeps another's from being done.
pub(crate) struct Pool {
    pub(crate) worker: Arc<Worker>,
    pub(crate) slots: Arc<Slots>,
    /// Told whenever somebody finds that no slot is free, or none for some platform.
    pub(crate) full: Notify,
    /// For webhooks and people only (`urgent`).
    pub(crate) urgent_slots: Arc<Slots>,
    running: TaskTracker,
    opening: Opening,
    pub(crate) lifecycle: Lifecycle,
}

impl Pool {
    /// Claims from one shard until the soft stop.
    async fn serve(&self, shard: Shard) {
        let (queue, soft) = (&self.worker.queue, self.lifecycle.soft());
        let mut bell = match queue.waiter(shard) {
            Ok(waiter) => Bell::new(waiter),
            Err(error) => return warn!(%shard, %error, "nothing can be claimed"),
        };
        let mut lanes = Lanes::default();
        let mut woken = false;

        // A slot first, then a job: no lease runs out while its job waits for a slot.
        while let Some(Some(slots)) =
            soft.run_until_cancelled(self.slots(shard, &mut bell, woken)).await
        {
            woken = false;
            let offer = slots.offer(lanes.next(|lane| self.slots.has_room(lane.platform())));
            if !offer.without.is_empty() {
                self.full.notify_waiters();
            }
            match queue.claim_without(shard, &offer.lanes, offer.wanted, &offer.without).await {
                Ok(claimed) => {
                    self.worker.metrics.leases_reaped(claimed.reaped);
                    for lane in &claimed.closed {
                        self.open(lane);
                    }
                    let left_over = lanes.learn(&offer.lanes, &claimed);
                    self.put_strangers_back(shard, &claimed).await;
                    let idle = claimed.batches.is_empty() && !left_over;
                    self.begin(claimed.batches, slots);
                    let without = offer.over();
                    if idle {
                        let rest = bell.rest(self, shard, &mut lanes, &without, claimed.next);
                        woken = soft.run_until_cancelled(rest).await.unwrap_or(false);
                    }
                }
                Err(error) => {
                    drop(slots);
                    // An unknown budget is an empty one: nothing is sent while Redis is away.
                    warn!(%shard, %error, "claim failed");
                    soft.run_until_cancelled(sleep(REDIS_PAUSE)).await;
                }
            }
        }
        // With it goes what it may have taken; the claim puts that back.
        drop(bell);
        self.pass_on(shard).await;
    }

    /// All slots that are free, once there is one.
    ///
    /// - `woken`: a wake-up was taken. When nobody here is free, another worker gets it.
    async fn slots(&self, shard: Shard, bell: &mut Bell, woken: bool) -> Option<Free> {
        if self.slots.are_full() {
            self.full.notify_waiters();
            if woken {
                self.pass_on(shard).await;
            }
        }
        while bell.is_waiting() && self.slots.are_full() {
            select! {
                biased;
                slots = self.slots.free() => return slots,
                rung = bell.rung(None) => if matches!(rung, Ok(Some(_))) {
                    self.pass_on(shard).await;
                },
            }
        }
        self.slots.free().await
    }

    /// Starts each batch in a slot of its own; slots that are left are free again.
    pub(crate) fn begin(&self, batches: Vec<Batch>, mut slots: Free) {
        for batch in batches {
            let slot = slots.take(&batch.lane);
            let (worker, hard) = (Arc::clone(&self.worker), self.lifecycle.hard().clone());
            self.spawn(work(worker, batch, hard, slot));
        }
    }

    /// Runs a task that this pool waits for before it ends.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.worker.crew.spawn(Box::pin(self.running.track_future(task)));
    }

    /// Opens a lane, unless this process does so already.
    fn open(&self, lane: &Lane) {
        if let Some(opening) = self.opening.begin(&self.worker, lane) {
            self.spawn(opening);
        }
    }

    /// A wake-up that was taken and is not used: a claim without lanes puts it back.
    pub(crate) async fn pass_on(&self, shard: Shard) {
        if let Err(error) = self.worker.queue.claim(shard, &[], 1).await {
            warn!(%shard, %error, "could not pass on the wake-up");
        }
    }

    /// Lanes that nobody here can serve on this shard would otherwise be offered for ever.
    async fn put_strangers_back(&self, shard: Shard, claimed: &Claimed) {
        let Worker { fleet, queue, .. } = &*self.worker;
        for name in &claimed.due {
            let lane = name.parse().ok().filter(|lane| fleet.connections.get(lane).is_some());
            let done = match lane {
                Some(lane) if queue.shard_of(&lane) == shard => continue,
                Some(lane) => {
                    warn!(%lane, %shard, "left on this shard by another number of shards: forgotten");
                    queue.forget(shard, name).await
                }
                None => {
                    warn!(lane = name, "work waits for a connection that is not configured here");
                    queue.postpone(shard, name, STRANGER_WAITS).await
                }
            };
            if let Err(error) = done {
                warn!(%error, "could not put it back");
            }
        }
    }
}

async fn work(worker: Arc<Worker>, batch: Batch, hard: CancellationToken, slot: Slot) {
    let lane = batch.lane.clone();
    worker.metrics.batch_began(lane.platform());
    worker.run_batch(batch, hard).await;
    worker.metrics.batch_ended(lane.platform());
    drop(slot);
}

/// Of the slots that other platforms leave, what one may take. Where there is no other, all.
fn share(worker: &Worker) -> f64 {
    let connections = worker.fleet.connections.iter();
    let platforms: HashSet<&str> =
        connections.map(|connection| connection.lane().platform()).collect();
    if platforms.len() > 1 { worker.settings.platform_share } else { 1.0 }
}

/// The lanes that are being opened by this process.
#[derive(Clone, Debug, Default)]
struct Opening(Arc<Mutex<HashSet<Lane>>>);

impl Opening {
    fn begin(
        &self,
        worker: &Arc<Worker>,
        lane: &Lane,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        // It was claimed because it is in the book; the book is made of the connections.
        let connection = worker.fleet.connections.get(lane).cloned()?;
        if !self.lock().insert(lane.clone()) {
            return None;
        }
        let (this, worker, lane) = (self.clone(), Arc::clone(worker), lane.clone());
        Some(async move {
            let (queue, store) = (worker.queue.as_ref(), worker.store.as_ref());
            if let Err(error) = open_connection(queue, store, &connection).await {
                warn!(%lane, error = format!("{error:#}"), "the lane stays closed");
                // The next claim asks for it again.
                sleep(REDIS_PAUSE).await;
            }
            this.lock().remove(&lane);
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
