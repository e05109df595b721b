//! One status for all who look at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Sources;
use crate::status::Status;

/// However short pages are refreshed, the stores are not asked more often than this.
const KEEP_AT_LEAST: Duration = Duration::from_millis(200);
/// However long it took to gather.
const KEEP_AT_MOST: Duration = Duration::from_mins(1);
/// What took a second to gather is kept for so many: counting a large mirror must not become the
/// main thing that Postgres does.
const KEEP_FACTOR: u32 = 10;

/// The status, gathered when somebody looks and kept for those who look next.
pub(crate) struct Board {
    sources: Sources,
    keep: Duration,
    /// Held while gathering, so that everybody else waits for the same.
    latest: Mutex<Option<Kept>>,
}

struct Kept {
    status: Arc<Status>,
    until: Instant,
}

impl Board {
    /// - `refresh`: how often one viewer looks.
    pub(crate) fn new(sources: Sources, refresh: Duration) -> Self {
        Self { sources, keep: (refresh / 2).max(KEEP_AT_LEAST), latest: Mutex::new(None) }
    }

    /// How things stand, or stood a moment ago.
    pub(crate) async fn status(&self) -> Arc<Status> {
        let mut latest = self.latest.lock().await;
        let began = Instant::now();
        if let Some(kept) = latest.as_ref().filter(|kept| began < kept.until) {
            return Arc::clone(&kept.status);
        }
        let status = Arc::new(Status::gather(&self.sources).await);
        // A store that is away is asked again soon: how long that took says nothing.
        let cost =
            if status.is_complete() { began.elapsed() * KEEP_FACTOR } else { Duration::ZERO };
        let until = Instant::now() + cost.clamp(self.keep, KEEP_AT_MOST.max(self.keep));
        *latest = Some(Kept { status: Arc::clone(&status), until });
        status
    }
}
