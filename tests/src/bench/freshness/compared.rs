//! All policies in one universe, over seeds.

use super::interval;
use super::trial::{Outcome, Setting, Who};
use super::universe::Universe;
use crate::bench::figure::{Figures, Reach};

/// The policies, and what they are called.
const POLICIES: [(Who, &str); 5] = [
    (Who::Uniform, "uniform"),
    (Who::OldestFirst, "oldest first"),
    (Who::Proportional, "proportional"),
    (Who::Known, "known rates"),
    (Who::Learnt, "learnt"),
];

/// How much is simulated of a universe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Records where nothing is learnt, and where it is.
    pub records: [usize; 2],
    /// Looks a record, in the mean, before anything is measured; the same.
    pub warm_up_looks: [f64; 2],
    /// Seeds.
    pub seeds: u64,
}

/// One policy in one universe under one seed.
#[derive(Clone, Copy, Debug)]
struct Run {
    outcome: Outcome,
    uniform: f64,
    optimum: f64,
    /// How much staler than uniform sampling in the worse half of the warm-up.
    excess: f64,
}

/// What came of all policies in one universe.
#[derive(Debug)]
pub(super) struct Compared {
    name: String,
    /// Of each policy, one for each seed.
    runs: Vec<(Who, &'static str, Vec<Run>)>,
}

impl Compared {
    /// Runs them.
    pub(super) fn run(universe: &Universe, size: &Size, policies: &[Who]) -> Self {
        // Its bounds take as long to find as a policy to run, so policies share them.
        let settings = [0, 1].map(|learns| -> Vec<Setting> {
            let is_wanted = |who: &Who| usize::from(*who == Who::Learnt) == learns;
            let seeds = if policies.iter().any(is_wanted) { size.seeds } else { 0 };
            let records = size.records.get(learns).copied().unwrap_or_default();
            let warm_up_looks = size.warm_up_looks.get(learns).copied().unwrap_or_default();
            let universe = Universe { records, warm_up_looks, ..*universe };
            (0..seeds).map(|seed| Setting::new(&universe, seed)).collect()
        });
        let [knowing, learning] = &settings;
        let wanted = POLICIES.into_iter().filter(|(who, _)| policies.contains(who));
        let runs = wanted.map(|(who, name)| {
            let settings = if who == Who::Learnt { learning } else { knowing };
            let of = |(setting, seed): (&Setting, u64)| {
                let outcome = setting.run(who, seed);
                let excess = if who == Who::Learnt {
                    let random = setting.run(Who::Uniform, seed);
                    let halves = outcome.stale.iter().zip(random.stale).take(2);
                    halves.map(|(ours, theirs)| ours - theirs).fold(f64::NEG_INFINITY, f64::max)
                } else {
                    0.0
                };
                Run { outcome, uniform: setting.uniform, optimum: setting.optimum, excess }
            };
            (who, name, settings.iter().zip(1_000..).map(of).collect())
        });
        Self { name: universe.name(), runs: runs.collect() }
    }

    fn of(&self, who: Who) -> &[Run] {
        self.runs.iter().find(|(one, ..)| *one == who).map_or(&[], |(_, _, runs)| runs)
    }

    /// Mean and half the width of its interval.
    fn regret(runs: &[Run]) -> (f64, f64) {
        let values: Vec<f64> = runs.iter().map(Run::regret).collect();
        interval::mean(&values)
    }

    /// Enters all figures.
    pub(super) fn record(&self, figures: &mut Figures) {
        for (who, name, runs) in &self.runs {
            let what = |what: &str| format!("{}: {name}, {what}", self.name);
            let reach = match who {
                Who::Known => Some(Reach::AtMost(0.02)),
                Who::Learnt => Some(Reach::AtMost(0.1)),
                _ => None,
            };
            for run in runs {
                let staleness = run.outcome.staleness;
                figures.record(&what("regret"), "share", reach, run.regret());
                let fresh = 1.0 - run.outcome.measured();
                figures.record(&what("fresh"), "share", None, fresh);
                for (name, days) in [
                    ("age of staleness, mean", staleness.age.mean),
                    ("age of staleness, p99", staleness.age.p99),
                    ("delay of detection, mean", staleness.found.mean),
                    ("delay of detection, p99", staleness.found.p99),
                ] {
                    figures.record(&what(name), "days", None, days);
                }
                figures.record(&what("budget spent"), "share", None, run.outcome.spent);
                if *who == Who::Learnt {
                    let reach = Some(Reach::AtMost(0.02));
                    let name = what("staler than uniform in the warm-up");
                    figures.record(&name, "share", reach, run.excess);
                }
            }
            let (mean, half_width) = Self::regret(runs);
            figures.record(&what("regret, mean over seeds"), "share", None, mean);
            let name = what("regret, half the width of its 95 % interval");
            figures.record(&name, "share", None, half_width);
        }
    }

    /// Cells of the table: stale shares in per cent, regrets in per cent with their intervals, and
    /// days.
    pub(super) fn cells(&self) -> Vec<String> {
        let mean = |who, f: &dyn Fn(&Run) -> f64| {
            let values: Vec<f64> = self.of(who).iter().map(f).collect();
            interval::mean(&values).0
        };
        let cell = |who, text: &dyn Fn() -> String| {
            if self.of(who).is_empty() { String::new() } else { text() }
        };
        let stale =
            |who| cell(who, &|| format!("{:.2}", 100.0 * mean(who, &|run| run.outcome.measured())));
        let regret = |who| {
            let (mean, half) = Self::regret(self.of(who));
            cell(who, &|| format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * half))
        };
        let days = |who| {
            let age = mean(who, &|run| run.outcome.staleness.age.mean);
            let p99 = mean(who, &|run| run.outcome.staleness.age.p99);
            let found = mean(who, &|run| run.outcome.staleness.found.mean);
            cell(who, &|| format!("{age:.1}, {p99:.0}; {found:.1}"))
        };
        let optimum = 100.0 * mean(Who::Known, &|run| run.optimum);
        vec![
            self.name.clone(),
            stale(Who::Uniform),
            stale(Who::OldestFirst),
            stale(Who::Proportional),
            format!("{optimum:.2}"),
            stale(Who::Learnt),
            regret(Who::OldestFirst),
            regret(Who::Known),
            regret(Who::Learnt),
            days(Who::Uniform),
            days(Who::Learnt),
        ]
    }
}

impl Run {
    /// (optimum - policy)/(optimum - uniform), by the fresh shares.
    fn regret(&self) -> f64 {
        (self.outcome.measured() - self.optimum) / (self.uniform - self.optimum)
    }
}
