//! What things cost.

use std::time::Duration;

use common::job::Priority;
use common::queue::{Keys, Ledger, QueueSettings, Shard, Waiter};
use futures_util::{Stream, StreamExt};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::{KLAVIYO, SECOND, ack, claim, plenty};
use crate::{START, job, lane, queue_of};

#[tokio::test]
pub(super) async fn a_waiting_check_takes_at_most_300_bytes() {
    let (queue, mut redis, keys) =
        queue_of(&[(KLAVIYO, plenty(100))], QueueSettings::default()).await;
    let count = 2_000_u64;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let jobs: Vec<_> = (0..count)
        .map(|n| {
            let id = format!("profile:01JEXAMPLE5P6Q7R8S{n:08}");
            common::job::Job { trace: trace.clone(), ..job(KLAVIYO, &id, Priority::SpotCheck) }
        })
        .collect();
    queue.enqueue(&jobs).await.unwrap();
    let mut bytes = 0_u64;
    for key in keys.lane(&lane(KLAVIYO)) {
        let used: Option<u64> = redis::cmd("MEMORY")
            .arg("USAGE")
            .arg(key)
            .arg("SAMPLES")
            .arg(0)
            .query_async(&mut redis)
            .await
            .unwrap();
        bytes += used.unwrap_or(0);
    }
    assert!(bytes / count <= 300, "{} bytes", bytes / count);
}

/// The commands that a Redis gets for one set of keys: from outside, and inside scripts.
struct Commands {
    monitor: std::pin::Pin<Box<dyn Stream<Item = String> + Send>>,
    redis: MultiplexedConnection,
    shard: String,
}

impl Commands {
    async fn of(redis: &MultiplexedConnection, keys: &Keys) -> Self {
        let url = std::env::var("REDIS_URL").unwrap();
        let monitor = redis::Client::open(url).unwrap().get_async_monitor().await.unwrap();
        let shard = format!("{}:", keys.prefix(keys.shard_of(&lane(KLAVIYO))));
        Self { monitor: Box::pin(monitor.into_on_message()), redis: redis.clone(), shard }
    }

    /// Those since the last call: (from outside, in scripts).
    async fn count(&mut self) -> (u64, u64) {
        let last = format!("{}end", self.shard);
        let () = self.redis.exists(&last).await.unwrap();
        let (mut outside, mut inside) = (0, 0);
        while let Some(line) = self.monitor.next().await {
            if line.contains(&last) {
                break;
            }
            if line.contains(&self.shard) {
                *(if line.contains(" lua] ") { &mut inside } else { &mut outside }) += 1;
            }
        }
        (outside, inside)
    }
}

