//! Whether a list is read instead of looking at single records: all of it, or what changed. Pure.

use std::time::Duration;

use common::freshness::request::{Offer, Way, best};
use common::store::bulk_runs::{Lately, State};
use jiff::{SignedDuration, Timestamp};

use super::audit::Population;
use super::choose::{Choice, Kind, later};

const SECONDS_PER_DAY: f64 = 86_400.0;
/// No scan begins by itself so soon after another run of its type, and nothing at all after one that
/// did not end well.
const SCAN_GAP: Duration = Duration::from_mins(10);
/// No list of changes begins by itself so soon after another run of its type.
const CHANGES_GAP: Duration = Duration::from_mins(1);

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The whole list.
    Whole,
    /// What changed since then.
    ChangesSince(Timestamp),
}

/// The list that is read now, if a request of it is worth more than one that looks at records.
///
/// A whole list looks at the same records as the looks that were chosen, so it has to be worth more
/// than they are in the mean. A list of changes is a request or two beside them: it has to be worth
/// the price, and more than the least of those that found room where not all did.
///
/// - `lately`: how the type was read before; without a run that was done nothing is known of its list.
/// - `requests_per_hour`: what a list costs is no more than this.
/// - `overlap`: how far before the watermark changes are asked for.
pub(super) fn worth_reading(
    kind: &Kind,
    population: &Population,
    lately: &Lately,
    choice: &Choice,
    requests_per_hour: f64,
    overlap: Duration,
    now: Timestamp,
) -> Option<Reading> {
    if kind.is_being_read || population.records < 1.0 {
        return None;
    }
    let waited = |gap: Duration| later(lately.began_at, gap) < now;
    let went_well = lately.state == State::Done;
    let affordable = |offer: &Offer| offer.requests <= requests_per_hour;
    let price = kind.habits.price;
    let mut offers = Vec::new();
    if let Some(since) = since(kind, lately, overlap)
        && waited(if went_well { CHANGES_GAP } else { SCAN_GAP })
    {
        let offer = changes(population, lately, since, now);
        let least = choice.marginal.map_or(price, |marginal| marginal.max(price));
        offers.extend(best([offer], least).filter(affordable));
    }
    // What was halted waits for a person.
    if lately.state != State::Halted && choice.requests >= 1.0 && waited(SCAN_GAP) {
        let looks = Offer { way: Way::Batch, value: choice.value, requests: choice.requests };
        let scan = lately.full.map(|full| {
            let pages = f64::from(full.pages.max(1));
            Offer::scan(population.value * population.records, pages, 1.0)
        });
        let best = scan.filter(affordable).and_then(|scan| best([looks, scan], price));
        offers.extend(best.filter(|best| best.way == Way::Scan));
    }
    match best(offers, price)?.way {
        Way::ChangedSince => since(kind, lately, overlap).map(Reading::ChangesSince),
        Way::Scan => Some(Reading::Whole),
        _ => None,
    }
}

/// From where on changes are asked for; `None` where there is no such list, or it does not name
/// what was edited.
fn since(kind: &Kind, lately: &Lately, overlap: Duration) -> Option<Timestamp> {
    let overlap = SignedDuration::try_from(overlap).ok()?;
    lately.watermark.filter(|_| kind.lists_edits)?.checked_sub(overlap).ok()
}

/// A list of changes. It reveals what was edited since the list before it, and costs the pages that
/// are never full, as many as the last time, and those that its records fill.
fn changes(population: &Population, lately: &Lately, since: Timestamp, now: Timestamp) -> Offer {
    let page_size = lately.full.map_or(1.0, |full| {
        #[expect(clippy::cast_precision_loss, reason = "a count of records")]
        let records = full.records as f64;
        (records / f64::from(full.pages.max(1))).max(1.0)
    });
    let seconds = now.duration_since(since).as_secs_f64().max(0.0);
    let expected = population.changes_per_day * population.records * seconds / SECONDS_PER_DAY;
    let (named, unfilled) = lately.changes.map_or((expected, 1.0), |last| {
        #[expect(clippy::cast_precision_loss, reason = "a count of records")]
        let records = last.records as f64;
        let unfilled = f64::from(last.pages) - (records / page_size).floor();
        (records * seconds / lately.changes_seconds.max(1.0), unfilled.max(1.0))
    });
    let pages = unfilled + (named / page_size).floor();
    Offer::changed_since(population.value * population.records, 1.0, pages, 1.0)
}

#[cfg(test)]
mod tests {
    use common::ids::ConnectionId;
    use common::store::bulk_runs::Extent;
    use common::store::habits::{Planning, TypeHabits};

    use super::*;

    const MINUTE: i64 = 60;
    const OVERLAP: Duration = Duration::from_mins(5);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn kind(price: f64) -> Kind {
        Kind {
            record_type: "profile".into(),
            habits: TypeHabits { price, ..TypeHabits::default() },
            planning: Planning { looks_per_request: 100, ..Planning::default() },
            requests: 500.0,
            scanned_by: None,
            is_being_read: false,
            lists_edits: true,
        }
    }

