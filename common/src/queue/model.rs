//! The queue once more, in memory and as plainly as possible: the oracle for the scripts. It knows
//! nothing of Redis and shares no arithmetic with them. One lane; times in microseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lease::Outcome;
use crate::job::{JobId, Priority};
use crate::quota::{KindLimits, LaneLimits, RateScope, RateSignal};

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

/// One slot of a ledger: held until one window after `answered`.
#[derive(Clone, Debug)]
struct Slot {
    permit: i64,
    /// When the answer came; until then, the deadline.
    answered: u64,
}

#[derive(Clone, Debug)]
struct QuotaState {
    bucket_full_at: u64,
    closed_until: u64,
    slots: Vec<Slot>,
}

/// What a claim leased: priority, fence, and of each job its id, attempt and round.
pub type ModelBatch = (u8, i64, Vec<(JobId, u32, u8)>);

/// One lane.
#[derive(Clone, Debug)]
pub struct Model {
    limits: LaneLimits,
    lease: u64,
    permit_deadline: u64,
    floors: [u32; 4],
    jobs: BTreeMap<JobId, ModelJob>,
    quotas: Option<Vec<QuotaState>>,
    unopened: bool,
    frozen_until: u64,
    frozen_kinds: BTreeMap<String, u64>,
    paused: bool,
    passed_over: [u32; 4],
    fence: i64,
}

