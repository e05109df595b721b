//! Who is looked at next.

use std::collections::BinaryHeap;

use common::freshness::{
    Belief as _, ControllerSettings, EXPLORING, Evidence, Habits, NoticeCounts, Notices,
    Observation, PriceController, fitting_price,
};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::world::At;

/// Chooses records, and is told what was found.
pub trait Policy {
    /// Up to `looks` records to look at now.
    fn choose(&mut self, now: f64, looks: usize) -> Vec<usize>;

    /// A record was looked at, by a choice of ours or because of a notice.
    fn seen(&mut self, id: usize, now: f64, seen: &Observation);
}

/// Any record, whatever its age.
#[derive(Debug)]
pub(super) struct Uniform {
    records: usize,
    chance: SmallRng,
}

impl Uniform {
    /// Among so many records.
    pub(super) fn new(records: usize) -> Self {
        Self { records, chance: SmallRng::seed_from_u64(99) }
    }
}

impl Policy for Uniform {
    fn choose(&mut self, _: f64, looks: usize) -> Vec<usize> {
        (0..looks).map(|_| self.chance.random_range(0..self.records)).collect()
    }

    fn seen(&mut self, _: usize, _: f64, _: &Observation) {}
}

/// The record that was not verified for longest; without webhooks this is round robin.
#[derive(Debug)]
pub(super) struct OldestFirst {
    since: Vec<f64>,
    queue: BinaryHeap<At<usize>>,
}

impl OldestFirst {
    /// Among so many records.
    pub(super) fn new(records: usize) -> Self {
        let queue = (0..records).map(|what| At { days: 0.0, what }).collect();
        Self { since: vec![0.0; records], queue }
    }
}

impl Policy for OldestFirst {
    fn choose(&mut self, _: f64, looks: usize) -> Vec<usize> {
        let mut chosen = Vec::with_capacity(looks);
        while chosen.len() < looks {
            let Some(At { days, what }) = self.queue.pop() else { break };
            if self.since.get(what).is_some_and(|since| since.total_cmp(&days).is_eq()) {
                chosen.push(what);
            }
        }
        chosen
    }

    fn seen(&mut self, id: usize, now: f64, _: &Observation) {
        if let Some(since) = self.since.get_mut(id) {
            *since = now;
            self.queue.push(At { days: now, what: id });
        }
    }
}

/// What is known or believed of records.
pub trait Knowledge {
    /// The age at which a look at a record is worth a price.
    fn threshold_age_days(&self, id: usize, price: f64) -> Option<f64>;

    /// The age at which it is looked at next: that, or an earlier one, to learn.
    fn planned_age_days(&self, id: usize, price: f64) -> Option<f64> {
        self.threshold_age_days(id, price)
    }

    /// The price at which all records together take so many looks per day, sought from `start` on.
    fn fitting_price(&mut self, start: f64, looks_per_day: f64) -> f64;

    /// Learns.
    fn seen(&mut self, _id: usize, _seen: &Observation) {}

    /// Fits what is believed of the whole type, and says by which factor that moves the price at
    /// which all records together take so many looks per day; `None` where there is nothing to fit.
    fn fit(&mut self, _elapsed_days: f64, _price: f64, _looks_per_day: f64) -> Option<f64> {
        None
    }
}

/// The true habits, which nobody has.
#[derive(Debug)]
pub(super) struct Known(pub Vec<Habits>);

impl Knowledge for Known {
    fn threshold_age_days(&self, id: usize, price: f64) -> Option<f64> {
        self.0.get(id)?.threshold_age_days(price)
    }

    fn fitting_price(&mut self, start: f64, looks_per_day: f64) -> f64 {
        fitting_price(start, looks_per_day, |price| {
            self.0.iter().map(|one| one.looks_per_day(one.threshold_age_days(price))).sum()
        })
    }
}

/// The true habits, and looks in proportion to how often a record changes. Its price is what one
/// change costs, so to say: a record is looked at whenever so many changes were expected.
#[derive(Debug)]
pub(super) struct Proportional(pub Vec<Habits>);

impl Knowledge for Proportional {
    fn threshold_age_days(&self, id: usize, price: f64) -> Option<f64> {
        let silent = self.0.get(id)?.silent_per_day();
        (silent > 0.0).then(|| price / silent)
    }

    fn fitting_price(&mut self, start: f64, looks_per_day: f64) -> f64 {
        fitting_price(start, looks_per_day, |price| {
            self.0.iter().map(|one| one.looks_per_day(Some(price / one.silent_per_day()))).sum()
        })
    }
}

#[derive(Debug)]
struct Row<E> {
    evidence: E,
    weight: f64,
    explores: bool,
}

