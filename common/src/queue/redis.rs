//! The queue in Redis: arguments in, one script, answers out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{Script, ScriptInvocation};
use tokio::time::Instant;

use super::answer::{Claimed, Depths, Enqueued, Ledger, QueueError};
use super::book::{Entry, LaneBook};
use super::keys::Keys;
use super::lease::{Batch, Leased, Outcome, PermitReport};
use super::settings::QueueSettings;
use super::{scripts, wire};
use crate::ids::{Fence, Lane};
use crate::job::{Job, JobId, Priority};
use crate::quota::{Permit, Quota, RateScope};

/// Jobs that one call of a script takes; longer lists are cut.
const JOBS_PER_CALL: usize = 200;

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct RedisQueue {
    pub(super) redis: ConnectionManager,
    keys: Keys,
    book: LaneBook,
    settings: QueueSettings,
    /// Tests pass a time; otherwise the server's clock counts.
    now_us: Option<u64>,
}

impl fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQueue").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Lease, batch and permits as `claim.lua` returns them.
type RawBatch = (String, u8, i64, Vec<(String, u32, u8, Vec<u8>, i64)>);

impl RedisQueue {
    /// A queue for the lanes of `book`, whose keys were made by `keys`.
    pub fn new(
        redis: ConnectionManager,
        keys: Keys,
        book: LaneBook,
        settings: QueueSettings,
    ) -> Self {
        Self { redis, keys, book, settings, now_us: None }
    }

    /// The same queue at another time, for tests: microseconds since the Unix epoch.
    #[must_use]
    pub fn at(&self, now_us: u64) -> Self {
        Self { now_us: Some(now_us), ..self.clone() }
    }

    /// The lanes it serves.
    pub fn book(&self) -> &LaneBook {
        &self.book
    }

    /// The names of its keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How long things may take.
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Enqueues jobs, each as soon as it may run. What waits already is raised to the higher
    /// priority; what is being worked on runs once more afterwards.
    pub async fn enqueue(&self, jobs: &[Job]) -> Result<Enqueued, QueueError> {
        self.enqueue_mode(jobs, "mark").await
    }

    /// Makes sure that jobs wait, for a caller that only makes up for a loss: what is being worked
    /// on, and what is delayed, is left alone.
    pub async fn ensure(&self, jobs: &[Job]) -> Result<Enqueued, QueueError> {
        self.enqueue_mode(jobs, "ensure").await
    }

    async fn enqueue_mode(&self, jobs: &[Job], mode: &str) -> Result<Enqueued, QueueError> {
        let mut total = Enqueued::default();
        for same_lane in jobs.chunk_by(|a, b| a.lane == b.lane) {
            for chunk in same_lane.chunks(JOBS_PER_CALL) {
                let Some(first) = chunk.first() else { continue };
                let mut call = self.call(&scripts::ENQUEUE, true, &self.keys.lane(&first.lane));
                call.arg(first.lane.as_str()).arg(mode);
                for job in chunk {
                    call.arg(job.task.job_id().as_str())
                        .arg(job.priority.number())
                        .arg(0)
                        .arg(wire::pack_trace(&job.trace));
                }
                let (added, raised, dirty, coalesced): (u64, u64, u64, u64) =
                    call.invoke_async(&mut self.redis.clone()).await?;
                total.added += added;
                total.raised += raised;
                total.dirty += dirty;
                total.coalesced += coalesced;
            }
        }
        Ok(total)
    }

