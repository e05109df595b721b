//! Discord as its documents have it: entitlements by webhook, guilds, members and roles by a bridge,
//! by scans and spot checks, and guilds that the bot was removed from.

use anyhow::Context;
use common::job::{Job, Priority, Task};
use reqwest::{Method, StatusCode};
use serde_json::json;
use simulator::{ChangeKind, GuildAccess, Platform, RecordId, RecordType, Switches};
use sqlx::PgPool;
use tests::config_file::{DISCORD, DISCORD_ENDPOINT};
use tests::scene::{Scene, Setup};

use crate::verbs::{
    NO_SPOT_CHECKS, change_on, create, delete_this, edit, edit_silently, history, mirrored,
    records, scan, scans_done, scans_of,
};

const DRIFT_REPAIRED: &str = "select count(*) from drift_events where repaired_at is not null";
const DEAD_LETTERS: &str = "select count(*) from dead_letters";

fn setup(settings: &str) -> Setup {
    let mut setup = Setup::of(&[Platform::Discord]);
    settings.clone_into(&mut setup.settings);
    let scans = scans_of(&["guild", "member", "role", "entitlement"]);
    setup.discord = format!("{}\n{scans}", setup.discord);
    setup
}

/// A fleet whose mirror is true.
async fn mirrored_fleet(db: PgPool, setup: Setup) -> anyhow::Result<Scene> {
    let mut scene = Scene::new(db, setup).await?;
    scene.start_ingress().await?;
    scene.start_scheduler();
    scene.start_worker();
    scans_done(&mut scene, 4).await?;
    scene.becomes_true().await?;
    Ok(scene)
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_happens_to_an_entitlement_arrives_by_webhook(db: PgPool) -> anyhow::Result<()> {
    let mut setup = setup(NO_SPOT_CHECKS);
    // Before each event Discord tries whether a wrong signature is refused.
    setup.simulator.discord.account.webhooks.probe_share = 1.0;
    let mut scene = mirrored_fleet(db, setup).await?;
    let ended = edit(&scene, RecordType::Entitlement)?;
    let bought = create(&scene, RecordType::Entitlement)?;
    mirrored(&mut scene, &[ended, bought.clone()]).await?;

    // It goes on being shown, as deleted.
    delete_this(&scene, Platform::Discord, &bought, true)?;
    mirrored(&mut scene, std::slice::from_ref(&bought)).await?;
    scene.comes_to_rest(DISCORD).await?;
    assert_eq!(history(&scene, &bought).await?, ["created", "changed"]);

    let stats = scene.platforms.stats().discord;
    assert_eq!((stats.webhooks.arrived, stats.webhooks.retries, stats.refusals), (3, 0, 0));
    assert_eq!((stats.webhooks.probes, stats.webhooks.probes_passed), (3, 0));
    assert_eq!(scene.count("select count(*) from drift_events").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_the_gateway_tells_a_bridge_arrives_by_its_notices(db: PgPool) -> anyhow::Result<()> {
    let mut scene = mirrored_fleet(db, setup(NO_SPOT_CHECKS)).await?;
    let mut members = records(&scene, RecordType::Member);
    let (changed, left) = (members.remove(0), members.remove(0));
    change_on(&scene, Platform::Discord, &changed, ChangeKind::Edit, true)?;
    delete_this(&scene, Platform::Discord, &left, true)?;
    edit(&scene, RecordType::Guild)?;
    scene.becomes_true().await?;
    scene.comes_to_rest(DISCORD).await?;
    assert_eq!(history(&scene, &left).await?, ["created", "suspected", "deleted"]);
    assert_eq!(scene.count("select count(*) from drift_events").await?, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn what_no_webhook_told_is_found_by_spot_checks(db: PgPool) -> anyhow::Result<()> {
    let mut scene = mirrored_fleet(db, setup("")).await?;
    let member = records(&scene, RecordType::Member).remove(0);
    change_on(&scene, Platform::Discord, &member, ChangeKind::Edit, false)?;
    edit_silently(&scene, RecordType::Role, None)?;
    edit_silently(&scene, RecordType::Entitlement, None)?;
    scene.becomes_true().await?;
    // The role is in its guild too.
    scene
        .until("all of it is repaired", async |scene| Ok(scene.count(DRIFT_REPAIRED).await? >= 4))
        .await?;
    assert_eq!(scene.platforms.stats().discord.refusals, 0);
    Ok(())
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_member_who_left_is_gone_after_two_looks(db: PgPool) -> anyhow::Result<()> {
    let mut setup = setup(NO_SPOT_CHECKS);
    setup.simulator.discord.account.switches.shuffled_members = true;
    let mut scene = mirrored_fleet(db, setup).await?;
    let left = records(&scene, RecordType::Member).remove(0);
    let role = records(&scene, RecordType::Role).into_iter().find(is_assignable).unwrap();
    delete_this(&scene, Platform::Discord, &left, false)?;
    delete_this(&scene, Platform::Discord, &role, false)?;
    for record_type in ["guild", "member", "role"] {
        scan(&scene, DISCORD, record_type).await?;
    }
    scene.becomes_true().await?;
    for gone in [&left, &role] {
        assert_eq!(history(&scene, gone).await?, ["created", "suspected", "deleted"], "{gone:?}");
    }
    assert_eq!(scene.count(DEAD_LETTERS).await?, 0);
    Ok(())
}

/// `@everyone` has the id of its guild, and stays.
fn is_assignable(role: &RecordId) -> bool {
    role.external_id.split_once('/').is_some_and(|(guild, own)| guild != own)
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_guild_that_is_unknown_to_us_stays_as_it_was(db: PgPool) -> anyhow::Result<()> {
    Box::pin(stays_as_it_was(db, GuildAccess::Unknown)).await
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn a_guild_that_we_may_not_see_stays_as_it_was(db: PgPool) -> anyhow::Result<()> {
    Box::pin(stays_as_it_was(db, GuildAccess::Missing)).await
}

async fn stays_as_it_was(db: PgPool, access: GuildAccess) -> anyhow::Result<()> {
    let mut setup = setup(NO_SPOT_CHECKS);
    // Half of them would be enough to halt a scan as a mass deletion.
    setup.simulator.discord.members = 120;
    let mut scene = mirrored_fleet(db, setup).await?;
    scene.comes_to_rest(DISCORD).await?;
    let there = "select count(*) from external_integrations where flags = 0";
    let all = scene.count(there).await?;
    let guild = records(&scene, RecordType::Guild).remove(0);
    let guild_access = [(guild.external_id.clone(), access)].into();
    let lost = Switches { guild_access, ..Switches::default() };
    scene.platforms.set_switches(Platform::Discord, lost);

    // Somebody asks for the guild, for one who is in it, and for everything.
    let below = format!("{}/", guild.external_id);
    let mut members = records(&scene, RecordType::Member);
    members.retain(|member| member.external_id.starts_with(&below));
    let member = members.first().context("the guild has members")?;
    let fleet = scene.fleet().await?;
    fleet.queue.enqueue(&[check("guild", &guild)?, check("member", member)?]).await?;
    for record_type in ["guild", "member", "role"] {
        assert!(scan(&scene, DISCORD, record_type).await?.is_some());
    }
    scans_done(&mut scene, 4 + 3).await?;
    scene.comes_to_rest(DISCORD).await?;
    assert_eq!(scene.count(there).await?, all);
    assert_eq!(history(&scene, &guild).await?, ["created", "unclear"]);
    assert_eq!(history(&scene, member).await?, ["created", "unclear"]);
    assert_eq!(scene.count(DEAD_LETTERS).await?, 0);
    // One look into it is enough for all that is in it, and a scan does not ask for what is not
    // listed.
    assert_eq!(refusals(&scene), 2);
    let left_alone: i64 = sqlx::query_scalar(
        "select count(*) from external_integrations
          where next_check_at > clock_timestamp() + interval '23 hours'
            and record_type = 'member' and starts_with(external_id, $1)",
    )
    .bind(&below)
    .fetch_one(&scene.db)
    .await?;
    assert_eq!(left_alone, i64::try_from(members.len())?);

    // The bot is let in again, and what happened meanwhile is found.
    change_on(&scene, Platform::Discord, member, ChangeKind::Edit, false)?;
    scene.platforms.set_switches(Platform::Discord, Switches::default());
    scan(&scene, DISCORD, "member").await?;
    scene.becomes_true().await
}

fn check(record_type: &str, record: &RecordId) -> anyhow::Result<Job> {
    let external_id = record.external_id.as_str().into();
    let task = Task::Check { record_type: record_type.into(), external_id };
    let priority = Priority::SpotCheck;
    Ok(Job { lane: DISCORD.parse()?, task, priority, trace: String::new() })
}

/// How many requests were answered 403 or 404.
fn refusals(scene: &Scene) -> u64 {
    let counts = scene.platforms.stats().discord.requests;
    counts.iter().filter(|one| [403, 404].contains(&one.status)).map(|one| one.count).sum()
}

#[sqlx::test(migrator = "common::store::MIGRATIONS")]
async fn discord_takes_our_address_for_its_webhooks(db: PgPool) -> anyhow::Result<()> {
    let mut scene = Scene::new(db, Setup::of(&[Platform::Discord])).await?;
    scene.start_ingress().await?;
    // Before it takes an address, Discord sends it a PING, which wants a 204 with a content type,
    // and one with a wrong signature, which wants a 401.
    let ours = scene.webhook_url(&format!("discord/{DISCORD_ENDPOINT}"));
    let request = scene
        .http
        .request(Method::PATCH, &format!("{}/applications/@me", scene.platforms.discord_url))
        .header("authorization", "Bot simulated-bot-token")
        .header("user-agent", "DiscordBot (https://example.org, 1)")
        .header("content-type", "application/json")
        .body(json!({ "event_webhooks_url": ours }).to_string());
    let (status, body) = scene.http.send(request).await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    Ok(())
}
