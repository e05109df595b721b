//! The queue in Redis and its model, side by side: the same happens to both.

use std::collections::BTreeMap;
use std::time::Duration;

use common::ids::{Fence, Lane};
use common::job::{JobId, Priority};
use common::queue::model::{Model, ModelBatch, State};
use common::queue::{
    Batch, Held, Ledger, Outcome, PermitReport, QueueSettings, RedisQueue, Settlement, Shard, What,
};
use common::quota::{Floors, LaneLimits, RateSignal};
use proptest::prelude::*;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::laws::{self, Sent};
use super::operations::{IDS, KINDS, LANES, Op};
use crate::{START, job, lane, queue_of};

type Checked = Result<(), TestCaseError>;

const OPEN: [Ledger; 3] = [Ledger::Empty, Ledger::Empty, Ledger::Empty];

pub(super) fn settings() -> QueueSettings {
    QueueSettings {
        lease: Duration::from_secs(4),
        permit_use_by: Duration::from_millis(200),
        request_timeout: Duration::from_millis(800),
        ..QueueSettings::default()
    }
}

/// One lane's half of it.
pub(super) struct Twin {
    name: Lane,
    model: Model,
    limits: LaneLimits,
    /// What was granted and may have been sent.
    sent: BTreeMap<i64, Sent>,
}

impl Twin {
    /// What becomes of a batch in the model: what Redis is told of its permit, and the jobs that had
    /// lost their lease.
    fn settle(
        &mut self,
        out: &Out,
        jobs: &[(JobId, Outcome)],
        sent: bool,
        signal: &RateSignal,
        now: u64,
    ) -> (PermitReport, Vec<JobId>) {
        let signal = if sent { signal.clone() } else { RateSignal::default() };
        if sent {
            if let Some(sent) = self.sent.get_mut(&out.fence) {
                sent.answered.get_or_insert(now);
            }
            self.model.observe(out.fence, &out.kind, &signal, now);
        } else {
            self.sent.remove(&out.fence);
            self.model.give_back(out.fence, &out.kind, now);
        }
        let held =
            |&(id, outcome): &(&JobId, Outcome)| !self.model.settle(id, out.fence, outcome, now);
        let lost = jobs.iter().map(|(id, outcome)| (id, *outcome)).filter(held);
        let lost = lost.map(|(id, _)| id.clone()).collect();
        (PermitReport { id: out.fence, kind: out.kind.clone(), sent, signal }, lost)
    }
}

/// A batch that a worker holds.
struct Out {
    lane: usize,
    fence: i64,
    kind: String,
    ids: Vec<JobId>,
}

pub(super) struct Both {
    redis: RedisQueue,
    connection: MultiplexedConnection,
    twins: Vec<Twin>,
    /// What the server's clock shows.
    clock: u64,
    /// The latest time at which anything happened: earlier ones do not count.
    now: u64,
    /// The last one that was handed out.
    fence: i64,
    out: Vec<Out>,
}

impl Both {
    pub(super) async fn new(limits: [LaneLimits; 2], floors: Floors) -> Self {
        let lanes: Vec<_> = LANES.into_iter().zip(limits.iter().cloned()).collect();
        let settings = QueueSettings { floors, ..settings() };
        let (redis, connection, _) = queue_of(&lanes, settings.clone()).await;
        let twin = |(name, limits): (&str, LaneLimits)| Twin {
            name: lane(name),
            model: Model::new(limits.clone(), &settings),
            limits,
            sent: BTreeMap::new(),
        };
        let twins = lanes.into_iter().map(twin).collect();
        let (clock, now) = (START, START);
        let mut both = Self { redis, connection, twins, clock, now, fence: 0, out: Vec::new() };
        both.lose_everything(true).await;
        both
    }

    /// Something happens now.
    fn at_once(&mut self) -> (RedisQueue, u64) {
        self.now = self.now.max(self.clock);
        (self.redis.at(self.clock), self.now)
    }

