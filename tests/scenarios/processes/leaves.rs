//! SIGTERM: a process first says that it is not ready, then ends what runs, then itself.
//!
//! Each asks at a connection of its own, as what stands in front does: a door that is shut already would
//! not answer.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;
use simulator::{Platform, RecordType};
use sqlx::{PgPool, PgTransaction};
use tests::config_file::EVENTBRITE_ENDPOINT;
use tests::http::Http;
use tests::program::Program;
use tests::scene::{Scene, Setup};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::verbs::{NO_SPOT_CHECKS, SCAN_PROFILES, edit, held, hold, mirrored};

/// Less than any process may take to drain.
const AT_ONCE: Duration = Duration::from_secs(8);
/// Time enough to be asked on a machine that is busy.
const LEAVE: &str = "3s";

/// A process, and where it says whether it is ready.
struct Member {
    program: Program,
    base: String,
}

impl Member {
    /// Starts it and waits until it is ready.
    async fn start(scene: &mut Scene, name: &str, leave: &str) -> anyhow::Result<Self> {
        let listen = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
        let section = name.to_uppercase();
        let (listens, leaves) =
            (format!("SYNCLINE__{section}__LISTEN"), format!("SYNCLINE__{section}__LEAVE"));
        let mut variables = vec![(listens.as_str(), listen.as_str())];
        if !leave.is_empty() {
            variables.push((leaves.as_str(), leave));
        }
        let program = scene.start_program(&format!("syncline-{name}"), &variables)?;
        let member = Self { program, base: format!("http://{listen}") };
        scene
            .until("it is ready", async |scene| {
                Ok(matches!(member.says(scene, "ready").await, Ok(StatusCode::OK)))
            })
            .await?;
        Ok(member)
    }

    async fn says(&self, scene: &Scene, what: &str) -> anyhow::Result<StatusCode> {
        let url = format!("{}/health/{what}", self.base);
        Ok(scene.http.send(apart(&scene.http, Method::GET, &url)).await?.0)
    }

    /// SIGTERM: soon it says that it is not ready, and until then nothing else. It lives on.
    async fn leaves(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        self.program.signal("TERM").await?;
        let this = &*self;
        scene
            .until("it is not ready", async |scene| {
                let said = this.says(scene, "ready").await.context("it does not answer")?;
                Ok(said == StatusCode::SERVICE_UNAVAILABLE)
            })
            .await?;
        assert_eq!(self.says(scene, "live").await?, StatusCode::OK);
        assert!(self.program.ended()?.is_none(), "something is under way");
        Ok(())
    }

    /// A second SIGTERM: it ends, whatever is under way.
    async fn ends_at_once(&mut self) -> anyhow::Result<()> {
        self.program.signal("TERM").await?;
        let ended = timeout(AT_ONCE, self.program.end()).await.context("it does not end")??;
        assert_eq!(ended.code(), Some(0));
        Ok(())
    }
}

/// A request over a connection that is nobody else's.
fn apart(http: &Http, method: Method, url: &str) -> RequestBuilder {
    http.request(method, url).header("connection", "close")
}