    /// Claims up to `wanted` batches from `lanes`; a lane that is not in the book is passed over.
    /// One round trip. Called without lanes, it only says which are due.
    pub async fn claim(&self, lanes: &[Lane], wanted: usize) -> Result<Claimed, QueueError> {
        let asked_at = Instant::now();
        let known: Vec<(&Lane, &Entry)> =
            lanes.iter().filter_map(|lane| Some((lane, self.book.entry(lane)?.as_ref()))).collect();
        let keys: Vec<&String> =
            known.iter().flat_map(|(_, e)| e.keys.iter().chain(&e.ledgers)).collect();
        let mut call = self.call(&scripts::CLAIM, true, &keys);
        call.arg(micros(self.settings.lease))
            .arg(self.permit_deadline_us())
            .arg(wanted)
            .arg(self.settings.bulk_floor)
            .arg(self.settings.spot_check_floor);
        for (lane, entry) in known {
            call.arg(lane.as_str()).arg(entry.json.as_str());
        }
        let (now_us, next_us, due, closed, reaped, batches): (
            i64,
            i64,
            Vec<String>,
            Vec<String>,
            u64,
            Vec<RawBatch>,
        ) = call.invoke_async(&mut self.redis.clone()).await?;
        let next = u64::try_from(next_us)
            .ok()
            .map(|next_us| Duration::from_micros(next_us.saturating_sub(now_us.unsigned_abs())));
        Ok(Claimed {
            batches: batches
                .into_iter()
                .filter_map(|raw| self.batch(raw, now_us, asked_at))
                .collect(),
            next,
            due,
            closed: closed.iter().filter_map(|lane| lane.parse().ok()).collect(),
            reaped,
        })
    }

    fn batch(
        &self,
        (lane, priority, fence, jobs): RawBatch,
        claimed_at_us: i64,
        asked_at: Instant,
    ) -> Option<Batch> {
        let jobs: Vec<Leased> = jobs
            .into_iter()
            .map(|(id, attempt, round, trace, arrived_us)| Leased {
                id: JobId::from(id),
                attempt,
                round,
                trace: wire::unpack_trace(&trace),
                arrived_us,
            })
            .collect();
        let kind = jobs.first()?.id.kind().to_owned();
        Some(Batch {
            lane: lane.parse().ok()?,
            priority: Priority::from_number(priority)?,
            fence: Fence(fence),
            jobs,
            permit: Permit { id: fence, kind, use_by: asked_at + self.settings.permit_use_by },
            ends: asked_at + self.settings.lease,
            claimed_at_us,
        })
    }

    /// Extends the leases of a batch to one lease from now. Returns the jobs whose lease is lost.
    pub async fn extend(
        &self,
        lane: &Lane,
        fence: Fence,
        ids: &[JobId],
    ) -> Result<Vec<JobId>, QueueError> {
        let mut call = self.call(&scripts::EXTEND, false, &self.keys.lane(lane));
        call.arg(micros(self.settings.lease));
        for id in ids {
            call.arg(id.as_str()).arg(fence.0);
        }
        let lost: Vec<String> = call.invoke_async(&mut self.redis.clone()).await?;
        Ok(lost.into_iter().map(JobId::from).collect())
    }

    /// Settles leased jobs of one lane together with the permits that were used for them. Returns
    /// the jobs whose lease was lost: nothing was done for them.
    pub async fn settle(
        &self,
        lane: &Lane,
        fence: Fence,
        outcomes: &[(JobId, Outcome)],
        permits: &[PermitReport],
    ) -> Result<Vec<JobId>, QueueError> {
        let entry = self.entry(lane)?;
        let mut lost = Vec::new();
        let mut permits = permits;
        let mut rest = outcomes;
        loop {
            let (chunk, later) = rest.split_at(rest.len().min(JOBS_PER_CALL));
            let mut call = self.lane_call(&scripts::SETTLE, true, entry);
            call.arg(lane.as_str())
                .arg(entry.json.as_str())
                .arg(self.permit_deadline_us())
                .arg(permits.len());
            for report in permits {
                let (left, reset_after) = report
                    .signal
                    .remaining
                    .map_or((-1, Duration::ZERO), |(n, after)| (i64::from(n), after));
                call.arg(report.id)
                    .arg(report.kind.as_str())
                    .arg(u8::from(report.sent))
                    .arg(left)
                    .arg(micros(reset_after))
                    .arg(micros(report.signal.refused_for.unwrap_or_default()))
                    .arg(match report.signal.scope {
                        RateScope::Lane => "lane",
                        RateScope::Kind => "kind",
                    });
            }
            for (id, outcome) in chunk {
                let (after, round) = match *outcome {
                    Outcome::Again { after, round } => (after, round),
                    Outcome::Nack { after } | Outcome::Defer { after } => (after, 0),
                    Outcome::Ack | Outcome::Bury => (Duration::ZERO, 0),
                };
                call.arg(id.as_str())
                    .arg(fence.0)
                    .arg(outcome.name())
                    .arg(micros(after))
                    .arg(round);
            }
            let gone: Vec<String> = call.invoke_async(&mut self.redis.clone()).await?;
            lost.extend(gone.into_iter().map(JobId::from));
            (permits, rest) = (&[], later);
            if rest.is_empty() {
                return Ok(lost);
            }
        }
    }

