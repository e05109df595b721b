//! A process' way to the queue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::ids::{Fence, Lane};
use common::job::{Job, JobId, Priority};
use common::link::Fault;
use common::queue::{
    Batch, Claimed, Enqueued, Epoch, Leased, Ledger, PermitReport, Queue, QueueError,
    QueueSettings, Settlement, Shard, Wakes,
};
use common::quota::Permit;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::fleet;
use crate::plan::Server;
use crate::process::Process;
use crate::world::State;

use super::claims::{Granted, Mode};

const SHARD: Shard = Shard(0);
/// As the waiter's in `common::queue`.
const LONGEST: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    process: Arc<Process>,
    settings: QueueSettings,
}

impl Client {
    pub(crate) fn new(process: &Arc<Process>) -> Self {
        Self { process: Arc::clone(process), settings: fleet::queue_settings() }
    }

    async fn ask<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State, u64) -> R + Send + 'static,
    ) -> Result<R, QueueError> {
        let Process { world, redis, .. } = &*self.process;
        world.ask(redis, Server::Redis, act).await.ok_or(QueueError::Redis(Fault::Silent))
    }

    /// Until when a permit that is asked for now may be used, us.
    fn use_by(&self) -> u64 {
        let length = u64::try_from(self.settings.permit_use_by.as_micros()).unwrap();
        self.process.world.now() + length
    }

    /// The share of wake-ups that are lost now.
    fn lost_wakes(&self) -> f64 {
        let world = &self.process.world;
        if world.is_busy() { world.plan.rates.lost_wakes } else { 0.0 }
    }

    async fn claim_mode(
        &self,
        lanes: &[Lane],
        most: usize,
        urgent: bool,
        without: &[String],
    ) -> Result<Claimed, QueueError> {
        let (asked_at, use_by) = (Instant::now(), self.use_by());
        if !lanes.is_empty() {
            self.process.may_claim();
        }
        let (process, lanes) = (self.process.name.clone(), lanes.to_vec());
        let without = without.to_vec();
        let raw = self.ask(move |state, now| {
            let mode = Mode { urgent, without: &without };
            (state.claim(&process, &lanes, most, mode, now), now)
        });
        let (raw, now) = raw.await?;
        let batch = |granted: Granted| {
            let Granted { lane, priority, fence, jobs } = granted;
            let kind = jobs[0].0.kind().to_owned();
            self.process.has_permit(&lane, &kind, use_by);
            let claimed_at_us = i64::try_from(now).unwrap();
            let leased = |(id, attempt, round)| Leased {
                id,
                attempt,
                round,
                trace: String::new(),
                arrived_us: claimed_at_us,
            };
            Batch {
                lane,
                priority: Priority::from_number(priority).unwrap(),
                fence: Fence(fence),
                jobs: jobs.into_iter().map(leased).collect(),
                permit: Permit { id: fence, kind, use_by: asked_at + self.settings.permit_use_by },
                ends: asked_at + self.settings.lease,
                claimed_at_us,
            }
        };
        Ok(Claimed {
            batches: raw.batches.into_iter().map(batch).collect(),
            next: raw.next.map(|at| Duration::from_micros(at.saturating_sub(now))),
            due: raw.due,
            closed: raw.closed,
            reaped: raw.reaped,
        })
    }

    async fn ask_epoch(&self, begin: Option<(i64, String)>) -> Result<Epoch, QueueError> {
        self.ask(move |state, now| {
            let redis = &mut state.redis;
            let (generation, incomplete) = (redis.generation, redis.epoch.is_none());
            if let Some((_, name)) = begin.filter(|(of, _)| *of == generation && incomplete) {
                redis.epoch = Some(name);
                state.tell(now, "the index is complete");
            }
            Epoch { shard: SHARD, generation, name: state.redis.epoch.clone() }
        })
        .await
    }
}

#[async_trait]
impl Queue for Client {
    fn shards(&self) -> Vec<Shard> {
        vec![SHARD]
    }

    fn shard_of(&self, _lane: &Lane) -> Shard {
        SHARD
    }

    fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    fn waiter(&self, _shard: Shard) -> Result<Box<dyn Wakes>, QueueError> {
        Ok(Box::new(Waiter { client: Self::new(&self.process), urgent: false }))
    }

    fn urgent_waiter(&self, _shard: Shard) -> Result<Box<dyn Wakes>, QueueError> {
        Ok(Box::new(Waiter { client: Self::new(&self.process), urgent: true }))
    }

    async fn ensure(&self, jobs: &[Job]) -> Result<Enqueued, QueueError> {
        let (jobs, lost) = (jobs.to_vec(), self.lost_wakes());
        self.ask(move |state, now| state.enqueue(&jobs, true, now, lost)).await
    }

    async fn claim(&self, _: Shard, lanes: &[Lane], most: usize) -> Result<Claimed, QueueError> {
        self.claim_mode(lanes, most, false, &[]).await
    }

    async fn claim_without(
        &self,
        _: Shard,
        lanes: &[Lane],
        most: usize,
        platforms: &[String],
    ) -> Result<Claimed, QueueError> {
        self.claim_mode(lanes, most, false, platforms).await
    }

    async fn claim_urgent(
        &self,
        _: Shard,
        lanes: &[Lane],
        most: usize,
    ) -> Result<Claimed, QueueError> {
        self.claim_mode(lanes, most, true, &[]).await
    }

