//! Another server takes over, or the same one comes back: nothing is lost, and no window sees more
//! than its limit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::ids::Lane;
use common::job::{Job, JobId, Priority};
use common::queue::{
    Epoch, Keys, LaneBook, Ledger, Outcome, PermitReport, QueueError, QueueSettings, RedisQueue,
    Shard, Waiter,
};
use common::quota::{LaneLimits, Quota, RateSignal};
use futures_util::future::join_all;
use redis_servers::{Cluster, Sentinels, Server, until};
use tokio::time::{Instant, sleep};

use crate::place::Place;
use crate::{START, claim_from_all, job, lane};

const LANE: &str = "klaviyo/main";
const LIMIT: usize = 100;
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

fn queue_at(place: &Place, lanes: &[Lane]) -> RedisQueue {
    let keys = Keys::sharded("", place.shards);
    let book = LaneBook::new(&keys, lanes.iter().map(|lane| (lane.clone(), limits()))).unwrap();
    RedisQueue::new(place.links(&keys), keys, book, settings())
}

/// A queue, the platforms that it works for, and what Postgres would know.
struct World {
    queue: RedisQueue,
    lanes: Vec<Lane>,
    accepted: Mutex<Vec<Job>>,
    done: Mutex<BTreeSet<(Lane, JobId)>>,
    arrivals: Mutex<BTreeMap<Lane, Vec<Instant>>>,
    over: AtomicBool,
}

