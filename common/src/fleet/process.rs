//! The `main` of every process of the fleet.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Parser;
use tokio::time::sleep;

use crate::config::Config;
use crate::lifecycle::{Grace, Lifecycle, run_main};
use crate::telemetry;

/// From the hard stop to the end, whatever hangs: jobs are handed back and tokens that are being
/// renewed written down by then.
const LAST_WAIT: Duration = Duration::from_secs(15);

#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file (TOML), laid over the defaults. Without it SYNCLINE_CONFIG names one.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Reads arguments and configuration, starts telemetry, runs `run` until a signal stops it, and
/// turns the result into an exit code.
///
/// - `service`: `service.name` in traces and metrics.
/// - `grace`: how long a stop may take after the first signal.
pub fn process_main(
    service: &'static str,
    grace: fn(&Config) -> Grace,
    run: impl AsyncFnOnce(&Config, &Lifecycle) -> anyhow::Result<()>,
) -> ExitCode {
    let arguments = Arguments::parse();
    run_main(async move {
        let config = Config::load(arguments.config.as_deref())?;
        let telemetry = telemetry::start(telemetry::Settings {
            service_name: service,
            service_namespace: &config.telemetry.service_namespace,
            otlp_endpoint: config.telemetry.endpoint(),
            json_logs: config.telemetry.log_format == crate::config::LogFormat::Json,
            log_filter: &config.telemetry.log_filter,
        })?;
        let lifecycle = Lifecycle::start(grace(&config))?;
        let outcome = tokio::select! {
            outcome = run(&config, &lifecycle) => outcome,
            () = overdue(&lifecycle) => Err(anyhow!("did not end in time: what ran is dropped")),
        };
        telemetry.shutdown().await;
        outcome
    })
}

/// Returns when the hard stop was long enough ago.
async fn overdue(lifecycle: &Lifecycle) {
    lifecycle.hard().cancelled().await;
    sleep(LAST_WAIT).await;
}