    /// Settles permits alone, at once: for windows of a second, and for what cannot wait (a 429).
    pub async fn observe(&self, lane: &Lane, permits: &[PermitReport]) -> Result<(), QueueError> {
        self.settle(lane, Fence(0), &[], permits).await.map(drop)
    }

    /// One more permit for a request inside a job; `Err` has the time until there may be one. It
    /// may be too short, never too long: a request that is on its way may be answered at once.
    pub async fn acquire(
        &self,
        lane: &Lane,
        kind: &str,
        priority: Priority,
    ) -> Result<Result<Permit, Duration>, QueueError> {
        let asked_at = Instant::now();
        let entry = self.entry(lane)?;
        let mut call = self.lane_call(&scripts::ACQUIRE, false, entry);
        call.arg(entry.json.as_str())
            .arg(self.permit_deadline_us())
            .arg(kind)
            .arg(priority.number());
        let (id, wait_us): (i64, u64) = call.invoke_async(&mut self.redis.clone()).await?;
        Ok(if id == 0 {
            Err(Duration::from_micros(wait_us))
        } else {
            let use_by = asked_at + self.settings.permit_use_by;
            Ok(Permit { id, kind: kind.to_owned(), use_by })
        })
    }

    /// Opens the ledgers of a lane that Redis had not seen: one [`Ledger`] for each of the lane's
    /// quotas, in their order. `true` when something was opened.
    pub async fn open(&self, lane: &Lane, ledgers: &[Ledger]) -> Result<bool, QueueError> {
        let entry = self.entry(lane)?;
        let mut call = self.lane_call(&scripts::OPEN, true, entry);
        call.arg(lane.as_str()).arg(entry.json.as_str()).arg(self.permit_deadline_us());
        for (i, quota) in entry.limits.quotas.iter().enumerate() {
            match ledgers.get(i) {
                Some(Ledger::Empty) => call.arg("open"),
                Some(Ledger::Keep) | None => call.arg("keep"),
                Some(Ledger::Sent(ages)) => call.arg(sent(quota, ages)),
            };
        }
        let opened: u8 = call.invoke_async(&mut self.redis.clone()).await?;
        Ok(opened == 1)
    }

    /// Nobody may send on this lane for at least this long.
    pub async fn freeze(&self, lane: &Lane, length: Duration) -> Result<(), QueueError> {
        self.hold(lane, "freeze", length).await
    }

    /// Ends a freeze, of the lane and of all its kinds.
    pub async fn thaw(&self, lane: &Lane) -> Result<(), QueueError> {
        self.hold(lane, "thaw", Duration::ZERO).await
    }

    /// Holds a lane until [`Self::resume`].
    pub async fn pause(&self, lane: &Lane) -> Result<(), QueueError> {
        self.hold(lane, "pause", Duration::ZERO).await
    }

    /// Ends a pause.
    pub async fn resume(&self, lane: &Lane) -> Result<(), QueueError> {
        self.hold(lane, "resume", Duration::ZERO).await
    }

    async fn hold(&self, lane: &Lane, how: &str, length: Duration) -> Result<(), QueueError> {
        let mut call = self.call(&scripts::HOLD, true, &self.keys.lane(lane));
        let frozen_until: i64 = call
            .arg(lane.as_str())
            .arg(how)
            .arg(micros(length))
            .invoke_async(&mut self.redis.clone())
            .await?;
        tracing::debug!(%lane, how, frozen_until, "lane held");
        Ok(())
    }

