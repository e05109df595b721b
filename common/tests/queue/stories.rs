//! What the queue promises, one story each.

use std::collections::BTreeMap;
use std::time::Duration;

use common::ids::Fence;
use common::job::{JobId, Priority};
use common::queue::{
    Batch, Claimed, Enqueued, Explained, Held, LaneBook, Ledger, Outcome, PermitReport, QueueError,
    QueueSettings, RedisQueue, Standing, Waiter,
};
use common::quota::{KindLimits, LaneLimits, Quota, RateScope, RateSignal};
use redis::AsyncCommands;

use crate::place::Place;
use crate::{START, claim_from_all, job, lane, queue_of};

const KLAVIYO: &str = "klaviyo/main";
const EVENTBRITE: &str = "eventbrite/main";
const SECOND: u64 = 1_000_000;

/// `limit` a minute, all of it at once, profiles a hundred to a request.
fn plenty(limit: u32) -> LaneLimits {
    let window = Duration::from_mins(1);
    let quota = Quota { name: "steady".to_owned(), limit, window, burst: limit, headroom: 0 };
    let profile = KindLimits { batch: 100, cost: 1, quotas: vec![0] };
    LaneLimits { quotas: vec![quota], kinds: BTreeMap::from([("profile".to_owned(), profile)]) }
}

/// A queue whose lanes are open and whose buckets are full at the time that is returned.
async fn open_queue(lanes: &[(&str, LaneLimits)]) -> (RedisQueue, u64) {
    let (queue, _, _) = queue_of(lanes, QueueSettings::default()).await;
    for (name, _) in lanes {
        assert!(queue.at(START).open(&lane(name), &[Ledger::Empty]).await.unwrap());
    }
    (queue, START + 3600 * SECOND)
}

async fn claim(queue: &RedisQueue, now: u64, wanted: usize) -> Claimed {
    claim_from_all(&queue.at(now), &[lane(KLAVIYO), lane(EVENTBRITE)], wanted).await
}

async fn claim_one(queue: &RedisQueue, now: u64) -> Batch {
    let mut claimed = claim(queue, now, 1).await;
    assert_eq!(claimed.batches.len(), 1, "something can run");
    claimed.batches.remove(0)
}

fn ids(batch: &Batch) -> Vec<&str> {
    batch.jobs.iter().map(|job| job.id.as_str()).collect()
}

async fn ack(queue: &RedisQueue, now: u64, batch: &Batch) -> Vec<JobId> {
    settle(queue, now, batch, Outcome::Ack, RateSignal::default()).await
}

async fn settle(
    queue: &RedisQueue,
    now: u64,
    batch: &Batch,
    outcome: Outcome,
    signal: RateSignal,
) -> Vec<JobId> {
    let outcomes: Vec<_> = batch.jobs.iter().map(|job| (job.id.clone(), outcome)).collect();
    let report =
        PermitReport { id: batch.permit.id, kind: batch.permit.kind.clone(), sent: true, signal };
    queue.at(now).settle(&batch.lane, batch.fence, &outcomes, &[report]).await.unwrap()
}

#[tokio::test]
async fn a_thousand_notices_of_one_record_are_one_job() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let jobs = vec![job(KLAVIYO, "profile:a", Priority::Webhook); 1_000];
    let enqueued = queue.at(now).enqueue(&jobs).await.unwrap();
    assert_eq!(enqueued, Enqueued { added: 1, coalesced: 999, ..Enqueued::default() });

    let batch = claim_one(&queue, now).await;
    assert_eq!(ids(&batch), ["profile:a"]);
    assert!(claim(&queue, now, 9).await.batches.is_empty());
}

#[tokio::test]
async fn a_thousand_records_of_one_kind_are_ten_requests() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let jobs: Vec<_> =
        (0..1_000).map(|n| job(KLAVIYO, &format!("profile:{n}"), Priority::Webhook)).collect();
    queue.at(now).enqueue(&jobs).await.unwrap();
    let claimed = claim(&queue, now, 99).await;
    assert_eq!(claimed.batches.len(), 10);
    assert!(claimed.batches.iter().all(|batch| batch.jobs.len() == 100));
}

#[tokio::test]
async fn a_notice_during_the_work_leads_to_one_more_look() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let hook = [job(KLAVIYO, "profile:a", Priority::Webhook)];
    queue.at(now).enqueue(&hook).await.unwrap();
    let first = claim_one(&queue, now).await;
    for _ in 0..3 {
        assert_eq!(queue.at(now).enqueue(&hook).await.unwrap().dirty, 1);
    }
    assert!(claim(&queue, now, 1).await.batches.is_empty(), "one lease of a record at a time");
    ack(&queue, now, &first).await;

    let second = claim_one(&queue, now).await;
    assert_eq!((ids(&second), second.jobs[0].attempt), (vec!["profile:a"], 1));
    ack(&queue, now, &second).await;
    assert!(claim(&queue, now, 1).await.batches.is_empty(), "once more, not three times");
}

#[tokio::test]
async fn making_up_for_a_loss_does_not_disturb_what_is_being_worked_on() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let hook = [job(KLAVIYO, "profile:a", Priority::Webhook)];
    assert_eq!(queue.at(now).ensure(&hook).await.unwrap().added, 1);
    let batch = claim_one(&queue, now).await;
    assert_eq!(queue.at(now).ensure(&hook).await.unwrap().coalesced, 1);
    ack(&queue, now, &batch).await;
    assert!(claim(&queue, now, 1).await.batches.is_empty());
}

