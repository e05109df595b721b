//! Decides what to look at.

use std::process::ExitCode;
use std::time::Duration;

use common::fleet::process_main;
use common::lifecycle::Grace;

/// A pass of any reconciler ends well within this.
const DRAIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    process_main(
        "syncline-scheduler",
        |_| Grace { drain: DRAIN, ..Grace::default() },
        scheduler::run,
    )
}
