//! How wrong the mirror is, what webhooks are worth, and what does not count.

use common::store::excluded_fields::{exclude, include};
use simulator::RecordType;
use sqlx::PgPool;
use tests::config_file::{EVENTBRITE, KLAVIYO};
use tests::scene::{Scene, Setup};

use crate::verbs::{
    NO_SPOT_CHECKS, SCAN_EVENTBRITE, SCAN_PROFILES, edit, edit_again, edit_silently, mirrored,
    records, scan,
};

fn scanned(settings: &str) -> Setup {
    let mut setup = Setup { settings: settings.to_owned(), ..Setup::default() };
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    setup.eventbrite = format!("{}\n{SCAN_EVENTBRITE}", setup.eventbrite);
    setup
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_field_that_is_excluded_causes_no_drift_and_neither_does_its_return(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, scanned("")).await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.becomes_true().await?;
    let fleet = scene.fleet().await?;
    let lane = KLAVIYO.parse()?;
    let connection = fleet.connections.get(&lane).expect("it is configured").id;
    let kind = "profile".into();
    let pointer = "/attributes/first_name";
    let hashed = async |scene: &Scene, excluded: bool| {
        // The upper half of the version says what was excluded.
        let wrong = if excluded {
            "select count(*) from external_integrations
              where record_type = 'profile' and schema_version < 65536"
        } else {
            "select count(*) from external_integrations
              where record_type = 'profile' and schema_version > 65535"
        };
        Ok(scene.count(wrong).await? == 0)
    };
    assert!(exclude(&scene.db, connection, &kind, pointer).await?);
    scene
        .until("every profile is hashed without it", async |scene| hashed(scene, true).await)
        .await?;
    assert!(include(&scene.db, connection, &kind, pointer).await?);
    scene
        .until("every profile is hashed with it", async |scene| hashed(scene, false).await)
        .await?;
    assert_eq!(scene.count("select count(*) from drift_events").await?, 0);

    // What changes is still found.
    let profile = edit_silently(&scene, RecordType::Profile, None)?;
    mirrored(&mut scene, &[profile]).await?;
    assert_eq!(scene.count("select count(*) from drift_events").await?, 1);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn an_outage_of_webhooks_is_noticed_by_what_looks_find(db: PgPool) -> anyhow::Result<()> {
    let mut setup = Setup::default();
    setup.eventbrite = format!("{}\n{SCAN_EVENTBRITE}", setup.eventbrite);
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_worker();
    // While they work, each change is told.
    let attendee = edit(&scene, RecordType::Attendee)?;
    mirrored(&mut scene, std::slice::from_ref(&attendee)).await?;
    for _ in 0..24 {
        edit_again(&scene, &attendee)?;
        mirrored(&mut scene, std::slice::from_ref(&attendee)).await?;
    }
    scene.comes_to_rest(EVENTBRITE).await?;
    assert!(
        scene
            .count("select told_changes from record_habits where record_type = 'attendee'")
            .await?
            >= 20
    );

    // Then they do not come any more, and spot checks find what changes.
    scene.start_scheduler();
    let outage = "select count(*) from record_habits where outage_since is not null";
    for _ in 0..20 {
        edit_silently(&scene, RecordType::Attendee, Some(&attendee))?;
        mirrored(&mut scene, std::slice::from_ref(&attendee)).await?;
        if scene.count(outage).await? > 0 {
            break;
        }
    }
    scene
        .until("the outage is noticed", async |scene| {
            let open = "select count(*) from alerts
                         where kind = 'webhooks-silent' and subject = 'attendee'
                           and cleared_at is null";
            Ok(scene.count(open).await? == 1 && scene.count(outage).await? == 1)
        })
        .await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_run_is_audited_and_a_wrong_mirror_has_a_low_score(db: PgPool) -> anyhow::Result<()> {
    let settings = format!("{NO_SPOT_CHECKS}run_audit_samples = 20\n");
    let mut setup = Setup { settings, ..Setup::default() };
    setup.klaviyo = format!("{}\n{SCAN_PROFILES}", setup.klaviyo);
    setup.simulator.klaviyo.profiles = 30;
    let mut scene = Scene::new(db, setup).await?;
    scene.start_scheduler();
    scene.start_worker();
    let scored = "select count(*) from bulk_runs
                   where record_type = 'profile' and audit_samples = 20 and audit_wrong = 0
                     and confidence > 0.85";
    scene.until("the run has a score", async |scene| Ok(scene.count(scored).await? == 1)).await?;

    // Another run; what it wrote is made wrong before its audit looks.
    let profiles = records(&scene, RecordType::Profile);
    scene.stop().await?;
    scene.start_worker();
    assert!(scan(&scene, KLAVIYO, "profile").await?.is_some());
    let fleet = scene.fleet().await?;
    let job = common::job::Job {
        lane: KLAVIYO.parse()?,
        task: common::job::Task::Scan { record_type: "profile".into() },
        priority: common::job::Priority::Bulk,
        trace: String::new(),
    };
    fleet.queue.enqueue(&[job]).await?;
    scene
        .until("the second run is done", async |scene| {
            Ok(scene.count("select count(*) from bulk_runs where state = 'done'").await? == 2)
        })
        .await?;
    for profile in &profiles {
        sqlx::query("update external_integrations set content_hash = decode(repeat('00', 16), 'hex') where external_id = $1")
            .bind(&profile.external_id)
            .execute(&scene.db)
            .await?;
    }
    scene.start_scheduler();
    scene
        .until("the second run has a score, and it is low", async |scene| {
            let low = "select count(*) from bulk_runs
                        where record_type = 'profile' and audit_wrong > 0 and confidence < 0.5";
            Ok(scene.count(low).await? == 1)
        })
        .await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn of_webhooks_that_get_lost_every_change_is_found(db: PgPool) -> anyhow::Result<()> {
    let mut setup = scanned("");
    setup.simulator.klaviyo.account.webhooks.lost_share = 0.5;
    setup.simulator.eventbrite.account.webhooks.lost_share = 0.5;
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    scene.becomes_true().await?;
    for _ in 0..10 {
        edit(&scene, RecordType::Profile)?;
        edit(&scene, RecordType::Attendee)?;
        edit(&scene, RecordType::Order)?;
    }
    scene.becomes_true().await?;
    let open = "select count(*) from drift_events where repaired_at is null";
    assert_eq!(scene.count(open).await?, 0);
    Ok(())
}