#[tokio::test]
async fn more_urgent_work_goes_first_and_raises_what_waits_already() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let enqueue =
        async |at, id, priority| queue.at(at).enqueue(&[job(KLAVIYO, id, priority)]).await.unwrap();
    enqueue(now, "order:spot", Priority::SpotCheck).await;
    enqueue(now + 1, "order:bulk", Priority::Bulk).await;
    enqueue(now + 2, "order:hook", Priority::Webhook).await;
    enqueue(now + 3, "order:manual", Priority::Manual).await;
    assert_eq!(enqueue(now + 4, "order:spot", Priority::Webhook).await.raised, 1);
    assert_eq!(enqueue(now + 5, "order:hook", Priority::Bulk).await.coalesced, 1);

    let mut order = Vec::new();
    for batch in claim(&queue, now + 6, 9).await.batches {
        order.push(batch.jobs[0].id.to_string());
    }
    assert_eq!(order, ["order:hook", "order:spot", "order:manual", "order:bulk"]);
}

#[tokio::test]
async fn bulk_and_spot_checks_keep_their_floors_in_a_flood_of_webhooks() {
    let (queue, mut now) = open_queue(&[(KLAVIYO, plenty(10_000))]).await;
    for n in 0..200 {
        let jobs = [
            job(KLAVIYO, &format!("hook:{n}"), Priority::Webhook),
            job(KLAVIYO, &format!("bulk:{n}"), Priority::Bulk),
            job(KLAVIYO, &format!("spot:{n}"), Priority::SpotCheck),
        ];
        queue.at(now).enqueue(&jobs).await.unwrap();
        now += 1;
    }
    let mut grants = Vec::new();
    for _ in 0..20 {
        grants.extend(claim(&queue, now, 5).await.batches.into_iter().map(|b| b.priority));
        now += 1;
    }
    for window in grants.windows(20) {
        let of = |p| window.iter().filter(|&&q| q == p).count();
        assert!((2..=3).contains(&of(Priority::Bulk)), "{window:?}");
        assert!((1..=2).contains(&of(Priority::SpotCheck)), "{window:?}");
    }
    assert!(grants.iter().filter(|&&p| p == Priority::Webhook).count() > 80);
}

#[tokio::test]
async fn the_last_tokens_of_a_bucket_are_left_to_webhooks_and_people() {
    let mut limits = plenty(100);
    limits.quotas[0].burst = 5;
    limits.quotas[0].headroom = 2;
    let (queue, now) = open_queue(&[(KLAVIYO, limits)]).await;
    for n in 0..9 {
        queue.at(now).enqueue(&[job(KLAVIYO, &format!("bulk:{n}"), Priority::Bulk)]).await.unwrap();
    }
    assert_eq!(claim(&queue, now, 9).await.batches.len(), 3);
    for n in 0..9 {
        let hook = job(KLAVIYO, &format!("hook:{n}"), Priority::Webhook);
        queue.at(now).enqueue(&[hook]).await.unwrap();
    }
    let batches = claim(&queue, now, 9).await.batches;
    assert_eq!(batches.len(), 2);
    assert!(batches.iter().all(|batch| batch.priority == Priority::Webhook));
}

#[tokio::test]
async fn no_window_sees_more_than_the_limit_and_the_wait_is_exact() {
    let (queue, mut now) = open_queue(&[(KLAVIYO, plenty(3))]).await;
    for n in 0..9 {
        let hook = job(KLAVIYO, &format!("order:{n}"), Priority::Webhook);
        queue.at(now).enqueue(&[hook]).await.unwrap();
    }
    let batches = claim(&queue, now, 9).await.batches;
    assert_eq!(batches.len(), 3);
    // The answers take their time; the slots free one window after each.
    for batch in &batches {
        now += SECOND;
        ack(&queue, now, batch).await;
    }
    let opens = now + 58 * SECOND;
    let next = claim(&queue, opens - SECOND, 9).await.next;
    assert_eq!(next, Some(Duration::from_secs(1)), "a window after the first answer");
    assert!(claim(&queue, opens - 1, 9).await.batches.is_empty());
    assert_eq!(claim(&queue, opens, 9).await.batches.len(), 1);
}

#[tokio::test]
async fn a_request_without_an_answer_holds_its_slot_past_its_deadline() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(1))]).await;
    let jobs =
        [job(KLAVIYO, "order:1", Priority::Webhook), job(KLAVIYO, "order:2", Priority::Webhook)];
    queue.at(now).enqueue(&jobs).await.unwrap();
    let lost = claim_one(&queue, now).await;
    // Use-by 2 s, request 30 s, window 60 s.
    let free_at = now + 92 * SECOND;
    assert!(claim(&queue, free_at - 1, 9).await.batches.is_empty());
    assert_eq!(claim(&queue, free_at, 9).await.batches.len(), 1);
    drop(lost);
}

#[tokio::test]
async fn a_permit_that_was_never_used_is_given_back_at_once() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(1))]).await;
    let jobs =
        [job(KLAVIYO, "order:1", Priority::Webhook), job(KLAVIYO, "order:2", Priority::Webhook)];
    queue.at(now).enqueue(&jobs).await.unwrap();
    let batch = claim_one(&queue, now).await;
    assert!(claim(&queue, now, 1).await.batches.is_empty(), "the one permit is out");
    let (id, fence) = (batch.jobs[0].id.clone(), batch.fence);
    let unused = PermitReport::unused(batch.permit);
    for report in [unused.clone(), unused] {
        let outcomes = [(id.clone(), Outcome::Ack)];
        queue.at(now).settle(&batch.lane, fence, &outcomes, &[report]).await.unwrap();
    }
    assert_eq!(claim(&queue, now, 9).await.batches.len(), 1, "once, not twice");
}

