//! Random operations on Redis and on the model: equal answers, and the laws that follow.

use std::collections::BTreeMap;
use std::time::Duration;

use common::ids::Fence;
use common::job::{JobId, Priority};
use common::queue::model::{Model, State};
use common::queue::{Held, Ledger, Outcome, PermitReport, QueueSettings, RedisQueue, Shard, What};
use common::quota::{KindLimits, LaneLimits, Quota, RateScope, RateSignal};
use proptest::prelude::*;
use redis::AsyncCommands;

use crate::{START, job, lane, queue_of};

const LANE: &str = "klaviyo/main";
const IDS: [&str; 9] = [
    "profile:a",
    "profile:b",
    "profile:c",
    "attendee:1/x",
    "attendee:1/y",
    "attendee:2/z",
    "scan@profile",
    "report:1",
    "report:2",
];

#[derive(Clone, Debug)]
enum Op {
    Enqueue { id: usize, priority: u8, ensure: bool },
    Claim { wanted: usize },
    Settle { batch: usize, outcomes: Vec<Outcome>, sent: bool, signal: RateSignal },
    Extend { batch: usize },
    Acquire { kind: usize, priority: u8 },
    Explain { id: usize },
    Advance { us: u64 },
    Freeze { us: u64 },
    Thaw,
    Pause(bool),
    Flush { open: bool },
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let after = (0_u64..3_000).prop_map(Duration::from_millis);
    prop_oneof![
        4 => Just(Outcome::Ack),
        1 => (after.clone(), 1_u8..3).prop_map(|(after, round)| Outcome::Again { after, round }),
        1 => after.clone().prop_map(|after| Outcome::Nack { after }),
        1 => after.prop_map(|after| Outcome::Defer { after }),
        1 => Just(Outcome::Bury),
    ]
}

fn signal() -> impl Strategy<Value = RateSignal> {
    let time = || (0_u64..2_000_000).prop_map(Duration::from_micros);
    let left = prop_oneof![1 => Just(0_u32), 2 => 0_u32..8];
    (
        prop::option::weighted(0.2, (left, time())),
        prop::option::weighted(0.1, time()),
        prop_oneof![Just(RateScope::Lane), Just(RateScope::Kind)],
    )
        .prop_map(|(remaining, refused_for, scope)| RateSignal {
            remaining,
            refused_for,
            scope,
        })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..IDS.len(), 0_u8..4, prop::bool::weighted(0.2))
            .prop_map(|(id, priority, ensure)| Op::Enqueue { id, priority, ensure }),
        8 => (1_usize..4).prop_map(|wanted| Op::Claim { wanted }),
        6 => (
            0_usize..8,
            prop::collection::vec(outcome(), 4),
            prop::bool::weighted(0.8),
            signal(),
        )
            .prop_map(|(batch, outcomes, sent, signal)| Op::Settle { batch, outcomes, sent, signal }),
        2 => (0_usize..8).prop_map(|batch| Op::Extend { batch }),
        2 => (0_usize..4, 0_u8..4).prop_map(|(kind, priority)| Op::Acquire { kind, priority }),
        8 => prop_oneof![0_u64..50_000, 0_u64..2_000_000, 0_u64..20_000_000]
            .prop_map(|us| Op::Advance { us }),
        4 => (0..IDS.len()).prop_map(|id| Op::Explain { id }),
        1 => (0_u64..1_000_000).prop_map(|us| Op::Freeze { us }),
        1 => Just(Op::Thaw),
        1 => any::<bool>().prop_map(Op::Pause),
        1 => any::<bool>().prop_map(|open| Op::Flush { open }),
    ]
}

