//! What may be sent, and what the platform says about it.

use std::collections::BTreeMap;
use std::time::Duration;

use common::job::Priority;
use common::queue::{Batch, Ledger, Outcome, PermitReport, QueueSettings, Settlement};
use common::quota::{KindLimits, LaneLimits, Quota, RateScope, RateSignal};
use redis::AsyncCommands;

use super::{EVENTBRITE, KLAVIYO, SECOND, ack, claim, claim_one, ids, open_queue, plenty, settle};
use crate::{START, job, lane, queue_of};

#[tokio::test]
pub(super) async fn the_last_tokens_of_a_bucket_are_left_to_webhooks_and_people() {
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
pub(super) async fn no_window_sees_more_than_the_limit_and_the_wait_is_exact() {
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
pub(super) async fn a_request_without_an_answer_holds_its_slot_past_its_deadline() {
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
pub(super) async fn a_permit_that_was_never_used_is_given_back_at_once() {
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
pub(super) async fn a_wait_for_a_permit_ends_when_an_answer_may_have_freed_one() {
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
pub(super) async fn a_request_draws_on_all_its_quotas_or_on_none() {
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
pub(super) async fn a_refusal_freezes_the_lane_for_everybody_and_costs_no_attempt() {
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
pub(super) async fn what_the_platform_says_lowers_the_quota_and_never_raises_it() {
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
pub(super) async fn what_several_answers_say_at_once_counts_once() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(10))]).await;
    for n in 0..20 {
        let hook = job(KLAVIYO, &format!("order:{n}"), Priority::Webhook);
        queue.at(now).enqueue(&[hook]).await.unwrap();
    }
    let batches = claim(&queue, now, 3).await.batches;
    let half_a_minute = Duration::from_secs(30);
    let says = |n| RateSignal { remaining: Some((n, half_a_minute)), ..RateSignal::default() };
    let report = |(nth, batch): (u32, &Batch)| {
        // The last of them was never sent.
        let (sent, signal) = if nth < 2 { (true, says(5)) } else { (false, RateSignal::default()) };
        [PermitReport { id: batch.permit.id, kind: batch.permit.kind.clone(), sent, signal }]
    };
    let reports: Vec<_> = (0..).zip(&batches).map(report).collect();
    let outcomes: Vec<_> =
        batches.iter().map(|batch| [(batch.jobs[0].id.clone(), Outcome::Ack)]).collect();
    let settlements: Vec<_> = batches
        .iter()
        .zip(&outcomes)
        .zip(&reports)
        .map(|((batch, outcomes), permits)| Settlement { fence: batch.fence, outcomes, permits })
        .collect();
    queue.at(now).settle_all(&lane(KLAVIYO), &settlements).await.unwrap();
    // Of ten, two were sent. By then three were granted, and the platform counted five: two more are
    // held. The third is back.
    assert_eq!(claim(&queue, now, 20).await.batches.len(), 6);
}

#[tokio::test]
pub(super) async fn the_answers_to_several_permits_free_the_slots_of_all_a_window_later() {
    // Counted one by one, and in steps.
    for limit in [10, 3_000] {
        let mut limits = plenty(limit);
        let most = KindLimits { batch: 1, cost: limit - 6, quotas: vec![0] };
        limits.kinds.insert("report".to_owned(), most);
        let (queue, now) = open_queue(&[(KLAVIYO, limits)]).await;
        let report = queue.at(now).acquire(&lane(KLAVIYO), "report", Priority::Bulk).await;
        let _never_answered = report.unwrap().unwrap();
        for n in 0..6 {
            for id in [format!("order:{n}"), format!("refund:{n}")] {
                queue.at(now + n).enqueue(&[job(KLAVIYO, &id, Priority::Bulk)]).await.unwrap();
            }
        }
        let batches = claim(&queue, now + 6, 12).await.batches;
        assert_eq!(batches.len(), 6, "all that is left of {limit}");

        let answered: Vec<_> = batches
            .iter()
            .map(|batch| PermitReport {
                id: batch.permit.id,
                kind: batch.permit.kind.clone(),
                sent: true,
                signal: RateSignal::default(),
            })
            .collect();
        let outcomes: Vec<_> =
            batches.iter().map(|batch| [(batch.jobs[0].id.clone(), Outcome::Ack)]).collect();
        let settlements: Vec<_> = batches
            .iter()
            .zip(&outcomes)
            .zip(answered.chunks(1))
            .map(|((batch, outcomes), permits)| Settlement {
                fence: batch.fence,
                outcomes,
                permits,
            })
            .collect();
        queue.at(now + SECOND).settle_all(&lane(KLAVIYO), &settlements).await.unwrap();

        let free = now + 61 * SECOND;
        assert!(claim(&queue, free - 1, 12).await.batches.is_empty(), "of {limit}");
        // A step is a 1,440th of the window.
        let free = free + SECOND / 20;
        assert_eq!(claim(&queue, free, 12).await.batches.len(), 6, "of {limit}");
    }
}

#[tokio::test]
pub(super) async fn what_an_answer_says_of_a_kind_closes_that_kind_alone() {
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
pub(super) async fn more_frozen_kinds_than_a_lane_remembers_freeze_the_lane() {
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