#[tokio::test]
async fn a_wait_for_a_permit_ends_when_an_answer_may_have_freed_one() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(1))]).await;
    let acquire =
        async |at| queue.at(at).acquire(&lane(KLAVIYO), "order", Priority::Webhook).await.unwrap();
    let first = acquire(now).await.unwrap();
    // Its deadline is half a minute away, but nobody tells the waiting of an answer before that.
    let wait = acquire(now + 1).await.unwrap_err();
    assert_eq!(wait, Duration::from_mins(1));
    let answered = [PermitReport::answered(first, RateSignal::default())];
    queue.at(now + SECOND).observe(&lane(KLAVIYO), &answered).await.unwrap();
    let wait = acquire(now + 1 + 60 * SECOND).await.unwrap_err();
    assert_eq!(wait, Duration::from_micros(SECOND - 1), "now it is exact");
    let _second = acquire(now + 61 * SECOND).await.unwrap();
}

#[tokio::test]
async fn a_request_draws_on_all_its_quotas_or_on_none() {
    let quota = |name: &str, limit| Quota {
        name: name.to_owned(),
        limit,
        window: Duration::from_mins(1),
        burst: limit,
        headroom: 0,
    };
    let kinds = BTreeMap::from([
        ("wide".to_owned(), KindLimits { batch: 1, cost: 1, quotas: vec![0] }),
        ("narrow".to_owned(), KindLimits { batch: 1, cost: 1, quotas: vec![0, 1] }),
    ]);
    let limits = LaneLimits { quotas: vec![quota("all", 4), quota("route", 1)], kinds };
    let (queue, _, _) = queue_of(&[(KLAVIYO, limits)], QueueSettings::default()).await;
    let open = [Ledger::Empty, Ledger::Empty];
    queue.at(START).open(&lane(KLAVIYO), &open).await.unwrap();
    let now = START + 3600 * SECOND;
    for id in ["narrow:1", "narrow:2", "wide:1", "wide:2", "wide:3", "wide:4"] {
        queue.at(now).enqueue(&[job(KLAVIYO, id, Priority::Webhook)]).await.unwrap();
    }
    let claimed = claim(&queue, now, 9).await.batches;
    let mut ran: Vec<_> = claimed.iter().map(|b| b.jobs[0].id.to_string()).collect();
    ran.sort();
    // The second narrow one holds up nobody, and its refusal cost the shared quota nothing.
    assert_eq!(ran, ["narrow:1", "wide:1", "wide:2", "wide:3"]);
}

