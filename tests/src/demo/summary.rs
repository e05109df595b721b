//! What the demo has shown.

use std::time::Duration;

use comfy_table::{Table, presets};

use super::numbers::{Numbers, Quota};
use super::{FORGED_EACH, SIGNED};
use crate::mirror::Mismatch;

/// So many differences are told one by one.
const TOLD: usize = 20;

/// Prints the summary; `true` when everything was as it should be.
#[expect(clippy::print_stdout, reason = "this is what a person runs the demo for")]
pub(super) fn print(
    numbers: &Numbers,
    elapsed: Duration,
    forged: u64,
    quiet: bool,
    mismatches: &[Mismatch],
) -> bool {
    println!("\nSummary after {} s", elapsed.as_secs());
    println!("{}", platforms(numbers));
    println!("{}", webhooks(numbers, forged));
    println!("{}", jobs(numbers));
    println!("{}", mirror(numbers));
    println!("{}", quotas(numbers));
    println!(
        "* Eventbrite's hour is scaled to ten seconds, in the platform and in the fleet alike."
    );
    let untold =
        numbers.of_platforms(|p| p.webhooks.lost + p.webhooks.silent + p.webhooks.without_webhook);
    println!(
        "{untold} changes came without a webhook; drift found {}, repaired {}; scans done {}; dead letters {}",
        numbers.drift_found, numbers.drift_repaired, numbers.scans_done, numbers.dead_letters,
    );

    let refusals = numbers.of_platforms(|platform| platform.refusals);
    let sent = FORGED_EACH * SIGNED.len() as u64;
    let probes = numbers.of_platforms(|platform| platform.webhooks.probes);
    let passed = numbers.of_platforms(|platform| platform.webhooks.probes_passed);
    let checks = [
        (quiet, "every record was looked at after the platforms stood still".to_owned()),
        (
            mismatches.is_empty(),
            format!("the mirror equals the truth: {} differences", mismatches.len()),
        ),
        (refusals == 0, format!("no request was refused for going over a quota: {refusals}")),
        (numbers.drift_found > 0, "what no webhook told was found".to_owned()),
        (
            numbers.drift_found == numbers.drift_repaired,
            "all drift that was found is repaired".to_owned(),
        ),
        (numbers.dead_letters == 0, format!("dead letters: {}", numbers.dead_letters)),
        (forged == sent, format!("forged webhooks refused: {forged} of {sent}")),
        (passed == 0, format!("signatures that Discord made wrong, taken: {passed} of {probes}")),
    ];
    for mismatch in mismatches.iter().take(TOLD) {
        let (platform, record_type, id) = &mismatch.name;
        println!("  {platform} {record_type} {id}: {}", mismatch.what);
    }
    for (good, what) in &checks {
        println!("{} {what}", if *good { "ok  " } else { "FAIL" });
    }
    checks.iter().all(|(good, _)| *good)
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(header);
    table
}

/// What was done for each platform, and how close it came to a limit.
fn platforms(numbers: &Numbers) -> Table {
    let mut table = table([
        "platform",
        "looks by webhook",
        "spot checks",
        "scan pages",
        "changes applied",
        "drift found / repaired",
        "fullest window",
    ]);
    for done in &numbers.done {
        let platform = numbers.platforms.iter().find(|platform| platform.name == done.platform);
        table.add_row([
            done.platform.clone(),
            done.webhook_looks.to_string(),
            done.spot_checks.to_string(),
            done.pages.to_string(),
            done.changes.to_string(),
            format!("{} / {}", done.drift_found, done.drift_repaired),
            platform.and_then(|platform| platform.tightest()).map_or_else(String::new, fullness),
        ]);
    }
    table
}

fn fullness(quota: &Quota) -> String {
    let Quota { name, limit, most_in_a_window, .. } = quota;
    format!("{name} {most_in_a_window} of {limit} ({:.0} %)", quota.fullness() * 100.0)
}

fn webhooks(numbers: &Numbers, forged: u64) -> Table {
    let mut table =
        table(["webhooks", "changes", "notices", "lost", "silent", "twice", "deliveries taken"]);
    for platform in &numbers.platforms {
        let webhooks = &platform.webhooks;
        table.add_row([
            platform.name.clone(),
            platform.changed().to_string(),
            webhooks.notices.to_string(),
            webhooks.lost.to_string(),
            (webhooks.silent + webhooks.without_webhook).to_string(),
            webhooks.duplicated.to_string(),
            webhooks.deliveries.to_string(),
        ]);
    }
    let answered = numbers.notices_answered.to_string();
    table.add_row(["notices verified and answered", "", &answered, "", "", "", ""]);
    let forged = forged.to_string();
    table.add_row(["forged, refused", "", &forged, "", "", "", ""]);
    table
}

fn jobs(numbers: &Numbers) -> Table {
    let mut table =
        table(["jobs by priority", "records looked at", "found different", "scan pages"]);
    for jobs in &numbers.jobs {
        table.add_row([
            jobs.trigger.clone(),
            jobs.records.to_string(),
            jobs.different.to_string(),
            jobs.pages.to_string(),
        ]);
    }
    table
}

fn mirror(numbers: &Numbers) -> Table {
    let mut table = table(["mirror", "record type", "present", "deleted"]);
    for mirrored in &numbers.mirrored {
        table.add_row([
            mirrored.lane.clone(),
            mirrored.record_type.clone(),
            mirrored.present.to_string(),
            mirrored.deleted.to_string(),
        ]);
    }
    table
}

fn quotas(numbers: &Numbers) -> Table {
    let mut table = table([
        "quota, as the platform counted",
        "limit",
        "window",
        "most in a window",
        "requests",
        "refused (429)",
        "used",
    ]);
    for platform in &numbers.platforms {
        for quota in &platform.quotas {
            let scaled = if quota.name.starts_with("scaled") { "*" } else { "" };
            table.add_row([
                format!("{} {}{scaled}", platform.name, quota.name),
                quota.limit.to_string(),
                format!("{:?}", Duration::from_millis(quota.window_ms)),
                quota.most_in_a_window.to_string(),
                quota.taken.to_string(),
                quota.refused.to_string(),
                format!("{:.1} %", quota.utilisation * 100.0),
            ]);
        }
    }
    table
}
