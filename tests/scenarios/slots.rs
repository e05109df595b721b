//! Who gets a worker's slots when all are busy.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use common::job::{Job, Priority, Task};
use common::queue::Outcome;
use common::store;
use simulator::{Platform, RecordType};
use sqlx::PgPool;
use tests::bench::crew::{ALONE, Crew, Stores};
use tests::config_file::EVENTBRITE;
use tests::scene::{Scene, Setup, database_url};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use worker::handlers::{Failure, Handler, Work};
use worker::outcome::Then;

use crate::verbs::{NO_SPOT_CHECKS, arrived, edit, edit_again, held, hold, mirrored, records};

const PATIENCE: Duration = Duration::from_secs(30);

/// Tells of each job that begins, and lets none end before it is told to.
#[derive(Debug)]
struct Held {
    began: mpsc::UnboundedSender<Priority>,
    let_go: Arc<Semaphore>,
}

#[async_trait]
impl Handler for Held {
    async fn run(&self, work: &Work<'_>) -> Result<Vec<Then>, Failure> {
        self.began.send(work.priority).unwrap();
        drop(self.let_go.acquire().await);
        Ok(work.jobs.iter().map(|_| Then::Settle(Outcome::Ack)).collect())
    }
}

#[sqlx::test(migrations = false)]
async fn a_webhook_does_not_wait_until_a_bulk_job_ends(db: PgPool) -> anyhow::Result<()> {
    store::migrate(&db).await?;
    let stores = Stores { redis_url: env::var("REDIS_URL")?, database_url: database_url(&db) };
    let (began, mut beginnings) = mpsc::unbounded_channel();
    let let_go = Arc::new(Semaphore::new(0));
    let crew =
        Crew::start(&stores, 1, Arc::new(Held { began, let_go: Arc::clone(&let_go) })).await?;
    let jobs = |priority, ids: std::ops::Range<u32>| -> anyhow::Result<Vec<Job>> {
        ids.map(|id| {
            let task: Task = format!("{ALONE}:{id}").parse()?;
            Ok(Job { lane: crew.lane.clone(), task, priority, trace: String::new() })
        })
        .collect()
    };
    let mut next = async || {
        timeout(PATIENCE, beginnings.recv()).await.context("nothing began")?.context("ended")
    };

    crew.queue.enqueue(&jobs(Priority::Bulk, 0..40)?).await?;
    for _ in 0..16 {
        assert_eq!(next().await?, Priority::Bulk);
    }
    for id in [100, 101] {
        crew.queue.enqueue(&jobs(Priority::Webhook, id..id + 1)?).await?;
        assert_eq!(next().await?, Priority::Webhook, "a slot was kept for it");
    }
    crew.queue.enqueue(&jobs(Priority::Webhook, 102..103)?).await?;

    let_go.close();
    assert_eq!(next().await?, Priority::Webhook, "and this one was next");
    for _ in 16..40 {
        assert_eq!(next().await?, Priority::Bulk);
    }
    crew.end().await
}

/// Eventbrite answers nothing, and this many of its orders have changed, each a request.
const SLOW_ORDERS: usize = 12;

#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn a_platform_that_does_not_answer_leaves_slots_to_the_others(
    db: PgPool,
) -> anyhow::Result<()> {
    let worker = "[worker]\nconcurrency = 4\nurgent_slots = 2\nplatform_share = 0.75\n\
        [api]\nread_timeout = \"60s\"\nwhole_timeout = \"60s\"\n";
    let mut setup = Setup { settings: format!("{NO_SPOT_CHECKS}{worker}"), ..Setup::default() };
    setup.simulator.eventbrite.orders = SLOW_ORDERS;
    setup.eventbrite = setup.eventbrite.replace("limit = 100000", "limit = 3000000");
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    let orders = records(&scene, RecordType::Order);
    assert_eq!(orders.len(), SLOW_ORDERS);
    scene.start_worker();
    // A new bucket is empty.
    edit_again(&scene, &orders[0])?;
    mirrored(&mut scene, &orders[..1]).await?;
    hold(&scene, Platform::Eventbrite, "/v3/", u64::MAX);
    for order in &orders {
        edit_again(&scene, order)?;
    }
    // Three of four slots, and one of the two that are kept for webhooks.
    held(&scene, 4).await?;
    arrived(&mut scene, Platform::Eventbrite, SLOW_ORDERS as u64 + 1).await?;

    for _ in 0..5 {
        let changed = edit(&scene, RecordType::Profile)?;
        mirrored(&mut scene, &[changed]).await?;
    }
    assert_eq!(scene.platforms.gate_state().held, 4, "and no more");

    // Each slot that it gets back is used at once: nobody sleeps until he looks by himself.
    scene.platforms.open_gate();
    let opened = Instant::now();
    mirrored(&mut scene, &orders).await?;
    assert!(opened.elapsed() < Duration::from_secs(4), "{:?}", opened.elapsed());
    scene.comes_to_rest(EVENTBRITE).await
}
