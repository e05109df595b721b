//! Writing the mirror.

use std::time::Duration;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::ids::{ExternalId, Fence};
use common::store::records::{Finding, Flags, Look, MAX_LOOKS, Outcome, suspected};
use common::store::{StoreError, operations};
use jiff::Timestamp;
use serde_json::value::RawValue;
use sqlx::PgPool;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::scene::{Scene, found, found_as, missing, unclear};

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_moved_without_a_change_that_counts_is_mirrored_too(db: PgPool) {
    let scene = Scene::new(db).await;
    let version = |n: i64| Some(Timestamp::from_second(n).unwrap());
    // when, the payload, its version, the payload that is mirrored afterwards; one hash for all
    for (seconds, seen, moved, mirrored) in [
        (0, r#"{"n": 1}"#, version(1), 1),
        (1, r#"{"n": 2}"#, version(1), 1),
        (2, r#"{"n": 3}"#, version(2), 3),
    ] {
        let mut look = found("a", 1);
        if let Finding::Found { payload, remote_version, .. } = &mut look.finding {
            *payload = RawValue::from_string(seen.to_owned()).unwrap();
            *remote_version = moved;
        }
        scene.look(seconds, look).await;
        let n: i32 = sqlx::query_scalar("select (payload->>'n')::int from external_integrations")
            .fetch_one(&scene.db)
            .await
            .unwrap();
        assert_eq!(n, mirrored, "at {seconds}");
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn an_older_fetch_that_finishes_after_a_newer_one_is_refused(db: PgPool) {
    let scene = Scene::new(db).await;
    assert_eq!(scene.look(2, found("a", 2)).await.outcome, Outcome::Created);
    assert_eq!(scene.look(1, found("a", 1)).await.outcome, Outcome::Stale);
    assert_eq!(scene.look(1, missing("a")).await.outcome, Outcome::Stale);
    assert_eq!(scene.mirrored("a").await, Some((Some(r#"{"n": 2}"#.to_owned()), Flags(0))));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn an_older_fetch_does_not_bring_back_what_a_newer_one_found_missing(db: PgPool) {
    let scene = Scene::new(db).await;
    assert_eq!(scene.look(2, missing("a")).await.outcome, Outcome::Absent);
    assert_eq!(scene.look(1, found("a", 1)).await.outcome, Outcome::Stale);
    assert_eq!(scene.mirrored("a").await, Some((None, Flags::DELETED)));
    assert_eq!(scene.look(3, found("a", 1)).await.outcome, Outcome::Created);
    assert_eq!(scene.mirrored("a").await, Some((Some(r#"{"n": 1}"#.to_owned()), Flags(0))));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_fence_decides_between_fetches_of_one_instant(db: PgPool) {
    let scene = Scene::new(db).await;
    // fence, content, what becomes of it
    for (fence, content, expected) in [
        (5, 1, Outcome::Created),
        (4, 2, Outcome::Stale),
        (6, 3, Outcome::Changed),
        (6, 3, Outcome::Unchanged),
        (5, 1, Outcome::Stale),
    ] {
        let mut batch = scene.fetch(1, vec![found("a", content)]);
        batch.fence = Fence(fence);
        let verdict = scene.write(&batch).await.unwrap()[0];
        assert_eq!(verdict.outcome, expected, "fence {fence}, content {content}");
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn two_looks_make_a_tombstone_and_a_third_brings_the_record_back(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.look(0, found("a", 1)).await;
    // when, what was found, what becomes of it, the flags afterwards
    for (seconds, look, expected, flags) in [
        (10, missing("a"), Outcome::Suspected, Flags::SUSPECTED),
        (39, missing("a"), Outcome::Suspected, Flags::SUSPECTED),
        (40, missing("a"), Outcome::Deleted, Flags::DELETED),
        (50, missing("a"), Outcome::Unchanged, Flags::DELETED),
        (60, found("a", 1), Outcome::Restored, Flags(0)),
        (70, missing("a"), Outcome::Suspected, Flags::SUSPECTED),
        (80, found("a", 1), Outcome::Unchanged, Flags(0)),
        (120, missing("a"), Outcome::Suspected, Flags::SUSPECTED),
    ] {
        assert_eq!(scene.look(seconds, look).await.outcome, expected, "at {seconds}");
        assert_eq!(scene.mirrored("a").await.unwrap().1, flags, "at {seconds}");
    }
    let waiting = suspected(&scene.db, scene.connection, &scene.record_type, Duration::ZERO, 10)
        .await
        .unwrap();
    assert_eq!(waiting, [ExternalId::from("a")]);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_is_gone_for_good_gets_its_tombstone_at_once(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.look(0, found("a", 1)).await;
    let gone = || Look { external_id: "a".into(), finding: Finding::Gone };
    assert_eq!(scene.look(1, gone()).await.outcome, Outcome::Deleted);
    assert_eq!(scene.mirrored("a").await.unwrap().1, Flags::DELETED);
    assert_eq!(scene.look(2, gone()).await.outcome, Outcome::Unchanged);
    assert_eq!(scene.look(3, found("a", 1)).await.outcome, Outcome::Restored);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_is_out_of_reach_stays_as_it_is_and_is_left_alone_with_its_siblings(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    let ids = ["1/a", "1/b", "2/c", "1"];
    scene.write(&scene.fetch(0, ids.map(|id| found(id, 1)).to_vec())).await.unwrap();
    let due = async || scene.due().await;
    assert_eq!(due().await.len(), 4);
    let finding = Finding::OutOfReach { reason: "403 50001".to_owned() };
    let verdict = scene.look(1, Look { external_id: "1/a".into(), finding }).await;
    assert_eq!(verdict.outcome, Outcome::Unclear);
    assert_eq!(scene.mirrored("1/a").await.unwrap().1, Flags(0));
    assert_eq!(due().await, ["1", "2/c"]);
    // We get at it again: it is its turn like any other.
    scene.look(2, found("1/a", 1)).await;
    assert_eq!(due().await, ["1", "1/a", "2/c"]);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_look_that_is_unclear_writes_history_and_nothing_else(db: PgPool) {
    let scene = Scene::new(db).await;
    assert_eq!(scene.look(1, unclear("a")).await.outcome, Outcome::Unclear);
    assert_eq!(scene.mirrored("a").await, None);
    let history =
        operations::history(&scene.db, scene.connection, &scene.record_type, &"a".into(), 10)
            .await
            .unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].detail.as_deref(), Some(r#"{"reason": "too young"}"#));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn hashes_of_two_schema_versions_are_not_compared(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(1, found("a", 1)).await;
    let mut look = found("a", 2);
    if let Finding::Found { schema_version, .. } = &mut look.finding {
        *schema_version = 2;
    }
    assert_eq!(scene.look(2, look.clone()).await.outcome, Outcome::Rehashed);
    assert_eq!(scene.look(3, look).await.outcome, Outcome::Unchanged);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_jsonb_refuses_does_not_stop_the_page_it_is_on(db: PgPool) {
    let scene = Scene::new(db).await;
    let looks = vec![
        found_as("nul", 1, r#"{"name": "a\u0000b"}"#),
        found_as("half", 1, r#"{"name": "\ud83d"}"#),
        found_as("huge", 1, r#"{"n": 1e200000}"#),
        found_as("pair", 1, r#"{"name": "\ud83d\ude00"}"#),
    ];
    let verdicts = scene.write(&scene.fetch(1, looks)).await.unwrap();
    assert!(verdicts.iter().all(|verdict| verdict.outcome == Outcome::Created));
    for (id, expected) in [
        ("nul", "{\"name\": \"a\u{fffd}b\"}"),
        ("half", "{\"name\": \"\u{fffd}\"}"),
        ("huge", r#"{"n": "1e200000"}"#),
        ("pair", "{\"name\": \"\u{1f600}\"}"),
    ] {
        let (payload, _) = scene.mirrored(id).await.unwrap();
        assert_eq!(payload.as_deref(), Some(expected), "{id}");
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_record_that_occurs_twice_in_a_batch_is_written_once_as_seen_last(db: PgPool) {
    let scene = Scene::new(db).await;
    let looks = vec![found("a", 1), found("b", 1), found("a", 2)];
    let verdicts = scene.write(&scene.fetch(1, looks)).await.unwrap();
    assert_eq!(verdicts.len(), 3);
    assert!(verdicts.iter().all(|verdict| verdict.outcome == Outcome::Created));
    assert_eq!(scene.mirrored("a").await.unwrap().0.as_deref(), Some(r#"{"n": 2}"#));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_write_with_too_many_looks_is_refused(db: PgPool) {
    let scene = Scene::new(db).await;
    let looks = (0..=MAX_LOOKS).map(|n| missing(&n.to_string())).collect();
    let error = scene.write(&scene.fetch(1, looks)).await.unwrap_err();
    assert!(matches!(error, StoreError::TooManyLooks { .. }));
}

/// Counts the statements that this thread sends.
struct Statements(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_thousand_records_take_as_many_statements_as_one(db: PgPool) {
    let scene = Scene::new(db).await;
    let count = Arc::new(AtomicUsize::new(0));
    let layer = Statements(Arc::clone(&count));
    let subscriber = tracing_subscriber::registry().with(layer);
    let _guard = tracing::subscriber::set_default(subscriber);

    let mut taken = Vec::new();
    for (content, size) in [(1, 1), (2, 1_000), (3, 1_000)] {
        let ids: Vec<String> = (0..size).map(|n| format!("{n:04}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        scene.notice(&ids).await;
        let open = scene.open(&ids).await;
        let looks: Vec<Look> = ids.iter().map(|id| found(id, content)).collect();
        let mut batch = scene.fetch(i64::from(content), looks);
        batch.close_notices = open.notices.iter().map(|notice| notice.id).collect();

        let before = count.load(Ordering::Relaxed);
        let verdicts = scene.write(&batch).await.unwrap();
        taken.push(count.load(Ordering::Relaxed) - before);
        assert_eq!(verdicts.len(), size);
        assert_eq!(scene.count_open().await, 0);
    }
    assert!(taken[0] > 0, "statements are not counted");
    assert!(taken.iter().all(|n| *n <= 10 && *n == taken[0]), "{taken:?}");
}
