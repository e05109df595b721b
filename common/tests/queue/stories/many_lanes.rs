//! Thousands of lanes: what they cost, and who is next.

use std::collections::BTreeMap;
use std::time::Duration;

use common::job::Priority;
use common::queue::{Ledger, QueueSettings, Shard};
use redis::AsyncCommands;

use super::monitor::Monitor;
use super::{SECOND, open_queue, plenty};
use crate::{START, job, lane, queue_of};

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
        let mut commands = Monitor::of(&redis, &keys).await;
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
    let names: Vec<String> = (0..2_000).map(|n| format!("klaviyo/n{n}")).collect();
    let lanes: Vec<_> = names.iter().map(|name| (name.as_str(), plenty(100))).collect();
    let (queue, _, _) = queue_of(&lanes, QueueSettings::default()).await;
    for (n, name) in names.iter().enumerate().step_by(200) {
        let at = START + u64::try_from(n).unwrap();
        queue.at(at).enqueue(&[job(name, "order:1", Priority::Manual)]).await.unwrap();
    }
    let all: Vec<_> = names.iter().map(|name| lane(name)).collect();
    let depths = queue.at(START + 2_000).depths_of(&all).await.unwrap();
    for (n, depths) in depths.iter().enumerate() {
        let waits = n % 200 == 0;
        assert_eq!(depths.ready, [0, u64::from(waits), 0, 0]);
        let age = if waits { 2_000 - u64::try_from(n).unwrap() } else { 0 };
        assert_eq!(depths.oldest, Duration::from_micros(age));
    }
}

#[tokio::test]
async fn thousands_of_lanes_take_turns() {
    let names: Vec<String> = (0..2_000).map(|n| format!("klaviyo/n{n}")).collect();
    let lanes: Vec<_> = names.iter().map(|name| (name.as_str(), plenty(100))).collect();
    let (queue, mut now) = open_queue(&lanes).await;
    let jobs: Vec<_> = names
        .iter()
        .flat_map(|name| (0..6).map(move |n| job(name, &format!("order:{n}"), Priority::Bulk)))
        .collect();
    queue.at(now).enqueue(&jobs).await.unwrap();
    // As a worker does it: each claim is for the lanes that the one before has told.
    let (mut due, mut served) = (Vec::new(), BTreeMap::<_, usize>::new());
    let mut how_many_were_served = [names.len(), 0, 0, 0, 0, 0, 0];
    while how_many_were_served[6] < names.len() {
        now += 1;
        let claimed = queue.at(now).claim(Shard(0), &due, 16).await.unwrap();
        assert!(!claimed.batches.is_empty() || due.is_empty(), "there is work for every claim");
        for batch in claimed.batches {
            let times = served.entry(batch.lane).or_default();
            how_many_were_served[*times] -= 1;
            *times += 1;
            how_many_were_served[*times] += 1;
        }
        // A claim of 16 serves each of its eight lanes twice.
        let counts = how_many_were_served.iter().enumerate().filter(|(_, lanes)| **lanes > 0);
        let times: Vec<usize> = counts.map(|(times, _)| times).collect();
        assert!(times.last().unwrap() - times.first().unwrap() <= 2, "{how_many_were_served:?}");
        due = claimed.due.iter().map(|name| lane(name)).collect();
    }
}
