//! Waiting without polling.

use std::time::Duration;

use common::job::Priority;
use common::queue::{Ledger, Outcome, QueueSettings, Waiter};
use common::quota::RateSignal;
use redis::AsyncCommands;

use super::{EVENTBRITE, KLAVIYO, SECOND, claim, claim_one, ids, plenty, settle};
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

#[tokio::test]
pub(super) async fn who_has_no_room_for_a_platform_is_told_of_the_others() {
    let lanes = [(KLAVIYO, plenty(60_000)), (EVENTBRITE, plenty(60_000))];
    let (queue, mut redis, keys) = queue_of(&lanes, QueueSettings::default()).await;
    let shard = keys.shard_of(&lane(KLAVIYO));
    if keys.shard_of(&lane(EVENTBRITE)) != shard {
        return;
    }
    for name in [KLAVIYO, EVENTBRITE] {
        queue.at(START).open(&lane(name), &[Ledger::Empty]).await.unwrap();
    }
    let now = queue.at(START + 60 * SECOND);
    let slow = ["klaviyo".to_owned()];
    let wake = keys.wake(shard);
    now.claim(shard, &[lane(KLAVIYO), lane(EVENTBRITE)], 1).await.unwrap();

    now.enqueue(&[job(KLAVIYO, "order:1", Priority::Webhook)]).await.unwrap();
    redis.del::<_, ()>(&wake).await.unwrap();
    let claimed = now.claim_without(shard, &[], 1, &slow).await.unwrap();
    assert!(claimed.due.is_empty());
    assert_eq!(claimed.next, None, "nothing of the others waits");
    assert_eq!(redis.llen::<_, u64>(&wake).await.unwrap(), 0, "it would wake itself");

    let after = Duration::from_secs(1);
    let later = queue.at(START + 61 * SECOND);
    let batch = {
        now.enqueue(&[job(EVENTBRITE, "order:2", Priority::Webhook)]).await.unwrap();
        let claimed = now.claim_without(shard, &[lane(EVENTBRITE)], 9, &slow).await.unwrap();
        claimed.batches.into_iter().next().unwrap()
    };
    let defer = Outcome::Defer { after };
    settle(&queue, START + 60 * SECOND, &batch, defer, RateSignal::default()).await;
    let claimed = now.claim_without(shard, &[], 1, &slow).await.unwrap();
    assert_eq!(claimed.next, Some(after), "its own, however long the other is due");
    redis.del::<_, ()>(&wake).await.unwrap();
    assert_eq!(later.claim_without(shard, &[], 1, &slow).await.unwrap().due, [EVENTBRITE]);
    assert_eq!(redis.lrange::<_, Vec<String>>(&wake, 0, -1).await.unwrap(), [EVENTBRITE]);

    redis.del::<_, ()>(&wake).await.unwrap();
    assert_eq!(later.claim(shard, &[], 1).await.unwrap().due, [KLAVIYO, EVENTBRITE]);
    assert_eq!(redis.lrange::<_, Vec<String>>(&wake, 0, -1).await.unwrap(), [KLAVIYO]);
}

#[tokio::test]
pub(super) async fn however_many_lanes_there_is_no_room_for_another_is_found() {
    let (queue, mut redis, keys) =
        queue_of(&[(EVENTBRITE, plenty(60_000))], QueueSettings::default()).await;
    let shard = keys.shard_of(&lane(EVENTBRITE));
    queue.at(START).open(&lane(EVENTBRITE), &[Ledger::Empty]).await.unwrap();
    let now = queue.at(START + 60 * SECOND);
    now.claim(shard, &[lane(EVENTBRITE)], 1).await.unwrap();
    let many: Vec<(u64, String)> = (0..1000).map(|n| (START + n, format!("klaviyo/{n}"))).collect();
    redis.zadd_multiple::<_, _, _, ()>(keys.lanes(shard), &many).await.unwrap();
    now.enqueue(&[job(EVENTBRITE, "order:1", Priority::Webhook)]).await.unwrap();

    let slow = ["klaviyo".to_owned()];
    let soon = queue.at(START + 61 * SECOND);
    for _ in ["the first 400", "the next"] {
        let claimed = soon.claim_without(shard, &[], 1, &slow).await.unwrap();
        assert!(claimed.due.is_empty());
        assert_eq!(claimed.next, Some(Duration::from_millis(100)), "look again");
    }
    assert_eq!(soon.claim_without(shard, &[], 1, &slow).await.unwrap().due, [EVENTBRITE]);
}
