//! What a lease holds, and what it leaves behind.

use std::collections::BTreeMap;
use std::time::Duration;

use common::job::{JobId, Priority};
use common::queue::{Batch, Enqueued, Held, Ledger, Outcome, QueueSettings};
use common::quota::KindLimits;
use redis::AsyncCommands;

use super::{KLAVIYO, SECOND, ack, claim, claim_one, ids, open_queue, plenty};
use crate::{START, job, lane, queue_of};

fn done(batch: &Batch, which: &[usize]) -> Vec<(JobId, Outcome)> {
    which.iter().map(|&nth| (batch.jobs[nth].id.clone(), Outcome::Ack)).collect()
}

#[tokio::test]
pub(super) async fn who_left_a_lease_is_not_settled_by_it_again() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(100))]).await;
    let at = queue.at(now);
    let jobs = ["a", "b", "c"].map(|id| job(KLAVIYO, &format!("profile:{id}"), Priority::Bulk));
    at.enqueue(&jobs).await.unwrap();
    let batch = claim_one(&queue, now).await;
    let settled = async |which: &[usize]| {
        at.settle(&batch.lane, batch.fence, &done(&batch, which), &[]).await.unwrap()
    };
    assert!(settled(&[0]).await.is_empty());
    at.enqueue(&jobs[..1]).await.unwrap();
    let other = claim_one(&queue, now).await;

    // As many as are left under the lease, and not the same.
    assert_eq!(settled(&[0, 1]).await, [JobId::from("profile:a")]);
    assert_eq!(settled(&[0]).await, [JobId::from("profile:a")], "and where one is left");
    assert_eq!(
        at.enqueue(&jobs).await.unwrap(),
        Enqueued { added: 1, dirty: 2, ..Enqueued::default() }
    );
    assert!(ack(&queue, now, &other).await.is_empty());
    assert!(settled(&[2]).await.is_empty());
    let next = claim_one(&queue, now).await;
    assert_eq!(ids(&next), ["profile:a", "profile:b", "profile:c"]);
}

/// Nothing in Redis says that a lease is over but that it is not there.
#[tokio::test]
pub(super) async fn what_is_over_leaves_nothing_behind() {
    let limits = [(KLAVIYO, plenty(100))];
    let (queue, mut redis, keys) = queue_of(&limits, QueueSettings::default()).await;
    assert!(queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap());
    let now = START + 3600 * SECOND;
    let at = queue.at(now);
    let names = ["profile:a", "profile:b", "profile:c", "order:d", "order:e"];
    let jobs = names.map(|id| job(KLAVIYO, id, Priority::Bulk));
    at.enqueue(&jobs).await.unwrap();
    let held = claim(&queue, now, 9).await.batches;
    assert_eq!(held.len(), 3);
    // All are asked for while they are worked on. One lease ends in parts, one with a failure, and one
    // runs out.
    assert_eq!(at.enqueue(&jobs).await.unwrap(), Enqueued { dirty: 5, ..Enqueued::default() });
    let profiles = held.iter().find(|batch| batch.jobs.len() == 3).unwrap();
    for nth in 0..3 {
        let ended = done(profiles, &[nth]);
        assert!(at.settle(&profiles.lane, profiles.fence, &ended, &[]).await.unwrap().is_empty());
    }
    let order = held.iter().find(|batch| batch.jobs.len() == 1).unwrap();
    let failed = [(order.jobs[0].id.clone(), Outcome::Nack { after: Duration::ZERO })];
    assert!(at.settle(&order.lane, order.fence, &failed, &[]).await.unwrap().is_empty());
    let late = now + 60 * SECOND;
    let again = claim(&queue, late, 9).await;
    assert_eq!((again.reaped, again.batches.len()), (1, 3));
    for batch in &again.batches {
        assert!(ack(&queue, late, batch).await.is_empty());
    }

    for key in keys.lane(&lane(KLAVIYO)) {
        let there: bool = redis.exists(&key).await.unwrap();
        assert_eq!(there, key.contains(":state:"), "{key}");
    }
}

#[tokio::test]
pub(super) async fn single_jobs_that_are_taken_in_one_go_are_paid_for_one_by_one() {
    // A ledger that counts one by one, and one that counts in steps.
    for (limit, cost) in [(10, 3), (3_000, 900)] {
        let mut limits = plenty(limit);
        let report = KindLimits { batch: 1, cost, quotas: vec![0] };
        limits.kinds = BTreeMap::from([("report".to_owned(), report)]);
        let (queue, now) = open_queue(&[(KLAVIYO, limits)]).await;
        let jobs: Vec<_> =
            (0..6).map(|n| job(KLAVIYO, &format!("report:{n}"), Priority::Bulk)).collect();
        queue.at(now).enqueue(&jobs).await.unwrap();
        let claimed = claim(&queue, now, 9).await;
        let taken: Vec<_> = claimed.batches.iter().flat_map(ids).collect();
        assert_eq!(taken, ["report:0", "report:1", "report:2"]);
        // Half a window later the bucket has enough for a fourth, and the ledger does not.
        let half = claim(&queue, now + 30 * SECOND, 9).await;
        assert!(half.batches.is_empty());
        assert!(half.next.is_some_and(|next| !next.is_zero()));
    }
}

#[tokio::test]
pub(super) async fn a_person_is_told_the_lease_of_a_job_among_many() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(200))]).await;
    let jobs: Vec<_> =
        (0..150).map(|n| job(KLAVIYO, &format!("order:{n:03}"), Priority::Bulk)).collect();
    queue.at(now).enqueue(&jobs).await.unwrap();
    let mut fences = BTreeMap::new();
    for _ in 0..3 {
        for batch in claim(&queue, now, 64).await.batches {
            fences.insert(batch.jobs[0].id.clone(), batch.fence);
        }
    }
    for id in ["order:000", "order:149"] {
        let id = JobId::from(id);
        let told = queue.at(now).explain(&lane(KLAVIYO), &id).await.unwrap().job.unwrap();
        let ends = Duration::from_mins(1);
        assert_eq!(told.held, Held::Leased { ends, fence: fences[&id], dirty: false });
    }
}

/// Somebody deleted it by hand.
#[tokio::test]
pub(super) async fn a_place_whose_job_is_gone_is_passed_over() {
    let limits = [(KLAVIYO, plenty(100))];
    let (queue, mut redis, keys) = queue_of(&limits, QueueSettings::default()).await;
    assert!(queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap());
    let now = START + 3600 * SECOND;
    let jobs = ["a", "b", "c"].map(|id| job(KLAVIYO, &format!("profile:{id}"), Priority::Bulk));
    queue.at(now).enqueue(&jobs).await.unwrap();
    let hash = keys.lane(&lane(KLAVIYO)).into_iter().find(|key| key.contains(":jobs:")).unwrap();
    let () = redis.hdel(hash, "profile:b").await.unwrap();
    let batch = claim_one(&queue, now).await;
    assert_eq!(ids(&batch), ["profile:a", "profile:c"]);
    assert!(ack(&queue, now, &batch).await.is_empty());
    assert_eq!(claim(&queue, now, 1).await.next, None, "nothing waits, and nothing is leased");
}
