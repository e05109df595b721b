//! A run: vendors, client processes, and what came of it.

use std::time::Duration;

use anyhow::{Context, bail};
use redis::aio::ConnectionManager;
use serde::Serialize;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::client::Tally;
use super::counter::Rule;
use super::gate;
use super::latency::Latency;
use super::plan::{Demand, PROCESSES, Plan, Posted, Scheme, Trial};
use super::server::{Counted, Vendor};
use crate::program::Program;

/// From writing the plan to its begin: the processes must be up by then.
const HEAD_START: Duration = Duration::from_secs(2);
/// From the end of the last trial to the end of the processes.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// What came of one trial.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The platform's name, and how its windows were scaled.
    pub platform: String,
    /// What granted permits.
    pub scheme: Scheme,
    /// When clients wanted to send.
    pub demand: Demand,
    /// By which rule the vendor refused.
    pub rule: Rule,
    /// Requests that arrived.
    pub arrived: u32,
    /// Those that a sliding log refused, or would have refused.
    pub refused_by_log: u32,
    /// Those that fixed windows refused, or would have refused.
    pub refused_by_windows: u32,
    /// By quota: the most that arrived in any window, and the limit.
    pub most: Vec<(u32, u32)>,
    /// Share of the tightest quota that was used in the measured span.
    pub used: f64,
    /// Share that the round trip leaves: T/(T + RTT) of the tightest quota.
    pub usable: f64,
    /// What the clients did.
    pub clients: Tally,
}

impl Outcome {
    fn of(trial: &Trial, counted: Counted, clients: Tally) -> Self {
        let span_s = trial.length.saturating_sub(trial.measured_from).as_secs_f64();
        let rate =
            |quota: &common::quota::Quota| f64::from(quota.limit) / quota.window.as_secs_f64();
        let tightest = trial.quotas.iter().min_by(|a, b| rate(a).total_cmp(&rate(b)));
        let (rate, window_s) =
            tightest.map_or((f64::NAN, f64::NAN), |q| (rate(q), q.window.as_secs_f64()));
        let round_trip_s = Latency::mean_round_trip().as_secs_f64();
        Self {
            platform: trial.platform.clone(),
            scheme: trial.scheme,
            demand: trial.demand,
            rule: trial.rule,
            arrived: counted.arrived,
            refused_by_log: counted.refused_by_log,
            refused_by_windows: counted.refused_by_windows,
            most: counted.most.into_iter().zip(trial.quotas.iter().map(|q| q.limit)).collect(),
            used: f64::from(counted.taken) / (rate * span_s),
            usable: window_s / (window_s + round_trip_s),
            clients,
        }
    }

    /// Refused by either rule.
    pub fn refused(&self) -> u32 {
        self.refused_by_log.max(self.refused_by_windows)
    }
}

/// Runs all trials at the same time. Needs `REDIS_URL`, as `cargo xtask test` sets it, and the
/// program `syncline-vendor-client`.
///
/// # Errors
///
/// When something cannot be started, or a process of clients fails.
pub async fn run(trials: &[Trial]) -> anyhow::Result<Vec<Outcome>> {
    let redis_url = std::env::var("REDIS_URL").context("REDIS_URL: run cargo xtask test")?;
    let mut redis = ConnectionManager::new(redis::Client::open(redis_url.as_str())?).await?;
    let mut vendors = Vec::new();
    let mut posted = Vec::new();
    for (nth, trial) in trials.iter().enumerate() {
        let vendor = Vendor::open(trial).await?;
        let (lane, url) = (format!("vendor/trial-{nth}").parse()?, vendor.url().to_owned());
        posted.push(Posted { trial: trial.clone(), lane, vendor: url });
        vendors.push(vendor);
    }
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut redis).await?;
    let begin = Instant::now() + HEAD_START;
    let begin_us = seconds * 1_000_000 + micros + 1_000_000 * HEAD_START.as_secs();
    let plan = Plan { namespace: format!("{}-", Uuid::now_v7()), begin_us, trials: posted };
    gate::open(&gate::queue(&redis_url, &plan)?, &plan).await?;

    let folder = TempDir::new()?;
    let mut processes = start_clients(&plan, &folder, &redis_url)?;
    let mut counted = Vec::new();
    for (vendor, trial) in vendors.iter().zip(trials) {
        sleep_until(begin + trial.length).await;
        counted.push(vendor.counted(begin + trial.measured_from, begin + trial.length));
    }
    let mut tallies = vec![Tally::default(); trials.len()];
    for process in &mut processes {
        let told =
            timeout(AFTERWARDS, last_words(process)).await.context("clients do not end")??;
        tallies = tallies.into_iter().zip(told).map(|(a, b)| a.with(b)).collect();
    }
    forget(&mut redis, &plan).await?;
    Ok(trials
        .iter()
        .zip(counted)
        .zip(tallies)
        .map(|((trial, counted), tally)| Outcome::of(trial, counted, tally))
        .collect())
}

fn start_clients(plan: &Plan, folder: &TempDir, redis_url: &str) -> anyhow::Result<Vec<Program>> {
    let file = folder.path().join("plan.json");
    std::fs::write(&file, serde_json::to_vec(plan)?)?;
    let file = file.to_str().context("the folder's name is no text")?;
    let log = folder.path().join("clients.log");
    (0..PROCESSES)
        .map(|nth| {
            let arguments = ["--plan", file, "--process", &nth.to_string()];
            Program::start(
                "syncline-vendor-client",
                &arguments,
                &[("REDIS_URL", redis_url)],
                Some(&log),
            )
        })
        .collect()
}

/// What a process of clients prints before it ends: one tally for each trial.
async fn last_words(process: &mut Program) -> anyhow::Result<Vec<Tally>> {
    let mut text = String::new();
    let mut stdout = process.stdout().context("its output is read once")?;
    stdout.read_to_string(&mut text).await?;
    match serde_json::from_str(&text) {
        Ok(told) => Ok(told),
        Err(error) => bail!("{} ended with {text:?}: {error}", process.name()),
    }
}

/// Takes away what the run has left in Redis.
async fn forget(redis: &mut ConnectionManager, plan: &Plan) -> anyhow::Result<()> {
    let script = redis::Script::new(
        "local keys = redis.call('KEYS', ARGV[1])
         if #keys > 0 then redis.call('DEL', unpack(keys)) end
         return #keys",
    );
    let _: u64 = script.arg(format!("{{{}*", plan.namespace)).invoke_async(redis).await?;
    Ok(())
}
