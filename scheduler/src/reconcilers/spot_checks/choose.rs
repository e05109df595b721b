//! Which records are looked at now, and which are put back. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use common::freshness::request::{Candidate, Offer, best, fill_batch, price_per_look};
use common::freshness::{Belief as _, Evidence as _};
use common::ids::RecordType;
use common::job::Task;
use common::store::habits::{Planning, TypeHabits, explores};
use common::store::records::{PlannedRecord, Replanned};
use jiff::{SignedDuration, Timestamp};

const SECONDS_PER_DAY: f64 = 86_400.0;
/// A record of a type that this version does not know is not looked at before so long.
const UNKNOWN_FOR: Duration = Duration::from_hours(24);

/// What the planner knows of one record type of a lane.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    /// Which.
    pub(super) record_type: RecordType,
    /// What is known of its records, with the lane's price.
    pub(super) habits: TypeHabits,
    /// The bounds, and how many records share a request.
    pub(super) planning: Planning,
    /// Requests that it may send within the horizon.
    pub(super) requests: f64,
    /// A scan that sees them all ends then: until that, planned looks are postponed.
    pub(super) scanned_by: Option<Timestamp>,
    /// A run of it goes on.
    pub(super) is_being_read: bool,
    /// Its list of changes names what was edited.
    pub(super) lists_edits: bool,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The records to look at, by their place among those that were given.
    pub(super) chosen: Vec<usize>,
    /// The requests that this takes,
    pub(super) requests: f64,
    /// and what they are worth together, in weighted days of freshness.
    pub(super) value: f64,
    /// Requests that are worth their price, chosen or not.
    pub(super) due_requests: f64,
    /// What the least of the chosen requests is worth, where there was no room for all.
    pub(super) marginal: Option<f64>,
    /// Looks that are moved: those that are chosen, and those that are not worth it yet.
    pub(super) moved: Vec<Replanned>,
}

/// A record as it stands now.
struct Standing {
    /// What a look is worth.
    value: f64,
    /// It has to be looked at, whatever it is worth.
    forced: bool,
}

/// One request.
struct Request {
    kind: usize,
    records: Vec<usize>,
    value: f64,
    /// By what requests are compared.
    rank: f64,
    worth_it: bool,
}

