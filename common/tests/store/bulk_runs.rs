//! Bulk runs.

use std::time::Duration;

use common::ids::ExternalId;
use common::store::bulk_runs::{
    BulkRun, Extent, NewRun, PageProgress, State, Unseen, advance, all_running, count_unseen,
    finish, halt, lately, latest, prune, running, start, start_planned, unseen, watermark,
};
use common::store::records::{Trigger, write};
use common::store::{StoreError, now};
use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;

use crate::scene::{Scene, found, missing};

impl Scene {
    fn run(&self, changed_since: Option<Timestamp>) -> NewRun {
        NewRun { connection: self.connection, record_type: self.record_type.clone(), changed_since }
    }

    async fn started(&self, changed_since: Option<Timestamp>) -> BulkRun {
        start(&self.db, &self.run(changed_since)).await.unwrap().unwrap();
        self.running().await.unwrap()
    }

    async fn running(&self) -> Option<BulkRun> {
        running(&self.db, self.connection, &self.record_type).await.unwrap()
    }

    /// Writes a page and moves the cursor, as a worker does.
    async fn page(
        &self,
        run: &BulkRun,
        ids: &[&str],
        next: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut batch = self.fetch(0, ids.iter().map(|id| found(id, 1)).collect());
        batch.fetched_at = now(&self.db).await?;
        (batch.trigger, batch.run) = (Trigger::Bulk, Some(run.id));
        let progress = PageProgress {
            next_cursor: next.map(str::to_owned),
            seen: u32::try_from(ids.len()).unwrap(),
            changed: 0,
            latest_version: None,
        };
        let mut tx = self.db.begin().await?;
        write(&mut tx, &batch).await?;
        advance(&mut tx, run, &progress).await?;
        tx.commit().await?;
        Ok(())
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn one_record_type_has_one_run_at_a_time(db: PgPool) {
    let scene = Scene::new(db).await;
    let run = scene.started(None).await;
    assert!(start(&scene.db, &scene.run(Some(scene.start))).await.unwrap().is_none());
    assert_eq!(all_running(&scene.db).await.unwrap().len(), 1);

    halt(&scene.db, run.id, "too many records would go").await.unwrap();
    assert!(scene.running().await.is_none());
    assert_eq!(latest(&scene.db, 1).await.unwrap()[0].state, State::Halted);
    assert!(start(&scene.db, &scene.run(None)).await.unwrap().is_some());
    let error = finish(&scene.db, run.id, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, StoreError::RunMovedOn(_)));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_page_and_its_cursor_move_together_or_not_at_all(db: PgPool) {
    let scene = Scene::new(db).await;
    let first = scene.started(None).await;
    scene.page(&first, &["a"], Some("2")).await.unwrap();

    // A worker that was thought dead writes the first page again, with a record of its own.
    let error = scene.page(&first, &["a", "zombie"], Some("other")).await.unwrap_err();
    assert!(matches!(error, StoreError::RunMovedOn(id) if id == first.id));
    assert_eq!(scene.mirrored("zombie").await, None);

    let second = scene.running().await.unwrap();
    assert_eq!((second.cursor.as_deref(), second.pages, second.records_seen), (Some("2"), 1, 1));
    scene.page(&second, &["b"], None).await.unwrap();

    // The last page leaves no cursor, as none was there at first: the number of pages tells.
    assert!(scene.page(&first, &["zombie"], Some("2")).await.is_err());
    assert_eq!(scene.running().await.unwrap().pages, 2);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_watermark_is_never_later_than_the_start_and_never_goes_back(db: PgPool) {
    let scene = Scene::new(db).await;
    let overlap = Duration::from_mins(1);
    let hours = SignedDuration::from_hours;
    assert_eq!(watermark(&scene.db, scene.connection, &scene.record_type).await.unwrap(), None);

    // since when changes are read, the latest time of change, the watermark (None: start - overlap)
    let start = scene.start;
    for (since, latest_version, expected) in [
        (None, None, None),
        (None, Some(start - hours(3)), Some(start - hours(3))),
        (None, Some(start + hours(3)), None),
        (Some(start - hours(2)), None, None),
        (Some(start - hours(2)), Some(start - hours(1)), Some(start - hours(1))),
        (Some(start - hours(2)), Some(start - hours(5)), Some(start - hours(2))),
    ] {
        let run = scene.started(since).await;
        let page = PageProgress { latest_version, ..PageProgress::default() };
        let mut tx = scene.db.begin().await.unwrap();
        advance(&mut tx, &run, &page).await.unwrap();
        let actual = finish(&mut *tx, run.id, overlap).await.unwrap();
        tx.commit().await.unwrap();

        let expected = expected.unwrap_or(run.started_at - SignedDuration::from_mins(1));
        assert_eq!(actual, expected, "since {since:?}, latest {latest_version:?}");
        let stored = watermark(&scene.db, scene.connection, &scene.record_type).await.unwrap();
        assert_eq!(stored, Some(expected));
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_a_full_run_did_not_see_is_known_and_what_was_looked_at_since_is_not_in_it(
    db: PgPool,
) {
    let scene = Scene::new(db).await;
    let looks = ["seen", "gone", "missed", "looked at"].map(|id| found(id, 1));
    scene.write(&scene.fetch(-100, looks.to_vec())).await.unwrap();
    scene.look(-60, missing("gone")).await;
    scene.look(-20, missing("gone")).await;

    let run = scene.started(None).await;
    scene.page(&run, &["seen", "new"], None).await.unwrap();
    let mut batch = scene.fetch(0, vec![found("looked at", 2)]);
    batch.fetched_at = now(&scene.db).await.unwrap();
    scene.write(&batch).await.unwrap();

    assert_eq!(
        count_unseen(&scene.db, run.id, false).await.unwrap(),
        Unseen { unseen: 1, mirrored: 4 }
    );
    let ids = unseen(&scene.db, run.id, false, None, 10).await.unwrap();
    assert_eq!(ids, [ExternalId::from("missed")]);
    assert!(unseen(&scene.db, run.id, false, Some(&ids[0]), 10).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_is_below_a_parent_that_the_run_saw_nothing_of_is_out_of_reach_and_not_unseen(
    db: PgPool,
) {
    let scene = Scene::new(db).await;
    let looks = ["1/seen", "1/missed", "2/a", "2/b", "12/c"].map(|id| found(id, 1));
    scene.write(&scene.fetch(-100, looks.to_vec())).await.unwrap();
    let run = scene.started(None).await;
    scene.page(&run, &["1/seen"], None).await.unwrap();

    let all = Unseen { unseen: 4, mirrored: 5 };
    assert_eq!(count_unseen(&scene.db, run.id, false).await.unwrap(), all);
    let beside = Unseen { unseen: 1, mirrored: 2 };
    assert_eq!(count_unseen(&scene.db, run.id, true).await.unwrap(), beside);
    let ids = unseen(&scene.db, run.id, true, None, 10).await.unwrap();
    assert_eq!(ids, [ExternalId::from("1/missed")]);
    assert_eq!(unseen(&scene.db, run.id, false, None, 10).await.unwrap().len(), 4);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn old_runs_are_forgotten_but_never_the_ones_that_the_next_starts_from(db: PgPool) {
    let scene = Scene::new(db).await;
    for _ in 0..4 {
        let run = scene.started(None).await;
        scene.page(&run, &["a"], None).await.unwrap();
        let mut tx = scene.db.begin().await.unwrap();
        finish(&mut *tx, run.id, Duration::ZERO).await.unwrap();
        tx.commit().await.unwrap();
    }
    let stopped = scene.started(None).await;
    halt(&scene.db, stopped.id, "for the test").await.unwrap();
    let mark = watermark(&scene.db, scene.connection, &scene.record_type).await.unwrap();

    let week = Duration::from_hours(24 * 7);
    assert_eq!(prune(&scene.db, week).await.unwrap(), 0, "they are young");
    sqlx::query("update bulk_runs set finished_at = finished_at - interval '8 days'")
        .execute(&scene.db)
        .await
        .unwrap();
    scene.started(None).await;
    assert_eq!(prune(&scene.db, week).await.unwrap(), 3, "two that were done, one that was halted");
    assert!(scene.running().await.is_some());
    assert!(mark.is_some());
    let kept = watermark(&scene.db, scene.connection, &scene.record_type).await.unwrap();
    assert_eq!(kept, mark);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn how_a_list_was_read_lately_is_known_with_one_statement(db: PgPool) {
    let scene = Scene::new(db).await;
    let asked = [(scene.connection, scene.record_type.clone()), (scene.connection, "list".into())];
    assert!(lately(&scene.db, &asked).await.unwrap().is_empty(), "it was never read");

    let done = async |changed_since: Option<Timestamp>, pages: &[&[&str]]| {
        let mut run = scene.started(changed_since).await;
        for (n, ids) in pages.iter().enumerate() {
            scene.page(&run, ids, (n + 1 < pages.len()).then_some("next")).await.unwrap();
            run = scene.running().await.unwrap();
        }
        finish(&scene.db, run.id, Duration::ZERO).await.unwrap();
        run
    };
    let full = done(None, &[&["a", "b"], &["c"]]).await;
    let known = lately(&scene.db, &asked).await.unwrap().remove(0);
    assert_eq!((known.began_at, known.state), (full.started_at, State::Done));
    assert_eq!(known.full, Some(Extent { pages: 2, records: 3 }));
    assert_eq!((known.changes, known.done_began_at), (None, Some(full.started_at)));

    let since = full.started_at - SignedDuration::from_mins(5);
    let changes = done(Some(since), &[&["b"]]).await;
    let failed = scene.started(Some(since)).await;
    halt(&scene.db, failed.id, "for the test").await.unwrap();
    let known = lately(&scene.db, &asked).await.unwrap().remove(0);
    assert_eq!((known.began_at, known.state), (failed.started_at, State::Halted));
    assert_eq!(known.full, Some(Extent { pages: 2, records: 3 }));
    assert_eq!(known.changes, Some(Extent { pages: 1, records: 1 }));
    let asked_for = changes.started_at.duration_since(since).as_secs_f64();
    assert!((known.changes_seconds - asked_for).abs() < 1e-3);
    assert_eq!(known.done_began_at, Some(changes.started_at));
    let mark = watermark(&scene.db, scene.connection, &scene.record_type).await.unwrap();
    assert_eq!(known.watermark, mark);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_planned_list_that_found_nothing_is_not_shown_and_soon_forgotten(db: PgPool) {
    let scene = Scene::new(db).await;
    for changed in [0, 1, 0, 0, 0] {
        let new = scene.run(Some(scene.start));
        start_planned(&scene.db, &new).await.unwrap().unwrap();
        let run = scene.running().await.unwrap();
        assert!(run.planned);
        let mut tx = scene.db.begin().await.unwrap();
        let page = PageProgress { seen: 1, changed, ..PageProgress::default() };
        advance(&mut tx, &run, &page).await.unwrap();
        finish(&mut *tx, run.id, Duration::ZERO).await.unwrap();
        tx.commit().await.unwrap();
    }
    let shown = latest(&scene.db, 10).await.unwrap();
    assert_eq!(shown.iter().map(|run| run.records_changed).collect::<Vec<_>>(), [1]);

    let year = Duration::from_hours(24 * 365);
    assert_eq!(prune(&scene.db, year).await.unwrap(), 0, "they are young");
    sqlx::query("update bulk_runs set finished_at = finished_at - interval '25 hours'")
        .execute(&scene.db)
        .await
        .unwrap();
    // The one that found something stays, and the last two: the next starts from their watermark.
    assert_eq!(prune(&scene.db, year).await.unwrap(), 2);
    assert_eq!(prune(&scene.db, Duration::from_hours(1)).await.unwrap(), 1, "none is kept longer");
}
