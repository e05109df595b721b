//! What looks teach.

use std::collections::BTreeMap;

use common::freshness::WeightRule;
use common::freshness::grid::{GridEvidence, GridPrior};
use common::freshness::{Belief as _, Evidence as _};
use common::store::habits::{self, Planning};
use common::store::inbox::OpenNotices;
use common::store::records::{Look, PlannedRecord, Trigger, Verdict, next_due};
use sqlx::PgPool;

use crate::scene::{Scene, found, found_as, missing};

const DAY: i64 = 86_400;

impl Scene {
    /// What the mirror keeps of one record.
    async fn planned(&self, id: &str) -> PlannedRecord {
        let rows = next_due(&self.db, self.connection, 100).await.unwrap();
        rows.into_iter().find(|row| row.external_id.as_str() == id).unwrap()
    }

    async fn checked(&self, seconds: i64, look: Look) -> Verdict {
        let mut batch = self.fetch(seconds, vec![look]);
        batch.trigger = Trigger::SpotCheck;
        self.write(&batch).await.unwrap()[0]
    }

    /// A webhook names the record and its look answers it.
    async fn told(&self, seconds: i64, look: Look) -> Verdict {
        let id = look.external_id.clone();
        self.notice(&[id.as_str()]).await;
        let OpenNotices { notices, .. } = self.open(&[id.as_str()]).await;
        let mut batch = self.fetch(seconds, vec![look]);
        batch.close_notices = notices.iter().map(|notice| notice.id).collect();
        self.write(&batch).await.unwrap()[0]
    }

    async fn habits(&self) -> habits::TypeHabits {
        habits::of(&self.db, self.connection, &self.record_type).await.unwrap()
    }

    async fn changes(&self) -> (i64, i64) {
        sqlx::query_as("select told_changes, silent_changes from record_habits")
            .fetch_one(&self.db)
            .await
            .unwrap()
    }
}

