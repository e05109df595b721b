//! The queue as workers see it, on the model: lanes that want a claim, wake-ups, leases, epochs.

mod claims;
mod client;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::ids::{Fence, Lane};
use common::job::{Job, JobId, Priority};
use common::queue::model::{Model, State as Standing};
use common::queue::{Enqueued, Ledger, Outcome, PermitReport};
use rand::RngExt;
use tokio::sync::oneshot;

use crate::fleet;
use crate::world::State;

pub(crate) use client::Client;

/// One lane.
struct Index {
    model: Model,
    /// What is known of its quotas has been read.
    seen: bool,
    /// Its ledgers wait to be rebuilt.
    closed: bool,
    /// The earliest time at which a claim may get something.
    wants: Option<u64>,
    /// Until when somebody may work on a job, and under which fence.
    leases: BTreeMap<JobId, (i64, u64)>,
}

/// Those who wait for one kind of wake-up.
type Line = VecDeque<oneshot::Sender<String>>;

pub(crate) struct Redis {
    lanes: BTreeMap<Lane, Index>,
    /// At most one token.
    wake: Option<String>,
    waiting: Line,
    urgent: BTreeSet<(u64, String)>,
    waiting_urgent: Line,
    fence: i64,
    generation: i64,
    epoch: Option<String>,
    /// Of each fence: which jobs it was given for, and until when as far as anybody was ever told.
    granted: BTreeMap<i64, (BTreeSet<JobId>, u64)>,
    /// Under which fence a process has a job.
    held: BTreeMap<(String, Lane, JobId), i64>,
}

impl Redis {
    pub(crate) fn new() -> Self {
        let lanes = fleet::lanes().into_iter().map(|(lane, limits)| {
            let model = Model::new(limits, &fleet::queue_settings());
            let leases = BTreeMap::new();
            (lane, Index { model, seen: false, closed: false, wants: None, leases })
        });
        Self {
            lanes: lanes.collect(),
            wake: None,
            waiting: Line::new(),
            urgent: BTreeSet::new(),
            waiting_urgent: Line::new(),
            fence: 0,
            generation: 1,
            epoch: None,
            granted: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.values().all(|lane| lane.model.is_empty())
    }

    /// How many jobs there are, by lane.
    pub(crate) fn left(&self) -> String {
        let left = self.lanes.iter().map(|(lane, index)| format!("{lane} {}", index.model.len()));
        left.collect::<Vec<_>>().join(", ")
    }

    /// FLUSHALL. Who waits goes on waiting.
    pub(crate) fn flush(&mut self, now: u64) {
        for lane in self.lanes.values_mut() {
            lane.model.flush();
            lane.leases.clear();
            (lane.seen, lane.closed, lane.wants) = (false, false, None);
        }
        (self.wake, self.urgent, self.fence) = (None, BTreeSet::new(), 0);
        self.begin_generation(now);
    }

    /// Found on another server: what is known of quotas is not believed.
    pub(crate) fn replace(&mut self, now: u64) {
        for lane in self.lanes.values_mut() {
            lane.model.replaced();
            (lane.seen, lane.closed) = (false, false);
        }
        // Blocking commands end with their connections.
        (self.waiting, self.waiting_urgent) = (Line::new(), Line::new());
        self.begin_generation(now);
    }

    fn begin_generation(&mut self, now: u64) {
        self.generation = i64::try_from(now).unwrap().max(self.generation + 1);
        self.epoch = None;
    }

    /// Whether a fence was given for a job.
    pub(crate) fn was_granted(&self, fence: Fence, id: &JobId) -> bool {
        self.granted.get(&fence.0).is_some_and(|(ids, _)| ids.contains(id))
    }

    /// Until when a process may work on a job, at the most.
    pub(crate) fn may_work_until(&self, process: &str, lane: &Lane, id: &JobId) -> u64 {
        let fence = self.held.get(&(process.to_owned(), lane.clone(), id.clone()));
        fence.and_then(|fence| self.granted.get(fence)).map_or(0, |(_, until)| *until)
    }

    /// Whoever works under a fence has heard that its lease is lost.
    fn is_told_of_loss(&mut self, fence: Fence, now: u64) {
        if let Some((_, until)) = self.granted.get_mut(&fence.0) {
            *until = now.min(*until);
        }
    }

    /// What a script does first that reads a lane's quotas.
    fn see(&mut self, lane: &Lane) -> &mut Index {
        let index = self.lanes.get_mut(lane).unwrap();
        if !index.seen {
            (index.seen, index.closed) = (true, true);
        }
        index
    }
}

impl State {
    /// As `wants_claim` in `lane.lua`.
    fn wants_claim(&mut self, lane: &Lane, at: u64, now: u64, lost: f64) {
        let redis = &mut self.redis;
        let index = redis.lanes.get_mut(lane).unwrap();
        let mut sooner = false;
        if index.wants.is_none_or(|known| at < known) {
            index.wants = Some(at);
            let first = redis.lanes.iter().filter_map(|(name, index)| Some((index.wants?, name)));
            sooner = first.min().is_some_and(|(_, name)| name == lane);
        }
        if sooner || at <= now {
            self.wake(lane.as_str(), lost);
        }
    }