impl World {
    /// Its lanes are open and their buckets full.
    async fn new(place: &Place, lanes: &[&str]) -> Self {
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
    async fn accept(&self, name: &str, count: usize) {
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
    async fn work_through(&self, break_it: impl Future<Output = ()>) {
        let end = async {
            until("the quotas are used up", async || self.is_used_up()).await;
            break_it.await;
            until("all that was accepted is done", async || self.is_all_done()).await;
            self.over.store(true, Ordering::Relaxed);
        };
        tokio::join!(self.work(), self.work(), self.sweep(), end);
    }

    /// In no window, wherever it begins, more than the limit.
    fn assert_windows(&self) {
        for arrivals in self.arrivals.lock().unwrap().values() {
            for (first, next) in arrivals.iter().zip(arrivals.iter().skip(LIMIT)) {
                let apart = *next - *first;
                assert!(apart > WINDOW, "{} requests within {apart:?}", LIMIT + 1);
            }
        }
    }
}

/// The master is killed when the whole quota has just been used. All as users with the least rights.
async fn work_goes_on(lags: bool) {
    let mut set = Sentinels::start().await;
    let place =
        Place { address: set.url_for_users().await.parse().unwrap(), ..Place::at(&set.url()) };
    let world = World::new(&place, &[LANE]).await;
    let before = world.queue.epochs().await.unwrap();
    world.accept("early", 150).await;
    set.master.tell("WAIT 1 5000").await;
    if lags {
        // The one that will be promoted knows of no permit, and not of these jobs.
        set.cut_replica_off().await;
        world.accept("unheard-of", 20).await;
    }
    world.work_through(async { set.master.kill() }).await;

    assert_eq!(set.replica.info("role").await, "master");
    world.assert_windows();
    let after = world.queue.epochs().await.unwrap();
    assert!(after[0].generation > before[0].generation, "it counts as a loss");
    assert_eq!(after[0].name.as_deref(), Some("complete"));
}

#[tokio::test]
async fn when_the_master_is_killed_under_load_nothing_is_lost_and_no_window_is_over_quota() {
    work_goes_on(false).await;
}

#[tokio::test]
async fn a_promoted_replica_that_lacks_the_last_permits_lets_none_out_too_many() {
    work_goes_on(true).await;
}

#[tokio::test]
async fn when_a_node_of_a_cluster_is_killed_under_load_nothing_is_lost_and_no_window_is_over_quota()
{
    let mut cluster = Cluster::start(true).await;
    let address = cluster.url_for_users().await.parse().unwrap();
    let place = Place { address, shards: 4, ..Place::at(&cluster.url()) };
    // One for each shard.
    let names: Vec<String> = (0..9).map(|n| format!("klaviyo/account-{n}")).collect();
    let keys = Keys::sharded("", 4);
    let lanes: Vec<&str> = keys
        .shards()
        .map(|shard| {
            names.iter().find(|name| keys.shard_of(&lane(name)) == shard).unwrap().as_str()
        })
        .collect();
    let world = World::new(&place, &lanes).await;
    let before = world.queue.epochs().await.unwrap();
    world.accept("early", 130).await;
    world.work_through(async { cluster.masters[0].kill() }).await;

    world.assert_windows();
    let after = world.queue.epochs().await.unwrap();
    let lost =
        before.iter().zip(&after).filter(|(before, after)| after.generation > before.generation);
    assert!((1..4).contains(&lost.count()), "its shards count as lost, the others do not");
    assert!(after.iter().all(|epoch| epoch.name.as_deref() == Some("complete")));
}

/// The first answer after the connection broke.
async fn epochs_after_a_break(queue: &RedisQueue) -> Vec<Epoch> {
    let mut epochs = None;
    until("it is there again", async || {
        epochs = queue.epochs().await.ok();
        epochs.is_some()
    })
    .await;
    epochs.unwrap()
}

#[tokio::test]
async fn a_server_that_comes_back_with_its_data_may_have_lost_a_second() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let queue = queue_at(&Place::at(&server.url()), &[lane(LANE)]);
    queue.at(START).open(&lane(LANE), &[Ledger::Empty]).await.unwrap();
    // Its own time, which stands still: whether a bucket is empty does not depend on this machine.
    let now = START + 3_600_000_000;
    let queue = queue.at(now);
    let jobs: Vec<_> = (0..3).map(|n| job(LANE, &format!("order:{n}"), Priority::Manual)).collect();
    queue.enqueue(&jobs).await.unwrap();
    let seen = queue.epochs().await.unwrap().remove(0);
    assert!(queue.begin_epoch(&seen, "first").await.unwrap());
    assert_eq!(claim_from_all(&queue, &[lane(LANE)], 1).await.batches.len(), 1);

    server.kill();
    server.start_again(&[]);
    let after = epochs_after_a_break(&queue).await.remove(0);
    assert!(after.generation > seen.generation);
    assert_eq!(after.name, None, "the sweeper looks through everything");
    assert!(queue.depths(&lane(LANE)).await.unwrap().closed);
    let claimed = claim_from_all(&queue, &[lane(LANE)], 1).await;
    assert!(claimed.batches.is_empty() && claimed.closed == [lane(LANE)]);
    assert_eq!(queue.depths(&lane(LANE)).await.unwrap().ready.iter().sum::<u64>(), 2);

    // What was found out before the loss does not open it, nor does it complete the index.
    let sent = [Ledger::Sent(vec![Duration::ZERO; LIMIT - 1])];
    assert!(!queue.open_in(&lane(LANE), seen.generation, &sent).await.unwrap());
    assert!(!queue.begin_epoch(&seen, "late").await.unwrap());
    assert!(queue.open_in(&lane(LANE), after.generation, &sent).await.unwrap());
    let claimed = claim_from_all(&queue, &[lane(LANE)], 1).await;
    assert!(claimed.batches.is_empty(), "the bucket is empty");
    assert_eq!(claimed.next, Some(Duration::from_millis(50)), "and fills at its pace");

    // The permit of before is among those that Postgres knows of, and is counted once.
    let full = queue.at(now + 5_200_000);
    assert_eq!(claim_from_all(&full, &[lane(LANE)], 9).await.batches.len(), 1);
}

#[tokio::test]
async fn another_process_that_connects_to_the_same_server_loses_nothing() {
    let server = Server::start(&[]).await;
    let place = Place::at(&server.url());
    let first = queue_at(&place, &[lane(LANE)]);
    let seen = first.epochs().await.unwrap();
    first.begin_epoch(&seen[0], "first").await.unwrap();
    let second = queue_at(&place, &[lane(LANE)]).epochs().await.unwrap();
    assert_eq!(
        (second[0].generation, second[0].name.as_deref()),
        (seen[0].generation, Some("first"))
    );

    server.tell("FLUSHALL").await;
    let flushed = first.epochs().await.unwrap();
    assert!(flushed[0].generation > seen[0].generation && flushed[0].name.is_none());
}

#[tokio::test]
async fn in_a_cluster_a_replica_takes_over_and_only_its_shards_count_as_lost() {
    let mut cluster = Cluster::start(true).await;
    let place = Place { shards: 8, ..Place::at(&cluster.url()) };
    let queue = queue_at(&place, &[]);
    let before = queue.epochs().await.unwrap();
    for seen in &before {
        assert!(queue.begin_epoch(seen, "complete").await.unwrap());
    }
    let mut on_the_first = Vec::new();
    for epoch in &before {
        let key = queue.keys().shard(epoch.shard);
        on_the_first.push(cluster.masters[0].ask::<bool>(&format!("EXISTS {key}")).await.is_ok());
    }
    assert!(on_the_first.contains(&true) && on_the_first.contains(&false));

    cluster.masters[0].kill();
    let after = epochs_after_a_break(&queue).await;
    for ((before, after), moved) in before.iter().zip(&after).zip(&on_the_first) {
        assert_eq!(after.generation > before.generation, *moved);
        assert_eq!(after.name.is_none(), *moved);
    }

    // Without a death: the old master becomes a replica and says so, and nobody sees an error.
    let second = &cluster.replicas[1];
    second.tell("CLUSTER FAILOVER").await;
    until("the roles are exchanged", async || second.info("role").await == "master").await;
    until("the old master knows it", async || cluster.masters[1].info("role").await == "slave")
        .await;
    let last = queue.epochs().await.unwrap();
    assert!(last.iter().zip(&after).any(|(last, after)| last.generation > after.generation));
}