fn mean(record: &PlannedRecord, habits: &habits::TypeHabits) -> f64 {
    record.evidence.belief(&habits.prior).mean_per_day()
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_record_that_changes_is_looked_at_sooner_than_one_that_does_not(db: PgPool) {
    let scene = Scene::new(db).await;
    sqlx::query("insert into lane_prices (connection_id, price) values ($1, 0.01)")
        .bind(scene.connection.0)
        .execute(&scene.db)
        .await
        .unwrap();
    for day in 0..30 {
        let at = day * DAY;
        scene.checked(at, found("restless", u8::try_from(day).unwrap())).await;
        scene.checked(at, found("still", 1)).await;
    }
    let habits = scene.habits().await;
    let (restless, still) = (scene.planned("restless").await, scene.planned("still").await);
    assert!(mean(&restless, &habits) > 10.0 * mean(&still, &habits));
    // A fast record changes nearly for certain between two looks, which is worth less than it
    // sounds: what counts is that the two are told apart.
    assert_ne!(restless.evidence, GridEvidence::default());
    assert_ne!(restless.next_check_at, still.next_check_at);
    assert_eq!(scene.changes().await, (0, 29));
    assert!(habits.notices().recall() < 0.1, "{:?}", habits.notices());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_webhooks_tell_makes_them_trusted(db: PgPool) {
    let scene = Scene::new(db).await;
    for day in 0..30 {
        scene.told(day * DAY, found("a", u8::try_from(day).unwrap())).await;
        scene.checked(day * DAY + DAY / 2, found("a", u8::try_from(day).unwrap())).await;
    }
    assert_eq!(scene.changes().await, (29, 0));
    let habits = scene.habits().await;
    assert!(habits.counts.announced > 20.0, "{habits:?}");
    assert!(habits.notices().recall() > 0.7, "{:?}", habits.notices());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_is_too_young_to_judge_teaches_nothing(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.checked(0, found("a", 1)).await;
    assert_eq!(scene.planned("a").await.evidence, GridEvidence::default(), "it is new");
    // The notice may have come before the platform's reads show the change.
    scene.notice(&["a"]).await;
    let OpenNotices { notices, .. } = scene.open(&["a"]).await;
    let mut batch = scene.fetch(60, vec![found("a", 1)]);
    batch.close_notices = notices.iter().map(|notice| notice.id).collect();
    batch.young = std::time::Duration::from_mins(5);
    scene.write(&batch).await.unwrap();
    assert_eq!(scene.planned("a").await.evidence, GridEvidence::default());
    // A difference while a notice is open was not silent.
    scene.notice(&["a"]).await;
    scene.checked(120, found("a", 2)).await;
    assert_eq!(scene.planned("a").await.evidence, GridEvidence::default());
    assert_eq!(scene.changes().await, (0, 0));
    // A look that finds it missing plans nothing: it has a job of its own.
    scene.checked(180, missing("a")).await;
    assert!(next_due(&scene.db, scene.connection, 10).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_weight_is_read_from_the_record_and_a_heavy_one_is_looked_at_sooner(db: PgPool) {
    let scene = Scene::new(db).await;
    sqlx::query("insert into lane_prices (connection_id, price) values ($1, 0.01)")
        .bind(scene.connection.0)
        .execute(&scene.db)
        .await
        .unwrap();
    let values = BTreeMap::from([("paying".to_owned(), 100.0)]);
    let rule = WeightRule { field: "/status".to_owned(), values, otherwise: 1.0 };
    let looks = vec![
        found_as("light", 1, r#"{"status": "free"}"#),
        found_as("heavy", 1, r#"{"status": "paying"}"#),
    ];
    let mut batch = scene.fetch(0, looks);
    batch.planning = Planning { weights: Some(rule), ..Planning::default() };
    scene.write(&batch).await.unwrap();
    let (light, heavy) = (scene.planned("light").await, scene.planned("heavy").await);
    assert!((light.weight - 1.0).abs() < 1e-6 && (heavy.weight - 100.0).abs() < 1e-6);
    assert!(heavy.next_check_at < light.next_check_at, "{heavy:?} {light:?}");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn no_look_is_planned_before_the_least_age_or_after_the_most(db: PgPool) {
    let scene = Scene::new(db).await;
    for (price, age_hours) in [(1e-11, 1), (1e9, 48)] {
        sqlx::query(
            "insert into lane_prices (connection_id, price) values ($1, $2)
             on conflict (connection_id) do update set price = $2",
        )
        .bind(scene.connection.0)
        .bind(price)
        .execute(&scene.db)
        .await
        .unwrap();
        let mut batch = scene.fetch(age_hours, vec![found("a", 1)]);
        batch.planning.min_age = std::time::Duration::from_hours(1);
        batch.planning.max_age = std::time::Duration::from_hours(48);
        scene.write(&batch).await.unwrap();
        let row = scene.planned("a").await;
        let age = row.next_check_at.unwrap().duration_since(row.last_verified_at);
        // A record that explores may be looked at sooner, but not before the least age.
        assert!(age.as_hours() <= age_hours && age.as_hours() >= 1, "{age:?} at {price}");
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn when_webhooks_fail_every_record_of_the_type_is_due_sooner_at_once(db: PgPool) {
    let scene = Scene::new(db).await;
    for day in 0..30 {
        scene.told(day * DAY, found("a", u8::try_from(day).unwrap())).await;
    }
    let mut habits = scene.habits().await;
    habits.price = 0.01;
    let evidence = scene.planned("a").await.evidence;
    let planning = Planning::default();
    let age = |habits: &habits::TypeHabits| habits.next_age_days(&evidence, 1.0, &planning, false);
    let before = age(&habits);
    habits.outage = true;
    assert!(age(&habits) < before / 1.2, "{} and {before}", age(&habits));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_a_list_of_changes_names_was_as_it_was_until_the_list_before(db: PgPool) {
    let scene = Scene::new(db).await;
    // Both are edited every ten days. A list that is read each hour names each of these edits; what
    // is known of the one says so, of the other only that it was never found unchanged.
    for n in 0..12_u8 {
        let at = i64::from(n) * 10 * DAY;
        for (id, listed_since) in [("listed", Some(scene.at(at - 3_600))), ("other", None)] {
            let mut batch = scene.fetch(at, vec![found(id, n)]);
            (batch.trigger, batch.listed_since) = (Trigger::Bulk, listed_since);
            scene.write(&batch).await.unwrap();
        }
    }
    let habits = scene.habits().await;
    let (listed, other) = (scene.planned("listed").await, scene.planned("other").await);
    let mean = mean(&listed, &habits);
    assert!((0.06..0.16).contains(&mean), "{mean} edits a day");
    let other = self::mean(&other, &habits);
    assert!(other > 2.0 * mean, "{other} beside {mean}");
    assert_eq!(scene.changes().await, (0, 22));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_type_that_was_fitted_in_whole_octaves_is_read_and_fitted_anew(db: PgPool) {
    let scene = Scene::new(db).await;
    let mut octaves = vec![0.0; 16];
    octaves[9] = 1.0;
    sqlx::query(
        "insert into record_habits (connection_id, record_type, prior) values ($1, $2, $3)",
    )
    .bind(scene.connection.0)
    .bind(scene.record_type.as_str())
    .bind(&octaves)
    .execute(&scene.db)
    .await
    .unwrap();
    let read = scene.habits().await;
    // The tenth octave is one change a day, and so are records that nothing is known of.
    let mean = GridEvidence::default().belief(&read.prior).still_true(1.0);
    assert!((mean - (-1.0_f64).exp()).abs() < 0.1, "{mean}");
    let prior = GridEvidence::refit(&read.prior, [GridEvidence::default()]);
    let kind = &scene.record_type;
    assert!(habits::fit(&scene.db, scene.connection, kind, &read, &prior, 1.0).await.unwrap());
    assert_eq!(scene.habits().await.prior, GridPrior::from_stored(prior.weights()));
}