    fn wake(&mut self, lane: &str, lost: f64) {
        if self.redis.wake.is_some() || self.chance.random_bool(lost) {
            return;
        }
        if !hand_to_first(&mut self.redis.waiting, lane) {
            self.redis.wake = Some(lane.to_owned());
        }
    }

    fn has_urgent(&mut self, lane: &Lane, now: u64) {
        let redis = &mut self.redis;
        if !redis.urgent.iter().any(|(_, name)| name == lane.as_str())
            && !hand_to_first(&mut redis.waiting_urgent, lane.as_str())
        {
            redis.urgent.insert((now, lane.as_str().to_owned()));
        }
    }

    pub(crate) fn enqueue(&mut self, jobs: &[Job], ensure: bool, now: u64, lost: f64) -> Enqueued {
        let mut total = Enqueued::default();
        for job in jobs {
            let (lane, id) = (&job.lane, job.task.job_id());
            let model = &mut self.redis.lanes.get_mut(lane).unwrap().model;
            let before = model.standing(&id);
            model.enqueue(&id, job.priority, ensure, now);
            let after = model.standing(&id).unwrap();
            total.added += u64::from(before.is_none());
            if after.state == Standing::Ready && before != Some(after) {
                self.wants_claim(lane, now, now, lost);
                if after.priority <= Priority::Manual.number() {
                    self.has_urgent(lane, now);
                }
            }
        }
        total
    }

    fn extend(&mut self, lane: &Lane, fence: Fence, ids: &[JobId], now: u64) -> Vec<JobId> {
        let lease = fleet::lease_us();
        let index = self.redis.lanes.get_mut(lane).unwrap();
        let mut lost = Vec::new();
        for id in ids {
            if index.model.extend(id, fence.0, now) {
                index.leases.insert(id.clone(), (fence.0, now + lease));
            } else {
                lost.push(id.clone());
            }
        }
        if lost.is_empty()
            && let Some((_, until)) = self.redis.granted.get_mut(&fence.0)
        {
            *until = now + lease;
        }
        lost
    }

    fn settle(
        &mut self,
        (lane, fence): (&Lane, Fence),
        outcomes: &[(JobId, Outcome)],
        permits: &[PermitReport],
        now: u64,
        lost_wakes: f64,
    ) -> Vec<JobId> {
        let index = self.redis.see(lane);
        for report in permits {
            if report.sent {
                index.model.observe(report.id, &report.kind, &report.signal, now);
            } else {
                index.model.give_back(report.id, &report.kind, now);
            }
        }
        let mut wants = if index.closed { now } else { u64::MAX };
        let (mut lost, mut urgent) = (Vec::new(), false);
        for (id, outcome) in outcomes {
            if !index.model.settle(id, fence.0, *outcome, now) {
                lost.push(id.clone());
                continue;
            }
            index.leases.remove(id);
            match index.model.standing(id).map(|job| (job.state, job.priority)) {
                Some((Standing::Ready, priority)) => {
                    wants = now;
                    urgent |= priority <= Priority::Manual.number();
                }
                Some((Standing::Delayed(at) | Standing::Backoff(at), _)) => wants = wants.min(at),
                Some((Standing::Leased { .. }, _)) | None => {}
            }
        }
        // Slots may now free earlier than was told.
        if index.wants.is_some() && !permits.is_empty() {
            wants = wants.min(index.model.next_claim(now).unwrap_or(u64::MAX));
        }
        if wants < u64::MAX {
            self.wants_claim(lane, wants, now, lost_wakes);
        }
        if urgent {
            self.has_urgent(lane, now);
        }
        lost
    }

    fn open(&mut self, lane: &Lane, generation: i64, ledgers: &[Ledger], now: u64) -> bool {
        let of_this_index = generation == self.redis.generation;
        let index = self.redis.see(lane);
        if !index.closed || !of_this_index {
            return false;
        }
        index.closed = false;
        index.model.open_with(ledgers, now);
        if index.wants.is_some() {
            self.wants_claim(lane, now, now, 0.0);
        }
        true
    }
}

/// Gives a wake-up to the first who still waits for one.
fn hand_to_first(waiting: &mut Line, lane: &str) -> bool {
    while let Some(waiter) = waiting.pop_front() {
        if waiter.send(lane.to_owned()).is_ok() {
            return true;
        }
    }
    false
}
