//! Schedules and their ticks.

use std::time::Duration;

use common::store::bulk_runs::{Mode, NewRun, start};
use common::store::schedules::{
    NewSchedule, claim_tick, enabled, last_tick, note_run, prune_ticks, replace,
};
use futures_util::future::join_all;
use sqlx::PgPool;

use crate::scene::Scene;

impl Scene {
    fn schedule(&self, mode: Mode, cron: &str) -> NewSchedule {
        NewSchedule {
            connection: self.connection,
            record_type: self.record_type.clone(),
            mode,
            cron: cron.to_owned(),
        }
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_tick_is_taken_once_however_many_schedulers_want_it(db: PgPool) {
    let scene = Scene::new(db).await;
    replace(&scene.db, &[scene.schedule(Mode::Full, "0 3 * * *")]).await.unwrap();
    let id = enabled(&scene.db).await.unwrap()[0].id;

    let claims = join_all((0..5).map(|_| claim_tick(&scene.db, id, scene.at(0)))).await;
    assert_eq!(claims.into_iter().filter(|claim| *claim.as_ref().unwrap()).count(), 1);
    assert_eq!(last_tick(&scene.db, id).await.unwrap(), Some(scene.at(0)));

    let new = NewRun {
        connection: scene.connection,
        record_type: scene.record_type.clone(),
        changed_since: None,
    };
    let run = start(&scene.db, &new).await.unwrap().unwrap();
    note_run(&scene.db, id, scene.at(0), run).await.unwrap();
    assert!(note_run(&scene.db, id, scene.at(1), run).await.is_err());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_schedule_that_the_configuration_drops_is_disabled_and_keeps_its_number(db: PgPool) {
    let scene = Scene::new(db).await;
    let (full, changes) =
        (scene.schedule(Mode::Full, "0 3 * * *"), scene.schedule(Mode::Changes, "*/5 * * * *"));
    replace(&scene.db, &[full.clone(), changes.clone()]).await.unwrap();
    let before = enabled(&scene.db).await.unwrap();
    assert_eq!(before.len(), 2);

    replace(&scene.db, &[changes]).await.unwrap();
    let left = enabled(&scene.db).await.unwrap();
    assert_eq!((left.len(), left[0].mode), (1, Mode::Changes));

    replace(&scene.db, &[NewSchedule { cron: "0 4 * * *".to_owned(), ..full }]).await.unwrap();
    let back = enabled(&scene.db).await.unwrap();
    assert_eq!((back.len(), back[0].id, back[0].cron.as_str()), (1, before[0].id, "0 4 * * *"));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_last_tick_of_a_schedule_outlives_pruning(db: PgPool) {
    let scene = Scene::new(db).await;
    replace(&scene.db, &[scene.schedule(Mode::Full, "0 3 * * *")]).await.unwrap();
    let id = enabled(&scene.db).await.unwrap()[0].id;
    for seconds in [-300, -200, -100] {
        assert!(claim_tick(&scene.db, id, scene.at(seconds)).await.unwrap());
    }
    assert_eq!(prune_ticks(&scene.db, Duration::from_secs(30)).await.unwrap(), 2);
    assert_eq!(enabled(&scene.db).await.unwrap()[0].last_tick, Some(scene.at(-100)));
}
