//! Waiting without polling.

use std::time::Duration;

use common::job::Priority;
use common::queue::{Ledger, Outcome, QueueSettings, Waiter};
use common::quota::RateSignal;
use redis::AsyncCommands;

use super::{KLAVIYO, SECOND, claim, claim_one, ids, plenty, settle};
use crate::{START, job, lane, queue_of};

#[tokio::test]
pub(super) async fn an_idle_worker_is_woken_and_not_polling() {
    let (queue, redis, keys) =
        queue_of(&[(KLAVIYO, plenty(60_000))], QueueSettings::default()).await;
    queue.open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let mut waiter = Waiter::new(queue.links(), &keys, keys.shard_of(&lane(KLAVIYO))).unwrap();
    let jobs = [job(KLAVIYO, "order:1", Priority::Webhook)];
    let (woken, enqueued) = tokio::join!(waiter.wait(None), queue.enqueue(&jobs));
    assert_eq!(enqueued.unwrap().added, 1);
    assert_eq!(woken.unwrap().as_deref(), Some(KLAVIYO));
    drop(redis);
}

#[tokio::test]
pub(super) async fn wake_ups_chain_while_runnable_work_is_left() {
    let (queue, mut redis, keys) =
        queue_of(&[(KLAVIYO, plenty(100))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 60 * SECOND;
    let wake = keys.wake(keys.shard_of(&lane(KLAVIYO)));
    let tokens = async |redis: &mut redis::aio::MultiplexedConnection| -> Vec<String> {
        let tokens: Vec<String> = redis.lrange(&wake, 0, -1).await.unwrap();
        let () = redis.del(&wake).await.unwrap();
        tokens
    };
    for id in ["order:1", "order:2", "order:3"] {
        queue.at(now).enqueue(&[job(KLAVIYO, id, Priority::Webhook)]).await.unwrap();
    }
    assert_eq!(tokens(&mut redis).await, [KLAVIYO], "one token, not three");
    drop(claim_one(&queue, now).await);
    assert_eq!(tokens(&mut redis).await, [KLAVIYO], "two jobs are left: wake the next");
    drop(claim_one(&queue, now).await);
    assert_eq!(tokens(&mut redis).await, [KLAVIYO]);
    drop(claim_one(&queue, now).await);
    claim(&queue, now, 1).await;
    redis.del::<_, ()>(&wake).await.unwrap();
    claim(&queue, now, 1).await;
    assert!(tokens(&mut redis).await.is_empty(), "nothing is left: nobody is woken");
}

#[tokio::test]
pub(super) async fn a_time_before_that_until_which_workers_sleep_wakes_one_of_them() {
    let (queue, mut redis, keys) =
        queue_of(&[(KLAVIYO, plenty(60_000))], QueueSettings::default()).await;
    let wake = keys.wake(keys.shard_of(&lane(KLAVIYO)));
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 60 * SECOND;
    queue.at(now).enqueue(&[job(KLAVIYO, "order:1", Priority::Webhook)]).await.unwrap();
    let batch = claim_one(&queue, now).await;
    let sleeper = claim(&queue, now, 1).await;
    assert_eq!(sleeper.next, Some(QueueSettings::default().lease), "until the lease ends");
    redis.del::<_, ()>(&wake).await.unwrap();

    let after = Duration::from_secs(1);
    let again = Outcome::Again { after, round: 1 };
    settle(&queue, now, &batch, again, RateSignal::default()).await;
    let tokens: Vec<String> = redis.lrange(&wake, 0, -1).await.unwrap();
    assert_eq!(tokens, [KLAVIYO]);
    assert_eq!(claim(&queue, now, 1).await.next, Some(after));
}

#[tokio::test]
pub(super) async fn who_has_slots_for_urgent_work_only_is_told_of_it_and_gets_nothing_else() {
    let (queue, redis, keys) =
        queue_of(&[(KLAVIYO, plenty(60_000))], QueueSettings::default()).await;
    let (name, shard) = (lane(KLAVIYO), keys.shard_of(&lane(KLAVIYO)));
    queue.at(START).open(&name, &[Ledger::Empty]).await.unwrap();
    let now = queue.at(START + 60 * SECOND);
    let mut waiter = Waiter::urgent(queue.links(), &keys, shard).unwrap();
    let mut told = async || waiter.wait(Some(Duration::from_millis(1))).await.unwrap();
    let mut redis = redis;

    now.enqueue(&[job(KLAVIYO, "order:1", Priority::Bulk)]).await.unwrap();
    assert_eq!(told().await, None, "nothing urgent waits");
    let asked = [name.clone()];
    assert!(now.claim_urgent(shard, &asked, 9).await.unwrap().batches.is_empty());

    let urgent = ["order:2", "order:3"].map(|id| job(KLAVIYO, id, Priority::Webhook));
    now.enqueue(&urgent).await.unwrap();
    assert_eq!(told().await.as_deref(), Some(KLAVIYO));
    let claimed = now.claim_urgent(shard, &asked, 1).await.unwrap();
    assert_eq!(ids(&claimed.batches[0]), ["order:2"]);
    assert_eq!(told().await.as_deref(), Some(KLAVIYO), "one is left: tell the next");
    assert_eq!(now.claim_urgent(shard, &asked, 9).await.unwrap().batches.len(), 1);
    assert_eq!(told().await, None);
    assert_eq!(ids(&claim_one(&queue, START + 60 * SECOND).await), ["order:1"], "for the others");

    now.enqueue(&[job(KLAVIYO, "order:4", Priority::Manual)]).await.unwrap();
    drop(claim_one(&queue, START + 60 * SECOND).await);
    let left: u64 = redis.zcard(keys.urgent(shard)).await.unwrap();
    assert_eq!(left, 0, "done by somebody else: nobody is told any more");
}