impl Model {
    /// An empty lane that was never seen before.
    pub fn new(limits: LaneLimits, lease: Duration, permit_deadline: Duration) -> Self {
        Self {
            limits,
            lease: us(lease),
            permit_deadline: us(permit_deadline),
            floors: [0, 0, 10, 5],
            jobs: BTreeMap::new(),
            quotas: None,
            unopened: false,
            frozen_until: 0,
            frozen_kinds: BTreeMap::new(),
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
        *self = Self {
            limits: self.limits.clone(),
            floors: self.floors,
            jobs: BTreeMap::new(),
            quotas: None,
            unopened: false,
            frozen_until: 0,
            frozen_kinds: BTreeMap::new(),
            paused: false,
            passed_over: [0; 4],
            fence: 0,
            ..*self
        };
    }

    /// First sight: empty buckets, closed ledgers.
    fn see(&mut self, now: u64) -> &mut Vec<QuotaState> {
        let (limits, deadline) = (&self.limits, self.permit_deadline);
        if self.quotas.is_none() {
            self.unopened = true;
        }
        self.quotas.get_or_insert_with(|| {
            limits
                .quotas
                .iter()
                .map(|q| QuotaState {
                    bucket_full_at: now + u64::from(q.burst) * interval(q),
                    closed_until: now + deadline + us(q.window),
                    slots: Vec::new(),
                })
                .collect()
        })
    }

    /// Opens every ledger as empty.
    pub fn open(&mut self, now: u64) {
        self.see(now);
        if std::mem::take(&mut self.unopened) {
            for quota in self.see(now) {
                quota.closed_until = quota.closed_until.min(now);
            }
            self.unopened = false;
        }
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

    /// See [`super::RedisQueue::claim`].
    pub fn claim(&mut self, wanted: usize, now: u64) -> Vec<ModelBatch> {
        self.see(now);
        if self.paused || self.frozen_until > now {
            return Vec::new();
        }
        for job in self.jobs.values_mut() {
            match job.state {
                State::Leased { deadline, .. } if deadline <= now => {
                    if let Some(dirty) = job.dirty.take() {
                        job.priority = job.priority.min(dirty);
                    }
                    job.state = State::Ready;
                }
                State::Delayed(at) | State::Backoff(at) if at <= now => job.state = State::Ready,
                _ => {}
            }
        }
        let mut batches = Vec::new();
        while batches.len() < wanted {
            let Some(batch) = self.lease_batch(now) else { break };
            batches.push(batch);
        }
        batches
    }

    fn lease_batch(&mut self, now: u64) -> Option<ModelBatch> {
        let owed = [2_u8, 3].into_iter().filter(|&p| self.is_owed(p)).find_map(|p| {
            let ids = self.runnable(p, false, now);
            (!ids.is_empty()).then_some((p, ids))
        });
        let (priority, ids) = owed.or_else(|| {
            (0..4).find_map(|p| {
                let ids = self.runnable(p, p >= 2, now);
                (!ids.is_empty()).then_some((p, ids))
            })
        })?;
        let kind = ids.first()?.kind().to_owned();
        let fence = self.take(&kind, now);
        let mut leased = Vec::new();
        for id in ids {
            let job = self.jobs.get_mut(&id)?;
            job.state = State::Leased { fence, deadline: now + self.lease };
            job.attempt += 1;
            leased.push((id, job.attempt, job.round));
        }
        for class in 2_u8..4 {
            let waits = self.jobs.values().any(|j| j.state == State::Ready && j.priority == class);
            if let Some(passed_over) = self.passed_over.get_mut(usize::from(class)) {
                if class == priority {
                    *passed_over = 0;
                } else if waits {
                    *passed_over += 1;
                }
            }
        }
        Some((priority, fence, leased))
    }

    /// So often passed over while it waited that with two grants more its share would be missed.
    fn is_owed(&self, priority: u8) -> bool {
        let index = usize::from(priority);
        let floor = self.floors.get(index).copied().unwrap_or(0);
        self.passed_over.get(index).is_some_and(|n| floor > 0 && (n + 2) * floor >= 100)
    }

    /// The first group at this priority that may run, up to one batch of it.
    fn runnable(&self, priority: u8, spare: bool, now: u64) -> Vec<JobId> {
        let mut waiting: Vec<(u64, &JobId)> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.state == State::Ready && job.priority == priority)
            .map(|(id, job)| (job.arrived, id))
            .collect();
        waiting.sort_unstable();
        let Some((_, first)) =
            waiting.iter().find(|(_, id)| self.wait(id.kind(), spare, false, now) == 0)
        else {
            return Vec::new();
        };
        let batch = usize::try_from(self.kind(first.kind()).batch).unwrap_or(usize::MAX);
        waiting
            .iter()
            .filter(|(_, id)| id.group() == first.group())
            .take(batch)
            .map(|(_, id)| (*id).clone())
            .collect()
    }

    fn kind(&self, kind: &str) -> KindLimits {
        self.limits.kinds.get(kind).cloned().unwrap_or_else(|| KindLimits {
            batch: 1,
            cost: 1,
            quotas: (0..self.limits.quotas.len()).collect(),
        })
    }

    /// Time until a request of this kind may be granted, found by trying: the earliest of the
    /// instants at which anything changes that lets it pass. With `soonest` every request that is
    /// on its way is answered now.
    pub fn wait(&self, kind: &str, spare: bool, soonest: bool, now: u64) -> u64 {
        let limits = self.kind(kind);
        let Some(states) = &self.quotas else { return 0 };
        let mut wait = self.frozen_kinds.get(kind).map_or(0, |at| at.saturating_sub(now));
        for &i in &limits.quotas {
            let (Some(quota), Some(state)) = (self.limits.quotas.get(i), states.get(i)) else {
                continue;
            };
            let mut candidates = vec![now, state.closed_until];
            let frees: Vec<u64> = state
                .slots
                .iter()
                .map(|s| if soonest { s.answered.min(now) } else { s.answered } + us(quota.window))
                .collect();
            candidates.extend(&frees);
            // The bucket has refilled by `cost` when it will be full `cost` tokens later.
            let spare = if spare { quota.headroom } else { 0 };
            let room = u64::from(quota.burst - spare - limits.cost) * interval(quota);
            candidates.push(state.bucket_full_at.saturating_sub(room));
            candidates.sort_unstable();
            let at = candidates.into_iter().filter(|&at| at >= now).find(|&at| {
                let held = frees.iter().filter(|&&free_at| free_at > at).count();
                at >= state.closed_until
                    && u64::try_from(held).unwrap_or(u64::MAX) + u64::from(limits.cost)
                        <= u64::from(quota.limit)
                    && state.bucket_full_at.max(at) <= at + room
            });
            wait = wait.max(at.unwrap_or(u64::MAX) - now);
        }
        wait
    }

    fn take(&mut self, kind: &str, now: u64) -> i64 {
        let limits = self.kind(kind);
        self.fence = (self.fence + 1).max(i64::try_from(now).unwrap_or(i64::MAX));
        let (permit, deadline) = (self.fence, now + self.permit_deadline);
        let intervals: Vec<u64> = self.limits.quotas.iter().map(interval).collect();
        for &i in &limits.quotas {
            if let (Some(interval), Some(state)) = (intervals.get(i), self.see(now).get_mut(i)) {
                state.bucket_full_at =
                    state.bucket_full_at.max(now) + u64::from(limits.cost) * interval;
                for _ in 0..limits.cost {
                    state.slots.push(Slot { permit, answered: deadline });
                }
            }
        }
        permit
    }

    /// See [`super::RedisQueue::acquire`]: a permit, or the time until there may be one.
    pub fn acquire(&mut self, kind: &str, priority: Priority, now: u64) -> Result<i64, u64> {
        self.see(now);
        let mut wait = self.wait(kind, priority >= Priority::Bulk, true, now);
        if self.paused {
            wait = wait.max(1_000_000);
        }
        wait = wait.max(self.frozen_until.saturating_sub(now));
        if wait > 0 { Err(wait) } else { Ok(self.take(kind, now)) }
    }

    /// Nothing was sent under a permit.
    pub fn give_back(&mut self, permit: i64, kind: &str, now: u64) {
        let limits = self.kind(kind);
        let quotas = self.limits.quotas.clone();
        let states = self.see(now);
        for &i in &limits.quotas {
            if let (Some(state), Some(quota)) = (states.get_mut(i), quotas.get(i)) {
                state.slots.retain(|slot| slot.answered + us(quota.window) > now);
                let before = state.slots.len();
                state.slots.retain(|slot| slot.permit != permit);
                let freed = u64::try_from(before - state.slots.len()).unwrap_or(0);
                state.bucket_full_at -= freed * interval(quota);
            }
        }
    }

    /// The answer to a permit has come, and what it said.
    pub fn observe(&mut self, permit: i64, kind: &str, signal: &RateSignal, now: u64) {
        let limits = self.kind(kind);
        let quotas = self.limits.quotas.clone();
        let states = self.see(now);
        for &i in &limits.quotas {
            let (Some(state), Some(quota)) = (states.get_mut(i), quotas.get(i)) else { continue };
            for slot in state.slots.iter_mut().filter(|s| s.permit == permit) {
                if slot.answered + us(quota.window) > now {
                    slot.answered = now;
                }
            }
        }
        let refused_for = signal.refused_for.unwrap_or_default();
        if signal.scope == RateScope::Kind {
            let used_up = signal.remaining.filter(|&(left, _)| left == 0);
            let length = used_up.map_or(refused_for, |(_, reset)| refused_for.max(reset));
            let until = self.frozen_kinds.entry(kind.to_owned()).or_default();
            *until = (*until).max(now + us(length));
            return;
        }
        if let Some((remaining, reset)) = signal.remaining {
            let longest = limits
                .quotas
                .iter()
                .copied()
                .rev()
                .max_by_key(|&i| quotas.get(i).map(|q| q.window));
            if let Some(i) = longest
                && let (Some(state), Some(quota)) = (states.get_mut(i), quotas.get(i))
            {
                let window = us(quota.window);
                let held = state.slots.iter().filter(|s| s.answered + window > now).count();
                let free = i64::from(quota.limit) - i64::try_from(held).unwrap_or(i64::MAX);
                for _ in 0..(free - i64::from(remaining)).max(0) {
                    let answered = now + us(reset).min(window) - window;
                    state.slots.push(Slot { permit: -1, answered });
                }
            }
        }
        self.freeze(us(refused_for), now);
    }

    /// See [`super::RedisQueue::extend`]; `true` when the lease was still ours.
    pub fn extend(&mut self, id: &JobId, fence: i64, now: u64) -> bool {
        let lease = self.lease;
        match self.jobs.get_mut(id).map(|job| &mut job.state) {
            Some(State::Leased { fence: current, deadline }) if *current == fence => {
                *deadline = now + lease;
                true
            }
            _ => false,
        }
    }

    /// See [`super::RedisQueue::settle`]; `true` when the lease was still ours.
    pub fn settle(&mut self, id: &JobId, fence: i64, outcome: Outcome, now: u64) -> bool {
        self.see(now);
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
        self.frozen_kinds.clear();
    }

    /// Holds the lane, or lets it go.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds between two tokens.
fn interval(quota: &crate::quota::Quota) -> u64 {
    us(quota.window).div_ceil(u64::from(quota.limit))
}