    pub(super) async fn run(&mut self, op: Op) -> Checked {
        match op {
            Op::Enqueue { lane, id, priority, ensure, twice } => {
                let priority = Priority::from_number(priority).unwrap();
                let (redis, now) = self.at_once();
                let job = job(LANES[lane], IDS[id], priority);
                for _ in 0..=u8::from(twice) {
                    let model = &mut self.twins[lane].model;
                    model.enqueue(&job.task.job_id(), priority, ensure, now);
                    let jobs = std::slice::from_ref(&job);
                    if ensure { redis.ensure(jobs).await } else { redis.enqueue(jobs).await }
                        .unwrap();
                }
                Ok(())
            }
            Op::Claim { lanes, wanted, urgent, lost } => {
                self.claim(lanes, wanted, urgent, lost).await
            }
            Op::Settle { batch, outcomes, sent, signal, twice } => {
                let Some(mut out) = self.take_out(batch) else { return Ok(()) };
                let jobs: Vec<_> = out.ids.iter().cloned().zip(outcomes).collect();
                for _ in 0..=u8::from(twice) {
                    self.settle(&out, &jobs, sent, &signal).await?;
                }
                // Those for which there was no outcome yet are still held.
                out.ids.drain(..jobs.len());
                if !out.ids.is_empty() {
                    self.out.push(out);
                }
                Ok(())
            }
            Op::SettleTogether { batch, outcomes, sent, signal, twice } => {
                let Some(first) = self.take_out(batch) else { return Ok(()) };
                self.settle_together(first, &outcomes, &sent, &signal, twice).await
            }
            Op::Forget { batch } => {
                drop(self.take_out(batch));
                Ok(())
            }
            Op::Extend { batch } => {
                let Some(out) = self.take_out(batch) else { return Ok(()) };
                let (redis, now) = self.at_once();
                let lane = lane(LANES[out.lane]);
                let lost = redis.extend(&lane, Fence(out.fence), &out.ids).await.unwrap();
                let model = &mut self.twins[out.lane].model;
                let expected: Vec<_> =
                    out.ids.iter().filter(|id| !model.extend(id, out.fence, now)).collect();
                prop_assert_eq!(lost.iter().collect::<Vec<_>>(), expected);
                self.out.push(out);
                Ok(())
            }
            Op::Acquire { lane, kind, priority } => {
                let priority = priority.map(|priority| Priority::from_number(priority).unwrap());
                self.acquire(lane, KINDS[kind], priority).await
            }
            Op::Replace => {
                self.replace_server().await;
                Ok(())
            }
            Op::Explain { lane, id } => self.explain(lane, &JobId::from(IDS[id])).await,
            Op::Advance { us } => {
                self.clock += us;
                Ok(())
            }
            Op::SetBack { us } => {
                self.clock -= us;
                Ok(())
            }
            Op::Freeze { lane, us } => {
                let (redis, now) = self.at_once();
                let twin = &mut self.twins[lane];
                redis.freeze(&twin.name, Duration::from_micros(us)).await.unwrap();
                twin.model.freeze(us, now);
                Ok(())
            }
            Op::Thaw { lane } => {
                let (redis, _) = self.at_once();
                redis.thaw(&self.twins[lane].name).await.unwrap();
                self.twins[lane].model.thaw();
                Ok(())
            }
            Op::Pause { lane, paused } => self.pause(lane, paused).await,
            Op::Flush { open } => {
                self.check_windows()?;
                self.lose_everything(open).await;
                Ok(())
            }
        }
    }

    fn take_out(&mut self, batch: usize) -> Option<Out> {
        (!self.out.is_empty()).then(|| self.out.remove(batch % self.out.len()))
    }

    async fn pause(&mut self, lane: usize, paused: bool) -> Checked {
        let (redis, _) = self.at_once();
        let twin = &mut self.twins[lane];
        if paused { redis.pause(&twin.name).await } else { redis.resume(&twin.name).await }
            .unwrap();
        twin.model.pause(paused);
        Ok(())
    }

