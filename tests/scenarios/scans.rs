//! Bulk syncs: everything, page by page, behind whatever is more urgent.

use simulator::{Platform, RecordType};
use sqlx::PgPool;
use tests::config_file::KLAVIYO;
use tests::scene::{Scene, Setup};

use crate::verbs::{
    NO_SPOT_CHECKS, SCAN_EVENTBRITE, SCAN_PROFILES, an_hour_passes, arrived, delete, edit_silently,
    held, history, hold, lists_are_an_hour_old, mirrored, records, requests, scan, scans_done,
};

fn scanned() -> Setup {
    let mut setup = Setup { settings: NO_SPOT_CHECKS.to_owned(), ..Setup::default() };
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    setup.eventbrite = format!("{}\n{SCAN_EVENTBRITE}", setup.eventbrite);
    setup
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_new_connection_is_mirrored_without_a_webhook(db: PgPool) -> anyhow::Result<()> {
    let mut setup = scanned();
    setup.simulator.klaviyo.profiles = 250;
    let mut scene = Scene::new(db, setup).await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.becomes_true().await?;
    scene
        .until("every scan is done", async |scene| {
            Ok(scene.count("select count(*) from bulk_runs where state = 'done'").await? == 4)
        })
        .await?;
    assert_eq!(
        scene.count("select pages::bigint from bulk_runs where record_type = 'profile'").await?,
        3
    );
    // What is seen for the first time was not wrong before.
    assert_eq!(scene.count("select count(*) from drift_events").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_bulk_page_never_delays_a_webhook_by_more_than_one_page(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut setup = scanned();
    setup.eventbrite = Setup::default().eventbrite;
    setup.simulator.klaviyo.profiles = 350;
    // One thing after the other: what comes next is what is most urgent.
    setup.settings = format!("{NO_SPOT_CHECKS}[worker]\nconcurrency = 1\nurgent_slots = 0\n");
    let mut scene = Scene::new(db, setup).await?;
    let profiles = records(&scene, RecordType::Profile);
    let mut under_way = 1;
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();

    for (page, profile) in (1..=3).zip(&profiles) {
        held(&scene, 1).await?;
        assert_eq!(requests(&scene, Platform::Klaviyo), under_way, "page {page} is under way");
        scene.platforms.announce(Platform::Klaviyo, profile, 1);
        arrived(&mut scene, Platform::Klaviyo, page).await?;
        for _ in ["the page goes", "the check goes"] {
            hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
            under_way += 1;
            scene
                .until("the next request is made", async |scene| {
                    Ok(requests(scene, Platform::Klaviyo) == under_way)
                })
                .await?;
            let fetches = scene.platforms.fetches(Platform::Klaviyo, profile);
            assert_eq!(fetches.asked_for(), 1, "the webhook came right after page {page}");
        }
    }
    scene.platforms.open_gate();
    mirrored(&mut scene, &profiles).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_full_scan_finds_what_is_gone_and_marks_it_after_two_looks(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, scanned()).await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.becomes_true().await?;
    scene.comes_to_rest(KLAVIYO).await?;

    let gone = delete(&scene, RecordType::Profile)?;
    assert!(scan(&scene, KLAVIYO, "profile").await?.is_some());
    scene.becomes_true().await?;
    assert_eq!(history(&scene, &gone).await?, ["created", "suspected", "deleted"]);
    let drift = "select count(*) from drift_events
                  where kind = 'deleted' and found_by = 'bulk' and repaired_at is not null";
    assert_eq!(scene.count(drift).await?, 1);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn times_of_change_that_lie_in_the_future_hide_nothing_from_the_next_list(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut setup =
        Setup { settings: NO_SPOT_CHECKS.to_owned(), ..Setup::of(&[Platform::Klaviyo]) };
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    setup.simulator.klaviyo.profiles = 6;
    // Every other profile says that it was changed years from now.
    setup.simulator.klaviyo.account.switches.updated_ahead_seconds = 10 * 365 * 86_400;
    let mut scene = Scene::new(db, setup).await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.becomes_true().await?;
    scans_done(&mut scene, 1).await?;
    let future = "select count(*) from bulk_runs where latest_version > clock_timestamp()";
    assert_eq!(scene.count(future).await?, 1, "the platform says so");
    scene.stop().await?;

    an_hour_passes(&scene).await?;
    lists_are_an_hour_old(&scene).await?;
    let profiles = records(&scene, RecordType::Profile);
    for profile in &profiles {
        edit_silently(&scene, RecordType::Profile, Some(profile))?;
    }
    scene.start_scheduler();
    scene.start_worker();
    mirrored(&mut scene, &profiles).await?;
    let found = "select count(*) from drift_events where found_by = 'bulk'";
    assert_eq!(scene.count(found).await?, 6);
    let clamped = "select count(*) from bulk_runs where watermark > started_at";
    assert_eq!(scene.count(clamped).await?, 0);
    Ok(())
}
