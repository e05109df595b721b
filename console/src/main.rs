//! Shows people what is going on.

use std::process::ExitCode;
use std::time::Duration;

use common::config::Config;
use common::fleet::process_main;
use common::lifecycle::Grace;

/// A page is made within less than this.
const DRAIN: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let grace = |config: &Config| Grace { leave: config.console.leave, drain: DRAIN };
    process_main("syncline-console", grace, console::run)
}
