//! Webhooks of which one in ten gets lost: what becomes of the changes that they would have told of.

use anyhow::ensure;
use simulator::{Platform, RecordId, RecordType};
use sqlx::PgPool;
use tests::scene::{Scene, Setup};

use crate::verbs::{
    SCAN_EVENTBRITE, an_hour_passes, edit_again, edit_silently, lists_are_new, records, scans_done,
};

/// Hours in which each hot record changes once and no cold one does.
const HOURS: usize = 5;
/// Of each.
const RECORDS: usize = 8;

/// An hour in which these records change, with a notice each; then the fleet wakes up. Returns when
/// the mirror is true and every order was looked at. How many of the notices got lost.
async fn an_hour(scene: &mut Scene, changing: &[RecordId]) -> anyhow::Result<u64> {
    scene.stop().await?;
    an_hour_passes(scene).await?;
    lists_are_new(scene).await?;
    let before = scene.platforms.stats().of(Platform::Eventbrite).webhooks.clone();
    scene.start_ingress().await?;
    for record in changing {
        edit_again(scene, record)?;
    }
    let sent = u64::try_from(changing.len())?;
    scene
        .until("the notices arrive that are not lost", async |scene| {
            let now = scene.platforms.stats().of(Platform::Eventbrite).webhooks.clone();
            Ok(now.arrived - before.arrived + now.lost - before.lost == sent)
        })
        .await?;
    wakes(scene).await?;
    Ok(scene.platforms.stats().of(Platform::Eventbrite).webhooks.lost - before.lost)
}

/// Starts the fleet, and waits until every order was looked at once more and the mirror is true.
async fn wakes(scene: &mut Scene) -> anyhow::Result<()> {
    scene.start_scheduler();
    scene.start_worker();
    scene
        .until("every order is looked at", async |scene| {
            // What was known before is an hour old.
            let old = "select count(*) from external_integrations
                        where record_type = 'order'
                          and last_verified_at < clock_timestamp() - interval '30 minutes'";
            Ok(scene.count(old).await? == 0)
        })
        .await?;
    scene.becomes_true().await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn every_lost_change_is_found_and_that_of_a_hot_record_before_that_of_a_cold_one(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut setup = Setup::of(&[Platform::Eventbrite]);
    setup.eventbrite = format!("{}\n{SCAN_EVENTBRITE}", setup.eventbrite);
    // One after the other: they are found in the order in which they were planned.
    setup.settings = "[worker]\nconcurrency = 1\n".to_owned();
    setup.simulator.eventbrite.orders = 3 * RECORDS;
    setup.simulator.eventbrite.account.webhooks.lost_share = 0.1;
    let mut scene = Scene::new(db, setup).await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.becomes_true().await?;
    scans_done(&mut scene, 3).await?;
    let orders = records(&scene, RecordType::Order);
    ensure!(orders.len() == 3 * RECORDS, "{} orders", orders.len());
    // Every third is hot, every third cold, whatever their ids.
    let every_third = |from| orders.iter().skip(from).step_by(3).cloned().collect::<Vec<_>>();
    let (hot, cold) = (every_third(0), every_third(1));

    let mut lost = 0;
    for _ in 0..HOURS {
        lost += an_hour(&mut scene, &hot).await?;
    }
    assert!(lost > 0, "with this seed some of 40 are lost");
    let found = "select count(*) from drift_events
                  where record_type = 'order' and found_by = 'spot-check' and repaired_at is not null";
    assert_eq!(scene.count(found).await?, i64::try_from(lost)?, "each that was lost was found");

    // The same is lost of both, in turn.
    scene.stop().await?;
    an_hour_passes(&scene).await?;
    lists_are_new(&scene).await?;
    for (cold, hot) in cold.iter().zip(&hot) {
        edit_silently(&scene, RecordType::Order, Some(cold))?;
        edit_silently(&scene, RecordType::Order, Some(hot))?;
    }
    wakes(&mut scene).await?;
    let in_order: Vec<String> = sqlx::query_scalar(
        "select external_id from drift_events where record_type = 'order' order by id offset $1",
    )
    .bind(i64::try_from(lost)?)
    .fetch_all(&scene.db)
    .await?;
    assert_eq!(in_order.len(), 2 * RECORDS, "every lost change is found, each once");
    let ranks_of = |group: &[RecordId]| -> usize {
        let place = |record: &RecordId| in_order.iter().position(|id| *id == record.external_id);
        group.iter().filter_map(place).sum()
    };
    // Of the ranks 0 to 15 all hot ones first make 28, no order at all 60.
    let (hot, cold) = (ranks_of(&hot), ranks_of(&cold));
    assert_eq!(hot + cold, 120);
    assert!(hot <= 40, "the ranks of the hot ones sum up to {hot}, of the cold ones to {cold}");
    Ok(())
}
