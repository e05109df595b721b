//! What sends a platform's webhooks is switched off: it is seen, told, mended, and what was missed
//! is read.

use anyhow::Context;
use common::store::senders::{self, State};
use simulator::{ChangeKind, ChangeRequest, Changed, Platform, RecordType};
use sqlx::PgPool;
use tests::program::Program;
use tests::scene::{Scene, Setup};
use tokio::io::AsyncReadExt;

use crate::accounts::{Accounts, endpoint, lane};
use crate::receiver::Receiver;
use crate::verbs::NO_SPOT_CHECKS;

/// An account whose webhooks lead to our address, and a fleet that has looked at them and found them
/// well. What is sent there is taken by somebody else: nothing that webhooks tell arrives by itself.
async fn watched(
    db: PgPool,
    platform: Platform,
    settings: &str,
) -> anyhow::Result<(Scene, Accounts, Receiver)> {
    let accounts = Accounts::start(simulator::Config::default().only(&[platform])).await?;
    let receiver = Receiver::start().await?;
    let public = &receiver.url;
    let address = format!("{public}/webhooks/{}/{}", platform.name(), endpoint(platform));
    accounts.platforms.set_webhook_target(platform, Some(address.parse()?));
    let more = match platform {
        Platform::Klaviyo => {
            r#"quotas.webhooks = { limit = 6000, window = "1m", burst = 100 }
               quotas.webhooks-burst = { limit = 100, window = "1s", burst = 100 }
               schedules = [{ record_type = "profile", mode = "changes", cron = "0 3 1 1 *" }]"#
        }
        Platform::Eventbrite => r#"quotas.hour = { limit = 100000, window = "1h", burst = 100 }"#,
        _ => "",
    };
    let settings = format!(
        "{NO_SPOT_CHECKS}watch_senders_every = \"500ms\"\n{settings}\n[ingress]\npublic_url = \"{public}\"\n{}",
        accounts.table(platform, more)
    );
    let mut scene = Scene::new(db, Setup { settings, ..Setup::default() }).await?;
    scene.start_scheduler();
    scene.start_worker();
    state_becomes(&mut scene, platform, State::Ok).await?;
    scene.comes_to_rest(&lane(platform)).await?;
    Ok((scene, accounts, receiver))
}

async fn state_becomes(scene: &mut Scene, platform: Platform, state: State) -> anyhow::Result<()> {
    let lane = lane(platform);
    scene
        .until("the sender is in that state", async |scene| {
            let all = senders::all(&scene.db).await?;
            Ok(all.iter().any(|sender| sender.lane.as_str() == lane && sender.state == state))
        })
        .await
}

/// A record changes, and its platform would have told of it.
fn edit(
    accounts: &Accounts,
    platform: Platform,
    record_type: RecordType,
) -> anyhow::Result<Changed> {
    Ok(accounts.platforms.change(&ChangeRequest {
        platform,
        record_type: Some(record_type),
        external_id: None,
        kind: ChangeKind::Edit,
        notify: true,
    })?)
}

