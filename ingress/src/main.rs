//! Turns platforms' webhooks into work.

use std::process::ExitCode;

use common::config::Config;
use common::fleet::process_main;
use common::lifecycle::Grace;

fn main() -> ExitCode {
    let grace =
        |config: &Config| Grace { leave: config.ingress.leave, drain: config.ingress.drain };
    process_main("syncline-ingress", grace, ingress::run)
}