/// Whoever needs this table waits until the transaction ends.
async fn lock(scene: &Scene, statement: &'static str) -> anyhow::Result<PgTransaction<'static>> {
    let mut transaction = scene.db.begin().await?;
    sqlx::query(statement).execute(&mut *transaction).await?;
    Ok(transaction)
}

async fn waits_for_a_lock(scene: &mut Scene) -> anyhow::Result<()> {
    // Of this story's database alone.
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    scene.until("something waits", async |scene| Ok(scene.count(waiting).await? > 0)).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_worker_is_not_ready_and_ends_its_job(db: PgPool) -> anyhow::Result<()> {
    let settings = "[worker]\nlease = \"10m\"".to_owned();
    let mut scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    scene.start_ingress().await?;
    for second_signal in [false, true] {
        hold(&scene, Platform::Klaviyo, "/api/profiles", 1);
        let mut worker = Member::start(&mut scene, "worker", "").await?;
        let changed = edit(&scene, RecordType::Profile)?;
        held(&scene, 1).await?;
        worker.leaves(&mut scene).await?;
        if second_signal {
            worker.ends_at_once().await?;
        } else {
            scene.platforms.open_gate();
            assert_eq!(worker.program.end().await?.code(), Some(0));
            mirrored(&mut scene, &[changed]).await?;
        }
    }
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_scheduler_is_not_ready_and_ends_its_pass(db: PgPool) -> anyhow::Result<()> {
    let mut setup = Setup { settings: NO_SPOT_CHECKS.to_owned(), ..Setup::default() };
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    let mut scene = Scene::new(db, setup).await?;
    for second_signal in [true, false] {
        let runs = lock(&scene, "lock table bulk_runs in share mode").await?;
        let mut scheduler = Member::start(&mut scene, "scheduler", "").await?;
        waits_for_a_lock(&mut scene).await?;
        scheduler.leaves(&mut scene).await?;
        if second_signal {
            scheduler.ends_at_once().await?;
            runs.rollback().await?;
        } else {
            runs.rollback().await?;
            assert_eq!(scheduler.program.end().await?.code(), Some(0));
        }
        // The run that it was to begin is there only when the pass was let end.
        let begun = scene.count("select count(*) from bulk_runs").await?;
        assert_eq!(begun, i64::from(!second_signal));
    }
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn an_ingress_is_not_ready_and_takes_what_still_comes(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let inbox = lock(&scene, "lock table inbox in share mode").await?;
    let mut ingress = Member::start(&mut scene, "ingress", LEAVE).await?;
    let url = format!("{}/webhooks/eventbrite/{EVENTBRITE_ENDPOINT}", ingress.base);
    let webhook = |scene: &Scene, order: u32| {
        let body = json!({ "api_url": format!("https://www.eventbriteapi.com/v3/orders/{order}/"),
            "config": { "action": "order.updated", "user_id": "1", "webhook_id": "1" } });
        let request = apart(&scene.http, Method::POST, &url).body(body.to_string());
        let http = scene.http.clone();
        async move { http.send(request).await }
    };
    let mut answers = JoinSet::new();
    answers.spawn(webhook(&scene, 1_234_567_890));
    waits_for_a_lock(&mut scene).await?;
    ingress.leaves(&mut scene).await?;
    answers.spawn(webhook(&scene, 1_234_567_891));
    let both = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' having count(*) = 2";
    scene
        .until("the second is let in too", async |scene| {
            Ok(sqlx::query(both).fetch_optional(&scene.db).await?.is_some())
        })
        .await?;
    inbox.rollback().await?;
    while let Some(answer) = answers.join_next().await {
        assert_eq!(answer??.0, StatusCode::ACCEPTED);
    }
    assert_eq!(ingress.program.end().await?.code(), Some(0));
    assert_eq!(scene.count("select count(*) from inbox").await?, 2);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_console_is_not_ready_and_makes_its_page(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    let connections = lock(&scene, "lock table connections in access exclusive mode").await?;
    let mut console = Member::start(&mut scene, "console", LEAVE).await?;
    let (http, page) = (scene.http.clone(), apart(&scene.http, Method::GET, &console.base));
    let mut answers = JoinSet::new();
    answers.spawn(async move { http.send(page).await });
    waits_for_a_lock(&mut scene).await?;
    console.leaves(&mut scene).await?;
    connections.rollback().await?;
    let (status, page) = answers.join_next().await.context("it was asked")???;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert_eq!(console.program.end().await?.code(), Some(0));
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn who_waits_to_be_seen_ends_at_the_second_signal(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    for name in ["ingress", "console"] {
        let mut member = Member::start(&mut scene, name, "1m").await?;
        member.leaves(&mut scene).await?;
        member.ends_at_once().await?;
    }
    Ok(())
}
