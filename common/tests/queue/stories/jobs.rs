//! A job is its record, from its enqueueing to its end.

use std::time::Duration;

use common::job::{JobId, Priority};
use common::queue::{
    Batch, Enqueued, Explained, Held, Outcome, QueueSettings, Settlement, Standing,
};
use common::quota::{RateScope, RateSignal};

use super::{KLAVIYO, SECOND, ack, claim, claim_one, ids, open_queue, plenty, settle};
use crate::{job, lane};

#[tokio::test]
pub(super) async fn a_thousand_notices_of_one_record_are_one_job() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let jobs = vec![job(KLAVIYO, "profile:a", Priority::Webhook); 1_000];
    let enqueued = queue.at(now).enqueue(&jobs).await.unwrap();
    assert_eq!(enqueued, Enqueued { added: 1, coalesced: 999, ..Enqueued::default() });

    let batch = claim_one(&queue, now).await;
    assert_eq!(ids(&batch), ["profile:a"]);
    assert!(claim(&queue, now, 9).await.batches.is_empty());
}

#[tokio::test]
pub(super) async fn a_thousand_records_of_one_kind_are_ten_requests() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let jobs: Vec<_> =
        (0..1_000).map(|n| job(KLAVIYO, &format!("profile:{n}"), Priority::Webhook)).collect();
    queue.at(now).enqueue(&jobs).await.unwrap();
    let claimed = claim(&queue, now, 99).await;
    assert_eq!(claimed.batches.len(), 10);
    assert!(claimed.batches.iter().all(|batch| batch.jobs.len() == 100));
}

#[tokio::test]
pub(super) async fn what_stands_twice_in_one_call_counts_once() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let asked = [Priority::SpotCheck, Priority::Bulk, Priority::Webhook, Priority::Manual]
        .map(|priority| job(KLAVIYO, "order:1", priority));
    let enqueued = queue.at(now).enqueue(&asked).await.unwrap();
    assert_eq!(enqueued, Enqueued { added: 1, raised: 2, coalesced: 1, ..Enqueued::default() });
    let batch = claim_one(&queue, now).await;
    assert_eq!((batch.priority, batch.jobs[0].attempt), (Priority::Webhook, 1));
    assert!(claim(&queue, now, 9).await.batches.is_empty(), "it stands in one line");

    let id = JobId::from("order:1");
    let after = Duration::from_secs(9);
    let outcomes = [(id.clone(), Outcome::Nack { after }), (id.clone(), Outcome::Ack)];
    let lost = queue.at(now).settle(&lane(KLAVIYO), batch.fence, &outcomes, &[]).await.unwrap();
    assert_eq!(lost, [id], "what comes after its end says nothing");
    assert_eq!(ids(&claim_one(&queue, now + 9 * SECOND).await), ["order:1"]);
}

#[tokio::test]
pub(super) async fn a_batch_is_of_one_group_and_never_too_large() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let of_group =
        |group: &str, n: u32| job(KLAVIYO, &format!("profile:{group}/{n}"), Priority::Webhook);
    let mut jobs = vec![of_group("a", 0)];
    jobs.extend((0..89).map(|n| of_group("b", n)));
    jobs.extend((1..150).map(|n| of_group("a", n)));
    for (after, job) in (0..).zip(&jobs) {
        queue.at(now + after).enqueue(std::slice::from_ref(job)).await.unwrap();
    }
    let mut batches = Vec::new();
    for _ in 0..3 {
        let batch = claim_one(&queue, now + SECOND).await;
        let group = ids(&batch)[0].rsplit_once('/').unwrap().0.to_owned();
        assert!(ids(&batch).iter().all(|id| id.starts_with(&group)));
        batches.push((group, batch.jobs.len()));
    }
    let expected = [("profile:a", 100), ("profile:b", 89), ("profile:a", 50)];
    assert_eq!(batches, expected.map(|(group, jobs)| (group.to_owned(), jobs)));

    // Those of no group go together too, and with nobody else.
    let ids_of_no_group = ["profile:x", "profile:c/1", "profile:y"];
    for (after, id) in (0..).zip(ids_of_no_group) {
        let job = job(KLAVIYO, id, Priority::Webhook);
        queue.at(now + SECOND + after).enqueue(&[job]).await.unwrap();
    }
    assert_eq!(ids(&claim_one(&queue, now + 2 * SECOND).await), ["profile:x", "profile:y"]);
    assert_eq!(ids(&claim_one(&queue, now + 2 * SECOND).await), ["profile:c/1"]);
}

