//! The queue in Redis: arguments in, one script, answers out.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use redis::{FromRedisValue, Script};
use tokio::time::Instant;

use super::answer::{Enqueued, QueueError};
use super::book::{Entry, LaneBook};
use super::call::Call;
use super::keys::Keys;
use super::settings::QueueSettings;
use super::{scripts, wire};
use crate::ids::{Fence, Lane};
use crate::job::{Job, JobId, Priority};
use crate::link::Links;
use crate::quota::Permit;

/// Jobs that one call of a script takes; longer lists are cut.
pub(super) const JOBS_PER_CALL: usize = 200;
/// Permits that one call of `settle.lua` takes; longer lists are cut.
pub(super) const PERMITS_PER_CALL: usize = 200;

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct RedisQueue {
    links: Links,
    pub(super) keys: Keys,
    pub(super) book: LaneBook,
    pub(super) settings: QueueSettings,
    /// Tests pass a time; otherwise the server's clock counts.
    now_us: Option<u64>,
}

impl fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQueue").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl RedisQueue {
    /// A queue for the lanes of `book`, whose keys were made by `keys`.
    ///
    /// - `links`: one for each shard of `keys`.
    pub fn new(links: Links, keys: Keys, book: LaneBook, settings: QueueSettings) -> Self {
        Self { links, keys, book, settings, now_us: None }
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

    /// The ways to its shards.
    pub fn links(&self) -> &Links {
        &self.links
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
            let ids: Vec<JobId> = same_lane.iter().map(|job| job.task.job_id()).collect();
            for part in parts(&ids) {
                let (Some(jobs), Some(ids)) = (same_lane.get(part.clone()), ids.get(part)) else {
                    continue;
                };
                let Some(first) = jobs.first() else { continue };
                let mut call = self.bare_call(&scripts::ENQUEUE, true, &first.lane);
                call.arg(first.lane.as_str()).arg(mode);
                for id in ids {
                    call.arg(id.as_str());
                }
                for job in jobs {
                    call.arg(wire::request(job.priority, &job.trace));
                }
                let (added, raised, dirty, coalesced): (u64, u64, u64, u64) =
                    self.send(&call).await?;
                total.added += added;
                total.raised += raised;
                total.dirty += dirty;
                total.coalesced += coalesced;
            }
        }
        Ok(total)
    }

    /// Extends the leases of a batch to one lease from now. Returns the jobs whose lease is lost.
    pub async fn extend(
        &self,
        lane: &Lane,
        fence: Fence,
        ids: &[JobId],
    ) -> Result<Vec<JobId>, QueueError> {
        let mut call = self.bare_call(&scripts::EXTEND, false, lane);
        call.arg(micros(self.settings.lease)).arg(fence.0);
        for id in ids {
            call.arg(id.as_str());
        }
        let lost: Vec<String> = self.send(&call).await?;
        Ok(lost.into_iter().map(JobId::from).collect())
    }

    /// One more permit for a request inside a job; `Err` has the time until there may be one. It
    /// may be too short, never too long: a request that is on its way may be answered at once.
    pub async fn acquire(
        &self,
        lane: &Lane,
        kind: &str,
        priority: Priority,
    ) -> Result<Result<Permit, Duration>, QueueError> {
        self.acquire_mode(lane, kind, priority, "").await
    }

    /// The same for a person who probes whether the account works: also while the lane is paused.
    pub async fn acquire_for_probe(
        &self,
        lane: &Lane,
        kind: &str,
    ) -> Result<Result<Permit, Duration>, QueueError> {
        self.acquire_mode(lane, kind, Priority::Manual, "probe").await
    }

    async fn acquire_mode(
        &self,
        lane: &Lane,
        kind: &str,
        priority: Priority,
        mode: &str,
    ) -> Result<Result<Permit, Duration>, QueueError> {
        let asked_at = Instant::now();
        let entry = self.entry(lane)?;
        let mut call = self.lane_call(&scripts::ACQUIRE, false, entry);
        call.arg(entry.packed.as_slice())
            .arg(self.permit_deadline_us())
            .arg(kind)
            .arg(priority.number())
            .arg(mode);
        let (id, wait_us): (i64, u64) = self.send(&call).await?;
        Ok(if id == 0 {
            Err(Duration::from_micros(wait_us))
        } else {
            let use_by = asked_at + self.settings.permit_use_by;
            Ok(Permit { id, kind: kind.to_owned(), use_by })
        })
    }

    pub(super) fn entry(&self, lane: &Lane) -> Result<&Entry, QueueError> {
        self.book
            .entry(lane)
            .map(AsRef::as_ref)
            .ok_or_else(|| QueueError::UnknownLane(lane.clone()))
    }

    /// A call about a lane that is known here, with its keys.
    pub(super) fn lane_call<'a>(&self, script: &'a Script, wakes: bool, entry: &Entry) -> Call<'a> {
        let keys = entry.keys.iter().chain(&entry.ledgers);
        Call::new(script, &self.keys, entry.shard, wakes).keys(keys)
    }

    /// A call about any lane, without its ledgers.
    pub(super) fn bare_call<'a>(&self, script: &'a Script, wakes: bool, lane: &Lane) -> Call<'a> {
        let shard = self.keys.shard_of(lane);
        Call::new(script, &self.keys, shard, wakes).keys(self.keys.lane(lane))
    }

    pub(super) async fn send<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, QueueError> {
        call.send(&self.links, self.keys.count(), self.now_us).await
    }

    /// From a permit's grant until its request is answered or given up.
    pub(super) fn permit_deadline_us(&self) -> u64 {
        micros(self.settings.permit_use_by + self.settings.request_timeout)
    }
}

/// Cuts a list for as many calls as it takes: so many at once, and none twice in a call.
pub(super) fn parts<T: Eq + std::hash::Hash>(ids: &[T]) -> Vec<Range<usize>> {
    let (mut parts, mut from, mut seen) = (Vec::new(), 0, HashSet::new());
    for (at, id) in ids.iter().enumerate() {
        if seen.len() == JOBS_PER_CALL || seen.contains(id) {
            parts.push(from..at);
            (from, seen) = (at, HashSet::new());
        }
        seen.insert(id);
    }
    if from < ids.len() {
        parts.push(from..ids.len());
    }
    parts
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
