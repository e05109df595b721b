//! What the queue promises, one story each.

mod bounds;
mod jobs;
mod keys;
mod leases;
mod ledgers;
mod many_lanes;
mod monitor;
mod order;
mod quotas;
mod waking;

use std::collections::BTreeMap;
use std::time::Duration;

use common::job::JobId;
use common::queue::{Batch, Claimed, Ledger, Outcome, PermitReport, QueueSettings, RedisQueue};
use common::quota::{KindLimits, LaneLimits, Quota, RateSignal};

use crate::{START, claim_from_all, lane, queue_of};

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

/// What holds whatever Redis is: for servers of other kinds.
pub(crate) const CONTRACT: &[fn()] = &[
    bounds::a_waiting_check_takes_at_most_300_bytes,
    jobs::a_thousand_notices_of_one_record_are_one_job,
    jobs::a_thousand_records_of_one_kind_are_ten_requests,
    jobs::what_stands_twice_in_one_call_counts_once,
    jobs::a_batch_is_of_one_group_and_never_too_large,
    jobs::a_notice_during_the_work_leads_to_one_more_look,
    jobs::making_up_for_a_loss_does_not_disturb_what_is_being_worked_on,
    jobs::a_lease_that_ran_out_is_another_workers_and_the_late_ack_is_refused,
    jobs::what_is_left_of_a_batch_keeps_its_lease_until_that_ends,
    jobs::leases_that_are_settled_together_all_end,
    jobs::a_failing_job_waits_its_time_and_keeps_its_count,
    jobs::a_confirming_look_comes_later_and_a_new_notice_comes_before_it,
    jobs::a_person_is_told_what_a_job_waits_for_and_until_when,
    leases::who_left_a_lease_is_not_settled_by_it_again,
    leases::single_jobs_that_are_taken_in_one_go_are_paid_for_one_by_one,
    leases::what_is_over_leaves_nothing_behind,
    leases::a_place_whose_job_is_gone_is_passed_over,
    leases::a_person_is_told_the_lease_of_a_job_among_many,
    ledgers::after_a_loss_the_bucket_is_empty_and_the_ledger_closed,
    ledgers::a_ledger_that_cannot_be_rebuilt_stays_closed_until_its_window_has_passed,
    ledgers::a_loss_that_only_a_late_settling_meets_is_reported_too,
    ledgers::a_rebuilt_ledger_counts_what_was_sent_before_the_loss,
    ledgers::a_day_of_requests_is_counted_by_the_minute_and_never_too_low,
    ledgers::a_day_that_is_made_smaller_is_worked_on_as_soon_as_it_has_room,
    ledgers::thousands_of_requests_that_were_never_answered_free_their_slots_too,
    ledgers::a_ledger_that_is_to_be_counted_in_another_way_is_closed_like_a_new_one,
    ledgers::fences_grow_across_a_lost_redis,
    ledgers::a_clock_that_is_set_back_stands_still,
    order::more_urgent_work_goes_first_and_raises_what_waits_already,
    order::bulk_and_spot_checks_keep_their_floors_in_a_flood_of_webhooks,
    order::a_kind_that_may_not_run_hides_nobody_however_many_of_it_wait,
    order::lanes_take_turns,
    order::one_claim_takes_single_jobs_of_several_kinds_as_they_came,
    order::a_lane_takes_what_another_leaves_of_a_claim,
    order::a_lane_that_is_named_twice_hands_out_each_job_once,
    order::a_paused_lane_rests_and_goes_on_where_it_was,
    order::an_unknown_lane_is_an_error_that_names_it,
    quotas::the_last_tokens_of_a_bucket_are_left_to_webhooks_and_people,
    quotas::no_window_sees_more_than_the_limit_and_the_wait_is_exact,
    quotas::a_request_without_an_answer_holds_its_slot_past_its_deadline,
    quotas::a_permit_that_was_never_used_is_given_back_at_once,
    quotas::a_wait_for_a_permit_ends_when_an_answer_may_have_freed_one,
    quotas::a_request_draws_on_all_its_quotas_or_on_none,
    quotas::a_refusal_freezes_the_lane_for_everybody_and_costs_no_attempt,
    quotas::what_several_answers_say_at_once_counts_once,
    quotas::the_answers_to_several_permits_free_the_slots_of_all_a_window_later,
    quotas::what_the_platform_says_lowers_the_quota_and_never_raises_it,
    quotas::what_an_answer_says_of_a_kind_closes_that_kind_alone,
    quotas::more_frozen_kinds_than_a_lane_remembers_freeze_the_lane,
    waking::an_idle_worker_is_woken_and_not_polling,
    waking::wake_ups_chain_while_runnable_work_is_left,
    waking::who_has_slots_for_urgent_work_only_is_told_of_it_and_gets_nothing_else,
    waking::a_time_before_that_until_which_workers_sleep_wakes_one_of_them,
    waking::who_has_no_room_for_a_platform_is_told_of_the_others,
    waking::however_many_lanes_there_is_no_room_for_another_is_found,
];