#[tokio::test]
async fn after_a_loss_the_bucket_is_empty_and_the_ledger_closed() {
    let (queue, _, _) = queue_of(&[(KLAVIYO, plenty(60))], QueueSettings::default()).await;
    let hook = [job(KLAVIYO, "order:1", Priority::Webhook)];
    queue.at(START).enqueue(&hook).await.unwrap();
    let claimed = claim(&queue, START, 9).await;
    assert!(claimed.batches.is_empty());
    assert_eq!(claimed.closed, [lane(KLAVIYO)], "somebody has to rebuild it");
    assert_eq!(claimed.next, Some(Duration::from_secs(1)), "and is asked again soon");

    // Nothing was ever sent on this lane: it opens at once, with an empty bucket.
    assert!(queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap());
    assert!(!queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap(), "once");
    let claimed = claim(&queue, START, 9).await;
    assert!(claimed.batches.is_empty());
    assert_eq!(claimed.next, Some(Duration::from_secs(1)), "one token");
    assert_eq!(claim(&queue, START + SECOND, 9).await.batches.len(), 1);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_rebuilt_stays_closed_until_its_window_has_passed() {
    let (queue, _, _) = queue_of(&[(KLAVIYO, plenty(60))], QueueSettings::default()).await;
    let hook = [job(KLAVIYO, "order:1", Priority::Webhook)];
    queue.at(START).enqueue(&hook).await.unwrap();
    claim(&queue, START, 9).await;
    assert!(queue.at(START).open(&lane(KLAVIYO), &[Ledger::Keep]).await.unwrap());
    let claimed = claim(&queue, START, 9).await;
    assert!(claimed.batches.is_empty() && claimed.closed.is_empty());
    assert_eq!(claimed.next, Some(Duration::from_secs(92)), "use-by, request and window");
    assert_eq!(claim(&queue, START + 92 * SECOND, 9).await.batches.len(), 1);
}

#[tokio::test]
async fn a_loss_that_only_a_late_settling_meets_is_reported_too() {
    let (queue, _, _) = queue_of(&[(KLAVIYO, plenty(60))], QueueSettings::default()).await;
    let ids = [(JobId::from("order:1"), Outcome::Ack)];
    queue.at(START).settle(&lane(KLAVIYO), Fence(1), &ids, &[]).await.unwrap();
    assert_eq!(claim(&queue, START, 1).await.closed, [lane(KLAVIYO)], "though it has no job");
}

#[tokio::test]
async fn a_rebuilt_ledger_counts_what_was_sent_before_the_loss() {
    let mut limits = plenty(3);
    limits.quotas[0].window = Duration::from_hours(1);
    let (queue, _, _) = queue_of(&[(EVENTBRITE, limits)], QueueSettings::default()).await;
    for n in 0..9 {
        let hook = job(EVENTBRITE, &format!("order:{n}"), Priority::Webhook);
        queue.at(START).enqueue(&[hook]).await.unwrap();
    }
    claim(&queue, START, 9).await;
    let ages = [Duration::from_mins(50), Duration::from_mins(20)];
    queue.at(START).open(&lane(EVENTBRITE), &[Ledger::Sent(ages.to_vec())]).await.unwrap();
    // One slot is left, and the bucket gives a token every 20 minutes.
    let now = START + 1200 * SECOND;
    assert_eq!(claim(&queue, now - 1, 9).await.batches.len(), 0);
    let claimed = claim(&queue, now, 9).await;
    // The older of the two is free again after its hour and the time that an answer may take.
    assert_eq!(claimed.batches.len(), 1);
    let now = START + 2400 * SECOND;
    assert_eq!(claim(&queue, now, 9).await.batches.len(), 1);
}

#[tokio::test]
async fn a_day_of_requests_is_counted_by_the_minute_and_never_too_low() {
    const DAY: u64 = 86_400 * SECOND;
    const MINUTE: u64 = 60 * SECOND;
    let mut limits = plenty(48_000);
    limits.quotas[0].window = Duration::from_hours(24);
    let (queue, mut redis, keys) =
        queue_of(&[(EVENTBRITE, limits)], QueueSettings::default()).await;
    let acquire =
        async |at| queue.at(at).acquire(&lane(EVENTBRITE), "order", Priority::Webhook).await;
    let ledger = keys.ledger(&lane(EVENTBRITE), "steady");
    acquire(START).await.unwrap().unwrap_err();
    // All of a day was sent before the loss, one request every 1.8 s but for the last.
    let ages: Vec<_> = (1..48_000).map(|n| Duration::from_millis(n * 1_800)).collect();
    queue.at(START).open(&lane(EVENTBRITE), &[Ledger::Sent(ages)]).await.unwrap();
    let entries: u64 = redis.zcard(&ledger).await.unwrap();
    assert!(entries <= 1_441, "{entries}");

    // The bucket is empty at first. One slot is free.
    let now = START + 2 * SECOND;
    let permit = acquire(now).await.unwrap().unwrap();
    let wait = acquire(now).await.unwrap().unwrap_err();
    // The oldest was sent a day and 1.8 s before START, and answered within 32 s.
    let exact = Duration::from_micros(32 * SECOND);
    assert!(wait + Duration::from_secs(4) >= exact, "{wait:?}");
    assert!(wait <= exact + 2 * Duration::from_micros(MINUTE), "at most two steps late: {wait:?}");

    // The answer moves its slot to the minute of the answer; told twice, it is one slot.
    let answered = [PermitReport::answered(permit, RateSignal::default())];
    for _ in 0..2 {
        queue.at(now + SECOND).observe(&lane(EVENTBRITE), &answered).await.unwrap();
    }
    let later = now + 2 * DAY;
    let _permit = acquire(later).await.unwrap().unwrap();
    let entries: u64 = redis.zcard(&ledger).await.unwrap();
    assert!(entries <= 1_342, "what is free goes, by hundreds: {entries}");
}

#[tokio::test]
async fn a_ledger_that_is_to_be_counted_in_another_way_is_closed_like_a_new_one() {
    let (few, many) = (plenty(100), plenty(5_000));
    let (queue, _redis, keys) = queue_of(&[(KLAVIYO, few.clone())], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let mut now = START + 60 * SECOND;
    for limits in [many, few] {
        let book = LaneBook::new(&keys, [(lane(KLAVIYO), limits)]).unwrap();
        let links = Place::current().links(&keys);
        let changed = RedisQueue::new(links, keys.clone(), book, QueueSettings::default());
        let acquire =
            async |at| changed.at(at).acquire(&lane(KLAVIYO), "order", Priority::Webhook).await;
        let wait = acquire(now).await.unwrap().unwrap_err();
        assert_eq!(wait, Duration::from_secs(92), "use-by, request and window");
        let _permit = acquire(now + 92 * SECOND).await.unwrap().unwrap();
        now += 200 * SECOND;
    }
}

#[tokio::test]
async fn a_refusal_freezes_the_lane_for_everybody_and_costs_no_attempt() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100)), (EVENTBRITE, plenty(100))]).await;
    let jobs = [
        job(KLAVIYO, "order:1", Priority::Webhook),
        job(KLAVIYO, "order:2", Priority::Webhook),
        job(EVENTBRITE, "order:3", Priority::Webhook),
    ];
    queue.at(now).enqueue(&jobs).await.unwrap();
    let mut batches = claim(&queue, now, 9).await.batches;
    batches.sort_by_key(|batch| batch.jobs[0].id.clone());
    let signal = RateSignal { refused_for: Some(Duration::from_secs(7)), ..RateSignal::default() };
    let later = Outcome::Defer { after: Duration::ZERO };
    settle(&queue, now, &batches[0], later, signal).await;
    ack(&queue, now, &batches[1]).await;
    queue.at(now).enqueue(&[job(KLAVIYO, "order:4", Priority::Webhook)]).await.unwrap();
    queue.at(now).enqueue(&[job(EVENTBRITE, "order:5", Priority::Webhook)]).await.unwrap();

    let others = claim(&queue, now, 9).await.batches;
    assert_eq!(others.iter().map(|b| b.lane.as_str()).collect::<Vec<_>>(), [EVENTBRITE]);
    assert!(claim(&queue, now + 7 * SECOND - 1, 9).await.batches.is_empty());
    let thawed = claim(&queue, now + 7 * SECOND, 9).await.batches;
    let attempts: Vec<_> =
        thawed.iter().map(|b| (b.jobs[0].id.as_str(), b.jobs[0].attempt)).collect();
    assert_eq!(attempts, [("order:1", 1), ("order:4", 1)]);
}