/// From the first look to the scan of what was missed.
async fn is_mended(
    db: PgPool,
    platform: Platform,
    record_type: RecordType,
) -> anyhow::Result<(Scene, Accounts)> {
    let (mut scene, accounts, _receiver) = Box::pin(watched(db, platform, "")).await?;
    scene.stop().await?;

    accounts.platforms.set_webhook_enabled(platform, false);
    let changed = edit(&accounts, platform, record_type)?;
    scene
        .until("the platform tells nobody", async |_| {
            let stats = accounts.platforms.stats();
            let told = &stats.of(platform).webhooks;
            Ok(told.dropped + told.held > 0)
        })
        .await?;

    scene.start_scheduler();
    scene.start_worker();
    scene
        .until("what was missed is read", async |scene| {
            accounts.has_mirrored(scene, &changed).await
        })
        .await?;
    let alerts = "select count(*) from alerts where kind = 'webhooks-off'";
    assert!(scene.count(alerts).await? >= 1, "a person is told");
    let gaps = "select count(*) from webhook_senders where gap_types <> '{}'";
    scene.until("all of it is being read", async |scene| Ok(scene.count(gaps).await? == 0)).await?;
    Ok((scene, accounts))
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn klaviyos_webhook_is_enabled_again_and_what_changed_meanwhile_arrives(
    db: PgPool,
) -> anyhow::Result<()> {
    let (mut scene, accounts) = is_mended(db, Platform::Klaviyo, RecordType::Profile).await?;
    state_becomes(&mut scene, Platform::Klaviyo, State::Ok).await?;
    assert!(accounts.platforms.stats().klaviyo.webhooks.enabled);
    let open = "select count(*) from alerts where cleared_at is null";
    scene.until("the alert is over", async |scene| Ok(scene.count(open).await? == 0)).await?;

    // Not everything was read, but what changed since the sender was known to be well; and once.
    let bounded = "select count(*) from bulk_runs as run join webhook_senders using (connection_id)
         where run.record_type in ('profile', 'event') and run.mode = 'changes'
           and run.changed_since < well_at";
    assert_eq!(scene.count(bounded).await?, 2);
    scene.comes_to_rest(&lane(Platform::Klaviyo)).await?;
    assert_eq!(scene.count(bounded).await?, 2);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn eventbrites_webhook_is_made_anew(db: PgPool) -> anyhow::Result<()> {
    let (mut scene, _accounts) = is_mended(db, Platform::Eventbrite, RecordType::Attendee).await?;
    state_becomes(&mut scene, Platform::Eventbrite, State::Ok).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn patreons_webhook_is_set_going_again(db: PgPool) -> anyhow::Result<()> {
    is_mended(db, Platform::Patreon, RecordType::Member).await.map(drop)
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn discords_events_are_switched_on_again(db: PgPool) -> anyhow::Result<()> {
    is_mended(db, Platform::Discord, RecordType::Entitlement).await.map(drop)
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn where_nothing_is_to_be_repaired_the_alert_stays_until_a_person_has_done_it(
    db: PgPool,
) -> anyhow::Result<()> {
    let klaviyo = Platform::Klaviyo;
    let (mut scene, accounts, _receiver) = watched(db, klaviyo, "repair_senders = false").await?;
    accounts.platforms.set_webhook_enabled(klaviyo, false);
    state_becomes(&mut scene, klaviyo, State::Off).await?;
    let changed = edit(&accounts, klaviyo, RecordType::Profile)?;
    let seen_again = "select count(*) from alerts where cleared_at is null and count > 2";
    scene
        .until("it is seen again and again", async |scene| Ok(scene.count(seen_again).await? == 1))
        .await?;
    assert!(!accounts.platforms.stats().klaviyo.webhooks.enabled);
    let gap = "select count(*) from webhook_senders where gap_types = '{event,profile}'";
    assert_eq!(scene.count(gap).await?, 1, "it waits to be read until webhooks are sent");

    accounts.platforms.set_webhook_enabled(klaviyo, true);
    scene
        .until("what was missed is read", async |scene| {
            accounts.has_mirrored(scene, &changed).await
        })
        .await?;
    let open = "select count(*) from alerts where cleared_at is null";
    scene.until("the alert is over", async |scene| Ok(scene.count(open).await? == 0)).await
}

/// What `syncline` says, and what it ends with.
async fn syncline(scene: &Scene, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
    let file = scene.folder.file();
    let mut all = vec!["--config", file.to_str().context("a path in UTF-8")?, "connections"];
    all.extend(arguments);
    let mut program = Program::start("syncline", &all, &scene.environment(), None)?;
    let mut said = String::new();
    program.stdout().context("it is piped")?.read_to_string(&mut said).await?;
    Ok((program.end().await?.code().unwrap_or(-1), said))
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_person_sees_that_webhooks_are_off_and_sets_them_going_by_hand(
    db: PgPool,
) -> anyhow::Result<()> {
    let klaviyo = Platform::Klaviyo;
    let (mut scene, accounts, _receiver) = watched(db, klaviyo, "repair_senders = false").await?;
    let lane = lane(klaviyo);
    let (code, said) = syncline(&scene, &["check", &lane, "--json"]).await?;
    assert!(code == 0 && said.contains("webhooks are sent"), "{said}");
    accounts.platforms.set_webhook_enabled(klaviyo, false);
    state_becomes(&mut scene, klaviyo, State::Off).await?;
    scene.stop().await?;

    let (code, said) = syncline(&scene, &["check", &lane]).await?;
    assert!(code == 1 && said.contains("off"), "{said}");
    let (code, said) = syncline(&scene, &["repair", &lane, "--dry-run"]).await?;
    assert!(code == 1 && said.contains("it would be repaired"), "{said}");
    assert!(said.contains("event, profile (what changed since"), "{said}");
    assert!(!accounts.platforms.stats().klaviyo.webhooks.enabled);

    let (code, said) = syncline(&scene, &["repair", &lane]).await?;
    assert!(code == 0 && said.contains("scan started: event"), "{said}");
    assert!(accounts.platforms.stats().klaviyo.webhooks.enabled);
    assert_eq!(scene.count("select count(*) from alerts where cleared_at is null").await?, 0);
    let (code, said) = syncline(&scene, &["repair", &lane]).await?;
    assert!(code == 0 && !said.contains("scan started"), "once: {said}");
    Ok(())
}
