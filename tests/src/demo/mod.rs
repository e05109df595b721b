//! The demo: every process for real, four platforms that change by themselves and lose webhooks, and
//! at the end a comparison of mirror and truth, record by record.

mod fleet;
mod numbers;
mod platforms;
mod progress;
mod settings;
mod summary;

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use simulator::Platform;
use tokio::time::{Instant, sleep};

use fleet::DemoFleet;
use numbers::Numbers;
use progress::Progress;

/// After the platforms stand still, the mirror has this long to become true.
const QUIESCENCE: Duration = Duration::from_mins(2);

/// The platforms that sign their webhooks: of Eventbrite's only the address is secret.
const SIGNED: [Platform; 3] = [Platform::Klaviyo, Platform::Patreon, Platform::Discord];
/// So many webhooks that nobody signed are sent as coming from each of them.
const FORGED_EACH: u64 = 3;

/// Runs Syncline in front of simulated platforms and checks the mirror at the end.
#[derive(Debug, Parser)]
#[command(name = "syncline-demo", version)]
pub struct Arguments {
    /// How long the platforms go on changing; without it until Ctrl-C.
    #[arg(long)]
    seconds: Option<u64>,
    /// The seed of all that the platforms do by chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the folder with configuration and logs.
    #[arg(long)]
    keep: bool,
}

/// Runs the demo; `true` when the mirror was true at the end and no quota was exceeded.
///
/// # Errors
///
/// When something cannot be started, or a process ends by itself.
pub async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut fleet = DemoFleet::start(arguments.seed).await?;
    let outcome = show(arguments, &mut fleet).await;
    let stopped = fleet.stop().await;
    if arguments.keep || outcome.is_err() || stopped.is_err() {
        eprintln!("configuration and logs are in {}", fleet.keep().display());
    }
    let good = outcome?;
    stopped?;
    Ok(good)
}

async fn show(arguments: &Arguments, fleet: &mut DemoFleet) -> anyhow::Result<bool> {
    let forged = fleet.send_forged_webhooks().await?;
    let mut progress = Progress::new();
    progress.say(&format!(
        "console: {}   logs: {}",
        fleet.console_url(),
        fleet.folder().join("fleet.log").display()
    ));

    let started = Instant::now();
    let end = arguments.seconds.map(|seconds| started + Duration::from_secs(seconds));
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        fleet.nobody_died()?;
        progress.show("running", started.elapsed(), &Numbers::read(fleet).await?);
        let pause = progress.pause();
        if end.is_some_and(|end| Instant::now() + pause >= end) {
            break;
        }
        tokio::select! {
            () = sleep(pause) => {}
            pressed = &mut interrupted => {
                pressed.context("Ctrl-C")?;
                break;
            }
        }
    }

    // Nothing changes any more; every notice that is still on its way arrives.
    let frozen = fleet.platforms.freeze().await?;
    progress.say(
        "the platforms stand still: waiting until the mirror has looked at every record since",
    );
    let since = fleet.now().await? + Duration::from_millis(frozen);
    let give_up = Instant::now() + QUIESCENCE;
    let mut quiet = false;
    while !quiet && Instant::now() < give_up {
        fleet.nobody_died()?;
        quiet = fleet.is_quiet_since(since).await?;
        progress.show("settling", started.elapsed(), &Numbers::read(fleet).await?);
        tokio::select! {
            () = sleep(progress.pause()) => {}
            pressed = tokio::signal::ctrl_c() => {
                pressed.context("Ctrl-C")?;
                break;
            }
        }
    }
    progress.finish();

    let mismatches = fleet.mismatches().await?;
    let numbers = Numbers::read(fleet).await?;
    Ok(summary::print(&numbers, started.elapsed(), forged, quiet, &mismatches))
}
