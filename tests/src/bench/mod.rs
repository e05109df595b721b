//! The benchmarks: how fast things are, beside what has to be reached. docs/benchmarks.md says how
//! each figure is measured.

pub mod calls;
pub mod commands;
pub mod cost;
pub mod crew;
pub mod effort;
pub mod figure;
pub mod freshness;
pub mod ground;
pub mod handler;
pub mod lanes;
pub mod latency;
pub mod peer;
pub mod planning;
pub mod table;
pub mod throughput;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use common::store;

use effort::Effort;
use figure::Figures;

use crew::Stores;
use ground::Measured;
use peer::Peer;

/// Values of each figure, where nothing else is said.
const RUNS: u32 = 5;
/// Seeds of the bench of freshness: each has ten million looks.
const SEEDS: u32 = 3;
/// The servers have been started before us.
const SERVERS_ANSWER: Duration = Duration::from_secs(10);

/// A bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bench {
    /// The queue: what a job costs Redis, how fast it goes through, how long it waits.
    Queue,
    /// Freshness: how stale records are under each policy, in simulated time.
    Freshness,
    /// Planning: statements and time of a pass over many lanes, and of a check among many records.
    Planning,
}

impl Bench {
    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Freshness => "freshness",
            Self::Planning => "planning",
        }
    }
}

/// A part of the queue's bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What a job costs Redis in time and memory.
    Cost,
    /// Jobs a second, beside the peer.
    Throughput,
    /// From enqueueing to the start of the handler.
    Latency,
    /// Commands a job, and of an idle fleet.
    Calls,
    /// Claims among many lanes.
    Lanes,
}

/// Measures, and prints each figure as a line of JSON, then all as a table.
#[derive(Debug, Parser)]
#[command(name = "syncline-bench", version)]
pub struct Arguments {
    /// What to measure; without it everything.
    bench: Option<Bench>,
    /// Measure little, to see that it works: the figures then say little.
    #[arg(long)]
    quick: bool,
    /// Values of each figure; 5, of the bench of freshness 3, or with --quick 1.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
    /// Of the queue's bench, this part alone; may stand several times.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Of the bench of freshness, the universes and carriers whose names begin so, as "Pareto, recall 0,"
    /// or "Klaviyo"; may stand several times.
    #[arg(long, value_name = "NAME")]
    universe: Vec<String>,
    /// Records of the connection that has many, for the bench of planning; 1,000,000, or with --quick
    /// 20,000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    records: Option<u32>,
    /// A peer's driver, run beside ours: gets REDIS_URL and JOBS, prints a line of JSON.
    #[arg(long, value_name = "COMMAND")]
    peer: Option<String>,
    /// Where the lines of JSON go, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The Redis that is measured.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: String,
    /// Where workers know their connections from; migrated if need be.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// A Redis for the peer alone. All that is in it is deleted.
    #[arg(long, env = "SYNCLINE_PEER_REDIS_URL", hide_env_values = true)]
    peer_redis_url: Option<String>,
}

/// Runs the benches that the arguments name.
///
/// # Errors
///
/// When something cannot be measured. That a figure is not reached is no error.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut lines = Lines { json: None };
    if let Some(file) = &arguments.json {
        let create = std::fs::File::create(file);
        lines.json = Some(create.with_context(|| format!("cannot write {}", file.display()))?);
    }
    let benches = arguments.bench.map_or_else(|| Bench::value_variants().to_vec(), |b| vec![b]);
    for bench in benches {
        if bench == Bench::Freshness {
            let (runs, only) = (arguments.seeds()?, &arguments.universe);
            let write = |figures: &Figures| lines.write(bench, figures);
            let table = freshness::measure(runs, arguments.quick, only, write)?;
            writeln!(std::io::stdout().lock(), "\n{table}")?;
            continue;
        }
        let mut figures = Figures::default();
        let measured = match bench {
            Bench::Queue => arguments.queue(&mut figures).await,
            _ => arguments.planning(&mut figures).await,
        };
        // What was measured before something failed is worth showing.
        lines.write(bench, &figures)?;
        writeln!(std::io::stdout().lock(), "\n{}", table::table(figures.all()))?;
        measured?;
    }
    Ok(())
}

/// Where the lines of JSON go: to standard output, and to a file.
#[derive(Debug)]
struct Lines {
    json: Option<std::fs::File>,
}

impl Lines {
    fn write(&mut self, bench: Bench, figures: &Figures) -> anyhow::Result<()> {
        for figure in figures.all() {
            let line = figure.json_line(bench.name())?;
            writeln!(std::io::stdout().lock(), "{line}")?;
            if let Some(json) = &mut self.json {
                writeln!(json, "{line}")?;
            }
        }
        Ok(())
    }
}

impl Arguments {
    fn runs(&self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.runs.unwrap_or(if self.quick { 1 } else { RUNS }))?)
    }

    /// Of the bench of freshness.
    fn seeds(&self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.runs.unwrap_or(if self.quick { 1 } else { SEEDS }))?)
    }

    async fn planning(&self, figures: &mut Figures) -> anyhow::Result<()> {
        let (lanes, records) = if self.quick { (50, 20_000) } else { (1_000, 1_000_000) };
        let size = planning::Size { lanes, records: self.records.unwrap_or(records) };
        let stores = self.stores().await?;
        planning::measure(&stores, size, self.runs()?, figures).await
    }

    /// The stores, migrated.
    async fn stores(&self) -> anyhow::Result<Stores> {
        let stores =
            Stores { redis_url: self.redis_url.clone(), database_url: self.database_url.clone() };
        let url = stores.database_url.clone().into();
        store::migrate(&store::connect(&url, 1, SERVERS_ANSWER).await?).await?;
        Ok(stores)
    }

    async fn queue(&self, figures: &mut Figures) -> anyhow::Result<()> {
        let runs = self.runs()?;
        let effort = if self.quick { Effort::quick(runs) } else { Effort::whole(runs) };
        let peer = match (&self.peer, &self.peer_redis_url) {
            (Some(command), Some(redis_url)) => {
                Some(Peer { command: command.clone(), redis_url: redis_url.clone() })
            }
            (Some(_), None) => anyhow::bail!("--peer needs SYNCLINE_PEER_REDIS_URL"),
            (None, _) => None,
        };
        let stores = self.stores().await?;
        let parts = if self.only.is_empty() { Part::value_variants() } else { &self.only };
        queue(&stores, &effort, peer.as_ref(), parts, figures).await
    }
}

/// Figures of the queue.
///
/// # Errors
///
/// When something cannot be measured.
pub async fn queue(
    stores: &Stores,
    effort: &Effort,
    peer: Option<&Peer>,
    parts: &[Part],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let redis = Measured::at(&stores.redis_url).await?;
    for part in parts {
        match part {
            Part::Cost => {
                say("what a job costs Redis");
                cost::measure(&redis, effort, figures).await?;
            }
            Part::Throughput => {
                say("jobs a second");
                throughput::measure(stores, effort, peer, figures).await?;
            }
            Part::Latency => {
                say("how long a job waits for its handler");
                latency::measure(stores, effort, figures).await?;
            }
            Part::Calls => {
                say("how often Redis is called");
                calls::measure(stores, effort, figures).await?;
            }
            Part::Lanes => {
                say("claims among many lanes");
                lanes::measure(&redis, effort, figures).await?;
            }
        }
    }
    Ok(())
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}
