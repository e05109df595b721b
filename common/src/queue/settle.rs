//! Settling: what became of leased jobs, and of the permits that were used under their leases.

use std::time::Duration;

use super::answer::QueueError;
use super::call::Call;
use super::lease::{Outcome, PermitReport};
use super::redis::{JOBS_PER_CALL, PERMITS_PER_CALL, RedisQueue, micros, parts};
use super::{scripts, wire};
use crate::ids::{Fence, Lane};
use crate::job::JobId;
use crate::quota::RateScope;

/// What is settled of one lease.
#[derive(Clone, Copy, Debug)]
pub struct Settlement<'a> {
    /// Under which the jobs were claimed.
    pub fence: Fence,
    /// What became of its jobs, or of some of them.
    pub outcomes: &'a [(JobId, Outcome)],
    /// What became of permits of the lane.
    pub permits: &'a [PermitReport],
}

/// As much of a settlement as goes into one call.
#[derive(Debug)]
struct Part<'a> {
    /// Of which settlement, counted from 0.
    of: usize,
    settlement: Settlement<'a>,
}

impl RedisQueue {
    /// Settles leased jobs of one lane together with the permits that were used for them. Returns
    /// the jobs whose lease was lost: nothing was done for them.
    pub async fn settle(
        &self,
        lane: &Lane,
        fence: Fence,
        outcomes: &[(JobId, Outcome)],
        permits: &[PermitReport],
    ) -> Result<Vec<JobId>, QueueError> {
        let lost = self.settle_all(lane, &[Settlement { fence, outcomes, permits }]).await?;
        Ok(lost.into_iter().flatten().collect())
    }

    /// The same for several leases of one lane, as few calls as hold their jobs and permits. Returns of each
    /// the jobs whose lease was lost. After an error, some may have been settled.
    pub async fn settle_all(
        &self,
        lane: &Lane,
        settlements: &[Settlement<'_>],
    ) -> Result<Vec<Vec<JobId>>, QueueError> {
        let entry = self.entry(lane)?;
        let mut lost = vec![Vec::new(); settlements.len()];
        for parts in calls(settlements) {
            let mut call = self.lane_call(&scripts::SETTLE, true, entry);
            call.arg(lane.as_str()).arg(entry.packed.as_slice()).arg(self.permit_deadline_us());
            write_permits(&mut call, &parts);
            write_jobs(&mut call, &parts);
            let gone: Vec<usize> = self.send(&call).await?;
            let mut jobs = parts
                .iter()
                .flat_map(|part| part.settlement.outcomes.iter().map(move |(id, _)| (part.of, id)));
            let mut passed = 0;
            for nth in gone {
                // In the order in which they were given, counted from 1.
                if let Some((of, id)) = jobs.nth(nth.saturating_sub(passed + 1))
                    && let Some(lost) = lost.get_mut(of)
                {
                    lost.push(id.clone());
                }
                passed = nth;
            }
        }
        Ok(lost)
    }

    /// Settles permits alone, at once: for windows of a second, and for what cannot wait (a 429).
    pub async fn observe(&self, lane: &Lane, permits: &[PermitReport]) -> Result<(), QueueError> {
        self.settle(lane, Fence(0), &[], permits).await.map(drop)
    }
}

/// Which parts go together: so many jobs and permits at once, and each lease at most once.
fn calls<'a>(settlements: &[Settlement<'a>]) -> Vec<Vec<Part<'a>>> {
    let mut calls = Vec::new();
    let mut call = Vec::<Part<'a>>::new();
    let (mut jobs_left, mut permits_left) = (JOBS_PER_CALL, PERMITS_PER_CALL);
    for (of, &Settlement { fence, outcomes, permits }) in settlements.iter().enumerate() {
        let ids: Vec<&JobId> = outcomes.iter().map(|(id, _)| id).collect();
        let mut jobs = parts(&ids).into_iter();
        let mut permits = permits.chunks(PERMITS_PER_CALL);
        for _ in 0..jobs.len().max(permits.len()).max(1) {
            let outcomes = jobs.next().and_then(|range| outcomes.get(range)).unwrap_or_default();
            let permits = permits.next().unwrap_or_default();
            let is_there = call.iter().any(|part| part.settlement.fence == fence);
            if is_there || outcomes.len() > jobs_left || permits.len() > permits_left {
                calls.push(std::mem::take(&mut call));
                (jobs_left, permits_left) = (JOBS_PER_CALL, PERMITS_PER_CALL);
            }
            jobs_left -= outcomes.len();
            permits_left -= permits.len();
            call.push(Part { of, settlement: Settlement { fence, outcomes, permits } });
        }
    }
    calls.push(call);
    calls
}

fn write_permits(call: &mut Call<'_>, parts: &[Part<'_>]) {
    let permits = parts.iter().flat_map(|part| part.settlement.permits);
    call.arg(permits.clone().count());
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
}

fn write_jobs(call: &mut Call<'_>, parts: &[Part<'_>]) {
    call.arg(parts.len());
    for Part { settlement, .. } in parts {
        call.arg(settlement.fence.0).arg(settlement.outcomes.len());
    }
    let jobs = parts.iter().flat_map(|part| part.settlement.outcomes);
    for (id, _) in jobs.clone() {
        call.arg(id.as_str());
    }
    // Most end alike: then that is said once.
    let outcomes: Vec<Outcome> = jobs.map(|&(_, outcome)| outcome).collect();
    let alike = outcomes.windows(2).all(|pair| pair.first() == pair.last());
    for &outcome in outcomes.iter().take(if alike { 1 } else { outcomes.len() }) {
        call.arg(wire::outcome(outcome).as_ref());
    }
}
