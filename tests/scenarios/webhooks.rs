//! From a platform's webhook to a true mirror.

use simulator::{ChangeKind, ChangeRequest, Platform, RecordType};
use sqlx::PgPool;
use tests::scene::{Scene, Setup};

fn edit(platform: Platform, record_type: RecordType) -> ChangeRequest {
    ChangeRequest {
        platform,
        record_type: Some(record_type),
        external_id: None,
        kind: ChangeKind::Edit,
        notify: true,
    }
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_signed_webhook_reaches_the_mirror(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::default()).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    for (platform, record_type) in [
        (Platform::Klaviyo, RecordType::Profile),
        (Platform::Eventbrite, RecordType::Attendee),
        (Platform::Eventbrite, RecordType::Order),
        (Platform::Eventbrite, RecordType::Event),
    ] {
        let changed = scene.platforms.change(&edit(platform, record_type))?;
        scene
            .until("the record that changed is mirrored as it is", async |scene| {
                let wrong = scene.mismatches().await?;
                Ok(!wrong.iter().any(|mismatch| mismatch.name.2 == changed.external_id))
            })
            .await?;
    }
    scene.comes_to_rest("klaviyo/main").await?;
    assert_eq!(scene.platforms.stats().klaviyo.refusals, 0);
    Ok(())
}
