//! `cargo xtask bench`: how fast things are, beside what has to be reached.

use std::process::ExitCode;

use clap::Parser;
use common::lifecycle::run_main;
use common::telemetry;
use tests::bench::{self, Arguments};

/// As a worker logs, without what it says at every start and stop.
const LOGS: &str = "info,common=warn,worker=warn";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run_main(async move {
        let telemetry = telemetry::start(telemetry::Settings {
            service_name: "syncline-bench",
            service_namespace: "bench",
            otlp_endpoint: None,
            json_logs: false,
            log_filter: LOGS,
        })?;
        let outcome = bench::run(&arguments).await;
        telemetry.shutdown().await;
        outcome
    })
}
