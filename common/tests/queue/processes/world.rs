//! A queue under load, with workers, a scheduler, and a platform that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::ids::Lane;
use common::job::{Job, JobId, Priority};
use common::queue::{
    Keys, LaneBook, Ledger, Outcome, PermitReport, QueueError, QueueSettings, RedisQueue, Shard,
    Waiter,
};
use common::quota::{LaneLimits, Quota, RateSignal};
use futures_util::future::join_all;
use redis_servers::until;
use tokio::time::{Instant, sleep};

use crate::place::Place;
use crate::{START, job, lane};

pub(super) const LIMIT: usize = 100;
/// Longer than the sentinels take: what was granted before must still count afterwards.
const WINDOW: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_UP: Duration = Duration::from_millis(500);

fn limits() -> LaneLimits {
    let limit = u32::try_from(LIMIT).unwrap();
    let quota =
        Quota { name: "steady".to_owned(), limit, window: WINDOW, burst: limit, headroom: 0 };
    LaneLimits { quotas: vec![quota], kinds: BTreeMap::new() }
}

fn settings() -> QueueSettings {
    QueueSettings {
        lease: Duration::from_secs(2),
        permit_use_by: Duration::from_millis(200),
        request_timeout: Duration::from_millis(300),
        ..QueueSettings::default()
    }
}

pub(super) fn queue_at(place: &Place, lanes: &[Lane]) -> RedisQueue {
    let keys = Keys::sharded("", place.shards);
    let book = LaneBook::new(&keys, lanes.iter().map(|lane| (lane.clone(), limits()))).unwrap();
    RedisQueue::new(place.links(&keys), keys, book, settings())
}

/// A queue, the platforms that it works for, and what Postgres would know.
pub(super) struct World {
    pub(super) queue: RedisQueue,
    lanes: Vec<Lane>,
    accepted: Mutex<Vec<Job>>,
    done: Mutex<BTreeSet<(Lane, JobId)>>,
    arrivals: Mutex<BTreeMap<Lane, Vec<Instant>>>,
    over: AtomicBool,
}

impl World {
    /// Its lanes are open and their buckets full.
    pub(super) async fn new(place: &Place, lanes: &[&str]) -> Self {
        let lanes: Vec<Lane> = lanes.iter().map(|name| lane(name)).collect();
        let queue = queue_at(place, &lanes);
        for lane in &lanes {
            assert!(queue.at(START).open(lane, &[Ledger::Empty]).await.unwrap());
        }
        let world = Self {
            queue,
            lanes,
            accepted: Mutex::default(),
            done: Mutex::default(),
            arrivals: Mutex::default(),
            over: AtomicBool::new(false),
        };
        world.sweep_once().await.unwrap();
        world
    }

    /// So many for each lane.
    pub(super) async fn accept(&self, name: &str, count: usize) {
        for lane in &self.lanes {
            let jobs: Vec<Job> = (0..count)
                .map(|n| job(lane.as_str(), &format!("order:{name}-{n}"), Priority::Webhook))
                .collect();
            self.accepted.lock().unwrap().extend(jobs.clone());
            self.queue.enqueue(&jobs).await.unwrap();
        }
    }

    /// Whether every lane has used its quota.
    fn is_used_up(&self) -> bool {
        let arrivals = self.arrivals.lock().unwrap();
        self.lanes.iter().all(|lane| arrivals.get(lane).is_some_and(|all| all.len() >= LIMIT))
    }

    fn is_all_done(&self) -> bool {
        self.done.lock().unwrap().len() == self.accepted.lock().unwrap().len()
    }

    /// One of the workers: a loop for each shard, as a process has it.
    async fn work(&self) {
        let shards = self.queue.keys().shards();
        join_all(shards.map(|shard| self.work_on(shard))).await;
    }

    async fn work_on(&self, shard: Shard) {
        let mut waiter = Waiter::new(self.queue.links(), self.queue.keys(), shard).unwrap();
        while !self.over.load(Ordering::Relaxed) {
            match self.work_once(shard).await {
                Ok((0, next)) => {
                    // So that it is seen when all is over.
                    let longest = next.unwrap_or(LOOK_UP).min(LOOK_UP);
                    if waiter.wait(Some(longest)).await.is_err() {
                        sleep(LOOK_AGAIN).await;
                    }
                }
                Ok(_) => {}
                Err(_) => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// How many batches there were, and when there may be more.
    async fn work_once(&self, shard: Shard) -> Result<(usize, Option<Duration>), QueueError> {
        let claimed = self.queue.claim(shard, &self.lanes, 4).await?;
        for lane in &claimed.closed {
            let generation = self.queue.epoch(lane).await?.generation;
            self.queue.open_in(lane, generation, &[Ledger::Keep]).await?;
        }
        let count = claimed.batches.len();
        for batch in claimed.batches {
            if Instant::now() < batch.permit.use_by {
                let mut arrivals = self.arrivals.lock().unwrap();
                arrivals.entry(batch.lane.clone()).or_default().push(Instant::now());
            }
            let ids: Vec<JobId> = batch.jobs.iter().map(|job| job.id.clone()).collect();
            let outcomes: Vec<_> = ids.iter().map(|id| (id.clone(), Outcome::Ack)).collect();
            let report = PermitReport::answered(batch.permit, RateSignal::default());
            let lost = self.queue.settle(&batch.lane, batch.fence, &outcomes, &[report]).await?;
            let done = ids.into_iter().filter(|id| !lost.contains(id));
            self.done.lock().unwrap().extend(done.map(|id| (batch.lane.clone(), id)));
        }
        Ok((count, claimed.next))
    }

    /// The scheduler.
    async fn sweep(&self) {
        while !self.over.load(Ordering::Relaxed) {
            // Away: the next one is the retry.
            drop(self.sweep_once().await);
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn sweep_once(&self) -> Result<(), QueueError> {
        for seen in self.queue.epochs().await? {
            if seen.name.is_none() {
                let done = self.done.lock().unwrap().clone();
                let mut open = self.accepted.lock().unwrap().clone();
                open.retain(|job| !done.contains(&(job.lane.clone(), job.task.job_id())));
                self.queue.ensure(&open).await?;
                self.queue.begin_epoch(&seen, "complete").await?;
            }
        }
        Ok(())
    }

    /// Two workers and a scheduler, until the break, whatever it is, is over and all is done.
    pub(super) async fn work_through(&self, break_it: impl Future<Output = ()>) {
        let end = async {
            until("the quotas are used up", async || self.is_used_up()).await;
            break_it.await;
            until("all that was accepted is done", async || self.is_all_done()).await;
            self.over.store(true, Ordering::Relaxed);
        };
        tokio::join!(self.work(), self.work(), self.sweep(), end);
    }

    /// In no window, wherever it begins, more than the limit.
    pub(super) fn assert_windows(&self) {
        for arrivals in self.arrivals.lock().unwrap().values() {
            for (first, next) in arrivals.iter().zip(arrivals.iter().skip(LIMIT)) {
                let apart = *next - *first;
                assert!(apart > WINDOW, "{} requests within {apart:?}", LIMIT + 1);
            }
        }
    }
}
