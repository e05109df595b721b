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
use std::sync::mpsc;
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
    /// Where looks are the only evidence and 1 % of the changes is all that can be looked at, a rate
    /// is learnt late.
    scarce_looks: f64,
    /// Of the universes with many records.
    large: Size,
    carried_records: usize,
    lives: u64,
}

impl Effort {
    fn new(seeds: u64, quick: bool) -> Self {
        if quick {
            let size = Size { records: [500, 200], warm_up_looks: [10.0, 40.0], seeds };
            let large = Size { records: [1_000, 500], warm_up_looks: [3.0, 20.0], seeds };
            return Self { size, scarce_looks: 40.0, large, carried_records: 2_000, lives: 50 };
        }
        // A record has to be looked at often to tell what it is worth, and where nothing is learnt
        // that long a warm-up would say nothing.
        let size = Size { records: [10_000, 1_000], warm_up_looks: [10.0, 200.0], seeds };
        let large =
            Size { records: [100_000, 10_000], warm_up_looks: [3.0, 100.0], seeds: seeds.min(2) };
        Self { size, scarce_looks: 1_000.0, large, carried_records: 5_000, lives: 1_000 }
    }
}

/// What is simulated by itself.
#[derive(Clone, Copy, Debug)]
enum Job {
    /// Policies in one universe.
    Policies(Universe, Size, &'static [Who]),
    /// A way in which requests carry looks, with weights or without.
    Carried(Carrier, bool),
}

impl Job {
    fn name(&self) -> String {
        match self {
            Self::Policies(universe, ..) => universe.name(),
            Self::Carried(carrier, weighted) => carrier_name(carrier, *weighted),
        }
    }

    /// Its figures, and its row of the table of policies.
    fn run(&self, effort: &Effort) -> (Figures, Option<Vec<String>>) {
        let mut figures = Figures::default();
        match self {
            Self::Policies(universe, size, policies) => {
                let compared = Compared::run(universe, size, policies);
                compared.record(&mut figures);
                (figures, Some(compared.cells()))
            }
            Self::Carried(carrier, weighted) => {
                carried(carrier, *weighted, effort, &mut figures);
                (figures, None)
            }
        }
    }
}

/// Jobs that run at a time.
const AT_A_TIME: usize = 2;

/// Simulates, gives the figures of each job to `done` as soon as there are any, and puts in the end
/// the policies side by side, and under them the figures that have something to reach.
///
/// - `runs`: seeds of each figure.
/// - `quick`: few records: the figures then say little.
/// - `only`: universes and carriers whose names begin with one of these, and nothing else; none:
///   everything.
///
/// # Errors
///
/// When `done` fails; what is being simulated then still ends.
pub fn measure(
    runs: usize,
    quick: bool,
    only: &[String],
    mut done: impl FnMut(&Figures) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let effort = Effort::new(u64::try_from(runs).unwrap_or(1), quick);
    let is_wanted = |job: &Job| {
        only.is_empty() || only.iter().any(|begin| job.name().starts_with(begin.as_str()))
    };
    let jobs: Vec<Job> = jobs(&effort).into_iter().filter(is_wanted).collect();
    let mut figures = Vec::new();
    let mut rows = Vec::new();
    let next = Mutex::new(jobs.iter().enumerate());
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            let send = send.clone();
            let (next, effort) = (&next, &effort);
            scope.spawn(move || {
                loop {
                    // Nothing panics while it holds this.
                    let taken = next.lock().ok().and_then(|mut next| next.next());
                    let Some((place, job)) = taken else { break };
                    // Nobody listens any more when a figure could not be written.
                    if send.send((place, job.run(effort))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        for (place, (measured, row)) in receive {
            done(&measured)?;
            if let Some(row) = row {
                say(&row.join(" | "));
                rows.push((place, row));
            }
            figures.push((place, measured));
        }
        anyhow::Ok(())
    })?;
    if only.is_empty() {
        say("what planning and hashing cost, and whether bounds hold");
        let costs = costs(&effort);
        done(&costs)?;
        figures.push((jobs.len(), costs));
    }
    figures.sort_by_key(|(place, _)| *place);
    rows.sort_by_key(|(place, _)| *place);
    let mut policies = policies_table();
    for (_, row) in rows {
        policies.add_row(row);
    }
    let reached = figures.iter().flat_map(|(_, figures)| figures.all());
    let reached = table::table(reached.filter(|figure| figure.reach.is_some()));
    Ok(format!("{policies}\n\n{reached}"))
}

/// Everything, what takes longest first.
fn jobs(effort: &Effort) -> Vec<Job> {
    use Who::{Known, Learnt, OldestFirst, Proportional, Uniform};
    let mut jobs = Vec::new();
    for rates in Rates::ALL {
        let of = |recall, budget, weighted| Universe {
            rates,
            records: 0,
            recall,
            budget,
            weighted,
            warm_up_looks: 0.0,
        };
        let mut universes = vec![of(0.9, 0.1, true)];
        for recall in [0.0, 0.9, 0.99] {
            universes.extend([0.01, 0.1, 0.5].map(|budget| of(recall, budget, false)));
            let large = Universe { records: usize::MAX, ..of(recall, 0.1, false) };
            let policies: &[Who] = if recall > 0.0 { &[Known] } else { &[Known, Learnt] };
            jobs.push(Job::Policies(large, effort.large, policies));
        }
        for universe in universes {
            let mut size = effort.size;
            if universe.recall <= 0.0 && universe.budget < 0.05 {
                size.warm_up_looks[1] = effort.scarce_looks;
            }
            let policies: &[Who] = &[Uniform, OldestFirst, Proportional, Known, Learnt];
            jobs.push(Job::Policies(universe, size, policies));
        }
    }
    for carrier in CARRIERS {
        jobs.extend([false, true].map(|weighted| Job::Carried(carrier, weighted)));
    }
    jobs
}

/// What planning and hashing cost, alone on the machine, and whether bounds hold.
fn costs(effort: &Effort) -> Figures {
    let mut figures = Figures::default();
    for seed in 0..effort.size.seeds {
        for (name, us) in speed::all() {
            figures.record(name, "us", Some(Reach::AtMost(20.0)), us);
        }
        for (name, mb_per_s) in hashing::mb_per_s().into_iter().flatten() {
            let reach = name.starts_with("hashing").then_some(Reach::AtLeast(500.0));
            figures.record(name, "MB/s", reach, mb_per_s);
        }
        coverage::measure(&mut figures, effort.lives, seed);
    }
    figures
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
    for seed in 0..effort.size.seeds {
        let compared = compare(carrier, effort.carried_records, weighted, seed);
        let name = |what| format!("{}: {what}", carrier_name(carrier, weighted));
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

fn carrier_name(carrier: &Carrier, weighted: bool) -> String {
    format!("{}{}", carrier.name, if weighted { ", weighted" } else { "" })
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}
