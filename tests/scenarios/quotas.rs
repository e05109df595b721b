//! Never more than a platform allows, whatever happens.

use std::time::Duration;

use common::queue::Shard;
use jiff::SignedDuration;
use simulator::{Fault, Hits, Platform, QuotaConfig, RecordType};
use sqlx::PgPool;
use tests::config_file::EVENTBRITE;
use tests::scene::{Scene, Setup};
use tokio::time::Instant;

use crate::verbs::{
    NO_SPOT_CHECKS, SCAN_EVENTBRITE, arrived, edit, edit_again, mirrored, records, requests,
};

fn limit(name: &str, limit: u32, window_ms: u64) -> QuotaConfig {
    QuotaConfig::new(name, limit, window_ms)
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_429_freezes_the_lane_for_every_worker_and_costs_no_attempt(
    db: PgPool,
) -> anyhow::Result<()> {
    const PAUSE_SECONDS: u64 = 3;
    // A second attempt would be one too many.
    let settings = "[worker]\nmax_attempts = 1".to_owned();
    let mut scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    scene.start_worker();
    let refusal = Fault::Status { status: 429, retry_after: Some(PAUSE_SECONDS) };
    scene.platforms.fault(Platform::Klaviyo, refusal, Hits::Next(1));
    edit(&scene, RecordType::Profile)?;
    scene
        .until("a request is refused", async |scene| Ok(requests(scene, Platform::Klaviyo) == 1))
        .await?;

    // More work for the frozen lane, and for another.
    let profiles = records(&scene, RecordType::Profile);
    for profile in &profiles {
        edit_again(&scene, profile)?;
    }
    let order = edit(&scene, RecordType::Order)?;
    mirrored(&mut scene, &[order]).await?;
    mirrored(&mut scene, &profiles).await?;

    let klaviyo = scene.platforms.requests(Platform::Klaviyo, usize::MAX);
    let thaw = klaviyo[0].at + SignedDuration::from_secs(PAUSE_SECONDS.cast_signed());
    assert!(klaviyo[1].at >= thaw, "{klaviyo:#?}");
    let eventbrite = scene.platforms.requests(Platform::Eventbrite, usize::MAX);
    assert!(eventbrite[0].at < thaw, "the other lane went on");
    assert_eq!(scene.count("select count(*) from dead_letters").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn two_workers_under_load_stay_within_every_window(db: PgPool) -> anyhow::Result<()> {
    let mut setup = Setup::default();
    setup.simulator.eventbrite.orders = 30;
    setup.simulator.eventbrite.account.quotas =
        vec![limit("second", 10, 1_000), limit("hour", 25, 4_000)];
    setup.eventbrite = format!(
        r#"quotas.second = {{ limit = 10, window = "1s", burst = 3, headroom = 1 }}
           quotas.hour = {{ limit = 25, window = "4s", burst = 5, headroom = 1 }}
           confirm_after = []
           {SCAN_EVENTBRITE}"#
    );
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.start_worker();
    let orders = records(&scene, RecordType::Order);
    for order in &orders {
        edit_again(&scene, order)?;
    }
    scene
        .until("there was load for more than a window", async |scene| {
            Ok(requests(scene, Platform::Eventbrite) >= 40)
        })
        .await?;
    mirrored(&mut scene, &orders).await?;

    let stats = scene.platforms.stats().eventbrite;
    assert_eq!(stats.refusals, 0);
    for quota in &stats.quotas {
        let (most, limit) = (quota.most_in_a_window, quota.limit);
        eprintln!("{}: {most} of {limit}, utilisation {:.2}", quota.name, quota.utilisation);
        assert!(most <= limit);
    }
    // Kept by using what there is, and not by idling.
    assert!(stats.quotas[1].utilisation > 0.5);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn after_a_flush_a_short_window_is_waited_for(db: PgPool) -> anyhow::Result<()> {
    const WINDOW: Duration = Duration::from_secs(1);
    let settings =
        format!("{NO_SPOT_CHECKS}[api]\nwhole_timeout = \"1s\"\nread_timeout = \"1s\"\n");
    let mut setup = Setup { settings, ..Setup::default() };
    setup.simulator.eventbrite.orders = 25;
    setup.simulator.eventbrite.account.quotas = vec![limit("hour", 10, 1_000)];
    setup.eventbrite = r#"quotas.hour = { limit = 10, window = "1s", burst = 10, headroom = 0 }
        confirm_after = []"#
        .to_owned();
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.start_worker();
    let orders = records(&scene, RecordType::Order);
    edit_again(&scene, &orders[0])?;
    mirrored(&mut scene, &orders[..1]).await?;
    let rested = Instant::now();
    scene.until("the bucket is full", async |_| Ok(rested.elapsed() > WINDOW)).await?;

    for order in &orders[1..] {
        edit_again(&scene, order)?;
    }
    scene
        .until("a window is used up", async |scene| Ok(requests(scene, Platform::Eventbrite) >= 11))
        .await?;
    scene.flush_redis().await?;
    mirrored(&mut scene, &orders).await?;
    assert_eq!(scene.platforms.stats().eventbrite.refusals, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn after_a_flush_a_long_window_still_counts_what_was_sent_before(
    db: PgPool,
) -> anyhow::Result<()> {
    // Permits are recorded before their requests are sent, so one that came too late to be used would
    // count as well.
    let settings = format!("{NO_SPOT_CHECKS}[worker]\npermit_use_by = \"3s\"\n");
    let mut setup = Setup { settings, ..Setup::default() };
    setup.simulator.eventbrite.orders = 20;
    setup.eventbrite = r#"quotas.hour = { limit = 2000, window = "10m", burst = 200, headroom = 0 }
        confirm_after = []"#
        .to_owned();
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    let orders = records(&scene, RecordType::Order);
    for order in &orders[..4] {
        edit_again(&scene, order)?;
    }
    mirrored(&mut scene, &orders[..4]).await?;
    scene.comes_to_rest(EVENTBRITE).await?;
    // One each, and one more for whatever was told of while it was being looked at.
    let sent = scene.count("select count(*) from sent_requests").await?;
    let before = requests(&scene, Platform::Eventbrite);
    assert!(sent >= 4 && usize::try_from(sent)? >= before, "{sent} recorded, {before} sent");

    // A busy minute earlier: of the 2,000, five are left.
    sqlx::query(
        "insert into sent_requests (connection_id, permit_id, sent_at)
         select c.id, n, clock_timestamp() - interval '1 minute'
           from connections c, generate_series(1, $2) as n where c.lane = $1",
    )
    .bind(EVENTBRITE)
    .bind(1_995 - sent)
    .execute(&scene.db)
    .await?;
    scene.flush_redis().await?;
    for order in &orders[4..] {
        edit_again(&scene, order)?;
    }
    scene
        .until("the window is used up", async |scene| {
            Ok(requests(scene, Platform::Eventbrite) >= before + 5)
        })
        .await?;
    arrived(&mut scene, Platform::Eventbrite, 20).await?;
    let fleet = scene.fleet().await?;
    scene
        .until("the queue knows that the next request is minutes away", async |_| {
            let claimed = fleet.queue.claim(Shard(0), &[EVENTBRITE.parse()?], 1).await?;
            assert!(claimed.batches.is_empty(), "one request too many");
            Ok(claimed.next.is_some_and(|next| next > Duration::from_mins(5)))
        })
        .await?;
    assert_eq!(requests(&scene, Platform::Eventbrite), before + 5);
    Ok(())
}
