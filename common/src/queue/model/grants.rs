//! Who is granted a permit next in the model, and where a job stands.

use super::{Model, ModelBatch, ModelJob, State};
use crate::job::{JobId, Priority};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelStanding {
    /// See [`State`].
    pub state: State,
    /// How urgent it is.
    pub priority: u8,
    /// How often it has been leased.
    pub attempt: u32,
    /// It runs once more.
    pub dirty: bool,
    /// Ready jobs before it at its priority.
    pub ahead: u64,
    /// Ready jobs at higher priorities.
    pub more_urgent: u64,
}

impl Model {
    /// See [`crate::queue::RedisQueue::claim`].
    pub fn claim(&mut self, wanted: usize, now: u64) -> Vec<ModelBatch> {
        self.claim_mode(wanted, false, now)
    }

    /// See [`crate::queue::RedisQueue::claim_urgent`].
    pub fn claim_urgent(&mut self, wanted: usize, now: u64) -> Vec<ModelBatch> {
        self.claim_mode(wanted, true, now)
    }

    fn claim_mode(&mut self, wanted: usize, urgent: bool, now: u64) -> Vec<ModelBatch> {
        self.quotas.see(now);
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
            let Some(batch) = self.lease_batch(urgent, now) else { break };
            batches.push(batch);
        }
        batches
    }

    fn lease_batch(&mut self, only_urgent: bool, now: u64) -> Option<ModelBatch> {
        let urgent = [0, 1].iter().any(|&p| !self.line(p).is_empty());
        let may_be_owed = |&p: &u8| !only_urgent && self.is_owed(p);
        let owed = [2_u8, 3].into_iter().filter(may_be_owed).find_map(|p| {
            let ids = self.runnable(p, !urgent, now);
            (!ids.is_empty()).then_some((p, ids))
        });
        let (priority, ids) = owed.or_else(|| {
            (0..if only_urgent { 2 } else { 4 }).find_map(|p| {
                let ids = self.runnable(p, p >= 2, now);
                (!ids.is_empty()).then_some((p, ids))
            })
        })?;
        let kind = ids.first()?.kind().to_owned();
        let fence = self.grant(&kind, now);
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

    /// The ready jobs of a priority in their order.
    fn line(&self, priority: u8) -> Vec<&JobId> {
        let mut waiting: Vec<(u64, &JobId)> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.state == State::Ready && job.priority == priority)
            .map(|(id, job)| (job.arrived, id))
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id).collect()
    }

    /// The first group at this priority that may run, up to one batch of it.
    fn runnable(&self, priority: u8, spare: bool, now: u64) -> Vec<JobId> {
        let line = self.line(priority);
        let may_run = |id: &&&JobId| self.quotas.wait(id.kind(), spare, false, now) == 0;
        let Some(first) = line.iter().find(may_run) else { return Vec::new() };
        let batch = usize::try_from(self.quotas.kind(first.kind()).batch).unwrap_or(usize::MAX);
        let same_group = line.iter().filter(|id| id.group() == first.group());
        same_group.take(batch).map(|id| (*id).clone()).collect()
    }

    fn grant(&mut self, kind: &str, now: u64) -> i64 {
        self.fence = (self.fence + 1).max(i64::try_from(now).unwrap_or(i64::MAX));
        self.quotas.take(kind, self.fence, now);
        self.fence
    }

    /// See [`crate::queue::RedisQueue::acquire`]: a permit, or the time until there may be one.
    pub fn acquire(&mut self, kind: &str, priority: Priority, now: u64) -> Result<i64, u64> {
        self.acquire_mode(kind, priority, false, now)
    }

    /// See [`crate::queue::RedisQueue::acquire_for_probe`].
    pub fn acquire_for_probe(&mut self, kind: &str, now: u64) -> Result<i64, u64> {
        self.acquire_mode(kind, Priority::Manual, true, now)
    }

    fn acquire_mode(
        &mut self,
        kind: &str,
        priority: Priority,
        probe: bool,
        now: u64,
    ) -> Result<i64, u64> {
        self.quotas.see(now);
        let mut wait = self.quotas.wait(kind, priority >= Priority::Bulk, true, now);
        if self.paused && !probe {
            wait = wait.max(1_000_000);
        }
        wait = wait.max(self.frozen_until.saturating_sub(now));
        if wait > 0 { Err(wait) } else { Ok(self.grant(kind, now)) }
    }

    /// Where a job stands; `None` when there is none.
    pub fn standing(&self, id: &JobId) -> Option<ModelStanding> {
        let job = self.jobs.get(id)?;
        let ready = |priority: u8| u64::try_from(self.line(priority).len()).unwrap_or(u64::MAX);
        let before = self.line(job.priority).iter().position(|other| *other == id);
        Some(ModelStanding {
            state: job.state,
            priority: job.priority,
            attempt: job.attempt,
            dirty: job.dirty.is_some(),
            ahead: before.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            more_urgent: (0..job.priority).map(ready).sum(),
        })
    }

    /// When a job is leased if from now on nothing happens but claims that take all they can get,
    /// found by trying: at every instant at which a claim might get more. `None` when that is not
    /// before `end`.
    pub fn leased_at(&self, id: &JobId, now: u64, end: u64) -> Option<u64> {
        let (mut model, mut at) = (self.clone(), now);
        while at < end {
            let batches = model.claim(usize::MAX, at);
            if batches.iter().any(|(_, _, jobs)| jobs.iter().any(|(leased, ..)| leased == id)) {
                return Some(at);
            }
            at = model.next_change(at)?;
        }
        None
    }

    /// The next instant at which a claim might get more than now.
    pub(super) fn next_change(&self, now: u64) -> Option<u64> {
        let of_job = |(id, job): (&JobId, &ModelJob)| match job.state {
            State::Leased { deadline: at, .. } | State::Delayed(at) | State::Backoff(at) => {
                vec![at]
            }
            State::Ready => [false, true]
                .map(|spare| now.saturating_add(self.quotas.wait(id.kind(), spare, false, now)))
                .to_vec(),
        };
        let times = self.jobs.iter().flat_map(of_job).map(|at| at.max(self.frozen_until));
        times.filter(|&at| at > now).min()
    }
}
