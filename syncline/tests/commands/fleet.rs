//! The commands that work on the stores. Each test has a database of its own, and connections
//! whose names no other test uses: in Redis, lanes share nothing but the list of them.

use std::{env, fs};

use common::fleet::open_queue;
use common::ids::{ConnectionId, Lane};
use common::job::{JobId, Priority};
use common::queue::RedisQueue;
use common::store::bulk_runs;
use common::store::connections::{NewConnection, upsert};
use common::store::dead_letters::{NewDeadLetter, bury, count};
use common::store::{MIGRATIONS, alerts, inbox, migrate, now};
use serde_json::json;
use sqlx::PgPool;
use url::Url;
use uuid::Uuid;

use crate::run::{Ended, syncline};

/// A database of Redis that fleets under test do not look into.
const REDIS_DATABASE: &str = "/13";

struct Scene {
    db: PgPool,
    lane: Lane,
    connection: ConnectionId,
}

pub(crate) fn redis_url() -> String {
    let url = env::var("REDIS_URL").expect("REDIS_URL: `cargo xtask test` sets it");
    let mut url: Url = url.parse().unwrap();
    url.set_path(REDIS_DATABASE);
    url.to_string()
}

pub(crate) fn database_url(db: &PgPool) -> String {
    let url = env::var("DATABASE_URL").expect("DATABASE_URL: `cargo xtask test` sets it");
    let mut url: Url = url.parse().unwrap();
    url.set_path(db.connect_options().get_database().unwrap());
    url.to_string()
}

fn call(db: &PgPool, arguments: &[&str]) -> Ended {
    let (redis, postgres) = (redis_url(), database_url(db));
    syncline(arguments, &[("REDIS_URL", &redis), ("DATABASE_URL", &postgres)], b"")
}

impl Scene {
    async fn new(db: PgPool) -> Self {
        migrate(&db).await.unwrap();
        let lane: Lane = format!("klaviyo/t-{}", Uuid::now_v7()).parse().unwrap();
        let new = NewConnection {
            lane: lane.clone(),
            account: "XyZ123".to_owned(),
            endpoint_hash: [7; 32],
        };
        let connection = upsert(&db, &[new]).await.unwrap()[0].id;
        Self { db, lane, connection }
    }

    fn call(&self, arguments: &[&str]) -> Ended {
        call(&self.db, arguments)
    }

    /// Calls it with `--connection` and expects that it does its work.
    fn on_connection(&self, arguments: &[&str]) -> Ended {
        let mut all = arguments.to_vec();
        all.extend(["--connection", self.lane.as_str()]);
        let ended = self.call(&all);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended
    }

    async fn queue(&self) -> RedisQueue {
        let (redis, postgres) = (redis_url(), database_url(&self.db));
        let environment = [("REDIS_URL", redis), ("DATABASE_URL", postgres)]
            .map(|(name, value)| (name.to_owned(), value));
        let config = common::config::Config::from_parts(None, &environment.into()).unwrap();
        open_queue(&config, config.redis.wait).await.unwrap()
    }

    async fn give_up(&self, job: &str) {
        let letter = NewDeadLetter {
            connection: self.connection,
            job_id: JobId::from(job),
            priority: Priority::Bulk,
            attempts: 8,
            last_error: "status \u{1b}[31m500".to_owned(),
            first_seen: now(&self.db).await.unwrap(),
            trace: String::new(),
        };
        bury(&self.db, &letter, std::time::Duration::ZERO).await.unwrap();
    }
}