/// What was learnt on line: of each record, of the type, and of the webhooks.
#[derive(Debug)]
pub(super) struct Learnt<E: Evidence> {
    rows: Vec<Row<E>>,
    prior: E::Prior,
    counts: NoticeCounts,
    notices: Notices,
    chance: SmallRng,
}

/// Random records on which a type is fitted, and a price, as the scheduler does.
const SAMPLE: usize = 1_000;
const PRICED: usize = 200;

impl<E: Evidence> Learnt<E> {
    /// Nothing is known but the weights.
    pub(super) fn new(weights: impl Iterator<Item = f64>) -> Self {
        let mut chance = SmallRng::seed_from_u64(5);
        let row = |weight| {
            let explores = chance.random_ratio(1, EXPLORING);
            Row { evidence: E::default(), weight, explores }
        };
        let rows = weights.map(row).collect();
        let counts = NoticeCounts::default();
        Self { rows, prior: E::Prior::default(), counts, notices: counts.notices(), chance }
    }

    /// Records that stand side by side from a random place on; their rates are in no order.
    fn sample(&mut self) -> Vec<(E, f64)> {
        let start = self.chance.random_range(0..self.rows.len().max(1));
        let rows = self.rows.iter().cycle().skip(start).take(SAMPLE.min(self.rows.len()));
        rows.map(|row| (row.evidence, row.weight)).collect()
    }

    /// The price that the first of some random records call for.
    fn price_of(&self, sampled: &[(E, f64)], start: f64, looks_per_day: f64) -> f64 {
        let beliefs: Vec<_> = sampled
            .iter()
            .take(PRICED)
            .map(|(seen, weight)| (seen.belief(&self.prior), *weight))
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "some thousand")]
        let budget = looks_per_day * beliefs.len() as f64 / self.rows.len() as f64;
        fitting_price(start, budget, |price| {
            let looks = |(belief, weight): &(E::Belief, f64)| {
                let age = belief.threshold_age_days(&self.notices, *weight, price);
                age.map_or(0.0, |age| belief.looks_per_day(&self.notices, age))
            };
            beliefs.iter().map(looks).sum()
        })
    }
}

impl<E: Evidence> Knowledge for Learnt<E> {
    fn threshold_age_days(&self, id: usize, price: f64) -> Option<f64> {
        let row = self.rows.get(id)?;
        row.evidence.belief(&self.prior).threshold_age_days(&self.notices, row.weight, price)
    }

    fn planned_age_days(&self, id: usize, price: f64) -> Option<f64> {
        let row = self.rows.get(id)?;
        let belief = row.evidence.belief(&self.prior);
        belief.planned_age_days(&self.notices, row.weight, price, row.explores)
    }

    fn fitting_price(&mut self, start: f64, looks_per_day: f64) -> f64 {
        let sampled = self.sample();
        self.price_of(&sampled, start, looks_per_day)
    }

    fn seen(&mut self, id: usize, seen: &Observation) {
        let Some(row) = self.rows.get_mut(id) else { return };
        let mean = row.evidence.belief(&self.prior).mean_per_day();
        self.counts = self.counts.observe(&self.notices, mean, seen);
        row.evidence = row.evidence.observe(&self.prior, &self.notices, seen);
        row.explores = self.chance.random_ratio(1, EXPLORING);
    }

    fn fit(&mut self, elapsed_days: f64, price: f64, looks_per_day: f64) -> Option<f64> {
        let sampled = self.sample();
        // By the same records: those of another draw call for another price by chance.
        let before = self.price_of(&sampled, price, looks_per_day);
        self.counts = self.counts.forget(elapsed_days);
        self.notices = self.counts.notices();
        self.prior = E::refit(&self.prior, sampled.iter().map(|(evidence, _)| *evidence));
        Some(self.price_of(&sampled, before, looks_per_day) / before)
    }
}

/// Single looks that the controller keeps due; of batches, one.
const KEPT_DUE: usize = 12;
/// Records whose due time is worked out again in the background, for each look.
const REFRESHED_PER_LOOK: usize = 1;
/// How far the price moves in a tick at the most.
const STEP: f64 = 0.0005;

/// The rhythm of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// Days between ticks.
    pub tick_days: f64,
    /// Looks that a tick may take: what one request carries, or a few single ones.
    pub looks: usize,
    /// The budget.
    pub looks_per_day: f64,
    /// Days between two fits of what is believed of the type.
    pub fit_days: f64,
    /// A request with room left takes what is due next: it costs nothing more.
    pub fill: bool,
}

