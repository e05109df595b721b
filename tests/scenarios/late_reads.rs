//! A platform whose reads lag behind its writes: what a webhook tells of is not there yet.

use simulator::{Platform, RecordType};
use sqlx::PgPool;
use tests::config_file::EVENTBRITE;
use tests::scene::{Scene, Setup};

use crate::verbs::{arrived, create, edit, edit_again, history, mirrored};

/// Reads show a change after a second.
fn lagging(connection: &str) -> Setup {
    let mut setup = Setup::default();
    setup.simulator.eventbrite.account.stale_ms = (1_000, 1_000);
    setup.eventbrite = format!(
        "quotas.hour = {{ limit = 100000, window = \"1h\", burst = 100, headroom = 5 }}\n\
         {connection}"
    );
    setup
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_look_that_came_too_early_is_followed_by_one_that_did_not(
    db: PgPool,
) -> anyhow::Result<()> {
    let setup = lagging("confirm_after = [\"1200ms\"]\nyoung = \"0s\"");
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    let order = edit(&scene, RecordType::Order)?;
    mirrored(&mut scene, std::slice::from_ref(&order)).await?;
    scene.comes_to_rest(EVENTBRITE).await?;
    // The state before the change, then the change.
    assert_eq!(history(&scene, &order).await?, ["created", "changed"]);

    edit_again(&scene, &order)?;
    mirrored(&mut scene, std::slice::from_ref(&order)).await?;
    scene.comes_to_rest(EVENTBRITE).await?;
    let looks = ["created", "changed", "unchanged", "changed"];
    assert_eq!(history(&scene, &order).await?, looks);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_new_record_that_cannot_be_read_yet_is_not_given_up(db: PgPool) -> anyhow::Result<()> {
    let setup = lagging("confirm_after = [\"300ms\"]\nyoung = \"20s\"");
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    let order = create(&scene, RecordType::Order)?;
    arrived(&mut scene, Platform::Eventbrite, 1).await?;
    scene.comes_to_rest(EVENTBRITE).await?;
    let looks = history(&scene, &order).await?;
    assert_eq!(looks[0], "unclear", "{looks:?}");
    assert!(looks.contains(&"created".to_owned()), "{looks:?}");
    mirrored(&mut scene, &[order]).await
}
