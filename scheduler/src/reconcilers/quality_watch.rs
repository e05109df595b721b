//! Watches what audits say: scores of runs, and whether there is more drift than there may be.

use std::time::Duration;

use common::confidence::DriftAlarm;
use common::config::SchedulerConfig;
use common::fleet::Fleet;
use common::store::alerts::{self, Topic};
use common::store::quality::{self, Quality};
use common::telemetry::Metrics;
use serde_json::json;
use tracing::{error, info};

use crate::Reconcile;

/// Hours that are looked back.
const HOURS: u16 = 24;
/// A sample that nobody looked at within this says little about when it was drawn.
const EXPIRES: Duration = Duration::from_hours(1);
/// A new alarm begins each day, for each record type; it is false on one day in a thousand.
const ALPHA: f64 = 1e-3;
/// An alarm is over when so many samples of the last day say so.
const ENOUGH: u64 = 20;
/// The kind of alert.
const KIND: &str = "drift";

/// See the module.
#[derive(Debug)]
pub struct QualityWatch {
    fleet: Fleet,
    metrics: Metrics,
    limit: f64,
}

impl QualityWatch {
    /// Tells `metrics`.
    pub fn new(fleet: Fleet, settings: &SchedulerConfig, metrics: Metrics) -> Self {
        Self { fleet, metrics, limit: settings.drift_alarm_above }
    }

    async fn watch(&self, quality: &Quality) -> anyhow::Result<()> {
        let Quality { lane, record_type, outcomes, today, interval, .. } = quality;
        self.metrics.drift_share(
            lane.as_str(),
            record_type.as_str(),
            interval.lower,
            interval.upper,
        );
        let topic = Topic {
            connection: Some(quality.connection),
            kind: KIND,
            subject: record_type.as_str(),
        };
        let db = &self.fleet.db;
        if DriftAlarm::new(self.limit).rings(*today, ALPHA) {
            let message = format!(
                "more than {:.1} % of {record_type} are not as on the platform: {} of {} random samples since midnight; see syncline drift",
                100.0 * self.limit,
                today.wrong,
                today.samples
            );
            let detail = json!({
                "limit": self.limit, "samples": today.samples, "wrong": today.wrong,
                "lower": interval.lower, "upper": interval.upper,
            });
            if alerts::raise(db, topic, &message, &detail).await? == alerts::Raised::New {
                error!(%lane, %record_type, samples = today.samples, wrong = today.wrong,
                    "more drift than there may be");
            }
        } else if outcomes.samples >= ENOUGH
            && outcomes.share().is_some_and(|share| share <= self.limit)
            && alerts::clear(db, topic).await?
        {
            info!(%lane, %record_type, "drift is below its limit again");
        }
        Ok(())
    }
}

impl Reconcile for QualityWatch {
    const NAME: &'static str = "quality watch";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let db = &self.fleet.db;
        let expired = quality::expire(db, EXPIRES).await?;
        let scores = quality::score_runs(db).await?;
        for (run, confidence) in &scores {
            info!(run, confidence, "audit of a bulk run done");
        }
        for quality in quality::latest(db, HOURS).await? {
            self.watch(&quality).await?;
        }
        Ok(expired + u64::try_from(scores.len()).unwrap_or(0))
    }
}
