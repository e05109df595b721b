//! What the stories measured, for docs/reliability.md.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

/// Names the file that figures go to, one object a line.
const FILE: &str = "SYNCLINE_FAULT_FIGURES";

/// How long it took after a fault until all was as if nothing had been.
///
/// # Errors
///
/// When the file cannot be written.
pub(super) fn note(story: &str, recovery: Duration, changes: u64) -> anyhow::Result<()> {
    let Some(file) = std::env::var_os(FILE) else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    let recovery_ms = u64::try_from(recovery.as_millis())?;
    let line =
        serde_json::json!({ "story": story, "recovery_ms": recovery_ms, "changes": changes });
    Ok(writeln!(file, "{line}")?)
}
