//! One batch: span, heartbeat, handler, settling.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::config::WorkerConfig;
use common::fleet::senders::Watch;
use common::fleet::{Connection, Fleet};
use common::ids::{Fence, Lane};
use common::job::{JobId, Priority, Task};
use common::platform::Api;
use common::queue::{Batch, Leased, Outcome, Queue, QueueError};
use common::store::connections::Parking;
use common::store::records::{self, Verdict};
use common::store::{Store, StoreError, dead_letters};
use common::telemetry::{self, Metrics};
use jiff::Timestamp;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{Instant, interval_at, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span, error, info, info_span, warn};

use crate::crew::Crew;
use crate::handlers::{self, Brake, Care, Failure, Handler};
use crate::line::Lines;
use crate::outcome::{self, Then};
use crate::permits::BatchPermits;
use crate::settling::{Ended, Settling};

/// Nothing is begun, and what runs is dropped, this long before a lease ends: the clocks of this
/// machine and of Redis may run at slightly different speeds.
const LEASE_MARGIN: Duration = Duration::from_millis(500);

const NOT_EXTENDED: &str = "the lease could not be extended";

/// What every batch needs.
#[derive(Debug)]
pub struct Worker {
    /// Stores and connections.
    pub fleet: Fleet,
    /// Where jobs and permits come from: the fleet's, but in a simulation.
    pub queue: Arc<dyn Queue>,
    /// What is true and what was done: the fleet's, but in a simulation.
    pub store: Arc<dyn Store>,
    /// Where batches run.
    pub crew: Arc<dyn Crew>,
    /// What does the work.
    pub handler: Arc<dyn Handler>,
    /// The way out.
    pub api: Api,
    /// How it works.
    pub settings: WorkerConfig,
    /// A scan of changes begins this much before the last one.
    pub overlap: Duration,
    /// When a scan finds too much gone.
    pub brake: Brake,
    /// When records are looked at again.
    pub care: Care,
    /// How it looks after what sends webhooks.
    pub watch: Watch,
    /// Who waits for further permits.
    pub lines: Lines,
    /// What has ended and is being settled.
    pub settling: Settling,
    /// What it counts.
    pub metrics: Metrics,
    /// For jitter.
    pub chance: Mutex<StdRng>,
}

impl Worker {
    /// Runs a batch to its end, whatever that is. After `hard`, hands it back.
    pub async fn run_batch(&self, batch: Batch, hard: CancellationToken) {
        let span = process_span(&batch);
        self.process(batch, hard).instrument(span).await;
    }

    async fn process(&self, batch: Batch, hard: CancellationToken) {
        let Some(connection) = self.fleet.connections.get(&batch.lane).cloned() else {
            // It was claimed because it is in the book; the book is made of the connections.
            warn!(lane = %batch.lane, "claimed for a connection that is not known");
            return;
        };
        self.count_claim(&batch);
        let began = Instant::now();
        let Batch { lane, priority, fence, jobs, permit, ends, .. } = batch;
        let permits = BatchPermits::new(self, &connection, priority, permit);
        let (mut settled, jobs) = self.bury_exhausted(&connection, jobs, priority, began).await;
        let work = handlers::Work {
            worker: self,
            connection: &connection,
            permits: &permits,
            priority,
            fence,
            jobs: &jobs,
        };
        if !jobs.is_empty() {
            settled.extend(tokio::select! {
                // Whoever was frozen looks at the clock before it goes on.
                biased;
                reason = self.keep_alive(&lane, fence, &jobs, ends) => {
                    // Another worker may have it: this one writes nothing any more.
                    warn!(%lane, %fence, reason, "batch dropped");
                    Vec::new()
                }
                done = self.handler.run(&work) => self.done(&work, done, began).await,
                () = hard.cancelled() => hand_back(&jobs),
            });
        }
        let reports = permits.reports();
        for (id, outcome) in &settled {
            self.count_settled(&connection, id, *outcome);
        }
        let ended = Ended { fence, outcomes: settled, permits: reports };
        match self.settling.settle(&lane, ended, |all| self.settle(&lane, all)).await {
            Ok(0) => {}
            Ok(lost) => warn!(%lane, lost, "settled too late: another worker has them"),
            // Harmless: the leases end, the jobs run again, and handlers are safe to run twice.
            Err(error) => warn!(%lane, %error, "could not settle"),
        }
    }

    async fn settle(&self, lane: &Lane, all: Vec<Ended>) -> Result<Vec<Vec<JobId>>, QueueError> {
        let settlements: Vec<_> = all.iter().map(Ended::settlement).collect();
        self.queue.settle_all(lane, &settlements).await
    }