#[tokio::test]
async fn what_the_platform_says_lowers_the_quota_and_never_raises_it() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(10))]).await;
    for n in 0..20 {
        let hook = job(KLAVIYO, &format!("order:{n}"), Priority::Webhook);
        queue.at(now).enqueue(&[hook]).await.unwrap();
    }
    let first = claim_one(&queue, now).await;
    let says =
        |n| RateSignal { remaining: Some((n, Duration::from_secs(30))), ..RateSignal::default() };
    settle(&queue, now, &first, Outcome::Ack, says(2)).await;
    let claimed = claim(&queue, now, 20).await;
    assert_eq!(claimed.batches.len(), 2);
    assert_eq!(claimed.next, Some(Duration::from_secs(30)), "until the platform's reset");
    settle(&queue, now, &claimed.batches[0], Outcome::Ack, says(500)).await;
    assert!(claim(&queue, now, 20).await.batches.is_empty());
}

#[tokio::test]
async fn a_kind_that_may_not_run_hides_nobody_however_many_of_it_wait() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let blocked: Vec<_> =
        (0..2_000).map(|n| job(KLAVIYO, &format!("member:{n}"), Priority::Webhook)).collect();
    queue.at(now).enqueue(&blocked).await.unwrap();
    let first = claim_one(&queue, now).await;
    let refused = RateSignal {
        refused_for: Some(Duration::from_mins(9)),
        scope: RateScope::Kind,
        ..RateSignal::default()
    };
    settle(&queue, now, &first, Outcome::Ack, refused).await;
    let behind = ["role:1", "scan@role", "aaa:1"];
    for id in behind {
        queue.at(now + 1).enqueue(&[job(KLAVIYO, id, Priority::Webhook)]).await.unwrap();
    }
    let mut claimed = claim(&queue, now + 1, 9).await.batches;
    claimed.sort_by_key(|batch| behind.iter().position(|id| *id == batch.jobs[0].id.as_str()));
    assert_eq!(claimed.iter().flat_map(ids).collect::<Vec<_>>(), behind);
}

