//! What counts as drift, and what the history says.

use std::time::Duration;

use common::store::bulk_runs::{self, NewRun, RunId};
use common::store::drift_events::{latest, prune};
use common::store::inbox::OpenNotices;
use common::store::operations::history;
use common::store::records::{Finding, Outcome, Trigger, Verdict};
use serde_json::value::RawValue;
use sqlx::PgPool;

use crate::scene::{Scene, found, missing};

impl Scene {
    async fn unprompted(&self, seconds: i64, content: u8, trigger: Trigger) -> Verdict {
        let mut batch = self.fetch(seconds, vec![found("a", content)]);
        batch.trigger = trigger;
        self.write(&batch).await.unwrap()[0]
    }

    async fn full_run(&self) -> RunId {
        let new = NewRun {
            connection: self.connection,
            record_type: self.record_type.clone(),
            changed_since: None,
        };
        bulk_runs::start(&self.db, &new).await.unwrap().unwrap()
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_difference_that_nothing_told_of_is_drift_and_repaired_at_once(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(1, found("a", 1)).await;

    let mut look = found("a", 2);
    if let Finding::Found { diff, .. } = &mut look.finding {
        let text = r#"[{"path":"/n","old":1,"new":"\u0000"}]"#.to_owned();
        *diff = Some(RawValue::from_string(text).unwrap());
    }
    let mut batch = scene.fetch(2, vec![look]);
    batch.trigger = Trigger::SpotCheck;
    let verdict = scene.write(&batch).await.unwrap()[0];
    assert_eq!(verdict, Verdict { outcome: Outcome::Changed, drift: true });

    let events = latest(&scene.db, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind, events[0].found_by), (Outcome::Changed, Trigger::SpotCheck));
    assert!(events[0].diff.as_deref().unwrap().contains("/n"));
    assert!(events[0].repaired_at.is_some());

    let operations =
        history(&scene.db, scene.connection, &scene.record_type, &"a".into(), 10).await.unwrap();
    let repaired_by: i64 = sqlx::query_scalar("select repaired_by from drift_events")
        .fetch_one(&scene.db)
        .await
        .unwrap();
    assert_eq!(operations[0].id, repaired_by);
    assert!(operations[0].detail.as_deref().unwrap().contains("diff"));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_difference_that_somebody_told_of_is_a_change_and_no_drift(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(1, found("a", 1)).await;

    // A webhook's own look.
    assert!(!scene.look(2, found("a", 2)).await.drift);
    // A scan that happens to be faster than the webhook's look, and closes its notice.
    scene.notice(&["a"]).await;
    let OpenNotices { notices, .. } = scene.open(&["a"]).await;
    let mut batch = scene.fetch(3, vec![found("a", 3)]);
    batch.trigger = Trigger::Bulk;
    batch.close_notices = notices.iter().map(|notice| notice.id).collect();
    let verdict = scene.write(&batch).await.unwrap()[0];
    assert_eq!(verdict, Verdict { outcome: Outcome::Changed, drift: false });
    // A spot check during which the notice comes in.
    scene.notice(&["a"]).await;
    assert!(!scene.unprompted(4, 4, Trigger::SpotCheck).await.drift);

    assert!(latest(&scene.db, 10).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_first_import_is_no_drift_and_a_record_that_it_did_not_have_is(db: PgPool) {
    let scene = Scene::new(db).await;
    let run = scene.full_run().await;
    let mut batch = scene.fetch(1, vec![found("a", 1)]);
    (batch.trigger, batch.run) = (Trigger::Bulk, Some(run));
    assert!(!scene.write(&batch).await.unwrap()[0].drift);
    bulk_runs::finish(&scene.db, run, Duration::ZERO).await.unwrap();

    let run = scene.full_run().await;
    let mut batch = scene.fetch(2, vec![found("a", 1), found("b", 1)]);
    (batch.trigger, batch.run) = (Trigger::Bulk, Some(run));
    let drift: Vec<bool> = scene.write(&batch).await.unwrap().iter().map(|v| v.drift).collect();
    assert_eq!(drift, [false, true]);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_deletion_is_drift_when_it_is_confirmed(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(0, found("a", 1)).await;
    for (seconds, drift) in [(10, false), (50, true), (90, false)] {
        let mut batch = scene.fetch(seconds, vec![missing("a")]);
        batch.trigger = Trigger::SpotCheck;
        assert_eq!(scene.write(&batch).await.unwrap()[0].drift, drift, "at {seconds}");
    }
    assert_eq!(scene.unprompted(100, 1, Trigger::SpotCheck).await.outcome, Outcome::Restored);
    let kinds: Vec<_> = latest(&scene.db, 10).await.unwrap().iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [Outcome::Restored, Outcome::Deleted]);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_page_is_summed_up_and_only_what_was_not_as_mirrored_has_a_row(db: PgPool) {
    let scene = Scene::new(db).await;
    let run = scene.full_run().await;
    scene.write(&scene.fetch(1, vec![found("a", 1), found("b", 1), found("c", 1)])).await.unwrap();
    scene.notice(&["c"]).await;
    let open = scene.open(&["c"]).await;

    let mut page = scene.fetch(2, vec![found("a", 1), found("b", 2), found("c", 1)]);
    (page.trigger, page.run) = (Trigger::Bulk, Some(run));
    page.close_notices = open.notices.iter().map(|notice| notice.id).collect();
    scene.write(&page).await.unwrap();

    let rows: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', external_id, outcome, notices_closed, detail) from sync_operations
          where trigger = 'bulk' order by external_id",
    )
    .fetch_all(&scene.db)
    .await
    .unwrap();
    assert_eq!(rows, ["b changed 0", "c unchanged 1", r#"0 {"changed": 1, "unchanged": 2}"#]);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_history_says_how_long_a_notice_waited(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.notice(&["a", "a"]).await;
    let open = scene.open(&["a"]).await;
    let mut batch = scene.fetch(1, vec![found("a", 1)]);
    batch.close_notices = open.notices.iter().map(|notice| notice.id).collect();
    scene.write(&batch).await.unwrap();

    let operation = history(&scene.db, scene.connection, &scene.record_type, &"a".into(), 1)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(operation.notices_closed, 2);
    assert_eq!(operation.first_notice_at, Some(open.notices[0].received_at));
    assert!(operation.at > open.now);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn repaired_drift_is_forgotten_after_a_while_and_open_drift_is_not(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(1, found("a", 1)).await;
    for (second, content) in [(2, 2), (3, 3), (4, 4)] {
        assert!(scene.unprompted(second, content, Trigger::SpotCheck).await.drift);
    }
    for (days, repaired) in [(9, true), (9, false), (1, true)] {
        sqlx::query(
            "update drift_events
                set found_at = found_at - make_interval(days => $1),
                    repaired_at = case when $2 then repaired_at - make_interval(days => $1) end,
                    repaired_by = case when $2 then repaired_by end
              where id = (select min(id) from drift_events
                           where found_at > now() - interval '1 hour')",
        )
        .bind(days)
        .bind(repaired)
        .execute(&scene.db)
        .await
        .unwrap();
    }
    let week = Duration::from_hours(24 * 7);
    assert_eq!(prune(&scene.db, week).await.unwrap(), 1);
    assert_eq!(latest(&scene.db, 10).await.unwrap().len(), 2);
    assert_eq!(prune(&scene.db, week).await.unwrap(), 0);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_record_that_changed_a_moment_ago_is_no_drift(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(1, found("a", 1)).await;
    // Of one that is said to change in an hour it is not known when it did.
    for (content, age, drift) in [(2, 59, false), (3, 60, true), (4, -59, false), (5, -3_600, true)]
    {
        let seconds = 1000 * i64::from(content);
        let mut look = found("a", content);
        if let Finding::Found { remote_version, .. } = &mut look.finding {
            *remote_version = Some(scene.at(seconds - age));
        }
        let mut batch = scene.fetch(seconds, vec![look]);
        (batch.trigger, batch.young) = (Trigger::SpotCheck, Duration::from_mins(1));
        let verdict = scene.write(&batch).await.unwrap()[0];
        assert_eq!(verdict, Verdict { outcome: Outcome::Changed, drift }, "{age} s ago");
    }
}