    /// A thousand records that change once a day each.
    fn population(value: f64) -> Population {
        Population { records: 1_000.0, value, changes_per_day: 1.0, taken_at: at(0) }
    }

    /// Read whole an hour ago, on ten pages.
    fn lately() -> Lately {
        Lately {
            connection: ConnectionId(1),
            record_type: "profile".into(),
            began_at: at(-60 * MINUTE),
            state: State::Done,
            watermark: Some(at(-65 * MINUTE)),
            done_began_at: Some(at(-60 * MINUTE)),
            full: Some(Extent { pages: 10, records: 1_000 }),
            changes: None,
            changes_seconds: 0.0,
        }
    }

    /// So many requests, each worth this.
    fn looks(requests: f64, value: f64) -> Choice {
        Choice { requests, value: requests * value, ..Choice::default() }
    }

    fn read(kind: &Kind, value: f64, lately: &Lately, choice: &Choice) -> Option<Reading> {
        worth_reading(kind, &population(value), lately, choice, 1_000.0, OVERLAP, at(0))
    }

    #[test]
    fn a_list_of_changes_is_read_where_what_it_reveals_is_worth_its_requests() {
        let since = Some(Reading::ChangesSince(at(-70 * MINUTE)));
        // Some fifty records are named, on one page: a thousand times 1e-3 for one request.
        assert_eq!(read(&kind(0.9), 1e-3, &lately(), &Choice::default()), since);
        assert_eq!(read(&kind(1.1), 1e-3, &lately(), &Choice::default()), None);
        // It is read beside looks that are worth more, while there is room for both,
        assert_eq!(read(&kind(0.9), 1e-3, &lately(), &looks(3.0, 5.0)), since);
        // and instead of the least of them where there is not.
        let full = |least| Choice { marginal: Some(least), ..looks(3.0, 5.0) };
        assert_eq!(read(&kind(0.9), 1e-3, &lately(), &full(2.0)), None);
        assert_eq!(read(&kind(0.9), 1e-3, &lately(), &full(0.95)), since);
    }

    #[test]
    fn a_list_that_does_not_name_edits_is_not_read_for_them() {
        let joins = Kind { lists_edits: false, ..kind(1e-9) };
        assert_eq!(read(&joins, 1e-3, &lately(), &Choice::default()), None);
        // The whole list is, where a page is worth more than a look.
        assert_eq!(read(&joins, 1e-3, &lately(), &looks(3.0, 0.05)), Some(Reading::Whole));
        assert_eq!(read(&joins, 1e-3, &lately(), &looks(3.0, 0.5)), None);
    }

    #[test]
    fn nothing_is_read_beside_or_soon_after_another_run_or_before_the_first() {
        let cheap = kind(1e-9);
        let nothing = Choice::default();
        let reading = Kind { is_being_read: true, ..kind(1e-9) };
        assert_eq!(read(&reading, 1e-3, &lately(), &nothing), None);
        let never = Lately { watermark: None, full: None, ..lately() };
        assert_eq!(read(&cheap, 1e-3, &never, &nothing), None);
        let began = |seconds: i64| Lately { began_at: at(-seconds), ..lately() };
        assert_eq!(read(&cheap, 1e-3, &began(59), &nothing), None);
        assert!(read(&cheap, 1e-3, &began(61), &nothing).is_some());
        // One that failed is not tried again and again,
        let failed = |seconds: i64| Lately { state: State::Failed, ..began(seconds) };
        assert_eq!(read(&cheap, 1e-3, &failed(9 * MINUTE), &nothing), None);
        assert!(read(&cheap, 1e-3, &failed(11 * MINUTE), &nothing).is_some());
        // and where a person is to decide, nothing reads the whole list.
        let halted = Lately { state: State::Halted, ..lately() };
        let joins = Kind { lists_edits: false, ..kind(1e-9) };
        assert_eq!(read(&joins, 1e-3, &halted, &looks(3.0, 0.05)), None);
    }

    #[test]
    fn what_a_list_of_changes_costs_follows_the_last_ones() {
        let pages = |lately: &Lately| {
            let since = since(&kind(1.0), lately, OVERLAP).unwrap();
            changes(&population(1.0), lately, since, at(0)).requests
        };
        // 1,000 records a day, 100 a page: 49 in 70 minutes.
        assert!((pages(&lately()) - 1.0).abs() < 1e-9);
        // Two passes, nothing named: two requests, however short the time.
        let last = |pages, records, seconds| Lately {
            changes: Some(Extent { pages, records }),
            changes_seconds: seconds,
            ..lately()
        };
        assert!((pages(&last(2, 0, 600.0)) - 2.0).abs() < 1e-9);
        // 300 in ten minutes are 2,100 in seventy.
        assert!((pages(&last(4, 300, 600.0)) - 22.0).abs() < 1e-9);
        // After a week of silence a list is long; the next one is not.
        assert!((pages(&last(51, 5_000, 604_800.0)) - 1.0).abs() < 1e-9);
        // More than an hour's quota is not spent.
        let long = last(2_000, 200_000, 600.0);
        assert_eq!(read(&kind(1e-9), 1e-3, &long, &Choice::default()), None);
    }
}
