//! Several shards, and what a change of their number does.

use std::collections::BTreeMap;
use std::time::Duration;

use common::job::{Job, Priority};
use common::queue::{Keys, LaneBook, Ledger, QueueSettings, RedisQueue, Shard, Waiter};
use common::quota::{LaneLimits, Quota};
use redis_servers::Server;

use crate::place::Place;
use crate::{START, claim_from_all, job, lane};

fn limits() -> LaneLimits {
    let window = Duration::from_mins(1);
    let quota =
        Quota { name: "steady".to_owned(), limit: 60_000, window, burst: 60_000, headroom: 0 };
    LaneLimits { quotas: vec![quota], kinds: BTreeMap::new() }
}

fn lanes() -> Vec<String> {
    (0..12).map(|n| format!("klaviyo/account-{n}")).collect()
}

fn jobs() -> Vec<Job> {
    lanes().iter().map(|lane| job(lane, "order:1", Priority::Webhook)).collect()
}

fn queue_at(server: &Server, shards: u16) -> RedisQueue {
    let (place, keys) = (Place::at(&server.url()), Keys::sharded("", shards));
    let book = LaneBook::new(&keys, lanes().iter().map(|name| (lane(name), limits()))).unwrap();
    RedisQueue::new(place.links(&keys), keys, book, QueueSettings::default())
}

async fn open_all(queue: &RedisQueue) {
    for name in lanes() {
        assert!(queue.at(START).open(&lane(&name), &[Ledger::Empty]).await.unwrap());
    }
}

#[tokio::test]
async fn each_shard_serves_its_lanes_and_wakes_its_own_waiter() {
    let server = Server::start(&[]).await;
    let queue = queue_at(&server, 4);
    open_all(&queue).await;
    queue.enqueue(&jobs()).await.unwrap();
    let all: Vec<_> = lanes().iter().map(|name| lane(name)).collect();
    let mut count = 0;
    for shard in queue.keys().shards() {
        let mut waiter = Waiter::new(queue.links(), queue.keys(), shard).unwrap();
        let woken = waiter.wait(None).await.unwrap().unwrap();
        assert_eq!(queue.keys().shard_of(&lane(&woken)), shard);
        let claimed = queue.claim(shard, &all, 99).await.unwrap();
        for batch in &claimed.batches {
            assert_eq!(queue.keys().shard_of(&batch.lane), shard);
        }
        count += claimed.batches.len();
    }
    assert_eq!(count, 12);
    assert!(Waiter::new(queue.links(), queue.keys(), Shard(4)).is_err());
}

#[tokio::test]
async fn another_number_of_shards_counts_as_a_loss_of_all_of_them() {
    let server = Server::start(&[]).await;
    let few = queue_at(&server, 1);
    open_all(&few).await;
    few.enqueue(&jobs()).await.unwrap();
    let seen = few.epochs().await.unwrap();
    few.begin_epoch(&seen[0], "first").await.unwrap();

    let more = queue_at(&server, 2);
    let epochs = more.epochs().await.unwrap();
    assert!(epochs.iter().all(|epoch| epoch.name.is_none()), "all is enqueued again");
    more.ensure(&jobs()).await.unwrap();
    let all: Vec<_> = lanes().iter().map(|name| lane(name)).collect();
    let claimed = claim_from_all(&more, &all, 99).await;
    assert!(claimed.batches.is_empty());
    assert_eq!(claimed.closed.len(), 12, "no lane sends before it was opened anew");

    // Names of lanes that moved away are still there, until somebody meets them.
    let gone =
        claimed.due.iter().find(|name| more.keys().shard_of(&lane(name)) != Shard(0)).unwrap();
    more.forget(Shard(0), gone).await.unwrap();
    assert!(!more.claim(Shard(0), &[], 1).await.unwrap().due.contains(gone));
}

/// What a release does whose index has another form: it says so, and reads keys of its own.
#[tokio::test]
async fn an_index_of_another_form_is_made_new_and_nobody_sends_meanwhile() {
    let server = Server::start(&[]).await;
    let ours = queue_at(&server, 1);
    open_all(&ours).await;
    ours.enqueue(&jobs()).await.unwrap();
    let all: Vec<_> = lanes().iter().map(|name| lane(name)).collect();
    assert_eq!(claim_from_all(&ours, &all, 2).await.batches.len(), 2);
    let seen = ours.epochs().await.unwrap();
    ours.begin_epoch(&seen[0], "first").await.unwrap();

    let index: String = server.ask("HGET {s0}:shard index").await.unwrap();
    let (same, form) = index.rsplit_once('/').unwrap();
    let before = form.parse::<u8>().unwrap() - 1;
    server.tell(&format!("HSET {{s0}}:shard index {same}/{before}")).await;

    assert!(ours.epochs().await.unwrap()[0].name.is_none(), "all is enqueued again");
    let claimed = claim_from_all(&ours, &all, 99).await;
    assert!(claimed.batches.is_empty());
    assert_eq!(claimed.closed.len(), 12, "no lane sends before it was opened anew");
    let keys: Vec<String> = server.ask("KEYS *").await.unwrap();
    let formed = format!("{{s0}}:{form}:");
    assert!(keys.iter().all(|key| key == "{s0}:shard" || key.starts_with(&formed)), "{keys:?}");
}
