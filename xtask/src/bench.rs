//! `cargo xtask bench`: a release build, private servers, and how fast things are on them.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::{Args, ValueEnum};

use crate::{
    cargo::{Workspace, exit_code},
    servers::Servers,
    signals::Signals,
};

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

/// What to measure, and how much.
#[derive(Args, Clone, Debug, Default)]
pub struct Arguments {
    /// What to measure; without it everything.
    bench: Option<Bench>,
    /// Measure little, to see that it works: the figures then say little.
    #[arg(long)]
    quick: bool,
    /// Values of each figure; 5, of the bench of freshness 3, or with --quick 1.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
    /// Of the queue's bench, this part alone: cost, throughput, latency, calls or lanes. May stand several
    /// times.
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Of the bench of freshness, the universes and carriers whose names begin so, as "Pareto, recall 0,"
    /// or "Klaviyo". May stand several times.
    #[arg(long, value_name = "NAME")]
    universe: Vec<String>,
    /// Records of the connection that has many, for the bench of planning; 1,000,000, or with --quick
    /// 20,000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    records: Option<u32>,
    /// A peer's driver, run beside ours.
    #[arg(long, value_name = "COMMAND")]
    peer: Option<String>,
    /// Where the lines of JSON go, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Arguments {
    /// As `syncline-bench` takes them.
    fn words(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        if let Some(bench) = self.bench.and_then(|bench| bench.to_possible_value()) {
            words.push(bench.get_name().into());
        }
        if self.quick {
            words.push("--quick".into());
        }
        if let Some(runs) = self.runs {
            words.extend(["--runs".into(), runs.to_string().into()]);
        }
        for part in &self.only {
            words.extend(["--only".into(), part.into()]);
        }
        for name in &self.universe {
            words.extend(["--universe".into(), name.into()]);
        }
        if let Some(records) = self.records {
            words.extend(["--records".into(), records.to_string().into()]);
        }
        if let Some(peer) = &self.peer {
            words.extend(["--peer".into(), peer.into()]);
        }
        if let Some(json) = &self.json {
            words.extend(["--json".into(), json.into()]);
        }
        words
    }
}

/// Builds, starts servers, measures. A figure that is not reached is no failure.
pub fn run(
    workspace: &Workspace,
    arguments: &Arguments,
    signals: &Signals,
) -> anyhow::Result<ExitCode> {
    let words = ["build", "--release", "--package", "tests", "--bin", "syncline-bench"];
    let status = signals.run(&mut workspace.cargo(words))?;
    if !status.success() {
        return Ok(exit_code(status));
    }
    let places = workspace.places();
    let servers = Servers::start(&places, signals)?;
    let mut bench = Command::new(places.target.join("release").join("syncline-bench"));
    bench.args(arguments.words());
    // Kept until the bench has ended.
    let peer =
        arguments.peer.as_ref().map(|_| servers.another_redis("peer", signals)).transpose()?;
    if let Some((_, url)) = &peer {
        bench.env("SYNCLINE_PEER_REDIS_URL", url);
    }
    Ok(exit_code(signals.run(servers.give_to(&mut bench))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_bench() {
        let everything = Arguments::default();
        assert!(everything.words().is_empty());
        let arguments = Arguments {
            bench: Some(Bench::Queue),
            quick: true,
            records: Some(2_000),
            only: vec!["cost".to_owned(), "lanes".to_owned()],
            runs: Some(3),
            universe: vec!["Pareto, recall 0".to_owned()],
            peer: Some("node driver.mjs".to_owned()),
            json: Some("figures.json".into()),
        };
        let words = "queue|--quick|--runs|3|--only|cost|--only|lanes|--universe|Pareto, recall 0|--records|2000|\
             --peer|node driver.mjs|--json|figures.json";
        assert_eq!(arguments.words(), words.split('|').collect::<Vec<_>>());
    }
}
