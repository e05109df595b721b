//! Watches whether webhooks still tell of changes, by the changes that are found without them.

use common::confidence::RiseAlarm;
use common::fleet::Fleet;
use common::store::alerts::{self, Topic};
use common::store::webhook_watch::{Unwatched, unwatched, watched};
use serde_json::json;
use tracing::{error, info};

use crate::Reconcile;

/// Before so many changes were announced, nothing is expected of webhooks.
const KNOWN_AFTER: i64 = 20;
/// One false alarm in so many changes at the most: a level of 1/10,000.
const ALPHA: f64 = 1e-4;
/// The same for the end of an outage.
const ALPHA_OF_END: f64 = 1e-2;
/// While webhooks fail, so large a share of changes is announced by chance.
const BY_CHANCE: f64 = 0.05;
/// Changes of each kind that one pass takes in; more say the same.
const MOST: i64 = 1_000;
/// The kind of alert.
const KIND: &str = "webhooks-silent";

/// See the module.
#[derive(Debug)]
pub struct WebhookWatch {
    fleet: Fleet,
}

impl WebhookWatch {
    /// Watches all of the fleet's connections.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    async fn watch(&self, read: &Unwatched) -> anyhow::Result<bool> {
        let db = &self.fleet.db;
        let (alarm, outage) = after(read);
        let (lane, record_type) = (&read.lane, &read.record_type);
        let topic =
            Topic { connection: Some(read.connection), kind: KIND, subject: record_type.as_str() };
        // Said before it is written down: a crash between the two says it twice.
        if outage && !read.outage {
            let recall = read.counts.notices().recall();
            let message = format!(
                "webhooks seem to fail: {} changes of {record_type} were found by looks alone, where {:.0} % used to be announced; records are looked at more often, check the subscription at the platform",
                read.silent,
                100.0 * recall
            );
            error!(%lane, %record_type, silent = read.silent, told = read.told, recall, "webhooks seem to fail");
            let detail = json!({ "silent": read.silent, "told": read.told, "recall": recall });
            alerts::raise(db, topic, &message, &detail).await?;
        } else if read.outage && !outage {
            info!(%lane, %record_type, "webhooks tell of changes again");
            alerts::clear(db, topic).await?;
        }
        Ok(watched(db, read, alarm.as_ref(), outage).await?)
    }
}

/// How the alarm stands after what was read, and whether webhooks fail. Pure.
fn after(read: &Unwatched) -> (Option<RiseAlarm>, bool) {
    if !read.outage && read.told_ever < KNOWN_AFTER {
        return (None, false);
    }
    let begin =
        || if read.outage { RiseAlarm::new(BY_CHANCE) } else { RiseAlarm::new(usual(read)) };
    let mut alarm = read.alarm.unwrap_or_else(begin);
    let (told, silent) = (read.told.clamp(0, MOST), read.silent.clamp(0, MOST));
    let level = if read.outage { ALPHA_OF_END } else { ALPHA };
    // In what order they came is not known: evenly mixed.
    let all = told + silent;
    for n in 0..all {
        let is_silent = (n + 1) * silent / all > n * silent / all;
        alarm.observe(is_silent != read.outage);
        if alarm.rings(level) {
            // The other question begins, with nothing observed yet.
            return (None, !read.outage);
        }
    }
    (Some(alarm), read.outage)
}

/// The share of changes that are found by looks alone while webhooks work: what recall says, at
/// twice the odds, since a full scan finds more of them than spot checks do.
fn usual(read: &Unwatched) -> f64 {
    let recall = read.counts.notices().recall();
    let odds = 2.0 * (1.0 - recall) / recall.max(1e-3);
    (odds / (1.0 + odds)).clamp(0.05, 0.95)
}

impl Reconcile for WebhookWatch {
    const NAME: &'static str = "webhook watch";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let mut moved = 0;
        for read in unwatched(&self.fleet.db).await? {
            moved += u64::from(self.watch(&read).await?);
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use common::freshness::NoticeCounts;
    use common::ids::ConnectionId;

    use super::*;

    fn read(told: i64, silent: i64, ever: i64, outage: bool) -> Unwatched {
        // Nine of ten changes are announced.
        let counts = NoticeCounts {
            announced: 900.0,
            expected: 900.0,
            silent: 100.0,
            silent_exposure: 900.0,
            ..NoticeCounts::default()
        };
        Unwatched {
            connection: ConnectionId(1),
            lane: "eventbrite/main".parse().unwrap(),
            record_type: "attendee".into(),
            told,
            silent,
            counts,
            alarm: None,
            outage,
            told_ever: ever,
            silent_ever: 0,
        }
    }

    #[test]
    fn an_outage_is_noticed_and_its_end_too_and_a_type_without_webhooks_never_has_one() {
        assert!(!after(&read(90, 10, 1_000, false)).1, "as always");
        assert!(!after(&read(100, 30, 1_000, false)).1, "a full scan finds more");
        assert!(after(&read(0, 12, 1_000, false)).1, "nothing is announced any more");
        assert!(!after(&read(0, 1_000, 5, false)).1, "there never were webhooks");
        assert!(after(&read(0, 50, 1_000, true)).1, "it goes on");
        assert!(!after(&read(10, 2, 1_000, true)).1, "it is over");
    }
}
