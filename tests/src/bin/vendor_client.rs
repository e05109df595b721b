//! Clients of the strict vendor, for `tests/scenarios/quota_proof.rs`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tests::vendor::client;
use tests::vendor::plan::Plan;

/// Sends requests as fast as the permits come, and prints what became of them as JSON.
#[derive(Debug, Parser)]
#[command(name = "syncline-vendor-client", version)]
struct Arguments {
    /// The plan as JSON.
    #[arg(long)]
    plan: PathBuf,
    /// Which of the processes this is, from 0.
    #[arg(long)]
    process: u64,
    /// The Redis where permits come from.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: String,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the run reads it")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let plan: Plan = serde_json::from_slice(&std::fs::read(&arguments.plan)?)
        .with_context(|| format!("the plan {}", arguments.plan.display()))?;
    let tallies = client::run(&plan, arguments.process, &arguments.redis_url).await?;
    println!("{}", serde_json::to_string(&tallies)?);
    Ok(())
}
