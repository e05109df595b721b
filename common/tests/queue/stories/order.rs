//! Who is next: priorities, floors, kinds, lanes.

use std::time::Duration;

use common::ids::Fence;
use common::job::Priority;
use common::queue::{Outcome, QueueError, QueueSettings};
use common::quota::{RateScope, RateSignal};

use super::{EVENTBRITE, KLAVIYO, SECOND, claim, claim_one, ids, open_queue, plenty, settle};
use crate::{job, lane, queue_of};

#[tokio::test]
pub(super) async fn more_urgent_work_goes_first_and_raises_what_waits_already() {
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
pub(super) async fn bulk_and_spot_checks_keep_their_floors_in_a_flood_of_webhooks() {
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
pub(super) async fn a_kind_that_may_not_run_hides_nobody_however_many_of_it_wait() {
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
pub(super) async fn lanes_take_turns() {
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
pub(super) async fn one_claim_takes_single_jobs_of_several_kinds_as_they_came() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let came = ["order:1", "refund:1", "refund:2", "order:2", "order:3", "refund:3", "order:4"];
    for (at, id) in (now..).zip(came) {
        queue.at(at).enqueue(&[job(KLAVIYO, id, Priority::Webhook)]).await.unwrap();
    }
    for part in came.chunks(4) {
        let batches = claim(&queue, now + SECOND, 4).await.batches;
        assert_eq!(batches.iter().flat_map(ids).collect::<Vec<_>>(), part);
    }
}

#[tokio::test]
pub(super) async fn a_lane_takes_what_another_leaves_of_a_claim() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100)), (EVENTBRITE, plenty(100))]).await;
    queue.at(now).enqueue(&[job(EVENTBRITE, "order:0", Priority::Webhook)]).await.unwrap();
    for n in 0..10 {
        let hook = job(KLAVIYO, &format!("order:{n}"), Priority::Webhook);
        queue.at(now).enqueue(&[hook]).await.unwrap();
    }
    assert_eq!(claim(&queue, now, 8).await.batches.len(), 8);
    assert_eq!(claim(&queue, now, 8).await.batches.len(), 3);
}

#[tokio::test]
pub(super) async fn a_lane_that_is_named_twice_hands_out_each_job_once() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    for n in 0..3 {
        let hook = job(KLAVIYO, &format!("order:{n}"), Priority::Webhook);
        queue.at(now).enqueue(&[hook]).await.unwrap();
    }
    let shard = queue.keys().shard_of(&lane(KLAVIYO));
    let twice = [lane(KLAVIYO), lane(KLAVIYO)];
    let batches = queue.at(now).claim(shard, &twice, 9).await.unwrap().batches;
    let claimed: Vec<_> = batches.iter().flat_map(ids).collect();
    assert_eq!(claimed, ["order:0", "order:1", "order:2"]);
}

#[tokio::test]
pub(super) async fn a_paused_lane_rests_and_goes_on_where_it_was() {
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
pub(super) async fn an_unknown_lane_is_an_error_that_names_it() {
    let (queue, _, _) = queue_of(&[(KLAVIYO, plenty(100))], QueueSettings::default()).await;
    let stranger = lane("patreon/other");
    let error = queue.acquire(&stranger, "member", Priority::Bulk).await.unwrap_err();
    assert!(matches!(&error, QueueError::UnknownLane(lane) if *lane == stranger));
    let error = queue.settle(&stranger, Fence(1), &[], &[]).await.unwrap_err();
    assert!(error.to_string().contains("patreon/other"), "{error}");
}
