//! Whatever the order of writes, the latest fetch has the last word.

use std::sync::atomic::{AtomicUsize, Ordering};

use common::ids::{ExternalId, Fence};
use common::store::records::Flags;
use futures_util::future::try_join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{PgPool, Row};
use tokio::runtime::Handle;

use crate::scene::{Scene, found, missing};

/// A fetch: when it began, its fence, and the content it found, if the record was there.
type Fetch = (i64, i64, Option<u8>);

/// Fetches in the order in which they are written; no two have both instant and fence in common.
fn fetches() -> impl Strategy<Value = Vec<Fetch>> {
    let fetch = (0..90_i64, 0..3_i64, prop::option::weighted(0.6, 0..3_u8));
    prop::collection::vec(fetch, 1..12).prop_map(|mut fetches| {
        let mut seen = std::collections::HashSet::new();
        fetches.retain(|(seconds, fence, _)| seen.insert((*seconds, *fence)));
        fetches
    })
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn any_order_of_writes_ends_in_the_state_of_the_latest_fetch(db: PgPool) {
    let scene = Scene::new(db).await;
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let case = AtomicUsize::new(0);
        let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&fetches(), |fetches| {
                let id = format!("record {}", case.fetch_add(1, Ordering::Relaxed));
                handle.block_on(latest_wins(&scene, &id, &fetches))
            })
            .unwrap();
    })
    .await
    .unwrap();
}

async fn latest_wins(scene: &Scene, id: &str, fetches: &[Fetch]) -> Result<(), TestCaseError> {
    for (seconds, fence, content) in fetches {
        let look = content.map_or_else(|| missing(id), |content| found(id, content));
        let mut batch = scene.fetch(*seconds, vec![look]);
        batch.fence = Fence(*fence);
        scene.write(&batch).await.unwrap();
    }

    let (seconds, fence, content) = *fetches.iter().max().unwrap();
    let row = sqlx::query(
        "select fetched_at, fence, flags, content_hash from external_integrations
          where external_id = $1",
    )
    .bind(ExternalId::from(id))
    .fetch_one(&scene.db)
    .await
    .unwrap();
    let fetched_at = row.get::<jiff_sqlx::Timestamp, _>("fetched_at").to_jiff();
    prop_assert_eq!((fetched_at, row.get::<i64, _>("fence")), (scene.at(seconds), fence));
    let flags = Flags(row.get("flags"));
    let hash: Option<Vec<u8>> = row.get("content_hash");
    if let Some(content) = content {
        prop_assert_eq!((flags, hash), (Flags(0), Some(vec![content; 16])));
    } else {
        prop_assert!(flags == Flags::SUSPECTED || flags == Flags::DELETED);
    }
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn writes_that_overlap_wait_for_each_other_and_never_deadlock(db: PgPool) {
    let scene = Scene::new(db).await;
    for round in 0..5_i64 {
        let batches: Vec<_> = (0..6_i64)
            .map(|n| {
                let mut looks: Vec<_> = (0..60)
                    .map(|id| found(&format!("{round}/{id:02}"), u8::try_from(n).unwrap()))
                    .collect();
                if n % 2 == 1 {
                    looks.reverse();
                }
                scene.fetch(n, looks)
            })
            .collect();
        try_join_all(batches.iter().map(|batch| scene.write(batch))).await.unwrap();

        for id in ["00", "30", "59"] {
            let (payload, _) = scene.mirrored(&format!("{round}/{id}")).await.unwrap();
            assert_eq!(payload.as_deref(), Some(r#"{"n": 5}"#));
        }
    }
}
