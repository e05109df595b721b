//! One policy in one universe, in simulated time.

use common::freshness::gamma::GammaEvidence;
use common::freshness::grid::GridEvidence;
use common::freshness::{Habits, fresh_share_at_random, optimum};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::policy::{Index, Known, Learnt, OldestFirst, Policy, Rhythm, Uniform};
use super::universe::{Population, Universe};
use super::world::{At, PHASES, World};

/// What chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Any record.
    Uniform,
    /// The longest unverified.
    OldestFirst,
    /// The planner, told the true rates.
    Known,
    /// The planner, with the Gamma learner.
    Gamma,
    /// The planner, with the grid learner.
    Grid,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Share of time that copies were stale, weighted, in each phase.
    pub stale: [f64; PHASES],
    /// Mean and 99th percentile of how long a copy that was found stale had been so, in days.
    pub staleness_days: (f64, f64),
    /// Looks that the policy took, as a share of those it might, after the warm-up.
    pub spent: f64,
}

impl Outcome {
    /// The stale share after the warm-up.
    pub(super) fn measured(&self) -> f64 {
        self.stale.last().copied().unwrap_or(1.0)
    }
}

/// A universe with its records and bounds.
#[derive(Debug)]
pub(super) struct Setting {
    population: Population,
    ends: [f64; PHASES],
    price: f64,
    /// Stale share of uniform sampling, by its closed form.
    pub uniform: f64,
    /// Stale share below which no policy comes, by its closed form.
    pub optimum: f64,
}

impl Setting {
    /// Warm-up: 100 to 500 days where webhooks tell of changes; where they do not, as long as
    /// forty looks a record take in the mean. Measured: as long.
    pub(super) fn new(universe: &Universe, seed: u64) -> Self {
        let population = universe.populate(&mut SmallRng::seed_from_u64(seed));
        let alike = population.alike();
        let best = optimum(&alike, population.looks_per_day);
        let warm_up = if universe.recall > 0.0 {
            (10.0 / universe.budget).clamp(100.0, 500.0)
        } else {
            40.0 / universe.budget
        };
        Self {
            ends: [warm_up / 2.0, warm_up, 2.0 * warm_up],
            price: best.price,
            uniform: 1.0 - fresh_share_at_random(&alike, population.looks_per_day),
            optimum: 1.0 - best.fresh_share,
            population,
        }
    }

    /// Warm-up in days.
    pub(super) fn warm_up_days(&self) -> f64 {
        self.ends.get(1).copied().unwrap_or(0.0)
    }

    /// What its records are like.
    pub(super) fn habits(&self) -> Vec<Habits> {
        self.population.alike().iter().map(|one| one.habits).collect()
    }

    /// The budget.
    pub(super) fn looks_per_day(&self) -> f64 {
        self.population.looks_per_day
    }

    /// Runs one policy whose requests carry one look each.
    pub(super) fn run(&self, who: Who, seed: u64) -> Outcome {
        self.run_batches(who, 3, false, seed)
    }

    /// Runs one policy. One that learns begins with a price of one day.
    ///
    /// - `looks`: in a tick; the budget is the universe's whatever it is.
    /// - `fill`: they share a request.
    pub(super) fn run_batches(&self, who: Who, looks: u16, fill: bool, seed: u64) -> Outcome {
        let records = self.population.records.len();
        let per_tick = f64::from(looks);
        let tick_days = per_tick / self.population.looks_per_day;
        let rhythm = Rhythm { tick_days, looks: usize::from(looks), fill };
        let mut policy = self.policy(who, rhythm);
        let mut world = World::new(&self.population, self.ends, seed);
        let end = self.ends.last().copied().unwrap_or(0.0);
        let (mut now, mut day, mut tokens, mut spent, mut granted) = (0.0, 0.0, 0.0, 0.0, 0.0);
        while now < end {
            now += tick_days;
            while let Some(At { days, what }) = world.notice(now) {
                let found = world.look(what, days, true);
                policy.seen(what, days, &found);
            }
            // What is not spent at once is soon lost, as quota is. A request is spent whole.
            tokens = if fill { per_tick } else { f64::min(tokens + per_tick, 2.0 * per_tick) };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
            let chosen = policy.choose(now, (tokens as usize).min(records));
            let counts = if now > self.warm_up_days() { 1.0 } else { 0.0 };
            for id in chosen {
                let found = world.look(id, now, false);
                policy.seen(id, now, &found);
                tokens -= 1.0;
                spent += counts;
            }
            granted += counts * per_tick;
            while now >= day + 1.0 {
                day += 1.0;
                policy.daily();
            }
        }
        world.end();
        Outcome {
            stale: world.stale_shares(),
            staleness_days: world.staleness_days(),
            spent: spent / granted,
        }
    }

    fn policy(&self, who: Who, rhythm: Rhythm) -> Box<dyn Policy> {
        let records = self.population.records.len();
        let weights = self.population.records.iter().map(|(_, weight)| *weight);
        match who {
            Who::Uniform => Box::new(Uniform::new(records)),
            Who::OldestFirst => Box::new(OldestFirst::new(records)),
            Who::Known => Box::new(Index::new(Known(self.habits()), records, self.price, rhythm)),
            Who::Gamma => {
                let learnt = Learnt::<GammaEvidence>::new(weights);
                Box::new(Index::new(learnt, records, 1.0, rhythm))
            }
            Who::Grid => {
                let learnt = Learnt::<GridEvidence>::new(weights);
                Box::new(Index::new(learnt, records, 1.0, rhythm))
            }
        }
    }
}
