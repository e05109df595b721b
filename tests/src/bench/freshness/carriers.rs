//! What requests that carry many looks are worth, at equal requests: closed forms, and for
//! batches the planner.

use common::freshness::Habits;

use super::trial::{Setting, Who};
use super::universe::{Rates, Universe};

/// Requests per day, as a share of all changes per day.
const REQUESTS: f64 = 0.1;

/// What one platform's requests can carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carrier {
    /// Platform and way.
    pub name: &'static str,
    /// How.
    pub way: Way,
}

/// How a request carries looks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// So many ids.
    Batch(u16),
    /// Pages of so many records, one after the other.
    Scan(u16),
    /// What changed since the last listing, in pages of so many.
    ChangedSince(u16),
}

/// The platforms' cheapest ways; see `docs/freshness.md`.
pub(super) const CARRIERS: [Carrier; 6] = [
    Carrier { name: "Klaviyo profiles, 100 ids", way: Way::Batch(100) },
    Carrier { name: "Klaviyo profiles, changed since, 100 a page", way: Way::ChangedSince(100) },
    Carrier { name: "Eventbrite attendees, 50 ids", way: Way::Batch(50) },
    Carrier { name: "Eventbrite attendees, changed since, 50 a page", way: Way::ChangedSince(50) },
    Carrier { name: "Patreon members, pages of 1000", way: Way::Scan(1000) },
    Carrier { name: "Discord members, pages of 1000", way: Way::Scan(1000) },
];

/// Stale shares at equal requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    /// Single look-ups of random records.
    pub uniform: f64,
    /// The oldest records with the same carrier; `None` where the carrier leaves no choice.
    pub oldest_first: Option<f64>,
    /// Ours, learnt with the grid.
    pub ours: f64,
}

/// Log-normal rates, no webhooks.
///
/// - `records`: of the simulation; the closed forms are for ten times as many.
pub(super) fn compare(carrier: &Carrier, records: usize, weighted: bool, seed: u64) -> Compared {
    let universe = |budget, records| Universe {
        rates: Rates::LogNormal,
        records,
        recall: 0.0,
        budget,
        weighted,
        warm_up_looks: 40.0,
    };
    let single = Setting::new(&universe(REQUESTS, 10 * records), seed);
    let uniform = single.uniform;
    match carrier.way {
        Way::Batch(size) => {
            let looks = REQUESTS * f64::from(size);
            let setting = Setting::new(&universe(looks, records), seed);
            let stale = |who| setting.run_batches(who, size, true, seed).measured();
            Compared {
                uniform,
                oldest_first: Some(stale(Who::OldestFirst)),
                ours: stale(Who::Learnt),
            }
        }
        Way::Scan(page) => {
            let habits = single.habits();
            let pages = (count(&habits) / f64::from(page)).ceil();
            let every_days = pages / single.looks_per_day();
            Compared {
                uniform,
                oldest_first: None,
                ours: stale_when_looked_at(&habits, every_days),
            }
        }
        Way::ChangedSince(page) => {
            let habits = single.habits();
            let every_days = listing_every_days(&habits, page, single.looks_per_day());
            Compared {
                uniform,
                oldest_first: None,
                ours: stale_when_looked_at(&habits, every_days),
            }
        }
    }
}

/// The stale share when all are looked at together, every `days`.
fn stale_when_looked_at(habits: &[Habits], days: f64) -> f64 {
    let weights: f64 = habits.iter().map(Habits::weight).sum();
    let fresh: f64 = habits.iter().map(|one| one.weight() * one.fresh_share(Some(days))).sum();
    1.0 - fresh / weights
}

/// How often a listing of changes can be had: it takes a request, and one more for each further
/// page of what changed meanwhile.
fn listing_every_days(habits: &[Habits], page: u16, requests_per_day: f64) -> f64 {
    let requests = |days: f64| {
        let changed = habits.iter().map(|one| -(-one.silent_per_day() * days).exp_m1());
        (changed.sum::<f64>() / f64::from(page)).max(1.0)
    };
    let (mut short, mut long) = (1e-6_f64, 1e3_f64);
    for _ in 0..60 {
        let days = (short * long).sqrt();
        if requests(days) / days > requests_per_day { short = days } else { long = days }
    }
    long
}

fn count(habits: &[Habits]) -> f64 {
    habits.iter().fold(0.0, |count, _| count + 1.0)
}
