//! Every instrument, by name and unit.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

use super::levels::Levels;

/// Upper bounds of the buckets of times, in seconds: from a round trip to Redis to an hour's wait.
const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0, 3600.0];

/// The instruments of a process. Cheap to clone.
///
/// Attributes are few and bounded: platforms, priorities, kinds and outcomes, never ids of records.
/// Names of lanes stand only where a person must know which connection it is.
#[derive(Clone, Debug)]
pub struct Metrics {
    webhooks_received: Counter<u64>,
    webhooks_refused: Counter<u64>,
    notices_received: Counter<u64>,
    notices_refused: Counter<u64>,
    jobs_enqueued: Counter<u64>,
    jobs_claimed: Counter<u64>,
    jobs_settled: Counter<u64>,
    job_wait: Histogram<f64>,
    fetch_duration: Histogram<f64>,
    over_quota: Counter<u64>,
    unknown_keys: Counter<u64>,
    counted_to_ban: Counter<u64>,
    records_changed: Counter<u64>,
    drift_found: Counter<u64>,
    stale_writes: Counter<u64>,
    leases_reaped: Counter<u64>,
    batches_running: UpDownCounter<i64>,
    queue_depth: Levels,
    queue_lag: Levels,
    inbox_open: Levels,
    sender_sends: Gauge<u64>,
    senders_repaired: Counter<u64>,
    leads: Gauge<u64>,
    drift_share: Levels,
}