fn limits() -> impl Strategy<Value = LaneLimits> {
    let quota = |name: &'static str| {
        (2_u32..12, 1_u64..4_000, any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(move |(limit, ms, burst, headroom)| {
                // A request may cost 2.
                let burst = 2 + u32::try_from(burst.index(limit as usize - 1)).unwrap();
                let headroom = u32::try_from(headroom.index(burst as usize - 1)).unwrap();
                let window = Duration::from_millis(ms);
                Quota { name: name.to_owned(), limit, window, burst, headroom }
            })
    };
    // So large that its ledger counts in steps, and requests that use much of it.
    let day = (2_001_u32..6_000, 100_u64..20_000, 0_u32..100).prop_map(|(limit, ms, headroom)| {
        let window = Duration::from_millis(ms);
        Quota { name: "day".to_owned(), limit, window, burst: limit, headroom }
    });
    (quota("short"), quota("long"), day, 1_u32..4, 1_u32..3, 300_u32..900).prop_map(
        |(short, long, day, batch, cost, much)| LaneLimits {
            quotas: vec![short, long, day],
            kinds: BTreeMap::from([
                ("profile".to_owned(), KindLimits { batch, cost: 1, quotas: vec![0, 1] }),
                ("attendee".to_owned(), KindLimits { batch: 2, cost, quotas: vec![0] }),
                ("report".to_owned(), KindLimits { batch: 1, cost: much, quotas: vec![2] }),
            ]),
        },
    )
}

fn settings() -> QueueSettings {
    QueueSettings {
        lease: Duration::from_secs(4),
        permit_use_by: Duration::from_millis(200),
        request_timeout: Duration::from_millis(800),
        ..QueueSettings::default()
    }
}

/// Grants and answers, for the law about windows.
#[derive(Debug)]
struct Sent {
    kind: String,
    granted: u64,
    answered: Option<u64>,
}

struct Both {
    redis: RedisQueue,
    model: Model,
    limits: LaneLimits,
    now: u64,
    /// Batches out: fence, kind, ids.
    out: Vec<(i64, String, Vec<JobId>)>,
    /// Since the last loss.
    sent: BTreeMap<i64, Sent>,
}

impl Both {
    async fn claim(&mut self, wanted: usize) -> Result<usize, TestCaseError> {
        let claimed = self.redis.at(self.now).claim(Shard(0), &[lane(LANE)], wanted).await.unwrap();
        let expected = self.model.claim(wanted, self.now);
        let actual: Vec<_> = claimed
            .batches
            .iter()
            .map(|b| {
                let jobs: Vec<_> =
                    b.jobs.iter().map(|j| (j.id.clone(), j.attempt, j.round)).collect();
                (b.priority.number(), b.fence.0, jobs)
            })
            .collect();
        prop_assert_eq!(&actual, &expected);
        if actual.is_empty() && !self.model.is_empty() {
            // Never told to come back later than something could run: nothing waits while a
            // permit is free.
            if let Some(next) = claimed.next {
                let mut earlier = self.model.clone();
                let just_before = self.now + u64::try_from(next.as_micros()).unwrap();
                prop_assert!(
                    just_before == self.now || earlier.claim(1, just_before - 1).is_empty(),
                    "told to wait for {next:?}, but something could have run before"
                );
            }
        }
        let count = actual.len();
        for (_, fence, jobs) in actual {
            let kind = jobs[0].0.kind().to_owned();
            let sent = Sent { kind: kind.clone(), granted: self.now, answered: None };
            self.sent.insert(fence, sent);
            self.out.push((fence, kind, jobs.into_iter().map(|(id, ..)| id).collect()));
        }
        Ok(count)
    }

