//! What things cost.

use std::time::Duration;

use common::job::{JobId, Priority};
use common::queue::{Held, Ledger, Outcome, PermitReport, QueueSettings, Waiter};
use common::quota::{KindLimits, LaneLimits, RateSignal};

use super::monitor::Monitor;
use super::{KLAVIYO, SECOND, ack, claim, ids, open_queue, plenty, settle};
use crate::{START, job, lane, queue_of};

#[tokio::test]
pub(super) async fn a_waiting_check_takes_at_most_300_bytes() {
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
async fn a_job_in_batches_takes_a_tenth_of_a_command_and_an_idle_round_two() {
    let (queue, redis, keys) =
        queue_of(&[(KLAVIYO, plenty(1_000))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 3600 * SECOND;
    let mut commands = Monitor::of(&redis, &keys).await;
    commands.count().await;
    let count = 1_000;
    let jobs: Vec<_> =
        (0..count).map(|n| job(KLAVIYO, &format!("profile:{n}"), Priority::Bulk)).collect();
    queue.at(now).enqueue(&jobs).await.unwrap();
    for batch in claim(&queue, now, 16).await.batches {
        ack(&queue, now, &batch).await;
    }
    let (outside, _) = commands.count().await;
    assert!(queue.depths(&lane(KLAVIYO)).await.unwrap().leased == 0, "all are done");
    assert!(outside * 10 <= count, "{outside} commands for {count} jobs");

    // What an idle worker does again and again: it claims, and waits for up to five seconds. So it
    // sends two commands in five seconds.
    let shard = keys.shard_of(&lane(KLAVIYO));
    let mut waiter = Waiter::new(queue.links(), &keys, shard).unwrap();
    while waiter.wait(Some(Duration::from_millis(1))).await.unwrap().is_some() {}
    commands.count().await;
    let next = claim(&queue, now, 16).await.next;
    assert_eq!(next, None, "nothing waits");
    waiter.wait(Some(Duration::from_millis(1))).await.unwrap();
    assert_eq!(commands.count().await.0, 2);
}

#[tokio::test]
async fn a_batch_that_was_left_alone_is_acknowledged_without_a_look_at_its_jobs() {
    let (queue, redis, keys) =
        queue_of(&[(KLAVIYO, plenty(1_000))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 3600 * SECOND;
    let mut commands = Monitor::of(&redis, &keys).await;
    let jobs: Vec<_> =
        (0..100).map(|n| job(KLAVIYO, &format!("profile:{n}"), Priority::Bulk)).collect();
    let one = [job(KLAVIYO, "order:1", Priority::Bulk)];
    let mut costs = Vec::new();
    for (jobs, asked_meanwhile) in [(&one[..], 0), (&jobs, 0), (&jobs, 1), (&jobs, 0)] {
        queue.at(now).enqueue(jobs).await.unwrap();
        let batch = claim(&queue, now, 16).await.batches.remove(0);
        queue.at(now).enqueue(&jobs[..asked_meanwhile]).await.unwrap();
        commands.count().await;
        ack(&queue, now, &batch).await;
        costs.push(commands.count().await.1);
        for batch in claim(&queue, now, 16).await.batches {
            ack(&queue, now, &batch).await;
        }
    }
    assert_eq!(costs[1..2], costs[..1], "a hundred cost as many commands as one");
    assert!(costs[2] > costs[1] && costs[3] == costs[1], "{costs:?}");
}

#[tokio::test]
async fn a_claim_wakes_a_hundred_delayed_jobs_and_the_next_one_more() {
    let (queue, now) = open_queue(&[(KLAVIYO, plenty(1_000))]).await;
    let jobs: Vec<_> =
        (0..250).map(|n| job(KLAVIYO, &format!("profile:{n}"), Priority::Bulk)).collect();
    queue.at(now).enqueue(&jobs).await.unwrap();
    let later = Outcome::Again { after: Duration::from_secs(10), round: 1 };
    for batch in claim(&queue, now, 16).await.batches {
        settle(&queue, now, &batch, later, RateSignal::default()).await;
    }
    let now = now + 10 * SECOND;
    for (woken, left) in [(100, 150), (100, 50), (50, 0)] {
        let batch = claim(&queue, now, 1).await.batches.remove(0);
        assert_eq!(batch.jobs.len(), woken);
        assert_eq!(queue.at(now).depths(&lane(KLAVIYO)).await.unwrap().delayed, left);
        ack(&queue, now, &batch).await;
    }
}

#[tokio::test]
async fn a_claim_puts_a_hundred_jobs_back_whose_leases_ran_out_and_the_next_one_more() {
    // Each under a lease of its own, and in batches of a hundred.
    for (kind, most) in [("order", 1), ("profile", 100)] {
        let (queue, now) = open_queue(&[(KLAVIYO, plenty(1_000))]).await;
        let jobs: Vec<_> =
            (0..250).map(|n| job(KLAVIYO, &format!("{kind}:{n}"), Priority::Bulk)).collect();
        queue.at(now).enqueue(&jobs).await.unwrap();
        let depths = async |at| queue.at(at).depths(&lane(KLAVIYO)).await.unwrap();
        while depths(now).await.ready[2] > 0 {
            assert!(!claim(&queue, now, 64).await.batches.is_empty());
        }
        let (now, mut leased) = (now + 61 * SECOND, 250_u64);
        for reaped in [100, 100, 50] {
            let claimed = claim(&queue, now, 1).await;
            let again = claimed.batches[0].jobs.len();
            assert_eq!(
                (claimed.reaped, again),
                (reaped, most.min(usize::try_from(reaped).unwrap()))
            );
            leased = leased - reaped + u64::try_from(again).unwrap();
            assert_eq!(depths(now).await.leased, leased);
        }
    }
}

/// The commands inside a claim of one batch when these wait.
async fn cost_of_a_claim(limits: LaneLimits, jobs: &[common::job::Job]) -> (Vec<String>, usize) {
    let (queue, redis, keys) = queue_of(&[(KLAVIYO, limits)], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 3600 * SECOND;
    for (at, job) in (now..).zip(jobs) {
        queue.at(at).enqueue(std::slice::from_ref(job)).await.unwrap();
    }
    let mut monitor = Monitor::of(&redis, &keys).await;
    monitor.count().await;
    let batch = claim(&queue, now + SECOND, 1).await.batches.remove(0);
    (ids(&batch).into_iter().map(str::to_owned).collect(), monitor.count().await.1)
}

#[tokio::test]
async fn a_claim_looks_at_64_kinds_and_at_the_others_when_these_are_done() {
    let kinds =
        |count| (0..count).map(|n| job(KLAVIYO, &format!("kind-{n:03}:1"), Priority::Webhook));
    let (_, few) = cost_of_a_claim(plenty(1_000), &kinds(65).collect::<Vec<_>>()).await;
    let (_, many) = cost_of_a_claim(plenty(1_000), &kinds(300).collect::<Vec<_>>()).await;
    assert_eq!(few, many);

    let (queue, now) = open_queue(&[(KLAVIYO, plenty(1_000))]).await;
    queue.at(now).enqueue(&kinds(100).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(claim(&queue, now, 64).await.batches.len(), 64);
    assert_eq!(claim(&queue, now, 64).await.batches.len(), 36);
}

#[tokio::test]
async fn a_batch_is_filled_from_the_first_of_its_kind_and_not_from_thousands() {
    let limits = LaneLimits {
        kinds: [("attendee".to_owned(), KindLimits { batch: 50, cost: 1, quotas: vec![0] })].into(),
        ..plenty(1_000)
    };
    let mut costs = Vec::new();
    for others in [600, 1_200] {
        let others = (0..others).map(|n| format!("attendee:2/{n}"));
        let all = ["attendee:1/a".to_owned()].into_iter().chain(others);
        let all: Vec<_> = all.chain(["attendee:1/b".to_owned()]).collect();
        let jobs: Vec<_> = all.iter().map(|id| job(KLAVIYO, id, Priority::Bulk)).collect();
        let (batch, cost) = cost_of_a_claim(limits.clone(), &jobs).await;
        assert_eq!(batch, ["attendee:1/a"], "the other one of its group stands too far behind");
        costs.push(cost);
    }
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test]
async fn a_person_is_told_of_a_place_far_behind_at_a_bounded_cost() {
    let (queue, redis, keys) =
        queue_of(&[(KLAVIYO, plenty(1_000))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 3600 * SECOND;
    let jobs: Vec<_> =
        (0..4_000).map(|n| job(KLAVIYO, &format!("profile:{n:04}"), Priority::Bulk)).collect();
    queue.at(now).enqueue(&jobs).await.unwrap();
    let mut monitor = Monitor::of(&redis, &keys).await;
    let mut costs = Vec::new();
    for place in [1_500, 3_900] {
        monitor.count().await;
        let id = JobId::from(format!("profile:{place}").as_str());
        let explained = queue.at(now).explain(&lane(KLAVIYO), &id).await.unwrap();
        costs.push(monitor.count().await.1);
        assert_eq!(explained.job.unwrap().held, Held::Ready { ahead: place, more_urgent: 0 });
        assert!(!explained.exact);
    }
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test]
async fn more_permits_than_a_call_takes_are_settled_with_several() {
    let (queue, redis, keys) =
        queue_of(&[(KLAVIYO, plenty(1_000))], QueueSettings::default()).await;
    queue.at(START).open(&lane(KLAVIYO), &[Ledger::Empty]).await.unwrap();
    let now = START + 3600 * SECOND;
    let queue = queue.at(now);
    queue.enqueue(&[job(KLAVIYO, "order:1", Priority::Bulk)]).await.unwrap();
    let batch = claim(&queue, now, 1).await.batches.remove(0);
    let mut permits = vec![PermitReport::unused(batch.permit)];
    for _ in 0..449 {
        let permit = queue.acquire(&lane(KLAVIYO), "order", Priority::Webhook).await.unwrap();
        permits.push(PermitReport::unused(permit.unwrap()));
    }
    let ledger = keys.ledger(&lane(KLAVIYO), "steady");
    let slots = async || {
        redis::cmd("ZCARD").arg(&ledger).query_async::<usize>(&mut redis.clone()).await.unwrap()
    };
    assert_eq!(slots().await, 450);
    // So that the script is there, and nothing is asked twice.
    queue.observe(&lane(KLAVIYO), &[]).await.unwrap();
    let mut monitor = Monitor::of(&redis, &keys).await;
    monitor.count().await;
    let outcomes = [(batch.jobs[0].id.clone(), Outcome::Ack)];
    assert!(queue.settle(&batch.lane, batch.fence, &outcomes, &permits).await.unwrap().is_empty());
    assert_eq!(monitor.count().await.0, 3);
    assert_eq!(slots().await, 0, "all are given back");
}
