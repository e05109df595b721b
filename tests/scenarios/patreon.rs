//! Patreon as its documents have it: members by webhook, everything by scans and spot checks.

use anyhow::bail;
use serde_json::json;
use simulator::{Platform, RecordId, RecordType, Switches};
use sqlx::PgPool;
use tests::config_file::PATREON;
use tests::scene::{Scene, Setup};

use crate::verbs::{
    NO_SPOT_CHECKS, arrived, create, delete_this, edit, edit_silently, history, mirrored, records,
    scan, scans_done, scans_of, truth,
};

const DRIFT_REPAIRED: &str = "select count(*) from drift_events where repaired_at is not null";

fn setup(settings: &str) -> Setup {
    let mut setup = Setup::of(&[Platform::Patreon]);
    settings.clone_into(&mut setup.settings);
    setup.patreon = format!("{}\n{}", setup.patreon, scans_of(&["campaign", "member", "tier"]));
    setup
}

/// A fleet whose mirror is true.
async fn mirrored_fleet(db: PgPool, setup: Setup) -> anyhow::Result<Scene> {
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    scans_done(&mut scene, 3).await?;
    scene.becomes_true().await?;
    Ok(scene)
}

/// Members who did or did not ever pay.
fn members(scene: &Scene, paid: bool) -> Vec<RecordId> {
    let lifetime = "/attributes/campaign_lifetime_support_cents";
    let has_paid = |record: &RecordId| {
        truth(scene, record).is_some_and(|payload| payload.pointer(lifetime) != Some(&json!(0)))
    };
    records(scene, RecordType::Member).into_iter().filter(|one| has_paid(one) == paid).collect()
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_change_of_a_member_arrives_by_webhook(db: PgPool) -> anyhow::Result<()> {
    let mut scene = mirrored_fleet(db, setup(NO_SPOT_CHECKS)).await?;
    let changed = edit(&scene, RecordType::Member)?;
    let joined = create(&scene, RecordType::Member)?;
    mirrored(&mut scene, &[changed, joined]).await?;

    // One change comes as two triggers, and in the end the member is a former patron.
    let payer = members(&scene, true).remove(0);
    let looks = scene.platforms.fetches(Platform::Patreon, &payer).alone;
    let notices = scene.platforms.stats().patreon.webhooks.arrived;
    delete_this(&scene, Platform::Patreon, &payer, true)?;
    arrived(&mut scene, Platform::Patreon, notices + 2).await?;
    mirrored(&mut scene, std::slice::from_ref(&payer)).await?;
    scene.comes_to_rest(PATREON).await?;
    assert!((1..=2).contains(&(scene.platforms.fetches(Platform::Patreon, &payer).alone - looks)));

    let stats = scene.platforms.stats().patreon;
    assert_eq!((stats.refusals, stats.webhooks.retries), (0, 0));
    assert_eq!(scene.count("select count(*) from drift_events").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_no_webhook_told_is_found_by_spot_checks(db: PgPool) -> anyhow::Result<()> {
    let mut scene = mirrored_fleet(db, setup("")).await?;
    edit_silently(&scene, RecordType::Member, None)?;
    // Patreon has no webhook for these.
    for record_type in [RecordType::Tier, RecordType::Campaign] {
        edit(&scene, record_type)?;
    }
    scene.becomes_true().await?;
    assert_eq!(scene.count(DRIFT_REPAIRED).await?, 3);
    assert_eq!(scene.count("select count(*) from inbox").await?, 0);
    assert_eq!(scene.platforms.stats().patreon.refusals, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_member_who_was_removed_is_gone_at_once_and_one_who_is_not_found_after_two_looks(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut scene = mirrored_fleet(db, setup(NO_SPOT_CHECKS)).await?;
    let removed = members(&scene, false);
    let [told, untold, unclear, ..] = removed.as_slice() else {
        bail!("too few members who never paid: {}", removed.len())
    };

    // 410 is Patreon's word that a record is gone.
    delete_this(&scene, Platform::Patreon, told, true)?;
    scene.becomes_true().await?;
    assert_eq!(history(&scene, told).await?, ["created", "deleted"]);

    delete_this(&scene, Platform::Patreon, untold, false)?;
    scan(&scene, PATREON, "member").await?;
    scene.becomes_true().await?;
    assert_eq!(history(&scene, untold).await?, ["created", "deleted"]);

    let switches = Switches { removed_is_not_found: true, ..Switches::default() };
    scene.platforms.set_switches(Platform::Patreon, switches);
    scene.comes_to_rest(PATREON).await?;
    delete_this(&scene, Platform::Patreon, unclear, false)?;
    scan(&scene, PATREON, "member").await?;
    scene.becomes_true().await?;
    assert_eq!(history(&scene, unclear).await?, ["created", "suspected", "deleted"]);
    assert_eq!(scene.count(DRIFT_REPAIRED).await?, 2, "a webhook told of the first");
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_scope_that_was_taken_away_parks_the_connection_and_deletes_nothing(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut scene = mirrored_fleet(db, setup(NO_SPOT_CHECKS)).await?;
    let there = "select count(*) from external_integrations where flags = 0";
    let all = scene.count(there).await?;
    let missing_scopes = vec!["campaigns.members".to_owned()];
    let switches = Switches { missing_scopes, ..Switches::default() };
    scene.platforms.set_switches(Platform::Patreon, switches);

    edit(&scene, RecordType::Member)?;
    let parked = "select count(*) from connections where parked_reason like '%401%'";
    scene.until("it is parked", async |scene| Ok(scene.count(parked).await? == 1)).await?;
    scan(&scene, PATREON, "member").await?;
    edit(&scene, RecordType::Member)?;
    assert_eq!(scene.count(there).await?, all);
    assert_eq!(scene.count("select count(*) from dead_letters").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_list_whose_cursor_never_ends_is_read_once(db: PgPool) -> anyhow::Result<()> {
    let mut setup = setup(NO_SPOT_CHECKS);
    setup.simulator.patreon.account.switches.endless_cursor = true;
    // Two pages of campaigns, the second of which leads to itself.
    setup.simulator.patreon.campaigns = 25;
    let mut scene = mirrored_fleet(db, setup).await?;
    scene.comes_to_rest(PATREON).await?;
    let pages = "select pages::bigint from bulk_runs where record_type = 'campaign'";
    assert_eq!(scene.count(pages).await?, 2);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_cursor_that_expired_ends_the_run_and_the_next_one_starts_anew(
    db: PgPool,
) -> anyhow::Result<()> {
    let mut setup = setup(NO_SPOT_CHECKS);
    setup.simulator.patreon.account.switches.cursors_expire_after_ms = Some(0);
    setup.simulator.patreon.campaigns = 25;
    let mut scene = Scene::new(db, setup).await?;
    scene.start_scheduler();
    scene.start_worker();
    let failed = "select count(*) from bulk_runs where state = 'failed' and reason like '%cursor%'";
    scene.until("the runs fail", async |scene| Ok(scene.count(failed).await? == 3)).await?;

    scene.platforms.set_switches(Platform::Patreon, Switches::default());
    for record_type in ["campaign", "member", "tier"] {
        assert!(scan(&scene, PATREON, record_type).await?.is_some());
    }
    scene.becomes_true().await?;
    assert_eq!(scene.count("select count(*) from dead_letters").await?, 0);
    Ok(())
}
