//! Shows people what is going on.

use std::process::ExitCode;
use std::time::Duration;

use common::fleet::process_main;

/// A page is made within less than this.
const DRAIN: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    process_main("syncline-console", |_| DRAIN, console::run)
}