    async fn extend(
        &self,
        lane: &Lane,
        fence: Fence,
        ids: &[JobId],
    ) -> Result<Vec<JobId>, QueueError> {
        let (lane, ids) = (lane.clone(), ids.to_vec());
        let lost = self.ask(move |state, now| state.extend(&lane, fence, &ids, now)).await?;
        if !lost.is_empty() {
            // From now on it knows.
            let world = &self.process.world;
            let now = world.now();
            world.with(|state| state.redis.is_told_of_loss(fence, now));
        }
        Ok(lost)
    }

    async fn settle_all(
        &self,
        lane: &Lane,
        settlements: &[Settlement<'_>],
    ) -> Result<Vec<Vec<JobId>>, QueueError> {
        let owned = |it: &Settlement<'_>| (it.fence, it.outcomes.to_vec(), it.permits.to_vec());
        let settlements: Vec<_> = settlements.iter().map(owned).collect();
        let (lane, name, lost) = (lane.clone(), self.process.name.clone(), self.lost_wakes());
        self.ask(move |state, now| {
            let settled = settlements.into_iter().map(|(fence, outcomes, permits)| {
                if !outcomes.is_empty() {
                    state.tell(now, format_args!("{name} settles {outcomes:?} under {fence}"));
                }
                state.settle((&lane, fence), &outcomes, &permits, now, lost)
            });
            settled.collect()
        })
        .await
    }

    async fn observe(&self, lane: &Lane, permits: &[PermitReport]) -> Result<(), QueueError> {
        let settlement = Settlement { fence: Fence(0), outcomes: &[], permits };
        self.settle_all(lane, &[settlement]).await.map(drop)
    }

    async fn acquire(
        &self,
        lane: &Lane,
        kind: &str,
        priority: Priority,
    ) -> Result<Result<Permit, Duration>, QueueError> {
        let (use_by, until) = (Instant::now() + self.settings.permit_use_by, self.use_by());
        let (on, wanted) = (lane.clone(), kind.to_owned());
        let got = self.ask(move |state, now| {
            let last = state.redis.fence;
            let model = &mut state.redis.see(&on).model;
            model.after_fence(last);
            let got = model.acquire(&wanted, priority, now);
            if let Ok(id) = got {
                state.redis.fence = id;
            }
            got
        });
        Ok(match got.await? {
            Ok(id) => {
                self.process.has_permit(lane, kind, until);
                Ok(Permit { id, kind: kind.to_owned(), use_by })
            }
            Err(wait) => Err(Duration::from_micros(wait)),
        })
    }

    async fn pause(&self, lane: &Lane) -> Result<(), QueueError> {
        let lane = lane.clone();
        self.ask(move |state, _| state.redis.lanes.get_mut(&lane).unwrap().model.pause(true)).await
    }

    async fn resume(&self, lane: &Lane) -> Result<(), QueueError> {
        let lane = lane.clone();
        self.ask(move |state, _| state.redis.lanes.get_mut(&lane).unwrap().model.pause(false)).await
    }

    async fn open_in(
        &self,
        lane: &Lane,
        generation: i64,
        ledgers: &[Ledger],
    ) -> Result<bool, QueueError> {
        let (lane, ledgers) = (lane.clone(), ledgers.to_vec());
        self.ask(move |state, now| state.open(&lane, generation, &ledgers, now)).await
    }

    async fn epoch(&self, _lane: &Lane) -> Result<Epoch, QueueError> {
        self.ask_epoch(None).await
    }

    async fn epochs(&self) -> Result<Vec<Epoch>, QueueError> {
        Ok(vec![self.ask_epoch(None).await?])
    }

    async fn begin_epoch(&self, seen: &Epoch, name: &str) -> Result<bool, QueueError> {
        let now = self.ask_epoch(Some((seen.generation, name.to_owned()))).await?;
        Ok(now.name.as_deref() == Some(name))
    }

    async fn postpone(&self, _: Shard, _: &str, _: Duration) -> Result<(), QueueError> {
        unreachable!("every lane is known")
    }

    async fn forget(&self, _: Shard, _: &str) -> Result<(), QueueError> {
        unreachable!("there is one shard")
    }
}

struct Waiter {
    client: Client,
    urgent: bool,
}

#[async_trait]
impl Wakes for Waiter {
    async fn wait(&mut self, longest: Option<Duration>) -> Result<Option<String>, QueueError> {
        let urgent = self.urgent;
        let longest = longest.unwrap_or(LONGEST).clamp(Duration::from_millis(1), LONGEST);
        let woken = self.client.ask(move |state, _| {
            let (waker, woken) = oneshot::channel();
            let redis = &mut state.redis;
            let (waiting, token) = if urgent {
                (&mut redis.waiting_urgent, redis.urgent.pop_first().map(|(_, lane)| lane))
            } else {
                (&mut redis.waiting, redis.wake.take())
            };
            match token {
                // It waits for it.
                Some(lane) => drop(waker.send(lane)),
                None => waiting.push_back(waker),
            }
            woken
        });
        match timeout(longest, woken.await?).await {
            Ok(Ok(lane)) => Ok(Some(lane)),
            Ok(Err(_)) => Err(QueueError::Redis(Fault::Silent)),
            Err(_) => Ok(None),
        }
    }
}
