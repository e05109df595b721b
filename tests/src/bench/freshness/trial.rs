//! One policy in one universe, in simulated time.

use common::freshness::grid::GridEvidence;
use common::freshness::{Habits, fresh_share_at_random, optimum};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::policy::{Index, Known, Learnt, OldestFirst, Policy, Proportional, Rhythm, Uniform};
use super::universe::{Population, Universe};
use super::world::{At, PHASES, Staleness, World};

/// What chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Any record.
    Uniform,
    /// The longest unverified.
    OldestFirst,
    /// In proportion to the true rates.
    Proportional,
    /// The planner, told the true rates.
    Known,
    /// The planner, with what it learns on line: the grid learner.
    Learnt,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Share of time that copies were stale, weighted, in each phase.
    pub stale: [f64; PHASES],
    /// How long copies were stale, after the warm-up.
    pub staleness: Staleness,
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
    /// Stale share of uniform sampling, by its closed form.
    pub uniform: f64,
    /// Stale share below which no policy comes, by its closed form.
    pub optimum: f64,
}

impl Setting {
    /// Measured is as long as forty looks a record take in the mean, or as the warm-up, whichever is
    /// shorter.
    pub(super) fn new(universe: &Universe, seed: u64) -> Self {
        let population = universe.populate(&mut SmallRng::seed_from_u64(seed));
        let alike = population.alike();
        let best = optimum(&alike, population.looks_per_day);
        let warm_up = universe.warm_up_days();
        let measured = f64::min(warm_up, 40.0 / universe.budget);
        Self {
            ends: [warm_up / 2.0, warm_up, warm_up + measured],
            uniform: 1.0 - fresh_share_at_random(&alike, population.looks_per_day),
            optimum: 1.0 - best.fresh_share,
            population,
        }
    }

    /// Warm-up in days.
    pub(super) fn warm_up_days(&self) -> f64 {
        self.ends.get(1).copied().unwrap_or(0.0)
    }

    /// Days between two fits of what is believed of the type, once it has run for a while: as long as a
    /// look at each record takes in the mean, but no less than a day.
    fn fit_days(&self) -> f64 {
        let records = self.population.records.iter().fold(0.0, |count, _| count + 1.0);
        (records / self.population.looks_per_day).max(1.0)
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
        let rhythm = Rhythm {
            tick_days,
            looks: usize::from(looks),
            looks_per_day: self.population.looks_per_day,
            fit_days: self.fit_days(),
            fill,
        };
        let mut policy = self.policy(who, rhythm);
        let mut world = World::new(&self.population, self.ends, seed);
        let end = self.ends.last().copied().unwrap_or(0.0);
        let (mut now, mut tokens, mut spent, mut granted) = (0.0, 0.0, 0.0, 0.0);
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
        }
        world.end();
        Outcome {
            stale: world.stale_shares(),
            staleness: world.staleness(),
            spent: spent / granted,
        }
    }

    fn policy(&self, who: Who, rhythm: Rhythm) -> Box<dyn Policy> {
        let records = self.population.records.len();
        let weights = self.population.records.iter().map(|(_, weight)| *weight);
        match who {
            Who::Proportional => Box::new(Index::new(Proportional(self.habits()), records, rhythm)),
            Who::Uniform => Box::new(Uniform::new(records)),
            Who::OldestFirst => Box::new(OldestFirst::new(records)),
            Who::Known => Box::new(Index::new(Known(self.habits()), records, rhythm)),
            Who::Learnt => {
                let learnt = Learnt::<GridEvidence>::new(weights);
                Box::new(Index::new(learnt, records, rhythm))
            }
        }
    }
}
