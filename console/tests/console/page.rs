//! What the page and the API say.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use common::drift::ContentHash;
use common::fleet::Health;
use common::ids::Fence;
use common::job::{Job, JobId, Priority, Task};
use common::store::alerts::{self, Topic};
use common::store::bulk_runs::{self, NewRun};
use common::store::dead_letters::{NewDeadLetter, bury};
use common::store::habits::Planning;
use common::store::inbox::{self, Delivery, Source};
use common::store::records::{self, Finding, Look, Trigger, WriteBatch};
use common::store::{connections, now};
use console::Sources;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::scene::{Scene, config, get, lane, queue, send};

impl Scene {
    async fn enqueue(&self, lane_name: &str, id: &str, priority: Priority) {
        let task: Task = id.parse().unwrap();
        let job = Job { lane: lane(lane_name), task, priority, trace: String::new() };
        self.queue.enqueue(&[job]).await.unwrap();
    }

    async fn found(&self, id: &str, trigger: Trigger) {
        let payload = RawValue::from_string("{}".to_owned()).unwrap();
        let finding = Finding::Found {
            payload,
            hash: ContentHash([1; 16]),
            schema_version: 1,
            remote_version: None,
            rehash: None,
            diff: None,
        };
        let batch = WriteBatch {
            connection: self.klaviyo,
            record_type: "profile".into(),
            trigger,
            job_id: JobId::from("profile:a"),
            fence: Fence(1),
            fetched_at: now(&self.db).await.unwrap(),
            run: None,
            listed_since: None,
            looks: vec![Look { external_id: id.into(), finding }],
            close_notices: Vec::new(),
            confirm_after: Duration::from_secs(30),
            young: Duration::ZERO,
            planning: Planning::default(),
            repairs_per_hour: u32::MAX,
            trace: String::new(),
        };
        let mut tx = self.db.begin().await.unwrap();
        records::write(&mut tx, &batch).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn api(&self) -> (StatusCode, Value) {
        let answer = self.see("/api/status").await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }
}

/// A pool whose server is away.
fn nowhere() -> PgPool {
    PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(100))
        .connect_lazy("postgres://127.0.0.1:1/none")
        .unwrap()
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_parked_connection_is_shown_with_its_reason(db: PgPool) {
    let scene = Scene::new(db).await;
    connections::park(&scene.db, scene.klaviyo, "access was refused: 401").await.unwrap();
    scene.queue.pause(&lane("klaviyo/main")).await.unwrap();

    let page = scene.see("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("access was refused: 401"), "{}", page.body);
    assert!(page.body.contains("badge bad\">parked"), "{}", page.body);
    // The other one.
    assert!(page.body.contains("badge good\">working"), "{}", page.body);

    let (status, body) = scene.api().await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["connections"][0]["held"], serde_json::json!([]));
    assert_eq!(body["connections"][1]["name"], "klaviyo/main");
    assert_eq!(body["connections"][1]["held"][0]["hold"], "parked");
    assert_eq!(body["connections"][1]["held"].as_array().unwrap().len(), 1);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_strangers_wrote_is_text_and_never_markup(db: PgPool) {
    let scene = Scene::new(db).await;
    let reason = "<script>alert('x')</script>\" onload=\"x";
    connections::park(&scene.db, scene.klaviyo, reason).await.unwrap();

    let page = scene.see("/").await.body;
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(!page.contains("\" onload"), "{page}");
    assert!(page.contains("&#60;script&#62;alert"), "{page}");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_a_person_should_act_on_stands_above_all_else(db: PgPool) {
    let scene = Scene::new(db).await;
    assert!(!scene.see("/").await.body.contains("Alerts"));
    let of = |connection| Topic { connection, kind: "sender-off", subject: "" };
    for connection in [Some(scene.klaviyo), None] {
        let detail = serde_json::json!({});
        alerts::raise(&scene.db, of(connection), "nothing is sent", &detail).await.unwrap();
    }

    let page = scene.see("/").await.body;
    assert!(page.find("nothing is sent") < page.find("<h2>Connections"), "{page}");
    assert!(page.contains("the fleet"), "{page}");
    let (_, body) = scene.api().await;
    assert_eq!(body["alerts"][0]["connection"], "klaviyo/main");
    assert_eq!(body["alerts"][1]["connection"], Value::Null);

    alerts::clear(&scene.db, of(None)).await.unwrap();
    assert_eq!(scene.api().await.1["alerts"].as_array().unwrap().len(), 1);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_waits_and_what_holds_it_is_counted(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.enqueue("klaviyo/main", "profile:a", Priority::Webhook).await;
    scene.enqueue("klaviyo/main", "profile:b", Priority::SpotCheck).await;
    scene.enqueue("klaviyo/main", "profile:c", Priority::SpotCheck).await;
    scene.queue.freeze(&lane("klaviyo/main"), Duration::from_mins(10)).await.unwrap();
    scene.queue.pause(&lane("eventbrite/main")).await.unwrap();

    let (_, body) = scene.api().await;
    let klaviyo = &body["connections"][1];
    assert_eq!(klaviyo["queue"]["webhook"], 1);
    assert_eq!(klaviyo["queue"]["spot_check"], 2);
    assert_eq!(klaviyo["queue"]["bulk"], 0);
    assert_eq!(klaviyo["held"][0]["hold"], "frozen");
    assert!(klaviyo["held"][0]["for_seconds"].as_u64().unwrap() > 500);
    assert_eq!(body["connections"][0]["held"][0]["hold"], "paused");

    let page = scene.see("/").await.body;
    assert!(page.contains("frozen</span> <span class=\"quiet\">for 9m"), "{page}");
    assert!(page.contains("badge held\">paused"), "{page}");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_mirror_and_what_was_done_to_it_are_counted(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.found("a", Trigger::Webhook).await;
    scene.found("b", Trigger::Webhook).await;
    let notices = [("profile".into(), "c".into())];
    let delivery = Delivery {
        connection: scene.klaviyo,
        priority: Priority::Webhook,
        source: Source::Webhook,
        trace: "",
        notices: &notices,
    };
    inbox::accept(&scene.db, &delivery).await.unwrap();
    let letter = NewDeadLetter {
        connection: scene.klaviyo,
        job_id: JobId::from("profile:z"),
        priority: Priority::Bulk,
        attempts: 8,
        last_error: "status 500".to_owned(),
        first_seen: now(&scene.db).await.unwrap(),
        trace: String::new(),
    };
    bury(&scene.db, &letter, Duration::ZERO).await.unwrap();
    let run =
        NewRun { connection: scene.klaviyo, record_type: "profile".into(), changed_since: None };
    let run = bulk_runs::start(&scene.db, &run).await.unwrap().unwrap();

    let (_, body) = scene.api().await;
    let mirror = &body["connections"][1]["mirror"];
    assert_eq!(mirror["records"][0]["record_type"], "profile");
    assert_eq!(mirror["records"][0]["present"], 2);
    let operations =
        serde_json::json!([{ "trigger": "webhook", "outcome": "created", "count": 2 }]);
    assert_eq!(mirror["operations"], operations);
    assert_eq!(mirror["open_notices"], 1);
    assert_eq!(mirror["dead_letters"], 1);
    assert_eq!(body["bulk_runs"][0]["id"], run.0);
    assert_eq!(body["bulk_runs"][0]["state"], "running");

    bulk_runs::halt(&scene.db, run, "too many would go").await.unwrap();
    let page = scene.see("/").await.body;
    assert!(page.contains("too many would go"), "{page}");
    assert!(page.contains("created"), "{page}");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn without_redis_the_page_says_so_and_shows_what_postgres_knows(db: PgPool) {
    let mut scene = Scene::new(db).await;
    scene.queue = queue("redis://127.0.0.1:1");
    scene.found("a", Trigger::Webhook).await;

    let page = scene.see("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("Nothing from Redis"), "{}", page.body);
    assert!(page.body.contains("profile"), "{}", page.body);
    assert!(page.body.contains("not known"), "{}", page.body);

    let (status, body) = scene.api().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["redis"]["answers"], false);
    assert_eq!(body["postgres"]["answers"], true);
    assert_eq!(body["connections"][1]["queue"], Value::Null);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn without_postgres_the_page_says_so_and_shows_what_waits(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.enqueue("klaviyo/main", "profile:a", Priority::Webhook).await;
    let lanes = vec![lane("klaviyo/main")];
    let sources =
        Sources { db: nowhere(), queue: scene.queue.clone(), lanes, limits: BTreeMap::new() };
    let console = console::router(sources, &config(""), &Health::default());

    let page = send(&console, get("/")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("Nothing from Postgres"), "{}", page.body);

    let answer = send(&console, get("/api/status")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["at"], Value::Null);
    assert_eq!(body["connections"][0]["queue"]["webhook"], 1);
    assert_eq!(body["bulk_runs"], Value::Null);
}

#[sqlx::test(migrations = false)]
async fn a_database_that_was_not_migrated_is_named_as_the_trouble(db: PgPool) {
    let url = std::env::var("REDIS_URL").unwrap();
    let sources = Sources { db, queue: queue(&url), lanes: Vec::new(), limits: BTreeMap::new() };
    let console = console::router(sources, &config(""), &Health::default());
    let page = send(&console, get("/")).await;
    assert!(page.body.contains("does not exist"), "{}", page.body);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn all_who_look_at_once_cost_one_look_at_the_stores(db: PgPool) {
    let scene = Scene::new(db).await;
    let console = scene.console("");
    let first = send(&console, get("/api/status")).await.body;
    let second = send(&console, get("/api/status")).await.body;
    assert_eq!(first, second, "the stores were asked again within a moment");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn how_wrong_the_mirror_is_stands_beside_its_records(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.found("a", Trigger::Webhook).await;
    sqlx::query(
        "insert into quality_hours (connection_id, record_type, hour, samples, wrong, set_aside)
         values ($1, 'profile', floor(extract(epoch from clock_timestamp()) / 3600), 100, 2, 1)",
    )
    .bind(scene.klaviyo.0)
    .execute(&scene.db)
    .await
    .unwrap();
    let (_, body) = scene.api().await;
    let drift = &body["connections"][1]["mirror"]["records"][0]["drift"];
    assert_eq!((drift["samples"].as_u64(), drift["wrong"].as_u64()), (Some(100), Some(2)));
    assert!(drift["at_most"].as_f64().unwrap() > 0.02, "{drift}");
    let page = scene.see("/").await.body;
    assert!(page.contains("98.00"), "{page}");
}