    /// Those of the lanes that are due, in the order of their turns.
    async fn due(&mut self, lanes: &[usize], now: u64) -> Vec<usize> {
        let key = self.redis.keys().lanes(Shard(0));
        let mut command = redis::cmd("ZRANGE");
        let all = command.arg(key).arg(0).arg(-1).arg("WITHSCORES");
        let scores: Vec<(String, f64)> = all.query_async(&mut self.connection).await.unwrap();
        let due = scores.into_iter().filter(|&(_, score)| score <= to_f64(now));
        let indices = due.filter_map(|(name, _)| LANES.iter().position(|lane| *lane == name));
        indices.filter(|i| lanes.contains(i)).collect()
    }

    async fn claim(&mut self, lanes: &[usize], wanted: usize, urgent: bool, lost: bool) -> Checked {
        let (redis, now) = self.at_once();
        let asked: Vec<_> = lanes.iter().map(|&i| self.twins[i].name.clone()).collect();
        let due = self.due(lanes, now).await;
        let claimed = if urgent {
            redis.claim_urgent(Shard(0), &asked, wanted).await
        } else {
            redis.claim(Shard(0), &asked, wanted).await
        }
        .unwrap();
        let mut counts = [0_usize; LANES.len()];
        for batch in claimed.batches {
            let i = LANES.iter().position(|name| *name == batch.lane.as_str()).unwrap();
            counts[i] += 1;
            let twin = &mut self.twins[i];
            twin.model.after_fence(self.fence);
            let expected =
                if urgent { twin.model.claim_urgent(1, now) } else { twin.model.claim(1, now) };
            prop_assert_eq!(&[as_in_model(&batch)], &expected[..]);
            self.fence = batch.fence.0;
            let out = Out {
                lane: i,
                fence: batch.fence.0,
                kind: batch.permit.kind.clone(),
                ids: batch.jobs.into_iter().map(|leased| leased.id).collect(),
            };
            twin.sent.insert(out.fence, Sent::granted(&out.kind, now));
            if !lost {
                self.out.push(out);
            }
        }
        // Lanes that had no turn before there were enough batches are left as they are.
        let mut turns = 0;
        let reached = due.iter().take_while(|&&i| {
            let more = turns < wanted;
            turns += usize::from(counts[i] > 0);
            more
        });
        let reached: Vec<usize> = reached.copied().collect();
        let mut idle = Vec::new();
        for &i in lanes {
            // What came back is in line again, whether a batch was left for it or not.
            let mut model = self.twins[i].model.clone();
            prop_assert!(model.claim(0, now).is_empty());
            idle.push((i, laws::nothing_can_run(&model, urgent, now)));
            if reached.contains(&i) {
                self.twins[i].model = model;
            }
        }
        if counts.iter().sum::<usize>() < wanted {
            prop_assert!(idle.iter().all(|&(_, idle)| idle), "a permit is free and a job waits");
        }
        for &(i, exhausted) in &idle {
            let served_more = lanes.iter().any(|&other| counts[other] > counts[i] + 1);
            prop_assert!(exhausted || !served_more, "lanes take turns: {counts:?}");
        }
        // Never told to come back later than something could run.
        let models = self.twins.iter().map(|twin| &twin.model);
        match claimed.next.map(|next| u64::try_from(next.as_micros()).unwrap()) {
            Some(0) => {}
            Some(next) => prop_assert!(
                models.clone().all(|model| laws::nothing_can_run(model, false, now + next - 1)),
                "told to wait for {next} us, but something could have run before"
            ),
            None => prop_assert!(models.clone().all(|model| model.is_empty() || model.is_paused())),
        }
        Ok(())
    }

    async fn settle(
        &mut self,
        out: &Out,
        jobs: &[(JobId, Outcome)],
        sent: bool,
        signal: &RateSignal,
    ) -> Checked {
        let (redis, now) = self.at_once();
        let twin = &mut self.twins[out.lane];
        let (report, expected) = twin.settle(out, jobs, sent, signal, now);
        let lost = redis.settle(&twin.name, Fence(out.fence), jobs, &[report]).await.unwrap();
        prop_assert_eq!(lost, expected);
        Ok(())
    }

