//! `syncline plan`: what a budget of looks can do, and what a freshness costs.

mod budget;
mod entries;
mod live;
mod report;

use std::path::PathBuf;

use clap::Args;
use common::config::Config;
use common::freshness::{Alike, allocation, budget_for, optimum};
use common::ids::Lane;

use crate::answer::Answer;

use budget::PerDay;
use report::Report;

/// Arguments of `plan`.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["records", "connection"]))]
#[command(group = clap::ArgGroup::new("question").required(true).args(["budget", "target"]))]
pub(crate) struct Arguments {
    /// An array of records as JSON; `-` is standard input. Each is
    /// {"rate_per_day": 3.2, "weight": 1, "recall": 0.9, "false_notices_per_day": 0, "count": 1}:
    /// changes per day, what its freshness counts, the share of changes that a webhook announces,
    /// webhooks without a change, and how many records are like it. All but the first may be left
    /// out; without recall there are no webhooks.
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// The records of this connection's mirror, as far as they are known: `platform/name`.
    #[arg(long, value_name = "CONNECTION")]
    connection: Option<Lane>,
    /// How many looks there are: 1000/hour, 50/s, 48000/day.
    #[arg(long, value_name = "LOOKS/TIME")]
    budget: Option<PerDay>,
    /// The share of time that copies should be fresh, like 0.99: how many looks does that take?
    #[arg(long, value_name = "SHARE", value_parser = share)]
    target: Option<f64>,
    /// Answer as one object: lambda, `fresh_share`, `uniform_fresh_share`, `looks_per_day` (of one
    /// record of each entry, in their order) and more.
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("must be a number above 0 and below 1, like 0.99".to_owned()),
    }
}

impl Arguments {
    /// Whether the records are in a file, so that no store is asked.
    pub(crate) const fn needs_no_settings(&self) -> bool {
        self.records.is_some()
    }
}

/// - `config`: needed for a connection.
pub(crate) async fn run(config: Option<&Config>, arguments: &Arguments) -> anyhow::Result<Answer> {
    let entries = match (&arguments.records, &arguments.connection, config) {
        (Some(file), _, _) => entries::read(file)?,
        (None, Some(lane), Some(config)) => live::read(config, lane).await?,
        _ => anyhow::bail!("name the records: --records FILE or --connection NAME"),
    };
    let population: Vec<Alike> = entries.iter().map(entries::Entry::alike).collect();
    let found = match (arguments.target, arguments.budget) {
        (Some(target), _) => budget_for(&population, target),
        (None, budget) => Some(optimum(&population, budget.map_or(0.0, |budget| budget.0))),
    };
    let Some(found) = found else { anyhow::bail!("no number of looks keeps that share fresh") };
    let looks = allocation(&population, &found);
    let budget = arguments.budget.map_or(found.looks_per_day, |budget| budget.0);
    let report = Report::new(&entries, &population, found, looks, budget, arguments.target);
    Ok(if arguments.json {
        Answer::json(&report.to_json())
    } else {
        Answer::text(report.to_text())
    })
}
