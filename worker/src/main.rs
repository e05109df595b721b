//! Takes jobs, fetches records within quota, writes the mirror.

use std::process::ExitCode;

use common::fleet::process_main;
use common::lifecycle::Grace;

fn main() -> ExitCode {
    process_main(
        "syncline-worker",
        |config| Grace { drain: config.worker.drain, ..Grace::default() },
        worker::run,
    )
}