    /// With others of its lane. Jobs of each batch for which there is no outcome are still held.
    async fn settle_together(
        &mut self,
        first: Out,
        outcomes: &[Outcome],
        sent: &[bool],
        signal: &RateSignal,
        twice: bool,
    ) -> Checked {
        let lane = first.lane;
        let mut outs = vec![first];
        while outs.len() < sent.len()
            && let Some(next) = self.out.iter().position(|out| out.lane == lane)
        {
            outs.push(self.out.remove(next));
        }
        // Each begins with another outcome.
        let outcomes_of = |(nth, out): (usize, &Out)| {
            let ids = out.ids.iter().take(outcomes.len()).cloned();
            ids.zip(outcomes.iter().copied().cycle().skip(nth)).collect()
        };
        let jobs: Vec<Vec<_>> = outs.iter().enumerate().map(outcomes_of).collect();
        for _ in 0..=u8::from(twice) {
            let (redis, now) = self.at_once();
            let twin = &mut self.twins[lane];
            let (mut reports, mut expected) = (Vec::new(), Vec::new());
            for ((out, jobs), &sent) in outs.iter().zip(&jobs).zip(sent) {
                let (report, lost) = twin.settle(out, jobs, sent, signal, now);
                reports.push([report]);
                expected.push(lost);
            }
            let settlements: Vec<_> = outs
                .iter()
                .zip(&jobs)
                .zip(&reports)
                .map(|((out, jobs), report)| Settlement {
                    fence: Fence(out.fence),
                    outcomes: jobs,
                    permits: report,
                })
                .collect();
            let lost = redis.settle_all(&twin.name, &settlements).await.unwrap();
            prop_assert_eq!(lost, expected);
        }
        for (mut out, jobs) in outs.into_iter().zip(&jobs) {
            out.ids.drain(..jobs.len());
            if !out.ids.is_empty() {
                self.out.push(out);
            }
        }
        Ok(())
    }

    async fn acquire(&mut self, lane: usize, kind: &str, priority: Option<Priority>) -> Checked {
        let (redis, now) = self.at_once();
        let twin = &mut self.twins[lane];
        twin.model.after_fence(self.fence);
        let (got, expected) = match priority {
            Some(priority) => (
                redis.acquire(&twin.name, kind, priority).await,
                twin.model.acquire(kind, priority, now),
            ),
            None => (
                redis.acquire_for_probe(&twin.name, kind).await,
                twin.model.acquire_for_probe(kind, now),
            ),
        };
        let got = got.unwrap();
        let actual =
            got.map(|permit| permit.id).map_err(|wait| u64::try_from(wait.as_micros()).unwrap());
        prop_assert_eq!(actual, expected);
        if let Ok(permit) = actual {
            self.fence = permit;
            twin.sent.insert(permit, Sent::granted(kind, now));
        }
        Ok(())
    }

    /// What is said about a job is so, and what is said about its future comes to pass when nothing
    /// else happens: not earlier than said, and at that time where it is said to be exact.
    async fn explain(&mut self, lane: usize, id: &JobId) -> Checked {
        let (redis, now) = self.at_once();
        let twin = &self.twins[lane];
        let explained = redis.explain(&twin.name, id).await.unwrap();
        let standing = twin.model.standing(id);
        prop_assert_eq!(explained.job.is_some(), standing.is_some());
        let (Some(job), Some(standing)) = (explained.job, standing) else { return Ok(()) };
        prop_assert_eq!(job.priority.number(), standing.priority);
        prop_assert_eq!(job.attempt, standing.attempt);
        let after = |at: u64| Duration::from_micros(at.saturating_sub(now));
        let expected = match standing.state {
            State::Ready => {
                Held::Ready { ahead: standing.ahead, more_urgent: standing.more_urgent }
            }
            State::Leased { fence, deadline } => {
                Held::Leased { ends: after(deadline), fence: Fence(fence), dirty: standing.dirty }
            }
            State::Delayed(at) => Held::Delayed { after: after(at), failed: false },
            State::Backoff(at) => Held::Delayed { after: after(at), failed: true },
        };
        prop_assert_eq!(job.held, expected);
        let paused = explained.holds.iter().any(|hold| hold.what == What::Paused);
        prop_assert_eq!(explained.earliest.is_none(), paused);
        let Some(earliest) = explained.earliest else { return Ok(()) };

        let earliest = now + u64::try_from(earliest.as_micros()).unwrap();
        let leased_at = twin.model.leased_at(id, now, earliest + 1);
        if explained.exact {
            prop_assert_eq!(leased_at, Some(earliest), "{:?}", explained.holds);
        } else {
            prop_assert!(leased_at.is_none_or(|at| at == earliest), "{leased_at:?} < {earliest}");
        }
        if job.held == (Held::Ready { ahead: 0, more_urgent: 0 }) && explained.exact {
            prop_assert_eq!(explained.holds.is_empty(), earliest == now, "{:?}", explained.holds);
        }
        Ok(())
    }