impl Metrics {
    /// The instruments of `meter`.
    pub fn new(meter: &Meter) -> Self {
        let counter = |name, unit, description| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        let gauge = |name, unit, description| {
            meter.u64_gauge(name).with_unit(unit).with_description(description).build()
        };
        let levels = |name, unit, description| Levels::new(meter, name, unit, description);
        let seconds = |name, description| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(SECONDS.to_vec())
                .build()
        };
        Self {
            webhooks_received: counter(
                "syncline.webhooks.received",
                "{webhook}",
                "webhooks that were verified and written to the inbox",
            ),
            webhooks_refused: counter(
                "syncline.webhooks.refused",
                "{webhook}",
                "webhooks that were not taken",
            ),
            notices_received: counter(
                "syncline.notices.received",
                "{notice}",
                "notices of a bridge that were verified and written to the inbox",
            ),
            notices_refused: counter(
                "syncline.notices.refused",
                "{notice}",
                "notices of a bridge that were not taken",
            ),
            jobs_enqueued: counter("syncline.jobs.enqueued", "{job}", "jobs offered to the queue"),
            jobs_claimed: counter("syncline.jobs.claimed", "{job}", "jobs taken by a worker"),
            jobs_settled: counter("syncline.jobs.settled", "{job}", "jobs that ended, by outcome"),
            job_wait: seconds("syncline.job.wait", "from enqueueing to the claim"),
            fetch_duration: seconds("syncline.fetch.duration", "one request to a platform"),
            over_quota: counter(
                "syncline.quota.over",
                "{response}",
                "requests that a platform refused for going over its limit; the objective is 0",
            ),
            unknown_keys: counter(
                "syncline.schema.unknown_keys",
                "{key}",
                "keys of records that no document of the platform names",
            ),
            counted_to_ban: counter(
                "syncline.errors.counted",
                "{response}",
                "answers that a platform counts towards a block of our address",
            ),
            records_changed: counter(
                "syncline.records.changed",
                "{record}",
                "records written because they differed",
            ),
            drift_found: counter(
                "syncline.drift.found",
                "{record}",
                "records that differed and of which nothing had told us",
            ),
            stale_writes: counter(
                "syncline.writes.stale",
                "{record}",
                "writes refused because something newer was there",
            ),
            leases_reaped: counter(
                "syncline.leases.reaped",
                "{lease}",
                "leases that ran out: their worker is gone or late",
            ),
            batches_running: batches_running(meter),
            queue_depth: levels("syncline.queue.depth", "{job}", "jobs that wait"),
            queue_lag: levels("syncline.queue.lag", "s", "age of the job that waits longest"),
            inbox_open: levels("syncline.inbox.open", "{row}", "accepted and not yet worked off"),
            sender_sends: gauge(
                "syncline.sender.sends",
                "{sender}",
                "1 while the platform sends webhooks, 0 while it does not",
            ),
            senders_repaired: counter(
                "syncline.senders.repaired",
                "{repair}",
                "webhooks that were set going again",
            ),
            leads: gauge("syncline.scheduler.leads", "1", "1 in the scheduler that leads, else 0"),
            drift_share: levels(
                "syncline.drift.share",
                "1",
                "share of mirrored records that are wrong, by random samples",
            ),
        }
    }

    /// A webhook was accepted.
    pub fn webhook_received(&self, platform: &str) {
        self.webhooks_received.add(1, &[platform_is(platform)]);
    }

    /// A webhook was not taken: `reason` is one of a few words, `forged`, `too-large`, `unknown`.
    pub fn webhook_refused(&self, platform: &str, reason: &'static str) {
        self.webhooks_refused.add(1, &[platform_is(platform), KeyValue::new("reason", reason)]);
    }

    /// A notice of a bridge was accepted.
    pub fn notice_received(&self, platform: &str) {
        self.notices_received.add(1, &[platform_is(platform)]);
    }

    /// A notice of a bridge was not taken; `reason` as of webhooks.
    pub fn notice_refused(&self, platform: &str, reason: &'static str) {
        self.notices_refused.add(1, &[platform_is(platform), KeyValue::new("reason", reason)]);
    }

    /// Jobs were offered to the queue.
    pub fn jobs_enqueued(&self, platform: &str, priority: &'static str, jobs: u64) {
        self.jobs_enqueued.add(jobs, &[platform_is(platform), priority_is(priority)]);
    }

    /// A job was taken after it had waited for `wait`.
    pub fn job_claimed(
        &self,
        platform: &str,
        task: &'static str,
        priority: &'static str,
        wait: Duration,
    ) {
        let attributes = [platform_is(platform), task_is(task), priority_is(priority)];
        self.jobs_claimed.add(1, &attributes);
        self.job_wait.record(wait.as_secs_f64(), &attributes);
    }

    /// A job ended: `outcome` is `ack`, `nack`, `defer` or `bury`.
    pub fn job_settled(&self, platform: &str, task: &'static str, outcome: &'static str) {
        let outcome = KeyValue::new("outcome", outcome);
        self.jobs_settled.add(1, &[platform_is(platform), task_is(task), outcome]);
    }

    /// A request to a platform ended: `outcome` is `ok` or the kind of error.
    pub fn fetched(&self, platform: &str, outcome: &'static str, took: Duration) {
        self.fetch_duration.record(
            took.as_secs_f64(),
            &[platform_is(platform), KeyValue::new("outcome", outcome)],
        );
    }

    /// A platform refused a request of this lane for going over its limit.
    pub fn over_quota(&self, platform: &str, lane: &str) {
        self.over_quota.add(1, &[platform_is(platform), lane_is(lane)]);
    }

    /// Records of a platform had keys that none of its documents names.
    pub fn unknown_keys(&self, platform: &str, record_type: &'static str, keys: u64) {
        let record_type = KeyValue::new("record_type", record_type);
        self.unknown_keys.add(keys, &[platform_is(platform), record_type]);
    }

    /// A platform answered a request of this lane with what it counts towards a block.
    pub fn counted_to_ban(&self, platform: &str, lane: &str) {
        self.counted_to_ban.add(1, &[platform_is(platform), lane_is(lane)]);
    }

    /// Records were written because they differed; `source` is `webhook`, `scan`, `spot-check`.
    pub fn records_changed(&self, platform: &str, source: &'static str, records: u64) {
        self.records_changed
            .add(records, &[platform_is(platform), KeyValue::new("source", source)]);
    }

    /// Records differed and nothing had told us; `source` is `scan`, `spot-check`, `audit`.
    pub fn drift_found(&self, platform: &str, source: &'static str, records: u64) {
        self.drift_found.add(records, &[platform_is(platform), KeyValue::new("source", source)]);
    }

    /// Writes were refused because something newer was there.
    pub fn stale_writes(&self, platform: &str, records: u64) {
        self.stale_writes.add(records, &[platform_is(platform)]);
    }

    /// Leases ran out.
    pub fn leases_reaped(&self, leases: u64) {
        self.leases_reaped.add(leases, &[]);
    }

    /// How many jobs of a lane wait at a priority.
    pub fn queue_depth(&self, lane: &str, priority: &'static str, jobs: u64) {
        self.queue_depth.record(level(jobs), &[("lane", lane), ("priority", priority)]);
    }

    /// How long the first job of a lane has waited.
    pub fn queue_lag(&self, lane: &str, oldest: Duration) {
        self.queue_lag.record(oldest.as_secs_f64(), &[("lane", lane)]);
    }

    /// Whether the platform of a lane sends its webhooks.
    pub fn sender_sends(&self, lane: &str, sends: bool) {
        self.sender_sends.record(u64::from(sends), &[lane_is(lane)]);
    }

    /// A platform's webhooks were set going again.
    pub fn sender_repaired(&self, platform: &str) {
        self.senders_repaired.add(1, &[platform_is(platform)]);
    }

    /// Whether this scheduler leads.
    pub fn leads(&self, leads: bool) {
        self.leads.record(u64::from(leads), &[]);
    }

    /// Bounds of the share of a type's records that are wrong, by the random samples of a day.
    pub fn drift_share(&self, lane: &str, record_type: &str, least: f64, most: f64) {
        for (bound, share) in [("lower", least), ("upper", most)] {
            let attributes = [("lane", lane), ("record_type", record_type), ("bound", bound)];
            self.drift_share.record(share, &attributes);
        }
    }

    /// How many rows of the inbox are not worked off.
    pub fn inbox_open(&self, lane: &str, rows: u64) {
        self.inbox_open.record(level(rows), &[("lane", lane)]);
    }

    /// Whoever leads from now on measures the lanes: nothing more is told of them here.
    pub fn forget_lanes(&self) {
        for levels in [&self.queue_depth, &self.queue_lag, &self.inbox_open, &self.drift_share] {
            levels.forget();
        }
    }

    /// A worker has begun a batch of a platform.
    pub fn batch_began(&self, platform: &str) {
        self.batches_running.add(1, &[platform_is(platform)]);
    }

    /// A worker has ended a batch of a platform.
    pub fn batch_ended(&self, platform: &str) {
        self.batches_running.add(-1, &[platform_is(platform)]);
    }
}

impl Default for Metrics {
    /// The instruments of this process; silent until [`super::start`] was called with an endpoint.
    fn default() -> Self {
        Self::new(&opentelemetry::global::meter(super::SCOPE))
    }
}

fn batches_running(meter: &Meter) -> UpDownCounter<i64> {
    let counter = meter.i64_up_down_counter("syncline.batches.running").with_unit("{batch}");
    counter.with_description("slots of workers that are taken").build()
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 of whatever it is")]
fn level(count: u64) -> f64 {
    count as f64
}

fn platform_is(name: &str) -> KeyValue {
    KeyValue::new("platform", name.to_owned())
}

fn lane_is(name: &str) -> KeyValue {
    KeyValue::new("lane", name.to_owned())
}

fn task_is(name: &'static str) -> KeyValue {
    KeyValue::new("task", name)
}

fn priority_is(name: &'static str) -> KeyValue {
    KeyValue::new("priority", name)
}
