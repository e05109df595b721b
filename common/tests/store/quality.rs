//! Audit samples, and what is made of them.

use std::collections::BTreeMap;
use std::time::Duration;

use common::ids::ExternalId;
use common::store::bulk_runs::{self, NewRun, RunId};
use common::store::quality::{close_lottery, draw, enter, expire, latest, score_runs, waiting};
use common::store::records::{Finding, Look, Trigger};
use sqlx::PgPool;

use crate::scene::{Scene, found, missing};

impl Scene {
    /// These records are mirrored with content 1 and drawn; looks later than now count.
    async fn drawn(&self, ids: &[&str]) {
        let looks = ids.iter().map(|id| found(id, 1)).collect();
        self.write(&self.fetch(-100, looks)).await.unwrap();
        let ids: Vec<ExternalId> = ids.iter().map(|id| ExternalId::from(*id)).collect();
        draw(&self.db, self.connection, &self.record_type, &ids).await.unwrap();
    }

    async fn sample(&self, seconds: i64, look: Look, trigger: Trigger) {
        let mut batch = self.fetch(seconds, vec![look]);
        batch.trigger = trigger;
        batch.young = Duration::from_secs(30);
        self.write(&batch).await.unwrap();
    }

    async fn verdicts(&self) -> BTreeMap<String, Option<String>> {
        sqlx::query_as("select external_id, verdict from quality_samples")
            .fetch_all(&self.db)
            .await
            .unwrap()
            .into_iter()
            .collect()
    }

    async fn a_run(&self) -> RunId {
        let new = NewRun {
            connection: self.connection,
            record_type: self.record_type.clone(),
            changed_since: None,
        };
        bulk_runs::start(&self.db, &new).await.unwrap().unwrap()
    }