/// Chooses from the records that come due first.
///
/// Records that can share a request are planned together: the room in a request is filled with
/// those that nearly are due, which cost nothing more. Requests are taken by what they are worth,
/// as far as `requests` and the quotas of their kinds reach. What came due under an older price and
/// is not worth today's is put back to when it will be.
///
/// - `rows`: ordered by when they come due; some may not be due yet.
/// - `price`: lambda, for one request.
/// - `requests`: how many may be sent now.
/// - `reserve`: how long a record that is chosen is left alone, should its check be lost.
pub(super) fn choose(
    rows: &[PlannedRecord],
    kinds: &[Kind],
    now: Timestamp,
    price: f64,
    requests: f64,
    reserve: Duration,
) -> Choice {
    let mut choice = Choice::default();
    let mut due: BTreeMap<(usize, String), Vec<Candidate<usize>>> = BTreeMap::new();
    let mut forced: Vec<bool> = vec![false; rows.len()];
    let mut nearly: BTreeMap<(usize, String), Vec<Candidate<usize>>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        let is_planned = row.next_check_at.is_some_and(|next| next <= now);
        let Some((index, kind)) =
            kinds.iter().enumerate().find(|(_, kind)| kind.record_type == row.record_type)
        else {
            if is_planned {
                choice.moved.push(moved(row, later(now, UNKNOWN_FOR), false));
            }
            continue;
        };
        if let Some(end) = kind.scanned_by.filter(|end| *end > now) {
            if is_planned {
                choice.moved.push(moved(row, end, false));
            }
            continue;
        }
        let at = next_look(row, kind, kind.planning.looks_per_request);
        let standing = standing(row, kind, now, price);
        let candidate = Candidate { key: place, value: standing.value };
        let group = (index, group(row));
        if at <= now {
            if let Some(forced) = forced.get_mut(place) {
                *forced = standing.forced;
            }
            due.entry(group).or_default().push(candidate);
        } else if is_planned {
            choice.moved.push(moved(row, at, false));
        } else if may_be_looked_at(row, kind, now) {
            nearly.entry(group).or_default().push(candidate);
        }
    }

    let mut offers = Vec::new();
    for ((index, group), candidates) in due {
        let Some(kind) = kinds.get(index) else { continue };
        let near = nearly.get(&(index, group)).map(Vec::as_slice).unwrap_or_default();
        share(&mut offers, index, kind, candidates, near, &forced, price);
    }
    offers.sort_by(|a, b| b.rank.total_cmp(&a.rank));

    let mut left: Vec<f64> = kinds.iter().map(|kind| kind.requests).collect();
    let mut left_in_all = requests;
    let mut least = None;
    for offer in offers {
        let Some(kind) = kinds.get(offer.kind) else { continue };
        if !offer.worth_it {
            // The few of their group: they are worth a request of their own a little later.
            for row in offer.records.iter().filter_map(|place| rows.get(*place)) {
                let looks = u32::try_from(offer.records.len()).unwrap_or(1);
                let at = next_look(row, kind, looks).max(later(now, Duration::from_secs(1)));
                choice.moved.push(moved(row, at, false));
            }
            continue;
        }
        choice.due_requests += 1.0;
        let Some(left) = left.get_mut(offer.kind) else { continue };
        if left_in_all < 1.0 || *left < 1.0 {
            choice.marginal = least;
            continue;
        }
        (left_in_all, *left) = (left_in_all - 1.0, *left - 1.0);
        choice.requests += 1.0;
        choice.value += offer.value;
        least = Some(offer.rank);
        for place in offer.records {
            let Some(row) = rows.get(place) else { continue };
            choice.moved.push(moved(row, later(now, reserve), true));
            choice.chosen.push(place);
        }
    }
    choice
}

/// Makes requests of the records of one group that are due, the most valuable together, the last
/// one filled with those that nearly are.
fn share(
    offers: &mut Vec<Request>,
    index: usize,
    kind: &Kind,
    mut due: Vec<Candidate<usize>>,
    near: &[Candidate<usize>],
    forced: &[bool],
    price: f64,
) {
    let size = usize::try_from(kind.planning.looks_per_request).unwrap_or(1).max(1);
    due.sort_by(|a, b| b.value.total_cmp(&a.value));
    for part in due.chunks(size) {
        let mut records = part.to_vec();
        if records.len() < size {
            let mut near = near.to_vec();
            records.extend_from_slice(fill_batch(&mut near, size - part.len()));
        }
        let offer = match records.as_slice() {
            [one] => Offer::single(one.value),
            many => Offer::batch(many),
        };
        let must = part.iter().any(|candidate| forced.get(candidate.key) == Some(&true));
        offers.push(Request {
            kind: index,
            value: offer.value,
            rank: if must { offer.value.max(price) } else { offer.value },
            worth_it: must || best([offer], price).is_some(),
            records: if must || best([offer], price).is_some() {
                records.iter().map(|candidate| candidate.key).collect()
            } else {
                part.iter().map(|candidate| candidate.key).collect()
            },
        });
    }
}

/// When a record is looked at next, at today's price.
pub(super) fn next_look(row: &PlannedRecord, kind: &Kind, looks_per_request: u32) -> Timestamp {
    let planning = Planning { looks_per_request, ..kind.planning.clone() };
    let explores = explores(&row.external_id, row.last_verified_at);
    let days = kind.habits.next_age_days(&row.evidence, row.weight, &planning, explores);
    let age = Duration::try_from_secs_f64(days * SECONDS_PER_DAY).unwrap_or(planning.max_age);
    let at = later(row.last_verified_at, age);
    row.not_before.map_or(at, |not_before| at.max(not_before))
}

