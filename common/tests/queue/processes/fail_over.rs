//! Another server takes over, or the same one comes back: nothing is lost, and no window sees more
//! than its limit.

use std::time::Duration;

use common::job::Priority;
use common::queue::{Epoch, Keys, Ledger, RedisQueue};
use redis_servers::{Cluster, Sentinels, Server, until};

use super::world::{LIMIT, World, queue_at};
use crate::place::Place;
use crate::{START, claim_from_all, job, lane};

const LANE: &str = "klaviyo/main";

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
