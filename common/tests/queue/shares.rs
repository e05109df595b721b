//! How the grants of a lane are shared out, whatever waits: floors, and the wait of a webhook.

use std::collections::BTreeMap;
use std::time::Duration;

use common::job::Priority;
use common::queue::{Ledger, Outcome, PermitReport, QueueSettings, RedisQueue, Shard};
use common::quota::{Floors, KindLimits, LaneLimits, Quota, RateSignal};
use proptest::prelude::*;

use crate::{START, block_on, cases, job, lane, queue_of};

const LANE: &str = "klaviyo/main";
const SECOND: u64 = 1_000_000;

/// One quota; `limit` is per minute.
fn limits(limit: u32, burst: u32, headroom: u32) -> LaneLimits {
    let window = Duration::from_mins(1);
    let quota = Quota { name: "steady".to_owned(), limit, window, burst, headroom };
    let wide = KindLimits { batch: 3, cost: 1, quotas: vec![0] };
    LaneLimits { quotas: vec![quota], kinds: BTreeMap::from([("wide".to_owned(), wide)]) }
}

struct Lane {
    queue: RedisQueue,
    now: u64,
    /// Jobs that were ever enqueued, for their names.
    named: u64,
}

impl Lane {
    async fn new(limits: LaneLimits, floors: Floors) -> Self {
        let settings = QueueSettings { floors, ..QueueSettings::default() };
        let (queue, _, _) = queue_of(&[(LANE, limits)], settings).await;
        queue.at(START).open(&lane(LANE), &[Ledger::Empty]).await.unwrap();
        Self { queue, now: START + 3600 * SECOND, named: 0 }
    }

    async fn enqueue(&mut self, priority: Priority, count: u64, wide: bool) {
        let kind = if wide { "wide" } else { "order" };
        let jobs: Vec<_> = (self.named..self.named + count)
            .map(|n| job(LANE, &format!("{kind}:{n}"), priority))
            .collect();
        self.named += count;
        self.queue.at(self.now).enqueue(&jobs).await.unwrap();
    }

    async fn waiting(&self) -> [u64; 4] {
        self.queue.at(self.now).depths(&lane(LANE)).await.unwrap().ready
    }

    /// One batch, done at once: its priority and how long its first job waited, us. Otherwise the
    /// time until there may be one.
    async fn grant(&self) -> Result<(Priority, u64), Option<Duration>> {
        let queue = self.queue.at(self.now);
        let mut claimed = queue.claim(Shard(0), &[lane(LANE)], 1).await.unwrap();
        let Some(batch) = claimed.batches.pop() else { return Err(claimed.next) };
        let outcomes: Vec<_> =
            batch.jobs.iter().map(|job| (job.id.clone(), Outcome::Ack)).collect();
        let arrived = u64::try_from(batch.jobs[0].arrived_us).unwrap();
        let report = [PermitReport::answered(batch.permit, RateSignal::default())];
        queue.settle(&batch.lane, batch.fence, &outcomes, &report).await.unwrap();
        Ok((batch.priority, self.now - arrived))
    }
}

proptest! {
    #![proptest_config(cases(25))]

    /// Of any 20 grants in a row before each of which it waited, bulk gets 2 and spot checks 1; with
    /// other floors one of as few as make 100 percent.
    #[test]
    fn floors_hold_over_any_20_grants(
        rounds in prop::collection::vec((0_u64..12, 0_u64..3, 0_u64..6, 0_u64..4, any::<bool>(), 1_usize..30), 4..16),
        headroom in 0_u32..9,
        floors in prop_oneof![
            Just(Floors::default()),
            (1..=Floors::MOST, 1..=Floors::MOST)
                .prop_map(|(bulk, spot_checks)| Floors { bulk, spot_checks }),
        ],
    ) {
        block_on(async {
            let mut lane = Lane::new(limits(60_000, 10, headroom), floors).await;
            // Priority, and whether bulk and spot checks waited before it.
            let mut grants: Vec<(Priority, [bool; 2])> = Vec::new();
            for (webhooks, manual, bulk, spot_checks, wide, count) in rounds {
                lane.enqueue(Priority::Webhook, webhooks, false).await;
                lane.enqueue(Priority::Manual, manual, wide).await;
                lane.enqueue(Priority::Bulk, bulk, wide).await;
                lane.enqueue(Priority::SpotCheck, spot_checks, false).await;
                for _ in 0..count {
                    let [_, _, bulk, spot_checks] = lane.waiting().await;
                    match lane.grant().await {
                        Ok((priority, _)) => grants.push((priority, [bulk > 0, spot_checks > 0])),
                        Err(Some(wait)) => lane.now += u64::try_from(wait.as_micros()).unwrap(),
                        Err(None) => break,
                    }
                }
            }
            let classes =
                [(0, Priority::Bulk, floors.bulk), (1, Priority::SpotCheck, floors.spot_checks)];
            for (class, priority, floor) in classes {
                let few = 100_usize.div_ceil(floor.into());
                for (length, share) in [(few, 1), (20, 20 / few)] {
                    for window in grants.windows(length) {
                        let waited = window.iter().all(|(_, waits)| waits[class]);
                        let got = window.iter().filter(|(granted, _)| *granted == priority).count();
                        prop_assert!(!waited || got >= share, "{priority}: {got} of {window:?}");
                    }
                }
            }
            Ok(())
        })?;
    }

    /// A webhook waits at most for the tokens of those that are granted before it, less head-room:
    /// those after its arrival, and those before that have taken what was left to it and is not
    /// refilled.
    #[test]
    fn a_webhook_waits_at_most_for_those_before_it(
        burst in 2_u32..20,
        headroom in any::<prop::sample::Index>(),
        backlog in 0_u64..60,
        webhooks in prop::collection::vec((0_u64..3_000_000, 1_u64..8), 1..8),
    ) {
        let headroom = u32::try_from(headroom.index(burst as usize)).unwrap();
        block_on(async {
            // So large a limit that the ledger is never full: what is left is the bucket.
            let (limit, interval) = (600, SECOND / 10);
            let mut lane = Lane::new(limits(limit, burst, headroom), Floors::default()).await;
            lane.enqueue(Priority::Bulk, backlog, false).await;
            lane.enqueue(Priority::SpotCheck, backlog, false).await;
            // When, and whether it may have taken from the head-room: it was a webhook, or went
            // before one for its floor.
            let mut grants: Vec<(u64, bool)> = Vec::new();
            let refill = u64::from(burst) * interval;
            for (after, count) in webhooks {
                let next = lane.now + after;
                // Up to that time, whoever may.
                loop {
                    let urgent = lane.waiting().await[0] > 0;
                    match lane.grant().await {
                        Ok((priority, waited)) => {
                            let since = lane.now - waited;
                            let of_headroom = |&&(at, taken): &&(u64, bool)| {
                                at >= since || taken && at + refill > since
                            };
                            let before = grants.iter().filter(of_headroom).count();
                            grants.push((lane.now, urgent || priority == Priority::Webhook));
                            if priority == Priority::Webhook {
                                let tokens = u64::try_from(before + 1).unwrap();
                                let most = tokens.saturating_sub(u64::from(headroom)) * interval;
                                prop_assert!(waited <= most, "{waited} us, {before} before it");
                            }
                        }
                        Err(Some(wait)) => {
                            let at = lane.now + u64::try_from(wait.as_micros()).unwrap();
                            if at > next {
                                break;
                            }
                            lane.now = at;
                        }
                        Err(None) => break,
                    }
                }
                lane.now = next;
                lane.enqueue(Priority::Webhook, count, false).await;
            }
            Ok(())
        })?;
    }
}