impl Rhythm {
    /// A lane ticks every second and takes days to go round. Here ticks are longer, and the price
    /// moves as little in one.
    fn controller(&self, price: f64) -> PriceController {
        let settings = ControllerSettings {
            gain_per_hour: STEP / (24.0 * self.tick_days).min(0.1),
            ..ControllerSettings::default()
        };
        PriceController::new(price, settings)
    }
}

/// The planner: an index on when each record comes due, and one price.
#[derive(Debug)]
pub(super) struct Index<K> {
    knowledge: K,
    since: Vec<f64>,
    due: Vec<f64>,
    queue: BinaryHeap<At<usize>>,
    controller: PriceController,
    fitted_at: f64,
    rhythm: Rhythm,
    refresh: usize,
}

impl<K: Knowledge> Index<K> {
    /// Begins at the price that fits what is believed at the beginning.
    pub(super) fn new(mut knowledge: K, records: usize, rhythm: Rhythm) -> Self {
        let fitting_price = knowledge.fitting_price(1.0, rhythm.looks_per_day);
        let mut index = Self {
            knowledge,
            since: vec![0.0; records],
            due: vec![f64::INFINITY; records],
            queue: BinaryHeap::new(),
            controller: rhythm.controller(fitting_price),
            fitted_at: 0.0,
            rhythm,
            refresh: 0,
        };
        for id in 0..records {
            index.plan(id);
        }
        index
    }

    /// When the record comes due under today's price.
    fn due_at(&self, id: usize) -> f64 {
        let age = self.knowledge.planned_age_days(id, self.controller.price());
        let since = self.since.get(id).copied();
        since.zip(age).map_or(f64::INFINITY, |(since, age)| since + age)
    }

    /// Enters it into the index; what stood there for it before counts no longer.
    fn enter(&mut self, id: usize, days: f64) {
        if let Some(due) = self.due.get_mut(id) {
            *due = days;
        }
        if days.is_finite() {
            self.queue.push(At { days, what: id });
        }
    }

    fn plan(&mut self, id: usize) {
        self.enter(id, self.due_at(id));
    }

    /// Fits what is believed of the type, and follows the price that this calls for. Early on often: a
    /// lane does so each hour, and knows soon whether there are webhooks.
    fn fit(&mut self, now: f64) {
        let soon = 0.02 * self.rhythm.fit_days + 0.1 * self.fitted_at;
        if now < self.fitted_at + soon.min(self.rhythm.fit_days) {
            return;
        }
        let (price, looks_per_day) = (self.controller.price(), self.rhythm.looks_per_day);
        let factor = self.knowledge.fit(now - self.fitted_at, price, looks_per_day);
        self.fitted_at = now;
        if let Some(factor) = factor {
            self.controller.follow(factor);
        }
    }
}

impl<K: Knowledge> Policy for Index<K> {
    fn choose(&mut self, now: f64, looks: usize) -> Vec<usize> {
        self.fit(now);
        // A falling price makes records due earlier than they stand in the index.
        for _ in 0..REFRESHED_PER_LOOK * looks {
            self.refresh = (self.refresh + 1) % self.since.len().max(1);
            self.plan(self.refresh);
        }
        let capacity = self.rhythm.looks.max(KEPT_DUE);
        // More than twice the capacity moves the price no faster.
        let most = 2 * capacity;
        let mut ready: Vec<At<usize>> = Vec::with_capacity(most);
        while ready.len() < most && self.queue.peek().is_some_and(|next| next.days <= now) {
            let Some(next) = self.queue.pop() else { break };
            let is_current =
                self.due.get(next.what).is_some_and(|due| due.total_cmp(&next.days).is_eq());
            if !is_current {
                continue;
            }
            // It may have been planned under an older price, or when other things were believed.
            let days = self.due_at(next.what);
            if days <= now {
                ready.push(At { days, ..next });
            } else {
                self.enter(next.what, days);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "some hundred")]
        let (due, capacity) = (ready.len() as f64, capacity as f64);
        self.controller.tick(due, capacity, 24.0 * self.rhythm.tick_days);
        while self.rhythm.fill && ready.len() < looks {
            let Some(next) = self.queue.pop() else { break };
            let is_current =
                self.due.get(next.what).is_some_and(|due| due.total_cmp(&next.days).is_eq());
            if is_current && ready.iter().all(|other| other.what != next.what) {
                ready.push(next);
            }
        }
        for waiting in ready.iter().skip(looks) {
            self.enter(waiting.what, waiting.days);
        }
        ready.into_iter().take(looks).map(|next| next.what).collect()
    }

    fn seen(&mut self, id: usize, now: f64, seen: &Observation) {
        self.knowledge.seen(id, seen);
        if let Some(since) = self.since.get_mut(id) {
            *since = now;
        }
        self.plan(id);
    }
}
