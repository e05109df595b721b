//! Processes that are killed, stopped, or frozen.

use std::fs;
use std::time::Duration;

use simulator::{Platform, RecordType};
use sqlx::PgPool;
use tests::config_file::KLAVIYO;
use tests::scene::{Scene, Setup};
use tokio::time::Instant;

use crate::verbs::{
    NO_SPOT_CHECKS, SCAN_PROFILES, arrived, edit, edit_silently, held, history, hold, mirrored,
    records, requests,
};

const WORKER: &str = "syncline-worker";
/// Of the usual settings of a story.
const LEASE: Duration = Duration::from_secs(2);

fn with(settings: &str) -> Setup {
    Setup { settings: settings.to_owned(), ..Setup::default() }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_job_of_a_killed_worker_runs_elsewhere(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    scene.start_ingress().await?;
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    let mut victim = scene.start_program(WORKER, &[])?;
    let changed = edit(&scene, RecordType::Profile)?;
    held(&scene, 1).await?;
    scene.start_worker();

    victim.kill().await?;
    let killed = Instant::now();
    mirrored(&mut scene, std::slice::from_ref(&changed)).await?;
    let took = killed.elapsed();
    assert!(took < LEASE + Duration::from_secs(2), "{took:?}");
    scene.comes_to_rest(KLAVIYO).await?;
    assert_eq!(history(&scene, &changed).await?, ["created"]);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_job_that_takes_its_worker_down_every_time_is_buried(db: PgPool) -> anyhow::Result<()> {
    let settings = "[worker]\nmax_attempts = 2\nlease = \"1s\"\nheartbeat = \"300ms\"";
    let mut scene = Scene::new(db, with(settings)).await?;
    scene.start_ingress().await?;
    let changed = edit(&scene, RecordType::Profile)?;
    for _ in ["first attempt", "second attempt"] {
        hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
        let mut victim = scene.start_program(WORKER, &[])?;
        held(&scene, 1).await?;
        victim.kill().await?;
        // The place of an answer whose asker is gone is free again.
        scene
            .until("nothing is held", async |scene| Ok(scene.platforms.gate_state().held == 0))
            .await?;
    }
    scene.start_worker();
    scene.comes_to_rest(KLAVIYO).await?;
    assert_eq!(requests(&scene, Platform::Klaviyo), 2);
    let letters = "select count(*) from dead_letters where attempts = 3";
    assert_eq!(scene.count(letters).await?, 1);
    assert!(history(&scene, &changed).await?.is_empty());
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_scan_goes_on_at_its_page_after_its_worker_died(db: PgPool) -> anyhow::Result<()> {
    let mut setup = with(NO_SPOT_CHECKS);
    setup.simulator.klaviyo.profiles = 250;
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    let mut scene = Scene::new(db, setup).await?;
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    scene.start_scheduler();
    let mut victim = scene.start_program(WORKER, &[])?;
    held(&scene, 1).await?;
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    scene
        .until("the second page is under way", async |scene| {
            Ok(requests(scene, Platform::Klaviyo) == 2)
        })
        .await?;
    victim.kill().await?;

    scene.start_worker();
    let profiles = records(&scene, RecordType::Profile);
    mirrored(&mut scene, &profiles).await?;
    scene
        .until("the scan is done", async |scene| {
            let done = "select count(*) from bulk_runs where state = 'done' and pages = 3";
            Ok(scene.count(done).await? == 1)
        })
        .await?;
    // The second page twice, and no other.
    assert_eq!(requests(&scene, Platform::Klaviyo), 4);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn on_sigterm_a_worker_finishes_what_it_has_and_begins_nothing(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    scene.start_ingress().await?;
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    let mut worker = scene.start_program(WORKER, &[])?;
    let under_way = edit(&scene, RecordType::Profile)?;
    held(&scene, 1).await?;

    worker.signal("TERM").await?;
    scene
        .until("it has heard", async |scene| {
            Ok(fs::read_to_string(scene.folder.path().join("log"))?.contains("nothing new begins"))
        })
        .await?;
    edit(&scene, RecordType::Order)?;
    arrived(&mut scene, Platform::Eventbrite, 1).await?;
    scene.platforms.open_gate();
    assert_eq!(worker.end().await?.code(), Some(0));
    mirrored(&mut scene, &[under_way]).await?;
    assert_eq!(requests(&scene, Platform::Eventbrite), 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_a_stopping_worker_cannot_finish_it_hands_back(db: PgPool) -> anyhow::Result<()> {
    // A second attempt would be one too many; and a lease that is over long after the story.
    let settings = "[worker]\nmax_attempts = 1\ndrain = \"200ms\"\nlease = \"10m\"";
    let mut scene = Scene::new(db, with(settings)).await?;
    scene.start_ingress().await?;
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    let mut worker = scene.start_program(WORKER, &[])?;
    let changed = edit(&scene, RecordType::Profile)?;
    held(&scene, 1).await?;
    assert_eq!(worker.stop().await?.code(), Some(0));

    scene.start_worker();
    mirrored(&mut scene, &[changed]).await?;
    scene.comes_to_rest(KLAVIYO).await?;
    assert_eq!(scene.count("select count(*) from dead_letters").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_worker_that_was_frozen_past_its_lease_does_no_harm(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    scene.start_ingress().await?;
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    let mut frozen = scene.start_program(WORKER, &[])?;
    let changed = edit(&scene, RecordType::Profile)?;
    held(&scene, 1).await?;
    frozen.signal("STOP").await?;

    edit_silently(&scene, RecordType::Profile, Some(&changed))?;
    scene.start_worker();
    mirrored(&mut scene, std::slice::from_ref(&changed)).await?;
    scene.comes_to_rest(KLAVIYO).await?;

    // It wakes with an old answer in its hands.
    scene.platforms.open_gate();
    frozen.signal("CONT").await?;
    assert_eq!(frozen.stop().await?.code(), Some(0));
    let looks = history(&scene, &changed).await?;
    assert_eq!(looks[0], "created");
    assert!(looks[1..].iter().all(|look| look == "stale"), "{looks:?}");
    mirrored(&mut scene, &[changed]).await
}
