//! The freshness bench: policies in simulated time, beside closed forms; docs/freshness.md says
//! what is measured and what came of it.

pub mod carriers;
pub mod coverage;
pub mod policy;
pub mod speed;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod universe;
pub mod world;

use comfy_table::{CellAlignment, Table, presets};

use super::figure::{Figures, Reach, Spread};
use super::table;
use carriers::{CARRIERS, Carrier, compare};
use trial::{Outcome, Setting, Who};
use universe::{Rates, Universe};

/// How much is simulated.
#[derive(Clone, Copy, Debug)]
struct Effort {
    seeds: u64,
    records: usize,
    carried_records: usize,
    lives: u64,
}

/// Simulates everything, and puts the policies side by side, and under them the figures that have
/// something to reach.
///
/// - `runs`: seeds of each figure.
/// - `quick`: few records: the figures then say little.
pub fn measure(runs: usize, quick: bool, figures: &mut Figures) -> String {
    let seeds = u64::try_from(runs).unwrap_or(1);
    let effort = if quick {
        Effort { seeds, records: 200, carried_records: 2_000, lives: 50 }
    } else {
        Effort { seeds, records: 600, carried_records: 5_000, lives: 1_000 }
    };
    let mut policies = policies_table();
    for universe in universes(&effort) {
        say(&universe.name());
        row(&mut policies, &universe, &effort, figures);
    }
    for carrier in &CARRIERS {
        say(carrier.name);
        for weighted in [false, true] {
            carried(carrier, weighted, &effort, figures);
        }
    }
    say("what planning costs, and whether bounds hold");
    for seed in 0..effort.seeds {
        for (name, us) in speed::all() {
            figures.record(name, "us", Some(Reach::AtMost(20.0)), us);
        }
        coverage::measure(figures, effort.lives, seed);
    }
    let reached = table::table(figures.all().iter().filter(|figure| figure.reach.is_some()));
    format!("{policies}\n\n{reached}")
}

fn universes(effort: &Effort) -> Vec<Universe> {
    let mut universes = Vec::new();
    for rates in Rates::ALL {
        for recall in [0.0, 0.9, 0.99] {
            for budget in [0.01, 0.1, 0.5] {
                let records = effort.records;
                universes.push(Universe { rates, records, recall, budget, weighted: false });
            }
        }
        let weighted =
            Universe { rates, records: effort.records, recall: 0.9, budget: 0.1, weighted: true };
        universes.push(weighted);
    }
    universes
}

fn policies_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "universe",
        "stale %: uniform",
        "oldest first",
        "optimum",
        "Gamma",
        "grid",
        "captured %: oldest first",
        "known",
        "Gamma",
        "grid",
        "warm-up, days",
    ]);
    for column in 1..11 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Runs all policies in a universe, for each seed, and enters what came of it.
fn row(table: &mut Table, universe: &Universe, effort: &Effort, figures: &mut Figures) {
    let mut stale_percent: [Vec<f64>; 5] = Default::default();
    let mut captured_percent: [Vec<f64>; 4] = Default::default();
    let mut warm_up_days = 0.0;
    for seed in 0..effort.seeds {
        let setting = Setting::new(universe, seed);
        warm_up_days = setting.warm_up_days();
        let trial = Trial::run(&setting, seed + 1_000);
        trial.record(&universe.name(), figures);
        for (values, (_, share)) in stale_percent.iter_mut().zip(trial.stale()) {
            values.push(100.0 * share);
        }
        for (values, (_, share)) in captured_percent.iter_mut().zip(trial.captured()) {
            values.push(100.0 * share);
        }
    }
    let median = |values: &Vec<f64>| Spread::of(values).map_or(0.0, |spread| spread.median);
    let spread = |values: &Vec<f64>| {
        Spread::of(values)
            .map_or_else(String::new, |s| format!("{:.0} ({:.0} .. {:.0})", s.median, s.min, s.max))
    };
    let mut cells = vec![universe.name()];
    cells.extend(stale_percent.iter().map(|values| format!("{:.2}", median(values))));
    cells.extend(captured_percent.iter().map(spread));
    cells.push(format!("{warm_up_days:.0}"));
    table.add_row(cells);
}

