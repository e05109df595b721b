//! What is repaired, what is left as it is, and what does not settle.

use std::time::Duration;

use common::drift::ContentHash;
use common::store::bulk_runs::{self, NewRun};
use common::store::drift_events::latest;
use common::store::excluded_fields::{exclude, include, of};
use common::store::flipping_fields::{Flips, all, replace, restless};
use common::store::records::{Finding, Flags, Outcome, Rehash, Trigger, Verdict, suspected};
use common::store::webhook_watch::{unwatched, watched};
use serde_json::value::RawValue;
use sqlx::PgPool;

use crate::scene::{Scene, found};

impl Scene {
    async fn spot_check(&self, seconds: i64, content: u8, repairs_per_hour: u32) -> Verdict {
        let mut look = found("a", content);
        if let Finding::Found { diff, .. } = &mut look.finding {
            let was = content - 1;
            let text =
                format!(r#"{{"changes":[{{"path":"/n","old":{was},"new":{content}}}],"more":0}}"#);
            *diff = Some(RawValue::from_string(text).unwrap());
        }
        let mut batch = self.fetch(seconds, vec![look]);
        (batch.trigger, batch.repairs_per_hour) = (Trigger::SpotCheck, repairs_per_hour);
        self.write(&batch).await.unwrap()[0]
    }

    async fn open_drift(&self) -> usize {
        let events = latest(&self.db, 100).await.unwrap();
        events.iter().filter(|event| event.repaired_at.is_none()).count()
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_record_that_does_not_settle_is_left_as_it_is_until_somebody_tells_of_it(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(0, found("a", 1)).await;
    for content in 2..=4 {
        let verdict = scene.spot_check(i64::from(content), content, 3).await;
        assert_eq!(verdict, Verdict { outcome: Outcome::Changed, drift: true });
    }
    // Three repairs within the hour: it differs, and stays as it is, however often one looks.
    for (seconds, drift) in [(10, true), (11, false)] {
        let verdict = scene.spot_check(seconds, 5, 3).await;
        assert_eq!(verdict, Verdict { outcome: Outcome::Capped, drift });
    }
    assert_eq!(scene.mirrored("a").await.unwrap().0.as_deref(), Some(r#"{"n": 4}"#));
    assert_eq!(scene.open_drift().await, 1);

    // A webhook's look writes it, and the open drift is repaired with it.
    assert_eq!(scene.look(20, found("a", 5)).await.outcome, Outcome::Changed);
    assert_eq!(scene.mirrored("a").await.unwrap().0.as_deref(), Some(r#"{"n": 5}"#));
    assert_eq!(scene.open_drift().await, 0);

    // The hour is over.
    sqlx::query("update drift_events set found_at = found_at - interval '1 hour'")
        .execute(&scene.db)
        .await
        .unwrap();
    assert_eq!(scene.spot_check(30, 6, 3).await.outcome, Outcome::Changed);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_a_full_scan_did_not_see_is_suspected_when_it_ends(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.write(&scene.fetch(0, vec![found("seen", 1), found("unseen", 1)])).await.unwrap();
    let new = NewRun {
        connection: scene.connection,
        record_type: scene.record_type.clone(),
        changed_since: None,
    };
    let run = bulk_runs::start(&scene.db, &new).await.unwrap().unwrap();
    let mut page = scene.fetch(10_000, vec![found("seen", 1), found("new", 1)]);
    (page.trigger, page.run) = (Trigger::Bulk, Some(run));
    scene.write(&page).await.unwrap();

    let mut tx = scene.db.begin().await.unwrap();
    assert_eq!(bulk_runs::suspect_unseen(&mut tx, run, false, 100).await.unwrap(), 1);
    bulk_runs::finish(&mut *tx, run, Duration::ZERO).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(scene.mirrored("unseen").await.unwrap().1, Flags::SUSPECTED);
    assert_eq!(scene.mirrored("seen").await.unwrap().1, Flags(0));
    let (db, connection, kind) = (&scene.db, scene.connection, &scene.record_type);
    let left = suspected(db, connection, kind, Duration::ZERO, 10).await.unwrap();
    assert_eq!(left, ["unseen".into()]);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn when_the_rules_change_what_is_mirrored_is_compared_by_those_of_today(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(0, found("a", 1)).await;
    let by_new_rules = |version, mirrored: u8, found_now: u8| {
        let mut look = found("a", found_now);
        if let Finding::Found { schema_version, rehash, .. } = &mut look.finding {
            *schema_version = version;
            let hash = |n| ContentHash([n; 16]);
            *rehash = Some(Rehash { of: hash(1), hash: hash(mirrored) });
        }
        let mut batch = scene.fetch(i64::from(version), vec![look]);
        batch.trigger = Trigger::SpotCheck;
        batch
    };
    let same = scene.write(&by_new_rules(2, 7, 7)).await.unwrap()[0];
    assert_eq!(same, Verdict { outcome: Outcome::Rehashed, drift: false });
    sqlx::query("update external_integrations set schema_version = 1, content_hash = $1")
        .bind([1_u8; 16].as_slice())
        .execute(&scene.db)
        .await
        .unwrap();
    let differs = scene.write(&by_new_rules(3, 7, 8)).await.unwrap()[0];
    assert_eq!(differs, Verdict { outcome: Outcome::Changed, drift: true });
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_field_that_flips_is_named_until_a_person_excludes_it(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(0, found("a", 1)).await;
    for (seconds, content) in [(1, 2), (2, 1), (3, 2)] {
        scene.spot_check(seconds, content.max(1), 100).await;
    }
    assert_eq!(restless(&scene.db).await.unwrap().len(), 3);
    let flips = [Flips {
        connection: scene.connection,
        record_type: scene.record_type.clone(),
        pointer: "/n".to_owned(),
        records: 1,
        flips: 2,
        external_id: "a".into(),
    }];
    replace(&scene.db, &flips).await.unwrap();
    assert_eq!(all(&scene.db, 10).await.unwrap()[0].pointer, "/n");

    let (connection, kind) = (scene.connection, &scene.record_type);
    assert!(exclude(&scene.db, connection, kind, "/n").await.unwrap());
    assert!(!exclude(&scene.db, connection, kind, "/n").await.unwrap());
    assert_eq!(of(&scene.db, connection, kind).await.unwrap().pointers(), ["/n"]);
    let gone = replace(&scene.db, &flips).await.unwrap();
    assert_eq!(gone, [(connection, kind.clone(), "/n".to_owned())]);
    assert!(all(&scene.db, 10).await.unwrap().is_empty());
    assert!(include(&scene.db, connection, kind, "/n").await.unwrap());
    assert!(of(&scene.db, connection, kind).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn changes_are_watched_once_whoever_watches(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(0, found("a", 1)).await;
    scene.spot_check(1, 2, 100).await;
    scene.look(2, found("a", 3)).await;
    let read = unwatched(&scene.db).await.unwrap().remove(0);
    assert_eq!((read.told, read.silent), (1, 1));
    assert!(watched(&scene.db, &read, None, true).await.unwrap());
    assert!(!watched(&scene.db, &read, None, false).await.unwrap(), "another one did");
    assert!(unwatched(&scene.db).await.unwrap().is_empty());
    let habits =
        common::store::habits::of(&scene.db, scene.connection, &scene.record_type).await.unwrap();
    assert!(habits.outage && habits.notices().recall() < 1e-9);
}
