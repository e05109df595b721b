//! What no webhook told us.

use serde_json::Value;
use simulator::{Fault, Hits, Platform, RecordType};
use sqlx::PgPool;
use tests::config_file::{EVENTBRITE, KLAVIYO};
use tests::scene::{Scene, Setup};

use crate::verbs::{
    NO_SPOT_CHECKS, SCAN_EVENTBRITE, SCAN_PROFILES, an_hour_passes, arrived, delete, edit,
    edit_again, edit_silently, history, lists_are_an_hour_old, mirrored, records, requests,
    scans_done, truth,
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

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_lost_webhooks_would_have_told_is_read_in_a_list_that_the_planner_began(
    db: PgPool,
) -> anyhow::Result<()> {
    let settings = format!("{NO_SPOT_CHECKS}run_audit_samples = 50\n");
    let mut setup = Setup { settings, ..Setup::of(&[Platform::Klaviyo]) };
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    setup.simulator.klaviyo.profiles = 250;
    setup.simulator.klaviyo.account.webhooks.lost_share = 1.0;
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.becomes_true().await?;
    scans_done(&mut scene, 1).await?;
    scene
        .until("the scan was audited", async |scene| {
            let scored = "select count(*) from bulk_runs where confidence is not null";
            Ok(scene.count(scored).await? == 1)
        })
        .await?;
    scene.comes_to_rest(KLAVIYO).await?;
    scene.stop().await?;

    an_hour_passes(&scene).await?;
    lists_are_an_hour_old(&scene).await?;
    let edited = &records(&scene, RecordType::Profile)[..7];
    for profile in edited {
        edit_again(&scene, profile)?;
    }
    let before = requests(&scene, Platform::Klaviyo);
    scene.start_scheduler();
    scene.start_worker();
    mirrored(&mut scene, edited).await?;
    // It began five minutes before the last one, for clocks and late writes.
    let overlap = "select count(*) from bulk_runs as listing join bulk_runs as whole
                       on whole.mode = 'full'
                    where listing.mode = 'changes'
                      and listing.changed_since = whole.watermark - interval '5 minutes'";
    assert_eq!(scene.count(overlap).await?, 1);

    // One page, though 250 records are three; and no look beside it, not even for an audit.
    let planned = "select count(*) from bulk_runs
                    where planned and mode = 'changes' and pages = 1 and records_changed = 7";
    scene.until("the list was read", async |scene| Ok(scene.count(planned).await? == 1)).await?;
    scene.comes_to_rest(KLAVIYO).await?;
    assert_eq!(requests(&scene, Platform::Klaviyo) - before, 1);
    let found =
        "select count(*) from drift_events where found_by = 'bulk' and repaired_at is not null";
    assert_eq!(scene.count(found).await?, 7);
    Ok(())
}
