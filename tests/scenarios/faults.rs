//! What must hold when something breaks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use common::fleet::Fleet;
use common::fleet::senders::Watch;
use common::ids::Lane;
use common::job::{Job, Priority, Task};
use common::platform::{Api, ApiSettings};
use common::queue::{Batch, Shard};
use common::store::connections;
use common::store::inbox::{self, Delivery, Source};
use common::telemetry::{self, Metrics};
use rand::SeedableRng;
use rand::rngs::StdRng;
use simulator::{Fault, Hits, Platform, RecordType};
use sqlx::PgPool;
use tests::config_file::{EVENTBRITE, KLAVIYO};
use tests::scene::{Scene, Setup};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use worker::batch::Worker;
use worker::handlers::{Brake, Care, Tasks};
use worker::line::Lines;
use worker::settling::Settling;

use crate::receiver::Receiver;
use crate::verbs::{
    NO_SPOT_CHECKS, SCAN_EVENTBRITE, SCAN_PROFILES, arrived, edit, edit_again, edit_silently, held,
    history, hold, mirrored, records, requests,
};

/// After a flush, lanes open within seconds: what was sent in long windows is known from Postgres,
/// and the short window is short.
fn soon_open_again() -> Setup {
    Setup {
        settings: format!("{NO_SPOT_CHECKS}[api]\nwhole_timeout = \"1s\"\nread_timeout = \"1s\"\n"),
        klaviyo: r#"quotas.steady = { limit = 100000, window = "1h", burst = 100, headroom = 5 }
            quotas.profiles = { limit = 100000, window = "1h", burst = 100, headroom = 5 }"#
            .to_owned(),
        ..Setup::default()
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_flush_of_redis_loses_nothing_that_was_accepted(db: PgPool) -> anyhow::Result<()> {
    let mut setup = soon_open_again();
    setup.simulator.klaviyo.profiles = 250;
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    setup.eventbrite = format!("{}\n{SCAN_EVENTBRITE}", setup.eventbrite);
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    // The second page of a scan and the checks of webhooks are under way, or wait.
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    held(&scene, 1).await?;
    hold(&scene, Platform::Klaviyo, "/api/profiles", u64::MAX);
    for profile in records(&scene, RecordType::Profile).iter().take(20) {
        edit_again(&scene, profile)?;
    }
    for record_type in [RecordType::Attendee, RecordType::Order, RecordType::Event] {
        edit(&scene, record_type)?;
    }
    arrived(&mut scene, Platform::Klaviyo, 20).await?;
    arrived(&mut scene, Platform::Eventbrite, 3).await?;
    held(&scene, 1).await?;
    assert!(scene.count("select count(*) from inbox").await? >= 20);

    scene.flush_redis().await?;
    scene.platforms.open_gate();
    scene.becomes_true().await?;
    scene.comes_to_rest(KLAVIYO).await?;
    scene.comes_to_rest(EVENTBRITE).await?;
    assert_eq!(scene.count("select count(*) from bulk_runs where state = 'done'").await?, 4);
    assert_eq!(scene.count("select count(*) from dead_letters").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_write_that_comes_late_is_refused_and_counted(db: PgPool) -> anyhow::Result<()> {
    let receiver = Receiver::start().await?;
    drop(rustls::crypto::ring::default_provider().install_default());
    let telemetry = telemetry::start(telemetry::Settings {
        service_name: "late",
        service_namespace: "tests",
        otlp_endpoint: Some(&receiver.url),
        json_logs: false,
        log_filter: "info",
    })?;
    let mut scene = Scene::new(db, Setup::default()).await?;
    scene.start_ingress().await?;
    let changed = edit(&scene, RecordType::Profile)?;
    arrived(&mut scene, Platform::Klaviyo, 1).await?;

    // A worker that does not notice that its lease ends: its heart stands still, and its watch too.
    let mut late = worker_of(&scene).await?;
    late.metrics = Metrics::new(&telemetry.meter());
    let mut batch = claimed(&late.fleet, KLAVIYO).await?;
    batch.ends += Duration::from_hours(1);
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    let mut working = JoinSet::new();
    working.spawn(async move { late.run_batch(batch, CancellationToken::new()).await });
    held(&scene, 1).await?;

    // Its answer grows old, and another worker has the job.
    edit_silently(&scene, RecordType::Profile, Some(&changed))?;
    scene.start_worker();
    mirrored(&mut scene, std::slice::from_ref(&changed)).await?;

    scene.platforms.open_gate();
    working.join_next().await.context("the late worker")??;
    assert_eq!(history(&scene, &changed).await?, ["created", "stale"]);
    mirrored(&mut scene, &[changed]).await?;
    scene.comes_to_rest(KLAVIYO).await?;
    telemetry.shutdown().await;
    let counted = receiver.counts("syncline.writes.stale", "platform")?;
    assert_eq!(counted, HashMap::from([("klaviyo".to_owned(), 1)]));
    Ok(())
}

/// Redis is as good as away for it: nothing extends its lease.
#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn who_cannot_extend_a_lease_lets_go_before_it_ends(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    scene.start_ingress().await?;
    let changed = edit(&scene, RecordType::Profile)?;
    arrived(&mut scene, Platform::Klaviyo, 1).await?;
    let worker = worker_of(&scene).await?;
    let batch = claimed(&worker.fleet, KLAVIYO).await?;
    let ends = batch.ends;
    hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
    worker.run_batch(batch, CancellationToken::new()).await;
    assert!(Instant::now() < ends, "nothing is sent any more when another may send");
    assert!(history(&scene, &changed).await?.is_empty());
    assert_eq!(requests(&scene, Platform::Klaviyo), 1);

    scene.platforms.open_gate();
    scene.start_worker();
    mirrored(&mut scene, &[changed]).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_job_that_always_fails_becomes_a_dead_letter_and_the_others_go_on(
    db: PgPool,
) -> anyhow::Result<()> {
    let settings = "[worker]\nmax_attempts = 3".to_owned();
    let mut scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    scene.start_ingress().await?;
    scene.start_worker();

    // A later version, perhaps, knows what a ticket is.
    let fleet = scene.fleet().await?;
    let lane: Lane = KLAVIYO.parse()?;
    let connection = fleet.connections.get(&lane).context("it is configured")?.id;
    let notices = [("ticket".into(), "1".into())];
    let [(record_type, external_id)] = notices.clone();
    let (priority, source, trace) = (Priority::Webhook, Source::Webhook, "");
    let delivery = Delivery { connection, priority, source, trace, notices: &notices };
    inbox::accept(&fleet.db, &delivery).await?;
    let task = Task::Check { record_type, external_id };
    fleet.queue.enqueue(&[Job { lane, task, priority, trace: String::new() }]).await?;

    let profiles = records(&scene, RecordType::Profile);
    for profile in &profiles {
        edit_again(&scene, profile)?;
    }
    mirrored(&mut scene, &profiles).await?;
    scene.comes_to_rest(KLAVIYO).await?;
    let (job, attempts, error): (String, i32, String) =
        sqlx::query_as("select job_id, attempts, last_error from dead_letters")
            .fetch_one(&scene.db)
            .await?;
    assert_eq!((job.as_str(), attempts), ("ticket:1", 3));
    assert!(error.contains("ticket"), "{error}");
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn revoked_credentials_park_the_connection_and_nothing_hammers(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, soon_open_again()).await?;
    let lane: Lane = KLAVIYO.parse()?;
    let fleet = scene.fleet().await?;
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    let revoked = Fault::Status { status: 401, retry_after: None };
    scene.platforms.fault(Platform::Klaviyo, revoked, Hits::Share(1.0));
    edit(&scene, RecordType::Profile)?;
    let parked = "select count(*) from connections
                   where lane = 'klaviyo/main' and parked_reason like '%401%'";
    scene.until("it is parked", async |scene| Ok(scene.count(parked).await? == 1)).await?;

    // Webhooks are accepted as before; nothing is asked, and the other lane goes on.
    let profiles = records(&scene, RecordType::Profile);
    for profile in &profiles {
        edit_again(&scene, profile)?;
    }
    arrived(&mut scene, Platform::Klaviyo, 6).await?;
    let order = edit(&scene, RecordType::Order)?;
    mirrored(&mut scene, &[order]).await?;
    assert!(fleet.queue.claim(Shard(0), std::slice::from_ref(&lane), 1).await?.batches.is_empty());
    assert_eq!(requests(&scene, Platform::Klaviyo), 1);

    // Redis may forget it; Postgres does not.
    scene.flush_redis().await?;
    scene
        .until("the lane is held again", async |_| Ok(fleet.queue.depths(&lane).await?.paused))
        .await?;
    assert_eq!(requests(&scene, Platform::Klaviyo), 1);

    // A person has seen to it.
    scene.platforms.clear_faults(Platform::Klaviyo);
    let connection = fleet.connections.get(&lane).context("it is configured")?.id;
    assert!(connections::unpark(&fleet.db, connection).await?);
    fleet.queue.resume(&lane).await?;
    mirrored(&mut scene, &profiles).await
}

/// A worker whose batches the story hands out.
async fn worker_of(scene: &Scene) -> anyhow::Result<Worker> {
    let config = scene.config();
    let mut settings = config.worker.clone();
    settings.heartbeat = Duration::from_hours(1);
    let api = ApiSettings { whole: Duration::from_secs(20), ..ApiSettings::default() };
    let fleet = scene.fleet().await?;
    Ok(Worker {
        queue: Arc::new(fleet.queue.clone()),
        store: Arc::new(fleet.db.clone()),
        crew: Arc::new(TaskTracker::new()),
        fleet,
        handler: Arc::new(Tasks),
        api: Api::new(api)?,
        settings,
        overlap: config.scheduler.bulk_overlap,
        brake: Brake { share: 1.0, min: 0 },
        care: Care {
            min_age: config.scheduler.spot_check_min_age,
            max_age: config.scheduler.spot_check_max_age,
            run_samples: config.scheduler.run_audit_samples,
            repairs_per_hour: config.scheduler.repairs_per_hour,
        },
        watch: Watch::new(&config.scheduler),
        lines: Lines::default(),
        settling: Settling::default(),
        metrics: Metrics::default(),
        chance: Mutex::new(StdRng::seed_from_u64(1)),
    })
}

/// The first batch of a lane that was never opened before.
async fn claimed(fleet: &Fleet, lane: &str) -> anyhow::Result<Batch> {
    let lane: Lane = lane.parse()?;
    common::fleet::open_lane(fleet, &lane).await?;
    loop {
        let claimed = fleet.queue.claim(Shard(0), std::slice::from_ref(&lane), 1).await?;
        if let Some(batch) = claimed.batches.into_iter().next() {
            return Ok(batch);
        }
        tokio::time::sleep(claimed.next.context("nothing waits")?).await;
    }
}
