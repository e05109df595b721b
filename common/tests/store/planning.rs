//! The planner's index: what it reads, and that it is not the table.

use common::ids::{ConnectionId, ExternalId};
use common::store::records::{Replanned, first_due, next_due, random, replan, walk, window};
use sqlx::{AssertSqlSafe, PgPool, Row as _};

use crate::scene::{Scene, found};

impl Scene {
    /// Records as an import leaves them, half an hour apart in when they come due.
    async fn many(&self, records: i32) {
        sqlx::query(
            "insert into external_integrations
                    (connection_id, record_type, external_id, schema_version, flags, fetched_at,
                     fence, first_seen_at, changed_at, last_verified_at, checks, changes,
                     next_check_at)
             select $1, $2, lpad(n::text, 6, '0'), 1, 0, now(), 1, now(), now(), now(), 1, 0,
                    now() + make_interval(secs => n % 1800 - 900)
               from generate_series(1, $3) as n",
        )
        .bind(self.connection.0)
        .bind(self.record_type.as_str())
        .bind(records)
        .execute(&self.db)
        .await
        .unwrap();
        sqlx::query("analyze external_integrations").execute(&self.db).await.unwrap();
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn planning_reads_an_index_and_never_the_table(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.many(30_000).await;
    let mut tx = scene.db.begin().await.unwrap();
    // What this transaction has read so far, of the table and of its indexes.
    let read = "select coalesce(sum(seq_scan), 0)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint
                  from pg_stat_xact_user_tables where relname = 'external_integrations'";
    let before: (i64, i64) = sqlx::query_as(read).fetch_one(&mut *tx).await.unwrap();

    let rows = next_due(&mut *tx, scene.connection, 100).await.unwrap();
    assert_eq!(rows.len(), 100);
    let moved: Vec<Replanned> = rows
        .iter()
        .map(|row| Replanned {
            record_type: row.record_type.clone(),
            external_id: row.external_id.clone(),
            was: row.next_check_at,
            next_check_at: scene.at(10_000),
            reserved: true,
        })
        .collect();
    assert_eq!(replan(&mut *tx, scene.connection, &moved).await.unwrap(), 100);
    let last = rows.last().map(|row| (row.record_type.clone(), row.external_id.clone()));
    assert_eq!(walk(&mut *tx, scene.connection, last.as_ref(), 100).await.unwrap().len(), 100);

    let after: (i64, i64) = sqlx::query_as(read).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(after.0 - before.0, 0, "a scan of the table");
    assert!(after.1 - before.1 < 2_000, "{} rows were read", after.1 - before.1);
    tx.commit().await.unwrap();
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_comes_due_first_is_read_from_the_index_that_is_made_for_it(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.many(30_000).await;
    let mut connection = scene.db.acquire().await.unwrap();
    assert_eq!(next_due(&mut *connection, scene.connection, 100).await.unwrap().len(), 100);
    let nobody = ConnectionId(scene.connection.0 + 1);
    let first = first_due(&mut *connection, &[nobody, scene.connection]).await.unwrap();
    let rows = next_due(&mut *connection, scene.connection, 1).await.unwrap();
    assert_eq!(first.get(&scene.connection).copied(), rows[0].next_check_at);
    assert_eq!(first.len(), 1);

    // The statements as they were sent.
    for (arguments, has_array) in [("1, 100", false), ("'{1, 2, 3}'", true)] {
        let name: String = sqlx::query_scalar(
            "select name from pg_prepared_statements
              where statement like '%from external_integrations%order by next_check_at limit%'
                and statement not like '%pg_prepared_statements%'
                and (statement like '%unnest%') = $1",
        )
        .bind(has_array)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        let explain = AssertSqlSafe(format!("explain execute {name} ({arguments})"));
        let plan = sqlx::raw_sql(explain).fetch_all(&mut *connection).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("external_integrations_next_check"), "{plan}");
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{plan}");
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn random_records_are_found_without_a_scan_of_the_table(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.many(30_000).await;
    let plan: Vec<String> = sqlx::query_scalar(
        "explain select external_id from external_integrations
          where connection_id = 1 and record_type = 'profile' and flags & 1 = 0
            and hashtextextended(external_id, 0) >= 77 and hashtextextended(external_id, 0) < 99999
          order by hashtextextended(external_id, 0) limit 10",
    )
    .fetch_all(&scene.db)
    .await
    .unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains("external_integrations_by_hash"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");

    let (db, connection, kind) = (&scene.db, scene.connection, &scene.record_type);
    for start in [0, i64::MAX - 1000, i64::MIN, -12_345_678_901_234] {
        let sampled = random(db, connection, kind, start, 500).await.unwrap();
        assert_eq!(sampled.records.len(), 500);
        assert!((sampled.population / 30_000.0 - 1.0).abs() < 0.2, "{}", sampled.population);
    }
    let all = random(db, connection, kind, 5, 50_000).await.unwrap();
    assert!((all.population - 30_000.0).abs() < 1.0, "{}", all.population);
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn each_record_is_in_as_many_windows_as_any_other(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.many(300).await;
    let mut drawn: std::collections::BTreeMap<ExternalId, u32> = std::collections::BTreeMap::new();
    // 64 windows of a sixteenth, side by side around the circle: each record is in four of them,
    // wherever its neighbours stand.
    for step in 0..64_i64 {
        let start = i64::MIN.wrapping_add(step.wrapping_mul(1 << 58));
        let ids = window(&scene.db, scene.connection, &scene.record_type, start, 1.0 / 16.0, 1_000)
            .await
            .unwrap();
        for id in ids {
            *drawn.entry(id).or_default() += 1;
        }
    }
    assert_eq!(drawn.len(), 300);
    assert!(drawn.values().all(|times| *times == 4), "{drawn:?}");
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_look_that_came_between_is_not_moved(db: PgPool) {
    let scene = Scene::an_hour_ago(db).await;
    scene.look(0, found("a", 1)).await;
    let row = next_due(&scene.db, scene.connection, 1).await.unwrap().remove(0);
    scene.look(10, found("a", 1)).await;
    let late = Replanned {
        record_type: row.record_type,
        external_id: row.external_id,
        was: row.next_check_at,
        next_check_at: scene.at(99_999),
        reserved: false,
    };
    assert_eq!(replan(&scene.db, scene.connection, &[late]).await.unwrap(), 0);
    assert_ne!(scene.due().await, Vec::<String>::new());
}
