//! Alerts.

use std::time::Duration;

use common::store::alerts::{MAX_OPEN_OF_A_KIND, Raised, Topic, clear, open, prune, raise, recent};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgPool;

use crate::scene::Scene;

impl Scene {
    fn topic<'a>(&self, kind: &'a str, subject: &'a str) -> Topic<'a> {
        Topic { connection: Some(self.connection), kind, subject }
    }
}

const FLEET: Topic<'static> = Topic { connection: None, kind: "redis-full", subject: "" };

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_trouble_has_one_alert_from_its_beginning_to_its_end(db: PgPool) {
    let scene = Scene::new(db).await;
    let topic = scene.topic("sender-off", "");
    let first = raise(&scene.db, topic, "it is off", &json!({ "failed": 1 })).await.unwrap();
    let second = raise(&scene.db, topic, "still off", &json!({ "failed": 2 })).await.unwrap();
    assert_eq!((first, second), (Raised::New, Raised::Again));

    let alerts = open(&scene.db, 10).await.unwrap();
    assert_eq!(alerts.len(), 1);
    let alert = &alerts[0];
    assert_eq!(alert.lane.as_ref().map(common::ids::Lane::as_str), Some("klaviyo/main"));
    assert_eq!((alert.message.as_str(), alert.count), ("still off", 2));
    assert_eq!(alert.detail, json!({ "failed": 2 }));
    assert!(alert.raised_at < alert.last_at, "{alert:?}");

    assert!(clear(&scene.db, topic).await.unwrap());
    assert!(!clear(&scene.db, topic).await.unwrap());
    assert!(open(&scene.db, 10).await.unwrap().is_empty());
    let again = raise(&scene.db, topic, "off once more", &json!({})).await.unwrap();
    assert_eq!(again, Raised::New);
    let all = recent(&scene.db, 10).await.unwrap();
    let ended: Vec<_> = all.iter().map(|alert| alert.cleared_at.is_some()).collect();
    assert_eq!(ended, [false, true], "latest first");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn processes_that_see_the_same_trouble_at_once_raise_one_alert(db: PgPool) {
    let scene = Scene::new(db).await;
    let detail = json!({});
    let raised = join_all((0..8).map(|_| raise(&scene.db, FLEET, "it is full", &detail))).await;
    let new = raised.into_iter().filter(|r| *r.as_ref().unwrap() == Raised::New).count();
    assert_eq!(new, 1);
    let alerts = open(&scene.db, 10).await.unwrap();
    assert_eq!((alerts.len(), alerts[0].count), (1, 8));
    assert_eq!(alerts[0].lane, None, "it is that of the fleet");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn alerts_differ_by_connection_kind_and_subject(db: PgPool) {
    let scene = Scene::new(db).await;
    let fleet = Topic { connection: None, ..scene.topic("a", "x") };
    for topic in [scene.topic("a", "x"), scene.topic("a", "y"), scene.topic("b", "x"), fleet] {
        assert_eq!(raise(&scene.db, topic, "m", &json!({})).await.unwrap(), Raised::New);
    }
    assert!(clear(&scene.db, scene.topic("a", "x")).await.unwrap());
    assert_eq!(open(&scene.db, 10).await.unwrap().len(), 3);
    assert_eq!(open(&scene.db, 2).await.unwrap().len(), 2);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_is_kept_of_an_alert_is_bounded(db: PgPool) {
    let scene = Scene::new(db).await;
    let long = "ä\0".repeat(10_000);
    let topic = scene.topic("long", &long);
    for _ in 0..2 {
        raise(&scene.db, topic, &long, &json!({ "is": long })).await.unwrap();
    }
    let alerts = open(&scene.db, 10).await.unwrap();
    assert_eq!((alerts.len(), alerts[0].count), (1, 2));
    assert_eq!(alerts[0].message.chars().count(), 500);
    assert_eq!(alerts[0].detail, json!({ "left_out": "too long" }));
    assert!(clear(&scene.db, topic).await.unwrap());
    raise(&scene.db, topic, "m", &json!({ "nul": "\0" })).await.unwrap();
    assert!(raise(&scene.db, scene.topic("No Kind", ""), "m", &json!({})).await.is_err());
    assert!(raise(&scene.db, scene.topic("no-object", ""), "m", &json!([])).await.is_err());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn one_kind_of_trouble_cannot_fill_the_list(db: PgPool) {
    let scene = Scene::new(db).await;
    for number in 0..MAX_OPEN_OF_A_KIND {
        let subject = number.to_string();
        raise(&scene.db, scene.topic("many", &subject), "m", &json!({})).await.unwrap();
    }
    let more = scene.topic("many", "one more");
    assert_eq!(raise(&scene.db, more, "m", &json!({})).await.unwrap(), Raised::TooMany);
    let known = scene.topic("many", "7");
    assert_eq!(raise(&scene.db, known, "m", &json!({})).await.unwrap(), Raised::Again);
    assert_eq!(raise(&scene.db, FLEET, "m", &json!({})).await.unwrap(), Raised::New);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_is_over_for_long_is_forgotten_and_what_is_open_stays(db: PgPool) {
    let scene = Scene::new(db).await;
    for subject in ["open", "over"] {
        raise(&scene.db, scene.topic("old", subject), "m", &json!({})).await.unwrap();
    }
    clear(&scene.db, scene.topic("old", "over")).await.unwrap();
    let month = Duration::from_hours(24 * 30);
    assert_eq!(prune(&scene.db, month).await.unwrap(), 0);
    let age = "update alerts set raised_at = raised_at - interval '40 days',
                                 cleared_at = cleared_at - interval '40 days'";
    sqlx::query(age).execute(&scene.db).await.unwrap();
    assert_eq!(prune(&scene.db, month).await.unwrap(), 1);
    assert_eq!(recent(&scene.db, 10).await.unwrap()[0].subject, "open");
}