#[sqlx::test(migrations = false)]
async fn an_empty_database_is_migrated_and_then_has_a_status(db: PgPool) {
    let before = call(&db, &["status"]);
    assert_eq!((before.code, before.out.as_str()), (1, ""));
    assert!(before.err.contains("run syncline migrate"), "{before:?}");

    for _ in 0..2 {
        let ended = call(&db, &["migrate"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap();
        assert!(ended.out.contains(&format!("up to date: version {newest}")), "{ended:?}");
    }

    let status = call(&db, &["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert!(status.out.contains("no record is mirrored yet"), "{status:?}");
    let empty = json!({
        "connections": [], "records": [], "operations_last_hour": [], "backlog": [],
        "bulk_runs": [], "scheduler": null, "quality_last_day": [],
        "flipping_fields": [],
    });
    assert_eq!(call(&db, &["status", "--json"]).json(), empty);
}

#[sqlx::test(migrations = false)]
async fn parking_is_remembered_with_its_reason_and_holds_the_lane(db: PgPool) {
    let scene = Scene::new(db).await;
    let lane = scene.lane.as_str();
    let parked = scene.call(&["connections", "park", lane, "--reason", "the key is rotated"]);
    assert_eq!(parked.code, 0, "{parked:?}");
    let listed = scene.call(&["connections", "list", "--json"]).json();
    assert_eq!(listed[0]["parked"]["reason"], "the key is rotated");
    assert_eq!(scene.on_connection(&["depths", "--json"]).json()[0]["paused"], true);

    // A second time says what the first one did, and changes nothing.
    let again = scene.call(&["connections", "park", lane, "--reason", "another"]);
    assert!(again.out.contains("the key is rotated"), "{again:?}");
    let refused = scene.call(&["resume", "--connection", lane]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("connections unpark"), "{refused:?}");

    assert_eq!(scene.call(&["connections", "unpark", lane]).code, 0);
    assert_eq!(scene.on_connection(&["depths", "--json"]).json()[0]["paused"], false);
    let listed = scene.call(&["connections", "list", "--json"]).json();
    assert_eq!(listed[0]["parked"], json!(null));
}

#[sqlx::test(migrations = false)]
async fn alerts_are_listed_while_they_are_open_and_afterwards_on_demand(db: PgPool) {
    let scene = Scene::new(db).await;
    assert_eq!(scene.call(&["alerts"]).out.trim(), "there are none");
    let topic =
        alerts::Topic { connection: Some(scene.connection), kind: "sender-off", subject: "hook-1" };
    let detail = json!({ "failed": 3 });
    alerts::raise(&scene.db, topic, "it sends \u{1b}[31mnothing", &detail).await.unwrap();

    let table = scene.call(&["alerts"]).out;
    assert!(table.contains("sender-off hook-1") && !table.contains('\u{1b}'), "{table}");
    let listed = scene.call(&["alerts", "--json"]).json();
    assert_eq!(listed[0]["connection"], scene.lane.as_str());
    assert_eq!((&listed[0]["detail"], &listed[0]["count"]), (&detail, &json!(1)));

    alerts::clear(&scene.db, topic).await.unwrap();
    assert_eq!(scene.call(&["alerts", "--json"]).json(), json!([]));
    assert!(scene.call(&["alerts", "--all", "--json"]).json()[0]["cleared_at"].is_string());
}

#[sqlx::test(migrations = false)]
async fn a_pause_lasts_until_it_is_ended(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.on_connection(&["pause"]);
    assert!(scene.on_connection(&["depths"]).out.contains("paused"));
    scene.on_connection(&["resume"]);
    assert!(!scene.on_connection(&["depths"]).out.contains("paused"));
}

#[sqlx::test(migrations = false)]
async fn a_connection_that_does_not_exist_is_answered_with_those_that_do(db: PgPool) {
    let scene = Scene::new(db).await;
    let ended = scene.call(&["pause", "--connection", "klaviyo/other"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains(scene.lane.as_str()), "{ended:?}");
}

#[sqlx::test(migrations = false)]
async fn a_check_is_written_down_and_waits_as_manual(db: PgPool) {
    let scene = Scene::new(db).await;
    let ended = scene.on_connection(&["check", "--record-type", "profile", "01A", "01B", "01A"]);
    assert!(ended.out.starts_with("2 profiles"), "{ended:?}");
    assert_eq!(inbox::count_open(&scene.db, scene.connection).await.unwrap(), 2);
    let depths = scene.queue().await.depths(&scene.lane).await.unwrap();
    assert_eq!(depths.ready, [0, 2, 0, 0]);

    let source: Vec<String> =
        sqlx::query_scalar("select distinct source from inbox").fetch_all(&scene.db).await.unwrap();
    assert_eq!(source, ["manual"]);
}

#[sqlx::test(migrations = false)]
async fn one_run_of_a_record_type_is_started_at_a_time(db: PgPool) {
    let scene = Scene::new(db).await;
    let started = scene.on_connection(&["sync", "--record-type", "profile"]);
    assert!(started.out.contains("everything: no run before it has ended"), "{started:?}");
    let depths = scene.queue().await.depths(&scene.lane).await.unwrap();
    assert_eq!(depths.ready, [0, 0, 1, 0]);

    let arguments = ["sync", "--record-type", "profile", "--connection", scene.lane.as_str()];
    let refused = scene.call(&arguments);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("is being read already (run 1, 0 pages"), "{refused:?}");

    // Once it is done, the next one reads what changed since.
    let run = bulk_runs::latest(&scene.db, 1).await.unwrap()[0].id;
    bulk_runs::finish(&scene.db, run, std::time::Duration::ZERO).await.unwrap();
    let next = scene.on_connection(&["sync", "--record-type", "profile", "--changes"]);
    assert!(next.out.contains("what changed since"), "{next:?}");
}

#[sqlx::test(migrations = false)]
async fn a_run_reaches_back_to_a_time_and_never_leaves_a_gap(db: PgPool) {
    let scene = Scene::new(db).await;
    let refused = |arguments: &[&str]| {
        let lane = ["--connection", scene.lane.as_str()];
        let ended = scene.call(&[arguments, &lane].concat());
        assert_eq!(ended.code, 1, "{ended:?}");
        ended.err
    };
    let events = ["sync", "--record-type", "event"];
    assert!(refused(&[&events[..], &["--full"]].concat()).contains("only read for hints"));
    let future = refused(&[&events[..], &["--since", "2999-01-01T00:00:00Z"]].concat());
    assert!(future.contains("in the future"), "{future}");
    let check = refused(&["check", "--record-type", "event", "5ex"]);
    assert!(check.contains("only read for hints"), "{check}");
    let first = refused(&["sync", "--record-type", "profile", "--since", "2026-01-01T00:00:00Z"]);
    assert!(first.contains("no run of profile has ended yet"), "{first}");

    let end = async || {
        let run = bulk_runs::latest(&scene.db, 1).await.unwrap()[0].clone();
        bulk_runs::finish(&scene.db, run.id, std::time::Duration::ZERO).await.unwrap();
        run
    };
    let sync = |more: &[&str]| scene.on_connection(&[&events[..], more].concat());
    assert!(sync(&[]).out.contains("from now on"));
    assert_eq!(end().await.changed_since, None);
    let long_ago = sync(&["--since", "2020-01-01T00:00:00Z"]);
    assert!(long_ago.out.contains("what changed since 2020-01-01"), "{long_ago:?}");
    assert_eq!(end().await.changed_since, Some("2020-01-01T00:00:00Z".parse().unwrap()));
    // What came after the last run is read, even when less is asked for.
    let watermark = bulk_runs::latest(&scene.db, 1).await.unwrap()[0].watermark.unwrap();
    let now: String = sqlx::query_scalar(
        "select to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    )
    .fetch_one(&scene.db)
    .await
    .unwrap();
    sync(&["--since", &now]);
    assert!(end().await.changed_since.unwrap() <= watermark);
}

#[sqlx::test(migrations = false)]
async fn a_dead_letter_is_replayed_as_a_persons_request(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.give_up("profile:a").await;
    scene.give_up("profile:b").await;
    scene.give_up("scan@profile").await;

    let listed = scene.call(&["dead-letters", "list", "--json"]).json();
    assert_eq!(listed[0]["job"], "profile:a");
    let shown = scene.call(&["dead-letters", "show", "1"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.out.contains("500") && !shown.out.contains('\u{1b}'), "{shown:?}");

    let dry = scene.call(&["dead-letters", "replay", "--all", "--dry-run"]);
    assert!(dry.out.contains("3 would be replayed"), "{dry:?}");
    assert_eq!(count(&scene.db).await.unwrap(), 3);

    for (filter, found) in [
        (["--record-type", "profile"], 3),
        (["--record-type", "list"], 0),
        (["--error", "500"], 3),
        (["--error", "no such error"], 0),
    ] {
        let dry = [&["dead-letters", "discard", "--dry-run"][..], &filter].concat();
        let dry = scene.call(&dry);
        assert!(dry.out.contains(&format!("{found} would be discarded")), "{filter:?} {dry:?}");
    }

    let missing = scene.call(&["dead-letters", "replay", "1", "99"]);
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("there is no dead letter 99"), "{missing:?}");
    assert_eq!(count(&scene.db).await.unwrap(), 3);

    assert_eq!(scene.call(&["dead-letters", "replay", "1"]).out, "1 replayed\n");
    assert_eq!(count(&scene.db).await.unwrap(), 2);
    assert_eq!(inbox::count_open(&scene.db, scene.connection).await.unwrap(), 1);
    let depths = scene.queue().await.depths(&scene.lane).await.unwrap();
    assert_eq!(depths.ready, [0, 1, 0, 0]);

    // A page of a scan needs a run that it belongs to.
    scene.on_connection(&["dead-letters", "replay"]);
    assert_eq!(count(&scene.db).await.unwrap(), 0);
    let depths = scene.queue().await.depths(&scene.lane).await.unwrap();
    assert_eq!(depths.ready, [0, 2, 1, 0]);
    assert_eq!(bulk_runs::all_running(&scene.db).await.unwrap().len(), 1);
}

#[sqlx::test(migrations = false)]
async fn what_is_discarded_leaves_no_work_behind(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.give_up("profile:a").await;
    scene.give_up("profile:b").await;
    assert_eq!(scene.call(&["dead-letters", "discard", "2"]).out, "1 discarded\n");
    assert_eq!(count(&scene.db).await.unwrap(), 1);
    assert_eq!(scene.on_connection(&["dead-letters", "discard"]).out, "1 discarded\n");
    assert_eq!(inbox::count_open(&scene.db, scene.connection).await.unwrap(), 0);
}

#[sqlx::test(migrations = false)]
async fn a_person_is_told_why_a_record_is_not_fresh(db: PgPool) {
    let scene = Scene::new(db).await;
    let lane = scene.lane.as_str();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("syncline.toml");
    let secrets = "token_env = \"T\"\nwebhook_secret_env = \"W\"\nendpoint_id_env = \"E\"";
    fs::write(&file, format!("[connections.\"{lane}\"]\n{secrets}\n")).unwrap();
    let explain = |words: &[&str]| {
        let mut all = vec!["--config", file.to_str().unwrap(), "explain", lane];
        all.extend(words);
        scene.call(&all)
    };
    scene.on_connection(&["check", "--record-type", "profile", "01A", "01B"]);
    let ended = explain(&["profile", "01B", "--json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = ended.json();
    assert_eq!(told["queue"]["job"]["state"], "ready", "{told:#}");
    assert_eq!(told["queue"]["job"]["priority"], "manual");
    assert_eq!(told["queue"]["job"]["ahead"], 1);
    assert_eq!(told["queue"]["held_by"][0]["what"], "ledger-closed", "it is new: {told:#}");
    assert_eq!(told["open_notices"], 1);
    assert_eq!(told["mirror"], json!(null));

    scene.call(&["connections", "park", lane, "--reason", "the key is rotated"]);
    scene.give_up("profile:01C").await;
    let parked = explain(&["profile:01C"]);
    for part in ["the key is rotated", "does not wait in Redis", "paused", "dead-letters replay 1"]
    {
        assert!(parked.out.contains(part), "{part}: {}", parked.out);
    }
    assert!(!parked.out.contains('\u{1b}'), "{parked:?}");
    let unknown = explain(&["order:1"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("no such record type on klaviyo"), "{unknown:?}");
}

#[test]
fn a_redis_that_is_away_is_named() {
    let variables = [
        ("REDIS_URL", "redis://:a-password@127.0.0.1:1"),
        ("DATABASE_URL", &env::var("DATABASE_URL").unwrap()),
        ("SYNCLINE__REDIS__WAIT", "1s"),
    ];
    let ended = syncline(&["depths"], &variables, b"");
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("redis.url"), "{ended:?}");
    assert!(!ended.err.contains("a-password"), "{ended:?}");
}

#[sqlx::test(migrations = false)]
async fn a_field_is_excluded_with_one_command_and_taken_back_with_another(db: PgPool) {
    let scene = Scene::new(db).await;
    let lane = scene.lane.as_str();
    let field = ["exclude-field", lane, "profile", "/attributes/last_seen"];
    let ended = scene.call(&field);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    let shown = scene.call(&["drift", "--json"]).json();
    assert_eq!(shown["excluded_fields"][0]["pointer"], "/attributes/last_seen");
    assert!(scene.call(&["drift"]).out.contains("/attributes/last_seen"));

    let undo = [&field[..], &["--undo"]].concat();
    assert_eq!(scene.call(&undo).code, 0);
    let again = scene.call(&undo);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("is not excluded"), "{again:?}");
    for (record_type, pointer, told) in
        [("profile", "last_seen", "no JSON Pointer"), ("nothing", "/a", "no such record type")]
    {
        let ended = scene.call(&["exclude-field", lane, record_type, pointer]);
        assert_eq!(ended.code, 1);
        assert!(ended.err.contains(told), "{ended:?}");
    }
}

#[sqlx::test(migrations = false)]
async fn what_if_questions_are_answered_for_the_mirror_too(db: PgPool) {
    let scene = Scene::new(db).await;
    let question = ["plan", "--budget", "100/hour", "--json"];
    let mut all = question.to_vec();
    all.extend(["--connection", scene.lane.as_str()]);
    let nothing = scene.call(&all);
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("no record"), "{nothing:?}");
    sqlx::query(
        "insert into external_integrations
                (connection_id, record_type, external_id, schema_version, flags, fetched_at, fence,
                 first_seen_at, changed_at, last_verified_at, checks, changes)
         select $1, 'profile', n::text, 1, 0, now(), 1, now(), now(), now(), 1, 0
           from generate_series(1, 300) as n",
    )
    .bind(scene.connection.0)
    .execute(&scene.db)
    .await
    .unwrap();
    let answer = scene.on_connection(&question).json();
    let records = answer["records"].as_f64().unwrap();
    assert!((records - 300.0).abs() < 20.0, "{answer}");
    assert!(answer["fresh_share"].as_f64() > answer["uniform_fresh_share"].as_f64(), "{answer}");
}