#[tokio::test]
async fn what_an_answer_says_of_a_kind_closes_that_kind_alone() {
    let (queue, mut redis, keys) =
        queue_of(&[(KLAVIYO, plenty(100))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 3600 * SECOND;
    for id in ["member:1", "member:2", "member:3", "role:1", "role:2"] {
        queue.at(now).enqueue(&[job(KLAVIYO, id, Priority::Webhook)]).await.unwrap();
    }
    let reset = Duration::from_secs(5);
    let of_kind = RateSignal { scope: RateScope::Kind, ..RateSignal::default() };
    let first = claim_one(&queue, now).await;
    let left = RateSignal { remaining: Some((1, reset)), ..of_kind.clone() };
    settle(&queue, now, &first, Outcome::Ack, left).await;
    let second = claim_one(&queue, now).await;
    assert_eq!(ids(&second), ["member:2"], "one is left: go on");
    let used_up = RateSignal { remaining: Some((0, reset)), ..of_kind.clone() };
    settle(&queue, now, &second, Outcome::Ack, used_up).await;

    let claimed = claim(&queue, now, 9).await;
    let ran: Vec<_> = claimed.batches.iter().map(|b| b.jobs[0].id.as_str()).collect();
    assert_eq!(ran, ["role:1", "role:2"], "the other kind goes on");
    assert_eq!(claimed.next, Some(reset), "and the wait is exact");
    let acquired = queue.at(now).acquire(&lane(KLAVIYO), "member", Priority::Webhook).await;
    assert_eq!(acquired.unwrap().unwrap_err(), reset);
    let refused = RateSignal { refused_for: Some(Duration::from_secs(9)), ..of_kind };
    settle(&queue, now, &claimed.batches[0], Outcome::Ack, refused).await;
    let later = now + 5 * SECOND;
    assert!(claim(&queue, later - 1, 9).await.batches.is_empty());
    assert_eq!(ids(&claim_one(&queue, later).await), ["member:3"]);

    let frozen: Vec<String> = redis.hkeys(&keys.lane(&lane(KLAVIYO))[0]).await.unwrap();
    assert!(frozen.contains(&"f:role".to_owned()), "{frozen:?}");
    assert!(!frozen.contains(&"f:member".to_owned()), "what is over is forgotten: {frozen:?}");
    queue.at(later).thaw(&lane(KLAVIYO)).await.unwrap();
    queue.at(later).enqueue(&[job(KLAVIYO, "role:3", Priority::Webhook)]).await.unwrap();
    assert_eq!(ids(&claim_one(&queue, later).await), ["role:3"]);
}

#[tokio::test]
async fn more_frozen_kinds_than_a_lane_remembers_freeze_the_lane() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    for n in 0..=64_u32 {
        let refusal = PermitReport {
            id: 1,
            kind: format!("kind{n}"),
            sent: true,
            signal: RateSignal {
                refused_for: Some(Duration::from_secs(9)),
                scope: RateScope::Kind,
                ..RateSignal::default()
            },
        };
        let frozen = queue.at(now).depths(&lane(KLAVIYO)).await.unwrap().frozen;
        assert_eq!(frozen, Duration::ZERO, "after {n} kinds");
        queue.at(now).observe(&lane(KLAVIYO), &[refusal]).await.unwrap();
    }
    let frozen = queue.at(now).depths(&lane(KLAVIYO)).await.unwrap().frozen;
    assert_eq!(frozen, Duration::from_secs(9));
}

#[tokio::test]
async fn a_person_is_told_what_a_job_waits_for_and_until_when() {
    let mut limits = plenty(60);
    limits.quotas[0].burst = 2;
    limits.quotas[0].headroom = 1;
    let (queue, now) = open_queue(&[(KLAVIYO, limits)]).await;
    let explain =
        async |at, id: &str| queue.at(at).explain(&lane(KLAVIYO), &JobId::from(id)).await.unwrap();
    let holds = |explained: &Explained| -> Vec<(&str, Option<Duration>)> {
        explained.holds.iter().map(|hold| (hold.what.name(), hold.length)).collect()
    };
    for n in 0..150 {
        let bulk = job(KLAVIYO, &format!("profile:{n}"), Priority::Bulk);
        queue.at(now + n).enqueue(&[bulk]).await.unwrap();
    }
    let now = now + 150;
    let first = explain(now, "profile:0").await;
    assert_eq!((first.earliest, first.exact), (Some(Duration::ZERO), true));
    assert_eq!(holds(&first), []);
    // The second request of its kind: a token a second, the last one left to webhooks.
    let last = explain(now, "profile:149").await;
    let Some(Standing { held: Held::Ready { ahead: 149, more_urgent: 0 }, .. }) = last.job else {
        panic!("{last:?}");
    };
    assert!(!last.exact && last.earliest.unwrap() < Duration::from_secs(1), "{last:?}");

    let batch = claim_one(&queue, now).await;
    let next = explain(now, "profile:149").await;
    assert_eq!((next.earliest, next.exact), (Some(Duration::from_secs(1)), true));
    assert_eq!(holds(&next), [("head-room", Some(Duration::from_secs(1)))]);
    let held = explain(now, "profile:0").await.job.unwrap().held;
    let lease = QueueSettings::default().lease;
    assert_eq!(held, Held::Leased { ends: lease, fence: batch.fence, dirty: false });
    assert_eq!(explain(now, "order:1").await.job, None);

    let refused = RateSignal {
        refused_for: Some(Duration::from_secs(7)),
        scope: RateScope::Kind,
        ..RateSignal::default()
    };
    settle(&queue, now, &batch, Outcome::Ack, refused).await;
    queue.at(now).freeze(&lane(KLAVIYO), Duration::from_secs(3)).await.unwrap();
    let frozen = explain(now, "profile:149").await;
    assert_eq!(frozen.earliest, Some(Duration::from_secs(7)));
    let expected = [("lane-frozen", 3), ("kind-frozen", 7), ("head-room", 1)];
    assert_eq!(holds(&frozen), expected.map(|(what, s)| (what, Some(Duration::from_secs(s)))));
    queue.at(now).pause(&lane(KLAVIYO)).await.unwrap();
    let paused = explain(now, "profile:149").await;
    assert_eq!((paused.earliest, holds(&paused)[0]), (None, ("paused", None)));
}

#[tokio::test]
async fn a_lease_that_ran_out_is_another_workers_and_the_late_ack_is_refused() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    queue.at(now).enqueue(&[job(KLAVIYO, "profile:a", Priority::Webhook)]).await.unwrap();
    let dead = claim_one(&queue, now).await;
    let kept = now + 30 * SECOND;
    assert!(
        queue
            .at(kept)
            .extend(&dead.lane, dead.fence, &[dead.jobs[0].id.clone()])
            .await
            .unwrap()
            .is_empty()
    );
    assert!(claim(&queue, now + 60 * SECOND, 1).await.batches.is_empty(), "it was extended");

    let after = kept + 60 * SECOND;
    let next = claim_one(&queue, after).await;
    assert_eq!(next.jobs[0].attempt, 2);
    assert!(next.fence > dead.fence);
    assert_eq!(ack(&queue, after, &dead).await, [JobId::from("profile:a")]);
    let ids = [dead.jobs[0].id.clone()];
    assert_eq!(queue.at(after).extend(&dead.lane, dead.fence, &ids).await.unwrap(), ids);
    assert!(ack(&queue, after, &next).await.is_empty());
    assert!(claim(&queue, after + 999 * SECOND, 1).await.batches.is_empty());
}

#[tokio::test]
async fn a_failing_job_waits_its_time_and_keeps_its_count() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let hook = [job(KLAVIYO, "order:1", Priority::Webhook)];
    queue.at(now).enqueue(&hook).await.unwrap();
    let first = claim_one(&queue, now).await;
    let after = Duration::from_secs(8);
    settle(&queue, now, &first, Outcome::Nack { after }, RateSignal::default()).await;
    queue.at(now).enqueue(&hook).await.unwrap();
    let claimed = claim(&queue, now, 1).await;
    assert!(claimed.batches.is_empty(), "a notice does not shorten the back-off");
    assert_eq!(claimed.next, Some(after));
    assert_eq!(claim_one(&queue, now + 8 * SECOND).await.jobs[0].attempt, 2);
}

