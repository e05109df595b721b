//! What sends a platform's webhooks.

use std::time::Duration;

use common::store::senders::{Found, Sender, State, all, lock_gap, narrow_gap, not_due, note};
use sqlx::PgPool;

use crate::scene::Scene;

impl Scene {
    /// What a look found that began `seconds` after the start.
    async fn finds(&self, seconds: i64, state: State) {
        let found = Found {
            connection: self.connection,
            state,
            what: "as it was found",
            began_at: self.at(seconds),
            next_in: Duration::from_mins(5),
            told_of: &["event", "profile"],
        };
        note(&self.db, &found).await.unwrap();
    }

    async fn sender(&self) -> Sender {
        all(&self.db).await.unwrap().remove(0)
    }

    /// Has these record types read, of those that were missed.
    async fn read(&self, types: &[&str]) {
        let mut tx = self.db.begin().await.unwrap();
        let gap = lock_gap(&mut tx, self.connection).await.unwrap().unwrap();
        let left: Vec<_> =
            gap.types.into_iter().filter(|left| !types.contains(&left.as_str())).collect();
        narrow_gap(&mut tx, self.connection, &left).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_gap_begins_with_the_last_look_that_found_it_well_and_stays_until_it_is_read(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.finds(0, State::Ok).await;
    scene.finds(10, State::Failing).await;
    assert_eq!(scene.sender().await.gap, None, "it sends, if in vain");
    for (seconds, state) in [(20, State::Off), (30, State::Unknown), (40, State::Missing)] {
        scene.finds(seconds, state).await;
        let gap = scene.sender().await.gap.unwrap();
        assert_eq!((gap.types.len(), gap.from), (2, Some(scene.at(10))), "{state}");
    }
    scene.finds(50, State::Ok).await;
    assert_eq!(scene.sender().await.well_at, Some(scene.at(50)));
    scene.read(&["profile"]).await;
    let gap = scene.sender().await.gap.unwrap();
    assert_eq!((gap.types[0].as_str(), gap.from), ("event", Some(scene.at(10))));

    // Broken once more before all is read: what is not read yet reaches back as far as before.
    scene.finds(60, State::Off).await;
    let gap = scene.sender().await.gap.unwrap();
    assert_eq!((gap.types.len(), gap.from), (2, Some(scene.at(10))));
    scene.finds(70, State::Ok).await;
    scene.read(&["event", "profile"]).await;
    assert_eq!(scene.sender().await.gap, None);
    scene.finds(80, State::Off).await;
    assert_eq!(scene.sender().await.gap.unwrap().from, Some(scene.at(70)));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn of_one_that_was_never_well_nobody_knows_since_when(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.finds(0, State::Missing).await;
    assert_eq!(scene.sender().await.gap, None, "nobody misses what never was there");
    scene.finds(10, State::Off).await;
    let sender = scene.sender().await;
    assert_eq!((sender.well_at, sender.gap.unwrap().from), (None, None));
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_look_that_ends_late_changes_nothing(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.finds(20, State::Ok).await;
    scene.finds(10, State::Off).await;
    let sender = scene.sender().await;
    assert_eq!((sender.state, sender.gap), (State::Ok, None));
    let since = sender.since;
    scene.finds(30, State::Ok).await;
    assert_eq!(scene.sender().await.since, since, "it is in this state still");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_next_look_is_due_when_the_last_one_said(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    assert_eq!(not_due(&scene.db).await.unwrap(), []);
    scene.finds(0, State::Ok).await;
    assert_eq!(not_due(&scene.db).await.unwrap(), [scene.connection]);
    sqlx::query("update webhook_senders set due_at = due_at - interval '6 minutes'")
        .execute(&scene.db)
        .await
        .unwrap();
    assert_eq!(not_due(&scene.db).await.unwrap(), []);
}
