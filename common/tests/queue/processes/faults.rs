//! What people read when Redis is not as it has to be.

use std::time::Duration;

use common::job::Priority;
use common::link::{Address, Fault, Link};
use common::queue::{Keys, LaneBook, QueueError, QueueSettings, RedisQueue};

use redis_servers::{Cluster, Sentinels, Server, program, program_in, until};

use crate::place::Place;
use crate::{job, lane};

const LANE: &str = "klaviyo/main";

/// What a process that starts here is told.
async fn at_start(url: &str) -> Fault {
    let address: Address = url.parse().unwrap();
    Link::new(&address, "{s0}:shard").unwrap().ready(Duration::from_millis(300)).await.unwrap_err()
}

fn queue_at(url: &str) -> RedisQueue {
    let (place, keys) = (Place::at(url), Keys::new(""));
    RedisQueue::new(place.links(&keys), keys, LaneBook::default(), QueueSettings::default())
}

/// What a process that runs is told.
async fn enqueue(queue: &RedisQueue) -> Result<(), Fault> {
    match queue.enqueue(&[job(LANE, "order:1", Priority::Bulk)]).await {
        Ok(_) => Ok(()),
        Err(QueueError::Redis(fault)) => Err(fault),
        Err(other) => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn a_replica_is_refused_at_the_start_and_noticed_later() {
    let server = Server::start(&[]).await;
    let queue = queue_at(&server.url());
    enqueue(&queue).await.unwrap();
    server.tell("REPLICAOF 127.0.0.1 1").await;
    assert!(matches!(enqueue(&queue).await, Err(Fault::Replica)));
    let told = at_start(&server.url()).await.to_string();
    assert!(told.contains("is a replica") && told.contains("redis+sentinel://"), "{told}");
    server.tell("REPLICAOF NO ONE").await;
    enqueue(&queue).await.unwrap();
}

#[tokio::test]
async fn a_full_redis_takes_nothing_more_and_goes_on_when_there_is_room() {
    let server = Server::start(&[]).await;
    let queue = queue_at(&server.url());
    enqueue(&queue).await.unwrap();
    server.tell("CONFIG SET maxmemory 100kb").await;
    let fault = enqueue(&queue).await.unwrap_err();
    assert!(matches!(fault, Fault::Full));
    assert!(fault.to_string().contains("more memory"), "{fault}");
    server.tell("CONFIG SET maxmemory 0").await;
    enqueue(&queue).await.unwrap();
}

#[tokio::test]
async fn a_master_without_its_replicas_takes_nothing_more_until_they_are_back() {
    let server = Server::start(&[]).await;
    let queue = queue_at(&server.url());
    enqueue(&queue).await.unwrap();
    server.tell("CONFIG SET min-replicas-to-write 1").await;
    let fault = enqueue(&queue).await.unwrap_err();
    assert!(matches!(fault, Fault::TooFewReplicas) && fault.may_pass());
    assert!(fault.to_string().contains("min-replicas-to-write"), "{fault}");
    let replica = Server::start(&["--replicaof", "127.0.0.1", &server.port.to_string()]).await;
    until("the replica follows", async || replica.info("master_link_status").await == "up").await;
    until("it takes jobs again", async || enqueue(&queue).await.is_ok()).await;
}

#[tokio::test]
async fn a_redis_that_cannot_save_takes_nothing_more_and_the_remedy_is_told() {
    let server = Server::start(&["--save", "3600", "1000"]).await;
    let queue = queue_at(&server.url());
    enqueue(&queue).await.unwrap();
    // Where the file would be renamed to, there is a folder.
    std::fs::create_dir(server.folder.path().join("dump.rdb")).unwrap();
    server.tell("BGSAVE").await;
    until("saving has failed", async || server.info("rdb_last_bgsave_status").await == "err").await;
    let fault = enqueue(&queue).await.unwrap_err();
    assert!(matches!(fault, Fault::CannotSave) && fault.may_pass());
    assert!(fault.to_string().contains("save \"\""), "{fault}");
    // Nothing behind the last space: no saving.
    server.tell("CONFIG SET save ").await;
    enqueue(&queue).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_is_too_old_is_refused() {
    let Some(program) = program_in("SYNCLINE_TOO_OLD_REDIS_SERVER") else { return };
    let server = Server::of(&program, &[]).await;
    let fault = at_start(&server.url()).await;
    assert!(matches!(fault, Fault::TooOld(_)) && !fault.may_pass());
    let told = fault.to_string();
    assert!(told.contains(&server.info("redis_version").await) && told.contains("6.2"), "{told}");
}

#[tokio::test]
async fn a_redis_that_throws_keys_away_is_refused() {
    let server =
        Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let told = at_start(&server.url()).await.to_string();
    assert!(told.contains("allkeys-lru") && told.contains("noeviction"), "{told}");
}

#[tokio::test]
async fn a_redis_that_loads_its_data_is_waited_for() {
    let mut server = Server::start(&["--rdbcompression", "no"]).await;
    let fill = "for i = 1, 1000 do redis.call('SET', 'k' .. i, string.rep('x', 65536)) end";
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("EVAL").arg(fill).arg(0).query_async(&mut connection).await.unwrap();
    server.tell("SAVE").await;
    server.kill();
    // Two milliseconds for each key; every two megabytes it looks who asks.
    server.start_again(&["--key-load-delay", "2000"]);
    until("it can be asked", async || server.ask::<String>("INFO").await.is_ok()).await;
    assert!(matches!(at_start(&server.url()).await, Fault::Loading));
    let address: Address = server.url().parse().unwrap();
    Link::new(&address, "key").unwrap().ready(Duration::from_secs(30)).await.unwrap();
}

#[tokio::test]
async fn a_password_that_is_missing_or_wrong_is_told_and_never_shown() {
    let server = Server::spawn(&program(), &["--requirepass", "hunter2"]);
    let with = |user: &str| server.url().replace("://", &format!("://{user}@"));
    let right: Address = with(":hunter2").parse().unwrap();
    Link::new(&right, "key").unwrap().ready(Duration::from_secs(30)).await.unwrap();

    assert!(matches!(at_start(&server.url()).await, Fault::NoPassword));
    for wrong in [":hunter3", "nobody:hunter2"] {
        let fault = at_start(&with(wrong)).await;
        assert!(matches!(fault, Fault::WrongPassword), "{fault}");
        assert!(fault.to_string().contains("redis.url"));
        assert!(!format!("{fault} {fault:?}").contains("hunter"), "{fault:?}");
    }
}

#[tokio::test]
async fn what_the_access_rules_forbid_is_named() {
    let server = Server::start(&[]).await;
    for (rules, named) in [
        ("~* +@all -info", "INFO"),
        ("~* +@all -evalsha", "EVALSHA"),
        ("~* +@all -zadd", ""),
        ("~other:* +@all", "key"),
    ] {
        server.tell(&format!("ACL SETUSER somebody reset on >x {rules}")).await;
        let queue = queue_at(&server.url().replace("://", "://somebody:x@"));
        let fault = enqueue(&queue).await.unwrap_err();
        assert!(matches!(fault, Fault::Forbidden(_)), "{rules}: {fault}");
        let told = fault.to_string();
        assert!(told.contains(named) && told.contains("OPERATING.md"), "{rules}: {told}");
    }
}

#[tokio::test]
async fn one_server_a_cluster_and_sentinels_are_not_mistaken_for_each_other() {
    let (cluster, sentinels) = tokio::join!(Cluster::start(false), Sentinels::start());
    let node = &cluster.masters[0];
    assert!(matches!(at_start(&node.url()).await, Fault::IsCluster));
    let server = &sentinels.master;
    let as_cluster = server.url().replace("redis://", "redis+cluster://");
    assert!(matches!(at_start(&as_cluster).await, Fault::NoCluster));

    let fault = at_start(&sentinels.url_of("other")).await;
    assert!(matches!(fault, Fault::NoMaster), "{fault}");
    let no_sentinel = format!("redis+sentinel://127.0.0.1:{}/main", server.port);
    let fault = at_start(&no_sentinel).await.to_string();
    assert!(fault.contains("entinel"), "{fault}");
}

#[tokio::test]
async fn a_redis_that_is_away_is_told_from_one_that_refuses() {
    let mut server = Server::start(&[]).await;
    let queue = queue_at(&server.url());
    enqueue(&queue).await.unwrap();
    server.kill();
    for _ in 0..2 {
        assert!(matches!(enqueue(&queue).await, Err(Fault::Away(_))));
    }
    assert!(matches!(at_start(&server.url()).await, Fault::Away(_)));
    server.start_again(&[]);
    until("it goes on by itself", async || enqueue(&queue).await.is_ok()).await;
    assert_eq!(queue.depths(&lane(LANE)).await.unwrap().ready, [0, 0, 1, 0]);
}
