//! Made-up populations: how often records change, what webhooks tell of it, what they weigh.

use common::freshness::{Alike, Notices};
use rand::RngExt as _;
use rand::rngs::SmallRng;

/// How change rates are spread over records. The mean is one change a day in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rates {
    /// Log-normal, sigma 1.5: a factor of 4.5 either way is usual.
    LogNormal,
    /// Pareto, exponent 1.2: a few records change most of the time.
    Pareto,
    /// Four in five change a fiftieth as often as the fifth.
    Bimodal,
}

impl Rates {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::LogNormal, Self::Pareto, Self::Bimodal];

    /// Its name in tables.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::LogNormal => "log-normal",
            Self::Pareto => "Pareto",
            Self::Bimodal => "bimodal",
        }
    }

    fn draw(self, chance: &mut SmallRng) -> f64 {
        match self {
            Self::LogNormal => (1.5 * normal(chance)).exp(),
            // At most 1,000 times the least, so that a single record is not the whole universe.
            Self::Pareto => chance.random::<f64>().max(2.5e-4).powf(-1.0 / 1.2),
            Self::Bimodal => {
                let fast = if chance.random::<f64>() < 0.2 { 50.0 } else { 1.0 };
                fast * (0.3 * normal(chance)).exp()
            }
        }
    }
}

/// One universe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Universe {
    /// How rates are spread.
    pub rates: Rates,
    /// Records.
    pub records: usize,
    /// The share of changes that a webhook announces. Where there are webhooks, there is also
    /// one false notice in 50 days and record.
    pub recall: f64,
    /// Looks per day, as a share of all changes per day.
    pub budget: f64,
    /// One record in ten weighs ten-fold.
    pub weighted: bool,
    /// How long is learnt before anything is measured: so many looks a record, in the mean. Where
    /// webhooks tell of changes, no longer than it takes to be told of 200.
    pub warm_up_looks: f64,
}

/// Its records.
#[derive(Clone, Debug)]
pub(super) struct Population {
    /// Changes per day and weight of each.
    pub records: Vec<(f64, f64)>,
    /// What webhooks tell.
    pub notices: Notices,
    /// Looks per day, of all records together.
    pub looks_per_day: f64,
}

impl Universe {
    /// Its name in tables.
    pub(super) fn name(&self) -> String {
        let weighted = if self.weighted { ", weighted" } else { "" };
        let many = if self.records > 50_000 { ", many records" } else { "" };
        format!(
            "{}, recall {}, budget {} %{weighted}{many}",
            self.rates.name(),
            self.recall,
            100.0 * self.budget,
        )
    }

    /// Warm-up in days.
    pub(super) fn warm_up_days(&self) -> f64 {
        let looked_at = self.warm_up_looks / self.budget;
        if self.recall > 0.0 { looked_at.min(200.0) } else { looked_at }
    }

    /// Draws its records.
    pub(super) fn populate(&self, chance: &mut SmallRng) -> Population {
        let mut records: Vec<(f64, f64)> = (0..self.records)
            .map(|i| {
                let weight = if self.weighted && i % 10 == 0 { 10.0 } else { 1.0 };
                (self.rates.draw(chance), weight)
            })
            .collect();
        let count: f64 = records.iter().fold(0.0, |count, _| count + 1.0);
        let sum: f64 = records.iter().map(|(rate, _)| rate).sum();
        for (rate, _) in &mut records {
            *rate *= count / sum;
        }
        let notices = Notices::new(self.recall, if self.recall > 0.0 { 0.02 } else { 0.0 });
        Population { records, notices, looks_per_day: self.budget * count }
    }
}

impl Population {
    /// As the closed forms take it.
    pub(super) fn alike(&self) -> Vec<Alike> {
        let of = |&(rate, weight): &(f64, f64)| Alike {
            habits: self.notices.habits(rate, weight),
            count: 1.0,
        };
        self.records.iter().map(of).collect()
    }
}

/// A standard normal number, by Box and Muller.
fn normal(chance: &mut SmallRng) -> f64 {
    let radius = (-2.0 * (1.0 - chance.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * chance.random::<f64>()).cos()
}

/// The time to the next event of a Poisson process, in days; infinite for rate 0.
pub(super) fn until_next(per_day: f64, chance: &mut SmallRng) -> f64 {
    -(1.0 - chance.random::<f64>()).ln() / per_day
}
