//! What the stories measured, for docs/reliability.md.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::Handover;

/// Names the file that figures go to, one object a line.
const FILE: &str = "SYNCLINE_FAULT_FIGURES";

/// How long it took after a fault until all was as if nothing had been.
///
/// # Errors
///
/// When the file cannot be written.
pub(super) fn note(story: &str, recovery: Duration, changes: u64) -> anyhow::Result<()> {
    let recovery_ms = u64::try_from(recovery.as_millis())?;
    write(&serde_json::json!({ "story": story, "recovery_ms": recovery_ms, "changes": changes }))
}

/// What became of the leases of a worker that was killed.
///
/// # Errors
///
/// When the file cannot be written.
pub(super) fn note_handover(story: &str, handover: &Handover) -> anyhow::Result<()> {
    let ms = |length: Duration| u64::try_from(length.as_millis());
    write(&serde_json::json!({
        "story": story,
        "leases": handover.jobs,
        "last_ms": ms(handover.last)?,
        "late_ms": ms(handover.late)?,
        "blind_ms": ms(handover.blind)?,
    }))
}

fn write(line: &Value) -> anyhow::Result<()> {
    let Some(file) = std::env::var_os(FILE) else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    Ok(writeln!(file, "{line}")?)
}