#[tokio::test]
async fn a_confirming_look_comes_later_and_a_new_notice_comes_before_it() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let hook = [job(KLAVIYO, "order:1", Priority::Webhook)];
    queue.at(now).enqueue(&hook).await.unwrap();
    let first = claim_one(&queue, now).await;
    let again = Outcome::Again { after: Duration::from_secs(20), round: 1 };
    settle(&queue, now, &first, again, RateSignal::default()).await;
    queue.at(now).enqueue(&[job(KLAVIYO, "order:1", Priority::SpotCheck)]).await.unwrap();
    assert!(claim(&queue, now, 1).await.batches.is_empty(), "it will be looked at soon anyway");
    let second = claim_one(&queue, now + 20 * SECOND).await;
    assert_eq!((second.jobs[0].round, second.jobs[0].attempt), (1, 1));

    settle(&queue, now, &second, again, RateSignal::default()).await;
    queue.at(now + 20 * SECOND).enqueue(&hook).await.unwrap();
    assert_eq!(claim_one(&queue, now + 20 * SECOND).await.jobs[0].round, 0);
}

#[tokio::test]
async fn lanes_take_turns() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100)), (EVENTBRITE, plenty(100))]).await;
    for n in 0..10 {
        for name in [KLAVIYO, EVENTBRITE] {
            let hook = job(name, &format!("order:{n}"), Priority::Webhook);
            queue.at(now).enqueue(&[hook]).await.unwrap();
        }
    }
    let mut served = Vec::new();
    for step in 0..5 {
        let batches = claim(&queue, now + step, 2).await.batches;
        served.extend(batches.into_iter().map(|batch| batch.lane.to_string()));
    }
    for pair in served.chunks(2) {
        assert_ne!(pair[0], pair[1], "{served:?}");
    }
}

#[tokio::test]
async fn a_paused_lane_rests_and_goes_on_where_it_was() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    queue.at(now).enqueue(&[job(KLAVIYO, "order:1", Priority::Manual)]).await.unwrap();
    queue.at(now).pause(&lane(KLAVIYO)).await.unwrap();
    let claimed = claim(&queue, now, 1).await;
    assert!(claimed.batches.is_empty() && claimed.next.is_none());
    assert!(queue.at(now).depths(&lane(KLAVIYO)).await.unwrap().paused);
    queue.at(now).resume(&lane(KLAVIYO)).await.unwrap();
    assert_eq!(ids(&claim_one(&queue, now).await), ["order:1"]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_stands_still() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(1))]).await;
    let jobs =
        [job(KLAVIYO, "order:1", Priority::Manual), job(KLAVIYO, "order:2", Priority::Manual)];
    queue.at(now).enqueue(&jobs).await.unwrap();
    let first = claim_one(&queue, now).await;
    ack(&queue, now, &first).await;
    let earlier = now - 600 * SECOND;
    let claimed = claim(&queue, earlier, 1).await;
    assert!(claimed.batches.is_empty());
    assert_eq!(claimed.next, Some(Duration::from_mins(1)));
    assert!(claim_one(&queue, now + 60 * SECOND).await.fence > first.fence);
}

#[tokio::test]
async fn fences_grow_across_a_lost_redis() {
    let (queue, mut redis, keys) =
        queue_of(&[(KLAVIYO, plenty(100))], QueueSettings::default()).await;
    let mut fences = Vec::new();
    for now in [START, START + 3600 * SECOND] {
        queue.at(now).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
        queue
            .at(now + 60 * SECOND)
            .enqueue(&[job(KLAVIYO, "order:1", Priority::Manual)])
            .await
            .unwrap();
        fences.push(claim_one(&queue, now + 60 * SECOND).await.fence);
        let shard = keys.shard_of(&lane(KLAVIYO));
        let mut all = keys.lane(&lane(KLAVIYO));
        all.extend([
            keys.shard(shard),
            keys.lanes(shard),
            keys.wake(shard),
            keys.ledger(&lane(KLAVIYO), "steady"),
        ]);
        let () = redis.del(all).await.unwrap();
    }
    assert!(fences[0] < fences[1]);
}

#[tokio::test]
async fn an_idle_worker_is_woken_and_not_polling() {
    let (queue, redis, keys) =
        queue_of(&[(KLAVIYO, plenty(60_000))], QueueSettings::default()).await;
    queue.open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let mut waiter = Waiter::new(queue.links(), &keys, keys.shard_of(&lane(KLAVIYO))).unwrap();
    let jobs = [job(KLAVIYO, "order:1", Priority::Webhook)];
    let (woken, enqueued) = tokio::join!(waiter.wait(None), queue.enqueue(&jobs));
    assert_eq!(enqueued.unwrap().added, 1);
    assert_eq!(woken.unwrap().as_deref(), Some(KLAVIYO));
    drop(redis);
}