    /// How much waits in a lane, and what holds it.
    pub async fn depths(&self, lane: &Lane) -> Result<Depths, QueueError> {
        let call = self.call(&scripts::DEPTHS, false, &self.keys.lane(lane));
        let raw: [u64; 10] = call.invoke_async(&mut self.redis.clone()).await?;
        let [r0, r1, r2, r3, delayed, leased, oldest, frozen, paused, closed] = raw;
        Ok(Depths {
            ready: [r0, r1, r2, r3],
            delayed,
            leased,
            oldest: Duration::from_micros(oldest),
            frozen: Duration::from_micros(frozen),
            paused: paused == 1,
            closed: closed == 1,
        })
    }

    /// Puts a lane that nobody here knows behind the others for a while, so that it does not stand
    /// in the way of those that are known.
    pub async fn postpone(&self, lane: &str, by: Duration) -> Result<(), QueueError> {
        let mut redis = self.redis.clone();
        let (seconds, micros_part): (u64, u64) = redis::cmd("TIME").query_async(&mut redis).await?;
        let at = seconds * 1_000_000 + micros_part + micros(by);
        redis::cmd("ZADD")
            .arg(self.keys.lanes())
            .arg("XX")
            .arg(at)
            .arg(lane)
            .exec_async(&mut redis)
            .await?;
        Ok(())
    }

    /// The age of the index: `None` after a loss, until [`Self::begin_epoch`].
    pub async fn epoch(&self) -> Result<Option<String>, QueueError> {
        let mut redis = self.redis.clone();
        Ok(redis::cmd("HGET").arg(self.keys.shard()).arg("epoch").query_async(&mut redis).await?)
    }

    /// Says that the index is complete as of `epoch`, unless another said so first. Call it after
    /// everything has been enqueued again.
    pub async fn begin_epoch(&self, epoch: &str) -> Result<bool, QueueError> {
        let mut redis = self.redis.clone();
        let set: u8 = redis::cmd("HSETNX")
            .arg(self.keys.shard())
            .arg("epoch")
            .arg(epoch)
            .query_async(&mut redis)
            .await?;
        Ok(set == 1)
    }

    pub(super) fn entry(&self, lane: &Lane) -> Result<&Entry, QueueError> {
        self.book
            .entry(lane)
            .map(AsRef::as_ref)
            .ok_or_else(|| QueueError::UnknownLane(lane.clone()))
    }

    pub(super) fn lane_call<'a>(
        &self,
        script: &'a Script,
        wakes: bool,
        entry: &Entry,
    ) -> ScriptInvocation<'a> {
        let keys: Vec<&String> = entry.keys.iter().chain(&entry.ledgers).collect();
        self.call(script, wakes, &keys)
    }

    /// A call with the shard's keys, those given, and the time. `wakes`: the script may have to
    /// wake a worker.
    fn call<'a>(
        &self,
        script: &'a Script,
        wakes: bool,
        keys: &[impl AsRef<str>],
    ) -> ScriptInvocation<'a> {
        let mut call = script.key(self.keys.shard());
        if wakes {
            call.key(self.keys.lanes()).key(self.keys.wake());
        }
        for key in keys {
            call.key(key.as_ref());
        }
        match self.now_us {
            Some(now_us) => call.arg(now_us),
            None => call.arg(""),
        };
        call
    }

    /// From a permit's grant until its request is answered or given up.
    pub(super) fn permit_deadline_us(&self) -> u64 {
        micros(self.settings.permit_use_by + self.settings.request_timeout)
    }
}

/// Requests by age as `open.lua` takes them. Of a ledger that counts one by one the youngest that
/// fill it; of one in steps how many in each, as if all had been sent at its end. Both are bounded.
fn sent(quota: &Quota, ages: &[Duration]) -> String {
    let mut by_age: BTreeMap<u64, u64> = BTreeMap::new();
    let step_us = quota.step().map_or(1, micros);
    for &age in ages {
        *by_age.entry(micros(age) / step_us * step_us).or_default() += 1;
    }
    let mut parts = Vec::new();
    let mut left = u64::from(quota.limit);
    for (age_us, count) in by_age {
        let slots = count.min(left);
        if slots == 0 {
            break;
        }
        left -= slots;
        parts.push(format!("{age_us}*{slots}"));
    }
    format!("{},", parts.join(","))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