    /// Extends the lease until it cannot. Returns why the batch must be dropped.
    async fn keep_alive(
        &self,
        lane: &Lane,
        fence: Fence,
        jobs: &[Leased],
        mut ends: Instant,
    ) -> &'static str {
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
        let every = self.settings.heartbeat;
        let mut beats = interval_at(Instant::now() + every, every);
        loop {
            tokio::select! {
                biased;
                () = sleep_until(ends - LEASE_MARGIN) => return NOT_EXTENDED,
                at = beats.tick() => {
                    let extending = self.queue.extend(lane, fence, &ids);
                    match timeout_at(ends - LEASE_MARGIN, extending).await {
                        Ok(Ok(lost)) if lost.is_empty() => ends = at + self.settings.lease,
                        Ok(Ok(_)) => return "the lease was lost",
                        Ok(Err(error)) => warn!(%error, "could not extend a lease"),
                        Err(_) => return NOT_EXTENDED,
                    }
                }
            }
        }
    }

    /// A job that has taken its worker down on every attempt was never settled: it is buried
    /// before it is run once more.
    async fn bury_exhausted(
        &self,
        connection: &Connection,
        jobs: Vec<Leased>,
        priority: Priority,
        began: Instant,
    ) -> (Vec<(JobId, Outcome)>, Vec<Leased>) {
        let (exhausted, jobs): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| job.attempt > self.settings.max_attempts);
        let mut settled = Vec::new();
        for job in exhausted {
            let reason = "was claimed on every attempt and never settled";
            let outcome = self.bury(connection, &job, priority, reason, began).await;
            settled.push((job.id, outcome));
        }
        (settled, jobs)
    }

    /// What becomes of the jobs after their handler has ended.
    async fn done(
        &self,
        work: &handlers::Work<'_>,
        done: Result<Vec<Then>, Failure>,
        began: Instant,
    ) -> Vec<(JobId, Outcome)> {
        let then = done.unwrap_or_else(|failure| self.failed(work.connection, work.jobs, &failure));
        self.carry_out(work, then, began).await
    }

    /// What becomes of the jobs of a batch about which nothing can be said.
    fn failed(&self, connection: &Connection, jobs: &[Leased], failure: &Failure) -> Vec<Then> {
        let lane = connection.lane();
        warn!(%lane, jobs = jobs.len(), error = %failure, "batch failed");
        Span::current().record("error.type", failure.name());
        jobs.iter()
            .map(|job| match failure {
                Failure::Platform(error) => {
                    outcome::after(error, job.attempt, &self.settings.retry(), self.chance())
                }
                Failure::Store(error) if is_refused(error) => {
                    let chance = self.chance();
                    outcome::unclear(
                        &error.to_string(),
                        job.attempt,
                        &self.settings.retry(),
                        chance,
                    )
                }
                Failure::Store(_) => Then::Settle(outcome::store_failed()),
            })
            .collect()
    }

    /// Writes dead letters, parks the connection: what has to be in Postgres before the queue
    /// forgets the job.
    async fn carry_out(
        &self,
        work: &handlers::Work<'_>,
        then: Vec<Then>,
        began: Instant,
    ) -> Vec<(JobId, Outcome)> {
        let &handlers::Work { connection, jobs, priority, .. } = work;
        if let Some(Then::Park(reason)) = then.iter().find(|then| matches!(then, Then::Park(_))) {
            self.park(connection, reason).await;
        }
        let mut settled = Vec::with_capacity(jobs.len());
        for (job, then) in jobs.iter().zip(then) {
            let outcome = match then {
                Then::Settle(outcome) => outcome,
                Then::GiveUp(reason) => self.bury(connection, job, priority, &reason, began).await,
                Then::Park(_) => outcome::parked(),
            };
            settled.push((job.id.clone(), outcome));
        }
        settled
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn chance(&self) -> f64 {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).random_range(0.0..1.0)
    }

    /// - `source`: why somebody looked.
    pub(crate) fn count_verdicts(
        &self,
        connection: &Connection,
        source: Priority,
        verdicts: &[Verdict],
    ) {
        let platform = connection.lane().platform();
        let count = |of: fn(&Verdict) -> bool| {
            u64::try_from(verdicts.iter().filter(|verdict| of(verdict)).count()).unwrap_or(u64::MAX)
        };
        let changed = count(|verdict| verdict.outcome.is_difference());
        let drifted = count(|verdict| verdict.drift);
        let stale = count(|verdict| verdict.outcome == records::Outcome::Stale);
        if changed > 0 {
            self.metrics.records_changed(platform, source.name(), changed);
        }
        if drifted > 0 {
            self.metrics.drift_found(platform, source.name(), drifted);
        }
        if stale > 0 {
            self.metrics.stale_writes(platform, stale);
        }
    }

    /// Writes a dead letter and closes the notices that led to it, which came before the attempt
    /// `began`. When that fails, the job goes on: nothing is given up without a trace.
    async fn bury(
        &self,
        connection: &Connection,
        job: &Leased,
        priority: Priority,
        reason: &str,
        began: Instant,
    ) -> Outcome {
        error!(lane = %connection.lane(), job = %job.id, reason, "job given up");
        let letter = dead_letters::NewDeadLetter {
            connection: connection.id,
            job_id: job.id.clone(),
            priority,
            attempts: job.attempt,
            last_error: reason.to_owned(),
            first_seen: Timestamp::from_microsecond(job.arrived_us)
                .unwrap_or(Timestamp::UNIX_EPOCH),
            trace: telemetry::current_traceparent(),
        };
        match self.store.bury(&letter, began.elapsed()).await {
            Ok(()) => Outcome::Bury,
            Err(error) => {
                warn!(%error, "could not write the dead letter");
                Outcome::Nack { after: self.settings.retry_cap }
            }
        }
    }

    /// Nothing of this connection can work until a person acts: nothing hammers. Not so when its
    /// token has been renewed since it was refused.
    async fn park(&self, connection: &Connection, reason: &str) {
        let lane = connection.lane();
        let version = connection.account.token.version();
        let (id, origin) = (connection.id, connection.origin);
        match self.store.park_refused(id, origin, version, reason).await {
            Ok(Parking::Renewed) => {
                info!(%lane, reason, "not parked: its token has been renewed since");
                connection.account.token.forget();
                return;
            }
            Ok(Parking::Parked | Parking::Already) => error!(%lane, reason, "connection parked"),
            Err(error) => {
                error!(%lane, reason, "connection parked");
                warn!(%lane, %error, "could not write down that it is parked");
            }
        }
        if let Err(error) = self.queue.pause(lane).await {
            warn!(%lane, %error, "could not pause the lane");
        }
    }

    fn count_claim(&self, batch: &Batch) {
        let platform = batch.lane.platform();
        for job in &batch.jobs {
            let task = Task::try_from(&job.id).map_or("unknown", |task| task.name());
            let waited_us = batch.claimed_at_us.saturating_sub(job.arrived_us);
            let waited = Duration::from_micros(u64::try_from(waited_us).unwrap_or_default());
            self.metrics.job_claimed(platform, task, batch.priority.name(), waited);
        }
    }

    fn count_settled(&self, connection: &Arc<Connection>, id: &JobId, outcome: Outcome) {
        let task = Task::try_from(id).map_or("unknown", |task| task.name());
        self.metrics.job_settled(connection.lane().platform(), task, outcome.name());
    }
}