#[tokio::test]
async fn a_job_in_batches_takes_a_tenth_of_a_command_and_an_idle_round_two() {
    let (queue, redis, keys) =
        queue_of(&[(KLAVIYO, plenty(1_000))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 3600 * SECOND;
    let mut commands = Commands::of(&redis, &keys).await;
    commands.count().await;
    let count = 1_000_u32;
    let jobs: Vec<_> =
        (0..count).map(|n| job(KLAVIYO, &format!("profile:{n}"), Priority::Bulk)).collect();
    queue.at(now).enqueue(&jobs).await.unwrap();
    for batch in claim(&queue, now, 16).await.batches {
        ack(&queue, now, &batch).await;
    }
    let (outside, _) = commands.count().await;
    assert!(queue.depths(&lane(KLAVIYO)).await.unwrap().leased == 0, "all are done");
    assert!(outside * 10 <= u64::from(count), "{outside} commands for {count} jobs");

    // What an idle worker does again and again: it claims, and waits for up to five seconds. So it
    // sends two commands in five seconds.
    let shard = keys.shard_of(&lane(KLAVIYO));
    let mut waiter = Waiter::new(queue.links(), &keys, shard).unwrap();
    while waiter.wait(Some(Duration::from_millis(1))).await.unwrap().is_some() {}
    commands.count().await;
    let next = claim(&queue, now, 16).await.next;
    assert_eq!(next, None, "nothing waits");
    waiter.wait(Some(Duration::from_millis(1))).await.unwrap();
    assert_eq!(commands.count().await.0, 2);
}

#[tokio::test]
async fn a_batch_that_was_left_alone_is_acknowledged_without_a_look_at_its_jobs() {
    let (queue, redis, keys) =
        queue_of(&[(KLAVIYO, plenty(1_000))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 3600 * SECOND;
    let mut commands = Commands::of(&redis, &keys).await;
    let jobs: Vec<_> =
        (0..100).map(|n| job(KLAVIYO, &format!("profile:{n}"), Priority::Bulk)).collect();
    let one = [job(KLAVIYO, "order:1", Priority::Bulk)];
    let mut costs = Vec::new();
    for (jobs, asked_meanwhile) in [(&one[..], 0), (&jobs, 0), (&jobs, 1), (&jobs, 0)] {
        queue.at(now).enqueue(jobs).await.unwrap();
        let batch = claim(&queue, now, 16).await.batches.remove(0);
        queue.at(now).enqueue(&jobs[..asked_meanwhile]).await.unwrap();
        commands.count().await;
        ack(&queue, now, &batch).await;
        costs.push(commands.count().await.1);
        for batch in claim(&queue, now, 16).await.batches {
            ack(&queue, now, &batch).await;
        }
    }
    assert_eq!(costs[1..2], costs[..1], "a hundred cost as many commands as one");
    assert!(costs[2] > costs[1] && costs[3] == costs[1], "{costs:?}");
}

#[tokio::test]
async fn a_claim_costs_the_same_with_ten_thousand_lanes() {
    let names: Vec<String> = (0..100).map(|n| format!("klaviyo/n{n}")).collect();
    let mut costs = Vec::new();
    for (runnable, others) in [(10, 0), (100, 9_900)] {
        let lanes: Vec<_> =
            names.iter().take(runnable).map(|name| (name.as_str(), plenty(100))).collect();
        let (queue, mut redis, keys) = queue_of(&lanes, QueueSettings::default()).await;
        for (name, _) in &lanes {
            queue.at(START).open(&lane(name), &[Ledger::Empty]).await.unwrap();
        }
        let now = START + 3600 * SECOND;
        for (name, _) in &lanes {
            let jobs: Vec<_> =
                (0..9).map(|n| job(name, &format!("order:{n}"), Priority::Bulk)).collect();
            queue.at(now).enqueue(&jobs).await.unwrap();
        }
        // Lanes that wait for their quota.
        let waiting: Vec<(u64, String)> =
            (0..others).map(|n| (now + n * SECOND + 1, format!("klaviyo/w{n}"))).collect();
        if !waiting.is_empty() {
            let () = redis.zadd_multiple(keys.lanes(Shard(0)), &waiting).await.unwrap();
        }
        let due = queue.at(now).claim(Shard(0), &[], 1).await.unwrap().due;
        let asked: Vec<_> = due.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(asked.len(), 8);
        let mut commands = Commands::of(&redis, &keys).await;
        commands.count().await;
        for _ in 0..5 {
            assert_eq!(queue.at(now).claim(Shard(0), &asked, 8).await.unwrap().batches.len(), 8);
        }
        costs.push(commands.count().await);
    }
    // Each of them is at most logarithmic in the number of lanes.
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test]
async fn thousands_of_lanes_are_counted_in_their_order() {
    let names: Vec<String> = (0..500).map(|n| format!("klaviyo/n{n}")).collect();
    let lanes: Vec<_> = names.iter().map(|name| (name.as_str(), plenty(100))).collect();
    let (queue, _, _) = queue_of(&lanes, QueueSettings::default()).await;
    for (n, name) in names.iter().enumerate().step_by(50) {
        let at = START + u64::try_from(n).unwrap();
        queue.at(at).enqueue(&[job(name, "order:1", Priority::Manual)]).await.unwrap();
    }
    let all: Vec<_> = names.iter().map(|name| lane(name)).collect();
    let depths = queue.at(START + 1_000).depths_of(&all).await.unwrap();
    for (n, depths) in depths.iter().enumerate() {
        let waits = n % 50 == 0;
        assert_eq!(depths.ready, [0, u64::from(waits), 0, 0]);
        let age = if waits { 1_000 - u64::try_from(n).unwrap() } else { 0 };
        assert_eq!(depths.oldest, Duration::from_micros(age));
    }
}
