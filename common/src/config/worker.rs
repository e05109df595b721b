//! The pool that works.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ApiConfig, address::listen, duration, error::Problems};
use crate::quota::Floors;
use crate::retry::RetryPolicy;

/// The section `worker`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// Where health and readiness are told.
    #[serde(with = "listen")]
    pub listen: SocketAddr,
    /// Batches worked on at once.
    pub concurrency: usize,
    /// How many of the slots that other platforms leave one platform may take; above 0, at most 1.
    pub platform_share: f64,
    /// Batches beside these, of what webhooks and people wait for, while all others are busy or a
    /// platform has its share.
    pub urgent_slots: usize,
    /// The least share of a lane's grants that bulk work gets while it waits, in percent: see [`Floors`].
    pub bulk_floor_percent: u8,
    /// The same of spot checks.
    pub spot_check_floor_percent: u8,
    /// The right to a job, unless it is extended.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// How often a lease is extended.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// How long running jobs may take to end after SIGTERM, before they are handed back.
    #[serde(with = "duration")]
    pub drain: Duration,
    /// A request that is not on its way this long after its permit was granted is not sent.
    #[serde(with = "duration")]
    pub permit_use_by: Duration,
    /// A job that was claimed this often and never ended is buried.
    pub max_attempts: u32,
    /// A page of a scan waits while more webhooks and requests of people than this wait in its lane.
    pub scan_backlog_max: u64,
    /// The most to wait before a second attempt.
    #[serde(with = "duration")]
    pub retry_base: Duration,
    /// The most to wait before any attempt.
    #[serde(with = "duration")]
    pub retry_cap: Duration,
    /// Our name of the address that this worker's requests leave from; workers behind one have one.
    pub outgoing_address: String,
    /// How much may be spent of the failures after which a platform blocks an address; above 0, at
    /// most 1.
    pub error_budget_share: f64,
    /// From a look that found nothing to the one that may mark the record as deleted.
    #[serde(with = "duration")]
    pub missing_confirm_after: Duration,
}

impl WorkerConfig {
    /// When failed jobs run again.
    pub fn retry(&self) -> RetryPolicy {
        RetryPolicy { base: self.retry_base, cap: self.retry_cap, max_attempts: self.max_attempts }
    }

    /// What nothing more urgent takes away.
    pub fn floors(&self) -> Floors {
        Floors { bulk: self.bulk_floor_percent, spot_checks: self.spot_check_floor_percent }
    }

    pub(super) fn check(&self, api: &ApiConfig, problems: &mut Problems) {
        problems.require(
            (1..=1024).contains(&self.concurrency),
            "worker.concurrency",
            "must be 1 to 1024",
        );
        problems.require(
            self.platform_share > 0.0 && self.platform_share <= 1.0,
            "worker.platform_share",
            "must be above 0 and at most 1; 1 sets no bound",
        );
        problems.require(self.urgent_slots <= 1024, "worker.urgent_slots", "must be 0 to 1024");
        for (key, percent) in [
            ("worker.bulk_floor_percent", self.bulk_floor_percent),
            ("worker.spot_check_floor_percent", self.spot_check_floor_percent),
        ] {
            problems.require(percent <= Floors::MOST, key, "must be 0 to 25; 0 sets no floor");
        }
        problems.require(
            (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&self.lease),
            "worker.lease",
            "must be 1s to 1h",
        );
        if self.heartbeat.is_zero() || self.heartbeat * 3 > self.lease {
            problems.add(
                "worker.heartbeat",
                format!(
                    "must be above zero and at most a third of worker.lease ({}), so that a lease survives two lost ones",
                    duration::show(self.lease)
                ),
            );
        }
        problems.require(
            !self.permit_use_by.is_zero() && self.permit_use_by <= api.whole_timeout,
            "worker.permit_use_by",
            "must be above zero and at most api.whole_timeout",
        );
        problems.require(
            (1..=100).contains(&self.max_attempts),
            "worker.max_attempts",
            "must be 1 to 100",
        );
        problems.require(
            !self.outgoing_address.is_empty()
                && self.outgoing_address.len() <= 64
                && self.outgoing_address.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
                }),
            "worker.outgoing_address",
            "must be 1 to 64 lower case letters, digits, - and _: a name, not the address itself",
        );
        problems.require(
            self.error_budget_share > 0.0 && self.error_budget_share <= 1.0,
            "worker.error_budget_share",
            "must be above 0 and at most 1",
        );
        problems.require(
            !self.retry_base.is_zero() && self.retry_base <= self.retry_cap,
            "worker.retry_base",
            "must be above zero and at most worker.retry_cap",
        );
    }
}
