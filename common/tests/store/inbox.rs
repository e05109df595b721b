//! Notices.

use std::time::Duration;

use common::store::inbox::sweep;
use common::store::records::Outcome;
use sqlx::PgPool;

use crate::scene::{Scene, found, missing, unclear};

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_notice_that_arrives_during_the_fetch_stays_open(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.notice(&["a"]).await;
    let open = scene.open(&["a"]).await;
    scene.notice(&["a"]).await; // while the platform is asked

    let mut batch = scene.fetch(1, vec![found("a", 1)]);
    batch.fetched_at = open.now;
    batch.close_notices = open.notices.iter().map(|notice| notice.id).collect();
    scene.write(&batch).await.unwrap();

    let left = scene.open(&["a"]).await;
    assert_eq!(left.notices.len(), 1);
    assert_ne!(left.notices[0].id, open.notices[0].id);
    assert!(left.now > open.now);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_write_closes_the_notices_of_the_records_it_answers_and_no_others(db: PgPool) {
    let scene = Scene::new(db).await;
    assert_eq!(scene.look(9, found("late", 2)).await.outcome, Outcome::Created);
    let ids = ["found", "gone", "young", "late", "other"];
    scene.notice(&ids).await;
    let open = scene.open(&ids).await;
    assert_eq!(open.notices.len(), 5);

    let looks = vec![found("found", 1), missing("gone"), unclear("young"), found("late", 1)];
    let mut batch = scene.fetch(5, looks);
    batch.close_notices = open.notices.iter().map(|notice| notice.id).collect();
    let outcomes: Vec<_> =
        scene.write(&batch).await.unwrap().iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Outcome::Created, Outcome::Absent, Outcome::Unclear, Outcome::Stale]);

    let left = scene.open(&ids).await.notices;
    let left: Vec<_> = left.iter().map(|notice| notice.external_id.as_str()).collect();
    assert_eq!(left, ["young", "late", "other"]);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_time_comes_also_when_nothing_is_open(db: PgPool) {
    let scene = Scene::new(db).await;
    let open = scene.open(&["a"]).await;
    assert!(open.now >= scene.start);
    assert!(open.notices.is_empty());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_sweep_sees_each_record_once_with_its_most_urgent_notice(db: PgPool) {
    let scene = Scene::new(db).await;
    for _ in 0..3 {
        scene.notice(&["a", "b"]).await;
    }
    sqlx::query("update inbox set priority = 1, trace = 'calm' where id = 1 or external_id = 'b'")
        .execute(&scene.db)
        .await
        .unwrap();

    let page = sweep(&scene.db, 0, Duration::ZERO, 100).await.unwrap();
    let records: Vec<_> = page
        .records
        .iter()
        .map(|r| (r.external_id.as_str(), r.priority.name(), r.trace.as_str(), r.lane.as_str()))
        .collect();
    assert_eq!(
        records,
        [("a", "webhook", "00-trace", "klaviyo/main"), ("b", "manual", "calm", "klaviyo/main")]
    );
    assert_eq!(page.next, Some(6));
    assert_eq!(sweep(&scene.db, 6, Duration::ZERO, 100).await.unwrap().next, None);
    assert!(sweep(&scene.db, 0, Duration::from_hours(1), 100).await.unwrap().records.is_empty());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_sweep_by_pages_misses_nothing(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.notice(&["a", "b", "c", "a", "d"]).await;
    let (mut after, mut seen) = (0, Vec::new());
    while let page = sweep(&scene.db, after, Duration::ZERO, 2).await.unwrap()
        && let Some(next) = page.next
    {
        seen.extend(page.records.into_iter().map(|record| String::from(record.external_id)));
        after = next;
    }
    assert_eq!(seen, ["a", "b", "c", "a", "d"]);
    assert_eq!(scene.count_open().await, 5);
}