fn standing(row: &PlannedRecord, kind: &Kind, now: Timestamp, price: f64) -> Standing {
    let age_days = now.duration_since(row.last_verified_at).as_secs_f64() / SECONDS_PER_DAY;
    let belief = row.evidence.belief(&kind.habits.prior);
    let value = row.weight * belief.gain(&kind.habits.notices(), age_days).value;
    let worth = price_per_look(price, f64::from(kind.planning.looks_per_request));
    // Due and not worth it: it is looked at to learn, or because it is too old.
    Standing { value, forced: value < worth * (1.0 - 1e-6) }
}

/// Also a record that is taken along is no younger than it may be.
fn may_be_looked_at(row: &PlannedRecord, kind: &Kind, now: Timestamp) -> bool {
    later(row.last_verified_at, kind.planning.min_age) <= now
        && row.not_before.is_none_or(|not_before| not_before <= now)
}

/// What records that can share a request have in common.
fn group(row: &PlannedRecord) -> String {
    let (record_type, external_id) = (row.record_type.clone(), row.external_id.clone());
    Task::Check { record_type, external_id }.job_id().group().to_owned()
}

pub(super) fn moved(row: &PlannedRecord, next_check_at: Timestamp, reserved: bool) -> Replanned {
    Replanned {
        record_type: row.record_type.clone(),
        external_id: row.external_id.clone(),
        was: row.next_check_at,
        next_check_at,
        reserved,
    }
}

pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use common::freshness::grid::GridEvidence;
    use common::freshness::{NoticeCounts, Observation};

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn kind(batch: u32, price: f64) -> Kind {
        let habits = TypeHabits { price, ..TypeHabits::default() };
        let planning = Planning { looks_per_request: batch, ..Planning::default() };
        let record_type = "profile".into();
        Kind {
            record_type,
            habits,
            planning,
            requests: 1e9,
            scanned_by: None,
            is_being_read: false,
            lists_edits: false,
        }
    }

    /// A record that was looked at once a day for a month, and `age` ago for the last time.
    fn record(id: &str, changes: bool, age: Duration, kind: &Kind) -> PlannedRecord {
        let seen = Observation { exposure_days: 1.0, changed: changes, noticed: false };
        let mut evidence = GridEvidence::default();
        for _ in 0..30 {
            evidence = kind.habits.observe(&evidence, &seen);
        }
        PlannedRecord {
            record_type: kind.record_type.clone(),
            external_id: id.into(),
            evidence,
            weight: 1.0,
            last_verified_at: now() - SignedDuration::try_from(age).unwrap(),
            next_check_at: Some(now() - SignedDuration::from_secs(1)),
            not_before: None,
        }
    }

    fn ids<'a>(rows: &'a [PlannedRecord], choice: &Choice) -> Vec<&'a str> {
        choice.chosen.iter().map(|place| rows[*place].external_id.as_str()).collect()
    }

    #[test]
    fn hot_records_come_before_cold_ones_of_the_same_age() {
        let kind = kind(1, 1e-6);
        let rows: Vec<_> =
            (0..40).map(|n| record(&format!("{n}"), n % 2 == 0, HOUR, &kind)).collect();
        let choice = choose(&rows, std::slice::from_ref(&kind), now(), 1e-6, 20.0, HOUR);
        assert_eq!(choice.chosen.len(), 20);
        let hot =
            ids(&rows, &choice).iter().filter(|id| id.parse::<u32>().unwrap() % 2 == 0).count();
        assert!(hot >= 18, "{hot} of 20 are hot");
    }

    #[test]
    fn records_that_are_all_due_at_once_do_not_flood() {
        let kind = kind(10, 1e-11);
        let rows: Vec<_> = (0..1_000).map(|n| record(&format!("{n}"), true, HOUR, &kind)).collect();
        let choice = choose(&rows, std::slice::from_ref(&kind), now(), 1e-11, 7.0, HOUR);
        assert_eq!((choice.chosen.len(), choice.requests), (70, 7.0));
        assert!(choice.due_requests >= 99.0, "the price must hear of all");
        assert!(choice.moved.iter().all(|moved| moved.reserved && moved.next_check_at > now()));
    }

    #[test]
    fn what_came_due_under_an_older_price_is_put_back_and_what_is_nearly_due_is_taken_along() {
        let dear = kind(1, 1e3);
        let rows = [record("a", true, HOUR, &dear)];
        let choice = choose(&rows, std::slice::from_ref(&dear), now(), 1e3, 10.0, HOUR);
        let explores = explores(&rows[0].external_id, rows[0].last_verified_at);
        assert!(explores || choice.chosen.is_empty());
        assert!(explores || choice.moved[0].next_check_at > now() && !choice.moved[0].reserved);

        // One is due, two share its request for nothing; the fourth was looked at too lately.
        let mut cheap = kind(100, 1e-7);
        cheap.planning.min_age = Duration::from_mins(5);
        let mut rows = vec![record("due", true, HOUR * 24, &cheap)];
        for (id, age) in [("near", HOUR * 2), ("nearer", HOUR * 3), ("young", HOUR / 60)] {
            let mut row = record(id, false, age, &cheap);
            row.weight = 1e-9;
            row.next_check_at = Some(now() + SignedDuration::from_hours(1));
            rows.push(row);
        }
        let choice = choose(&rows, std::slice::from_ref(&cheap), now(), 1e-7, 10.0, HOUR);
        let mut chosen = ids(&rows, &choice);
        chosen.sort_unstable();
        assert_eq!(chosen, ["due", "near", "nearer"]);
        assert!((choice.requests - 1.0).abs() < 1e-9);
    }

    #[test]
    fn planned_looks_wait_for_a_scan_that_ends_soon() {
        let mut kind = kind(1, 1e-11);
        let end = later(now(), Duration::from_mins(3));
        kind.scanned_by = Some(end);
        let rows = [record("a", true, HOUR, &kind)];
        let choice = choose(&rows, std::slice::from_ref(&kind), now(), 1e-11, 10.0, HOUR);
        assert!(choice.chosen.is_empty());
        assert_eq!(choice.moved[0].next_check_at, end);
    }

    #[test]
    fn where_webhooks_fail_the_same_records_are_due_sooner_and_more_of_them_at_once() {
        let mut trusted = kind(1, 1e-4);
        trusted.habits.counts = NoticeCounts {
            announced: 990.0,
            expected: 990.0,
            silent: 10.0,
            silent_exposure: 990.0,
            false_notices: 0.0,
            exposure_days: 1e4,
        };
        assert!(trusted.habits.notices().recall() > 0.95, "{:?}", trusted.habits.notices());
        let mut failing = trusted.clone();
        failing.habits.outage = true;
        let rows: Vec<_> = (0..200)
            .map(|n| record(&n.to_string(), n % 2 == 0, HOUR * (n % 20), &trusted))
            .collect();
        let sooner = rows.iter().all(|row| {
            explores(&row.external_id, row.last_verified_at)
                || next_look(row, &failing, 1) < next_look(row, &trusted, 1)
        });
        assert!(sooner, "each but those that are looked at to learn");
        let chosen = |kind: &Kind| {
            choose(&rows, std::slice::from_ref(kind), now(), 1e-4, 1e3, HOUR).chosen.len()
        };
        let (before, after) = (chosen(&trusted), chosen(&failing));
        assert!(after > before + before / 2, "{after} instead of {before}");
    }

    #[test]
    fn the_least_of_the_chosen_requests_is_told_where_not_all_found_room() {
        let kind = kind(1, 1e-11);
        let rows: Vec<_> =
            (1..=20).map(|n| record(&n.to_string(), true, HOUR * n, &kind)).collect();
        let choose =
            |requests| choose(&rows, std::slice::from_ref(&kind), now(), 1e-11, requests, HOUR);
        assert_eq!(choose(30.0).marginal, None);
        assert_eq!(choose(0.0).marginal, None);
        let (some, few) = (choose(15.0).marginal.unwrap(), choose(5.0).marginal.unwrap());
        assert!(some < few, "{some} is the fifteenth, {few} the fifth");
    }
}