/// Whether Postgres refuses what is written, and will again: bad data (22), a broken constraint
/// (23), a limit of the program (54). Everything else passes.
///
/// Source: PostgreSQL, appendix A, "Error Codes".
fn is_refused(error: &anyhow::Error) -> bool {
    let database = match error.downcast_ref::<StoreError>() {
        Some(StoreError::Database(database)) => Some(database),
        _ => error.downcast_ref::<sqlx::Error>(),
    };
    let code = database.and_then(|error| error.as_database_error()?.code());
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

/// For another worker, at once and without an attempt used.
fn hand_back(jobs: &[Leased]) -> Vec<(JobId, Outcome)> {
    let at_once = Outcome::Defer { after: Duration::ZERO };
    jobs.iter().map(|job| (job.id.clone(), at_once)).collect()
}

/// A consumer span as OpenTelemetry's messaging conventions describe it. The first asker's trace
/// goes on here, so that one webhook is one trace; the others of the batch are linked.
///
/// Source: OpenTelemetry semantic conventions, "Messaging spans".
fn process_span(batch: &Batch) -> Span {
    let kind = batch.jobs.first().map_or("", |job| job.id.kind());
    let span = info_span!(
        parent: None,
        "process",
        otel.name = format!("process {kind}"),
        otel.kind = "consumer",
        messaging.system = "redis",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = kind,
        messaging.batch.message_count = batch.jobs.len(),
        syncline.lane = %batch.lane,
        syncline.priority = batch.priority.name(),
        syncline.fence = batch.fence.0,
        error.type = Empty,
    );
    let mut traces = batch.jobs.iter().map(|job| job.trace.as_str()).filter(|t| !t.is_empty());
    if let Some(first) = traces.next() {
        telemetry::set_parent(&span, first);
    }
    for other in traces {
        telemetry::link(&span, other);
    }
    span
}