    async fn run(&mut self, op: Op) -> Result<(), TestCaseError> {
        let now = self.now;
        let redis = self.redis.at(now);
        match op {
            Op::Enqueue { id, priority, ensure } => {
                let priority = Priority::from_number(priority).unwrap();
                let job = job(LANE, IDS[id], priority);
                self.model.enqueue(&job.task.job_id(), priority, ensure, now);
                if ensure { redis.ensure(&[job]).await } else { redis.enqueue(&[job]).await }
                    .unwrap();
            }
            Op::Claim { wanted } => {
                self.claim(wanted).await?;
            }
            Op::Settle { batch, outcomes, sent, signal } => {
                if self.out.is_empty() {
                    return Ok(());
                }
                let (fence, kind, ids) = self.out.remove(batch % self.out.len());
                let signal = if sent { signal } else { RateSignal::default() };
                if sent {
                    if let Some(sent) = self.sent.get_mut(&fence) {
                        // The client gives a request up at its deadline.
                        sent.answered.get_or_insert(now);
                    }
                    self.model.observe(fence, &kind, &signal, now);
                } else {
                    self.sent.remove(&fence);
                    self.model.give_back(fence, &kind, now);
                }
                let mut expected = Vec::new();
                let mut asked = Vec::new();
                for (id, outcome) in ids.into_iter().zip(outcomes) {
                    if !self.model.settle(&id, fence, outcome, now) {
                        expected.push(id.clone());
                    }
                    asked.push((id, outcome));
                }
                let report = PermitReport { id: fence, kind, sent, signal };
                let lost =
                    redis.settle(&lane(LANE), Fence(fence), &asked, &[report]).await.unwrap();
                prop_assert_eq!(lost, expected);
            }
            Op::Extend { batch } => {
                if self.out.is_empty() {
                    return Ok(());
                }
                let (fence, _, ids) = &self.out[batch % self.out.len()];
                let lost = redis.extend(&lane(LANE), Fence(*fence), ids).await.unwrap();
                let expected: Vec<_> =
                    ids.iter().filter(|id| !self.model.extend(id, *fence, now)).cloned().collect();
                prop_assert_eq!(lost, expected);
            }
            Op::Acquire { kind, priority } => {
                let kind = ["profile", "attendee", "other", "report"][kind];
                let priority = Priority::from_number(priority).unwrap();
                let got = redis.acquire(&lane(LANE), kind, priority).await.unwrap();
                let expected = self.model.acquire(kind, priority, now);
                let actual =
                    got.map(|p| p.id).map_err(|wait| u64::try_from(wait.as_micros()).unwrap());
                prop_assert_eq!(actual, expected);
                if let Ok(permit) = actual {
                    let sent = Sent { kind: kind.to_owned(), granted: now, answered: None };
                    self.sent.insert(permit, sent);
                }
            }
            Op::Explain { id } => self.explain(&JobId::from(IDS[id])).await?,
            Op::Advance { us } => self.now += us,
            Op::Freeze { us } => {
                redis.freeze(&lane(LANE), Duration::from_micros(us)).await.unwrap();
                self.model.freeze(us, now);
            }
            Op::Thaw => {
                redis.thaw(&lane(LANE)).await.unwrap();
                self.model.thaw();
            }
            Op::Pause(pause) => {
                if pause {
                    redis.pause(&lane(LANE)).await
                } else {
                    redis.resume(&lane(LANE)).await
                }
                .unwrap();
                self.model.pause(pause);
            }
            Op::Flush { open } => {
                self.check_windows()?;
                self.lose_everything(open).await;
            }
        }
        Ok(())
    }

    /// What is said about a job is so, and what is said about its future comes to pass when nothing
    /// else happens: not earlier than said, and at that time where it is said to be exact.
    async fn explain(&self, id: &JobId) -> Result<(), TestCaseError> {
        let explained = self.redis.at(self.now).explain(&lane(LANE), id).await.unwrap();
        let standing = self.model.standing(id);
        prop_assert_eq!(explained.job.is_some(), standing.is_some());
        let (Some(job), Some(standing)) = (explained.job, standing) else { return Ok(()) };
        prop_assert_eq!(job.priority.number(), standing.priority);
        prop_assert_eq!(job.attempt, standing.attempt);
        let after = |at: u64| Duration::from_micros(at.saturating_sub(self.now));
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

        let earliest = self.now + u64::try_from(earliest.as_micros()).unwrap();
        let leased_at = self.model.leased_at(id, self.now, earliest + 1);
        if explained.exact {
            prop_assert_eq!(leased_at, Some(earliest), "{:?}", explained.holds);
        } else {
            prop_assert!(leased_at.is_none_or(|at| at == earliest), "{leased_at:?} < {earliest}");
        }
        if job.held == (Held::Ready { ahead: 0, more_urgent: 0 }) && earliest == self.now {
            prop_assert!(explained.holds.is_empty(), "{:?}", explained.holds);
        }
        Ok(())
    }

