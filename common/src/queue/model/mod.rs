//! The queue once more, in memory and as plainly as possible: the oracle for the scripts. It knows
//! nothing of Redis and shares no arithmetic with them. One lane; times in microseconds.

mod grants;
mod opening;
mod quotas;
mod waking;

use std::collections::BTreeMap;
use std::time::Duration;

pub use grants::ModelStanding;
use quotas::Quotas;

use super::lease::Outcome;
use super::settings::QueueSettings;
use crate::job::{JobId, Priority};
use crate::quota::{Floors, LaneLimits, RateSignal};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a claim.
    Ready,
    /// Somebody works on it, until the deadline.
    Leased {
        /// Of the claim that leased it.
        fence: i64,
        /// When the lease ends.
        deadline: u64,
    },
    /// Waits for a time; a webhook or a person pulls it forward.
    Delayed(u64),
    /// Failed and waits for a time; nothing pulls it forward.
    Backoff(u64),
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelJob {
    state: State,
    priority: u8,
    arrived: u64,
    attempt: u32,
    dirty: Option<u8>,
    round: u8,
}

/// What a claim leased: priority, fence, and of each job its id, attempt and round.
pub type ModelBatch = (u8, i64, Vec<(JobId, u32, u8)>);

/// One lane.
#[derive(Clone, Debug)]
pub struct Model {
    quotas: Quotas,
    lease: u64,
    floors: [u32; 4],
    jobs: BTreeMap<JobId, ModelJob>,
    frozen_until: u64,
    paused: bool,
    passed_over: [u32; 4],
    fence: i64,
}

impl Model {
    /// An empty lane that was never seen before.
    pub fn new(limits: LaneLimits, settings: &QueueSettings) -> Self {
        let Floors { bulk, spot_checks } = settings.floors;
        Self {
            quotas: Quotas::new(limits, settings.permit_use_by + settings.request_timeout),
            lease: us(settings.lease),
            floors: [0, 0, bulk.into(), spot_checks.into()],
            jobs: BTreeMap::new(),
            frozen_until: 0,
            paused: false,
            passed_over: [0; 4],
            fence: 0,
        }
    }

    /// How many jobs there are, in whatever state.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// No job at all.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Everything is lost.
    pub fn flush(&mut self) {
        self.quotas.flush();
        self.jobs.clear();
        self.frozen_until = 0;
        self.paused = false;
        self.passed_over = [0; 4];
        self.fence = 0;
    }

    /// The index is found on another server, which may lack the last writes.
    pub fn replaced(&mut self) {
        self.quotas.replaced();
    }

    /// Opens every ledger as empty.
    pub fn open(&mut self, now: u64) {
        self.quotas.open(now);
    }

    /// See [`super::RedisQueue::enqueue`] and `ensure`. `true` when something changed.
    pub fn enqueue(&mut self, id: &JobId, priority: Priority, ensure: bool, now: u64) {
        let priority = priority.number();
        let Some(job) = self.jobs.get_mut(id) else {
            let job = ModelJob {
                state: State::Ready,
                priority,
                arrived: now,
                attempt: 0,
                dirty: None,
                round: 0,
            };
            self.jobs.insert(id.clone(), job);
            return;
        };
        match job.state {
            State::Leased { .. } if ensure => {}
            State::Leased { .. } => {
                job.dirty = Some(job.dirty.map_or(priority, |old| old.min(priority)));
            }
            State::Ready if priority < job.priority => {
                (job.priority, job.arrived) = (priority, now);
            }
            State::Ready => {}
            State::Delayed(_) if !ensure && priority <= Priority::Manual.number() => {
                job.priority = job.priority.min(priority);
                (job.state, job.arrived) = (State::Ready, now);
                (job.attempt, job.round) = (0, 0);
            }
            State::Delayed(_) | State::Backoff(_) => job.priority = job.priority.min(priority),
        }
    }

    /// Nothing was sent under a permit.
    pub fn give_back(&mut self, permit: i64, kind: &str, now: u64) {
        self.quotas.give_back(permit, kind, now);
    }

    /// The answer to a permit has come, and what it said.
    pub fn observe(&mut self, permit: i64, kind: &str, signal: &RateSignal, now: u64) {
        self.quotas.answered(permit, kind, now);
        let refused_for = self.quotas.believe(kind, signal, now);
        self.freeze(us(refused_for), now);
    }

    /// See [`super::RedisQueue::extend`]; `true` when the lease was still ours. It is one for all jobs
    /// of a batch.
    pub fn extend(&mut self, id: &JobId, fence: i64, now: u64) -> bool {
        let deadline = now + self.lease;
        let is_held = |job: &ModelJob| matches!(job.state, State::Leased { fence: current, .. } if current == fence);
        if !self.jobs.get(id).is_some_and(is_held) {
            return false;
        }
        for job in self.jobs.values_mut().filter(|job| is_held(job)) {
            job.state = State::Leased { fence, deadline };
        }
        true
    }

    /// See [`super::RedisQueue::settle`]; `true` when the lease was still ours.
    pub fn settle(&mut self, id: &JobId, fence: i64, outcome: Outcome, now: u64) -> bool {
        self.quotas.see(now);
        let Some(job) = self.jobs.get_mut(id) else { return false };
        if !matches!(job.state, State::Leased { fence: current, .. } if current == fence) {
            return false;
        }
        let dirty = job.dirty.take();
        match (outcome, dirty) {
            (Outcome::Nack { after }, dirty) => {
                job.priority = dirty.map_or(job.priority, |d| job.priority.min(d));
                job.state = State::Backoff(now + us(after));
            }
            (_, Some(dirty)) => {
                (job.state, job.priority, job.arrived) = (State::Ready, dirty, now);
                (job.attempt, job.round) = (0, 0);
            }
            (Outcome::Again { after, round }, None) => {
                (job.attempt, job.round, job.arrived) = (0, round, now);
                job.state =
                    if after.is_zero() { State::Ready } else { State::Delayed(now + us(after)) };
            }
            (Outcome::Defer { after }, None) => {
                job.attempt -= 1;
                job.state = State::Delayed(now + us(after));
            }
            (Outcome::Ack | Outcome::Bury, None) => {
                self.jobs.remove(id);
            }
        }
        true
    }

    /// Nobody may send for at least this long.
    pub fn freeze(&mut self, length: u64, now: u64) {
        self.frozen_until = self.frozen_until.max(now + length);
    }

    /// Ends a freeze.
    pub fn thaw(&mut self) {
        self.frozen_until = 0;
        self.quotas.thaw();
    }

    /// The next fence is above this one, which another lane was given.
    pub fn after_fence(&mut self, fence: i64) {
        self.fence = self.fence.max(fence);
    }

    /// Whether a person holds it.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Holds the lane, or lets it go.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