#[tokio::test]
pub(super) async fn a_notice_during_the_work_leads_to_one_more_look() {
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
pub(super) async fn making_up_for_a_loss_does_not_disturb_what_is_being_worked_on() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let hook = [job(KLAVIYO, "profile:a", Priority::Webhook)];
    assert_eq!(queue.at(now).ensure(&hook).await.unwrap().added, 1);
    let batch = claim_one(&queue, now).await;
    assert_eq!(queue.at(now).ensure(&hook).await.unwrap().coalesced, 1);
    ack(&queue, now, &batch).await;
    assert!(claim(&queue, now, 1).await.batches.is_empty());
}

#[tokio::test]
pub(super) async fn a_lease_that_ran_out_is_another_workers_and_the_late_ack_is_refused() {
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
pub(super) async fn what_is_left_of_a_batch_keeps_its_lease_until_that_ends() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let jobs = ["a", "b", "c"].map(|id| job(KLAVIYO, &format!("profile:{id}"), Priority::Bulk));
    queue.at(now).enqueue(&jobs).await.unwrap();
    let dead = claim_one(&queue, now).await;
    let leased = async |at: u64| queue.at(at).depths(&lane(KLAVIYO)).await.unwrap().leased;
    assert_eq!(leased(now).await, 3);

    let first = [(dead.jobs[0].id.clone(), Outcome::Ack)];
    let at = queue.at(now);
    assert!(at.settle(&dead.lane, dead.fence, &first, &[]).await.unwrap().is_empty());
    assert_eq!(leased(now).await, 2);
    let (kept, left) = (now + 30 * SECOND, [dead.jobs[1].id.clone(), dead.jobs[2].id.clone()]);
    assert!(queue.at(kept).extend(&dead.lane, dead.fence, &left).await.unwrap().is_empty());
    assert!(claim(&queue, now + 60 * SECOND, 1).await.batches.is_empty(), "it was extended");

    let after = kept + 60 * SECOND;
    let next = claim_one(&queue, after).await;
    assert_eq!(ids(&next), ["profile:b", "profile:c"]);
    assert!(next.jobs.iter().all(|job| job.attempt == 2));
    assert_eq!(leased(after).await, 2);
    assert!(ack(&queue, after, &next).await.is_empty());
    assert_eq!(leased(after).await, 0);
    assert_eq!(claim(&queue, after, 1).await.next, None, "no lease is left to end");
}

#[tokio::test]
pub(super) async fn leases_that_are_settled_together_all_end() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let jobs = ["a", "b", "c"].map(|id| job(KLAVIYO, &format!("order:{id}"), Priority::Bulk));
    queue.at(now).enqueue(&jobs).await.unwrap();
    let dead = claim_one(&queue, now).await;
    let late = now + 60 * SECOND;
    let mut batches = claim(&queue, late, 3).await.batches;
    assert_eq!(batches.len(), 3);
    batches.insert(0, dead);

    let done = |batch: &Batch| [(batch.jobs[0].id.clone(), Outcome::Ack)];
    let done: Vec<_> = batches.iter().map(done).collect();
    let settlements: Vec<_> = batches
        .iter()
        .zip(&done)
        .map(|(batch, outcomes)| Settlement { fence: batch.fence, outcomes, permits: &[] })
        .collect();
    let lost = queue.at(late).settle_all(&lane(KLAVIYO), &settlements).await.unwrap();
    assert_eq!(lost, [vec!["order:a".into()], vec![], vec![], vec![]], "one came too late");
    assert_eq!(queue.at(late).depths(&lane(KLAVIYO)).await.unwrap().leased, 0);
    assert_eq!(claim(&queue, late, 1).await.next, None, "no lease is left to end");
}

#[tokio::test]
pub(super) async fn a_failing_job_waits_its_time_and_keeps_its_count() {
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
pub(super) async fn a_confirming_look_comes_later_and_a_new_notice_comes_before_it() {
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
pub(super) async fn a_person_is_told_what_a_job_waits_for_and_until_when() {
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