    /// As after a fail-over. What was sent before goes on counting.
    async fn replace_server(&mut self) {
        let shard = self.redis.keys().shard(Shard(0));
        let () = self.connection.hset(shard, "index", "another").await.unwrap();
        let (redis, now) = self.at_once();
        for twin in &mut self.twins {
            twin.model.replaced();
            // Both notice at the same instant.
            twin.model.acquire("profile", Priority::Webhook, now).unwrap_err();
            redis.acquire(&twin.name, "profile", Priority::Webhook).await.unwrap().unwrap_err();
        }
    }

    async fn lose_everything(&mut self, open: bool) {
        // Forgotten with the rest. A clock that is set back across a loss is another story.
        self.clock = self.clock.max(self.now);
        let prefix = self.redis.keys().prefix(Shard(0));
        let keys: Vec<String> = self.connection.keys(format!("{prefix}*")).await.unwrap();
        if !keys.is_empty() {
            let () = self.connection.del(keys).await.unwrap();
        }
        self.fence = 0;
        let (redis, now) = self.at_once();
        for twin in &mut self.twins {
            twin.model.flush();
            // Both see the lane at the same instant.
            if open {
                twin.sent.clear();
                twin.model.open(now);
                redis.open(&twin.name, &OPEN).await.unwrap();
            } else {
                twin.model.acquire("profile", Priority::Webhook, now).unwrap_err();
                redis.acquire(&twin.name, "profile", Priority::Webhook).await.unwrap().unwrap_err();
            }
        }
    }

    pub(super) fn check_windows(&self) -> Checked {
        self.twins.iter().try_for_each(|twin| laws::no_window_is_too_full(&twin.limits, &twin.sent))
    }

    /// Everything that is left gets done, in bounded steps.
    pub(super) async fn drain(&mut self) -> Checked {
        self.clock = self.clock.max(self.now);
        for lane in 0..LANES.len() {
            self.pause(lane, false).await?;
        }
        for _ in 0..400 {
            while let Some(out) = self.take_out(0) {
                let jobs: Vec<_> = out.ids.iter().map(|id| (id.clone(), Outcome::Ack)).collect();
                self.settle(&out, &jobs, true, &RateSignal::default()).await?;
            }
            if self.twins.iter().all(|twin| twin.model.is_empty()) {
                return Ok(());
            }
            let (redis, _) = self.at_once();
            let next = redis.claim(Shard(0), &[], 1).await.unwrap().next;
            prop_assert!(next.is_some(), "jobs are left, but no lane wants a claim");
            self.clock += u64::try_from(next.unwrap_or_default().as_micros()).unwrap();
            self.claim(&[0, 1], 4, false, false).await?;
        }
        prop_assert!(false, "some jobs are never done");
        Ok(())
    }
}

fn as_in_model(batch: &Batch) -> ModelBatch {
    let jobs = batch.jobs.iter().map(|job| (job.id.clone(), job.attempt, job.round)).collect();
    (batch.priority.number(), batch.fence.0, jobs)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 are below 2^53")]
fn to_f64(us: u64) -> f64 {
    us as f64
}
