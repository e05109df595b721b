//! Which keys scripts touch.

use std::collections::BTreeSet;
use std::time::Duration;

use common::job::{Job, Priority};
use common::queue::{Ledger, Outcome, PermitReport, QueueSettings, RedisQueue, Shard};
use common::quota::RateSignal;

use super::monitor::{Asked, Monitor};
use super::{KLAVIYO, SECOND, plenty, settle};
use crate::{START, job, lane, queue_of};

fn orders(numbers: std::ops::Range<u32>, priority: Priority) -> Vec<Job> {
    numbers.map(|n| job(KLAVIYO, &format!("order:{n}"), priority)).collect()
}

/// Everything that can be asked, with whatever there is to touch.
async fn all_operations(queue: &RedisQueue, now: u64) {
    let (name, at) = (lane(KLAVIYO), |seconds: u64| queue.at(now + seconds * SECOND));
    let lanes = std::slice::from_ref(&name);
    let urgent = [job(KLAVIYO, "profile:1", Priority::Webhook)];
    at(0).enqueue(&orders(0..9, Priority::SpotCheck)).await.unwrap();
    at(0).enqueue(&orders(5..7, Priority::Webhook)).await.unwrap();
    at(0).enqueue(&urgent).await.unwrap();
    at(0).ensure(&urgent).await.unwrap();
    let mut batches = at(0).claim(Shard(0), lanes, 9).await.unwrap().batches;
    at(0).enqueue(&orders(0..2, Priority::Webhook)).await.unwrap();
    at(0).enqueue(&orders(20..22, Priority::Bulk)).await.unwrap();
    batches.extend(at(0).claim_urgent(Shard(0), lanes, 9).await.unwrap().batches);
    let platforms = ["patreon".to_owned()];
    let more = at(0).claim_without(Shard(0), lanes, 9, &platforms).await.unwrap();
    for leased in &more.batches {
        at(0).explain(&name, &leased.jobs[0].id).await.unwrap();
        at(0).extend(&name, leased.fence, std::slice::from_ref(&leased.jobs[0].id)).await.unwrap();
    }
    let after = Duration::from_secs(5);
    let outcomes = [
        Outcome::Ack,
        Outcome::Again { after, round: 1 },
        Outcome::Nack { after },
        Outcome::Defer { after },
        Outcome::Bury,
    ];
    for (batch, outcome) in batches.iter().zip(outcomes.iter().cycle()) {
        let signal = RateSignal {
            remaining: Some((900, after)),
            refused_for: Some(Duration::from_millis(1)),
            ..RateSignal::default()
        };
        settle(queue, now, batch, *outcome, signal).await;
    }
    let permit = at(0).acquire(&name, "order", Priority::Bulk).await.unwrap();
    let unused: Vec<_> = permit.into_iter().map(PermitReport::unused).collect();
    at(0).observe(&name, &unused).await.unwrap();
    at(0).freeze(&name, after).await.unwrap();
    at(0).thaw(&name).await.unwrap();
    at(0).pause(&name).await.unwrap();
    at(0).resume(&name).await.unwrap();
    for order in orders(0..30, Priority::Bulk) {
        at(0).explain(&name, &order.task.job_id()).await.unwrap();
    }
    at(0).depths(&name).await.unwrap();
    at(0).postpone(Shard(0), KLAVIYO, after).await.unwrap();
    // Leases run out, and what was delayed comes due.
    at(100).claim(Shard(0), lanes, 3).await.unwrap();
    let seen = at(100).epochs().await.unwrap().remove(0);
    at(100).begin_epoch(&seen, "complete").await.unwrap();
    at(100).epoch(&name).await.unwrap();
    at(100).forget(Shard(0), KLAVIYO).await.unwrap();
}

/// A cluster finds a script's node by its keys: one that it does not name may lie elsewhere.
#[tokio::test]
async fn no_script_touches_a_key_that_its_caller_did_not_name() {
    let mut steps = plenty(5_000);
    steps.quotas[0].window = Duration::from_hours(24);
    let (mut scripts, mut commands) = (BTreeSet::new(), 0);
    for limits in [plenty(1_000), steps] {
        let (queue, redis, keys) = queue_of(&[(KLAVIYO, limits)], QueueSettings::default()).await;
        let mut monitor = Monitor::of(&redis, &keys).await;
        let sent = Ledger::Sent(vec![Duration::from_secs(9); 5]);
        queue.at(START).open(&lane(KLAVIYO), &[sent]).await.unwrap();
        all_operations(&queue, START + 3 * 86_400 * SECOND).await;
        let mut named: Vec<String> = Vec::new();
        for Asked { by_script, words } in monitor.asked().await {
            if by_script {
                // Each but one takes one key, in front.
                let has_key = words[0] != "TIME";
                assert!(!has_key || named.contains(&words[1]), "{words:?}, of {named:?}");
                commands += 1;
            } else {
                assert_eq!(words[0].to_uppercase(), "EVALSHA");
                let count: usize = words[2].parse().unwrap();
                named = words[3..3 + count].to_vec();
                scripts.insert(words[1].clone());
            }
        }
    }
    assert_eq!(scripts.len(), 11, "all of them ran");
    assert!(commands > 300);
}
