//! Takes jobs, fetches records within quota, writes the mirror.

use std::process::ExitCode;

use common::fleet::process_main;

fn main() -> ExitCode {
    process_main("syncline-worker", |config| config.worker.drain, worker::run)
}
