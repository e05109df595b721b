//! An index in several parts.

use common::queue::Keys;
use simulator::RecordType;
use sqlx::PgPool;
use tests::config_file::{EVENTBRITE, KLAVIYO};
use tests::scene::{Scene, Setup};

use crate::verbs::{SCAN_EVENTBRITE, SCAN_PROFILES, edit};

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_worker_with_one_slot_serves_all_shards_before_and_after_a_loss(
    db: PgPool,
) -> anyhow::Result<()> {
    let settings = "[redis]\nshards = 4\n[worker]\nconcurrency = 1".to_owned();
    let mut setup = Setup { settings, ..Setup::default() };
    // Short: after the loss it is waited for.
    let quota = r#"quotas.steady = { limit = 100, window = "2s", burst = 100, headroom = 5 }
        quotas.profiles = { limit = 100, window = "2s", burst = 100, headroom = 5 }"#;
    setup.klaviyo = format!("{quota}\n{SCAN_PROFILES}");
    setup.eventbrite = format!("{}\n{SCAN_EVENTBRITE}", setup.eventbrite);
    let mut scene = Scene::new(db, setup).await?;
    let keys = Keys::sharded("", 4);
    assert_ne!(keys.shard_of(&KLAVIYO.parse()?), keys.shard_of(&EVENTBRITE.parse()?));
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.becomes_true().await?;

    scene.flush_redis().await?;
    edit(&scene, RecordType::Profile)?;
    edit(&scene, RecordType::Attendee)?;
    scene.becomes_true().await?;
    let fleet = scene.fleet().await?;
    scene
        .until("every shard is complete again", async |_| {
            Ok(fleet.queue.epochs().await?.iter().all(|epoch| epoch.name.is_some()))
        })
        .await
}
