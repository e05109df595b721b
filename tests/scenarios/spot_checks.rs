//! What no webhook told us.

use serde_json::Value;
use simulator::{Fault, Hits, Platform, RecordType};
use sqlx::PgPool;
use tests::config_file::EVENTBRITE;
use tests::scene::{Scene, Setup};

use crate::verbs::{
    SCAN_EVENTBRITE, SCAN_PROFILES, arrived, delete, edit, edit_silently, history, mirrored,
    records, truth,
};

/// A fleet whose mirror is true, with spot checks and without webhooks.
async fn mirrored_fleet(db: PgPool) -> anyhow::Result<Scene> {
    let mut setup = Setup::default();
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    setup.eventbrite = format!("{}\n{SCAN_EVENTBRITE}", setup.eventbrite);
    let mut scene = Scene::new(db, setup).await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.becomes_true().await?;
    scene
        .until("every scan is done", async |scene| {
            Ok(scene.count("select count(*) from bulk_runs where state = 'done'").await? == 4)
        })
        .await?;
    Ok(scene)
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_change_whose_webhook_was_lost_is_found_and_repaired(db: PgPool) -> anyhow::Result<()> {
    let mut scene = mirrored_fleet(db).await?;
    let profile = &records(&scene, RecordType::Profile)[0];
    let was = truth(&scene, profile).unwrap();
    edit_silently(&scene, RecordType::Profile, Some(profile))?;
    let is = truth(&scene, profile).unwrap();
    scene.becomes_true().await?;

    let (kind, found_by, diff, repaired): (String, String, sqlx::types::JsonValue, bool) =
        sqlx::query_as(
            "select kind, found_by, diff, repaired_at is not null from drift_events
              where external_id = $1",
        )
        .bind(&profile.external_id)
        .fetch_one(&scene.db)
        .await?;
    assert_eq!((kind.as_str(), found_by.as_str(), repaired), ("changed", "spot-check", true));
    let changes = diff["changes"].as_array().unwrap();
    assert!(!changes.is_empty(), "{diff}");
    for change in changes {
        let path = change["path"].as_str().unwrap();
        let at = |record: &Value| record.pointer(path).cloned().unwrap_or_default();
        assert_eq!((&change["old"], &change["new"]), (&at(&was), &at(&is)), "{path}");
    }
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_record_is_gone_only_after_two_looks(db: PgPool) -> anyhow::Result<()> {
    let mut scene = mirrored_fleet(db).await?;
    let gone = delete(&scene, RecordType::Order)?;
    scene.becomes_true().await?;
    let looks = history(&scene, &gone).await?;
    assert_eq!(looks[looks.len() - 2..], ["suspected", "deleted"]);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_record_that_was_missing_once_stays(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    let order = edit(&scene, RecordType::Order)?;
    mirrored(&mut scene, std::slice::from_ref(&order)).await?;
    scene.comes_to_rest(EVENTBRITE).await?;

    let once = Fault::Status { status: 404, retry_after: None };
    scene.platforms.fault(Platform::Eventbrite, once, Hits::Next(1));
    scene.platforms.announce(Platform::Eventbrite, &order, 1);
    arrived(&mut scene, Platform::Eventbrite, 2).await?;
    scene.comes_to_rest(EVENTBRITE).await?;
    assert_eq!(history(&scene, &order).await?, ["created", "suspected", "unchanged"]);
    mirrored(&mut scene, &[order]).await
}
