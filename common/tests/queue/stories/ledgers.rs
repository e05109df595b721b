//! What is known of requests that were sent before: losses, rebuilding, large limits.

use std::time::Duration;

use common::ids::Fence;
use common::job::{JobId, Priority};
use common::queue::{Keys, LaneBook, Ledger, Outcome, PermitReport, QueueSettings, RedisQueue};
use common::quota::{LaneLimits, RateSignal};
use redis::AsyncCommands;

use super::{EVENTBRITE, KLAVIYO, SECOND, ack, claim, claim_one, open_queue, plenty};
use crate::place::Place;
use crate::{START, job, lane, queue_of};

const DAY: u64 = 86_400 * SECOND;

#[tokio::test]
pub(super) async fn after_a_loss_the_bucket_is_empty_and_the_ledger_closed() {
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
pub(super) async fn a_ledger_that_cannot_be_rebuilt_stays_closed_until_its_window_has_passed() {
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
pub(super) async fn a_loss_that_only_a_late_settling_meets_is_reported_too() {
    let (queue, _, _) = queue_of(&[(KLAVIYO, plenty(60))], QueueSettings::default()).await;
    let ids = [(JobId::from("order:1"), Outcome::Ack)];
    queue.at(START).settle(&lane(KLAVIYO), Fence(1), &ids, &[]).await.unwrap();
    assert_eq!(claim(&queue, START, 1).await.closed, [lane(KLAVIYO)], "though it has no job");
}

#[tokio::test]
pub(super) async fn a_rebuilt_ledger_counts_what_was_sent_before_the_loss() {
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
pub(super) async fn a_day_of_requests_is_counted_by_the_minute_and_never_too_low() {
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
    let state = keys.lane(&lane(EVENTBRITE)).swap_remove(0);
    let held = async |redis: &mut redis::aio::MultiplexedConnection| -> (u64, Vec<String>) {
        let counted: u64 = redis.hget(&state, "n:steady").await.unwrap();
        let steps: Vec<String> = redis.zrange(&ledger, 0, -1).await.unwrap();
        let slots = |step: &String| step.rsplit_once('*').unwrap().1.parse::<u64>().unwrap();
        assert_eq!(steps.iter().map(slots).sum::<u64>(), counted);
        (counted, steps)
    };
    let (counted, steps) = held(&mut redis).await;
    assert_eq!(counted, 48_000);
    // Steps round up. In the last one are the 33 that were sent in the last minute, and ours.
    assert_eq!(*steps.last().unwrap(), format!("#{}*34", START + MINUTE));

    // What was never sent frees its slot; told twice, one.
    let later = now + 2 * DAY;
    let unused = [PermitReport::unused(acquire(later).await.unwrap().unwrap())];
    let _permit = acquire(later).await.unwrap().unwrap();
    for _ in 0..2 {
        queue.at(later).observe(&lane(EVENTBRITE), &unused).await.unwrap();
    }
    let (_, steps) = held(&mut redis).await;
    assert_eq!(steps.len(), 1, "what is free goes");
}

/// So many a day.
fn day(limit: u32) -> LaneLimits {
    let mut limits = plenty(limit);
    limits.quotas[0].window = Duration::from_hours(24);
    limits
}

/// The same lane as a process with other quotas knows it.
fn with_limits(keys: &Keys, limits: LaneLimits) -> RedisQueue {
    let book = LaneBook::new(keys, [(lane(KLAVIYO), limits)]).unwrap();
    let links = Place::current().links(keys);
    RedisQueue::new(links, keys.clone(), book, QueueSettings::default())
}

#[tokio::test]
pub(super) async fn a_day_that_is_made_smaller_is_worked_on_as_soon_as_it_has_room() {
    let (queue, _redis, keys) = queue_of(&[(KLAVIYO, day(48_000))], QueueSettings::default()).await;
    // Half a day of requests, one every 1.8 s; then the day is made a quarter of what it was.
    let ages: Vec<_> = (1..24_000).map(|n| Duration::from_millis(n * 1_800)).collect();
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Sent(ages)]).await.unwrap();
    let smaller = with_limits(&keys, day(12_000));
    let acquire = async |at| {
        smaller.at(at).acquire(&lane(KLAVIYO), "order", Priority::Webhook).await.unwrap()
    };

    let wait = u64::try_from(acquire(START).await.unwrap_err().as_micros()).unwrap();
    // The older half of it is a day old in 18 hours.
    assert!(wait.abs_diff(18 * 3600 * SECOND) < 3 * 60 * SECOND, "{wait}");
    assert!(acquire(START + wait - 1).await.is_err());
    let _permit = acquire(START + wait).await.unwrap();
}

#[tokio::test]
pub(super) async fn thousands_of_requests_that_were_never_answered_free_their_slots_too() {
    let (queue, mut redis, keys) =
        queue_of(&[(KLAVIYO, day(6_000))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let (now, count) = (START + DAY, 5_900);
    let jobs: Vec<_> =
        (0..count).map(|n| job(KLAVIYO, &format!("order:{n}"), Priority::Bulk)).collect();
    queue.at(now).enqueue(&jobs).await.unwrap();
    let mut lost = 0;
    while lost < count {
        lost += claim(&queue, now, 64).await.batches.len();
    }
    // Two days later a smaller quota finds them all, more than it has slots, and each of their time over;
    // but not that of one that was answered in between.
    let between = now + 3 * DAY / 2;
    let answered =
        queue.at(between).acquire(&lane(KLAVIYO), "order", Priority::Bulk).await.unwrap();
    let report = [PermitReport::answered(answered.unwrap(), RateSignal::default())];
    queue.at(between).observe(&lane(KLAVIYO), &report).await.unwrap();
    let (smaller, later) = (with_limits(&keys, day(2_001)), now + 2 * DAY);
    let mut granted = 0;
    for _ in 0..count.div_ceil(64) {
        granted += claim(&smaller, later, 64).await.batches.len();
    }
    assert_eq!(granted, 2_000);
    let state = keys.lane(&lane(KLAVIYO)).swap_remove(0);
    assert_eq!(redis.hget::<_, _, usize>(&state, "n:steady").await.unwrap(), granted + 1);
}

#[tokio::test]
pub(super) async fn a_ledger_that_is_to_be_counted_in_another_way_is_closed_like_a_new_one() {
    let (few, many) = (plenty(100), plenty(5_000));
    let (queue, _redis, keys) = queue_of(&[(KLAVIYO, few.clone())], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let mut now = START + 60 * SECOND;
    for limits in [many, few] {
        let changed = with_limits(&keys, limits);
        let acquire =
            async |at| changed.at(at).acquire(&lane(KLAVIYO), "order", Priority::Webhook).await;
        let wait = acquire(now).await.unwrap().unwrap_err();
        assert_eq!(wait, Duration::from_secs(92), "use-by, request and window");
        let _permit = acquire(now + 92 * SECOND).await.unwrap().unwrap();
        now += 200 * SECOND;
    }
}

#[tokio::test]
pub(super) async fn fences_grow_across_a_lost_redis() {
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
pub(super) async fn a_clock_that_is_set_back_stands_still() {
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
