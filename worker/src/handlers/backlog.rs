//! Scans stand back while far too much that is more urgent waits.

use std::time::Duration;

use common::job::Priority;
use common::queue::Outcome;
use tracing::debug;

use super::Work;
use crate::outcome::Then;

/// How long a page waits then; no attempt is used.
const STAND_BACK: Duration = Duration::from_secs(5);

/// Whether more webhooks and requests of people wait in the lane than the mark. When Redis does not
/// say, the scan goes on: the claim has been granted.
pub(super) async fn is_above_mark(work: &Work<'_>) -> bool {
    let (lane, mark) = (work.connection.lane(), work.worker.settings.scan_backlog_max);
    let Ok(depths) = work.worker.fleet.queue.depths(lane).await else { return false };
    let urgent: u64 = Priority::ALL
        .into_iter()
        .zip(depths.ready)
        .filter(|(priority, _)| *priority < Priority::Bulk)
        .map(|(_, ready)| ready)
        .sum();
    let above = urgent > mark;
    if above {
        debug!(%lane, urgent, mark, "the scan stands back");
    }
    above
}

/// What becomes of its jobs.
pub(super) fn stand_back(work: &Work<'_>) -> Vec<Then> {
    work.jobs.iter().map(|_| Then::Settle(Outcome::Defer { after: STAND_BACK })).collect()
}
