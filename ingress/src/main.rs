//! Turns platforms' webhooks into work.

use std::process::ExitCode;

use common::fleet::process_main;

fn main() -> ExitCode {
    process_main("syncline-ingress", |config| config.ingress.drain, ingress::run)
}