    /// A page of a run, and the records on it in its lottery.
    async fn lots(&self, run: RunId, ids: &[String], most: u32) {
        let ids: Vec<ExternalId> = ids.iter().map(|id| ExternalId::from(id.as_str())).collect();
        let mut tx = self.db.begin().await.unwrap();
        enter(&mut tx, run, self.connection, &self.record_type, &ids, most).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_sample_counts_only_when_nothing_told_of_it_and_it_is_old_enough(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.drawn(&["right", "wrong", "ahead", "told", "young", "late", "gone", "unseen"]).await;
    let changed_at = |id, seconds| {
        let mut look = found(id, 2);
        if let Finding::Found { remote_version, .. } = &mut look.finding {
            *remote_version = Some(scene.at(seconds));
        }
        look
    };
    scene.sample(100, found("right", 1), Trigger::SpotCheck).await;
    scene.sample(100, changed_at("wrong", -200), Trigger::SpotCheck).await;
    // Its time of change lies in the future: that it changed after it was drawn is not known.
    scene.sample(100, changed_at("ahead", 90_000), Trigger::SpotCheck).await;
    scene.sample(100, found("told", 2), Trigger::Webhook).await;
    scene.sample(100, changed_at("young", 90), Trigger::SpotCheck).await;
    scene.sample(100, changed_at("late", 50), Trigger::SpotCheck).await;
    // A missing record is judged by its second look.
    scene.sample(100, missing("gone"), Trigger::SpotCheck).await;
    assert_eq!(scene.verdicts().await["gone"], None);
    scene.sample(200, missing("gone"), Trigger::SpotCheck).await;

    let verdicts = scene.verdicts().await;
    let told = |id: &str| verdicts[id].as_deref();
    assert_eq!(told("right"), Some("right"));
    assert_eq!(told("wrong"), Some("wrong"));
    assert_eq!(told("ahead"), Some("wrong"));
    assert_eq!(told("told"), Some("told"));
    assert_eq!(told("young"), Some("young"));
    assert_eq!(told("late"), Some("changed"));
    assert_eq!(told("gone"), Some("wrong"));
    assert_eq!(told("unseen"), None);
    let left = waiting(&scene.db, scene.connection, 10).await.unwrap();
    assert_eq!(left, [(scene.record_type.clone(), "unseen".into())]);

    let quality = latest(&scene.db, 24).await.unwrap().remove(0);
    assert_eq!((quality.outcomes.samples, quality.outcomes.wrong), (4, 3));
    assert_eq!(quality.set_aside, 3);
    assert!(quality.interval.lower < 0.75 && quality.interval.upper > 0.75);

    assert_eq!(expire(&scene.db, Duration::ZERO).await.unwrap(), 1);
    assert_eq!(latest(&scene.db, 24).await.unwrap()[0].set_aside, 4);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_page_of_a_scan_is_a_look_at_all_that_it_shows(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.drawn(&["right", "wrong"]).await;
    for (id, hash) in [("right", 1), ("wrong", 2)] {
        scene.sample(100, found(id, hash), Trigger::Bulk).await;
    }
    // It judges samples,
    let verdicts = scene.verdicts().await;
    assert_eq!(verdicts["right"].as_deref(), Some("right"));
    assert_eq!(verdicts["wrong"].as_deref(), Some("wrong"));
    // verifies, teaches, and plans the next look.
    let looked: i64 = sqlx::query_scalar(
        "select count(*) from external_integrations
          where last_verified_at = $1 and next_check_at >= $1 and evidence is not null
            and checks = 2",
    )
    .bind(jiff_sqlx::Timestamp::from(scene.at(100)))
    .fetch_one(&scene.db)
    .await
    .unwrap();
    assert_eq!(looked, 2);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_read_that_may_lag_behind_our_own_write_is_not_held_against_us(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.drawn(&["a"]).await;
    // A webhook's look has written the record a moment before; another read shows the old state.
    sqlx::query("update external_integrations set changed_at = $1")
        .bind(jiff_sqlx::Timestamp::from(scene.at(90)))
        .execute(&scene.db)
        .await
        .unwrap();
    scene.sample(100, found("a", 2), Trigger::SpotCheck).await;
    assert_eq!(scene.verdicts().await["a"].as_deref(), Some("young"));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_lottery_of_a_run_draws_from_all_its_pages_alike(db: PgPool) {
    let scene = Scene::new(db).await;
    let run = scene.a_run().await;
    let ids = |from: usize| (from..from + 50).map(|n| format!("{n:04}")).collect::<Vec<_>>();
    for page in 0..20 {
        scene.lots(run, &ids(50 * page), 40).await;
    }
    assert!(waiting(&scene.db, scene.connection, 100).await.unwrap().is_empty());
    assert_eq!(close_lottery(&scene.db, run).await.unwrap(), 40);
    let drawn = waiting(&scene.db, scene.connection, 100).await.unwrap();
    assert_eq!(drawn.len(), 40);
    let late = drawn.iter().filter(|(_, id)| id.as_str() >= "0500").count();
    assert!((10..=30).contains(&late), "{late} of 40 are from the second half");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_run_has_a_score_when_its_last_sample_was_judged(db: PgPool) {
    let scene = Scene::new(db).await;
    let run = scene.a_run().await;
    let ids: Vec<String> = (0..30).map(|n| format!("{n:02}")).collect();
    let looks = || ids.iter().map(|id| found(id, 1)).collect::<Vec<_>>();
    scene.write(&scene.fetch(-100, looks())).await.unwrap();
    scene.lots(run, &ids, 20).await;
    close_lottery(&scene.db, run).await.unwrap();
    bulk_runs::finish(&scene.db, run, Duration::ZERO).await.unwrap();
    assert!(score_runs(&scene.db).await.unwrap().is_empty());

    let mut batch = scene.fetch(100, looks());
    batch.trigger = Trigger::SpotCheck;
    scene.write(&batch).await.unwrap();
    let scores = score_runs(&scene.db).await.unwrap();
    // None of 20 is wrong: 0.05^(1/20).
    assert!((scores[&run.0] - 0.05_f64.powf(1.0 / 20.0)).abs() < 1e-6, "{scores:?}");
    assert!(score_runs(&scene.db).await.unwrap().is_empty());
    // What a run's audit finds says nothing about the mirror as a whole.
    assert!(latest(&scene.db, 24).await.unwrap().is_empty());
}
