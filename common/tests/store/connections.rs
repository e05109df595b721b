//! Connections.

use common::store::connections::{
    NewConnection, all, by_endpoint, open_lane, park, unpark, upsert,
};
use futures_util::future::join_all;
use sqlx::PgPool;

fn connection(lane: &str, endpoint: u8) -> NewConnection {
    let lane = lane.parse().unwrap();
    NewConnection { lane, account: "123".to_owned(), endpoint_hash: [endpoint; 32] }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_connection_keeps_its_number_when_its_account_and_endpoint_change(db: PgPool) {
    let first =
        upsert(&db, &[connection("klaviyo/main", 1), connection("eventbrite/a", 2)]).await.unwrap();
    let lanes: Vec<_> = first.iter().map(|c| c.lane.as_str()).collect();
    assert_eq!(lanes, ["eventbrite/a", "klaviyo/main"]);

    let mut moved = connection("klaviyo/main", 3);
    moved.account = "456".to_owned();
    let second = upsert(&db, &[moved]).await.unwrap();
    assert_eq!(second[0].id, first[1].id);
    assert_eq!(second[0].account, "456");
    assert_eq!(all(&db).await.unwrap().len(), 2);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn processes_that_start_together_do_not_get_in_each_others_way(db: PgPool) {
    for new in 1..=50 {
        let wanted = [connection(&format!("klaviyo/{new}"), new)];
        let together = join_all((0..8).map(|_| upsert(&db, &wanted))).await;
        let ids: Vec<_> = together.into_iter().map(|rows| rows.unwrap()[0].id).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn an_endpoint_is_found_by_its_hash_and_platform_only(db: PgPool) {
    let id = upsert(&db, &[connection("klaviyo/main", 1)]).await.unwrap()[0].id;
    let found = by_endpoint(&db, "klaviyo", &[1; 32]).await.unwrap().unwrap();
    assert_eq!(found.id, id);
    assert!(by_endpoint(&db, "eventbrite", &[1; 32]).await.unwrap().is_none());
    assert!(by_endpoint(&db, "klaviyo", &[2; 32]).await.unwrap().is_none());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn the_first_reason_to_park_stays_until_it_is_unparked(db: PgPool) {
    let id = upsert(&db, &[connection("klaviyo/main", 1)]).await.unwrap()[0].id;
    assert!(park(&db, id, "access was refused").await.unwrap());
    assert!(!park(&db, id, "something else").await.unwrap());
    let parked = all(&db).await.unwrap()[0].parked.clone().unwrap();
    assert_eq!(parked.reason, "access was refused");

    assert!(unpark(&db, id).await.unwrap());
    assert!(!unpark(&db, id).await.unwrap());
    assert!(all(&db).await.unwrap()[0].parked.is_none());
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn only_one_of_many_is_told_that_it_opens_a_lane_for_the_first_time(db: PgPool) {
    let id = upsert(&db, &[connection("klaviyo/main", 1)]).await.unwrap()[0].id;
    let openings = join_all((0..8).map(|_| open_lane(&db, id))).await;
    let first_times = openings.into_iter().filter(|o| o.as_ref().unwrap().first_time).count();
    assert_eq!(first_times, 1);
    assert!(all(&db).await.unwrap()[0].opened_at.is_some());
    assert!(open_lane(&db, common::ids::ConnectionId(id.0 + 1)).await.is_err());
}