    async fn lose_everything(&mut self, open: bool) {
        let mut redis = self.redis_connection().await;
        let keys: Vec<String> = redis.keys(format!("{}*", self.prefix())).await.unwrap();
        if !keys.is_empty() {
            let () = redis.del(keys).await.unwrap();
        }
        self.model.flush();
        self.sent.clear();
        // Both see the lane at the same instant.
        let redis = self.redis.at(self.now);
        if open {
            self.model.open(self.now);
            redis.open(&lane(LANE), &[Ledger::Empty, Ledger::Empty, Ledger::Empty]).await.unwrap();
        } else {
            self.model.acquire("profile", Priority::Webhook, self.now).unwrap_err();
            redis.acquire(&lane(LANE), "profile", Priority::Webhook).await.unwrap().unwrap_err();
        }
    }

    /// However the requests travelled between grant and answer, no window saw more than its limit:
    /// each counts at the worst instant, which for a window that begins just before an answer is
    /// the answer, and for the others the grant.
    fn check_windows(&self) -> Result<(), TestCaseError> {
        let deadline = 1_000_000;
        for (i, quota) in self.limits.quotas.iter().enumerate() {
            let window = u64::try_from(quota.window.as_micros()).unwrap();
            let arrivals: Vec<(u64, u64, u32)> = self
                .sent
                .values()
                .filter_map(|sent| {
                    let kind = self.limits.kinds.get(&sent.kind);
                    let draws = kind.is_none_or(|k| k.quotas.contains(&i));
                    let cost = kind.map_or(1, |k| k.cost);
                    let last = sent.answered.unwrap_or(u64::MAX).min(sent.granted + deadline);
                    draws.then_some((sent.granted, last, cost))
                })
                .collect();
            for &(_, start, _) in &arrivals {
                // A request could have been counted inside [start, start + window) when that
                // overlaps [granted, answered].
                let most: u32 = arrivals
                    .iter()
                    .filter(|(granted, answered, _)| {
                        *answered >= start && *granted < start + window
                    })
                    .map(|(_, _, cost)| cost)
                    .sum();
                prop_assert!(most <= quota.limit, "{most} in a window of {quota:?}");
            }
        }
        Ok(())
    }

    /// Everything that is left gets done, in bounded steps.
    async fn drain(&mut self) -> Result<(), TestCaseError> {
        self.run(Op::Pause(false)).await?;
        for _ in 0..400 {
            while !self.out.is_empty() {
                let outcomes = vec![Outcome::Ack; 4];
                let signal = RateSignal::default();
                self.run(Op::Settle { batch: 0, outcomes, sent: true, signal }).await?;
            }
            if self.model.is_empty() {
                return Ok(());
            }
            let claimed = self.redis.at(self.now).claim(Shard(0), &[], 1).await.unwrap();
            let next = claimed.next;
            prop_assert!(next.is_some(), "jobs are left, but no lane wants a claim");
            self.now += u64::try_from(next.unwrap_or_default().as_micros()).unwrap();
            self.claim(4).await?;
        }
        prop_assert!(false, "{} jobs are never done", self.model.len());
        Ok(())
    }

    fn prefix(&self) -> String {
        self.redis.keys().prefix(Shard(0))
    }

    async fn redis_connection(&self) -> redis::aio::ConnectionManager {
        let url = std::env::var("REDIS_URL").unwrap();
        redis::aio::ConnectionManager::new(redis::Client::open(url).unwrap()).await.unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redis_and_model_agree_on_every_operation(
        limits in limits(),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (redis, _, _) = queue_of(&[(LANE, limits.clone())], settings()).await;
            let deadline = settings().permit_use_by + settings().request_timeout;
            let model = Model::new(limits.clone(), settings().lease, deadline);
            let mut both = Both {
                redis, model, limits, now: START, out: Vec::new(), sent: BTreeMap::new(),
            };
            both.lose_everything(true).await;
            for op in ops {
                both.run(op).await?;
            }
            both.drain().await?;
            both.check_windows()
        })?;
    }
}
