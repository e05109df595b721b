//! What decides what to look at.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{address::listen, duration, error::Problems};

/// The section `scheduler`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulerConfig {
    /// Where health and readiness are told.
    #[serde(with = "listen")]
    pub listen: SocketAddr,
    /// How often it looks for something to do.
    #[serde(with = "duration")]
    pub tick: Duration,
    /// How long the leader believes that it leads after each check of its lock.
    #[serde(with = "duration")]
    pub leader_lease: Duration,
    /// It keeps about as many spot checks waiting as the quotas allow in this time.
    #[serde(with = "duration")]
    pub spot_check_horizon: Duration,
    /// A record that was verified less than this ago is not spot-checked.
    #[serde(with = "duration")]
    pub spot_check_min_age: Duration,
    /// A record is spot-checked at this age whatever that is worth.
    #[serde(with = "duration")]
    pub spot_check_max_age: Duration,
    /// The share of spot checks that look at random records, to measure drift; 0 to 0.5.
    pub audit_share: f64,
    /// So many records of each bulk run are looked at once more after it; 0 to 10000.
    pub run_audit_samples: u32,
    /// More drift than this share of the records is an alarm; above 0 and below 1.
    pub drift_alarm_above: f64,
    /// A record in which drift was repaired this often within an hour is left as it is until the
    /// hour is over; at least 1.
    pub repairs_per_hour: u32,
    /// How often the inbox is searched for what Redis does not know.
    #[serde(with = "duration")]
    pub sweep_every: Duration,
    /// Rows of the inbox taken at once.
    pub sweep_batch: u32,
    /// A scan of changes begins this much before the last one did.
    #[serde(with = "duration")]
    pub bulk_overlap: Duration,
    /// How often somebody looks whether the platforms still send webhooks; zero for never.
    #[serde(with = "duration")]
    pub watch_senders_every: Duration,
    /// Whether webhooks that are not sent are set going again, where the platform lets us.
    pub repair_senders: bool,
    /// A scan that would mark more than this share of the records as deleted waits for a person;
    /// above 0, at most 1.
    pub mass_delete_share: f64,
    /// ... unless they are fewer than this.
    pub mass_delete_min: u32,
    /// How long the history of operations is kept, in days.
    pub history_days: u16,
    /// How long repaired drift and ended bulk runs are kept, in days.
    pub drift_days: u16,
}

impl SchedulerConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        for (key, value) in
            [("scheduler.tick", self.tick), ("scheduler.sweep_every", self.sweep_every)]
        {
            problems.require(
                (Duration::from_millis(10)..=Duration::from_hours(1)).contains(&value),
                key,
                "must be 10ms to 1h",
            );
        }
        problems.require(
            (Duration::from_secs(1)..=Duration::from_secs(10)).contains(&self.leader_lease),
            "scheduler.leader_lease",
            "must be 1s to 10s: so long nobody schedules after the leader has died",
        );
        problems.require(
            self.spot_check_horizon >= self.tick,
            "scheduler.spot_check_horizon",
            "must be at least scheduler.tick, or spot checks run dry between ticks",
        );
        let every = self.watch_senders_every;
        problems.require(
            every.is_zero()
                || (Duration::from_millis(100)..=Duration::from_hours(24)).contains(&every),
            "scheduler.watch_senders_every",
            "must be 100ms to 24h, or 0s for never",
        );
        problems.require(
            self.spot_check_max_age >= self.spot_check_min_age
                && self.spot_check_max_age >= Duration::from_secs(1),
            "scheduler.spot_check_max_age",
            "must be at least a second and at least scheduler.spot_check_min_age",
        );
        problems.require(
            (0.0..=0.5).contains(&self.audit_share),
            "scheduler.audit_share",
            "must be 0 to 0.5; 0 measures nothing",
        );
        problems.require(
            self.run_audit_samples <= 10_000,
            "scheduler.run_audit_samples",
            "must be at most 10000",
        );
        problems.require(
            self.drift_alarm_above > 0.0 && self.drift_alarm_above < 1.0,
            "scheduler.drift_alarm_above",
            "must be above 0 and below 1, like 0.02",
        );
        problems.require(
            self.repairs_per_hour >= 1,
            "scheduler.repairs_per_hour",
            "must be at least 1",
        );
        problems.require(
            (1..=10_000).contains(&self.sweep_batch),
            "scheduler.sweep_batch",
            "must be 1 to 10000",
        );
        problems.require(
            self.mass_delete_share > 0.0 && self.mass_delete_share <= 1.0,
            "scheduler.mass_delete_share",
            "must be above 0 and at most 1; 1 turns the brake off",
        );
        for (key, days) in [
            ("scheduler.history_days", self.history_days),
            ("scheduler.drift_days", self.drift_days),
        ] {
            problems.require((1..=3650).contains(&days), key, "must be 1 to 3650");
        }
    }
}
