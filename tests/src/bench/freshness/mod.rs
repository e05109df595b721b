//! The freshness bench: policies in simulated time, beside closed forms; docs/freshness.md says
//! what is measured and what came of it.

pub mod carriers;
mod compared;
pub mod coverage;
mod hashing;
mod interval;
pub mod policy;
pub mod speed;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod universe;
pub mod world;

use std::sync::Mutex;
use std::thread;

use comfy_table::{CellAlignment, Table, presets};

use super::figure::{Figures, Reach};
use super::table;
use carriers::{CARRIERS, Carrier, compare};
use compared::{Compared, Size};
use trial::Who;
use universe::{Rates, Universe};

/// How much is simulated.
#[derive(Clone, Copy, Debug)]
struct Effort {
    size: Size,
    carried_records: usize,
    /// Of the two largest universes.
    large: [usize; 2],
    lives: u64,
}

impl Effort {
    fn new(seeds: u64, quick: bool) -> Self {
        if quick {
            let size = Size { records: [500, 200], warm_up_looks: [10.0, 40.0], seeds };
            return Self { size, carried_records: 2_000, large: [1_000, 500], lives: 50 };
        }
        // A record has to be looked at often to tell what it is worth, and where nothing is learnt
        // that long a warm-up would say nothing.
        let size = Size { records: [10_000, 1_500], warm_up_looks: [10.0, 200.0], seeds };
        Self { size, carried_records: 5_000, large: [100_000, 10_000], lives: 1_000 }
    }
}

/// Universes that are simulated at a time.
const AT_A_TIME: usize = 2;

/// Simulates everything, and puts the policies side by side, and under them the figures that have
/// something to reach.
///
/// - `runs`: seeds of each figure.
/// - `quick`: few records: the figures then say little.
pub fn measure(runs: usize, quick: bool, figures: &mut Figures) -> String {
    let effort = Effort::new(u64::try_from(runs).unwrap_or(1), quick);
    let mut policies = policies_table();
    for compared in all_policies(&effort) {
        compared.record(figures);
        policies.add_row(compared.cells());
    }
    for carrier in &CARRIERS {
        say(carrier.name);
        for weighted in [false, true] {
            carried(carrier, weighted, &effort, figures);
        }
    }
    say("what planning and hashing cost, and whether bounds hold");
    for seed in 0..effort.size.seeds {
        for (name, us) in speed::all() {
            figures.record(name, "us", Some(Reach::AtMost(20.0)), us);
        }
        for (name, mb_per_s) in hashing::mb_per_s().into_iter().flatten() {
            let reach = name.starts_with("hashing").then_some(Reach::AtLeast(500.0));
            figures.record(name, "MB/s", reach, mb_per_s);
        }
        coverage::measure(figures, effort.lives, seed);
    }
    let reached = table::table(figures.all().iter().filter(|figure| figure.reach.is_some()));
    format!("{policies}\n\n{reached}")
}

/// All policies in all universes, in their order; and the planner among many records in one.
fn all_policies(effort: &Effort) -> Vec<Compared> {
    use Who::{Known, Learnt, OldestFirst, Proportional, Uniform};
    let [many, some] = effort.large;
    let mut wanted: Vec<(Universe, Size, &[Who])> = universes()
        .into_iter()
        .map(|universe| {
            let policies: &[Who] = &[Uniform, OldestFirst, Proportional, Known, Learnt];
            (universe, effort.size, policies)
        })
        .collect();
    let size = Size { records: [many, some], warm_up_looks: [3.0, 20.0], seeds: 1 };
    let large = |recall| Universe {
        rates: Rates::LogNormal,
        records: many,
        recall,
        budget: 0.5,
        weighted: false,
        warm_up_looks: 0.0,
    };
    wanted.push((large(0.0), size, &[Known, Learnt]));
    let next = Mutex::new(wanted.iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    // Nothing panics while it holds one of these.
                    let taken = next.lock().ok().and_then(|mut next| next.next());
                    let Some((place, (universe, size, policies))) = taken else { break };
                    say(&universe.name());
                    let compared = Compared::run(universe, size, policies);
                    if let Ok(mut done) = done.lock() {
                        done.push((place, compared));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, compared)| compared).collect()
}

fn universes() -> Vec<Universe> {
    let mut universes = Vec::new();
    for rates in Rates::ALL {
        let of = |recall, budget, weighted| Universe {
            rates,
            records: 0,
            recall,
            budget,
            weighted,
            warm_up_looks: 0.0,
        };
        for recall in [0.0, 0.9, 0.99] {
            universes.extend([0.01, 0.1, 0.5].map(|budget| of(recall, budget, false)));
        }
        universes.push(of(0.9, 0.1, true));
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
        "proportional",
        "optimum",
        "learnt",
        "regret %: oldest first",
        "known rates",
        "learnt",
        "days stale (mean, p99; found after), uniform",
        "learnt",
    ]);
    for column in 1..11 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn carried(carrier: &Carrier, weighted: bool, effort: &Effort, figures: &mut Figures) {
    let with = if weighted { ", weighted" } else { "" };
    for seed in 0..effort.size.seeds {
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
