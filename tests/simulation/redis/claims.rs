//! Claims: which batches are leased, and the laws about that.

use std::collections::BTreeSet;

use common::ids::Lane;
use common::job::JobId;

use super::Redis;
use crate::fleet;
use crate::plan::Mood;
use crate::world::{MS, State};

/// Names of lanes that are due in an answer.
const HINTS: usize = 8;

/// What is asked for.
#[derive(Clone, Copy, Default)]
pub(super) struct Mode<'a> {
    /// What webhooks and people wait for and nothing else.
    pub(super) urgent: bool,
    /// Platforms whose lanes are not told.
    pub(super) without: &'a [String],
}

/// A batch that was leased.
pub(super) struct Granted {
    pub(super) lane: Lane,
    pub(super) priority: u8,
    pub(super) fence: i64,
    pub(super) jobs: Vec<(JobId, u32, u8)>,
}

/// What a claim answers.
#[derive(Default)]
pub(super) struct Claim {
    pub(super) batches: Vec<Granted>,
    pub(super) next: Option<u64>,
    pub(super) due: Vec<String>,
    pub(super) closed: Vec<Lane>,
    pub(super) reaped: u64,
}

impl Redis {
    /// Lanes that want a claim, the longest unserved first.
    fn due(&self, now: u64) -> Vec<Lane> {
        let wanting = self.lanes.iter().filter_map(|(lane, index)| Some((index.wants?, lane)));
        let mut due: Vec<_> = wanting.filter(|(wants, _)| *wants <= now).collect();
        due.sort();
        due.into_iter().map(|(_, lane)| lane.clone()).collect()
    }

    fn lease(&mut self, lane: &Lane, urgent: bool, now: u64) -> Option<Granted> {
        let model = &mut self.lanes.get_mut(lane)?.model;
        model.after_fence(self.fence);
        let batches = if urgent { model.claim_urgent(1, now) } else { model.claim(1, now) };
        let (priority, fence, jobs) = batches.into_iter().next()?;
        self.fence = fence;
        Some(Granted { lane: lane.clone(), priority, fence, jobs })
    }
}

impl State {
    /// As `claim.lua`, of those lanes that were asked for.
    pub(super) fn claim(
        &mut self,
        process: &str,
        asked: &[Lane],
        most: usize,
        mode: Mode<'_>,
        now: u64,
    ) -> Claim {
        let Mode { urgent, without } = mode;
        let told = |lane: &Lane| !without.iter().any(|platform| platform == lane.platform());
        let redis = &mut self.redis;
        let mut running = redis.due(now);
        running.retain(|lane| asked.contains(lane));
        let (mut claim, mut reached) = (Claim::default(), BTreeSet::new());
        // One batch a lane and turn.
        while !running.is_empty() && claim.batches.len() < most {
            running.retain(|lane| {
                if claim.batches.len() == most {
                    return false;
                }
                if reached.insert(lane.clone()) {
                    let index = redis.see(lane);
                    claim.closed.extend(index.closed.then(|| lane.clone()));
                    let ended = index.leases.extract_if(.., |_, (_, until)| *until <= now);
                    claim.reaped += u64::try_from(ended.count()).unwrap();
                }
                let granted = redis.lease(lane, urgent, now);
                let has_run = granted.is_some();
                claim.batches.extend(granted);
                has_run
            });
        }
        for lane in &reached {
            let index = redis.lanes.get_mut(lane).unwrap();
            if !urgent {
                index.wants = index.model.next_claim(now).map(|at| at.max(now));
                if index.closed {
                    // Whoever was to open it may have failed.
                    index.wants = index.wants.map(|at| at.min(now + 1_000 * MS));
                }
            }
            redis.urgent.retain(|(_, name)| name != lane.as_str());
        }
        let due = redis.due(now).into_iter().filter(told);
        claim.due = due.take(HINTS).map(|lane| lane.to_string()).collect();
        let told = redis.lanes.iter().filter(|(lane, _)| told(lane));
        claim.next = told.filter_map(|(_, index)| index.wants).min();
        for granted in &claim.batches {
            self.granted(process, granted, now);
        }
        if claim.reaped > 0 && self.mood != Mood::Wild {
            self.break_law(now, format!("{} leases have ended", claim.reaped));
        }
        if let Some(lane) = claim.due.first().cloned() {
            self.wake(&lane, 0.0);
        }
        claim
    }

    /// Holds laws about what was granted, and tells of it.
    fn granted(&mut self, process: &str, granted: &Granted, now: u64) {
        let lease = fleet::lease_us();
        let Granted { lane, fence, jobs, .. } = granted;
        self.tell(now, format_args!("{process} claims {jobs:?} of {lane} under {fence}"));
        for (id, attempt, _) in jobs {
            let leases = &mut self.redis.lanes.get_mut(lane).unwrap().leases;
            let other = leases.insert(id.clone(), (*fence, now + lease));
            if let Some((other, _)) = other.filter(|(_, until)| *until > now) {
                self.break_law(now, format!("{id:?} is leased under {other} and under {fence}"));
            }
            if *attempt > 1 && self.mood != Mood::Wild {
                self.break_law(now, format!("attempt {attempt} of {id:?}"));
            }
            let held = (process.to_owned(), lane.clone(), id.clone());
            self.redis.held.insert(held, *fence);
        }
        let ids = jobs.iter().map(|(id, ..)| id.clone()).collect();
        self.redis.granted.insert(*fence, (ids, now + lease));
    }
}