/// All policies in one universe under one seed.
struct Trial {
    uniform_stale: f64,
    optimum_stale: f64,
    uniform: Outcome,
    oldest: Outcome,
    known: Outcome,
    gamma: Outcome,
    grid: Outcome,
}

impl Trial {
    fn run(setting: &Setting, seed: u64) -> Self {
        let run = |who| setting.run(who, seed);
        Self {
            uniform_stale: setting.uniform,
            optimum_stale: setting.optimum,
            uniform: run(Who::Uniform),
            oldest: run(Who::OldestFirst),
            known: run(Who::Known),
            gamma: run(Who::Gamma),
            grid: run(Who::Grid),
        }
    }

    /// Stale shares after the warm-up; those of uniform and optimum by their closed forms.
    fn stale(&self) -> [(&'static str, f64); 5] {
        [
            ("uniform", self.uniform_stale),
            ("oldest first", self.oldest.measured()),
            ("optimum", self.optimum_stale),
            ("Gamma", self.gamma.measured()),
            ("grid", self.grid.measured()),
        ]
    }

    /// Shares of the gain from uniform to the optimum.
    fn captured(&self) -> [(&'static str, f64); 4] {
        let gain = self.uniform_stale - self.optimum_stale;
        let share = |outcome: &Outcome| (self.uniform_stale - outcome.measured()) / gain;
        [
            ("oldest first", share(&self.oldest)),
            ("known rates", share(&self.known)),
            ("Gamma", share(&self.gamma)),
            ("grid", share(&self.grid)),
        ]
    }

    fn record(&self, universe: &str, figures: &mut Figures) {
        for (who, value) in self.stale() {
            figures.record(&format!("{universe}: stale, {who}"), "share", None, value);
        }
        for (who, value) in self.captured() {
            let reach = match who {
                "known rates" => Some(Reach::AtLeast(0.98)),
                "grid" => Some(Reach::AtLeast(0.9)),
                _ => None,
            };
            figures.record(&format!("{universe}: gain captured, {who}"), "share", reach, value);
        }
        for (who, outcome) in [("uniform", &self.uniform), ("grid", &self.grid)] {
            let (mean, p99) = outcome.staleness_days;
            let name = |which| format!("{universe}: stale when found, {who}, {which}");
            figures.record(&name("mean"), "days", None, mean);
            figures.record(&name("p99"), "days", None, p99);
        }
        let halves = self.grid.stale.iter().zip(self.uniform.stale).take(2);
        let excess = halves.map(|(ours, theirs)| ours - theirs).fold(f64::NEG_INFINITY, f64::max);
        let reach = Some(Reach::AtMost(0.02));
        let name = format!("{universe}: warm-up, staler than uniform");
        figures.record(&name, "share", reach, excess);
        let spent = self.grid.spent;
        figures.record(&format!("{universe}: budget spent, grid"), "share", None, spent);
    }
}

fn carried(carrier: &Carrier, weighted: bool, effort: &Effort, figures: &mut Figures) {
    let with = if weighted { ", weighted" } else { "" };
    for seed in 0..effort.seeds {
        let compared = compare(carrier, effort.carried_records, weighted, seed);
        let name = |what| format!("{}{with}: {what}", carrier.name);
        figures.record(&name("stale"), "share", None, compared.ours);
        let times = compared.uniform / compared.ours;
        let reach = Some(Reach::AtLeast(10.0));
        figures.record(&name("fewer stale than uniform single look-ups"), "times", reach, times);
        if let Some(oldest) = compared.oldest_first {
            let reach = Some(Reach::AtLeast(1.15));
            let times = oldest / compared.ours;
            figures.record(&name("fewer stale than oldest first"), "times", reach, times);
        }
    }
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}