#[tokio::test]
async fn wake_ups_chain_while_runnable_work_is_left() {
    let (queue, mut redis, keys) =
        queue_of(&[(KLAVIYO, plenty(100))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 60 * SECOND;
    let wake = keys.wake(keys.shard_of(&lane(KLAVIYO)));
    let tokens = async |redis: &mut redis::aio::MultiplexedConnection| -> Vec<String> {
        let tokens: Vec<String> = redis.lrange(&wake, 0, -1).await.unwrap();
        let () = redis.del(&wake).await.unwrap();
        tokens
    };
    for id in ["order:1", "order:2", "order:3"] {
        queue.at(now).enqueue(&[job(KLAVIYO, id, Priority::Webhook)]).await.unwrap();
    }
    assert_eq!(tokens(&mut redis).await, [KLAVIYO], "one token, not three");
    drop(claim_one(&queue, now).await);
    assert_eq!(tokens(&mut redis).await, [KLAVIYO], "two jobs are left: wake the next");
    drop(claim_one(&queue, now).await);
    assert_eq!(tokens(&mut redis).await, [KLAVIYO]);
    drop(claim_one(&queue, now).await);
    claim(&queue, now, 1).await;
    redis.del::<_, ()>(&wake).await.unwrap();
    claim(&queue, now, 1).await;
    assert!(tokens(&mut redis).await.is_empty(), "nothing is left: nobody is woken");
}

#[tokio::test]
async fn a_time_before_that_until_which_workers_sleep_wakes_one_of_them() {
    let (queue, mut redis, keys) =
        queue_of(&[(KLAVIYO, plenty(60_000))], QueueSettings::default()).await;
    let wake = keys.wake(keys.shard_of(&lane(KLAVIYO)));
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 60 * SECOND;
    queue.at(now).enqueue(&[job(KLAVIYO, "order:1", Priority::Webhook)]).await.unwrap();
    let batch = claim_one(&queue, now).await;
    let sleeper = claim(&queue, now, 1).await;
    assert_eq!(sleeper.next, Some(QueueSettings::default().lease), "until the lease ends");
    redis.del::<_, ()>(&wake).await.unwrap();

    let after = Duration::from_secs(1);
    let again = Outcome::Again { after, round: 1 };
    settle(&queue, now, &batch, again, RateSignal::default()).await;
    let tokens: Vec<String> = redis.lrange(&wake, 0, -1).await.unwrap();
    assert_eq!(tokens, [KLAVIYO]);
    assert_eq!(claim(&queue, now, 1).await.next, Some(after));
}

#[tokio::test]
async fn a_waiting_check_takes_at_most_300_bytes() {
    let (queue, mut redis, keys) =
        queue_of(&[(KLAVIYO, plenty(100))], QueueSettings::default()).await;
    let count = 2_000_u64;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let jobs: Vec<_> = (0..count)
        .map(|n| {
            let id = format!("profile:01JEXAMPLE5P6Q7R8S{n:08}");
            common::job::Job { trace: trace.clone(), ..job(KLAVIYO, &id, Priority::SpotCheck) }
        })
        .collect();
    queue.enqueue(&jobs).await.unwrap();
    let mut bytes = 0_u64;
    for key in keys.lane(&lane(KLAVIYO)) {
        let used: Option<u64> = redis::cmd("MEMORY")
            .arg("USAGE")
            .arg(key)
            .arg("SAMPLES")
            .arg(0)
            .query_async(&mut redis)
            .await
            .unwrap();
        bytes += used.unwrap_or(0);
    }
    assert!(bytes / count <= 300, "{} bytes", bytes / count);
}

#[tokio::test]
async fn an_unknown_lane_is_an_error_that_names_it() {
    let (queue, _, _) = queue_of(&[(KLAVIYO, plenty(100))], QueueSettings::default()).await;
    let stranger = lane("patreon/other");
    let error = queue.acquire(&stranger, "member", Priority::Bulk).await.unwrap_err();
    assert!(matches!(&error, QueueError::UnknownLane(lane) if *lane == stranger));
    let error = queue.settle(&stranger, Fence(1), &[], &[]).await.unwrap_err();
    assert!(error.to_string().contains("patreon/other"), "{error}");
}

/// All of the above, for servers of other kinds.
pub(crate) const CONTRACT: &[fn()] = &[
    a_thousand_notices_of_one_record_are_one_job,
    a_thousand_records_of_one_kind_are_ten_requests,
    a_notice_during_the_work_leads_to_one_more_look,
    making_up_for_a_loss_does_not_disturb_what_is_being_worked_on,
    more_urgent_work_goes_first_and_raises_what_waits_already,
    bulk_and_spot_checks_keep_their_floors_in_a_flood_of_webhooks,
    the_last_tokens_of_a_bucket_are_left_to_webhooks_and_people,
    no_window_sees_more_than_the_limit_and_the_wait_is_exact,
    a_request_without_an_answer_holds_its_slot_past_its_deadline,
    a_permit_that_was_never_used_is_given_back_at_once,
    a_wait_for_a_permit_ends_when_an_answer_may_have_freed_one,
    a_request_draws_on_all_its_quotas_or_on_none,
    after_a_loss_the_bucket_is_empty_and_the_ledger_closed,
    a_ledger_that_cannot_be_rebuilt_stays_closed_until_its_window_has_passed,
    a_loss_that_only_a_late_settling_meets_is_reported_too,
    a_rebuilt_ledger_counts_what_was_sent_before_the_loss,
    a_refusal_freezes_the_lane_for_everybody_and_costs_no_attempt,
    what_the_platform_says_lowers_the_quota_and_never_raises_it,
    a_lease_that_ran_out_is_another_workers_and_the_late_ack_is_refused,
    a_failing_job_waits_its_time_and_keeps_its_count,
    a_confirming_look_comes_later_and_a_new_notice_comes_before_it,
    lanes_take_turns,
    a_paused_lane_rests_and_goes_on_where_it_was,
    a_clock_that_is_set_back_stands_still,
    fences_grow_across_a_lost_redis,
    an_idle_worker_is_woken_and_not_polling,
    wake_ups_chain_while_runnable_work_is_left,
    a_time_before_that_until_which_workers_sleep_wakes_one_of_them,
    a_waiting_check_takes_at_most_300_bytes,
    an_unknown_lane_is_an_error_that_names_it,
];
