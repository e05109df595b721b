//! The platform's truth in simulated time: changes, notices, and how stale each copy is.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use common::freshness::{Habits, Observation};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::universe::{Population, until_next};

/// An instant with what happens then; the earliest is the greatest.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    /// When, in days.
    pub days: f64,
    /// What.
    pub what: T,
}

impl<T> Ord for At<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.days.total_cmp(&self.days)
    }
}

impl<T> PartialOrd for At<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for At<T> {}

#[derive(Clone, Copy, Debug)]
struct Record {
    habits: Habits,
    announced_per_day: f64,
    true_since: f64,
    silent_change: f64,
    notice: f64,
    is_announced: bool,
    stale_days: [f64; PHASES],
}

/// A mean and a 99th percentile, in days.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Days {
    pub mean: f64,
    pub p99: f64,
}

impl Days {
    fn of(sorted: &[f64]) -> Self {
        let p99 = sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(0.0);
        #[expect(clippy::cast_precision_loss, reason = "some million")]
        let mean = sorted.iter().sum::<f64>() / sorted.len().max(1) as f64;
        Self { mean, p99 }
    }
}

/// How long copies are stale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staleness {
    /// From a silent change until a look or a notice found it: the delay of detection. What is never
    /// found is not among them.
    pub found: Days,
    /// How long a copy that is stale at a random instant has been so; what is not found until the
    /// end included.
    pub age: Days,
}

/// Warm-up in halves, then what is measured.
pub(super) const PHASES: usize = 3;

/// Records that change, and our copies of them.
#[derive(Debug)]
pub(super) struct World {
    records: Vec<Record>,
    notices: BinaryHeap<At<usize>>,
    chance: SmallRng,
    /// Where the phases end, in days.
    ends: [f64; PHASES],
    /// How long each copy that was found changed had been stale, in the last phase.
    found_after: Vec<f32>,
}

impl World {
    /// All copies are true at the beginning.
    ///
    /// - `ends`: where the phases end, in days.
    pub(super) fn new(population: &Population, ends: [f64; PHASES], seed: u64) -> Self {
        let record = |&(rate, weight): &(f64, f64)| {
            let habits = population.notices.habits(rate, weight);
            Record {
                habits,
                announced_per_day: habits.resets_per_day() - population.notices.false_per_day(),
                true_since: 0.0,
                silent_change: 0.0,
                notice: 0.0,
                is_announced: false,
                stale_days: [0.0; PHASES],
            }
        };
        let mut world = Self {
            records: population.records.iter().map(record).collect(),
            notices: BinaryHeap::new(),
            chance: SmallRng::seed_from_u64(seed),
            ends,
            found_after: Vec::new(),
        };
        for id in 0..world.records.len() {
            world.begin(id, 0.0);
        }
        world
    }

    /// The earliest notice up to `days`, and which record it names. It stays until [`Self::look`].
    pub(super) fn notice(&mut self, days: f64) -> Option<At<usize>> {
        loop {
            let next = *self.notices.peek()?;
            if next.days > days {
                return None;
            }
            self.notices.pop();
            // A look has come between; another notice took its place.
            let is_current =
                self.records.get(next.what).is_some_and(|r| r.notice.total_cmp(&next.days).is_eq());
            if is_current {
                return Some(next);
            }
        }
    }

    /// Looks at a record: what was found, and the copy is true from now on.
    ///
    /// Stale time is counted by its expectation given the exposure, t - phi(a, t): the same in
    /// the mean as what happened, and steadier.
    pub(super) fn look(&mut self, id: usize, now: f64, noticed: bool) -> Observation {
        self.count_stale(id, now);
        let last_phase = self.ends.get(PHASES - 2).copied().unwrap_or(0.0);
        let Some(record) = self.records.get(id) else {
            return Observation { exposure_days: 0.0, changed: false, noticed };
        };
        let silent = record.silent_change <= now;
        if silent && now > last_phase {
            #[expect(clippy::cast_possible_truncation, reason = "for a percentile")]
            self.found_after.push((now - record.silent_change) as f32);
        }
        let seen = Observation {
            exposure_days: now - record.true_since,
            changed: silent || (noticed && record.is_announced),
            noticed,
        };
        self.begin(id, now);
        seen
    }

    /// Counts what is stale at the end.
    pub(super) fn end(&mut self) {
        let end = self.ends.last().copied().unwrap_or(0.0);
        for id in 0..self.records.len() {
            self.count_stale(id, end);
        }
    }

    /// The share of stale time in each phase, weighted.
    pub(super) fn stale_shares(&self) -> [f64; PHASES] {
        let weights: f64 = self.records.iter().map(|record| record.habits.weight()).sum();
        let mut begin = 0.0;
        let mut shares = [0.0; PHASES];
        for (phase, (share, end)) in shares.iter_mut().zip(self.ends).enumerate() {
            let stale = |r: &Record| r.habits.weight() * r.stale_days.get(phase).unwrap_or(&0.0);
            *share = self.records.iter().map(stale).sum::<f64>() / weights / (end - begin);
            begin = end;
        }
        shares
    }

    /// How long copies are stale, in the last phase.
    pub(super) fn staleness(&self) -> Staleness {
        let mut delays: Vec<f64> = self.found_after.iter().map(|days| f64::from(*days)).collect();
        delays.sort_by(f64::total_cmp);
        let found = Days::of(&delays);
        // Those that were not found until the end are stale all the same.
        let end = self.ends.last().copied().unwrap_or(0.0);
        let unfound = self.records.iter().map(|r| end - r.silent_change).filter(|days| *days > 0.0);
        delays.extend(unfound);
        delays.sort_by(f64::total_cmp);
        // At a random instant a copy that is stale for d days has been so for any part of these.
        let whole: f64 = delays.iter().sum();
        let beyond = |age: f64| delays.iter().map(|days| (days - age).max(0.0)).sum::<f64>();
        let mean = delays.iter().map(|days| days * days).sum::<f64>() / 2.0 / whole;
        let (mut low, mut high) = (0.0, end);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if beyond(middle) > 0.01 * whole { low = middle } else { high = middle }
        }
        let age = if whole > 0.0 { Days { mean, p99: high } } else { Days::default() };
        Staleness { found, age }
    }

    fn count_stale(&mut self, id: usize, now: f64) {
        let Some(record) = self.records.get_mut(id) else { return };
        let expected = |t: f64| {
            let silent = record.habits.silent_per_day();
            if silent > 0.0 { t + (-silent * t).exp_m1() / silent } else { 0.0 }
        };
        let (mut begin, mut counted) = (0.0, 0.0);
        for (stale_days, end) in record.stale_days.iter_mut().zip(self.ends) {
            // The part of the exposure that lies in this phase, which may be none.
            if record.true_since < end && now > begin {
                let upto = expected(now.min(end) - record.true_since);
                *stale_days += upto - counted;
                counted = upto;
            }
            begin = end;
        }
    }

    fn begin(&mut self, id: usize, now: f64) {
        let Some(record) = self.records.get_mut(id) else { return };
        let resets = record.habits.resets_per_day();
        record.true_since = now;
        record.silent_change = now + until_next(record.habits.silent_per_day(), &mut self.chance);
        record.notice = now + until_next(resets, &mut self.chance);
        record.is_announced = self.chance.random::<f64>() < record.announced_per_day / resets;
        if record.notice.is_finite() {
            self.notices.push(At { days: record.notice, what: id });
        }
    }
}
