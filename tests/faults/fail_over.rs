//! The fleet with a Redis that others watch: a master dies under load, and another server takes over.
//! All as the users that docs/OPERATING.md describes.

use std::time::Duration;

use common::ids::Lane;
use common::queue::Keys;
use redis_servers::{Cluster, Sentinels, until};
use sqlx::PgPool;
use tests::config_file::KLAVIYO;
use tests::fault::Crew;

const A_WHILE: Duration = Duration::from_millis(700);
/// Longer than a lease.
const LONG: Duration = Duration::from_secs(4);

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_master_that_sentinels_watch_is_killed(db: PgPool) -> anyhow::Result<()> {
    let mut set = Sentinels::start().await;
    let mut crew = Crew::start_at(db, &set.url_for_users().await, "").await?;
    crew.busy(A_WHILE).await?;
    set.master.kill();
    crew.busy(LONG).await?;
    until("the replica is the master", async || set.replica.info("role").await == "master").await;
    crew.recovers("the master of a Sentinel set is killed").await?;
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_node_of_a_cluster_that_has_a_lane_is_killed(db: PgPool) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(true).await;
    let url = cluster.url_for_users().await;
    let mut crew = Crew::start_at(db, &url, "[redis]\nshards = 8\n").await?;
    crew.busy(A_WHILE).await?;

    let keys = Keys::sharded(&crew.scene.config().redis.namespace, 8);
    let key = keys.shard(keys.shard_of(&KLAVIYO.parse::<Lane>()?));
    let mut has_a_lane = None;
    for (at, node) in cluster.masters.iter().enumerate() {
        // Another node says where it is.
        if node.ask::<bool>(&format!("EXISTS {key}")).await.unwrap_or(false) {
            has_a_lane = Some(at);
        }
    }
    let at = has_a_lane.expect("one of them has it");
    cluster.masters[at].kill();
    crew.busy(LONG).await?;
    let replica = &cluster.replicas[at];
    until("its replica is a master", async || replica.info("role").await == "master").await;
    crew.recovers("a node of a cluster is killed").await?;
    Ok(())
}
