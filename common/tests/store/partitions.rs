//! The days of the history.

use std::time::Duration;

use common::store::operations::{drop_partitions, ensure_partitions};
use sqlx::PgPool;

use crate::scene::{Scene, found};

async fn count(db: &PgPool, table: &'static str) -> i64 {
    let sql = format!("select count(*) from {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn history_written_before_its_partition_existed_is_moved_into_it(db: PgPool) {
    let scene = Scene::new(db).await;
    scene.look(1, found("a", 1)).await;
    assert_eq!(count(&scene.db, "sync_operations_default").await, 1);

    assert_eq!(ensure_partitions(&scene.db, 3).await.unwrap(), 4);
    assert_eq!(ensure_partitions(&scene.db, 3).await.unwrap(), 0);
    assert_eq!(count(&scene.db, "sync_operations_default").await, 0);
    scene.look(2, found("a", 2)).await;
    assert_eq!(count(&scene.db, "sync_operations_default").await, 0);
    assert_eq!(count(&scene.db, "sync_operations").await, 2);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn retention_drops_whole_days_and_no_day_too_many(db: PgPool) {
    let scene = Scene::new(db).await;
    ensure_partitions(&scene.db, 0).await.unwrap();
    scene.look(1, found("a", 1)).await;
    sqlx::raw_sql(
        "create table sync_operations_20200101 partition of sync_operations
             for values from ('2020-01-01Z') to ('2020-01-02Z')",
    )
    .execute(&scene.db)
    .await
    .unwrap();

    assert_eq!(drop_partitions(&scene.db, Duration::from_hours(24)).await.unwrap(), 1);
    assert_eq!(drop_partitions(&scene.db, Duration::ZERO).await.unwrap(), 0);
    assert_eq!(count(&scene.db, "sync_operations").await, 1);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_write_that_meets_the_making_of_a_partition_waits_for_it(db: PgPool) {
    let scene = Scene::new(db).await;
    let mut making = scene.db.begin().await.unwrap();
    sqlx::query("select ensure_sync_operations_partitions(0)").execute(&mut *making).await.unwrap();
    let blocked = "select count(*) from pg_stat_activity
                    where datname = current_database() and wait_event_type = 'Lock'";
    let commit = async {
        while sqlx::query_scalar::<_, i64>(blocked).fetch_one(&scene.db).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        making.commit().await.unwrap();
    };
    let (_, ()) = tokio::join!(scene.look(1, found("a", 1)), commit);
    assert_eq!(count(&scene.db, "sync_operations_default").await, 0);
    assert_eq!(count(&scene.db, "sync_operations").await, 1);
}
