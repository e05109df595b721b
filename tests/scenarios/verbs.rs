//! What stories do and look at.

use std::time::Duration;

use anyhow::bail;
use common::ids::Lane;
use common::store::bulk_runs::{self, NewRun, RunId};
use serde_json::Value;
use simulator::{ChangeKind, ChangeRequest, GateRule, Platform, RecordId, RecordType, World};
use tests::scene::Scene;

/// How long an answer takes at most until the gate holds it.
const UNTIL_HELD: Duration = Duration::from_secs(20);

/// Scans of every record type, due as soon as a scheduler runs.
pub(crate) const SCAN_PROFILES: &str =
    r#"schedules = [{ record_type = "profile", mode = "full", cron = "0 3 * * *" }]"#;
/// The same at Eventbrite.
pub(crate) const SCAN_EVENTBRITE: &str = r#"schedules = [
    { record_type = "event", mode = "full", cron = "0 3 * * *" },
    { record_type = "attendee", mode = "full", cron = "0 3 * * *" },
    { record_type = "order", mode = "full", cron = "0 3 * * *" },
]"#;
/// The same of these record types, on any platform.
pub(crate) fn scans_of(record_types: &[&str]) -> String {
    let schedule = |record_type: &&str| {
        format!(r#"{{ record_type = "{record_type}", mode = "full", cron = "0 3 * * *" }}"#)
    };
    let schedules: Vec<String> = record_types.iter().map(schedule).collect();
    format!("schedules = [{}]", schedules.join(", "))
}
/// No spot check looks at what a story is about.
pub(crate) const NO_SPOT_CHECKS: &str = "[scheduler]\nspot_check_min_age = \"24h\"\n";

/// A random record of the kind changes, and a webhook tells of it.
pub(crate) fn edit(scene: &Scene, record_type: RecordType) -> anyhow::Result<RecordId> {
    change(scene, record_type, None, ChangeKind::Edit, true)
}

/// This record changes, and a webhook tells of it.
pub(crate) fn edit_again(scene: &Scene, record: &RecordId) -> anyhow::Result<()> {
    change(scene, record.record_type, Some(record), ChangeKind::Edit, true).map(drop)
}

/// This record changes, or a random one, and nothing tells of it.
pub(crate) fn edit_silently(
    scene: &Scene,
    record_type: RecordType,
    record: Option<&RecordId>,
) -> anyhow::Result<RecordId> {
    change(scene, record_type, record, ChangeKind::Edit, false)
}

/// A random record of the kind goes, and nothing tells of it.
pub(crate) fn delete(scene: &Scene, record_type: RecordType) -> anyhow::Result<RecordId> {
    change(scene, record_type, None, ChangeKind::Delete, false)
}

/// A new record comes into being, and a webhook tells of it.
pub(crate) fn create(scene: &Scene, record_type: RecordType) -> anyhow::Result<RecordId> {
    change(scene, record_type, None, ChangeKind::Create, true)
}

fn change(
    scene: &Scene,
    record_type: RecordType,
    record: Option<&RecordId>,
    kind: ChangeKind,
    notify: bool,
) -> anyhow::Result<RecordId> {
    let changed = scene.platforms.change(&ChangeRequest {
        platform: platform_of(record_type),
        record_type: Some(record_type),
        external_id: record.map(|record| record.external_id.clone()),
        kind,
        notify,
    })?;
    Ok(RecordId::new(changed.record_type, changed.external_id))
}

/// So many scans were read to their end.
pub(crate) async fn scans_done(scene: &mut Scene, runs: i64) -> anyhow::Result<()> {
    scene
        .until("every scan is done", async |scene| {
            Ok(scene.count("select count(*) from bulk_runs where state = 'done'").await? == runs)
        })
        .await
}

/// All that the mirror knows of its records is an hour older than it was.
pub(crate) async fn an_hour_passes(scene: &Scene) -> anyhow::Result<()> {
    let earlier = "update external_integrations
            set fetched_at = fetched_at - interval '1 hour',
                changed_at = changed_at - interval '1 hour',
                last_verified_at = last_verified_at - interval '1 hour',
                next_check_at = next_check_at - interval '1 hour',
                not_before = not_before - interval '1 hour'";
    sqlx::query(earlier).execute(&scene.db).await?;
    Ok(())
}

/// No list was read for an hour.
pub(crate) async fn lists_are_an_hour_old(scene: &Scene) -> anyhow::Result<()> {
    let earlier = "update bulk_runs
            set started_at = started_at - interval '1 hour',
                moved_at = moved_at - interval '1 hour',
                finished_at = finished_at - interval '1 hour',
                watermark = watermark - interval '1 hour'";
    sqlx::query(earlier).execute(&scene.db).await?;
    Ok(())
}

/// All lists were read a moment ago, as far as the planner knows: it begins no other.
pub(crate) async fn lists_are_new(scene: &Scene) -> anyhow::Result<()> {
    let new = "update bulk_runs set started_at = clock_timestamp()";
    sqlx::query(new).execute(&scene.db).await?;
    Ok(())
}

/// This record goes, as its platform lets records go.
pub(crate) fn delete_this(
    scene: &Scene,
    platform: Platform,
    record: &RecordId,
    notify: bool,
) -> anyhow::Result<()> {
    change_on(scene, platform, record, ChangeKind::Delete, notify)
}

/// Something happens to this record of a platform that is named, because another has such records
/// too.
pub(crate) fn change_on(
    scene: &Scene,
    platform: Platform,
    record: &RecordId,
    kind: ChangeKind,
    notify: bool,
) -> anyhow::Result<()> {
    let RecordId { record_type, external_id } = record.clone();
    let (record_type, external_id) = (Some(record_type), Some(external_id));
    let change = ChangeRequest { platform, record_type, external_id, kind, notify };
    scene.platforms.change(&change)?;
    Ok(())
}

/// Where there are such records.
pub(crate) fn platform_of(record_type: RecordType) -> Platform {
    match record_type {
        RecordType::Profile | RecordType::List | RecordType::Membership => Platform::Klaviyo,
        RecordType::Event | RecordType::Attendee | RecordType::Order => Platform::Eventbrite,
        // Discord has members too; a story about those names the platform itself.
        RecordType::Campaign | RecordType::Tier | RecordType::Member => Platform::Patreon,
        RecordType::Guild | RecordType::Role | RecordType::Entitlement => Platform::Discord,
    }
}

/// All records of a kind, by id.
pub(crate) fn records(scene: &Scene, record_type: RecordType) -> Vec<RecordId> {
    let truth = scene.platforms.truth();
    let of_type = truth.records.into_iter().filter(|record| record.record_type == record_type);
    of_type.map(|record| RecordId::new(record_type, record.external_id)).collect()
}

/// What a record is in truth.
pub(crate) fn truth(scene: &Scene, record: &RecordId) -> Option<Value> {
    let truth = scene.platforms.truth();
    let found = truth
        .records
        .into_iter()
        .find(|r| r.record_type == record.record_type && r.external_id == record.external_id);
    found.map(|record| record.payload)
}

/// So many notices of a platform have been answered 2xx.
pub(crate) async fn arrived(
    scene: &mut Scene,
    platform: Platform,
    notices: u64,
) -> anyhow::Result<()> {
    scene
        .until("the notices arrive", async |scene| {
            Ok(scene.platforms.stats().of(platform).webhooks.arrived >= notices)
        })
        .await
}

/// These records are mirrored as they are in truth.
pub(crate) async fn mirrored(scene: &mut Scene, records: &[RecordId]) -> anyhow::Result<()> {
    scene
        .until("the records are mirrored as they are", async |scene| {
            let wrong = scene.mismatches().await?;
            Ok(!wrong.iter().any(|w| records.iter().any(|r| r.external_id == w.name.2)))
        })
        .await
}

/// What became of each look at a record, in order.
pub(crate) async fn history(scene: &Scene, record: &RecordId) -> anyhow::Result<Vec<String>> {
    let outcomes = sqlx::query_scalar(
        "select outcome from sync_operations where external_id = $1 order by id",
    )
    .bind(&record.external_id)
    .fetch_all(&scene.db)
    .await?;
    Ok(outcomes)
}

/// Holds so many of the next answers of a platform to paths that begin so. Answers that are held
/// go.
pub(crate) fn hold(scene: &Scene, platform: Platform, prefix: &str, answers: u64) {
    let prefix = prefix.to_owned();
    scene.platforms.gate(GateRule { platform, prefix, hold: Some(answers) });
}

/// So many answers are held.
pub(crate) async fn held(scene: &Scene, answers: u64) -> anyhow::Result<()> {
    if scene.platforms.wait_until_held(answers, UNTIL_HELD).await {
        return Ok(());
    }
    bail!("{answers} answers are not held: {:?}", scene.platforms.gate_state())
}

/// How many requests a platform got.
pub(crate) fn requests(scene: &Scene, platform: Platform) -> usize {
    requests_of(&scene.platforms, platform)
}

/// The same of other platforms than those of the scene.
pub(crate) fn requests_of(platforms: &World, platform: Platform) -> usize {
    platforms.requests(platform, usize::MAX).len()
}

/// A full scan is wanted, as by a person; the sweeper makes a job of it.
pub(crate) async fn scan(
    scene: &Scene,
    lane: &str,
    record_type: &str,
) -> anyhow::Result<Option<RunId>> {
    let fleet = scene.fleet().await?;
    let lane: Lane = lane.parse()?;
    let Some(connection) = fleet.connections.get(&lane) else { bail!("no connection {lane}") };
    let new =
        NewRun { connection: connection.id, record_type: record_type.into(), changed_since: None };
    Ok(bulk_runs::start(&fleet.db, &new).await?)
}
