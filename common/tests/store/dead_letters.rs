//! Dead letters, sent requests and the counts for people.

use std::time::Duration;

use common::job::{JobId, Priority};
use common::store::bulk_runs::{self, NewRun};
use common::store::dead_letters::{NewDeadLetter, bury, count, insert, list, take};
use common::store::inbox::{self, Delivery, Source};
use common::store::overview::overview;
use common::store::sent_requests;
use sqlx::PgPool;

use crate::scene::{Scene, found};

impl Scene {
    fn letter(&self, job: &str, last_error: &str) -> NewDeadLetter {
        NewDeadLetter {
            connection: self.connection,
            job_id: JobId::from(job),
            priority: Priority::Manual,
            attempts: 8,
            last_error: last_error.to_owned(),
            first_seen: self.start,
            trace: String::new(),
        }
    }

    async fn dies(&self, job: &str, last_error: &str) -> i64 {
        insert(&self.db, &self.letter(job, last_error)).await.unwrap()
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_job_that_dies_twice_has_one_letter_and_is_taken_once(db: PgPool) {
    let scene = Scene::new(db).await;
    let id = scene.dies("profile:a", "first").await;
    assert_eq!(scene.dies("profile:a", "second").await, id);
    let other = scene.dies("profile:b", "first").await;

    let letters = list(&scene.db, 0, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert_eq!((letters[0].last_error.as_str(), letters[0].priority), ("second", Priority::Manual));
    assert_eq!(list(&scene.db, id, 10).await.unwrap()[0].id, other);

    let taken = take(&scene.db, &[id, id + 1_000]).await.unwrap();
    assert_eq!((taken.len(), taken[0].job_id.as_str()), (1, "profile:a"));
    assert!(take(&scene.db, &[id]).await.unwrap().is_empty());
    assert_eq!(count(&scene.db).await.unwrap(), 1);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_requests_of_a_window_are_remembered_and_older_ones_can_be_forgotten(db: PgPool) {
    let scene = Scene::new(db).await;
    let hour = Duration::from_hours(1);
    sent_requests::record(&scene.db, scene.connection, &[7, 8, 9]).await.unwrap();
    sqlx::query(
        "update sent_requests set sent_at = sent_at - interval '2 hours' where permit_id = 7",
    )
    .execute(&scene.db)
    .await
    .unwrap();

    let sent = sent_requests::since(&scene.db, scene.connection, hour).await.unwrap();
    let permits: Vec<i64> = sent.iter().map(|request| request.permit_id).collect();
    assert_eq!(permits, [8, 9]);
    assert!(sent[0].sent_at >= scene.start);
    assert_eq!(sent_requests::prune(&scene.db, hour).await.unwrap(), 1);
    assert_eq!(sent_requests::prune(&scene.db, hour).await.unwrap(), 0);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_overview_counts_what_is_there(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(-9, found("a", 1)).await;
    scene.look(-8, found("b", 1)).await;
    scene.look(-7, found("b", 2)).await;
    scene.notice(&["a", "a"]).await;
    scene.dies("profile:c", "no").await;

    let overview = overview(&scene.db, Duration::from_hours(1)).await.unwrap();
    let records = &overview.records[0];
    assert_eq!((records.present, records.suspected, records.deleted), (2, 0, 0));
    assert_eq!(records.oldest_verified_at, Some(scene.at(-9)));
    let operations: Vec<_> =
        overview.operations.iter().map(|o| (o.outcome.as_str(), o.count)).collect();
    assert_eq!(operations, [("changed", 1), ("created", 2)]);
    let backlog = &overview.backlog[0];
    assert_eq!((backlog.open_notices, backlog.dead_letters, backlog.drift_found), (2, 1, 0));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_job_that_is_given_up_ends_what_led_to_it(db: PgPool) {
    let scene = Scene::new(db).await;
    let (connection, record_type) = (scene.connection, scene.record_type.clone());
    let notices = [(record_type.clone(), "a".into()), (record_type.clone(), "b".into())];
    let delivery = Delivery {
        connection,
        priority: Priority::Webhook,
        source: Source::Webhook,
        trace: "",
        notices: &notices,
    };
    inbox::accept(&scene.db, &delivery).await.unwrap();
    let new = NewRun { connection, record_type: record_type.clone(), changed_since: None };
    bulk_runs::start(&scene.db, &new).await.unwrap().unwrap();

    let an_hour = Duration::from_hours(1);
    bury(&scene.db, &scene.letter("profile:a", "no"), an_hour).await.unwrap();
    let open = inbox::count_open(&scene.db, connection).await.unwrap();
    assert_eq!(open, 2, "what came during the last attempt was not tried");
    bury(&scene.db, &scene.letter("profile:a", "no"), Duration::ZERO).await.unwrap();
    assert_eq!(inbox::count_open(&scene.db, connection).await.unwrap(), 1, "that of b");
    bury(&scene.db, &scene.letter("scan@profile", "no"), Duration::ZERO).await.unwrap();
    assert!(bulk_runs::running(&scene.db, connection, &record_type).await.unwrap().is_none());
    assert_eq!(count(&scene.db).await.unwrap(), 2);
}
